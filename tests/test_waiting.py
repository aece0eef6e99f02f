"""Values that wait: batch norm, addition and ReLU in one pass, of which nobody can see anything but the speed."""

from __future__ import annotations

import copy
import gc
import sys
import threading

import numpy as np
import pytest

from gpunet import functional as F
from gpunet import models, nn, tape
from gpunet.amp import GradScaler
from gpunet.backend import as_nchw, asarray, to_cpu, use_backend, xp
from gpunet.errors import BackendError, OutOfMemoryError
from gpunet.nn.observe import observe
from gpunet.ops import batchnorm, conv, waiting
from gpunet.optim import SGD
from gpunet.tape import no_grad
from gpunet.tensor import Tensor, own, tensor
from gpunet.testing import gradcheck

tensor_module = sys.modules["gpunet.tensor"]  # gpunet.tensor is the function

pytestmark = pytest.mark.usefixtures("backend")

SHAPE = (4, 6, 5, 5)


def fresh(rng, shape=SHAPE, requires_grad=False, dtype=np.float32):
    """A Tensor that nobody else holds, channels last in memory as what a convolution returns."""
    values = rng.standard_normal(shape).astype(dtype)
    if len(shape) == 4:
        return own(as_nchw(asarray(np.ascontiguousarray(values.transpose(0, 2, 3, 1)))), requires_grad)
    return own(asarray(values), requires_grad)


def waits(value):
    return waiting.is_waiting(value._array)


def bits(value):
    return np.ascontiguousarray(to_cpu(value.array if isinstance(value, Tensor) else value)).tobytes()


@pytest.fixture
def passes(monkeypatch):
    """What the last pass of batch norm was asked for: whether there was a residual, and a ReLU."""
    seen = []

    def watched(x, known, residual=None, relu=False):
        seen.append((residual is not None, relu))
        return normalise(x, known, residual, relu)

    normalise = batchnorm.normalise
    monkeypatch.setattr(batchnorm, "normalise", watched)
    return seen


def expected(x, residual=None, relu=False):
    """From the formula, in float64."""
    x = to_cpu(x.array).astype(np.float64)
    axes = (0, *range(2, x.ndim))
    y = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-5)
    y = y if residual is None else y + to_cpu(residual.array)
    return np.maximum(y, 0) if relu else y


def close(value, reference):
    np.testing.assert_allclose(to_cpu(value.array), reference, atol=1e-5)


# ---------------------------------------------------------------------- what goes together


def test_a_residual_block_is_one_pass(rng, passes):
    x, shortcut = fresh(rng), fresh(rng)
    y = F.relu(F.batch_norm(x, training=True) + shortcut)
    assert waits(y)
    assert passes == []
    close(y, expected(x, shortcut, relu=True))
    assert passes == [(True, True)]
    close(y, expected(x, shortcut, relu=True))
    assert passes == [(True, True)]  # computed once


@pytest.mark.parametrize("shape", [(6, 5), (4, 5, 3), SHAPE])
def test_every_shape(rng, passes, shape):
    x = fresh(rng, shape)
    close(F.relu(F.batch_norm(x, training=True)), expected(x, relu=True))
    assert len(passes) == 1


def test_evaluation(rng, passes):
    x, shortcut = fresh(rng), fresh(rng)
    bn = nn.BatchNorm2d(6)
    bn.running_mean.array[...] = 0.5
    y = F.relu(shortcut + bn.eval()(x))
    close(y, np.maximum((to_cpu(x.array) - 0.5) / np.sqrt(1 + 1e-5) + to_cpu(shortcut.array), 0))
    assert passes == [(True, True)]


def test_of_two_that_wait_one_is_computed(rng, passes):
    a, b = fresh(rng), fresh(rng)
    y = F.relu(F.batch_norm(a, training=True) + F.batch_norm(b, training=True))
    assert waits(y)
    close(y, np.maximum(expected(a) + expected(b), 0))
    assert passes == [(False, False), (True, True)]


