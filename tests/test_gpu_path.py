"""The way that a GPU program goes, on CuPy's stand-in: training through the kernels, half precision, memory, batches.

What cannot be shown without a GPU is in docs/proof.md.
"""

import itertools

import numpy as np
import pytest

from gpunet import nn
from gpunet.backend import (
    HostToBackend,
    active_backend,
    allow_tf32,
    as_nchw,
    set_memory_limit,
    to_cpu,
    use_backend,
    xp,
)
from gpunet.errors import ArgumentError, BackendError, OutOfMemoryError
from gpunet.ops.pooling import MaxPool2d
from gpunet.tensor import tensor
from gpunet.train import TrainConfig, TrainingRun

STEPS = 8
BATCH_NORMS = CONVOLUTIONS = 7  # of ResNet-8
BLOCKS = 3  # whose ReLU hands its gradient to two: the batch norm before it, and the shortcut


pytestmark = pytest.mark.usefixtures("counters")


# ------------------------------------------------------------------------------------------- `gpunet train`, 8 steps


def trained(backend, folder, model="resnet8"):
    """The weights, and everything else of a state dict, after the first steps of `gpunet train` on the digits."""
    with use_backend(backend):
        run = TrainingRun(TrainConfig(model=model, batch_size=16), folder / backend, show_progress=False)
        for _, batch in zip(range(STEPS), run.train_loader, strict=False):
            run.trainer.train_step(*batch)
        return {name: to_cpu(value.array) for name, value in run.model.state_dict().items()}


def assert_agree(actual, expected):
    assert list(actual) == list(expected)
    for name, right in expected.items():
        distance = np.linalg.norm(np.asarray(actual[name] - right, np.float64))
        assert distance <= 1e-4 * np.linalg.norm(np.asarray(right, np.float64)), name


def test_training_goes_through_the_kernels_and_ends_where_numpy_ends(counters, tmp_path):
    weights = trained("emulated", tmp_path)
    passes = ("statistics", "normalise", "sums", "input_gradient")
    expected = {f"batch_norm_{each}": STEPS * BATCH_NORMS for each in passes}
    expected |= {f"adaptive_avg_pool2d_{each}": STEPS for each in ("forward", "backward")}
    # Rows are made on the way there and once more for the gradient by the filters; nobody needs that by the images.
    expected |= {"im2col": STEPS * CONVOLUTIONS * 2, "col2im": STEPS * (CONVOLUTIONS - 1)}
    # Of a block whose shortcut is the identity two gradients are added; those of the others go through their shortcuts.
    expected |= {"add_relu_gradient": STEPS, "relu_gradient": STEPS * (BLOCKS - 1), "sgd": STEPS}
    assert counters.launches_of == expected
    assert_agree(weights, trained("numpy", tmp_path))


def test_max_and_average_pooling_go_through_the_kernels(counters, tmp_path):
    weights = trained("emulated", tmp_path, "lenet5")
    pools = {"avg_pool2d_forward": STEPS * 2, "avg_pool2d_backward": STEPS * 2}
    rows = {"im2col": STEPS * 2 * 2, "col2im": STEPS}  # of two convolutions
    assert counters.launches_of == pools | rows | {"sgd": STEPS}
    assert_agree(weights, trained("numpy", tmp_path, "lenet5"))


def test_training_without_the_kernels_ends_there_too(counters, tmp_path, monkeypatch):
    monkeypatch.setattr("gpunet.backend.kernels._turned_off", True)
    weights = trained("emulated", tmp_path)
    assert counters.launches == 0
    assert_agree(weights, trained("numpy", tmp_path))


# ---------------------------------------------------------------------------------------------------- half precision


