"""Sums over all pixels of a batch, chunk by chunk on a CPU: how launchers cut the work for raw_kernels/cpu/tiles.h."""

from __future__ import annotations

import functools
import math

from gpunet.backend import Array, xp
from gpunet.backend.cpu_kernels import MOVED, CpuKernel, Launch, launch
from gpunet.ops.window import Window

__all__ = ["SUM_OVER_PIXELS", "WINDOW", "sum_in_chunks", "window_numbers"]

WINDOW = (  # the struct of window.h
    "i64 images, i64 height, i64 width, i64 channels, i64 out_height, i64 out_width, i64 outputs, "
    "i64 kernel_height, i64 kernel_width, i64 stride_height, i64 stride_width, "
    "i64 top, i64 left, i64 dilation_height, i64 dilation_width, i64 groups"
)
SUM_OVER_PIXELS = (  # with the struct of tiles.h
    "const float* x, const float* g, float* partial, "
    f"{WINDOW}, i64 tile_images, i64 tile_rows, i64 tile_columns, i64 chunks"
)
ADD_CHUNKS = CpuKernel("add_chunks", "const float* partial, float* dw, i64 chunks, i64 size")

TILE = 256  # pixels, as in tiles.h: what one sum adds up before it goes to memory
CHUNKS = 16  # at most: enough for some threads, and little memory
CHUNK_WORK = 1 << 21  # multiply-adds that are worth a partial result of their own


def sum_in_chunks(kernel: CpuKernel, x: Array, grad: Array, window: Window, groups: int, ranges: int) -> Array:
    """The sum over all pixels that a kernel makes chunk by chunk, each with so many ranges of channels as its items."""
    prepared, chunks = _cut(kernel, x.shape, grad.shape, window, groups, ranges)
    dfilters = xp.empty((*window.kernel, x.shape[3] // groups, grad.shape[3]), dtype=x.dtype)
    if prepared.work == 0:  # of no image, the sums are 0
        dfilters[...] = 0
    elif chunks == 1:
        launch(prepared, x, grad, dfilters)
    else:
        partial = xp.empty((chunks, dfilters.size), dtype=x.dtype)
        launch(prepared, x, grad, partial)
        size = dfilters.size
        launch(ADD_CHUNKS.prepare(chunks, size, items=size, work=MOVED * partial.size), partial, dfilters)
    return dfilters.transpose(3, 2, 0, 1)


@functools.lru_cache(maxsize=1024)
def _cut(
    kernel: CpuKernel, x: tuple[int, ...], grad: tuple[int, ...], window: Window, groups: int, ranges: int
) -> tuple[Launch, int]:
    """The launch, and how many chunks the tiles make.

    It depends on the shapes alone, and so do the bits of the result.
    """
    n, out_height, out_width, _ = grad
    columns = _even(out_width, TILE)
    rows = _even(out_height, TILE // columns)
    images = _even(n, TILE // (rows * columns)) if rows * columns == out_height * out_width else 1
    tiles = -(-n // images) * -(-out_height // rows) * -(-out_width // columns)
    work = math.prod(grad) * math.prod(window.kernel) * x[3] // groups
    chunks = max(1, min(tiles, CHUNKS // ranges, work // CHUNK_WORK))
    numbers = (*window_numbers(x, grad, window, groups), images, rows, columns, chunks)
    return kernel.prepare(*numbers, items=chunks * ranges, work=work), chunks


def window_numbers(x: tuple[int, ...], y: tuple[int, ...], window: Window, groups: int) -> tuple[int, ...]:
    """The numbers of WINDOW: how a window slides over images x (N, H, W, C) and makes y (N, Ho, Wo, O)."""
    (top, _), (left, _) = window.padding
    return (*x, *y[1:], *window.kernel, *window.stride, top, left, *window.dilation, groups)


def _even(size: int, most: int) -> int:
    """How many at a time, at most so many, cut `size` evenly."""
    pieces = max(1, -(-size // max(1, most)))
    return max(1, -(-size // pieces))