def test_a_second_residual_and_a_second_relu_are_steps_of_their_own(rng, passes):
    x, r, s = fresh(rng), fresh(rng), fresh(rng)
    close(F.batch_norm(x, training=True) + r + s, expected(x, r) + to_cpu(s.array))
    close(F.relu(F.batch_norm(x, training=True)) + s, expected(x, relu=True) + to_cpu(s.array))
    close(F.relu(F.relu(F.batch_norm(x, training=True))), expected(x, relu=True))
    assert passes == [(True, False), (False, True), (False, True)]


def test_relu_of_the_one_and_the_other_added_to_it(rng, passes):
    a, b = fresh(rng), fresh(rng)
    y = F.relu(F.batch_norm(a, training=True)) + F.batch_norm(b, training=True)
    close(y, expected(a, relu=True) + expected(b))
    assert passes == [(False, True), (True, False)]


def test_twice_the_same(rng, passes):
    x = fresh(rng, requires_grad=True)
    h = F.batch_norm(x, training=True)
    y = h + h
    close(y, 2 * expected(x))
    assert passes == [(False, False)]
    (y * y).sum().backward()  # 4 sum xhat^2, which is the same for every x but for eps
    np.testing.assert_allclose(to_cpu(x.grad.array), 0, atol=1e-3)


def test_two_that_need_it_compute_it_once(rng, passes):
    x = fresh(rng)
    h = F.batch_norm(x, training=True)
    close(h * 2, 2 * expected(x))
    close(h * 3, 3 * expected(x))
    assert passes == [(False, False)]


def test_numbers_and_shapes_and_types_that_differ_never_go_together(rng, passes):
    x = fresh(rng)
    row, wide = fresh(rng, (1, 6, 1, 1)), fresh(rng, dtype=np.float64)
    for other in (3.0, row, wide):
        h = F.batch_norm(x, training=True)
        y = h + other
        assert not waits(y)
        close(y, expected(x) + (to_cpu(other.array) if isinstance(other, Tensor) else other))
    assert set(passes) == {(False, False)}


def test_sums_of_float16_are_rounded_twice_whether_looked_at_or_not(rng):
    x, r = fresh(rng, dtype=np.float16), fresh(rng, dtype=np.float16)
    one = F.relu(F.batch_norm(x, training=True) + r)
    h = F.batch_norm(x, training=True)
    h.handed_out()
    assert bits(one) == bits(F.relu(h + r))


def test_another_memory_order_is_added_on_its_own(rng, passes):
    x, r = fresh(rng), own(asarray(rng.standard_normal(SHAPE).astype(np.float32)))
    close(F.relu(F.batch_norm(x, training=True) + r), expected(x, r, relu=True))
    assert passes == [(False, False)]


def test_the_way_torchvision_writes_it(rng, passes):
    x, identity = fresh(rng), fresh(rng)
    out = F.batch_norm(x, training=True)
    out += identity
    out = nn.ReLU(inplace=True)(out)
    close(out, expected(x, identity, relu=True))
    assert passes == [(True, True)]


def test_an_empty_graph_of_what_waits_leaves_nothing_behind(rng):
    gc.collect()
    before = set(waiting._handed_out)  # what other tests keep
    F.relu(F.batch_norm(fresh(rng), training=True))
    gc.collect()
    assert not waiting._waiting
    assert set(waiting._handed_out) <= before


# ---------------------------------------------------------------------- a convolution in evaluation


@pytest.fixture
def convolutions(monkeypatch):
    """The passes of convolutions forward, by name, with what was asked for beside the convolution."""
    seen = []
    convolve, together = conv.convolve, conv.convolve_normalise

    def alone(*args):
        seen.append("alone")
        return convolve(*args)

    def joined(*args):
        before = len(seen)
        y = together(*args)
        seen[before:] = [(args[6] is not None, args[7])]  # the page calls the other
        return y

    monkeypatch.setattr(conv, "convolve", alone)
    monkeypatch.setattr(conv, "convolve_normalise", joined)
    return seen


