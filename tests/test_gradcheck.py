"""gradcheck finds what is wrong, and lets pass what is right."""

import math

import numpy as np
import pytest

from gpunet.errors import DTypeError, GradientError
from gpunet.ops.operation import Operation
from gpunet.tensor import apply, tensor
from gpunet.testing import gradcheck

pytestmark = pytest.mark.usefixtures("backend")


class Product(Operation):
    """a * b, with a backward that a test can choose."""

    def __init__(self, backward):
        self._backward = backward

    def forward(self, a, b):
        self.a, self.b = a, b
        return a * b

    def backward(self, grad):
        return self._backward(grad, self.a, self.b)


def inputs(*requires_grad):
    return [
        tensor(np.random.default_rng(seed).uniform(1, 2, (3, 4)), requires_grad=each)
        for seed, each in enumerate(requires_grad)
    ]


def check(backward, *requires_grad):
    return gradcheck(lambda a, b: apply(Product(backward), a, b), inputs(*requires_grad))


def at_one_place(value):
    def backward(grad, a, b):
        da = grad * b
        da[1, 2] = value
        return da, grad * a

    return backward


@pytest.mark.parametrize("requires_grad", [(True, True), (True, False), (False, True)])
def test_right_gradient_passes(requires_grad):
    assert check(lambda grad, a, b: (grad * b, grad * a), *requires_grad)


@pytest.mark.parametrize(
    ("backward", "message"),
    [
        pytest.param(lambda g, a, b: (g * b * 2, g * a), "gradient of input 0", id="a factor"),
        pytest.param(lambda g, a, b: (g * b * 1.001, g * a), "gradient of input 0", id="a small factor"),
        pytest.param(lambda g, a, b: (g * b, -g * a), "gradient of input 1", id="a sign"),
        pytest.param(lambda g, a, b: (g * a, g * b), "gradient of input 0", id="inputs exchanged"),
        pytest.param(lambda g, a, b: (b, g * a), "gradient of input 0", id="upstream forgotten"),
        pytest.param(lambda g, a, b: (g * b, g.sum() * a), "gradient of input 1", id="upstream summed"),
        pytest.param(lambda g, a, b: (g * b, (g * a)[::-1]), "gradient of input 1", id="rows reversed"),
        pytest.param(lambda g, a, b: (g * b + (a > 1.9), g * a), "gradient of input 0", id="wrong at few places"),
        pytest.param(lambda g, a, b: (None, g * a), "no gradient reached input 0", id="missing"),
        pytest.param(at_one_place(math.nan), "nan", id="NaN"),
        pytest.param(at_one_place(math.inf), "inf", id="infinite"),
    ],
)
def test_wrong_gradient_is_found(backward, message):
    with pytest.raises(GradientError, match=message):
        check(backward, True, True)


def test_forward_that_returns_nan_is_found():
    with pytest.raises(GradientError, match="nan"):
        gradcheck(lambda x: x * float("nan"), inputs(True)[0])


def test_only_float64_will_do():
    with pytest.raises(DTypeError, match=r"input 0 must be float64, got float32"):
        gradcheck(lambda x: x * 2, tensor([1.0], requires_grad=True))


def test_gradients_of_the_caller_are_left_alone():
    x = tensor(np.ones(3), requires_grad=True)
    gradcheck(lambda x: x * x, x)
    assert x.grad is None


@pytest.mark.parametrize("shape", [(), (1,), (2, 0)])
def test_any_shape(shape):
    assert gradcheck(lambda x: x * x * x, tensor(np.ones(shape), requires_grad=True))


def test_integers_beside_floats():
    labels = tensor([1, 0])
    assert gradcheck(lambda x, t: x[t] * 2, [tensor(np.ones(2), requires_grad=True), labels])
