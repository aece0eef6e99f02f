"""Pooling: against loops, finite differences, and the rules for ties, infinities and NaN."""

import itertools

import numpy as np
import pytest

import gpunet.functional as F
from gpunet.tensor import tensor
from gpunet.testing import gradcheck
from tests import reference
from tests.reference import adaptive_spans, close, run, spans, upstream

pytestmark = pytest.mark.usefixtures("backend")

INF, NAN = np.inf, np.nan
SIZES = [(7, 6), (5, 9)]
WINDOWS = list(
    itertools.product(
        [(2, 2), (3, 3), (3, 2)],  # kernel
        [None, (1, 2), (3, 3)],  # stride
        [(0, 0), (1, 1)],  # padding
        [False, True],  # ceil_mode
    )
)
DILATIONS = [(1, 1), (2, 1)]


def window_spans(size, kernel, stride, padding, ceil_mode, dilation=(1, 1)):
    """The rows and the columns that each window covers."""
    stride = stride or kernel
    return [spans(*axis, ceil_mode=ceil_mode) for axis in zip(size, kernel, stride, padding, dilation, strict=True)]


def average_divisor(rows, columns, size, padding, count_include_pad, override):
    """What avg_pool2d divides a window by: its elements within the padded image, or only those within the image."""

    def divisor(row, column, inside):
        if override or not count_include_pad:
            return override or inside
        padded_rows, padded_columns = (range(-p, length + p) for p, length in zip(padding, size, strict=True))
        return sum(i in padded_rows and j in padded_columns for i in rows[row] for j in columns[column])

    return divisor


@pytest.mark.parametrize(("kernel", "stride", "padding", "ceil_mode"), WINDOWS)
@pytest.mark.parametrize("dilation", DILATIONS)
@pytest.mark.parametrize("size", SIZES)
def test_max_pool2d_is_the_loop(size, dilation, kernel, stride, padding, ceil_mode, rng):
    x = rng.integers(0, 5, (2, 2, *size)).astype(np.float64)  # few values, so that windows have ties
    covered = window_spans(size, kernel, stride, padding, ceil_mode, dilation)
    y, gradients = run(lambda x: F.max_pool2d(x, kernel, stride, padding, dilation, ceil_mode), x)
    close(y, reference.max_pool(x, *covered))
    close(gradients, [reference.max_pool_gradient(x, upstream(y.shape), *covered)])


@pytest.mark.parametrize(("kernel", "stride", "padding", "ceil_mode"), WINDOWS)
@pytest.mark.parametrize(("count_include_pad", "override"), [(True, None), (False, None), (True, 3)])
@pytest.mark.parametrize("size", SIZES)
def test_avg_pool2d_is_the_loop(size, count_include_pad, override, kernel, stride, padding, ceil_mode, rng):
    x = rng.standard_normal((2, 2, *size))
    covered = window_spans(size, kernel, stride, padding, ceil_mode)
    divisor = average_divisor(*covered, size, padding, count_include_pad, override)
    y, gradients = run(lambda x: F.avg_pool2d(x, kernel, stride, padding, ceil_mode, count_include_pad, override), x)
    close(y, reference.avg_pool(x, *covered, divisor))
    close(gradients, [reference.avg_pool_gradient(x, upstream(y.shape), *covered, divisor)])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("output_size", [1, 2, 3, (4, 5), (None, 3), (2, None), (7, 9), (11, 13)], ids=str)
def test_adaptive_pools_are_the_loops(size, output_size, rng):
    x = rng.integers(0, 5, (2, 2, *size)).astype(np.float64)
    wanted = output_size if isinstance(output_size, tuple) else (output_size, output_size)
    covered = [adaptive_spans(given, cells or given) for given, cells in zip(size, wanted, strict=True)]
    y, gradients = run(lambda x: F.adaptive_avg_pool2d(x, output_size), x)
    close(y, reference.avg_pool(x, *covered, lambda row, column, inside: inside))
    close(gradients, [reference.avg_pool_gradient(x, upstream(y.shape), *covered, lambda row, column, inside: inside)])
    y, gradients = run(lambda x: F.adaptive_max_pool2d(x, output_size), x)
    close(y, reference.max_pool(x, *covered))
    close(gradients, [reference.max_pool_gradient(x, upstream(y.shape), *covered)])


def test_global_avg_pool2d_is_the_mean_over_the_image(rng):
    x = rng.standard_normal((3, 2, 5, 4))
    y, [gradient] = run(F.global_avg_pool2d, x)
    close(y, [[sum(channel.flat) / 20 for channel in image] for image in x])
    close(gradient, np.broadcast_to(upstream((3, 2))[:, :, None, None] / 20, x.shape))


POOLS = [
    pytest.param(lambda x: F.max_pool2d(x, 3, 2, 1, 2, True), id="max"),
    pytest.param(lambda x: F.max_pool2d(x, (2, 3), (1, 2)), id="max overlapping"),
    pytest.param(lambda x: F.avg_pool2d(x, 3, 2, 1, True), id="avg"),
    pytest.param(lambda x: F.avg_pool2d(x, (2, 3), (1, 2), (1, 0), count_include_pad=False), id="avg without padding"),
    pytest.param(lambda x: F.adaptive_avg_pool2d(x, (3, 4)), id="adaptive avg"),
    pytest.param(lambda x: F.adaptive_max_pool2d(x, (4, 3)), id="adaptive max"),
    pytest.param(F.global_avg_pool2d, id="global"),
]


@pytest.mark.parametrize("pool", POOLS)
def test_gradients_are_finite_differences(pool, rng):
    assert gradcheck(pool, tensor(rng.permutation(2 * 3 * 7 * 8).reshape(2, 3, 7, 8) / 10, requires_grad=True))