def with_statistics(model):
    """Running statistics, weights and biases that are not the initial ones."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for each, low in ((module.running_mean, -0.5), (module.running_var, 0.5)):
                if each is not None:
                    nn.init.uniform_(each, low, low + 1)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 2)
                nn.init.uniform_(module.bias, -1, 1)
    return model.eval()


def looked_at(value):
    value.handed_out()
    return value


SETTINGS = {
    "3x3": {"kernel_size": 3, "padding": 1},
    "1x1 without bias": {"kernel_size": 1, "bias": False},
    "stride 2": {"kernel_size": 3, "stride": 2, "padding": 1, "bias": False},
    "groups": {"kernel_size": 3, "groups": 2},
    "depthwise": {"kernel_size": 3, "padding": 1, "groups": 8},
    "dilation": {"kernel_size": (3, 2), "dilation": 2},
}


@pytest.mark.parametrize("kernels", [True, False])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("settings", SETTINGS)
def test_batch_norm_in_evaluation_is_a_part_of_the_convolution(
    rng, monkeypatch, convolutions, settings, affine, kernels
):
    if not kernels:
        monkeypatch.setenv("GPUNET_RAW_KERNELS", "0")
    x = fresh(rng, (3, 8, 7, 6))
    conv2d, bn = nn.Conv2d(8, 8, **SETTINGS[settings]), with_statistics(nn.BatchNorm2d(8, affine=affine))
    with no_grad():
        shortcut = fresh(rng, conv2d(x).shape)
        steps = [looked_at(conv2d(x))]
        for step in (bn, lambda y: y + shortcut, F.relu):
            steps.append(looked_at(step(steps[-1])))
        del convolutions[:]
        assert bits(bn(conv2d(x))) == bits(steps[1])
        assert bits(F.relu(bn(conv2d(x)))) == bits(F.relu(steps[1]))
        assert bits(bn(conv2d(x)) + shortcut) == bits(steps[2])
        assert bits(F.relu(shortcut + bn(conv2d(x)))) == bits(steps[3])
    assert convolutions == [(False, False), (False, True), (True, False), (True, True)]
    # The formula, with batch norm folded into the filters.
    scale = 1 / np.sqrt(to_cpu(bn.running_var.array).astype(np.float64) + bn.eps)
    scale = scale * to_cpu(bn.weight.array) if affine else scale
    shift = (to_cpu(bn.bias.array) if affine else 0) - to_cpu(bn.running_mean.array) * scale
    shift = shift + (0 if conv2d.bias is None else to_cpu(conv2d.bias.array) * scale)
    folded = F.conv2d(
        tensor(to_cpu(x.array).astype(np.float64)),
        tensor(to_cpu(conv2d.weight.array) * scale[:, None, None, None]),
        tensor(np.broadcast_to(shift, 8).astype(np.float64)),
        conv2d.stride,
        conv2d.padding,
        conv2d.dilation,
        conv2d.groups,
    )
    np.testing.assert_allclose(to_cpu(steps[1].array), folded.numpy(), atol=1e-5)


def test_a_convolution_alone(rng, convolutions):
    x, layer = fresh(rng), nn.Conv2d(6, 5, 3)
    with no_grad():
        y = layer(x)
    assert waits(y)
    assert bits(y) == bits(layer(x))
    with no_grad():
        z = F.relu(layer(x))
        nn.BatchNorm2d(5)(layer(x))  # statistics of the batch need the values
    assert not waits(z)
    assert set(convolutions) == {"alone"}


def test_what_is_recorded_does_not_wait(rng, convolutions):
    x, layer, bn = fresh(rng), nn.Conv2d(6, 5, 3), nn.BatchNorm2d(5).eval()
    y = bn(layer(x))
    y.sum().backward()
    assert layer.weight.grad is not None
    layer.requires_grad_(False)
    bn(layer(x)).sum().backward()  # the convolution waits, batch norm needs its values to go back
    assert bn.weight.grad is not None
    assert set(convolutions) == {"alone"}
    x.requires_grad = True
    assert not waits(layer(x))


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("which", ["images", "weight", "bias", "shortcut"])
def test_who_holds_the_memory_of_a_convolution_may_write_there(rng, which, first):
    x, layer, bn = fresh(rng), nn.Conv2d(6, 6, 3, padding=1), with_statistics(nn.BatchNorm2d(6))
    shortcut = fresh(rng)
    written = {"images": x, "weight": layer.weight, "bias": layer.bias, "shortcut": shortcut}[which]
    with no_grad():
        reference = bits(
            F.relu(looked_at(looked_at(bn(looked_at(copy.deepcopy(layer)(x.clone())))) + shortcut.clone()))
        )
        held = written.handed_out() if first else None
        y = F.relu(bn(layer(x)) + shortcut)
        held = held if first else written.handed_out()
        held[...] = 100
        assert bits(y) == reference
        between = layer(x)
        written.handed_out()[...] = 50
        reference = bits(bn(copy.deepcopy(between)))
        written.handed_out()[...] = 0
        assert bits(bn(between)) == reference


def test_weights_that_are_written_by_the_library(rng):
    x, layer = fresh(rng), nn.Conv2d(6, 6, 3)
    state = {name: np.zeros(each.shape, np.float32) for name, each in layer.state_dict().items()}
    optimizer = SGD(layer.parameters(), lr=10)
    for write in (
        lambda: nn.init.uniform_(layer.weight),
        lambda: (layer(x).sum().backward(), optimizer.step()),
        lambda: layer.load_state_dict(state),
    ):
        with no_grad():
            reference, y = bits(layer(x)), layer(x)
        assert waits(y)
        write()
        assert bits(y) == reference
        assert bits(layer(x)) != reference


def test_saving_and_averaging_leave_the_weights_in_our_hands(rng):
    from gpunet.train.ema import AveragedWeights

    x, layer = fresh(rng), nn.Conv2d(6, 6, 3)
    layer.load_state_dict({name: to_cpu(each.array) for name, each in layer.state_dict().items()})
    SGD(layer.parameters(), lr=0.1).step()
    averages = AveragedWeights(layer, 0.9)
    averages.update(1)
    with no_grad(), averages.in_use():
        y, reference = layer(x), bits(layer(x))
        assert waits(y)
    nn.init.zeros_(layer.weight)
    averages.update(2)
    assert bits(y) == reference


@pytest.mark.parametrize(
    ("backend", "name"),
    [
        *[("numpy", name) for name in ("resnet8", "plain8", "resnet18", "resnet50")],
        *[("emulated", name) for name in ("resnet8", "plain8")],
        pytest.param("cupy", "resnet50", marks=pytest.mark.gpu),
    ],
    indirect=["backend"],
)
def test_networks_in_evaluation(rng, monkeypatch, name, convolutions):
    x = tensor(rng.standard_normal((2, 3, 32, 32)).astype(np.float32))
    model = with_statistics(models.create_model(name, 10, 3))
    with no_grad():
        y = model(x)
        assert "alone" not in convolutions
        with monkeypatch.context() as patch:
            patch.setattr(tensor_module, "own", lambda array, requires_grad=False: looked_at(own(array, requires_grad)))
            assert bits(model(x)) == bits(y)
    recorded = model(x)
    assert bits(recorded) == bits(y)


# ---------------------------------------------------------------------- gradients


def block(x, weight, bias, shortcut):
    return F.relu(F.batch_norm(x, None, None, weight, bias, training=True) + shortcut)


def test_the_tape_holds_what_was_written(rng):
    x = fresh(rng, requires_grad=True)
    node, names = F.relu(F.batch_norm(x, training=True) + fresh(rng))._node, []
    while isinstance(node, tape.Node):
        names.append(type(node.operation).__name__)
        node = node.inputs[0]
    assert names == ["ReLU", "Add", "BatchNorm"]


def test_gradients_are_those_of_finite_differences(rng):
    def make(shape):
        return fresh(rng, shape, requires_grad=True, dtype=np.float64)

    assert gradcheck(block, [make(SHAPE), make((6,)), make((6,)), make(SHAPE)])
    assert gradcheck(lambda x: F.relu(F.batch_norm(x, training=True)), [make(SHAPE)])


def test_batch_norm_cuts_the_gradient_itself(rng, monkeypatch):
    x = fresh(rng, requires_grad=True)
    outputs = []
    sums = batchnorm.backward_sums

    def watched(grad, x, known, relu_output=None):
        outputs.append(relu_output)
        return sums(grad, x, known, relu_output)

    monkeypatch.setattr(batchnorm, "backward_sums", watched)
    y = F.relu(F.batch_norm(x, training=True))
    y.backward(fresh(rng))
    assert bits(as_nchw(outputs[0])) == bits(y)


def test_recording_is_inherited_from_where_the_value_was_made(rng):
    x, w = fresh(rng, requires_grad=True), fresh(rng)
    with no_grad():
        h = F.batch_norm(x, training=True)
    y = F.relu(h)
    assert not y.requires_grad
    h = F.batch_norm(x, training=True)
    with no_grad():
        h.handed_out()
        assert not (h + w).requires_grad
    y = F.relu(h + w)
    with no_grad():
        y.handed_out()
    assert y.requires_grad
    y.sum().backward()
    assert x.grad is not None


def test_a_relu_that_nobody_looked_at_can_be_walked_back_from(rng):
    x, g = fresh(rng, requires_grad=True), fresh(rng)
    F.relu(F.batch_norm(x, training=True)).backward(g)
    first, x.grad = bits(x.grad), None
    y = F.relu(F.batch_norm(x, training=True))
    y.handed_out()
    y.backward(g)
    assert bits(x.grad) == first


def test_a_gradient_that_waits_and_reaches_a_leaf_is_its_own(rng):
    a, b = fresh(rng, requires_grad=True), fresh(rng, requires_grad=True)
    y = F.relu(a + b)
    y.sum().backward()
    a.grad.handed_out()[...] = 7
    assert 7 not in to_cpu(b.grad.array)
    assert isinstance(a.grad.array, xp.ndarray)


def used_once(x, s):
    return F.relu(F.batch_norm(x, training=True) + s)


def used_before(x, s):
    return F.batch_norm(s, training=True) * F.relu(F.batch_norm(x, training=True) + s)


def used_later(x, s):
    return F.relu(F.batch_norm(x, training=True) + s) + s * s


def used_by_both(x, s):
    return F.relu(F.batch_norm(x, training=True) + F.batch_norm(s, training=True))


def twice(x, s):
    h = F.relu(F.batch_norm(x, training=True))
    return F.relu(h + h) * s


def a_chain(x, s):
    h = F.relu(s)
    for _ in range(3):
        h = F.relu(F.batch_norm(x * h, training=True) + h)
    return h


@pytest.mark.parametrize("written", [used_once, used_before, used_later, used_by_both, twice, a_chain])
def test_a_gradient_that_two_are_given_is_cut_for_both(rng, monkeypatch, written):
    """And written over by neither: where nothing may wait on the way back, the gradients are the same."""
    shape = (4, 6, 32, 32)  # large enough for the kernels
    values, weight = [rng.standard_normal(shape).astype(np.float32) for _ in range(2)], fresh(rng, shape)
    gradients = []
    for takes in (tape._takes_waiting, lambda target: False):
        monkeypatch.setattr(tape, "_takes_waiting", takes)
        x, s = (tensor(each, requires_grad=True) for each in values)
        (written(x, s) * weight).sum().backward()
        gradients.append((x.grad.numpy(), s.grad.numpy()))
    for waited, at_once in zip(*gradients, strict=True):
        np.testing.assert_allclose(waited, at_once, rtol=1e-5, atol=1e-5 * np.abs(at_once).max())
    small = [tensor(each[:2, :2, :3, :3].astype(np.float64), requires_grad=True) for each in values]
    assert gradcheck(written, small)


def test_infinite_gradients(rng, monkeypatch):
    x = fresh(rng, requires_grad=True)
    g = np.full(SHAPE, np.inf, np.float32)
    g[..., :3] = -1
    gradients = []
    for takes in (tape._takes_waiting, lambda target: False):
        monkeypatch.setattr(tape, "_takes_waiting", takes)
        x.grad = None
        F.relu(F.batch_norm(x, training=True)).backward(tensor(g))
        gradients.append(to_cpu(x.grad.array))
    np.testing.assert_array_equal(*gradients)


# ---------------------------------------------------------------------- looking changes nothing


def resnet(rng, small):
    model = models.resnet8() if small else models.resnet20()
    size = 8 if small else 16
    return model, tensor(rng.standard_normal((3, 3, size, size)).astype(np.float32))


def outcome(model, x, monkeypatch, when):
    """One training step's bits, the values on the way among them, looked at `when`: never, at once, or later."""
    model, made = copy.deepcopy(model), []

    def kept(array, requires_grad=False):
        made.append(own(array, requires_grad))
        if when == "at once":
            made[-1].handed_out()
        return made[-1]

    with monkeypatch.context() as patch:
        if when != "never":
            patch.setattr(tensor_module, "own", kept)
        if when == "at once":
            patch.setattr(tape, "_takes_waiting", lambda target: False)  # gradients, too
        logits = model(x)
        loss = F.cross_entropy(logits, tensor([0, 1, 2]))
    values = [bits(each.handed_out()) for each in reversed(made)] if when == "before" else []
    loss.backward()
    values = values or [bits(each.handed_out()) for each in reversed(made)]
    gradients = [bits(each.grad) for each in model.parameters()]
    buffers = [bits(each) for each in model.buffers()]
    return [bits(logits), bits(loss), *gradients, *buffers], values


