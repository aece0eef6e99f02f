"""The raw kernels, run by the emulator: against the `xp` version on NumPy, loops, and other orders of threads.

The `xp` version computes in float64 what the kernels are given in float16, float32 or float64; it is tested against
loops and PyTorch elsewhere. Everything here is NHWC.
"""

import itertools
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from gpunet.backend import kernels, to_cpu, use_backend, xp
from gpunet.backend.kernel_table import (
    ADAPTIVE_AVG_POOL2D_FORWARD,
    BATCH_NORM_CHANNELS,
    KERNELS,
    MAX_POOL2D_FORWARD,
    UNIFORM,
    Instance,
    Kernel,
)
from gpunet.backend.kernels import BLOCK, kernel_names, kernel_source, launch, vector_width
from gpunet.emulator import compiler_command, thread_order
from gpunet.errors import ArgumentError, BackendError, DTypeError, FileError, GpunetError, ShapeError
from gpunet.ops import (
    activation,
    adaptive_pooling,
    batchnorm,
    conv,
    cuda_batchnorm,
    cuda_conv,
    cuda_elementwise,
    cuda_pooling,
    pooling,
)
from gpunet.ops.adaptive_pooling import AdaptiveAvgPool2d, AdaptiveMaxPool2d
from gpunet.ops.batchnorm import BatchNorm, BatchNormInference, Running
from gpunet.ops.pooling import AvgPool2d, MaxPool2d
from gpunet.ops.waiting import computed
from gpunet.ops.window import Window
from tests import reference
from tests.reference import adaptive_spans, spans


def compiler_is_missing():
    try:
        compiler_command()
    except GpunetError as error:
        return str(error)
    return ""


pytestmark = pytest.mark.skipif(bool(compiler_is_missing()), reason=f"the emulator cannot run: {compiler_is_missing()}")

NAN, INF = np.nan, np.inf
DTYPES = ["float16", "float32", "float64"]
CHANNELS = [1, 3, 4, 8, 33]
ORDERS = [("forward", 0), ("backward", 0), ("shuffled", 1)]
CLOSE = {"float16": (2e-3, 2e-3), "float32": (2e-6, 2e-6), "float64": (1e-12, 1e-12)}  # rtol, atol

WINDOWS = {
    "2x2": Window((2, 2), (2, 2)),
    "3x3 overlapping": Window((3, 3), (1, 1), ((1, 1), (1, 1))),
    "3x3 stride 2": Window((3, 3), (2, 2), ((1, 1), (1, 1))),
    "3x3 stride 2 ceil": Window((3, 3), (2, 2), ((1, 1), (1, 1)), ceil_mode=True),
    "2x2 ceil": Window((2, 2), (2, 2), ceil_mode=True),
    "gaps": Window((2, 1), (3, 2)),
    "oblong": Window((1, 4), (2, 3), ((0, 0), (2, 2)), ceil_mode=True),
    "whole": Window((5, 6), (5, 6), ((2, 2), (3, 3))),
    "1x1": Window((1, 1)),
}
DILATED = {
    "dilated": Window((3, 2), (2, 1), ((2, 2), (1, 1)), (2, 3)),
    "dilated ceil": Window((2, 3), (3, 2), ((1, 1), (2, 2)), (3, 2), True),
    "mostly padding": Window((2, 2), (1, 1), ((2, 2), (2, 2)), (5, 4)),
}
SIZES = [(7, 6), (5, 9), (4, 4)]
OUTPUT_SIZES = [(1, 1), (2, 3), (5, 4), (7, 9), (11, 13)]


@pytest.fixture(params=DTYPES)
def dtype(request):
    return request.param


@pytest.fixture(params=CHANNELS)
def channels(request):
    return request.param


def on_device(function, *arrays):
    """Call a function with arrays on the emulated backend: its results, back on the host."""
    with use_backend("emulated"):
        results = function(*(each if each is None else xp.asarray(each) for each in arrays))
        return tuple(None if each is None else to_cpu(each) for each in results)


def on_numpy(operation, x, grad=None, *vectors):
    """Run an operation of gpunet.ops in float64 on NumPy: its output and its gradient by x, NHWC, and the operation."""
    with use_backend("numpy"):
        operation.needs_grad = (True,) * (1 + len(vectors))
        y = computed(operation.forward(to_nchw(x.astype(np.float64)), *(each.astype(np.float64) for each in vectors)))
        gradients = operation.backward(to_nchw(grad_for(to_nhwc(y)) if grad is None else grad).astype(np.float64))
        return to_nhwc(y), to_nhwc(gradients[0]), gradients[1:]


def to_nchw(x):
    return np.moveaxis(x, -1, 1)


def to_nhwc(x):
    return np.moveaxis(x, 1, -1)


def grad_for(y, dtype="float64"):
    """A gradient without zeros that every type of number holds exactly."""
    return (np.random.default_rng(1).integers(-8, 8, y.shape) / 4 + 0.125).astype(dtype)


def draw(rng, shape, dtype, ties=False):
    values = rng.integers(-3, 2, shape) if ties else rng.standard_normal(shape)
    return np.asarray(values, dtype)


def close(actual, expected, dtype):
    assert actual.shape == expected.shape
    assert actual.dtype == dtype
    np.testing.assert_allclose(actual, expected, *CLOSE[dtype])


# ----------------------------------------------------------------------------------------------------------- pooling


def max_pool(x, window, grad_dtype):
    def both(x):
        y, winner = pooling.max_pool2d_forward(x, window, True)
        grad = xp.asarray(grad_for(y, grad_dtype))
        return y, winner, pooling.max_pool2d_backward(grad, winner, window, x.shape)

    return on_device(both, x)


