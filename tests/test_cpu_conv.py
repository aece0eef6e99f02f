"""The CPU kernel of convolution against a slow loop in float64, and the promises about its bits.

tests/test_passes.py compares it with the page; here are the odd shapes, and what no single call shows.
"""

import itertools

import numpy as np
import pytest

from gpunet.backend import cpu_kernels
from gpunet.backend.cpu_library import library
from gpunet.ops.batchnorm import Channels, normalise
from gpunet.ops.conv import convolve, convolve_back_input, convolve_normalise
from gpunet.ops.linear import linear, linear_back_input
from gpunet.ops.window import Window

pytestmark = pytest.mark.skipif(library() is None, reason="the CPU kernels are not built here")

NONE = ((0, 0), (0, 0))


def slow(x, weight, window, groups):
    """Y (N, Ho, Wo, O) in float64: for each element of the window, the pixels that it meets."""
    n, height, width, _ = x.shape
    y = np.zeros((n, *window.output_size(height, width), len(weight)))
    padded = window.pad(x.astype(np.float64), 0)
    for (i, j), (rows, columns) in elements(window, y):
        for inputs, outputs in parts(weight, groups):
            y[..., outputs] += padded[:, rows, columns, inputs] @ weight[outputs, :, i, j].astype(np.float64).T
    return y


def slow_back(grad, weight, window, groups, shape):
    """The gradient by x in float64: for each element of the window, what it gives back to the pixels that it met."""
    n, height, width, channels = shape
    padded = np.zeros((n, *window.padded_size(height, width), channels))
    for (i, j), (rows, columns) in elements(window, grad):
        for inputs, outputs in parts(weight, groups):
            padded[:, rows, columns, inputs] += grad[..., outputs].astype(np.float64) @ weight[outputs, :, i, j]
    return window.inside(padded, height, width)


def elements(window, y):
    return zip(itertools.product(*map(range, window.kernel)), window.offsets(y.shape[1:3]), strict=True)


def parts(weight, groups):
    """The channels of x and of y, for each group."""
    for group in range(groups):
        yield tuple(slice(group * size, (group + 1) * size) for size in (weight.shape[1], len(weight) // groups))


def near(got, want):
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * max(1, np.abs(want).max()))


def some(rng, *shape):
    return rng.standard_normal(shape, dtype=np.float32)


def filters(rng, outputs, channels, kernel):
    return some(rng, *kernel, channels, outputs).transpose(3, 2, 0, 1)


def same_bits(a, b):
    assert a.shape == b.shape
    assert np.ascontiguousarray(a).tobytes() == np.ascontiguousarray(b).tobytes()


@pytest.mark.parametrize("kernel", [(1, 1), (2, 2), (3, 3), (5, 5), (7, 7), (1, 3), (4, 2)])
@pytest.mark.parametrize("channels", [1, 3, 5, 8, 16, 17, 33])
def test_any_channels_and_kernel(kernel, channels, rng, numpy_backend):
    for outputs in (1, 7, 8, 9, 16, 31, 33, 65):
        x, weight = some(rng, 2, 9, 8, channels), filters(rng, outputs, channels, kernel)
        window = Window(kernel, padding=((1, 1), (1, 1)))
        near(convolve(x, weight, None, window, 1), slow(x, weight, window, 1))


WINDOWS = [
    Window((3, 3), (2, 2), ((1, 1), (1, 1))),
    Window((3, 3), (3, 3), ((0, 2), (1, 0))),
    Window((1, 1), (2, 2)),
    Window((1, 1), (3, 2), ((1, 0), (2, 1))),
    Window((2, 3), (1, 3), ((2, 2), (0, 0)), (2, 1)),
    Window((3, 3), (1, 1), ((2, 2), (2, 2)), (2, 2)),
    Window((3, 2), (2, 3), ((3, 1), (0, 4)), (2, 3)),
    Window((3, 3), (4, 4), NONE, (2, 2)),  # dilation and stride have a common divisor: whole rows of dx are 0
    Window((5, 7), (2, 2), ((2, 2), (3, 3))),
    Window((9, 9), (1, 1), ((4, 4), (4, 4))),  # more elements than one chunk has runs for
    Window((2, 2), (1, 1), ((6, 7), (8, 9))),  # windows that see nothing of the image
]


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize(("channels", "outputs", "groups"), [(2, 3, 1), (6, 9, 3), (4, 40, 2), (1, 2, 1)])
def test_any_window_and_groups(window, channels, outputs, groups, rng, numpy_backend):
    shape = (2, 9, 10, channels)
    x, weight = some(rng, *shape), filters(rng, outputs, channels // groups, window.kernel)
    y = convolve(x, weight, None, window, groups)
    near(y, slow(x, weight, window, groups))
    grad = some(rng, *y.shape)
    near(convolve_back_input(grad, weight, window, groups, shape), slow_back(grad, weight, window, groups, shape))


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 2), (4, 4), (7, 7), (8, 8), (3, 50)])
@pytest.mark.parametrize("images", [1, 2, 5, 13])
def test_short_rows(size, images, rng, numpy_backend):
    x, weight, window = some(rng, images, *size, 5), filters(rng, 12, 5, (3, 3)), WINDOWS[0]._replace(stride=(1, 1))
    near(convolve(x, weight, None, window, 1), slow(x, weight, window, 1))


