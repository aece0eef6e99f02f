"""Mixed precision: what runs in float16, how gradients are kept from underflow, and training with both."""

import copy
import importlib
import json
import math
import threading
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import gpunet.functional
from gpunet import nn, optim
from gpunet.amp import GradScaler, autocast, is_autocast_enabled
from gpunet.backend import manual_seed, to_cpu, use_backend
from gpunet.cli import main
from gpunet.data import DataLoader, TensorDataset
from gpunet.errors import ArgumentError, DTypeError, GradientError, NonFiniteError, StateDictError
from gpunet.tensor import tensor
from gpunet.train import Callback, EpochResult, TrainConfig, Trainer, TrainingRun, evaluate_run, restore, take
from tests.runs import TINY, StopAfter, few_digits, figures, weights

SMALLEST, LARGEST = 2.0**-24, 65504.0  # that float16 knows


@pytest.fixture(autouse=True)
def _on_numpy():
    """The default; tests that take `backend` run on each."""
    with use_backend("numpy"):
        yield


# ------------------------------------------------------------------------------- what runs in which type of number


def operands(make, labels):
    """Tensors for the calls below, of gpunet or of PyTorch."""
    return SimpleNamespace(
        half=make((4, 4), "float16"),
        single=make((4, 4), "float32"),
        double=make((4, 4), "float64"),
        images=make((2, 3, 5, 5), "float32"),
        half_images=make((2, 3, 5, 5), "float16"),
        filters=make((6, 3, 3, 3), "float32"),
        channel=make((3,), "float32"),
        bias=make((6,), "float32"),
        vector=make((4,), "float32"),
        labels=labels,
    )


# The same words in gpunet and in PyTorch: F is the module of functions. To each the type of the result.
POLICY = {
    # products
    "conv2d": (lambda F, t: F.conv2d(t.images, t.filters, t.bias), "float16"),
    "conv2d of float16": (lambda F, t: F.conv2d(t.half_images, t.filters), "float16"),
    "linear": (lambda F, t: F.linear(t.single, t.single, t.vector), "float16"),
    "linear of both": (lambda F, t: F.linear(t.half, t.single), "float16"),
    "matmul": (lambda F, t: t.single @ t.single, "float16"),
    "matmul of both": (lambda F, t: t.single.matmul(t.half), "float16"),
    "matmul of float64": (lambda F, t: t.double @ t.double, "float64"),
    # what needs float32
    "softmax": (lambda F, t: F.softmax(t.half, 1), "float32"),
    "log_softmax": (lambda F, t: F.log_softmax(t.half, 1), "float32"),
    "cross_entropy": (lambda F, t: F.cross_entropy(t.half, t.labels), "float32"),
    "cross_entropy to probabilities": (lambda F, t: F.cross_entropy(t.half, t.single), "float32"),
    "cross_entropy with weights": (lambda F, t: F.cross_entropy(t.half, t.labels, t.vector), "float32"),
    "nll_loss": (lambda F, t: F.nll_loss(t.half, t.labels), "float32"),
    "mse_loss": (lambda F, t: F.mse_loss(t.half, t.half), "float32"),
    "mse_loss of both": (lambda F, t: F.mse_loss(t.half, t.single), "float32"),
    "kl_div": (lambda F, t: F.kl_div(t.half, t.half, reduction="sum"), "float32"),
    "bce with logits": (lambda F, t: F.binary_cross_entropy_with_logits(t.half, t.single), "float32"),
    "sum": (lambda F, t: t.half.sum(), "float32"),
    "exp": (lambda F, t: t.half.exp(), "float32"),
    "log": (lambda F, t: t.half.log(), "float32"),
    "power": (lambda F, t: t.half**2, "float32"),
    "power of a number": (lambda F, t: 2**t.half, "float32"),
    "reciprocal": (lambda F, t: 1 / t.half, "float32"),
    # the wider type
    "addition": (lambda F, t: t.half + t.single, "float32"),
    "multiplication": (lambda F, t: t.half * t.half, "float16"),
    "multiplication by a number": (lambda F, t: t.half * 2.5, "float16"),
    # what it is given
    "relu": (lambda F, t: F.relu(t.half), "float16"),
    "relu of float32": (lambda F, t: F.relu(t.single), "float32"),
    "max_pool2d": (lambda F, t: F.max_pool2d(t.half_images, 2), "float16"),
    "avg_pool2d": (lambda F, t: F.avg_pool2d(t.half_images, 2), "float16"),
    "adaptive_avg_pool2d": (lambda F, t: F.adaptive_avg_pool2d(t.half_images, 1), "float16"),
    "sqrt": (lambda F, t: t.half.sqrt(), "float16"),
    "batch_norm": (lambda F, t: F.batch_norm(t.half_images, None, None, t.channel, t.channel, True), "float16"),
    "batch_norm of float32": (lambda F, t: F.batch_norm(t.images, None, None, t.channel, t.channel, True), "float32"),
}
each_rule = pytest.mark.parametrize(("call", "expected"), POLICY.values(), ids=POLICY)


@each_rule
def test_the_type_of_each_result(backend, call, expected):
    ours = operands(lambda shape, dtype: tensor(np.full(shape, 0.5, dtype)), tensor([0, 1, 2, 3]))
    with autocast():
        assert call(gpunet.functional, ours).dtype == expected