@pytest.mark.parametrize("kernels", [True, False])
def test_looking_changes_no_bit_of_a_resnet(rng, monkeypatch, backend, kernels):
    if not kernels:
        monkeypatch.setattr("gpunet.backend.kernels._turned_off", True)
    model, x = resnet(rng, small=backend == "emulated")
    unseen, _ = outcome(model, x, monkeypatch, "never")
    seen, values = outcome(model, x, monkeypatch, "at once")
    assert seen == unseen
    assert len(values) > 30
    for when in ("before", "after"):
        seen, later = outcome(model, x, monkeypatch, when)
        assert seen == unseen
        assert later == values


def test_observers_see_what_is_named(rng, backend):
    model, x = resnet(rng, small=backend == "emulated")
    seen = {}
    with no_grad():
        expected = model(x)
        with observe(model, lambda name, module, inputs, output: seen.update({name: output.numpy().copy()})):
            model.train()(x)
    assert (seen["layer1.0.bn1"] < 0).any()  # of batch norm, before the ReLU
    assert (seen["layer1.0"] >= 0).all()
    assert bits(seen[""]) == bits(expected)


# ---------------------------------------------------------------------- nobody writes where something waits to read


def put(tensor_or_array, value=100.0):
    array = tensor_or_array if isinstance(tensor_or_array, xp.ndarray) else tensor_or_array.handed_out()
    array[...] = value


