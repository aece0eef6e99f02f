"""The CPU kernels of depthwise convolution, against sums written out in float64."""

import numpy as np
import pytest

import gpunet.ops.cpu_depthwise
from gpunet.backend.cpu_library import library
from gpunet.ops.batchnorm import Channels, normalise
from gpunet.ops.conv import convolve, convolve_back_filters, convolve_back_input, convolve_normalise
from gpunet.ops.window import Window

pytestmark = pytest.mark.skipif(
    library() is None, reason="there are no CPU kernels (python setup.py build_ext --inplace)"
)

SAME = ((1, 1), (1, 1))
WINDOWS = {
    "1x1, stride 2": Window((1, 1), stride=(2, 2)),
    "3x3": Window((3, 3), padding=SAME),
    "3x3, stride 2": Window((3, 3), stride=(2, 2), padding=SAME),
    "2x5, uneven": Window((2, 5), stride=(3, 1), padding=((2, 0), (0, 3))),
    "5x2, dilated": Window((5, 2), padding=((4, 4), (1, 2)), dilation=(2, 3)),
    "4x4, stride and dilation": Window((4, 4), stride=(2, 3), padding=((2, 3), (3, 4)), dilation=(3, 2)),
    "7x7, mostly padding": Window((7, 7), stride=(2, 3), padding=((6, 5), (5, 6))),
}
CHANNELS = [(16, 1), (17, 1), (33, 1), (70, 1), (8, 2), (16, 3), (5, 4)]  # of x, filters of each


def pixels(x, grad, window):
    """For each element (i, j) of the window and position (p, q) the pixel that it sees, where that is inside."""
    (kh, kw), (sh, sw), ((top, _), (left, _)), (dh, dw) = window[:4]
    for i, j, p, q in np.ndindex(kh, kw, *grad[1:3]):
        row, column = p * sh + i * dh - top, q * sw + j * dw - left
        if 0 <= row < x[1] and 0 <= column < x[2]:
            yield (i, j), (p, q), (row, column)


def written_out(x, weight, bias, grad, window):
    """Y, dx and dweight in float64; the channels repeated for their filters."""
    x, weight, bias, grad = (array.astype(np.float64) for array in (x, weight, bias, grad))
    many = len(weight) // x.shape[3]
    repeated = x.repeat(many, axis=3)
    y, dx, dweight = np.zeros(grad.shape) + bias, np.zeros(repeated.shape), np.zeros(weight.shape)
    for (i, j), (p, q), (row, column) in pixels(x.shape, grad.shape, window):
        y[:, p, q] += repeated[:, row, column] * weight[:, 0, i, j]
        dx[:, row, column] += grad[:, p, q] * weight[:, 0, i, j]
        dweight[:, 0, i, j] += (grad[:, p, q] * repeated[:, row, column]).sum(axis=0)
    return y, dx.reshape(*x.shape, many).sum(axis=4), dweight


def case(rng, n, height, width, channels, many, window):
    x = rng.standard_normal((n, height, width, channels), dtype=np.float32)
    weight = rng.standard_normal((channels * many, 1, *window.kernel), dtype=np.float32)
    bias = rng.standard_normal(channels * many, dtype=np.float32)
    grad = rng.standard_normal((n, *window.output_size(height, width), channels * many), dtype=np.float32)
    return x, weight, bias, grad


def computed(x, weight, bias, grad, window):
    groups = x.shape[3]
    return (
        convolve(x, weight, bias, window, groups),
        convolve_back_input(grad, weight, window, groups, x.shape),
        convolve_back_filters(x, grad, window, groups),
    )


def check(arrays, window):
    magnitudes = written_out(*(np.abs(array) for array in arrays), window)
    for got, want, most in zip(computed(*arrays, window), written_out(*arrays, window), magnitudes, strict=True):
        assert got.shape == want.shape
        assert got.dtype == np.float32
        assert np.all(np.abs(got - want) <= 1e-6 * most)


@pytest.fixture(autouse=True)
def kernels_of_depthwise(monkeypatch):
    """The test is about these kernels: each must have been launched."""
    launched = []
    launch = gpunet.ops.cpu_depthwise.launch
    monkeypatch.setattr(
        gpunet.ops.cpu_depthwise,
        "launch",
        lambda prepared, *arrays: launched.append(prepared.kernel) or launch(prepared, *arrays),
    )
    yield
    assert gpunet.ops.cpu_depthwise.DEPTHWISE in launched


