"""Activations and softmax: against formulas on Python numbers, finite differences, and far out on both sides."""

import inspect
import math

import numpy as np
import pytest

import gpunet
import gpunet.functional as F
from gpunet import nn
from gpunet.backend import asarray, to_cpu
from gpunet.errors import GradientError
from gpunet.ops.choice import where
from gpunet.tensor import tensor
from gpunet.testing import gradcheck
from tests import reference
from tests.reference import close, run, upstream

pytestmark = pytest.mark.usefixtures("backend")

INF, NAN = math.inf, math.nan


def sigmoid(x):
    return 1 / (1 + math.exp(-x)) if x > 0 else math.exp(x) / (1 + math.exp(x))


def normal_cdf(x):
    return 0.5 * math.erfc(-x / math.sqrt(2))


def tanh_gelu(x):
    return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


ACTIVATIONS = [  # the function and its formula
    pytest.param(F.relu, lambda x: max(x, 0.0), id="relu"),
    pytest.param(F.leaky_relu, lambda x: x if x > 0 else 0.01 * x, id="leaky_relu"),
    pytest.param(lambda x: F.leaky_relu(x, 0.3), lambda x: x if x > 0 else 0.3 * x, id="leaky_relu 0.3"),
    pytest.param(F.sigmoid, sigmoid, id="sigmoid"),
    pytest.param(F.tanh, math.tanh, id="tanh"),
    pytest.param(F.silu, lambda x: x * sigmoid(x), id="silu"),
    pytest.param(F.gelu, lambda x: x * normal_cdf(x), id="gelu"),
    pytest.param(lambda x: F.gelu(x, "tanh"), tanh_gelu, id="gelu tanh"),
    pytest.param(F.hardsigmoid, lambda x: min(max(x + 3, 0.0), 6.0) / 6, id="hardsigmoid"),
    pytest.param(F.hardswish, lambda x: x * min(max(x + 3, 0.0), 6.0) / 6, id="hardswish"),
    pytest.param(F.elu, lambda x: x if x > 0 else math.expm1(x), id="elu"),
    pytest.param(F.mish, lambda x: x * math.tanh(max(x, 0.0) + math.log1p(math.exp(-abs(x)))), id="mish"),
    pytest.param(F.logsigmoid, lambda x: min(x, 0.0) - math.log1p(math.exp(-abs(x))), id="logsigmoid"),
]


@pytest.mark.parametrize(("function", "formula"), ACTIVATIONS)
def test_activation_is_its_formula(function, formula):
    x = np.linspace(-6, 6, 97)
    close(function(tensor(x)).numpy(), [formula(value) for value in x], atol=1e-14)


@pytest.mark.parametrize(("function", "formula"), ACTIVATIONS)
def test_float32_keeps_its_digits_far_out(function, formula):
    x = np.linspace(-30, 30, 121).astype(np.float32)
    x = x[[abs(formula(value)) > 1e-30 for value in x.tolist()] | (x >= 0)]  # above the smallest float32 numbers
    rtol = 1e-3 if formula is tanh_gelu else 2e-5  # 1 + tanh(u) cancels by nature for negative u
    close(function(tensor(x)).numpy(), [formula(value) for value in x.tolist()], rtol, atol=1e-6 * (rtol == 1e-3))


@pytest.mark.parametrize(("function", "formula"), ACTIVATIONS)
def test_activation_gradient_is_a_finite_difference(function, formula, rng):
    x = rng.standard_normal((3, 4, 2)) * 3
    x += 0.01 * np.sign(x)  # away from the corner at 0
    assert gradcheck(function, tensor(x, requires_grad=True))


@pytest.mark.parametrize(("function", "formula"), ACTIVATIONS)
@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (5,), (2, 3, 4, 5)])
def test_activation_takes_any_shape(function, formula, shape):
    y, [gradient] = run(function, np.ones(shape))
    assert y.shape == gradient.shape == shape


