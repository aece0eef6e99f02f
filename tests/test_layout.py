"""Memory format: what is channels-last stays so, on every backend, through every element-wise operation and back."""

import numpy as np
import pytest

import gpunet.functional as F
from gpunet import cat
from gpunet.backend import as_nchw, asarray, elementwise, to_cpu, use_backend, xp
from gpunet.ops import activation, arithmetic, formulas  # noqa: F401  (their operations are walked)
from gpunet.ops.operation import ElementWise
from gpunet.tensor import Tensor

pytestmark = pytest.mark.usefixtures("backend")


def constant(*shape):
    return Tensor(asarray(np.linspace(0.5, 1.5, int(np.prod(shape))).reshape(shape)))


OPERATIONS = {
    "Subtract": lambda x, y: x - y,
    "Multiply": lambda x, y: x * y,
    "Divide": lambda x, y: x / y,
    "Reciprocal": lambda x, y: 2 / x,
    "Power": lambda x, y: x**y,
    "Maximum": lambda x, y: F.maximum(x, y),
    "Minimum": lambda x, y: F.minimum(x, y),
    "Negate": lambda x, y: -x,
    "Remainder": lambda x, y: x % y,
    "Elementary": lambda x, y: x.sin(),
    "PreciseElementary": lambda x, y: x.log1p(),
    "Exp": lambda x, y: x.exp(),
    "Log": lambda x, y: x.log(),
    "Sqrt": lambda x, y: x.sqrt(),
    "Abs": lambda x, y: x.abs(),
    "Clamp": lambda x, y: x.clamp(0.5, 1.5),
    "LeakyReLU": lambda x, y: F.leaky_relu(x - 1, 0.1),
    "Sigmoid": lambda x, y: F.sigmoid(x),
    "Tanh": lambda x, y: F.tanh(x),
    "SiLU": lambda x, y: F.silu(x),
    "GELU": lambda x, y: F.gelu(x),
    "TanhGELU": lambda x, y: F.gelu(x, approximate="tanh"),
    "PReLU": lambda x, y: F.prelu(x - 1, constant(3)),
    "CELU": lambda x, y: F.celu(x - 1),
    "ELU": lambda x, y: F.elu(x - 1),
    "Hardshrink": lambda x, y: F.hardshrink(x - 1),
    "Hardsigmoid": lambda x, y: F.hardsigmoid(x),
    "Hardswish": lambda x, y: F.hardswish(x - 1),
    "Hardtanh": lambda x, y: F.hardtanh(x),
    "LogSigmoid": lambda x, y: F.logsigmoid(x),
    "Mish": lambda x, y: F.mish(x),
    "SELU": lambda x, y: F.selu(x - 1),
    "Softplus": lambda x, y: F.softplus(x),
    "Softshrink": lambda x, y: F.softshrink(x - 1),
    "Softsign": lambda x, y: F.softsign(x),
    "Tanhshrink": lambda x, y: F.tanhshrink(x),
    "Threshold": lambda x, y: F.threshold(x, 1.0, 0.5),
}
OTHERS = {
    "ReLU": lambda x, y: F.relu(x - 1),
    "Add": lambda x, y: x + y,
    "twice": lambda x, y: x * x + x,
    "number": lambda x, y: 2 - x * 3,
    "Cast": lambda x, y: x.double(),
    "Concatenate channels": lambda x, y: cat([x, y], dim=1),
    "Concatenate rows": lambda x, y: cat([x, y], dim=2),
    "Pad": lambda x, y: F.pad(x, (1, 2, 0, 1)),
    "Pad by mirroring": lambda x, y: F.pad(x, (1, 2, 0, 1), "reflect"),
    "Interpolate": lambda x, y: F.interpolate(x, 5, mode="bilinear"),
    "GroupNorm": lambda x, y: F.group_norm(x, 3, constant(3)),
    "Instance norm": lambda x, y: F.instance_norm(x),
    "Local response norm": lambda x, y: F.local_response_norm(x, 2),
    "Channel shuffle": lambda x, y: F.channel_shuffle(x, 3),
    "ConvTranspose2d": lambda x, y: F.conv_transpose2d(x, constant(3, 2, 2, 2), stride=2),
    "MaxUnpool2d": lambda x, y: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2, output_size=(4, 3)),
    "channel by channel": lambda x, y: x * y.mean((0, 2, 3), keepdim=True),
    "image by image": lambda x, y: x + y.mean((1, 2, 3), keepdim=True),
    "dropout": lambda x, y: F.dropout(x, 0.5),
    "dropout2d": lambda x, y: F.dropout2d(x, 0.5),
}