@pytest.mark.parametrize("channels", CHANNELS, ids=str)
@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)
def test_every_window_and_number_of_channels(window, channels, rng):
    check(case(rng, 2, 10, 23, *channels, window), window)


@pytest.mark.parametrize(
    ("n", "height", "width"), [(1, 1, 1), (300, 2, 2), (2, 30, 31), (1, 2, 600), (1, 600, 2), (4, 16, 17)]
)
def test_every_size(n, height, width, rng):
    window = Window((3, 3), padding=SAME)
    check(case(rng, n, height, width, 18, 1, window), window)


def test_the_epilogue_gives_the_bits_of_two_passes(rng):
    window = Window((3, 3), stride=(2, 1), padding=SAME)
    x, weight, bias, grad = case(rng, 2, 9, 12, 20, 1, window)
    known = Channels(*rng.standard_normal((4, 20), dtype=np.float32))
    for residual in (None, grad):
        for relu in (False, True):
            fused = convolve_normalise(x, weight, bias, window, 20, known, residual, relu)
            after = normalise(convolve(x, weight, bias, window, 20), known, residual, relu)
            np.testing.assert_array_equal(fused, after)


def test_without_bias_or_image(rng):
    window = Window((3, 3), padding=SAME)
    x, weight, bias, grad = case(rng, 2, 5, 5, 32, 1, window)
    np.testing.assert_array_equal(
        convolve(x, weight, None, window, 32), convolve(x, weight, np.zeros_like(bias), window, 32)
    )
    for result in computed(x[:0], weight, bias, grad[:0], window):
        assert not result.any()


@pytest.mark.parametrize("stride", [1, 2])
def test_the_same_bits_for_any_number_of_threads_and_in_any_batch(stride, rng, threads):
    window = Window((3, 3), stride=(stride, stride), padding=SAME)
    arrays = case(rng, 16, 40, 40, 20, 1, window)
    x, weight, bias, grad = arrays
    threads(1)
    expected = computed(*arrays, window)
    for count in (1, 2, 4):
        threads(count)
        for one, other in zip(expected, computed(*arrays, window), strict=True):
            np.testing.assert_array_equal(one, other)
    alone = computed(x[3:4], weight, bias, grad[3:4], window)
    np.testing.assert_array_equal(alone[0], expected[0][3:4])
    np.testing.assert_array_equal(alone[1], expected[1][3:4])


def test_misaligned_arrays(rng):
    window = Window((3, 3), padding=SAME)
    arrays = case(rng, 2, 12, 12, 19, 1, window)
    moved = []
    for array in arrays:
        moved.append(np.zeros(array.size + 1, np.float32)[1:].reshape(array.shape))
        moved[-1][...] = array
    for one, other in zip(computed(*arrays, window), computed(*moved, window), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_filter_that_is_not_finite_meets_the_zeros_around_the_image(value, rng):
    window = Window((3, 3), padding=SAME)
    x, weight, bias, _ = case(rng, 1, 9, 9, 16, 1, window)
    weight[3, 0, 0, 0] = value
    y = convolve(x, weight, bias, window, 16)
    corner = np.zeros((9, 9), bool)
    corner[:1], corner[:, :1] = True, True
    assert np.isnan(y[0, corner, 3]).all()
    assert np.isfinite(np.delete(y, 3, axis=3)).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_stay_in_their_channel_and_reach_the_windows_that_see_them(value, rng):
    window = Window((3, 3), padding=SAME)
    x, weight, bias, grad = case(rng, 2, 20, 20, 20, 1, window)
    x[1, 7, 8, 9] = grad[0, 5, 6, 2] = value
    y, dx, dweight = computed(x, weight, bias, grad, window)
    wrong = np.zeros(y.shape, bool)
    wrong[1, 6:9, 7:10, 9] = True
    np.testing.assert_array_equal(~np.isfinite(y), wrong)
    wrong[...] = False
    wrong[0, 4:7, 5:8, 2] = True
    np.testing.assert_array_equal(~np.isfinite(dx), wrong)
    np.testing.assert_array_equal(np.isfinite(dweight).all(axis=(1, 2, 3)), np.isin(range(20), (2, 9), invert=True))