@pytest.mark.parametrize("window", [*WINDOWS.values(), *DILATED.values()], ids=[*WINDOWS, *DILATED])
def test_max_pool(window, channels, dtype, rng):
    for size in SIZES:
        x = draw(rng, (2, *size, channels), dtype, ties=True)
        operation = MaxPool2d(window)
        expected, gradient, _ = on_numpy(operation, x)
        y, winner, dx = max_pool(x, window, dtype)
        np.testing.assert_array_equal(y, expected.astype(dtype))
        np.testing.assert_array_equal(winner, operation.winner)
        assert winner.dtype == operation.winner.dtype
        np.testing.assert_array_equal(dx, gradient.astype(dtype))


@pytest.mark.parametrize("special", [[NAN], [INF, -INF], [-INF], [NAN, INF, -INF]], ids=str)
@pytest.mark.parametrize("window", [WINDOWS["2x2"], WINDOWS["3x3 stride 2 ceil"], DILATED["dilated"]])
def test_max_pool_of_what_is_not_finite(window, special, dtype, rng):
    x = draw(rng, (2, 7, 6, 8), dtype, ties=True)
    x[rng.random(x.shape) < 0.4] = special[0]
    x[rng.random(x.shape) < 0.3] = special[-1]
    operation = MaxPool2d(window)
    expected, gradient, _ = on_numpy(operation, x)
    y, winner, dx = max_pool(x, window, dtype)
    np.testing.assert_array_equal(y, expected.astype(dtype))
    np.testing.assert_array_equal(winner, operation.winner)
    np.testing.assert_array_equal(dx, gradient.astype(dtype))


def test_max_pool_of_nothing_but_minus_infinity_and_signed_zeros(dtype):
    for value in (-INF, -0.0):
        x = np.full((1, 3, 3, 4), value, dtype)
        window = Window((2, 2), (2, 2), ((1, 1), (1, 1)))
        _, winner, dx = max_pool(x, window, dtype)
        np.testing.assert_array_equal(winner[0, :, :, 0], [[3, 2], [1, 0]])  # the first inside the image
        assert np.count_nonzero(dx[0, :, :, 0]) <= 4


def test_max_pool_remembers_winners_of_large_windows(rng):
    x = draw(rng, (1, 20, 20, 4), "float32")
    window = Window((20, 20), (20, 20))
    _, winner, dx = max_pool(x, window, "float32")
    assert winner.dtype == np.int32
    np.testing.assert_array_equal(winner.reshape(-1), x.reshape(400, 4).argmax(axis=0))
    assert all(np.flatnonzero(dx.reshape(400, 4)[:, c]).tolist() == [winner[0, 0, 0, c]] for c in range(4))


def test_max_pool_remembers_nothing_where_nobody_asks(dtype, rng):
    x = draw(rng, (2, 6, 6, 8), dtype)
    y, winner = on_device(lambda x: pooling.max_pool2d_forward(x, WINDOWS["2x2"], False), x)
    assert winner is None
    np.testing.assert_array_equal(y, on_numpy(MaxPool2d(WINDOWS["2x2"]), x)[0].astype(dtype))


def test_gradient_that_is_infinite_stays_with_the_winner():
    x = np.arange(4, dtype=np.float32).reshape(1, 2, 2, 1)

    def backward(x):
        _, winner = pooling.max_pool2d_forward(x, WINDOWS["2x2"], True)
        grad = xp.asarray(np.full((1, 1, 1, 1), INF, np.float32))
        return (pooling.max_pool2d_backward(grad, winner, WINDOWS["2x2"], x.shape),)

    assert on_device(backward, x)[0].reshape(-1).tolist() == [0, 0, 0, INF]


def avg_pool(x, window, *rule):
    def both(x):
        y = pooling.avg_pool2d_forward(x, window, *rule)
        grad = xp.asarray(grad_for(y, x.dtype))
        return y, pooling.avg_pool2d_backward(grad, window, x.shape, *rule)

    return on_device(both, x)


@pytest.mark.parametrize("rule", [(True, None), (False, None), (True, 3)], ids=["padded", "inside", "override"])
@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)
def test_avg_pool(window, rule, channels, dtype, rng):
    for size in SIZES:
        x = draw(rng, (2, *size, channels), dtype)
        expected, gradient, _ = on_numpy(AvgPool2d(window, *rule), x)
        y, dx = avg_pool(x, window, *rule)
        close(y, expected, dtype)
        close(dx, gradient, dtype)


def adaptive_pool(x, output_size):
    def both(x):
        y = adaptive_pooling.adaptive_avg_pool2d_forward(x, output_size)
        grad = xp.asarray(grad_for(y, x.dtype))
        dx = adaptive_pooling.adaptive_avg_pool2d_backward(grad, x.shape)
        top, winner = adaptive_pooling.adaptive_max_pool2d_forward(x, output_size, True)
        return y, dx, top, winner, adaptive_pooling.adaptive_max_pool2d_backward(grad, winner, x.shape)

    return on_device(both, x)


@pytest.mark.parametrize("output_size", OUTPUT_SIZES, ids=str)
def test_adaptive_pools(output_size, channels, dtype, rng):
    for size in SIZES:
        x = draw(rng, (2, *size, channels), dtype, ties=True)
        y, dx, top, winner, dx_of_top = adaptive_pool(x, output_size)
        expected, gradient, _ = on_numpy(AdaptiveAvgPool2d(output_size), x)
        close(y, expected, dtype)
        close(dx, gradient, dtype)
        operation = AdaptiveMaxPool2d(output_size)
        expected, gradient, _ = on_numpy(operation, x)
        np.testing.assert_array_equal(top, expected.astype(dtype))
        np.testing.assert_array_equal(winner, operation.winner)
        close(dx_of_top, gradient, dtype)