def forward_and_backward(dtype, x):
    """Output and gradients, by weight, bias and x, of pools and a batch norm in one type of number."""
    layers = nn.Sequential(
        nn.MaxPool2d(2), nn.AdaptiveMaxPool2d(6), nn.BatchNorm2d(8), nn.ReLU(), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1)
    )
    layers = layers.half() if dtype == np.float16 else layers.double()
    x = tensor(x.astype(dtype), requires_grad=True)
    y = layers(x)
    (y * y).sum().backward()
    norm = layers[2]
    return [to_cpu(each) for each in (y.array, norm.weight.grad.array, norm.bias.grad.array, x.grad.array)]


def test_half_precision_goes_through_the_kernels(rng, counters):
    x = rng.integers(-20, 20, (4, 8, 16, 16)) / 8  # exact in both types, so that both find the same maxima
    results = forward_and_backward(np.float16, x)
    assert counters.launches == 4 + 4 * 2  # batch norm, four pools, there and back
    with use_backend("numpy"):
        expected = forward_and_backward(np.float64, x)
    for result, right in zip(results, expected, strict=True):
        assert result.dtype == np.float16
        np.testing.assert_allclose(result, right, rtol=5e-3, atol=5e-3 * np.abs(right).max())


# ------------------------------------------------------------------------------------------------------------ memory


@pytest.fixture
def limit():
    yield set_memory_limit
    set_memory_limit(None)


def test_memory_that_does_not_suffice_is_an_error_that_helps(limit):
    x = tensor(np.zeros((64, 3, 32, 32), np.float32))
    limit(xp.get_default_memory_pool().used_bytes() + (1 << 20))  # the output alone takes 4 MB
    with pytest.raises(
        OutOfMemoryError,
        match=r"Conv2d: out of memory on inputs \(64, 3, 32, 32\) float32 \(0\.8 MB\), .*; a batch of 32 instead of 64",
    ) as caught:
        nn.Conv2d(3, 16, 3, padding=1)(x)
    assert isinstance(caught.value, MemoryError)
    assert "Out of memory allocating" in str(caught.value.__cause__)  # CuPy's own words are kept
    limit(None)
    assert nn.Conv2d(3, 16, 3, padding=1)(x).shape == (64, 16, 32, 32)


def test_memory_that_does_not_suffice_for_the_gradient(limit):
    x = tensor(np.zeros((64, 8, 32, 32), np.float32), requires_grad=True)
    loss = nn.MaxPool2d(2)(x).sum()
    limit(xp.get_default_memory_pool().used_bytes() + (1 << 20))
    with pytest.raises(OutOfMemoryError, match=r"MaxPool2d: out of memory on inputs .*a batch of 32 instead of 64"):
        loss.backward()


def test_an_error_inside_a_model_names_the_layer(limit):
    model = nn.Sequential(nn.ReLU(), nn.Conv2d(3, 16, 3))
    x = tensor(np.zeros((64, 3, 32, 32), np.float32))
    limit(xp.get_default_memory_pool().used_bytes() + (1 << 20))
    with pytest.raises(OutOfMemoryError, match="in layer 1"):
        model(x)


def test_memory_of_the_cpu_that_does_not_suffice(monkeypatch):
    def fail(self, x):
        raise MemoryError("Unable to allocate 9.54 GiB")

    monkeypatch.setattr(MaxPool2d, "forward", fail)
    with (
        use_backend("numpy"),
        pytest.raises(OutOfMemoryError, match=r"MaxPool2d: .*\(6, 1, 4, 4\) float32 .*of 3 inst"),
    ):
        nn.MaxPool2d(2)(tensor(np.zeros((6, 1, 4, 4), np.float32)))


@pytest.mark.parametrize("size", [0, -1, 1.5, True, "1 GB"])
def test_limits_that_make_no_sense(size):
    with pytest.raises(ArgumentError, match="set_memory_limit expects a number of bytes"):
        set_memory_limit(size)


def test_what_only_a_gpu_has():
    with pytest.raises(BackendError, match="allow_tf32 works on the cupy backend; active is emulated"):
        allow_tf32()
    with use_backend("numpy"):
        with pytest.raises(BackendError, match="active is numpy"):
            allow_tf32()
        with pytest.raises(BackendError, match="set_memory_limit works on a GPU"):
            set_memory_limit(1 << 30)


