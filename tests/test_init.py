"""Starting values: bounds and moments against the formulas of the papers, gains against PyTorch's."""

import math

import numpy as np
import pytest

from gpunet.backend import manual_seed
from gpunet.errors import ArgumentError, ShapeError
from gpunet.nn import Parameter, init
from gpunet.tensor import tensor

pytestmark = pytest.mark.usefixtures("backend")

SHAPES = {(300, 200): (200, 300), (40, 30, 5, 7): (30 * 35, 40 * 35), (500, 20, 1, 1): (20, 500)}  # fan_in, fan_out


def blank(shape, dtype=np.float32):
    return Parameter(tensor(np.full(shape, np.nan), dtype))


def check_uniform(values, low, high):
    """All within the bounds, both reached, and mean and deviation those of U(low, high)."""
    width = high - low
    rounding = 1e-6 * max(abs(low), abs(high))  # the bound itself is rounded to float32
    assert low - rounding <= values.min() < low + 0.01 * width
    assert high - 0.01 * width < values.max() <= high + rounding
    assert abs(values.mean() - (low + high) / 2) < 0.015 * width
    assert abs(values.std() - width / math.sqrt(12)) < 0.015 * width


def check_normal(values, mean, std):
    """Mean, deviation and the share beyond one and two deviations are those of the normal distribution."""
    standard = (values - mean) / std
    assert abs(standard.mean()) < 0.05
    assert abs(standard.std() - 1) < 0.05
    for limit in (1, 2):
        assert abs((np.abs(standard) > limit).mean() - math.erfc(limit / math.sqrt(2))) < 0.02


def filled(shape, function, *args, **settings):
    parameter = blank(shape)
    assert function(parameter, *args, **settings) is parameter
    assert parameter.requires_grad  # and nothing was recorded
    assert parameter.is_leaf
    return parameter.numpy()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_constants(dtype):
    for fill, expected in ((init.zeros_, 0), (init.ones_, 1), (lambda t: init.constant_(t, 2.5), 2.5)):
        parameter = blank((3, 2), dtype)
        assert fill(parameter) is parameter
        np.testing.assert_array_equal(parameter.numpy(), np.full((3, 2), expected, dtype), strict=True)


def test_constant_of_a_single_number_and_of_nothing():
    assert init.constant_(tensor(0), 3).item() == 3
    assert init.normal_(tensor(np.zeros((0, 4)))).shape == (0, 4)


def test_uniform_and_normal():
    check_uniform(filled((200, 100), init.uniform_), 0, 1)
    check_uniform(filled((200, 100), init.uniform_, -3, 0.5), -3, 0.5)
    check_normal(filled((200, 100), init.normal_), 0, 1)
    check_normal(filled((200, 100), init.normal_, 5, 0.1), 5, 0.1)
    assert (filled((4,), init.uniform_, 2, 2) == 2).all()
    assert (filled((4,), init.normal_, 2, 0) == 2).all()


@pytest.mark.parametrize(("shape", "fans"), SHAPES.items())
@pytest.mark.parametrize("gain", [1.0, 5 / 3])
def test_xavier(shape, fans, gain):
    total = sum(fans)
    bound = gain * math.sqrt(6 / total)
    check_uniform(filled(shape, init.xavier_uniform_, gain), -bound, bound)
    check_normal(filled(shape, init.xavier_normal_, gain), 0, gain * math.sqrt(2 / total))


@pytest.mark.parametrize(("shape", "fans"), SHAPES.items())
@pytest.mark.parametrize(
    ("settings", "fan", "gain"),
    [
        ({}, 0, math.sqrt(2)),  # leaky_relu of slope 0 is relu
        ({"nonlinearity": "relu", "mode": "fan_out"}, 1, math.sqrt(2)),
        ({"a": 0.5}, 0, math.sqrt(2 / 1.25)),
        ({"a": math.sqrt(5)}, 0, math.sqrt(1 / 3)),
        ({"a": 0.5, "nonlinearity": "relu"}, 0, math.sqrt(2)),  # the slope is leaky_relu's
        ({"nonlinearity": "tanh", "mode": "fan_out"}, 1, 5 / 3),
        ({"nonlinearity": "linear"}, 0, 1),
    ],
)
def test_kaiming(shape, fans, settings, fan, gain):
    bound = gain * math.sqrt(3 / fans[fan])
    check_uniform(filled(shape, init.kaiming_uniform_, **settings), -bound, bound)
    check_normal(filled(shape, init.kaiming_normal_, **settings), 0, gain / math.sqrt(fans[fan]))


@pytest.mark.parametrize(
    ("nonlinearity", "param", "gain"),  # printed by torch.nn.init.calculate_gain
    [
        ("linear", None, 1),
        ("conv2d", None, 1),
        ("sigmoid", None, 1),
        ("tanh", None, 1.6666666666666667),
        ("relu", None, 1.4142135623730951),
        ("leaky_relu", None, 1.4141428569978354),
        ("leaky_relu", 0.2, 1.3867504905630728),
        ("leaky_relu", 0, 1.4142135623730951),
        ("leaky_relu", 1, 1),
        ("selu", None, 0.75),
    ],
)
def test_gains_are_those_of_pytorch(nonlinearity, param, gain):
    assert init.calculate_gain(nonlinearity, param) == pytest.approx(gain, rel=1e-15)


RANDOM = [init.uniform_, init.normal_, init.xavier_uniform_, init.xavier_normal_]
RANDOM += [init.kaiming_uniform_, init.kaiming_normal_]


@pytest.mark.parametrize("draw", RANDOM)
def test_the_same_seed_draws_the_same_bits(draw):
    manual_seed(3)
    first = filled((20, 10), draw)
    second = filled((20, 10), draw)
    manual_seed(3)
    np.testing.assert_array_equal(filled((20, 10), draw), first)
    assert not (second == first).any()
    manual_seed(3)
    as_double = draw(blank((20, 10), np.float64)).numpy()  # the same numbers whatever the type
    assert as_double.dtype == np.float64
    np.testing.assert_array_equal(as_double.astype(np.float32), first)


def test_the_numbers_of_a_seed_do_not_depend_on_the_backend():
    manual_seed(0)
    host, _ = np.random.SeedSequence(0).spawn(2)
    expected = np.random.default_rng(host).normal(0, 2, (3, 2)).astype(np.float32)
    np.testing.assert_array_equal(filled((3, 2), init.normal_, 0, 2), expected)


@pytest.mark.parametrize("draw", RANDOM[2:])
def test_fans_need_two_dimensions(draw):
    for shape in ((), (3,)):
        with pytest.raises(ShapeError, match="at least two dimensions"):
            draw(blank(shape))


def test_wrong_settings():
    weight = blank((3, 2))
    for draw in (init.kaiming_uniform_, init.kaiming_normal_):
        with pytest.raises(ArgumentError, match="mode must be 'fan_in' or 'fan_out', got 'fan'"):
            draw(weight, mode="fan")
        with pytest.raises(ArgumentError, match=r"nonlinearity must be one of linear, conv2d, .*, got 'gelu'"):
            draw(weight, nonlinearity="gelu")
    with pytest.raises(ArgumentError, match="'swish'"):
        init.calculate_gain("swish")
    for low, high in ((1, 0), (math.nan, 1)):
        with pytest.raises(ArgumentError, match="uniform_: a must be at most b"):
            init.uniform_(weight, low, high)
    for std in (-1, math.nan):
        with pytest.raises(ArgumentError, match="normal_: std must be 0 or more"):
            init.normal_(weight, 0, std)
    assert np.isnan(weight.numpy()).all()  # nothing was filled
