"""The CPU kernels of pooling, against loops in float64 and, where nothing is rounded, to the bit against the page."""

import functools

import numpy as np
import pytest

from gpunet.backend.cpu_library import library
from gpunet.ops import adaptive_pooling, pooling
from gpunet.ops.window import Window
from tests import reference

pytestmark = [
    pytest.mark.skipif(library() is None, reason="there are no CPU kernels (python setup.py build_ext --inplace)"),
    pytest.mark.usefixtures("numpy_backend"),
]

NAN, INF = np.nan, np.inf
CHANNELS = [1, 3, 8, 19, 41]  # below, at and beyond the lanes of a vector, and of several
SIZES = [(7, 6), (4, 4), (3, 41)]
WINDOWS = {
    "2x2": Window((2, 2), (2, 2)),
    "3x3 overlapping": Window((3, 3), (1, 1), ((1, 1), (1, 1))),
    "3x3 stride 2": Window((3, 3), (2, 2), ((1, 1), (1, 1))),
    "3x3 stride 2 ceil": Window((3, 3), (2, 2), ((1, 1), (1, 1)), ceil_mode=True),
    "gaps": Window((2, 1), (3, 2)),
    "oblong": Window((1, 4), (2, 3), ((0, 0), (2, 2)), ceil_mode=True),
    "large": Window((3, 5), (1, 1), ((1, 1), (2, 2))),
    "1x1": Window((1, 1)),
}
DILATED = {
    "dilated": Window((3, 2), (2, 1), ((2, 2), (1, 1)), (2, 3)),
    "dilated ceil": Window((2, 3), (3, 2), ((1, 1), (2, 2)), (3, 2), True),
}
MOSTLY_PADDING = Window((2, 2), (1, 1), ((2, 2), (2, 2)), (5, 4))  # some windows see nothing of the image


def kernel(one_pass, *args):
    """What the CPU kernel of a pass computes, having made sure that it takes the arguments."""
    run, takes = one_pass.kernels["cpu"][0]
    assert takes(*args)
    return run(*args)


def covered(size, window):
    """The rows and the columns that each window covers."""
    before = [pair[0] for pair in window.padding]
    axes = zip(size, window.kernel, window.stride, before, window.dilation, strict=True)
    return [reference.spans(*axis, ceil_mode=window.ceil_mode) for axis in axes]


def nchw(x):
    return np.moveaxis(x.astype(np.float64), -1, 1)


def close(actual, expected):
    """The error is at most some roundings of the largest value that goes into an output."""
    np.testing.assert_allclose(nchw(actual), expected, rtol=1e-6, atol=3e-6)


def few_values(rng, *shape):
    """Random values, of which several in a window are equal."""
    return rng.integers(-3, 2, shape).astype(np.float32)


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("window", [*WINDOWS.values(), *DILATED.values()], ids=[*WINDOWS, *DILATED])
def test_max_pool(window, channels, rng):
    for size in SIZES:
        x = few_values(rng, 2, *size, channels)
        y, winner = kernel(pooling.max_pool2d_forward, x, window, True)
        np.testing.assert_array_equal(nchw(y), reference.max_pool(nchw(x), *covered(size, window)))
        np.testing.assert_array_equal(winner, pooling.max_pool2d_forward.page(x, window, True)[1])
        grad = rng.integers(-8, 8, y.shape).astype(np.float32)
        dx = kernel(pooling.max_pool2d_backward, grad, winner, window, x.shape)
        np.testing.assert_array_equal(
            nchw(dx), reference.max_pool_gradient(nchw(x), nchw(grad), *covered(size, window))
        )
        alone, nothing = kernel(pooling.max_pool2d_forward, x, window, False)
        assert nothing is None
        np.testing.assert_array_equal(alone, y)