@each_rule
def test_it_is_that_of_pytorch_on_a_gpu(call, expected):
    """PyTorch tells the types of results on a GPU that is not there, from shapes and types alone."""
    torch = pytest.importorskip("torch")
    fake = pytest.importorskip("torch._subclasses.fake_tensor")
    before = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    with fake.FakeTensorMode():
        theirs = operands(
            lambda shape, dtype: torch.empty(shape, dtype=getattr(torch, dtype), device="cuda"),
            torch.empty(4, dtype=torch.int64, device="cuda"),
        )
        try:
            torch.set_autocast_enabled("cuda", True)  # torch.autocast refuses where there is no GPU
            torch.set_autocast_dtype("cuda", torch.float16)
            result = call(torch.nn.functional, theirs)
        finally:
            torch.set_autocast_enabled("cuda", before[0])
            torch.set_autocast_dtype("cuda", before[1])
    assert str(result.dtype) == f"torch.{expected}"


def test_what_pytorch_has_no_rule_for():
    half, single = tensor(np.full((2, 3), 0.5, np.float16)), tensor(np.full((2, 3), 0.5, np.float32))
    F = gpunet.functional
    with autocast():
        assert half.mean().dtype == half.var().dtype == np.float32
        assert F.binary_cross_entropy(half, single).dtype == np.float32
        assert gpunet.cat([half, single]).dtype == gpunet.maximum(half, single).dtype == np.float32


def test_a_residual_is_added_in_the_wider_of_the_two_types(backend, rng):
    images, ones = tensor(rng.standard_normal((2, 3, 5, 5)), np.float32), tensor(np.ones(3, np.float32))
    F = gpunet.functional
    with autocast():
        for residual, expected in ((images, np.float32), (images.half(), np.float16)):
            output = F.batch_norm(images.half(), None, None, ones, ones, True)
            assert F.relu(output + residual).dtype == expected


@pytest.mark.parametrize(
    ("given", "enabled"),
    [
        ({}, True),
        ({"device_type": "cuda"}, True),
        ({"device_type": "cuda", "dtype": gpunet.float16}, True),
        ({"device_type": "cuda", "dtype": "float16", "enabled": False}, False),
        ({"enabled": False}, False),
    ],
)
def test_autocast_as_pytorch_s_users_write_it(given, enabled):
    with autocast(**given):
        assert is_autocast_enabled() == enabled
    with autocast(*given.values()) if "device_type" in given else autocast(enabled):
        assert is_autocast_enabled() == enabled


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"device_type": "cpu"}, "'cpu'"),
        ({"device_type": "cuda", "dtype": "bfloat16"}, "'bfloat16'"),
        ({"device_type": "cuda", "dtype": np.dtype(np.float64)}, "float64"),
        ({"device_type": 1}, "got 1"),
        ({"enabled": "no"}, "'no'"),
    ],
)
def test_autocast_that_there_is_not(given, word):
    with pytest.raises(ArgumentError, match=word):
        autocast(**given)


def test_on_and_off():
    assert not is_autocast_enabled()
    with autocast():
        with autocast(enabled=False):
            assert not is_autocast_enabled()
        assert is_autocast_enabled()
    assert not is_autocast_enabled()

    @autocast()
    def decorated(depth):
        return decorated(depth - 1) if depth else is_autocast_enabled()

    assert decorated(2)
    with pytest.raises(ZeroDivisionError), autocast():
        1 / 0  # noqa: B018
    assert not is_autocast_enabled()


def test_other_threads_are_left_alone():
    seen = []
    with autocast():
        thread = threading.Thread(target=lambda: seen.append(is_autocast_enabled()))
        thread.start()
        thread.join()
    assert seen == [False]


def test_a_decorated_function_in_two_threads_at_once():
    started, finish, seen = threading.Event(), threading.Event(), []

    @autocast()
    def decorated(action):
        action()

    def other():
        decorated(lambda: (started.set(), finish.wait(10)))
        seen.append(is_autocast_enabled())

    thread = threading.Thread(target=other)
    thread.start()
    started.wait(10)
    with autocast():
        decorated(lambda: (finish.set(), thread.join()))  # the other thread leaves while this one is inside
    assert seen == [False]


def test_outside_nothing_changes():
    ours = operands(lambda shape, dtype: tensor(np.full(shape, 0.5, dtype)), tensor([0, 1, 2, 3]))
    F = gpunet.functional
    assert F.conv2d(ours.images, ours.filters).dtype == np.float32
    assert F.softmax(ours.half).dtype == ours.half.sum().dtype == np.float16
    with pytest.raises(DTypeError, match="same type of float"):
        F.linear(ours.half, ours.single)


# --------------------------------------------------------------------------------------- float16 as on a tensor core


def rounded(exact):
    with np.errstate(over="ignore"):
        return exact.astype(np.float16)


def with_gradients(function, *arrays):
    """The output and the gradients of its inputs, for a gradient by the output of ones."""
    tensors = [tensor(array, requires_grad=True) for array in arrays]
    output = function(*tensors)
    output.backward(tensor(np.ones(output.shape, output.dtype)))
    return [to_cpu(each) for each in (output.array, *(each.grad.array for each in tensors))]