def detached(x):
    return x.detach().handed_out()


def viewed(x):
    return x[1:].handed_out()


def copied_by_reference(x):
    return copy.copy(x).handed_out()


HANDS = {
    "data": lambda x: x.handed_out(),
    "a part of data": lambda x: x.handed_out()[1:],
    "detach": detached,
    "a view": viewed,
    "a permuted view": lambda x: x.permute(0, 2, 3, 1).handed_out(),
    "copy.copy": copied_by_reference,
    "a parameter": lambda x: nn.Parameter(x).handed_out(),
}


@pytest.mark.parametrize("hand", HANDS)
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("which", ["x", "residual"])
def test_who_holds_the_memory_may_write_there(rng, hand, first, which):
    x, residual = fresh(rng), fresh(rng)
    reference = expected(x, residual, relu=True)
    written = x if which == "x" else residual
    held = HANDS[hand](written) if first else None
    y = F.relu(F.batch_norm(x, training=True) + residual)
    held = held if first else HANDS[hand](written)
    assert not waits(y)
    held[...] = 100
    close(y, reference)


def test_numpy_is_the_very_memory(rng, backend):
    x = fresh(rng)
    reference = expected(x)
    y = F.batch_norm(x, training=True)
    x.numpy()[...] = 100  # on a GPU a copy
    close(y, reference)