@pytest.mark.parametrize("special", [[NAN], [-INF], [NAN, INF]], ids=str)
def test_adaptive_max_pool_of_what_is_not_finite(special, dtype, rng):
    x = draw(rng, (2, 7, 6, 8), dtype, ties=True)
    x[rng.random(x.shape) < 0.5] = special[0]
    x[rng.random(x.shape) < 0.2] = special[-1]
    operation = AdaptiveMaxPool2d((3, 4))
    expected, gradient, _ = on_numpy(operation, x)
    _, _, top, winner, dx = adaptive_pool(x, (3, 4))
    np.testing.assert_array_equal(top, expected.astype(dtype))
    np.testing.assert_array_equal(winner, operation.winner)
    close(dx, gradient, dtype)


def test_average_of_a_large_image_keeps_its_digits(rng):
    x = (rng.random((1, 224, 224, 1)) + 1).astype(np.float32)
    y, _ = on_device(lambda x: (adaptive_pooling.adaptive_avg_pool2d_forward(x, (1, 1)), xp.zeros(1)), x)
    np.testing.assert_allclose(y.reshape(()), x.astype(np.float64).mean(), rtol=1e-6)


@pytest.mark.parametrize("dilation", [(1, 1), (2, 1)])
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_pools_are_the_loops(stride, padding, ceil_mode, dilation, rng):
    x = draw(rng, (2, 7, 6, 3), "float64", ties=True)
    sides = ((padding, padding), (padding, padding))
    window = Window((3, 2), (stride, stride), sides, dilation, ceil_mode)
    covered = [
        spans(size, kernel, stride, padding, by, ceil_mode)
        for size, kernel, by in zip((7, 6), (3, 2), dilation, strict=True)
    ]
    grad = np.moveaxis(grad_for(np.zeros((2, len(covered[0]), len(covered[1]), 3))), -1, 1)
    y, _, dx = max_pool(x, window, "float64")
    np.testing.assert_array_equal(to_nchw(y), reference.max_pool(to_nchw(x), *covered))
    np.testing.assert_array_equal(to_nchw(dx), reference.max_pool_gradient(to_nchw(x), grad, *covered))
    if dilation == (1, 1):
        y, dx = avg_pool(x, window, False, None)
        loop = (*covered, lambda row, column, inside: inside)
        close(to_nchw(y), reference.avg_pool(to_nchw(x), *loop), "float64")
        close(to_nchw(dx), reference.avg_pool_gradient(to_nchw(x), grad, *loop), "float64")


@pytest.mark.parametrize("output_size", OUTPUT_SIZES[1:], ids=str)
def test_adaptive_pools_are_the_loops(output_size, rng):
    x = draw(rng, (2, 7, 6, 3), "float64", ties=True)
    covered = [adaptive_spans(size, cells) for size, cells in zip((7, 6), output_size, strict=True)]
    grad = to_nchw(grad_for(np.zeros((2, *output_size, 3))))
    y, dx, top, _, dx_of_top = adaptive_pool(x, output_size)
    loop = (*covered, lambda row, column, inside: inside)
    close(to_nchw(y), reference.avg_pool(to_nchw(x), *loop), "float64")
    close(to_nchw(dx), reference.avg_pool_gradient(to_nchw(x), grad, *loop), "float64")
    np.testing.assert_array_equal(to_nchw(top), reference.max_pool(to_nchw(x), *covered))
    close(to_nchw(dx_of_top), reference.max_pool_gradient(to_nchw(x), grad, *covered), "float64")


# ------------------------------------------------------------------------------------------------------------ im2col


def im2col_there_and_back(x, window, groups):
    def both(x):
        rows = conv.im2col(x, window, groups)
        return rows, conv.col2im(rows, window, groups, x.shape)

    return on_device(both, x)


def loops_of_im2col(x, window, groups):
    """Rows (G, n*Ho*Wo, kh*kw*C/G), number by number, and how often each pixel stands in them."""
    n, height, width, channels = x.shape
    (kh, kw), (sh, sw), (dh, dw) = window.kernel, window.stride, window.dilation
    (top, _), (left, _) = window.padding
    positions, size = window.output_size(height, width), channels // groups
    rows, times = np.zeros((groups, n, *positions, kh, kw, size), x.dtype), np.zeros(x.shape)
    for g, image, k, l_, i, j in itertools.product(*map(range, rows.shape[:-1])):
        row, column, part = k * sh - top + i * dh, l_ * sw - left + j * dw, slice(g * size, (g + 1) * size)
        if 0 <= row < height and 0 <= column < width:
            rows[g, image, k, l_, i, j] = x[image, row, column, part]
            times[image, row, column, part] += 1
    return rows.reshape(groups, -1, kh * kw * size), times


GROUPED = [(1, 1), (4, 1), (8, 2), (6, 3), (33, 1), (24, 3)]  # channels, groups
LOWERED = {name: window for name, window in (WINDOWS | DILATED).items() if not window.ceil_mode}


@pytest.mark.parametrize("window", LOWERED.values(), ids=LOWERED)
def test_im2col_and_back(window, dtype, rng):
    for channels, groups in GROUPED:
        x = draw(rng, (2, 7, 6, channels), dtype, ties=True)  # whole numbers: sums are exact
        x[1, 3, 2, 0] = NAN
        rows, times = loops_of_im2col(x, window, groups)
        found, back = im2col_there_and_back(x, window, groups)
        np.testing.assert_array_equal(found, rows)
        np.testing.assert_array_equal(back, np.where(times > 0, x * times.astype(dtype), 0))


