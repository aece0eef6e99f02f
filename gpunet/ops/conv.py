"""Convolution as one matrix product: im2col makes a row of every window, and col2im lays rows back into images.

    rows = im2col(x)          (N*Ho*Wo, kh*kw*C)       each window of the image, as a row
    y    = rows @ filters     (N*Ho*Wo, O)             filters (kh*kw*C, O)
    dF   = rowsᵀ @ g          (kh*kw*C, O)             going back: one product each,
    dx   = col2im(g @ filtersᵀ)                        and the windows laid back where they came from

Rows take kh*kw times the memory of the images, so this is done for a few images at a time. With G groups of channels
all of it has a leading axis G. A 1x1 window needs no copy: its rows are the pixels.

Chellapilla et al., "High performance convolutional neural networks for document processing", 2006.
"""

from __future__ import annotations

import math
from typing import Any

from gpunet.backend import Array, as_nchw, run_tiles, scratch, sum_over_tiles, tiles, to_nhwc, xp
from gpunet.backend.products import product
from gpunet.ops.batchnorm import Channels, Given, normalise
from gpunet.ops.operation import Operation
from gpunet.ops.passes import Pass
from gpunet.ops.reduction import sum_rows
from gpunet.ops.waiting import Convolved, wait
from gpunet.ops.window import Window

__all__ = [
    "Conv2d",
    "col2im",
    "convolve",
    "convolve_back_filters",
    "convolve_back_input",
    "convolve_normalise",
    "im2col",
]

Shape = tuple[int, int, int, int]