PRODUCTS = {
    "matmul": (lambda a, b: a @ b, (3, 5000), (5000, 2)),
    "linear": (gpunet.functional.linear, (300, 5000), (2, 5000), (2,)),
    "conv2d": (lambda *x: gpunet.functional.conv2d(*x, padding=1), (3, 600, 6, 6), (2, 600, 3, 3), (2,)),
    "conv2d of pixels": (gpunet.functional.conv2d, (3, 5000, 4, 4), (2, 5000, 1, 1), (2,)),
    "avg_pool2d": (lambda x: gpunet.functional.avg_pool2d(x, 64, divisor_override=1), (2, 3, 64, 64)),
    "sum": (lambda x: x.sum(0), (5000, 2)),
}


@pytest.mark.parametrize(("function", "shapes"), [(each[0], each[1:]) for each in PRODUCTS.values()], ids=PRODUCTS)
def test_sums_are_those_of_float32(rng, function, shapes):
    """Of whole numbers, up to what float16 cannot count to; the result is what is right in float16, or a neighbour."""
    arrays = [rng.integers(0, 3, shape).astype(np.float16) for shape in shapes]
    actual = with_gradients(function, *arrays)
    exact = with_gradients(function, *(array.astype(np.float64) for array in arrays))
    assert max(each.max() for each in exact) > 2048
    for found, right in zip(actual, exact, strict=True):
        assert found.dtype == np.float16
        np.testing.assert_allclose(found, rounded(right), rtol=2.0**-10)


def test_overflow_is_infinite_and_underflow_is_0():
    """Without a warning, which would be an error here."""
    large, small = tensor(np.full((1, 2), 200.0, np.float16)), tensor(np.full((1, 2), 2.0**-13, np.float16))
    assert (large @ large.T).item() == math.inf  # 80,000
    assert (large @ (large * 0.75).T).item() == 60_000
    assert (small @ small.T).item() == 0  # 2^-25 is half of the smallest, and goes to the even neighbour
    assert (small @ (small * 2).T).item() == SMALLEST
    assert rounded(np.array(65519.9)) == LARGEST


def test_batch_norm_has_its_statistics_in_float32(backend, rng):
    """Sums over 8192 values, of which float16 could count 2048, and float32 parameters with float32 gradients."""
    x = (rng.standard_normal((32, 2, 16, 16)) + 3).astype(np.float16)
    gamma, beta, g = np.float32([1.3, 0.7]), np.float32([0.1, -0.2]), rng.standard_normal(x.shape).astype(np.float16)
    mean, var = nn.BatchNorm2d(2).running_mean, nn.BatchNorm2d(2).running_var
    inputs = tensor(x, requires_grad=True), tensor(gamma, requires_grad=True), tensor(beta, requires_grad=True)
    output = gpunet.functional.batch_norm(inputs[0], mean, var, *inputs[1:], training=True)
    output.backward(tensor(g))
    assert output.dtype == inputs[0].grad.dtype == np.float16
    assert mean.dtype == inputs[1].grad.dtype == inputs[2].grad.dtype == np.float32

    def per_channel(values):
        return values.mean(axis=(0, 2, 3), keepdims=True)

    exact, g = x.astype(np.float64), g.astype(np.float64)
    centred = exact - per_channel(exact)
    deviation = np.sqrt(per_channel(centred**2) + 1e-5)
    normalised, scale = centred / deviation, gamma[:, None, None] / deviation
    close = np.testing.assert_allclose
    close(output.numpy(), normalised * gamma[:, None, None] + beta[:, None, None], rtol=1e-3, atol=1e-3)
    dx = scale * (g - per_channel(g) - normalised * per_channel(g * normalised))
    close(inputs[0].grad.numpy(), dx, rtol=1e-3, atol=2e-3)
    close(inputs[1].grad.numpy(), (g * normalised).sum(axis=(0, 2, 3)), rtol=1e-3)
    close(inputs[2].grad.numpy(), g.sum(axis=(0, 2, 3)), rtol=1e-3)
    close(mean.numpy(), 0.1 * exact.mean(axis=(0, 2, 3)), rtol=1e-5)
    close(var.numpy(), 0.9 + 0.1 * exact.var(axis=(0, 2, 3), ddof=1), rtol=1e-5)


def test_a_float16_model_learns_as_a_float32_model():
    """`model.half()` without autocast: batch norm and gradients over 8192 values."""
    rng = np.random.default_rng(0)
    images = rng.standard_normal((32, 3, 16, 16)).astype(np.float32)
    gradients = []
    for dtype in (np.float16, np.float32):
        manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(784, 2))
        model = model.half() if dtype == np.float16 else model
        loss = model(tensor(images.astype(dtype))).float()
        (loss * loss).mean().backward()
        assert {each.grad.dtype for each in model.parameters()} == {np.dtype(dtype)}
        gradients.append(np.concatenate([each.grad.numpy().astype(np.float64).ravel() for each in model.parameters()]))
    assert np.linalg.norm(gradients[0] - gradients[1]) < 3e-3 * np.linalg.norm(gradients[1])


# -------------------------------------------------------------------------------------------- underflow, and its cure