def test_col2im_of_many_windows_keeps_its_digits():
    """A pixel under 900 windows, in half precision, where adding one by one ends at 256 * 0.1."""
    window = Window((30, 30), padding=((29, 29), (29, 29)))
    rows = np.full((1, 30 * 30, 900), 0.1, np.float16)
    [dx] = on_device(lambda rows: (conv.col2im(rows, window, 1, (1, 1, 1, 1)),), rows)
    np.testing.assert_allclose(dx.reshape(()), 900 * np.float64(rows[0, 0, 0]), rtol=1e-3)


# -------------------------------------------------------------------------------------------------------------- ReLU


def relu_gradient(grad, y):
    return on_device(lambda grad, y: (activation.rectify_back(grad, y),), grad, y)


@pytest.mark.parametrize("shape", [(1,), (3, 5, 7), (2, 256, 4), (2, 3, 4, 8)])
def test_relu_gradient(shape, dtype, rng):
    grad, y = draw(rng, shape, dtype), np.maximum(draw(rng, shape, dtype), 0)
    grad.flat[::5], y.flat[::7] = INF, NAN  # they are handed on, and cut off, like any other
    [dx] = relu_gradient(grad, y)
    expected = [0 if passed == 0 else slope for slope, passed in zip(grad.flat, y.flat, strict=True)]
    np.testing.assert_array_equal(dx.ravel(), np.array(expected, dtype))


def add_relu_gradient(grad, y, total):
    return on_device(lambda *arrays: (activation.add_rectified_back(*arrays),), grad, y, total.copy())


@pytest.mark.parametrize("shape", [(1,), (3, 5, 7), (2, 256, 4), (2, 3, 4, 8)])
def test_relu_gradient_added_to_another(shape, dtype, rng):
    grad, y, total = draw(rng, shape, dtype), np.maximum(draw(rng, shape, dtype), 0), draw(rng, shape, dtype)
    y.flat[::7] = NAN
    [found] = add_relu_gradient(grad, y, total)
    expected = [t if passed == 0 else t + g for t, g, passed in zip(total.flat, grad.flat, y.flat, strict=True)]
    np.testing.assert_array_equal(found.ravel(), np.array(expected, dtype))


# ---------------------------------------------------------------------------------------------------- random numbers

DIGITS = {"float16": 11, "float32": 24, "float64": 53}
FULL = 2**64


def split_mix(seed, number):
    """The formula of the paper, for one number, in whole numbers of Python."""
    z = (seed + number * 0x9E3779B97F4A7C15) % FULL
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % FULL
    z = (z ^ z >> 27) * 0x94D049BB133111EB % FULL
    return z ^ z >> 31


