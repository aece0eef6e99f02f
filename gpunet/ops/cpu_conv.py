"""Convolution forward and its gradient by the input on a CPU: the launcher of raw_kernels/cpu/convolution.h."""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

from gpunet.backend import Array, xp
from gpunet.backend.cpu_kernels import CpuKernel, Launch, launch
from gpunet.ops.batchnorm import Channels, Given, resolved
from gpunet.ops.conv import Shape, convolve, convolve_back_input, convolve_normalise
from gpunet.ops.passes import is_float32
from gpunet.ops.window import Window

__all__ = ["CONVOLUTION", "cut"]

CONVOLUTION = CpuKernel(
    "convolution",
    "const float* x, const float* filters, const float*? bias, const float*? center, const float*? scale, "
    "const float*? shift, const float*? residual, float* y, "
    "i64 height, i64 width, i64 channels, i64 groups, i64 outputs, "
    "i64 kernel_rows, i64 kernel_columns, i64 stride_rows, i64 stride_columns, i64 top, i64 left, "
    "i64 dilation_rows, i64 dilation_columns, i64 n, i64 rows, i64 columns, "
    "i64 y_height, i64 y_width, i64 y_top, i64 y_left, i64 y_rows, i64 y_columns, "
    "i64 first, i64 by_row, i64 by_column, i64 by_channel, i64 by_output, i64 by_group, i64 tile, i64 padded, i64 relu",
)

ITEM_OUTPUTS = 64  # of an item, as in convolution.h
TILE_NUMBERS = 1 << 18  # of x and y, that belong to a tile of pixels
SMALLEST_TILE = 48  # pixels: for fewer, the filters are not worth being copied
TILE_STEP = 24  # pixels: a whole number of blocks of every build
ITEMS = 8  # at least, where there is that much to do


def _takes(x: Array, weight: Array, *others: Any) -> bool:
    return is_float32(x, weight, *others) and x.size > 0 and weight.size > 0


@convolve.on("cpu", takes=_takes)
def _convolve(x: Array, weight: Array, bias: Array | None, window: Window, groups: int) -> Array:
    return _forward(x, weight, bias, window, groups, (None, None, None), None, False)


@convolve_normalise.on("cpu", takes=_takes)
def _convolve_normalise(
    x: Array,
    weight: Array,
    bias: Array | None,
    window: Window,
    groups: int,
    known: Channels | Given,
    residual: Array | None,
    relu: bool,
) -> Array:
    known = resolved(known)
    vectors = (known.center, known.scale, known.shift)
    return _forward(x, weight, bias, window, groups, vectors, residual, relu)


def _forward(
    x: Array,
    weight: Array,
    bias: Array | None,
    window: Window,
    groups: int,
    normalise: tuple[Array | None, ...],
    residual: Array | None,
    relu: bool,
) -> Array:
    shape, prepared = _forward_launch(x.shape, len(weight), window, groups, relu)
    y = xp.empty(shape, dtype=x.dtype)
    bias = None if bias is None else xp.ascontiguousarray(bias)
    launch(prepared, x, _filters(weight), bias, *normalise, residual, y)
    return y


@convolve_back_input.on("cpu", takes=_takes)
def _convolve_back_input(grad: Array, weight: Array, window: Window, groups: int, shape: Shape) -> Array:
    dx = xp.empty(shape, dtype=grad.dtype)
    filters = _filters(weight)
    for prepared in _back_launches(grad.shape, shape, window, groups):
        launch(prepared, grad, filters, *[None] * 5, dx)
    return dx


def _filters(weight: Array) -> Array:
    """Filters (O, C/G, kh, kw) as (kh, kw, C/G, O): no copy of those that nn.Conv2d allocates."""
    return xp.ascontiguousarray(weight.transpose(2, 3, 1, 0))