def small_network():
    manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(72, 5))


def gradients_of_a_small_loss(mixed, scaler=None):
    """The gradients, float32, of a loss so small that those by the activations are below what float16 knows."""
    model, rng = small_network(), np.random.default_rng(0)
    images = tensor(rng.standard_normal((6, 2, 5, 5)).astype(np.float32))
    labels = tensor(rng.integers(0, 5, 6))
    optimizer, scaler = optim.SGD(model.parameters(), lr=1), scaler or GradScaler(enabled=False)
    with autocast(mixed):
        loss = gpunet.functional.cross_entropy(model(images), labels) * 1e-8
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    assert all(each.grad.dtype == np.float32 for each in model.parameters())
    return {name: to_cpu(each.grad.array).astype(np.float64) for name, each in model.named_parameters()}


def test_gradients_that_underflow_without_scaling_are_right_with_it(backend):
    expected = gradients_of_a_small_loss(mixed=False)
    assert all(0 < abs(each).max() < 1e-7 for name, each in expected.items() if name != "0.bias")
    lost = gradients_of_a_small_loss(mixed=True)
    assert all((each == 0).all() for each in lost.values())
    kept = gradients_of_a_small_loss(mixed=True, scaler=GradScaler(2.0**24))
    for name, right in expected.items():
        if name != "0.bias":  # which batch norm takes away again: its gradient is 0, and what is found is rounding
            assert np.linalg.norm(kept[name] - right) < 5e-3 * np.linalg.norm(right), name


# ----------------------------------------------------------------------------------------------------- the GradScaler


def one_weight(value=1.0, lr=0.125):
    weight = tensor([value], requires_grad=True)
    return weight, optim.SGD([weight], lr)


def scripted_step(weight, optimizer, scaler, slope):
    """A step with this gradient of the loss, which may be infinite or NaN."""
    optimizer.zero_grad()
    scaler.scale((weight * slope).sum()).backward()
    return scaler.step(optimizer), scaler.update()


SCRIPT = [
    float(slope)
    for slope in np.random.default_rng(7).choice([1, -2, 3e30, math.inf, math.nan], 200, p=[0.5, 0.3, 0.04, 0.08, 0.08])
]


@pytest.mark.parametrize("settings", [{}, {"init_scale": 2.0**126, "growth_factor": 4.0, "backoff_factor": 0.25}])
def test_scale_and_weights_go_the_way_of_pytorch(settings):
    torch = pytest.importorskip("torch")
    settings = {"growth_interval": 3, **settings}
    weight, optimizer = one_weight()
    scaler = GradScaler(**settings)
    other = torch.ones(1, requires_grad=True)
    other_optimizer = torch.optim.SGD([other], lr=0.125)
    other_scaler = torch.amp.GradScaler("cpu", **settings)
    made = 0
    for slope in SCRIPT:
        before = other.item()
        made += scripted_step(weight, optimizer, scaler, slope)[0]
        other_optimizer.zero_grad()
        other_scaler.scale((other * slope).sum()).backward()
        other_scaler.step(other_optimizer)
        other_scaler.update()
        assert scaler.get_scale() == other_scaler.get_scale()
        assert weight.item() == pytest.approx(other.item(), rel=1e-6)
        assert (weight.item() == pytest.approx(before, rel=1e-9)) == (other.item() == before)
        assert scaler.state_dict() == other_scaler.state_dict()
    assert 100 < made < 190


def test_states_of_pytorch_can_be_loaded():
    torch = pytest.importorskip("torch")
    other = torch.amp.GradScaler("cpu", 8.0, 3.0, 0.25, 7)
    scaler = GradScaler()
    scaler.load_state_dict(other.state_dict())
    assert scaler.state_dict() == other.state_dict()


def test_the_scale_by_its_rule(backend):
    weight, optimizer = one_weight()
    scaler = GradScaler(1024.0, growth_interval=2)
    scales, values = [], []
    for slope in (1, math.inf, 1, 1, 1, math.nan, 1):
        scripted_step(weight, optimizer, scaler, slope)
        scales.append(scaler.get_scale())
        values.append(weight.item())
    assert scales == [1024, 512, 512, 1024, 1024, 512, 512]
    assert values == [0.875, 0.875, 0.75, 0.625, 0.5, 0.5, 0.375]


def test_the_scale_does_not_grow_to_infinity():
    weight, optimizer = one_weight(lr=0)
    scaler = GradScaler(2.0**126, growth_interval=1)
    for _ in range(3):
        scripted_step(weight, optimizer, scaler, 1e-3)
    assert scaler.get_scale() == 2.0**127


def test_one_optimizer_that_overflows_holds_back_no_other():
    first, second = one_weight(), one_weight()
    scaler = GradScaler(4.0)
    scaler.scale((first[0] * math.inf + second[0]).sum()).backward()
    assert [scaler.step(first[1]), scaler.step(second[1])] == [False, True]
    scaler.update()
    assert (first[0].item(), second[0].item(), scaler.get_scale()) == (1.0, 0.875, 2.0)