def random_numbers(seed, drawn, count, dtype):
    def draw(state):
        u = xp.empty(count, dtype=dtype)
        launch(UNIFORM, state, u, count, threads=count)
        return (u,)

    return on_device(draw, np.array([seed - FULL if seed >= FULL // 2 else seed, drawn]))


def test_the_formula_is_that_of_the_paper():
    """The first numbers that the authors' generator makes of this seed."""
    assert [split_mix(1234567, number) for number in (1, 2, 3)] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


@pytest.mark.parametrize(("seed", "drawn"), [(0, 0), (1234567, 3), (FULL - 1, 2**40), (2**63, 2**62)])
def test_random_numbers(seed, drawn, dtype):
    [u] = random_numbers(seed, drawn, 300, dtype)
    digits = DIGITS[dtype]
    expected = [(split_mix(seed, drawn + 1 + k) >> (64 - digits)) / 2**digits for k in range(300)]
    np.testing.assert_array_equal(u, np.array(expected, dtype))
    assert u.max() < 1


# ------------------------------------------------------------------------------------------- the versions of a student


def students_kernels():
    """The kernels in the comments of the sources: file, name and text."""
    for source in kernel_names():
        comments = re.findall(r"(?:^//(?: .*)?\n)+", kernel_source(source), re.MULTILINE)
        for block in comments:
            code = "\n".join(line[7:] for line in block.splitlines() if line.startswith("//     ") or line == "//")
            kernel = re.search(r"(?:template <[^>]*>\n)?__global__ void (\w+)\(.*?\n}", code, re.DOTALL)
            if kernel:
                yield source, kernel[1], kernel[0]


STUDENTS = {name: (source, text) for source, name, text in students_kernels()}


@pytest.fixture
def by_students(monkeypatch):
    """Lets the versions of students run in place of the kernels, a value a thread, and notes which."""

    def function(backend, kernel, dtypes, vector):
        if kernel.name not in STUDENTS or kernel.source == "optimizer":  # theirs have no table
            return shipped(backend, kernel, dtypes, vector)
        source, text = STUDENTS[kernel.name]
        name, types = f"students_{kernel.name}", Instance(kernel, dtypes, 1).expression.removeprefix(kernel.name)
        name += types.replace(", 1>", ">")
        module = xp.RawModule(
            code=kernel_source(source) + text.replace(f" {kernel.name}(", f" students_{kernel.name}("),
            name_expressions=[name],
        )
        ran.add(kernel.name)
        run = module.get_function(name)
        return lambda grid, block, arguments: run(blocks_for(kernel, arguments), block, arguments)

    def blocks_for(kernel, arguments):
        return (max(each.size for each in arguments[: kernel.arrays]) // BLOCK + 1,)

    ran = set()
    shipped = kernels._function
    kernels._prepare.cache_clear()
    monkeypatch.setattr(kernels, "_function", function)
    for module in (cuda_conv, cuda_elementwise, cuda_pooling):
        monkeypatch.setattr(module, "vector_width", lambda channels, *arrays: 1)
    yield ran
    kernels._prepare.cache_clear()


def test_every_kernel_says_what_a_student_would_write():
    so_themselves = {"batch_norm_channels", "uniform", "begin_adam", "rescale"}  # these are so themselves
    assert set(STUDENTS) | so_themselves == {kernel.name for kernel in KERNELS}


@pytest.mark.parametrize("window", [WINDOWS["3x3 stride 2 ceil"], WINDOWS["gaps"], DILATED["dilated"]], ids=str)
def test_what_a_student_would_write_for_windows(window, dtype, rng, by_students):
    test_max_pool(window, 3, dtype, rng)
    if window in LOWERED.values():
        test_im2col_and_back(window, dtype, rng)
    if window.dilation == (1, 1):
        test_avg_pool(window, (False, None), 3, dtype, rng)
    assert by_students >= {"max_pool2d_forward", "max_pool2d_backward"}


def test_what_a_student_would_write(dtype, rng, by_students):
    test_adaptive_pools((3, 4), 3, dtype, rng)
    test_batch_norm_with_residual_and_relu(True, True, 3, dtype, rng)
    test_batch_norm((600,), 33, dtype, rng)
    test_batch_norm_inference(3, dtype, rng)
    test_relu_gradient((3, 5, 7), dtype, rng)
    test_relu_gradient_added_to_another((3, 5, 7), dtype, rng)
    windowed = ("max_pool2d_", "avg_pool2d_", "im2col", "col2im")
    ran_elsewhere = {"sgd", "adam", "unscale"}
    assert by_students == {name for name in STUDENTS if not name.startswith(windowed)} - ran_elsewhere


# ----------------------------------------------------------------------------------------------- batch normalisation

ROWS = [(6,), (2, 5), (4, 3, 3), (5, 17, 9), (1,)]


def arithmetic(vector):
    """Of the type in which the kernels compute: parameters stay float32 where activations are float16."""
    return vector if vector is None else vector.astype(np.promote_types(vector.dtype, np.float32))


def vectors(rng, channels, dtype):
    return arithmetic(draw(rng, channels, dtype)), arithmetic(draw(rng, channels, dtype))


def batch_norm(x, grad, weight, bias, residual=None, relu=False, eps=1e-5):
    def step(x, grad, weight, bias, residual):
        mean, var = batchnorm.moments(x)
        known, _ = batchnorm.statistics(x, weight, bias, eps, Running())
        y = batchnorm.normalise(x, known, residual, relu)
        sums = batchnorm.backward_sums(grad, x, known, y if relu else None)
        dx = batchnorm.input_gradient(grad, x, known, sums, y if relu else None)
        return mean, var, y, dx, sums.dweight.astype(x.dtype), sums.dbias.astype(x.dtype)

    return on_device(step, x, grad, weight, bias, residual)


@pytest.mark.parametrize("rows", ROWS, ids=str)
def test_batch_norm(rows, channels, dtype, rng):
    x, (weight, bias) = draw(rng, (*rows, channels), dtype) * 3 + 1, vectors(rng, channels, dtype)
    grad = grad_for(x, dtype)
    expected, dx, (dweight, dbias) = on_numpy(BatchNorm(1e-5), x, grad, weight, bias)
    mean, var, *results = batch_norm(x, grad, weight, bias)
    rows = x.astype(np.float64).reshape(-1, channels)
    np.testing.assert_allclose(mean, rows.mean(axis=0), 1e-6, 1e-6)
    np.testing.assert_allclose(var, rows.var(axis=0), 1e-6, 1e-9)
    for actual, right in zip(results, (expected, dx, dweight, dbias), strict=True):
        assert actual.dtype == dtype
        np.testing.assert_allclose(actual, right, 10 * CLOSE[dtype][0], 10 * CLOSE[dtype][1] * np.abs(right).max())


def test_batch_norm_without_weight_and_bias(dtype, rng):
    x = draw(rng, (5, 7, 4), dtype)
    ones, zeros = np.ones(4, dtype), np.zeros(4, dtype)
    plain, affine = batch_norm(x, x, None, None), batch_norm(x, x, ones, zeros)
    for one, other in zip(plain, affine, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("with_residual", [False, True])
def test_batch_norm_with_residual_and_relu(with_residual, relu, channels, dtype, rng):
    x, residual = (draw(rng, (5, 9, 7, channels), dtype) for _ in range(2))
    weight, bias = vectors(rng, channels, dtype)
    residual = residual if with_residual else None
    _, _, y, *gradients = batch_norm(x, grad_for(x, dtype), weight, bias, residual, relu)

    before = on_numpy(BatchNorm(1e-5), x, None, weight, bias)[0] + (residual if with_residual else 0)
    np.testing.assert_allclose(y, np.maximum(before, 0) if relu else before, 20 * CLOSE[dtype][0], 20 * CLOSE[dtype][1])
    grad = grad_for(x, dtype) * (~(y <= 0) if relu else 1)  # the mask is that of the y that was stored
    _, dx, (dweight, dbias) = on_numpy(BatchNorm(1e-5), x, grad, weight, bias)
    for actual, right in zip(gradients, (dx, dweight, dbias), strict=True):
        np.testing.assert_allclose(actual, right, 10 * CLOSE[dtype][0], 10 * CLOSE[dtype][1] * np.abs(right).max())


def test_what_is_added_to_half_precision_is_rounded_in_between(rng):
    """In one pass, with the bits of one operation after the other."""
    x, residual = draw(rng, (50, 9, 7, 8), "float16"), draw(rng, (50, 9, 7, 8), "float16")
    y = batch_norm(x, x, None, None)[2]
    together = batch_norm(x, x, None, None, residual)[2]
    np.testing.assert_array_equal(together, y + residual)


def test_relu_lets_nan_through_both_ways(dtype):
    x = np.array([[-1, 1], [1, -1], [0, 0], [0, 0]], dtype)
    residual = np.zeros_like(x)
    residual[2, 0] = NAN
    _, _, y, dx, _, dbias = batch_norm(x, np.ones_like(x), None, None, residual, relu=True)
    assert np.isnan(y[2, 0])
    assert dbias.tolist() == [2, 1]  # of the gradients [[0, 1], [1, 0], [1, 0], [0, 0]]
    assert np.isfinite(dx).all()


def test_nan_stays_in_its_channel(dtype, rng):
    x = draw(rng, (50, 8), dtype)
    x[3, 5] = NAN
    mean, var, y, *_ = batch_norm(x, x, None, None)
    others = [c for c in range(8) if c != 5]
    assert np.isnan(y[:, 5]).all()
    assert np.isnan([mean[5], var[5]]).all()
    assert np.isfinite(y[:, others]).all()


@pytest.mark.parametrize("channels", [1, 3, 8])
@pytest.mark.parametrize("rows", [255, 9001])
def test_moments_are_accurate_where_the_mean_is_large(rows, channels, rng):
    x = (rng.standard_normal((rows, channels)) + 1e4).astype(np.float32)
    exact = x.astype(np.float64)
    mean, var = on_device(batchnorm.moments, x)
    np.testing.assert_allclose(mean, exact.mean(axis=0), rtol=1e-11)
    np.testing.assert_allclose(var, exact.var(axis=0), rtol=2e-6)


def test_moments_are_accurate_beside_a_value_far_away(rng):
    x = (rng.standard_normal((600, 2)) + 1e4).astype(np.float32)
    x[0] = 0  # what a shift by the first value would measure everything from
    exact = x.astype(np.float64)
    mean, var = on_device(batchnorm.moments, x)
    np.testing.assert_allclose(mean, exact.mean(axis=0), rtol=1e-8)
    np.testing.assert_allclose(var, exact.var(axis=0), rtol=1e-6)


@pytest.mark.parametrize("most_blocks", [1, 2, 5])
def test_sums_do_not_depend_on_how_rows_are_cut(most_blocks, monkeypatch, rng):
    x = draw(rng, (1500, 40), "float64")  # five chunks and two groups of lanes, where there are blocks enough
    whole = batch_norm(x, x + 1, None, None)
    monkeypatch.setattr(cuda_batchnorm, "MOST_BLOCKS", most_blocks)
    for one, other in zip(batch_norm(x, x + 1, None, None), whole, strict=True):
        np.testing.assert_allclose(one, other, 1e-12, 1e-12) if one is not None else None


def batch_norm_inference(x, mean, var, weight, bias, residual=None, relu=False):
    def infer(x, mean, var, weight, bias, residual):
        given = batchnorm.Given(mean, var, weight, bias, 1e-3)
        known = batchnorm.channels(*given, x)  # where a gradient is wanted
        return batchnorm.normalise(x, given, residual, relu), batchnorm.normalise(x, known, residual, relu)

    return on_device(infer, x, mean, var, weight, bias, residual)


def test_batch_norm_inference(channels, dtype, rng):
    x, (weight, bias) = draw(rng, (3, 5, 4, channels), dtype), vectors(rng, channels, dtype)
    mean, var = draw(rng, channels, dtype), np.abs(draw(rng, channels, dtype)) + np.asarray(0.5, dtype)
    operation = BatchNormInference(1e-3, mean.astype(np.float64), var.astype(np.float64))
    y, with_gradient = batch_norm_inference(x, *map(arithmetic, (mean, var)), weight, bias)
    np.testing.assert_array_equal(y, with_gradient)
    right = on_numpy(operation, x, None, weight, bias)[0]
    np.testing.assert_allclose(y, right, *(4 * each for each in CLOSE[dtype]))
    rectified, _ = batch_norm_inference(x, *map(arithmetic, (mean, var)), weight, bias, x[::-1].copy(), True)
    np.testing.assert_allclose(rectified, np.maximum(right + x[::-1], 0), *(8 * each for each in CLOSE[dtype]))
    plain, _ = batch_norm_inference(x, *map(arithmetic, (mean, var)), None, None)
    operation = BatchNormInference(1e-3, mean.astype(np.float64), var.astype(np.float64))
    np.testing.assert_allclose(plain, on_numpy(operation, x, None)[0], *(4 * each for each in CLOSE[dtype]))


# ------------------------------------------------------------------------------------ every kernel, whatever the order


def every_step(x):
    """The bits of what every kernel makes of one input (N, H, W, C)."""
    rows, residual = x.reshape(-1, x.shape[-1]), x[::-1].reshape(-1, x.shape[-1])
    results = [
        *max_pool(x, WINDOWS["3x3 stride 2 ceil"], x.dtype),
        *max_pool(x, DILATED["dilated"], x.dtype),
        *avg_pool(x, WINDOWS["3x3 stride 2 ceil"], True, None),
        *adaptive_pool(x, (3, 4)),
        *batch_norm(rows, rows, None, None, residual, relu=True),
    ]
    return [each.tobytes() for each in results]


@pytest.mark.parametrize("channels", [3, 8, 40])
def test_bits_do_not_depend_on_the_order_of_threads(channels, dtype, rng):
    x = draw(rng, (4, 11, 9, channels), dtype)
    results = []
    for order, seed in ORDERS:
        with thread_order(order, seed):
            results.append(every_step(x))
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("shape", [(0, 7, 6, 8), (2, 7, 6, 0)], ids=str)
def test_size_zero_launches_nothing(shape, dtype):
    x = np.zeros(shape, dtype)
    for result in (*max_pool(x, WINDOWS["2x2"], dtype), *avg_pool(x, WINDOWS["2x2"], True, None)):
        assert result.size == 0
    for result in adaptive_pool(x, (2, 2)):
        assert result.size == 0

    def normalise(x):
        ones = xp.ones(shape[-1])
        return (batchnorm.normalise(x, batchnorm.channels(ones, ones, None, None, 1e-5, x)),)

    assert on_device(normalise, x)[0].shape == shape


def test_unaligned_and_odd_arrays_are_read_one_value_at_a_time(dtype, rng):
    with use_backend("emulated"):
        flat = xp.asarray(draw(rng, 2 * 4 * 4 * 8 + 1, dtype))
        aligned, shifted = flat[:-1].reshape(2, 4, 4, 8), flat[1:].reshape(2, 4, 4, 8)
        assert vector_width(8, aligned) == 16 // aligned.itemsize
        assert vector_width(8, aligned, shifted) == 1
        assert vector_width(9, aligned) == 1
        y, _ = pooling.max_pool2d_forward(shifted, WINDOWS["2x2"], False)
        right = shifted.get().reshape(2, 2, 2, 2, 2, 8).max(axis=(2, 4))
        np.testing.assert_array_equal(y.get(), right)


PROBE = """
extern "C" __global__ void probe_places(i64* out) {
    out[0] = offset_of(70000, 200, 100, 3, 224, 224, 64);
    const Place place = place_of<4>(out[0] / 4, 224, 224, 64);
    out[1] = place.image; out[2] = place.row; out[3] = place.column; out[4] = place.channel;
}
"""
PROBE_SPAN = """
extern "C" __global__ void probe_span(int* out) {
    const Span s = span(59999, 70001, 60000);
    out[0] = s.first; out[1] = s.end;
}
"""


def probe(source, text, dtype, length):
    with use_backend("emulated"):
        out = xp.zeros(length, dtype=dtype)
        function = xp.RawModule(code=kernels.kernel_source(source) + text).get_function(text.split("(")[0].split()[-1])
        function((1,), (1,), (out,))
        return out.get().tolist()


def test_places_are_right_beyond_32_bits():
    offset = ((70000 * 224 + 200) * 224 + 100) * 64 + 3
    assert offset > 2**37
    assert probe("pooling", PROBE, "int64", 5) == [offset, 70000, 200, 100, 0]
    assert probe("adaptive_pooling", PROBE_SPAN, "int32", 2) == [59999 * 70001 // 60000, 70001]


# ------------------------------------------------------------------------------------------------ the launch wrapper


def declared_kernels():
    """Name, template parameters and parameters of every kernel, as the sources say."""
    for source in kernel_names():
        pattern = r"(?:template <([^>]*)>\s*)?__global__ void __launch_bounds__\([^)]*\)[^\n]*\s+(\w+)\(([^)]*)\)"
        for template, name, parameters in re.findall(pattern, kernel_source(source)):
            words = [each.split()[-1] for each in template.split(",") if each.strip()]
            yield source, name, tuple(words), " ".join(parameters.replace("__restrict__ ", "").split())


def test_the_table_says_what_the_sources_say():
    table = [(each.source, each.name, each.template, each.signature) for each in KERNELS]
    assert sorted(table) == sorted(declared_kernels())
    assert {source for source, *_ in table} == set(kernel_names())
    assert f"constexpr int BLOCK = {BLOCK};" in kernel_source("pooling")


def test_sources_need_no_header_and_add_nothing_by_atomics():
    for source in kernel_names():
        code = re.sub(r"//[^\n]*", "", kernel_source(source))
        code = re.sub(r"bool is_last_block\(.*?\n}", "", code, flags=re.DOTALL)  # it counts blocks
        for word in ("#include", "atomic", "INFINITY", "NAN", "std::", "int64_t", "size_t"):
            assert word not in code, (source, word)
    with pytest.raises(FileError, match="there is no kernel file 'nothing'"):
        kernel_source("nothing")


@pytest.mark.parametrize(("setting", "used"), [("1", "cuda"), ("", "cuda"), ("0", "None")])
def test_kernels_are_used_off_numpy_unless_switched_off(setting, used):
    code = "from gpunet.backend.kernels import device; print(device())"
    environment = {**os.environ, "GPUNET_RAW_KERNELS": setting, "GPUNET_BACKEND": "emulated"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == used, done.stderr


def pooling_arguments(**changes):
    """Right arguments for adaptive_avg_pool2d_forward, but for the changes."""
    arguments = {
        "x": xp.zeros((1, 4, 4, 8), dtype=xp.float32),
        "y": xp.zeros((1, 2, 2, 8), dtype=xp.float32),
        "count": 32,
        "height": 4,
        "width": 4,
        "channels": 8,
        "out_height": 2,
        "out_width": 2,
    }
    assert list(arguments) == [each.name for each in ADAPTIVE_AVG_POOL2D_FORWARD.parameters]
    return (arguments | {name: make() if callable(make) else make for name, make in changes.items()}).values()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"x": lambda: xp.zeros((1, 4, 4, 8), dtype=xp.int64)},
            DTypeError,
            "x must be .*float16 or float32 or float64",
        ),
        ({"y": lambda: xp.zeros((1, 2, 2, 8), dtype=xp.float64)}, DTypeError, "y must be float32, got float64"),
        (
            {"x": lambda: xp.zeros((1, 4, 8, 4), dtype=xp.float32).transpose(0, 1, 3, 2)},
            ShapeError,
            "x must be C-contig",
        ),
        ({"x": lambda: xp.zeros((1, 4, 4, 16), dtype=xp.float32)[..., ::2]}, ShapeError, "x must be C-contiguous"),
        ({"x": np.zeros((1, 4, 4, 8), np.float32)}, BackendError, "x must be an array of emulated, got .* of numpy"),
        ({"x": 1.0}, BackendError, "x must be an array of emulated, got 1.0"),
        ({"y": None}, BackendError, "y must be an array of emulated, got None"),
        ({"height": 4.0}, ArgumentError, "height must be a whole number, got 4.0"),
        ({"height": np.float32(4)}, ArgumentError, "height must be a whole number"),
        ({"height": lambda: xp.zeros((1,), dtype=xp.int32)}, ArgumentError, "height must be a whole number"),
        ({"height": 2**31}, ArgumentError, "height does not fit into int: 2147483648"),
        ({"height": -(2**31) - 1}, ArgumentError, "height does not fit into int"),
        ({"count": 2**63}, ArgumentError, "count does not fit into i64"),
    ],
)
def test_wrapper_refuses_what_does_not_fit_the_signature(changes, error, message):
    with use_backend("emulated"), pytest.raises(error, match=f"adaptive_avg_pool2d_forward: {message}"):
        launch(ADAPTIVE_AVG_POOL2D_FORWARD, *pooling_arguments(**changes), threads=32)


def test_wrapper_takes_right_arguments_and_numpy_scalars():
    with use_backend("emulated"):
        arguments = list(pooling_arguments(count=np.int32(32), height=np.int64(4)))
        arguments[0] += 1
        launch(ADAPTIVE_AVG_POOL2D_FORWARD, *arguments, threads=32)
        assert (arguments[1].get() == 1).all()


def test_wrapper_checks_every_launch_also_after_one_that_was_right():
    with use_backend("emulated"):
        launch(ADAPTIVE_AVG_POOL2D_FORWARD, *pooling_arguments(), threads=32)
        for changes, error in (
            ({"height": 4.0}, ArgumentError),
            ({"x": lambda: xp.zeros((1, 4, 4, 16), dtype=xp.float32)[..., ::2]}, ShapeError),
            ({"x": np.zeros((1, 4, 4, 8), np.float32)}, BackendError),
            ({"y": lambda: xp.zeros((1, 2, 2, 8), dtype=xp.float16)}, DTypeError),
        ):
            with pytest.raises(error):
                launch(ADAPTIVE_AVG_POOL2D_FORWARD, *pooling_arguments(**changes), threads=32)


def test_a_table_comes_before_arrays_and_those_before_numbers():
    for kernel in KERNELS:
        kinds = [2 if each.columns else int(each.is_pointer) for each in kernel.parameters]
        assert kinds == sorted(kinds, reverse=True)
        assert kinds.count(2) <= 1
        assert sum(kind > 0 for kind in kinds) == kernel.arrays


def test_wrapper_counts_arguments_and_blocks():
    with use_backend("emulated"):
        arguments = list(pooling_arguments())
        with pytest.raises(ArgumentError, match="takes 8 arguments, got 7"):
            launch(ADAPTIVE_AVG_POOL2D_FORWARD, *arguments[:-1], threads=32)
        with pytest.raises(ArgumentError, match="2147483648 blocks of 256 threads"):
            launch(ADAPTIVE_AVG_POOL2D_FORWARD, *arguments, threads=2**31 * BLOCK)
        with pytest.raises(ArgumentError, match="-1 blocks"):
            launch(ADAPTIVE_AVG_POOL2D_FORWARD, *arguments, threads=-BLOCK)
        with pytest.raises(ArgumentError, match="no instance adaptive_avg_pool2d_forward<float, 3>"):
            launch(ADAPTIVE_AVG_POOL2D_FORWARD, *arguments, threads=32, vector=3)


def test_wrapper_checks_also_where_nothing_is_launched():
    with use_backend("emulated"):
        launch(ADAPTIVE_AVG_POOL2D_FORWARD, *pooling_arguments(), threads=0)
        with pytest.raises(ArgumentError, match="height"):
            launch(ADAPTIVE_AVG_POOL2D_FORWARD, *pooling_arguments(height=0.5), threads=0)


@pytest.mark.parametrize("eps", [1, 1e-5, np.float32(0.1), INF])
def test_wrapper_makes_a_double_of_every_number(eps):
    assert BATCH_NORM_CHANNELS.parameters[-2].name == "eps"
    with use_backend("emulated"):
        zeros = xp.zeros(2, dtype=xp.float32)
        known = batchnorm.channels(zeros, zeros, None, None, eps, zeros)
        np.testing.assert_allclose(known.scale.get(), 1 / np.sqrt(np.float64(eps)), rtol=1e-6)


@pytest.mark.parametrize("eps", ["1e-5", None, True, 10**400])
def test_wrapper_refuses_what_is_no_number(eps):
    with use_backend("emulated"):
        zeros = xp.zeros(2, dtype=xp.float32)
        with pytest.raises(ArgumentError, match="batch_norm_channels: eps"):
            batchnorm.channels(zeros, zeros, None, None, eps, zeros)


def test_instances_are_named_as_in_cpp():
    names = [each.expression for each in MAX_POOL2D_FORWARD.instances(np.dtype(np.float32))]
    assert names == [
        f"max_pool2d_forward<float, {place}, {width}>"
        for place, width in itertools.product(("unsigned char", "int"), (1, 4))
    ]


def test_signature_that_cannot_be_read_is_an_error():
    with pytest.raises(ArgumentError, match="cannot read the kernel parameter"):
        _ = Kernel("pooling", "wrong", (), "const float x y z*", "nothing").parameters
