"""The CPU kernel for the gradient of a convolution by its filters, against sums written out in float64."""

import numpy as np
import pytest

import gpunet.ops.cpu_tiles
from gpunet.backend.cpu_library import library
from gpunet.ops.conv import convolve_back_filters
from gpunet.ops.window import Window

pytestmark = pytest.mark.skipif(
    library() is None, reason="there are no CPU kernels (python setup.py build_ext --inplace)"
)

SAME = ((1, 1), (1, 1))
WINDOWS = {
    "1x1": Window((1, 1)),
    "1x1, stride 2": Window((1, 1), stride=(2, 2)),
    "3x3": Window((3, 3), padding=SAME),
    "3x3, stride 2": Window((3, 3), stride=(2, 2), padding=SAME),
    "2x5, uneven": Window((2, 5), stride=(3, 1), padding=((2, 0), (0, 3))),
    "5x2, dilated": Window((5, 2), padding=((4, 4), (1, 2)), dilation=(2, 3)),
    "3x3, dilated rows": Window((3, 3), stride=(1, 2), padding=((2, 2), (1, 1)), dilation=(2, 1)),
    "7x7, mostly padding": Window((7, 7), stride=(2, 3), padding=((6, 5), (5, 6))),
}
CHANNELS = [  # of x, of y, groups
    (1, 1, 1),
    (1, 8, 1),
    (3, 16, 1),
    (2, 17, 1),
    (5, 5, 1),
    (16, 33, 1),
    (17, 16, 1),
    (33, 3, 1),
    (70, 67, 1),
    (6, 12, 3),
    (5, 10, 5),
    (32, 34, 2),
]