@pytest.mark.parametrize("budget", [1, 3000])
@pytest.mark.parametrize("pool", POOLS)
def test_batch_of_several_tiles_is_its_images_one_by_one(pool, budget, tile_bytes, rng):
    x = rng.standard_normal((5, 3, 7, 8))
    whole, [gradient] = run(pool, x)
    tile_bytes(budget)
    y, gradients = run(pool, x)
    close([y, *gradients], [whole, gradient], 0, 0)


@pytest.mark.parametrize("pool", POOLS)
def test_bits_do_not_depend_on_the_number_of_threads(pool, threads, rng):
    x = rng.standard_normal((23, 16, 24, 25)).astype(np.float32)
    results = []
    for count in (1, 2, 4):
        threads(count)
        y, [gradient] = run(pool, x)
        results.append([y.tobytes(), gradient.tobytes()])
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("pool", POOLS[:-1])  # the output of global pooling is (N, C)
def test_output_and_gradient_lie_channels_last_in_memory(pool, rng):
    x = tensor(rng.standard_normal((2, 3, 7, 8)), requires_grad=True)
    y = pool(x)
    y.sum().backward()
    assert y.array.transpose(0, 2, 3, 1).flags.c_contiguous
    assert x.grad.array.transpose(0, 2, 3, 1).flags.c_contiguous


@pytest.mark.parametrize(
    ("image", "value", "gradient"),
    [
        pytest.param([[5, 5], [5, 5]], 5, [[1, 0], [0, 0]], id="a tie: the first"),
        pytest.param([[1, 5], [5, 2]], 5, [[0, 1], [0, 0]], id="a tie later on"),
        pytest.param([[0.0, -0.0], [-1, -1]], 0, [[1, 0], [0, 0]], id="zeros of both signs"),
        pytest.param([[-INF, -INF], [-INF, -INF]], -INF, [[1, 0], [0, 0]], id="nothing but -inf: the first"),
        pytest.param([[-INF, -INF], [-7, -INF]], -7, [[0, 0], [1, 0]], id="-inf loses"),
        pytest.param([[1, INF], [2, INF]], INF, [[0, 1], [0, 0]], id="inf wins"),
        pytest.param([[1, 2], [NAN, INF]], NAN, [[0, 0], [1, 0]], id="NaN wins"),
        pytest.param([[NAN, 2], [3, INF]], NAN, [[1, 0], [0, 0]], id="NaN at first"),
    ],
)
@pytest.mark.parametrize(("pool", "size"), [(F.max_pool2d, 2), (F.adaptive_max_pool2d, 1)])
def test_winner_of_a_window(pool, size, image, value, gradient):
    x = tensor(np.array(image, dtype=np.float64)[None, None], requires_grad=True)
    y = pool(x, size)
    y.sum().backward()
    close(y.numpy(), [[[[value]]]], 0, 0)
    close(x.grad.numpy()[0, 0], gradient, 0, 0)


def test_padding_never_wins_and_never_receives_a_gradient():
    x = tensor(np.full((1, 1, 3, 3), -INF), requires_grad=True)
    y = F.max_pool2d(x, 2, padding=1)
    y.sum().backward()
    close(y.numpy(), np.full((1, 1, 2, 2), -INF), 0, 0)
    close(x.grad.numpy()[0, 0], [[1, 1, 0], [1, 1, 0], [0, 0, 0]], 0, 0)


def test_window_that_dilation_spreads_into_the_padding_alone():
    x = tensor(np.ones((1, 1, 2, 2)), requires_grad=True)
    y = F.max_pool2d(x, 2, padding=1, dilation=3)  # rows and columns -1 and 2 of an image of 2
    y.sum().backward()
    close(y.numpy(), [[[[-INF]]]], 0, 0)
    close(x.grad.numpy(), np.zeros((1, 1, 2, 2)), 0, 0)


def test_nan_reaches_the_windows_it_lies_in_and_no_others(rng):
    x = rng.standard_normal((1, 1, 6, 6))
    x[0, 0, 2, 2] = NAN
    for pool in (F.max_pool2d, F.avg_pool2d):
        close(np.isnan(pool(tensor(x), 3, 1).numpy()[0, 0]), [[1, 1, 1, 0]] * 3 + [[0, 0, 0, 0]])


def test_large_window_remembers_its_winner():  # more elements than a byte can count
    x = np.arange(20 * 20, dtype=np.float64).reshape(1, 1, 20, 20)
    _, [gradient] = run(lambda x: F.max_pool2d(x, 20), x)
    assert np.argwhere(gradient).tolist() == [[0, 0, 19, 19]]


@pytest.mark.parametrize("constant", [True, False])
def test_averages_of_many_pixels_keep_their_digits(constant, rng):
    x = (np.full((1, 1, 512, 512), 0.1) if constant else rng.standard_normal((1, 1, 512, 512))).astype(np.float32)
    right = x.mean(dtype=np.float64)
    for y in (F.adaptive_avg_pool2d(tensor(x), 1), F.avg_pool2d(tensor(x), (64, 512))):
        assert abs(y.numpy().mean(dtype=np.float64) - right) < 1e-6 * np.abs(x).mean()


def test_gradient_of_a_pixel_in_many_windows_keeps_its_digits():
    x = tensor(np.zeros((1, 1, 70, 70), np.float32), requires_grad=True)
    F.avg_pool2d(x, 30, 1).backward(tensor(np.full((1, 1, 41, 41), 0.1, np.float32)))
    np.testing.assert_allclose(x.grad.numpy()[0, 0, 35, 35], np.float32(0.1) * (30 * 30 / 900), rtol=1e-6)