@pytest.mark.parametrize("special", [[NAN], [INF, -INF], [-INF], [NAN, INF, -INF]], ids=str)
@pytest.mark.parametrize("window", [WINDOWS["2x2"], WINDOWS["3x3 stride 2 ceil"], DILATED["dilated"], MOSTLY_PADDING])
@pytest.mark.parametrize("channels", [1, 3, 8, 19])
def test_max_pool_of_what_is_not_finite(window, special, channels, rng):
    x = few_values(rng, 2, 7, 12, channels)
    x[rng.random(x.shape) < 0.4] = special[0]
    x[rng.random(x.shape) < 0.3] = special[-1]
    y, winner = kernel(pooling.max_pool2d_forward, x, window, True)
    page = pooling.max_pool2d_forward.page(x, window, True)
    np.testing.assert_array_equal(y, page[0])
    np.testing.assert_array_equal(winner, page[1])
    dx = kernel(pooling.max_pool2d_backward, y, winner, window, x.shape)  # a gradient that is not finite, either
    np.testing.assert_array_equal(dx, pooling.max_pool2d_backward.page(y, winner, window, x.shape))


@pytest.mark.parametrize("channels", [1, 8, 11])
def test_max_pool_remembers_winners_of_large_windows(channels, rng):
    window = Window((20, 20), (1, 1))
    x = rng.standard_normal((1, 41, 41, channels)).astype(np.float32)
    y, winner = kernel(pooling.max_pool2d_forward, x, window, True)
    assert winner.dtype == np.int32
    np.testing.assert_array_equal(winner, pooling.max_pool2d_forward.page(x, window, True)[1])
    grad = np.full(y.shape, 0.1, np.float32)  # a pixel wins up to 400 windows
    dx = kernel(pooling.max_pool2d_backward, grad, winner, window, x.shape)
    won = np.zeros(x.shape)
    for row, column, c in np.ndindex(*winner.shape[1:]):
        down, across = divmod(winner[0, row, column, c], 20)
        won[0, row + down, column + across, c] += 1
    np.testing.assert_allclose(dx, won * np.float64(np.float32(0.1)), rtol=1e-6)


def divisor_of(window, count_include_pad, override, size, spans):
    """By how much the sum of a window is divided."""
    rows, columns = (range(-p, length + p) for (p, _), length in zip(window.padding, size, strict=True))

    @functools.cache  # it is asked for each image and channel anew
    def divisor(row, column, inside):
        if override or not count_include_pad:
            return override or inside
        return sum(i in rows and j in columns for i in spans[0][row] for j in spans[1][column])

    return divisor


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("rule", [(True, None), (False, None), (True, 3)], ids=["padded", "inside", "override"])
@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)
def test_avg_pool(window, rule, channels, rng):
    for size in SIZES:
        x, spans = rng.standard_normal((2, *size, channels)).astype(np.float32), covered(size, window)
        divisor = divisor_of(window, *rule, size, spans)
        y = kernel(pooling.avg_pool2d_forward, x, window, *rule)
        close(y, reference.avg_pool(nchw(x), *spans, divisor))
        grad = rng.standard_normal(y.shape).astype(np.float32)
        dx = kernel(pooling.avg_pool2d_backward, grad, window, x.shape, *rule)
        close(dx, reference.avg_pool_gradient(nchw(x), nchw(grad), *spans, divisor))


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("output_size", [(1, 1), (2, 3), (5, 4), (7, 9), (11, 13)], ids=str)
def test_adaptive_pools(output_size, channels, rng):
    for size in [(7, 6), (1, 1), (3, 41), (20, 9)]:
        x = few_values(rng, 2, *size, channels)
        spans = [reference.adaptive_spans(given, cells) for given, cells in zip(size, output_size, strict=True)]
        y = kernel(adaptive_pooling.adaptive_avg_pool2d_forward, x, output_size)
        close(y, reference.avg_pool(nchw(x), *spans, lambda row, column, inside: inside))
        grad = rng.integers(-8, 8, y.shape).astype(np.float32)
        dx = kernel(adaptive_pooling.adaptive_avg_pool2d_backward, grad, x.shape)
        right = reference.avg_pool_gradient(nchw(x), nchw(grad), *spans, lambda row, column, inside: inside)
        np.testing.assert_allclose(nchw(dx), right, rtol=1e-6, atol=1e-5)
        top, winner = kernel(adaptive_pooling.adaptive_max_pool2d_forward, x, output_size, True)
        np.testing.assert_array_equal(nchw(top), reference.max_pool(nchw(x), *spans))
        page = adaptive_pooling.adaptive_max_pool2d_forward.page(x, output_size, True)
        np.testing.assert_array_equal(winner, page[1])
        dx = kernel(adaptive_pooling.adaptive_max_pool2d_backward, grad, winner, x.shape)
        np.testing.assert_array_equal(nchw(dx), reference.max_pool_gradient(nchw(x), nchw(grad), *spans))