def test_gradients_can_be_clipped_between():
    weight, optimizer = one_weight()
    scaler = GradScaler()
    scaler.scale((weight * 10).sum()).backward()
    assert weight.grad.item() == 655_360
    scaler.unscale_(optimizer)
    assert weight.grad.item() == 10
    optim.clip_grad_norm_([weight], 1.0)
    scaler.step(optimizer)
    assert weight.item() == pytest.approx(0.875)


def test_a_float16_loss_is_scaled_in_float32():
    loss = tensor(np.float16([3.0]), requires_grad=True)
    assert GradScaler().scale(loss).item() == 3 * 65536
    assert GradScaler(enabled=False).scale(loss) is loss


def test_a_scaler_that_is_not_enabled_does_nothing():
    weight, optimizer = one_weight()
    scaler = GradScaler(enabled=False)
    scaler.load_state_dict(scaler.state_dict())
    made, _ = scripted_step(weight, optimizer, scaler, math.inf)
    assert made
    assert weight.item() == -math.inf
    assert (scaler.get_scale(), scaler.state_dict(), scaler.is_enabled()) == (1.0, {}, False)


@pytest.mark.parametrize("make", [optim.Adam, optim.AdamW, optim.SGD, optim.RMSprop])
def test_steps_that_were_left_out_are_none(backend, make):
    """Nor does Adam count them; its state says how many there were, and ordinary steps go on from there."""
    torch = pytest.importorskip("torch")
    weight, other = tensor([1.0, -2.0], requires_grad=True), torch.tensor([1.0, -2.0], requires_grad=True)
    settings = {"momentum": 0.9, "nesterov": True} if make is optim.SGD else {}
    optimizer = make([weight], lr=0.1, **settings)
    theirs = getattr(torch.optim, make.__name__)([other], lr=0.1, **settings)
    scaler, made = GradScaler(4.0, growth_interval=2), 0
    for number, slope in enumerate([math.inf, math.nan, 1.0, -0.5, math.inf, 2.0, 0.25, math.nan, -1.0]):
        optimizer.zero_grad()
        loss = (weight * tensor([slope, 1.0])).sum()
        if number in (3, 6):  # an ordinary one between
            loss.backward()
            optimizer.step()
        else:
            scaler.scale(loss).backward()
            assert bool(scaler.step(optimizer)) == math.isfinite(slope)
            scaler.update()
        if math.isfinite(slope):
            other.grad = torch.tensor([slope, 1.0])
            theirs.step()
            made += 1
        np.testing.assert_allclose(to_cpu(weight.array), other.detach(), rtol=2e-6)
        state = optimizer.state_dict()["state"] if number in (1, 4, 7, 8) else {}
        if made and make is not optim.SGD:
            assert all(each["step"] == made for each in state.values())
        if number == 4:
            optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def test_dampening_that_comes_later_begins_with_the_second_step(backend):
    torch = pytest.importorskip("torch")
    weight, other = tensor([1.0], requires_grad=True), torch.tensor([1.0], requires_grad=True)
    optimizer, theirs = optim.SGD([weight], lr=0.1, momentum=0.9), torch.optim.SGD([other], lr=0.1, momentum=0.9)
    scaler = GradScaler(4.0)
    for slope in (1.0, 2.0, 0.5):
        optimizer.zero_grad()
        scaler.scale((weight * slope).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        other.grad = torch.tensor([slope])
        theirs.step()
        assert weight.item() == pytest.approx(other.item(), rel=1e-6)
        optimizer.param_groups[0]["dampening"] = theirs.param_groups[0]["dampening"] = 0.5


def test_a_deep_copy_knows_how_many_steps_were_made(backend):
    weight = tensor([1.0], requires_grad=True)
    optimizer, scaler = optim.Adam([weight], lr=0.1), GradScaler(4.0)
    for slope in (1.0, math.inf, 1.0):
        scripted_step(weight, optimizer, scaler, slope)
    (state,) = copy.deepcopy(optimizer).state.values()
    assert state["step"] == 2


def test_a_step_of_a_class_of_ones_own(backend):
    """It is asked for where it is made, and not where it is left out."""
    made = []

    class Counting(optim.SGD):
        def step(self, closure=None):
            made.append(weight.grad.item())
            return super().step(closure)

    weight = tensor([1.0], requires_grad=True)
    optimizer, scaler = Counting([weight], lr=0.125), GradScaler(4.0)
    for slope in (1.0, math.inf, 2.0):
        scripted_step(weight, optimizer, scaler, slope)
    assert (made, weight.item()) == ([1.0, 2.0], 0.625)


@pytest.mark.parametrize("settings", [{}, {"dampening": 0.1, "momentum": 0.5}])
def test_the_device_is_asked_nothing_where_kernels_make_the_step(settings):
    """And else once, whatever the number of parameters: waiting for a GPU takes longer than what one would wait for."""
    pytest.importorskip("gpunet.emulated")
    with use_backend("emulated"):
        counters = importlib.import_module("gpunet.emulated").counters
        parameters = [tensor(np.ones(3, np.float32), requires_grad=True) for _ in range(5)]
        optimizer, scaler = optim.SGD(parameters, lr=0.1, **settings), GradScaler()
        scaler.scale(sum(each.sum() for each in parameters)).backward()
        counters.reset()
        scaler.unscale_(optimizer)
        assert counters.device_to_host == 0
        scaler.step(optimizer)
        scaler.update()
        assert counters.device_to_host == bool(settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"init_scale": 0}, "init_scale must be a finite number above 0, got 0"),
        ({"growth_factor": 1.0}, "growth_factor must be a finite number above 1, got 1.0"),
        ({"backoff_factor": 1.0}, "backoff_factor must be a number between 0 and 1, got 1.0"),
        ({"growth_interval": 0}, "growth_interval must be 1 or more, got 0"),
        ({"enabled": 1}, "enabled must be True or False, got 1"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(ArgumentError, match=f"GradScaler: {message}"):
        GradScaler(**settings)


def test_calls_in_a_wrong_order():
    weight, optimizer = one_weight()
    scaler = GradScaler()
    with pytest.raises(GradientError, match="update: there was no step"):
        scaler.update()
    with pytest.raises(GradientError, match=r"no gradients; call scale\(loss\)\.backward\(\) first"):
        scaler.step(optimizer)
    scaler.scale(weight.sum()).backward()
    scaler.unscale_(optimizer)
    with pytest.raises(GradientError, match="have been unscaled since the last update"):
        scaler.unscale_(optimizer)
    assert weight.grad.item() == 1
    scaler.step(optimizer)
    with pytest.raises(GradientError, match="has stepped already"):
        scaler.step(optimizer)
    assert weight.item() == 0.875
    with pytest.raises(DTypeError, match=r"GradScaler\.scale: loss must be a Tensor, got float"):
        scaler.scale(1.0)


def test_float16_parameters_are_refused():
    weight = tensor(np.float16([1.0]), requires_grad=True)
    scaler = GradScaler()
    scaler.scale(weight.sum()).backward()
    with pytest.raises(DTypeError, match="must be float32, got a gradient of float16"):
        scaler.step(optim.SGD([weight], 0.1))


@pytest.mark.parametrize(
    "changes",
    [{"scale": -1.0}, {"scale": "2"}, {"_growth_tracker": -1}, {"growth_interval": 2.5}, {"more": 1}, {"scale": None}],
)
def test_states_that_are_none(changes):
    scaler = GradScaler(8.0)
    before = scaler.state_dict()
    with pytest.raises(StateDictError, match="state of"):
        scaler.load_state_dict({**before, **changes})
    with pytest.raises(StateDictError, match="state of"):
        scaler.load_state_dict({})
    with pytest.raises(StateDictError, match="state of"):
        GradScaler(enabled=False).load_state_dict(before)
    assert scaler.state_dict() == before


# -------------------------------------------------------------------------------------------------------- the Trainer


POINTS = np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)
CLASSES = np.random.default_rng(1).integers(0, 3, 40)