def test_an_array_of_the_user_is_read_at_once(rng):
    for make in (Tensor, tensor_module.as_tensor):
        array = asarray(rng.standard_normal((8, 6)).astype(np.float32))
        x = make(array)
        reference = expected(x)
        y = F.batch_norm(x, training=True)
        assert not waits(y)
        array[...] = 100
        close(y, reference)
    x = fresh(rng)
    x.data = array = asarray(rng.standard_normal(SHAPE).astype(np.float32))
    reference = expected(x)
    y = F.batch_norm(x.reshape(SHAPE), training=True)
    array[...] = 100
    close(y, reference)


def test_memory_that_was_held_once_is_held_for_good(rng):
    x = fresh(rng)
    array = x.handed_out()
    del array
    assert not waits(F.batch_norm(x, training=True))


def test_what_batch_norm_knows_of_its_channels_is_a_copy(rng):
    x, bn = fresh(rng), nn.BatchNorm2d(6).eval()
    y = bn(x)
    for each in (*bn.parameters(), *bn.buffers()):
        each.handed_out()[...] = 7
    close(y, to_cpu(x.array) / np.sqrt(1 + 1e-5))
    wide = fresh(rng, (8, 6), dtype=np.float64)
    mean, var = (own(asarray(np.full(6, value))) for value in (0.0, 1.0))
    y = F.batch_norm(wide, mean, var)
    put(mean)
    put(var)
    close(y, to_cpu(wide.array) / np.sqrt(1 + 1e-5))