def written_out(x, grad, window, groups):
    """dW[o, c, i, j], one element (i, j) of the window after the other, in float64; padding is not summed."""
    x, grad = x.astype(np.float64), grad.astype(np.float64)
    (kh, kw), (sh, sw), ((top, _), (left, _)), (dh, dw) = window[:4]
    (_, height, width, channels), outputs = x.shape, grad.shape[3]
    dweight = np.zeros((outputs, channels // groups, kh, kw))
    for i, j, p, q in np.ndindex(kh, kw, *grad.shape[1:3]):
        row, column = p * sh + i * dh - top, q * sw + j * dw - left
        if 0 <= row < height and 0 <= column < width:
            of_pixel = x[:, row, column].reshape(-1, groups, channels // groups)
            by_pixel = grad[:, p, q].reshape(-1, groups, outputs // groups)
            dweight[:, :, i, j] += np.einsum("ngc,ngo->goc", of_pixel, by_pixel).reshape(outputs, -1)
    return dweight


def case(rng, n, height, width, channels, outputs, window):
    x = rng.standard_normal((n, height, width, channels), dtype=np.float32)
    grad = rng.standard_normal((n, *window.output_size(height, width), outputs), dtype=np.float32)
    return x, grad


def check(x, grad, window, groups):
    result = convolve_back_filters(x, grad, window, groups)
    expected = written_out(x, grad, window, groups)
    assert result.shape == expected.shape
    assert result.dtype == np.float32
    assert result.transpose(2, 3, 1, 0).flags.c_contiguous
    magnitude = written_out(np.abs(x), np.abs(grad), window, groups)
    assert np.all(np.abs(result - expected) <= 1e-6 * magnitude)


@pytest.mark.parametrize("channels", CHANNELS, ids=str)
@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)
def test_every_window_and_number_of_channels(window, channels, rng):
    check(*case(rng, 3, 10, 13, *channels[:2], window), window, channels[2])


@pytest.mark.parametrize(
    ("n", "height", "width"),
    [(1, 1, 1), (700, 1, 1), (300, 2, 2), (70, 7, 7), (2, 30, 31), (1, 2, 700), (1, 700, 2), (5, 16, 17)],
)
@pytest.mark.parametrize("channels", [1, 3, 9])
def test_every_cut_into_tiles(n, height, width, channels, rng):
    """Tiles of many images, of rows of one, of a part of a row; with few channels, as joined rows of the window."""
    window = Window((3, 3), padding=SAME)
    check(*case(rng, n, height, width, channels, 10, window), window, 1)


def test_a_pixel_is_a_matrix_product(rng):
    x, grad = case(rng, 50, 1, 1, 300, 130, Window((1, 1)))
    expected = grad[:, 0, 0].astype(np.float64).T @ x[:, 0, 0]
    result = convolve_back_filters(x, grad, Window((1, 1)), 1)[:, :, 0, 0]
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-5)


def test_no_image_sums_to_zero():
    x, grad = np.ones((0, 4, 4, 3), np.float32), np.ones((0, 4, 4, 8), np.float32)
    result = convolve_back_filters(x, grad, Window((3, 3), padding=SAME), 1)
    np.testing.assert_array_equal(result, np.zeros((8, 3, 3, 3)))


def test_long_sums_stay_accurate(rng):
    """A float32 sum of 640,000 numbers near 1, one after the other, would be off by 1e-4 and more."""
    x, grad = case(rng, 400, 40, 40, 1, 3, Window((1, 1)))
    check(np.abs(x) + 1, np.abs(grad) + 1, Window((1, 1)), 1)


@pytest.mark.parametrize("channels", [(16, 16, 1), (3, 16, 1), (64, 40, 1), (12, 12, 3)], ids=str)
def test_the_same_bits_for_any_number_of_threads(channels, rng, threads):
    window = Window((3, 3), padding=SAME)
    x, grad = case(rng, 24, 24, 24, *channels[:2], window)
    threads(1)
    expected = convolve_back_filters(x, grad, window, channels[2])
    for count in (1, 2, 4):
        threads(count)
        np.testing.assert_array_equal(convolve_back_filters(x, grad, window, channels[2]), expected)


def test_large_work_is_cut_into_chunks():
    shape, ranges = (128, 32, 32, 16), 1
    kernel = gpunet.ops.cpu_weight_gradient.WEIGHT_GRADIENT
    _, chunks = gpunet.ops.cpu_tiles._cut(kernel, shape, shape, Window((3, 3), padding=SAME), 1, ranges)
    assert chunks >= 8


def test_misaligned_arrays(rng):
    window = Window((3, 3), padding=SAME)
    x, grad = case(rng, 2, 6, 6, 5, 11, window)
    moved = [np.zeros(array.size + 1, np.float32)[1:].reshape(array.shape) for array in (x, grad)]
    for array, copied in zip((x, grad), moved, strict=True):
        copied[...] = array
    np.testing.assert_array_equal(convolve_back_filters(*moved, window, 1), convolve_back_filters(x, grad, window, 1))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("channels", [3, 9])
def test_nan_and_infinity_reach_what_they_are_summed_into_and_nothing_else(value, channels, rng):
    window = Window((3, 3), padding=SAME)
    x, grad = case(rng, 2, 8, 8, channels, 10, window)
    x[1, 4, 4, 2] = value
    result = convolve_back_filters(x, grad, window, 1)
    with np.errstate(invalid="ignore"):
        expected = written_out(x, grad, window, 1)
    assert np.isfinite(np.delete(result, 2, axis=1)).all()
    np.testing.assert_array_equal(np.isnan(result), np.isnan(expected))
    np.testing.assert_array_equal(result[np.isinf(expected)], expected[np.isinf(expected)])


@pytest.mark.parametrize("channels", [1, 9])
def test_nan_of_one_output_stays_with_it(channels, rng):
    """Also where its vector is not full, and ends in the next pixel's numbers."""
    window = Window((3, 3), padding=SAME)
    x, grad = case(rng, 2, 8, 8, channels, 11, window)
    grad[0, 0, 3, 10] = np.nan
    result = convolve_back_filters(x, grad, window, 1)
    assert np.isnan(result[10]).all()  # in zeros around the image, too: 0 * NaN
    assert np.isfinite(result[:10]).all()
