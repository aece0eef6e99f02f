"""The gradient of a convolution by its filters on a CPU: the launcher of raw_kernels/cpu/weight_gradient.h."""

from __future__ import annotations

import functools
import math

from gpunet.backend import Array, xp
from gpunet.backend.cpu_kernels import CpuKernel, launch
from gpunet.ops.conv import convolve_back_filters
from gpunet.ops.passes import is_float32
from gpunet.ops.window import Window

__all__ = ["ADD_CHUNKS", "WEIGHT_GRADIENT"]

WEIGHT_GRADIENT = CpuKernel(
    "weight_gradient",
    "const float* x, const float* g, float* partial, "
    "i64 images, i64 height, i64 width, i64 channels, i64 out_height, i64 out_width, i64 outputs, "
    "i64 kernel_height, i64 kernel_width, i64 stride_height, i64 stride_width, "
    "i64 top, i64 left, i64 dilation_height, i64 dilation_width, i64 groups, "
    "i64 tile_images, i64 tile_rows, i64 tile_columns, i64 chunks",
)
ADD_CHUNKS = CpuKernel("add_chunks", "const float* partial, float* dw, i64 chunks, i64 size")

TILE = 256  # pixels, as in weight_gradient.h: what one sum adds up before it goes to memory
RANGE = 64  # channels, and outputs, of an item
CHUNKS = 16  # at most: enough for some threads, and little memory
CHUNK_WORK = 1 << 21  # multiply-adds that are worth a partial result of their own


@convolve_back_filters.on("cpu", takes=is_float32)
def _(x: Array, grad: Array, window: Window, groups: int) -> Array:
    numbers, parts, work = _cut(x.shape, grad.shape, window, groups)
    chunks = numbers[-1]
    dfilters = xp.empty((*window.kernel, x.shape[3] // groups, grad.shape[3]), dtype=x.dtype)
    partial = dfilters if chunks == 1 else xp.empty((chunks, dfilters.size), dtype=x.dtype)
    launch(WEIGHT_GRADIENT, x, grad, partial, *numbers, items=chunks * parts, work=work)
    if work == 0:  # of no image, the sums are 0
        dfilters[...] = 0
    elif chunks > 1:
        launch(ADD_CHUNKS, partial, dfilters, chunks, dfilters.size, items=dfilters.size, work=partial.size)
    return dfilters.transpose(3, 2, 0, 1)


@functools.lru_cache(maxsize=1024)
def _cut(x: tuple[int, ...], grad: tuple[int, ...], window: Window, groups: int) -> tuple[tuple[int, ...], int, int]:
    """The numbers of the kernel, with tiles and chunks; how many items a chunk has; and the work of all.

    It depends on the shapes alone, and so do the bits of the result.
    """
    n, height, width, channels = x
    _, out_height, out_width, outputs = grad
    columns = _even(out_width, TILE)
    rows = _even(out_height, TILE // columns)
    images = _even(n, TILE // (rows * columns)) if rows * columns == out_height * out_width else 1
    parts = groups * math.prod(-(-size // groups // RANGE) for size in (channels, outputs))
    work = math.prod(grad) * math.prod(window.kernel) * channels // groups
    tiles = -(-n // images) * -(-out_height // rows) * -(-out_width // columns)
    chunks = max(1, min(tiles, CHUNKS // parts, work // CHUNK_WORK))
    (top, _), (left, _) = window.padding
    sizes = (n, height, width, channels, out_height, out_width, outputs)
    return (
        (*sizes, *window.kernel, *window.stride, top, left, *window.dilation, groups, images, rows, columns, chunks),
        parts,
        work,
    )


def _even(size: int, most: int) -> int:
    """How many at a time, at most so many, cut `size` evenly."""
    pieces = max(1, -(-size // max(1, most)))
    return max(1, -(-size // pieces))
