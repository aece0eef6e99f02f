"""Launchers of the CUDA kernels im2col and col2im, raw_kernels/im2col.cu. Between them a convolution is a product."""

from __future__ import annotations

import math

from gpunet.backend import Array, xp
from gpunet.backend.kernel_table import COL2IM, IM2COL
from gpunet.backend.kernels import launch, vector_width
from gpunet.ops.conv import Shape, col2im, im2col
from gpunet.ops.window import Window


def _copies(array: Array, window: Window, groups: int, *shape: Shape) -> bool:
    """Whether rows are more than the pixels themselves, of which the page makes a view."""
    return not (window.is_pointwise and groups == 1)


@im2col.on("cuda", takes=_copies)
def _im2col(x: Array, window: Window, groups: int) -> Array:
    n, height, width, channels = x.shape
    positions, elements = window.output_size(height, width), math.prod(window.kernel)
    rows = xp.empty((groups, n * math.prod(positions), elements * channels // groups), dtype=x.dtype)
    vector = vector_width(channels // groups, rows, x)
    count = rows.size // vector
    launch(IM2COL, x, rows, count, *_settings(window, groups, x.shape), threads=count, vector=vector)
    return rows


@col2im.on("cuda", takes=_copies)
def _col2im(rows: Array, window: Window, groups: int, shape: Shape) -> Array:
    dx = xp.empty(shape, dtype=rows.dtype)
    vector = vector_width(shape[3] // groups, dx, rows)
    count = dx.size // vector
    launch(COL2IM, rows, dx, count, *_settings(window, groups, shape), threads=count, vector=vector)
    return dx


def _settings(window: Window, groups: int, shape: Shape) -> tuple[int, ...]:
    (top, _), (left, _) = window.padding
    positions = window.output_size(*shape[1:3])
    return (*shape, groups, *positions, *window.kernel, *window.stride, top, left, *window.dilation)