@pytest.mark.parametrize("channels", [400, 1500])
def test_sums_of_several_chunks(channels, rng, numpy_backend):
    x, weight, window = some(rng, 1, 4, 3, channels), filters(rng, 70, channels, (3, 3)), WINDOWS[0]
    near(convolve(x, weight, None, window, 1), slow(x, weight, window, 1))
    grad = some(rng, 1, 2, 2, 70)
    back = convolve_back_input(grad, weight, window, 1, x.shape)
    near(back, slow_back(grad, weight, window, 1, x.shape))


SOME_WORK = [
    ((11, 8, 8, 16), 40, WINDOWS[0], 1),
    ((11, 7, 7, 33), 17, Window((3, 3), (1, 1), ((1, 1), (1, 1))), 1),
    ((11, 5, 6, 3), 16, Window((7, 7), (2, 2), ((3, 3), (3, 3))), 1),
    ((11, 4, 4, 300), 70, Window((3, 3), (1, 1), ((1, 1), (1, 1))), 1),
    ((11, 6, 5, 12), 18, Window((3, 3), (1, 1), ((1, 1), (1, 1)), (2, 1)), 3),
    ((11, 1, 1, 64), 10, Window((1, 1)), 1),
]


@pytest.mark.parametrize(("shape", "outputs", "window", "groups"), SOME_WORK)
def test_an_image_alone_has_the_bits_that_it_has_in_a_batch(shape, outputs, window, groups, rng, numpy_backend):
    x, weight = some(rng, *shape), filters(rng, outputs, shape[3] // groups, window.kernel)
    bias = some(rng, outputs)
    y = convolve(x, weight, bias, window, groups)
    dx = convolve_back_input(y, weight, window, groups, shape)
    for batch in (slice(0, 1), slice(3, 4), slice(2, 5), slice(4, 11)):
        part = x[batch].copy()
        same_bits(convolve(part, weight, bias, window, groups), y[batch])
        same_bits(convolve_back_input(y[batch].copy(), weight, window, groups, part.shape), dx[batch])


@pytest.mark.parametrize(("shape", "outputs", "window", "groups"), SOME_WORK)
def test_any_number_of_threads_gives_the_same_bits(
    shape, outputs, window, groups, rng, numpy_backend, threads, monkeypatch
):
    monkeypatch.setattr(cpu_kernels, "LEAST_WORK", 1)
    x, weight = some(rng, *shape), filters(rng, outputs, shape[3] // groups, window.kernel)
    results = []
    for count in (1, 2, 4):
        threads(count)
        y = convolve(x, weight, None, window, groups)
        results.append((y, convolve_back_input(y, weight, window, groups, shape)))
    for y, dx in results[1:]:
        same_bits(y, results[0][0])
        same_bits(dx, results[0][1])


@pytest.mark.parametrize(("shape", "outputs", "window", "groups"), SOME_WORK)
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("with_residual", [False, True])
@pytest.mark.parametrize("with_bias", [False, True])
def test_batch_norm_as_epilogue_has_the_bits_of_batch_norm_by_itself(
    shape, outputs, window, groups, relu, with_residual, with_bias, rng, numpy_backend
):
    if "cpu" not in normalise.kernels:
        pytest.skip("the page of batch norm rounds once more than kernels do")
    x, weight = some(rng, *shape), filters(rng, outputs, shape[3] // groups, window.kernel)
    bias = some(rng, outputs) if with_bias else None
    known = Channels(*(some(rng, outputs) for _ in range(4)))
    y = convolve(x, weight, bias, window, groups)
    residual = some(rng, *y.shape) if with_residual else None
    fused = convolve_normalise(x, weight, bias, window, groups, known, residual, relu)
    same_bits(fused, normalise(y, known, residual, relu))


def test_filters_in_any_memory_give_the_same_bits(rng, numpy_backend):
    x, weight, window = some(rng, 2, 6, 6, 9), filters(rng, 21, 9, (3, 3)), WINDOWS[0]
    same_bits(convolve(x, np.ascontiguousarray(weight), None, window, 1), convolve(x, weight, None, window, 1))


def test_an_infinite_filter_meets_the_zeros_of_the_padding_and_not_those_that_the_gradient_never_sees(
    rng, numpy_backend
):
    x, weight = np.ones((1, 20, 3, 4), np.float32), filters(rng, 20, 4, (3, 3))
    weight[5, 0, 0, 1] = np.inf
    window = Window((3, 3), padding=((1, 1), (1, 1)))
    y = convolve(x, weight, None, window, 1)
    assert np.isnan(y[0, 0, :, 5]).all()  # 0 * inf, as in a padded copy
    assert np.isposinf(y[0, 1:, :, 5]).all()
    assert np.isfinite(np.delete(y, 5, axis=3)).all()
    dx = convolve_back_input(np.ones_like(y), weight, window, 1, x.shape)
    assert np.isposinf(dx[0, :-1, :, 0]).all()
    assert np.isfinite(dx[0, -1, :, 0]).all()


@pytest.mark.parametrize(("inputs", "outputs"), [(64, 10), (5, 3), (2000, 70)])
def test_a_row_of_a_linear_layer_alone_has_the_bits_that_it_has_among_others(inputs, outputs, rng, numpy_backend):
    x, weight, bias = some(rng, 50, inputs), some(rng, outputs, inputs), some(rng, outputs)
    y = linear(x, weight, bias)
    dx = linear_back_input(y, weight)
    for batch in (slice(0, 1), slice(7, 9), slice(3, 50)):
        same_bits(linear(x[batch], weight, bias), y[batch])
        same_bits(linear_back_input(y[batch], weight), dx[batch])