def loaders(scale=1.0, batch=8):
    data = TensorDataset(POINTS * np.float32(scale), CLASSES)
    return DataLoader(data, batch, seed=0), DataLoader(data, 40)


class Steps(Callback):
    """Remembers after which batches there was a step."""

    def __init__(self):
        self.batches = []

    def on_step_end(self, trainer):
        self.batches.append(trainer.progress.batch)


def make_trainer(lr=0.1, momentum=0.0, **settings):
    manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    optimizer = optim.SGD(model.parameters(), lr, momentum=momentum)
    schedule = optim.StepLR(optimizer, step_size=1, gamma=0.5)
    return Trainer(model, optimizer, classes=3, schedule=schedule, show_progress=False, **settings)


def values(model):
    return [to_cpu(parameter.array).copy() for parameter in model.parameters()]


def fit(trainer, epochs=1, scale=1.0):
    return list(trainer.fit(*loaders(scale), epochs))


def assert_near(actual, expected, before, tolerance):
    """Two trainings that began with the same weights have gone nearly the same way."""
    for one, other, start in zip(actual, expected, before, strict=True):
        assert np.linalg.norm(one - other) <= tolerance * np.linalg.norm(other - start)


def test_overflow_skips_the_step_and_training_goes_on(backend):
    """With a scale at which each of the first batches overflows in float16."""
    steps = Steps()
    trainer = make_trainer(momentum=0.9, ema=0.9, callbacks=[steps], amp=GradScaler(2.0**22))
    before, batches = values(trainer.model), list(loaders()[0])
    trainer.train_step(*batches[0])
    assert (trainer.progress.step, trainer.progress.skipped_steps) == (1, 1)
    assert trainer.scaler.get_scale() == 2.0**21
    assert trainer.learning_rate == 0.05  # as in PyTorch's loops the schedule goes on
    for unchanged in (values(trainer.model), [to_cpu(each) for each in trainer.averages.averages.values()]):
        np.testing.assert_equal(unchanged, before)
    for state in trainer.optimizer.state_dict()["state"].values():
        np.testing.assert_array_equal(state["momentum_buffer"], 0)

    fit(trainer, epochs=3)
    progress = trainer.progress
    assert progress.step == 1 + 15
    assert 1 < progress.skipped_steps < 10
    assert trainer.scaler.get_scale() == 2.0 ** (22 - progress.skipped_steps)
    assert trainer.learning_rate == pytest.approx(0.1 * 0.5**progress.step)
    assert len(steps.batches) == 15
    assert all(np.isfinite(each).all() for each in values(trainer.model))
    assert any((one != other).any() for one, other in zip(values(trainer.model), before, strict=True))


