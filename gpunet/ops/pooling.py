"""Max and average pooling: one pass over the images for each element of the window, no copies of windows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpunet.backend import Array, as_nchw, run_tiles, tiles, to_nhwc, xp
from gpunet.ops.operation import Operation
from gpunet.ops.passes import Pass
from gpunet.ops.window import Pair, Window

__all__ = [
    "AvgPool2d",
    "MaxPool2d",
    "MaxUnpool2d",
    "Shape",
    "avg_pool2d_backward",
    "avg_pool2d_forward",
    "max_pool2d_backward",
    "max_pool2d_forward",
    "winner_dtype",
]

Shape = tuple[int, int, int, int]
"""Of images in memory: (N, H, W, C)."""

SHORT_SUM = 16  # as many numbers lose at most one unit in the last place when they are added up; more are in float64


class MaxPool2d(Operation):
    """O[n,c,k,l] = max of the window; NaN wins. Remembers which element won (the first of equals), not the input."""

    def __init__(self, window: Window, remember: bool = False) -> None:
        self.window, self.remember = window, remember

    def forward(self, x: Array) -> Array:
        x = to_nhwc(x)  # (N, H, W, C)
        self.shape = x.shape
        y, self.winner = max_pool2d_forward(x, self.window, self.remember or any(self.needs_grad))
        return as_nchw(y)

    def indices(self) -> Array:
        """Where in its image each maximum was found, rows * width + column: (N, C, Ho, Wo)."""
        (top, _), (left, _) = self.window.padding
        i, j = self.winner // self.window.kernel[1], self.winner % self.window.kernel[1]  # within the window
        rows, columns = (xp.arange(size) for size in self.winner.shape[1:3])
        row = i * self.window.dilation[0] + (rows * self.window.stride[0] - top)[:, None, None]
        column = j * self.window.dilation[1] + (columns * self.window.stride[1] - left)[:, None]
        return as_nchw(row * self.shape[2] + column)

    def backward(self, grad: Array) -> tuple[Array]:
        return (as_nchw(max_pool2d_backward(to_nhwc(grad), self.winner, self.window, self.shape)),)


class MaxUnpool2d(Operation):
    """The values of x (N, C, H, W) at their places, rows * width + column, in larger images of zeros."""

    def __init__(self, indices: Array, size: Pair) -> None:
        self.indices, self.size = indices, size

    def forward(self, x: Array) -> Array:
        n, channels, *_ = self.shape = x.shape
        self.places = xp.arange(n * channels)[:, None], self.indices.reshape(n * channels, -1)
        y = xp.zeros((n * channels, self.size[0] * self.size[1]), dtype=x.dtype)
        y[self.places] = x.reshape(n * channels, -1)
        return as_nchw(to_nhwc(y.reshape(n, channels, *self.size)))

    def backward(self, grad: Array) -> tuple[Array]:
        n, channels, *_ = self.shape
        return (grad.reshape(n * channels, -1)[self.places].reshape(self.shape),)


class AvgPool2d(Operation):
    """O[n,c,k,l] = sum of the window / divisor.

    The divisor is the size of the window including padding (count_include_pad), or what of it lies in the image; what
    ceil_mode adds beyond the padding never counts.
    """

    sums = True

    def __init__(self, window: Window, count_include_pad: bool, divisor_override: int | None) -> None:
        self.window, self.divisor_rule = window, (count_include_pad, divisor_override)

    def forward(self, x: Array) -> Array:
        x = to_nhwc(x)  # (N, H, W, C)
        self.shape = x.shape
        return as_nchw(avg_pool2d_forward(x, self.window, *self.divisor_rule))

    def backward(self, grad: Array) -> tuple[Array]:
        return (as_nchw(avg_pool2d_backward(to_nhwc(grad), self.window, self.shape, *self.divisor_rule)),)


# -------------------------------------------------------------------------------------------------------------- maximum


@Pass
def max_pool2d_forward(x: Array, window: Window, remember: bool) -> tuple[Array, Array | None]:
    """Y (N, Ho, Wo, C), and for each value the place of the winner in its window (None if nobody will ask)."""
    n, height, width, channels = x.shape
    positions = window.output_size(height, width)
    y = xp.empty((n, *positions, channels), dtype=x.dtype)
    first = _first_inside(window, positions)
    winners = xp.empty(y.shape, dtype=first.dtype) if remember else None

    def one_tile(batch: slice) -> None:
        padded, best = window.pad(x[batch], -np.inf), y[batch]
        winner = None if winners is None else winners[batch]
        for k, (rows, columns) in enumerate(window.offsets(positions)):
            value = padded[:, rows, columns]  # (n, Ho, Wo, C)
            if k == 0:
                best[...] = value
                if winner is not None:
                    winner[...] = first
                continue
            if winner is not None:
                # Elements come in rising order, so the last that won is the largest; a masked copy is much slower.
                wins = ((value > best) | (value != value)).astype(winner.dtype)
                wins *= k
                xp.maximum(winner, wins, out=winner)
            xp.maximum(best, value, out=best)

    run_tiles(one_tile, tiles(n, x.itemsize * height * width * channels))
    return y, winners


def _first_inside(window: Window, positions: Pair) -> Array:
    """For each window its first element inside the image, which wins where all values are -inf: (Ho, Wo, 1)."""
    first = []
    for axis in range(2):
        outside = window.padding[axis][0] - xp.arange(positions[axis]) * window.stride[axis]
        first.append(-(-xp.maximum(outside, 0) // window.dilation[axis]))
    elements = first[0][:, None, None] * window.kernel[1] + first[1][:, None]
    return elements.astype(winner_dtype(window))


def winner_dtype(window: Window) -> Any:
    """The type of number that the place of a winner fits in."""
    return xp.uint8 if window.kernel[0] * window.kernel[1] <= 256 else xp.int32


@Pass
def max_pool2d_backward(grad: Array, winner: Array, window: Window, shape: Shape) -> Array:
    """Dx (N, H, W, C), the shape given: each gradient (N, Ho, Wo, C) goes to the element that won."""
    return _spread(grad, window, shape, lambda batch, k: xp.where(winner[batch] == k, grad[batch], 0))


# -------------------------------------------------------------------------------------------------------------- average


@Pass
def avg_pool2d_forward(x: Array, window: Window, count_include_pad: bool, divisor_override: int | None) -> Array:
    """Y (N, Ho, Wo, C)."""
    n, height, width, channels = x.shape
    positions = window.output_size(height, width)
    scale = _scale(x.shape, window, count_include_pad, divisor_override, x.dtype)
    sum_dtype = _sum_dtype(x.dtype, window.kernel[0] * window.kernel[1])
    y = xp.empty((n, *positions, channels), dtype=x.dtype)

    def one_tile(batch: slice) -> None:
        padded = window.pad(x[batch], 0)
        total = xp.zeros(y[batch].shape, dtype=sum_dtype)
        for rows, columns in window.offsets(positions):
            total += padded[:, rows, columns]
        xp.multiply(total, scale, out=y[batch])

    run_tiles(one_tile, tiles(n, x.itemsize * height * width * channels))
    return y


@Pass
def avg_pool2d_backward(
    grad: Array, window: Window, shape: Shape, count_include_pad: bool, divisor_override: int | None
) -> Array:
    """Dx (N, H, W, C), the shape given: each element of a window receives the same part of its gradient."""
    scale = _scale(shape, window, count_include_pad, divisor_override, grad.dtype)
    return _spread(grad, window, shape, lambda batch, k: grad[batch] * scale)


def _scale(
    shape: Shape, window: Window, count_include_pad: bool, divisor_override: int | None, dtype: np.dtype[np.floating]
) -> Array:
    """1 / divisor for each window position: (Ho, Wo, 1)."""
    if divisor_override is not None:
        return xp.full((1, 1, 1), 1 / divisor_override, dtype=dtype)
    counts = []
    for axis, (size, positions) in enumerate(zip(shape[1:3], window.output_size(*shape[1:3]), strict=True)):
        before, after = window.padding[axis]
        low, high = (-before, size + after) if count_include_pad else (0, size)
        start = xp.arange(positions) * window.stride[axis] - before
        counts.append(xp.minimum(start + window.kernel[axis], high) - xp.maximum(start, low))
    divisor = counts[0][:, None, None] * counts[1][:, None]
    return (1 / divisor).astype(dtype)


# ----------------------------------------------------------------------------------------------------------------- both


def _spread(grad: Array, window: Window, shape: Shape, part: Callable[[slice, int], Array]) -> Array:
    """Dx (N, H, W, C): kernel element k of the windows of a tile receives `part(tile, k)` (n, Ho, Wo, C)."""
    n, height, width, channels = shape
    positions = grad.shape[1:3]
    padded_size = window.padded_size(height, width)
    dx: Array = xp.empty(shape, dtype=grad.dtype)
    # The common case: every pixel is in one window, and what that gives it is all there is.
    tiled = padded_size == (height, width) == tuple(p * s for p, s in zip(positions, window.kernel, strict=True))
    tiled = tiled and window.kernel == window.stride and window.dilation == (1, 1)
    windows = [-(-size // stride) for size, stride in zip(window.kernel, window.stride, strict=True)]  # over a pixel
    sum_dtype = _sum_dtype(grad.dtype, windows[0] * windows[1])

    def one_tile(batch: slice) -> None:
        offsets = enumerate(window.offsets(positions))
        if tiled:
            for k, (rows, columns) in offsets:
                dx[batch, rows, columns] = part(batch, k)
            return
        padded = xp.zeros((batch.stop - batch.start, *padded_size, channels), dtype=sum_dtype)
        for k, (rows, columns) in offsets:
            padded[:, rows, columns] += part(batch, k)  # within one k no two windows overlap
        dx[batch] = window.inside(padded, height, width)

    run_tiles(one_tile, tiles(n, dx.itemsize * height * width * channels))
    return dx


def _sum_dtype(dtype: np.dtype[np.floating], terms: int) -> Any:
    """In which type of number so many numbers of a type are added up."""
    if dtype == np.float16:
        return xp.float32
    return dtype if terms <= SHORT_SUM else xp.float64
