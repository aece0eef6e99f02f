"""A step on a GPU neither waits for values nor uploads any: counted on the stand-in, with and without the kernels."""

import numpy as np
import pytest

from gpunet import nn
from gpunet.backend import xp
from gpunet.backend.kernels import enabled
from gpunet.backend.scratch import scratch
from gpunet.bench.workloads import Workload, prepare
from gpunet.errors import LabelError
from gpunet.functional import (
    avg_pool2d,
    binary_cross_entropy_with_logits,
    cross_entropy,
    log_softmax,
    mse_loss,
    nll_loss,
)
from gpunet.optim import SGD, Adam, AdamW, clip_grad_norm_
from gpunet.tensor import tensor

pytestmark = pytest.mark.usefixtures("counters")

RNG = np.random.default_rng(0)
IMAGES = RNG.standard_normal((4, 3, 8, 8)).astype(np.float32)
LABELS = RNG.integers(0, 10, 4)
PROBABILITIES = RNG.dirichlet(np.ones(10), 4).astype(np.float32)
WEIGHT = np.arange(1, 11, dtype=np.float32)


@pytest.fixture(params=["with kernels", "without kernels"], autouse=True)
def _kernels(request, monkeypatch):
    monkeypatch.setattr("gpunet.backend.kernels._turned_off", request.param == "without kernels")


def network(pool):
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        pool,
        nn.Dropout(0.3),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


def average(x):
    return avg_pool2d(x, 3, 2, 1, count_include_pad=False)


class Average(nn.Module):
    def forward(self, x):
        return average(x)


POOLS = {
    "max": lambda: nn.MaxPool2d(3, 2, 1),
    "average": Average,
    "adaptive average": lambda: nn.AdaptiveAvgPool2d(4),
    "adaptive max": lambda: nn.AdaptiveMaxPool2d(4),
}
LOSSES = {
    "labels": (cross_entropy, LABELS),
    "labels, smoothed": (lambda y, t: cross_entropy(y, t, label_smoothing=0.1), LABELS),
    "labels, weighted": (lambda y, t: cross_entropy(y, t, weight=WEIGHTS[0], label_smoothing=0.1), LABELS),
    "labels, some ignored": (lambda y, t: cross_entropy(y, t, ignore_index=3), LABELS),
    "labels of log-probabilities": (lambda y, t: nll_loss(log_softmax(y, dim=1), t), LABELS),
    "probabilities": (cross_entropy, PROBABILITIES),
    "probabilities, smoothed": (lambda y, t: cross_entropy(y, t, label_smoothing=0.1), PROBABILITIES),
    "yes or no": (binary_cross_entropy_with_logits, PROBABILITIES),
    "squares": (mse_loss, PROBABILITIES),
}
WEIGHTS = []  # of the classes, on the device


def moved_by(counters, step):
    """What the third step uploads and reads: the first makes what lasts."""
    for _ in range(3):
        counters.reset()
        step()
    return counters.host_to_device, counters.device_to_host


def training_step(pool, loss, target, optimizer=SGD, clip=False):
    model = network(pool).train()
    x, t = tensor(IMAGES), tensor(target)
    WEIGHTS[:] = [tensor(WEIGHT)]
    descend = optimizer(model.parameters(), lr=0.01)

    def step():
        descend.zero_grad()
        loss(model(x), t).backward()
        if clip:
            clip_grad_norm_(list(model.parameters()), 1.0)
        descend.step()

    return step


@pytest.mark.parametrize("loss", LOSSES)
def test_no_loss_waits(loss, counters):
    assert moved_by(counters, training_step(nn.MaxPool2d(2), *LOSSES[loss])) == (0, 0)


@pytest.mark.parametrize("pool", POOLS)
def test_no_pooling_waits(pool, counters):
    assert moved_by(counters, training_step(POOLS[pool](), *LOSSES["labels"])) == (0, 0)


@pytest.mark.parametrize("optimizer", [SGD, Adam, AdamW])
def test_no_optimizer_waits(optimizer, counters):
    assert moved_by(counters, training_step(nn.MaxPool2d(2), *LOSSES["labels"], optimizer, clip=True)) == (0, 0)


def test_running_statistics_without_a_momentum_do_not_wait(counters):
    """How far they move depends on a count of batches that is on the device."""
    layer, x = nn.BatchNorm2d(3, momentum=None).train(), tensor(IMAGES)
    assert moved_by(counters, lambda: layer(x)) == (0, 0)
    mean = IMAGES.mean((0, 2, 3))  # every batch was this one
    np.testing.assert_allclose(layer.running_mean.numpy(), mean, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", ["train", "inference"])
def test_no_benchmark_waits(mode, counters):
    uploads, reads = moved_by(counters, prepare(Workload("resnet20", mode, 2, (3, 8, 8)), wait=False))
    assert reads == 0
    if enabled():  # else the optimizer joins many arrays, of which CuPy uploads the addresses
        assert uploads == 0


def test_probabilities_that_were_seen_on_the_host_are_checked_all_the_same(counters):
    y = tensor(np.zeros((1, 2), np.float32))
    for wrong in ([0.5, 1.5], [-0.1, 1.0], [np.nan, 0.5]):
        with pytest.raises(LabelError, match="probabilities within"):
            cross_entropy(y, tensor(np.array([wrong], np.float32)))
    t = tensor(np.array([[0.5, 0.5]], np.float32))
    cross_entropy(y, t)
    t[0, 0] = 3.0
    with pytest.raises(LabelError, match="probabilities within"):
        cross_entropy(y, t)
    t = tensor(np.array([[0.5, 0.5]], np.float32))
    t.data[0, 0] = 3.0
    with pytest.raises(LabelError, match="probabilities within"):
        cross_entropy(y, t)


@pytest.mark.parametrize("shape", [(4, 3, 8, 8), (2, 3, 9, 7)])
def test_a_first_layer_multiplies_whole_windows(shape, monkeypatch, counters):
    """Of 3x3 and 3 channels are 27 numbers long rows: one product of two dimensions there, and one for the filters."""
    products = []
    multiply = xp.matmul

    def matmul(a, b, out=None):
        products.append((a.shape, b.shape))
        return multiply(a, b, out=out)

    monkeypatch.setattr(xp, "matmul", matmul, raising=False)
    layer = nn.Conv2d(3, 16, 3, padding=1)
    layer(tensor(np.ones(shape, np.float32))).sum().backward()
    positions = shape[0] * shape[2] * shape[3]
    assert products == [((positions, 27), (27, 16)), ((27, positions), (positions, 16))]
    assert counters.functions["matmul"] == 2


def test_scratch_memory_is_not_filled(counters):
    scratch("a test", (4, 5), xp.float32)
    assert counters.device_operations == 0