# ----------------------------------------------------------------------------------------------------------- batches


def batches(count):
    """Images and labels, all different."""
    return [
        (np.full((2, 3), 10 * i, np.float32) + np.arange(3, dtype=np.float32), np.arange(2) + i) for i in range(count)
    ]


def assert_arrived(arrived, batch):
    for device, host in zip(arrived, batch, strict=True):
        assert isinstance(device, xp.ndarray)
        assert device.dtype == host.dtype
        np.testing.assert_array_equal(to_cpu(device), host)


def test_batches_arrive_intact():
    """The stand-in copies as late as it may; what is used, or overwritten, before that is poison."""
    copies = HostToBackend()
    assert copies.ahead == 1
    sent = batches(8)
    waiting = copies.send(sent[0])
    for batch, following in itertools.pairwise(sent):
        arrive, waiting = waiting, copies.send(following)  # one batch ahead, as the loader does
        assert_arrived(arrive(), batch)
    assert_arrived(waiting(), sent[-1])


def test_the_host_may_write_to_its_arrays_at_once():
    copies = HostToBackend()
    (batch,) = batches(1)
    arrive = copies.send(batch)
    right = [array.copy() for array in batch]
    for array in batch:
        array[...] = 77
    assert_arrived(arrive(), right)


def test_many_batches_under_way_at_once():
    copies = HostToBackend()
    sent = batches(6)
    arriving = [copies.send(batch) for batch in sent]
    for arrive, batch in zip(arriving, sent, strict=True):
        assert_arrived(arrive(), batch)


def test_who_does_not_wait_finds_poison(monkeypatch):
    """So the tests above would notice."""
    monkeypatch.setattr(xp.cuda.Stream, "wait_event", lambda stream, event: None)
    images, _ = HostToBackend().send(batches(1)[0])()
    assert np.isnan(to_cpu(images)).all()


def test_on_numpy_there_is_nothing_to_copy():
    with use_backend("numpy"):
        copies = HostToBackend()
        assert copies.ahead == 0
        (batch,) = batches(1)
        assert all(one is other for one, other in zip(copies.send(batch)(), batch, strict=True))
        assert active_backend() == "numpy"


# ------------------------------------------------------------------------------------------ what the device has to do


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("settings", [{}, {"stride": 2}, {"dilation": 2}], ids=str)
def test_a_convolution_is_im2col_and_one_product_three_times(settings, dtype, rng, counters):
    """Its products are of two dimensions, on operands as they lie, straight into their places: tensor cores take those.

    CuPy would copy operands of other layouts, and of more dimensions, float16 as float32.
    """
    conv = nn.Conv2d(8, 16, 3, padding=1, bias=False, **settings).to(dtype)
    x = conv_input(rng, dtype)
    counters.reset()
    y = conv(x)
    assert (counters.launches_of, +counters.functions) == ({"im2col": 1}, {"matmul": 1})
    grad = xp.ones_like(y.array)
    counters.reset()
    y._node.run_backward(grad)
    assert (counters.launches_of, +counters.functions) == ({"im2col": 1, "col2im": 1}, {"matmul": 2})


def test_a_pointwise_convolution_is_three_products(rng, counters):
    conv, x = nn.Conv2d(8, 16, 1, bias=False), conv_input(rng, np.float32)
    counters.reset()
    y = conv(x)
    y._node.run_backward(xp.ones_like(y.array))
    assert (counters.launches, +counters.functions) == (0, {"matmul": 3, "fill": 1})  # the ones


def conv_input(rng, dtype):
    """A channels-last Tensor that has a history."""
    return tensor(as_nchw(xp.asarray(rng.standard_normal((2, 9, 9, 8)).astype(dtype))), requires_grad=True) * 1