def test_steps_of_an_optimizer_come_after_what_waits(rng):
    x, p = fresh(rng), fresh(rng, requires_grad=True)
    reference = expected(x, p)
    (p * p).sum().backward()
    optimizer = SGD([p], lr=0.5)
    with no_grad():
        y = F.batch_norm(x, training=True) + p
    assert waits(y)
    optimizer.step()
    assert (to_cpu(p.array) == 0).all()
    close(y, reference)


def test_loading_and_drawing_weights_come_after_what_waits(rng):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.p = nn.Parameter(fresh(rng))

    x, net = fresh(rng), Net()
    for write in (
        lambda: net.load_state_dict({"p": np.zeros(SHAPE, np.float32)}),
        lambda: nn.init.uniform_(net.p),
        lambda: nn.init.ones_(net.p),
        lambda: SGD([net.p], 0.1).zero_grad(set_to_none=False),
        lambda: put(net.state_dict()["p"]),
    ):
        reference = expected(x, net.p)
        with no_grad():
            y = F.batch_norm(x, training=True) + net.p
        write()
        close(y, reference)


def test_gradients_that_are_scaled_in_place(rng):
    x, p = fresh(rng), fresh(rng, requires_grad=True)
    (p * p).sum().backward()
    reference = expected(x, p.grad)
    y = F.batch_norm(x, training=True) + p.grad
    nn_utils_clip(p)
    close(y, reference)
    scaler, reference = GradScaler(), expected(x, p.grad)
    y = F.batch_norm(x, training=True) + p.grad
    optimizer = SGD([p], lr=0.1)
    scaler.unscale_(optimizer)
    close(y, reference)