@Pass
def im2col(x: Array, window: Window, groups: int) -> Array:
    """Every window of images (n, H, W, C) as a row: (G, n*Ho*Wo, kh*kw*C/G). The next call overwrites them."""
    n, height, width, channels = x.shape
    if window.is_pointwise and groups == 1:
        return x.reshape(1, -1, channels)
    positions = window.output_size(height, width)
    rows = scratch("im2col", (groups, n, *positions, *window.kernel, channels // groups), x.dtype)
    windows = window.views(window.pad(x, 0), positions)  # (n, Ho, Wo, kh, kw, C)
    rows[...] = windows.reshape(*windows.shape[:5], groups, -1).transpose(5, 0, 1, 2, 3, 4, 6)
    return rows.reshape(groups, n * math.prod(positions), -1)


@Pass
def col2im(rows: Array, window: Window, groups: int, shape: Shape) -> Array:
    """The transpose of `im2col`: images (n, H, W, C), each pixel the sum of all that rows hold of it."""
    n, height, width, channels = shape
    if window.is_pointwise and groups == 1:
        return rows.reshape(shape)
    positions = window.output_size(height, width)
    rows = rows.reshape(groups, n, *positions, math.prod(window.kernel), channels // groups)
    # (kh*kw, n, Ho, Wo, C): copied first, since NumPy adds long rows of an image faster than the channels of a pixel.
    by_element = xp.ascontiguousarray(rows.transpose(4, 1, 2, 3, 0, 5)).reshape(-1, n, *positions, channels)
    padded = xp.zeros((n, *window.padded_size(height, width), channels), dtype=rows.dtype)
    for k, (i, j) in enumerate(window.offsets(positions)):  # within one k no two windows overlap
        padded[:, i, j] += by_element[k]
    return window.inside(padded, height, width)


@Pass
def convolve(x: Array, weight: Array, bias: Array | None, window: Window, groups: int) -> Array:
    """Y (N, Ho, Wo, O) of images (N, H, W, C) and filters (O, C/G, kh, kw)."""
    n, height, width, _ = x.shape
    filters = _as_columns(weight, groups)
    y = xp.empty((n, *window.output_size(height, width), len(weight)), dtype=x.dtype)

    def one_tile(batch: slice) -> None:
        out = _grouped(y[batch], groups)
        _multiply(im2col(x[batch], window, groups), filters, out)
        if bias is not None:
            y[batch] += bias

    run_tiles(one_tile, _tiles(x.shape, x.itemsize, window))
    return y


@Pass
def convolve_normalise(
    x: Array,
    weight: Array,
    bias: Array | None,
    window: Window,
    groups: int,
    known: Channels | Given,
    residual: Array | None,
    relu: bool,
) -> Array:
    """A convolution, and batch norm's last pass over it while it is at hand."""
    return normalise(convolve(x, weight, bias, window, groups), known, residual, relu)


@Pass
def convolve_back_input(grad: Array, weight: Array, window: Window, groups: int, shape: Shape) -> Array:
    """Dx (N, H, W, C), the shape given, from the gradient by y (N, Ho, Wo, O)."""
    filters = _as_columns(weight, groups).swapaxes(1, 2)  # (G, O/G, kh*kw*C/G)

    def one_tile(batch: slice) -> Array:
        g = _grouped(grad[batch], groups)  # (G, n*Ho*Wo, O/G)
        rows = xp.empty((*g.shape[:2], filters.shape[2]), dtype=g.dtype)
        _multiply(g, filters, rows)
        return col2im(rows, window, groups, (batch.stop - batch.start, *shape[1:]))

    parts = run_tiles(one_tile, _tiles(shape, grad.itemsize, window))
    return parts[0] if len(parts) == 1 else xp.concatenate(parts)


@Pass
def convolve_back_filters(x: Array, grad: Array, window: Window, groups: int) -> Array:
    """The gradient by the filters, (O, C/G, kh, kw), in memory (kh, kw, C/G, O)."""

    def one_tile(batch: slice) -> tuple[Array]:
        rows, g = im2col(x[batch], window, groups), _grouped(grad[batch], groups)
        product = xp.empty((groups, rows.shape[2], g.shape[2]), dtype=x.dtype)  # (G, kh*kw*C/G, O/G)
        _multiply(rows.swapaxes(1, 2), g, product)
        return (product,)

    (dfilters,) = sum_over_tiles(one_tile, _tiles(x.shape, x.itemsize, window))
    by_element = dfilters.reshape(groups, *window.kernel, -1, dfilters.shape[2])  # (G, kh, kw, C/G, O/G)
    return by_element.transpose(1, 2, 3, 0, 4).reshape(*by_element.shape[1:4], -1).transpose(3, 2, 0, 1)


def _as_columns(weight: Array, groups: int) -> Array:
    """Filters (O, C/G, kh, kw) as the columns of a matrix for each group: (G, kh*kw*C/G, O/G)."""
    outputs, channels, kh, kw = weight.shape
    grouped = weight.reshape(groups, outputs // groups, channels, kh, kw)
    return grouped.transpose(0, 3, 4, 2, 1).reshape(groups, kh * kw * channels, outputs // groups)


def _grouped(y: Array, groups: int) -> Array:
    """Pixels (n, Ho, Wo, O) as a matrix for each group, (G, n*Ho*Wo, O/G): a view."""
    return y.reshape(-1, groups, y.shape[3] // groups).transpose(1, 0, 2)


def _multiply(a: Array, b: Array, out: Array) -> None:
    """Out = a @ b for each group; without groups as one two-dimensional product, straight into its place."""
    if len(a) == 1:
        product(a[0], b[0], out=out[0])
    else:
        out[...] = product(a, b)


def _tiles(shape: Shape, itemsize: int, window: Window) -> list[slice]:
    """As many images (N, H, W, C) at a time as leave room for their rows."""
    n, height, width, channels = shape
    numbers = math.prod(window.output_size(height, width)) * math.prod(window.kernel) * channels
    return tiles(n, itemsize * numbers)


class Conv2d(Operation):
    """O[n,o,k,l] = b[o] + sum over c, i, j of I'[n, c, S*k + D*i - P, S*l + D*j - P] * F[o,c,i,j], I' zero outside."""

    autocast, mixed, sums = "half", "refused", True
    function, names = "conv2d", ("input", "weight", "bias")

    def __init__(self, window: Window, groups: int) -> None:
        self.window, self.groups = window, groups

    def forward(self, x: Array, weight: Array, bias: Array | None = None) -> Any:
        self.x, self.weight = x, weight = to_nhwc(x), weight  # (N, H, W, C), (O, C/G, kh, kw)
        args = (x, weight, bias, self.window, self.groups)

        def run(known: Channels | Given | None = None, *joined: Any) -> Array:  # (N, O, Ho, Wo)
            return as_nchw(convolve(*args) if known is None else convolve_normalise(*args, known, *joined))

        if any(self.needs_grad):
            return run()
        shape = (len(x), len(weight), *self.window.output_size(*x.shape[1:3]))
        return wait(Convolved(self, shape, run, (x, weight) if bias is None else (x, weight, bias)))

    def backward(self, grad: Array) -> tuple[Array | None, ...]:
        grad = to_nhwc(grad)  # (N, Ho, Wo, O)
        needs_x, needs_weight, needs_bias = (*self.needs_grad, False)[:3]
        dx = dweight = dbias = None
        if needs_x:
            dx = as_nchw(convolve_back_input(grad, self.weight, self.window, self.groups, self.x.shape))
        if needs_weight:
            dweight = convolve_back_filters(self.x, grad, self.window, self.groups)
        if needs_bias:
            dbias = sum_rows(grad.reshape(-1, grad.shape[3])).astype(grad.dtype)
        return (dx, dweight, dbias)[: len(self.needs_grad)]