@pytest.mark.parametrize(
    ("function", "formula", "slope"),
    [
        (F.elu, lambda x: np.where(x > 0, x, np.expm1(x)), lambda x: np.where(x > 0, 1, np.exp(x))),
        (
            F.hardswish,
            lambda x: x * np.clip(x + 3, 0, 6) / 6,
            lambda x: np.where(x < -3, 0, np.where(x > 3, 1, x / 3 + 0.5)),
        ),
    ],
    ids=["elu", "hardswish"],
)
@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (0, 3, 1, 2), (1, 0, 2, 3)], ids=["dense", "channels last", "neither"])
def test_large_arrays_are_done_piece_by_piece(function, formula, slope, axes, backend, rng):
    x = rng.standard_normal((5, 40, 50, 37)).astype(np.float32).transpose(axes) * 2
    y, [gradient] = run(function, x)
    close(y, formula(x.astype(np.float64)), 1e-6, 1e-6)
    close(gradient, upstream(x.shape) * slope(x.astype(np.float64)), 1e-6, 1e-6)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_where_chooses_every_bit(dtype, backend, rng):
    special = np.array([INF, -INF, NAN, 0.0, -0.0, 1.0, -2.0, 6e-8], dtype)
    a, b = rng.permutation(np.repeat(special, 8)), rng.permutation(np.repeat(special, 8))
    condition = rng.random(64) < 0.5
    for first, second in ((a, b), (a, -0.0), (2, b), (a.reshape(8, 8).T, b.reshape(8, 8))):
        chosen = condition.reshape(np.shape(b if np.shape(first) == () else first))
        whole = [np.broadcast_to(np.asarray(each, dtype), chosen.shape) for each in (first, second)]
        expected = [p if c else q for c, p, q in zip(chosen.flat, whole[0].flat, whole[1].flat, strict=True)]
        operands = (asarray(each) if isinstance(each, np.ndarray) else each for each in (first, second))
        got = to_cpu(where(asarray(chosen), *operands))
        assert got.dtype == dtype
        assert got.tobytes() == np.array(expected, dtype).reshape(chosen.shape).tobytes()


@pytest.mark.parametrize(
    ("function", "at_minus_inf", "at_inf"),
    [(F.relu, 0, INF), (F.leaky_relu, -INF, INF), (F.sigmoid, 0, 1), (F.tanh, -1, 1)],
)
def test_activation_of_infinities(function, at_minus_inf, at_inf):
    close(function(tensor([-INF, INF])).numpy(), [at_minus_inf, at_inf], 0, 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("function", "formula"), ACTIVATIONS)
def test_activation_at_huge_values_is_finite(function, formula, dtype):
    y, [gradient] = run(function, np.array([-1e4, -100, 0, 100, 1e4], dtype=dtype))
    assert np.isfinite(y).all()
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize(("function", "formula"), ACTIVATIONS)
def test_nan_stays_nan_and_touches_nothing_else(function, formula):
    y, [gradient] = run(function, np.array([1.0, NAN, -1.0]))
    close(np.isnan(y), [False, True, False])
    assert np.isfinite(gradient[[0, 2]]).all()


def test_relu_and_leaky_relu_at_zero():
    for function, slope in ((F.relu, 0.0), (F.leaky_relu, 0.01)):
        x = tensor([0.0, -0.0], requires_grad=True)
        function(x).sum().backward()
        close(x.grad.numpy(), np.full(2, slope, np.float32))


def test_gradient_passes_where_relu_is_nan():
    x = tensor([NAN], requires_grad=True)
    F.relu(x).sum().backward()
    assert x.grad.item() == 1


# ------------------------------------------------------------------------------------------------------------ softmax

SOFTMAXES = [F.softmax, F.log_softmax]


@pytest.mark.parametrize("function", SOFTMAXES)
@pytest.mark.parametrize("dim", [0, 1, 2, -1])
def test_softmax_is_its_formula_along_each_dimension(function, dim, rng):
    x = rng.standard_normal((3, 4, 2)) * 3
    y, [gradient] = run(lambda x: function(x, dim), x)
    rows, grads = (np.moveaxis(each, dim, -1) for each in (x, upstream(x.shape)))
    expected, by_x = np.empty(rows.shape), np.empty(rows.shape)
    for place in np.ndindex(rows.shape[:-1]):
        probabilities = np.array(reference.softmax(rows[place]))
        if function is F.softmax:
            expected[place], by_x[place] = probabilities, reference.softmax_gradient(rows[place], grads[place])
        else:
            expected[place] = np.log(probabilities)
            by_x[place] = reference.softmax_gradient(rows[place], grads[place] / probabilities)
    close([y, gradient], [np.moveaxis(expected, -1, dim), np.moveaxis(by_x, -1, dim)])