def nn_utils_clip(p):
    from gpunet.optim import clip_grad_norm_

    clip_grad_norm_(p, 0.1)


# ---------------------------------------------------------------------- whoever meets it meets an array


def test_copies(rng):
    y = F.relu(F.batch_norm(fresh(rng), training=True))
    twin = copy.deepcopy(y)
    assert isinstance(twin._array, xp.ndarray)
    assert bits(twin) == bits(y)
    assert bits(y.clone()) == bits(y)
    assert isinstance(F.batch_norm(fresh(rng), training=True).detach()._array, xp.ndarray)


def test_printing_and_shapes(rng):
    x = fresh(rng, (3, 2))
    y = F.batch_norm(x, training=True)
    assert (y.shape, y.ndim, y.dtype, y.numel(), len(y), y.size(1)) == ((3, 2), 2, np.float32, 6, 3, 2)
    assert y.is_floating_point()
    assert waits(y)
    assert "tensor([[" in repr(y)
    assert len(F.batch_norm(x, training=True).tolist()) == 3
    assert float(F.batch_norm(x, training=True)[0, 0]) == float(y[0, 0])


def test_a_switch_of_backend_computes_what_waits(rng, backend):
    x = fresh(rng)
    y = F.relu(F.batch_norm(x, training=True))
    z = F.batch_norm(x, training=True)
    with use_backend("emulated" if backend == "numpy" else "numpy"):
        assert not waits(y)
        assert not isinstance(y.array, xp.ndarray)
        for use in (F.relu, lambda z: z + z, lambda z: z + y):
            with pytest.raises(BackendError):
                use(z)
    close(y, expected(x, relu=True))


def test_many_threads_look_at_once(rng, passes):
    x, r = fresh(rng, (16, 6, 9, 9)), fresh(rng, (16, 6, 9, 9))
    h = F.batch_norm(x, training=True)
    s = h + r
    y = F.relu(s)
    start, found = threading.Barrier(8), []

    def look(value):
        start.wait()
        found.append((value is h, bits(value.handed_out())))

    threads = [threading.Thread(target=look, args=(value,)) for value in (h, y, h, y, s, h, y, s)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(found) == 8
    assert len(set(found)) == 3
    assert sorted(passes) == [(False, False), (True, False), (True, True)]


def test_memory_that_does_not_suffice_is_told_of_the_layer_that_put_it_off(rng, monkeypatch):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Sequential(nn.Conv2d(6, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2))

        def forward(self, x):
            return self.first(x)

    normalise = batchnorm.normalise

    def no_room(*args):
        raise MemoryError

    monkeypatch.setattr(batchnorm, "normalise", no_room)
    with pytest.raises(OutOfMemoryError, match=r"in layer first.1 \(BatchNorm2d\): BatchNorm: out of memory on inputs"):
        Net()(fresh(rng))
    x = fresh(rng)
    y = nn.BatchNorm2d(6)(x)
    for _ in range(2):  # it is raised again
        with pytest.raises(OutOfMemoryError, match="in layer BatchNorm2d: BatchNorm: out of memory"):
            y.handed_out()
        with pytest.raises(OutOfMemoryError):
            x.handed_out()
    monkeypatch.setattr(batchnorm, "normalise", normalise)
    close(y, expected(x))


def test_errors_are_raised_again(rng, monkeypatch):
    x = fresh(rng)
    y = F.relu(F.batch_norm(x, training=True))
    with monkeypatch.context() as patch:
        patch.setattr(batchnorm, "normalise", lambda *args: 1 / 0)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                y.handed_out()
    close(y, expected(x, relu=True))