def test_mixed_precision_goes_the_way_of_float32(backend):
    plain, mixed = make_trainer(), make_trainer(amp=True)
    before = values(plain.model)
    expected, results = fit(plain, epochs=2), fit(mixed, epochs=2)
    assert mixed.progress.skipped_steps == 0
    assert_near(values(mixed.model), values(plain.model), before, 1e-2)
    assert all(each.array.dtype == np.float32 for each in mixed.model.parameters())
    for one, other in zip(results, expected, strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, rel=2e-3)
        assert one.gradient_norms == pytest.approx(other.gradient_norms, rel=2e-2)
        assert (one.loss_scale, other.loss_scale) == (65536.0, None)


@pytest.mark.parametrize("settings", [{"clip": 0.05}, {"accumulate": 3}, {"clip": 0.05, "accumulate": 2, "ema": 0.5}])
def test_gradients_are_unscaled_once_and_before_they_are_clipped(settings):
    plain, mixed = make_trainer(**settings), make_trainer(amp=True, **settings)
    before = values(plain.model)
    fit(plain)
    fit(mixed)
    assert mixed.progress.step == plain.progress.step
    assert_near(values(mixed.model), values(plain.model), before, 1e-2)


def test_accumulated_overflow_skips_the_whole_step():
    trainer = make_trainer(accumulate=5, amp=GradScaler(2.0**40))
    before = values(trainer.model)
    (result,) = fit(trainer)
    assert (trainer.progress.step, trainer.progress.skipped_steps) == (1, 1)
    assert result.gradient_norms == {}  # of the last step of the epoch, which was none
    np.testing.assert_equal(values(trainer.model), before)


def test_a_loss_that_is_not_finite_ends_the_run(backend):
    """Activations beyond what float16 knows: the layer is looked for in float16, too."""
    fit(make_trainer(lr=1e-30), scale=1e5)
    with pytest.raises(NonFiniteError, match=r"loss became nan in step 1, with batch 1 .*: layer 0 \(Linear\) is the"):
        fit(make_trainer(lr=1e-30, amp=True), scale=1e5)


def test_gradients_that_are_never_finite_end_the_run():
    """The square root of 0 has an infinite slope, however little the loss is scaled."""

    def loss_function(logits, labels):
        return gpunet.functional.cross_entropy(logits, labels) + (logits * 0).sum().sqrt()

    trainer = make_trainer(amp=GradScaler(4.0), loss_function=loss_function)
    with pytest.raises(
        NonFiniteError, match=r"norm of the gradients became nan in step 3, with batch 3 of .*: the grad"
    ):
        fit(trainer)


def test_a_scale_that_begins_below_1_ends_no_run():
    trainer = make_trainer(amp=GradScaler(0.25))
    fit(trainer)
    assert trainer.scaler.get_scale() == 0.25