def channels_last(values, requires_grad=True):
    return Tensor(as_nchw(asarray(np.ascontiguousarray(np.moveaxis(values, 1, -1)))), requires_grad)


def is_channels_last(array):
    return array.transpose(0, 2, 3, 1).flags.c_contiguous


def subclasses(cls):
    return {each for direct in cls.__subclasses__() for each in {direct, *subclasses(direct)}}


def test_every_element_wise_operation_is_here():
    named = {each.__name__ for each in subclasses(ElementWise) if each.__module__.startswith("gpunet.ops")}
    assert {name for name in named if not name.startswith("_")} == set(OPERATIONS)


@pytest.mark.parametrize("name", OPERATIONS | OTHERS)
def test_layout_is_kept_there_and_back(name, rng):
    function = (OPERATIONS | OTHERS)[name]
    a, b = (rng.random((2, 3, 4, 3)) + 0.5 for _ in range(2))  # of the same size along three axes
    x, y = channels_last(a), channels_last(b)
    out = function(x, y)
    assert is_channels_last(out.array)
    (out * out).sum().backward()
    for leaf in (x, y):
        if leaf.grad is not None and "by" not in name:
            assert is_channels_last(leaf.grad.array)
    if name.startswith("dropout"):
        return  # random
    with use_backend("numpy"):
        p, q = Tensor(a, requires_grad=True), Tensor(b, requires_grad=True)
        expected = function(p, q)
        (expected * expected).sum().backward()
    np.testing.assert_allclose(to_cpu(out.array), expected.array, rtol=1e-12)
    for leaf, right in ((x, p), (y, q)):
        if right.grad is not None:
            np.testing.assert_allclose(to_cpu(leaf.grad.array), right.grad.array, rtol=1e-9)


def test_a_gradient_in_c_order_meets_what_was_seen_channels_last(rng):
    x = channels_last(rng.random((2, 3, 4, 3)))
    weight = Tensor(asarray(rng.random(2 * 3 * 4 * 3)))
    (F.relu(x.exp()).flatten() * weight).sum().backward()
    expected = np.exp(to_cpu(x.array)) * to_cpu(weight.array).reshape(2, 3, 4, 3)
    np.testing.assert_allclose(to_cpu(x.grad.array), expected, rtol=1e-12)


@pytest.mark.parametrize("shape", [(4, 3), (3,), (2, 3, 4, 3)], ids=str)
def test_operands_of_other_shapes_broadcast_as_ever(shape, rng):
    a, b = rng.random((2, 3, 4, 3)), rng.random(shape)
    x, y = channels_last(a), Tensor(asarray(b), requires_grad=True)
    (x * y).sum().backward()
    np.testing.assert_allclose(to_cpu((x * y).array), a * b)
    assert y.grad.shape == shape


def test_elementwise_also_writes_into_what_it_is_given(rng):
    a = rng.random((2, 3, 4, 5))
    x, out = channels_last(a, False).array, channels_last(a, False).array
    doubled = elementwise(lambda x, y, out=None: xp.multiply(x, y, out=out))(x, 2.0, out=out)
    np.testing.assert_array_equal(to_cpu(out), 2 * a)
    np.testing.assert_array_equal(to_cpu(doubled), 2 * a)