@pytest.mark.parametrize("function", SOFTMAXES)
@pytest.mark.parametrize("dim", [0, 1])
def test_softmax_gradient_is_a_finite_difference(function, dim, rng):
    assert gradcheck(lambda x: function(x, dim), tensor(rng.standard_normal((3, 5)), requires_grad=True))


def test_softmax_adds_up_to_1_and_log_softmax_is_its_logarithm(rng):
    x = tensor(rng.standard_normal((4, 7)) * 5)
    close(F.softmax(x, 1).sum(1).numpy(), np.ones(4))
    close(F.log_softmax(x, 1).exp().numpy(), F.softmax(x, 1).numpy())


@pytest.mark.parametrize("shift", [-1e4, 1e4])
def test_softmax_does_not_change_when_all_logits_move(shift):
    x = np.array([[1.0, 2.0, 4.0]], dtype=np.float32)
    for function in SOFTMAXES:
        close(function(tensor(x + np.float32(shift))).numpy(), function(tensor(x)).numpy(), 1e-6, 1e-6)


@pytest.mark.parametrize(
    ("logits", "softmax", "log_softmax"),
    [
        ([1e4, 0.0, -1e4], [1, 0, 0], [0, -1e4, -2e4]),
        ([0.0, -INF, 0.0], [0.5, 0, 0.5], [-math.log(2), -INF, -math.log(2)]),
        ([7.0], [1], [0]),
    ],
)
def test_softmax_of_extremes(logits, softmax, log_softmax):
    for function, expected in ((F.softmax, softmax), (F.log_softmax, log_softmax)):
        y, [gradient] = run(function, np.array(logits, dtype=np.float32))
        close(y, expected, rtol=1e-6)
        assert np.isfinite(gradient).all()


def test_nan_stays_in_its_row():
    for function in SOFTMAXES:
        y = function(tensor([[0.0, NAN], [1.0, 2.0]]), 1).numpy()
        close(np.isnan(y), [[True, True], [False, False]])


def test_relu_in_place(backend):
    """As in PyTorch: the Tensor that came in has the new values, and the gradient passes once."""
    x = gpunet.tensor([-2.0, 3.0], requires_grad=True)
    y = x * 2
    z = nn.ReLU(inplace=True)(y)
    assert z is y
    assert y.tolist() == [0, 6]
    (y * y).sum().backward()
    assert x.grad.tolist() == [0, 24]  # d(4x^2)/dx = 8x, where x > 0


def test_relu_in_place_on_a_leaf(backend):
    x = gpunet.tensor([-2.0, 3.0], requires_grad=True)
    with pytest.raises(GradientError, match="cannot be changed in place"):
        F.relu(x, inplace=True)
    with gpunet.no_grad():
        F.relu(x, inplace=True)
    assert x.tolist() == [0, 3]
    assert x.requires_grad
    constant = gpunet.tensor([-1.0])
    assert F.relu(constant, inplace=True) is constant
    assert constant.tolist() == [0]


IN_PLACE = [
    layer
    for layer in vars(nn.activation).values()
    if inspect.isclass(layer) and "inplace" in inspect.signature(layer).parameters
]


@pytest.mark.parametrize("layer", IN_PLACE, ids=lambda layer: layer.__name__)
def test_in_place_is_the_same_tensor_with_the_same_values_and_gradients(layer, rng):
    settings = (0.1, 5.0) if layer is nn.Threshold else ()
    x = rng.standard_normal((3, 4))

    def through(inplace):
        made = layer(*settings, inplace=inplace).eval()
        leaf = tensor(x, requires_grad=True)
        before = leaf * 2
        after = made(before)
        assert (after is before) == inplace
        after.backward(tensor(upstream(x.shape)))
        return after.numpy(), leaf.grad.numpy()

    close(through(True), through(False))
    assert "inplace=True" in repr(layer(*settings, inplace=True))
    assert "inplace" not in repr(layer(*settings))


def test_rrelu_draws_slopes_while_training():
    x = tensor(np.full((200, 50), -1.0, np.float32), requires_grad=True)
    layer = nn.RReLU(0.2, 0.6)
    y = layer(x)
    slopes = -y.numpy()
    assert 0.2 <= slopes.min() < 0.21
    assert 0.59 < slopes.max() < 0.6001
    assert abs(slopes.mean() - 0.4) < 0.01
    y.sum().backward()
    close(x.grad.numpy(), slopes)
    close(layer.eval()(x).numpy(), np.full((200, 50), -0.4), 1e-6)