def test_evaluation_is_float32():
    trainer = make_trainer(amp=True)
    seen = set()

    class Watched(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = trainer.model

        def forward(self, x):
            output = self.inner(x)
            seen.add((self.training, str(output.dtype)))
            return output

    trainer.model = Watched()
    fit(trainer)
    assert seen == {(True, "float16"), (False, "float32")}


def test_a_batch_of_mixed_labels():
    batch = tensor(POINTS), tensor(np.eye(3, dtype=np.float32)[CLASSES])
    loss, _ = make_trainer(amp=True).train_step(*batch)
    assert loss.dtype == np.float32
    expected, _ = make_trainer().train_step(*batch)
    assert float(loss) == pytest.approx(float(expected), rel=2e-3)


# ------------------------------------------------------------------------------------------------ runs, and resuming


class Lively(GradScaler):
    """Begins with a scale that overflows, and grows soon."""

    def __init__(self, enabled):
        super().__init__(2.0**22, growth_interval=3, enabled=enabled)


@pytest.fixture
def _lively(monkeypatch):
    monkeypatch.setattr(importlib.import_module("gpunet.train.trainer"), "GradScaler", Lively)
    with few_digits():
        yield


MIXED = replace(TINY, amp=True, epochs=3)  # 24 batches


def run(config, folder, steps=None, **settings):
    """Carry out a run, to its end or for so many steps."""
    callbacks = [] if steps is None else [StopAfter(steps)]
    return TrainingRun(config, folder, show_progress=False, callbacks=callbacks, **settings).run()


@pytest.mark.usefixtures("_lively")
@pytest.mark.parametrize("more", [{}, {"accumulate": 2, "clip": 0.5, "ema": 0.9, "optimizer": "adamw", "lr": 1e-3}])
def test_a_resumed_run_keeps_the_scale_and_goes_on_to_the_same_bits(tmp_path, more):
    config = replace(MIXED, **more)
    _, summary = run(config, tmp_path / "whole")
    lines = figures(tmp_path / "whole")
    assert len({line["loss_scale"] for line in lines}) > 1
    assert 0 < summary["steps_skipped"] < 15
    for stop in (1, 2, 5):
        run(config, tmp_path / "parts", stop, resume=True)
    _, resumed = run(config, tmp_path / "parts", resume=True)
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")
    assert figures(tmp_path / "parts") == lines
    assert {name: resumed[name] for name in ("steps_done", "steps_skipped")} == {
        name: summary[name] for name in ("steps_done", "steps_skipped")
    }


@pytest.mark.usefixtures("_lively")
def test_without_its_scale_it_would_not(tmp_path, monkeypatch):
    """The comparison above can tell."""
    run(MIXED, tmp_path / "whole")
    run(MIXED, tmp_path / "parts", 5)
    monkeypatch.setattr(GradScaler, "load_state_dict", lambda self, state: None)
    run(MIXED, tmp_path / "parts", resume=True)
    assert figures(tmp_path / "parts") != figures(tmp_path / "whole")


@pytest.mark.usefixtures("_lively")
def test_a_checkpoint_of_the_other_precision_is_refused():
    trainers = [make_trainer(amp=amp) for amp in (True, False)]
    for one, other in (trainers, trainers[::-1]):
        with pytest.raises(StateDictError, match=r"differ in whether they use mixed precision \(amp\)"):
            restore(one, take(other))


def test_checkpoints_whose_scaler_is_damaged():
    checkpoint = take(make_trainer(amp=True))
    for damage in (None, {}, {"scaler": 5, "skipped_steps": 0}, {**checkpoint.state["amp"], "skipped_steps": -1}):
        with pytest.raises(StateDictError, match="damaged"):
            restore(make_trainer(amp=True), replace(checkpoint, state={**checkpoint.state, "amp": damage}))


def test_figures_with_and_without_a_scale():
    result = EpochResult(1, *[0.5] * 7)
    assert "loss_scale" not in result.as_dict()
    assert EpochResult.from_dict(result.as_dict()) == result
    scaled = replace(result, loss_scale=1024.0)
    assert scaled.as_dict()["loss_scale"] == 1024.0
    assert EpochResult.from_dict(scaled.as_dict()) == scaled
    with pytest.raises(StateDictError, match="must be numbers"):
        EpochResult.from_dict({**scaled.as_dict(), "loss_scale": "1024"})


def test_settings():
    with pytest.raises(ArgumentError, match="amp must be true or false, got 1"):
        TrainConfig(amp=1)
    with pytest.raises(ArgumentError, match="enabled must be True or False, got 'yes'"):
        make_trainer(amp="yes")


@pytest.mark.usefixtures("_lively")
def test_the_command_line(tmp_path, capsys):
    (tmp_path / "run.toml").write_text("amp = true\nepochs = 2\n")
    out = ["--out", str(tmp_path / "run"), "--backend", "numpy"]
    assert main(["train", "--config", str(tmp_path / "run.toml"), "--model", "tiny", "--batch-size", "8", *out]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch")]
    assert all("images/s  loss scale " in line for line in lines)
    assert main(["train", "--resume", *out]) == 0  # the folder says that it was begun with amp
    assert main(["evaluate", str(tmp_path / "run"), "--json", "--backend", "numpy"]) == 0
    evaluated = json.loads(capsys.readouterr().out.splitlines()[-1])
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["amp"] is True
    assert summary["steps_skipped"] > 0
    assert evaluated.pop("run") == str(tmp_path / "run")
    assert evaluated.pop("data") == "digits"
    assert {name: summary[name] for name in evaluated} == evaluated  # repeated exactly
    assert main(["report", str(tmp_path / "run"), "--backend", "numpy"]) == 0


def test_a_short_run_learns_the_digits_as_float32_does(tmp_path):
    plain = run(TrainConfig(epochs=2), tmp_path / "plain")[0].accuracy
    mixed = run(TrainConfig(epochs=2, amp=True), tmp_path / "mixed")[0].accuracy
    assert plain > 0.94
    assert mixed > plain - 0.02
    assert evaluate_run(tmp_path / "mixed")[0].accuracy == mixed


@pytest.mark.slow
def test_the_default_run_learns_the_digits_as_float32_does(tmp_path):
    accuracies = {
        amp: [run(TrainConfig(seed=seed, amp=amp), tmp_path / f"{seed} {amp}")[0].accuracy for seed in range(3)]
        for amp in (False, True)
    }
    assert min(accuracies[False] + accuracies[True]) > 0.97
    assert np.mean(accuracies[True]) > np.mean(accuracies[False]) - 0.01


@pytest.mark.usefixtures("_lively")
def test_the_kernels_of_a_gpu_give_what_numpy_gives(tmp_path):
    """In float16 the two round at different places; a step of training apart is as much as they may be."""
    pytest.importorskip("gpunet.emulated")
    found = []
    for backend in ("numpy", "emulated"):
        with use_backend(backend):
            training = TrainingRun(replace(TINY, amp=True), tmp_path / backend, show_progress=False)
            training.model.eval()  # no dropout
            before = values(training.model)
            for _, batch in zip(range(20), training.train_loader, strict=False):
                training.trainer.train_step(*batch)
            found.append((training.trainer, values(training.model), before))
    (one, on_numpy, before), (other, on_kernels, _) = found
    assert one.scaler.state_dict() == other.scaler.state_dict()
    assert int(one.progress.skipped_steps) == int(other.progress.skipped_steps) > 0
    assert_near(on_kernels, on_numpy, before, 2e-2)