@functools.lru_cache(maxsize=1024)
def _forward_launch(x: Shape, outputs: int, window: Window, groups: int, relu: bool) -> tuple[Shape, Launch]:
    """The shape of y, and the launch that makes it."""
    n, height, width, all_channels = x
    rows, columns = window.output_size(height, width)
    (kh, kw), channels, (top, _), (left, _) = window.kernel, all_channels // groups, *window.padding
    geometry = (height, width, channels, groups, outputs // groups, kh, kw, *window.stride, top, left, *window.dilation)
    pixels = (n, rows, columns, rows, columns, 0, 0, 1, 1)
    steps = (0, kw * channels * outputs, channels * outputs, outputs, 1, outputs // groups)
    per_pixel = all_channels * math.prod(window.stride)
    return (n, rows, columns, outputs), cut((*geometry, *pixels, *steps), per_pixel, padded=True, relu=relu)


@functools.lru_cache(maxsize=1024)
def _back_launches(grad: Shape, x: Shape, window: Window, groups: int) -> list[Launch]:
    """Dx[h] is the sum over i of g[(h + top - i*dilation) / stride] f[i], of those i where that is a whole number.

    These i depend on (h + top) modulo the stride: a launch for each remainder of the rows and of the columns.
    """
    n, rows, columns, outputs = grad
    _, height, width, all_channels = x
    channels = all_channels // groups
    by_row, by_column = window.kernel[1] * channels * outputs, channels * outputs
    launches = []
    for down in _phases(0, height, window):
        for right in _phases(1, width, window):
            sizes = (rows, columns, outputs // groups, groups, channels, down.taps, right.taps)
            geometry = (*sizes, 1, 1, down.before, right.before, down.dilation, right.dilation)
            pixels = (n, down.pixels, right.pixels, height, width, down.start, right.start, *window.stride)
            first = down.last * by_row + right.last * by_column
            steps = (first, -down.step * by_row, -right.step * by_column, 1, outputs, outputs // groups)
            launches.append(cut((*geometry, *pixels, *steps), outputs, padded=False))
    return launches


class _Phase(NamedTuple):
    """Every stride-th row (or column) of dx from `start` on, and the elements of the window that they meet.

    Turned around, they are `last`, `last - step`, ...: `taps` of them. The convolution of g with them has this padding
    and dilation.
    """

    start: int
    pixels: int
    last: int
    step: int
    taps: int
    before: int
    dilation: int


def _phases(axis: int, size: int, window: Window) -> list[_Phase]:
    stride, dilation, (before, _) = window.stride[axis], window.dilation[axis], window.padding[axis]
    step = stride // math.gcd(stride, dilation)
    phases = []
    for start in range(min(stride, size)):
        met = [i for i in range(window.kernel[axis]) if (start + before - i * dilation) % stride == 0]
        last = met[-1] if met else 0
        first_row = (start + before - last * dilation) // stride  # of g, that the first of these rows meets first
        pixels = -(-(size - start) // stride)
        phases.append(_Phase(start, pixels, last, step, len(met), -first_row, step * dilation // stride))
    return phases


def cut(numbers: tuple[int, ...], per_pixel: int, padded: bool, relu: bool = False) -> Launch:
    """With the size of a tile: pixels that have `per_pixel` numbers of x each."""
    _, _, channels, groups, outputs, kh, kw, *_ = numbers
    n, rows, columns = numbers[13:16]
    pixels, parts = n * rows * columns, groups * -(-outputs // ITEM_OUTPUTS)
    most = min(TILE_NUMBERS // (per_pixel + min(outputs, ITEM_OUTPUTS)), pixels * parts // ITEMS)
    number = max(1, round(pixels / max(most, SMALLEST_TILE)))
    tile = max(1, -(-pixels // (number * TILE_STEP))) * TILE_STEP
    items = -(-pixels // tile) * parts
    work = pixels * outputs * groups * channels * kh * kw
    return CONVOLUTION.prepare(*numbers, tile, int(padded), int(relu), items=items, work=work)