@pytest.mark.parametrize("special", [[NAN], [-INF], [NAN, INF]], ids=str)
def test_adaptive_max_pool_of_what_is_not_finite(special, rng):
    x = few_values(rng, 2, 7, 6, 11)
    x[rng.random(x.shape) < 0.5] = special[0]
    x[rng.random(x.shape) < 0.2] = special[-1]
    for actual, page in zip(
        kernel(adaptive_pooling.adaptive_max_pool2d_forward, x, (3, 4), True),
        adaptive_pooling.adaptive_max_pool2d_forward.page(x, (3, 4), True),
        strict=True,
    ):
        np.testing.assert_array_equal(actual, page)


@pytest.mark.parametrize("channels", [1, 3, 8])
def test_averages_of_many_pixels_keep_their_digits(channels, rng):
    constant = np.full((1, 1024, 1024, channels), 0.1, np.float32)
    for x in (constant, rng.standard_normal(constant.shape, dtype=np.float32)):
        right, magnitude = x.mean(axis=(1, 2), dtype=np.float64), np.abs(x).mean()
        y = kernel(adaptive_pooling.adaptive_avg_pool2d_forward, x, (1, 1))
        assert np.abs(y[:, 0, 0] - right).max() < 1e-6 * magnitude
        y = kernel(pooling.avg_pool2d_forward, x, Window((512, 512), (512, 512)), True, None)
        assert np.abs(y.mean(axis=(1, 2), dtype=np.float64) - right).max() < 1e-6 * magnitude


@pytest.mark.parametrize("channels", [1, 5, 24])
def test_bits_depend_neither_on_threads_nor_on_the_batch(channels, threads, rng, monkeypatch):
    monkeypatch.setattr("gpunet.backend.cpu_kernels.LEAST_WORK", 1)  # small work goes to several threads, too
    x = rng.standard_normal((5, 13, 21, channels)).astype(np.float32)
    window = WINDOWS["3x3 stride 2 ceil"]

    def everything(x):
        y, winner = kernel(pooling.max_pool2d_forward, x, window, True)
        mean = kernel(pooling.avg_pool2d_forward, x, window, False, None)
        adaptive = kernel(adaptive_pooling.adaptive_avg_pool2d_forward, x, (4, 5))
        top, place = kernel(adaptive_pooling.adaptive_max_pool2d_forward, x, (4, 5), True)
        return [
            *(y, winner, mean, adaptive, top, place),
            kernel(pooling.max_pool2d_backward, y, winner, window, x.shape),
            kernel(pooling.avg_pool2d_backward, y, window, x.shape, False, None),
            kernel(adaptive_pooling.adaptive_avg_pool2d_backward, top, x.shape),
            kernel(adaptive_pooling.adaptive_max_pool2d_backward, top, place, x.shape),
        ]

    threads(1)
    alone = everything(x)
    for count in (2, 4):
        threads(count)
        for one, other in zip(alone, everything(x), strict=True):
            np.testing.assert_array_equal(one, other)
    for one, other in zip(alone, everything(x[2:3]), strict=True):
        np.testing.assert_array_equal(one[2:3], other)


def test_an_empty_batch():
    x = np.empty((0, 4, 4, 3), np.float32)
    y, winner = kernel(pooling.max_pool2d_forward, x, WINDOWS["2x2"], True)
    assert y.shape == winner.shape == (0, 2, 2, 3)
    assert kernel(pooling.max_pool2d_backward, y, winner, WINDOWS["2x2"], x.shape).shape == x.shape
    assert kernel(adaptive_pooling.adaptive_avg_pool2d_forward, x, (1, 1)).shape == (0, 1, 1, 3)


def test_other_types_stay_with_the_page(rng):
    x = rng.standard_normal((2, 4, 4, 8))
    y, _ = pooling.max_pool2d_forward(x, WINDOWS["2x2"], False)
    assert y.dtype == np.float64
