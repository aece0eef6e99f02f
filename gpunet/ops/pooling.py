"""Max and average pooling: one pass over the images for each element of the window, no copies of windows.

On a GPU `raw_pooling` does the same in one kernel; each operation branches to it at one line.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gpunet.backend import Array, as_nchw, kernels, run_tiles, tiles, to_nhwc, xp
from gpunet.ops import raw_pooling
from gpunet.ops.operation import Operation
from gpunet.ops.window import Pair, Window

__all__ = ["AvgPool2d", "MaxPool2d"]


class _Pool2d(Operation):
    shape: tuple[int, int, int, int]  # of the input in memory: (N, H, W, C)

    def __init__(self, window: Window) -> None:
        self.window = window

    def _spread(self, grad: Array, share: Callable[[slice, int], Array]) -> Array:
        """Dx (N, H, W, C): kernel element k of the windows of a tile receives its `share(tile, k)` of the gradient."""
        n, height, width, channels = self.shape
        positions = grad.shape[1:3]
        padded_size = self.window.padded_size(height, width)
        dx: Array = xp.empty(self.shape, dtype=grad.dtype)
        # The common case: every pixel is in one window, and what that gives it is all there is.
        tiled = (
            padded_size == (height, width) == tuple(p * s for p, s in zip(positions, self.window.kernel, strict=True))
        )
        tiled = tiled and self.window.kernel == self.window.stride and self.window.dilation == (1, 1)

        def one_tile(batch: slice) -> None:
            offsets = enumerate(self.window.offsets(positions))
            if tiled:
                for k, (rows, columns) in offsets:
                    xp.multiply(grad[batch], share(batch, k), out=dx[batch, rows, columns])
                return
            padded = xp.zeros((batch.stop - batch.start, *padded_size, channels), dtype=grad.dtype)
            for k, (rows, columns) in offsets:
                padded[:, rows, columns] += grad[batch] * share(batch, k)  # within one k no two windows overlap
            dx[batch] = self.window.inside(padded, height, width)

        run_tiles(one_tile, tiles(n, dx.itemsize * height * width * channels))
        return dx


class MaxPool2d(_Pool2d):
    """O[n,c,k,l] = max of the window; NaN wins. Remembers which element won (the first of equals), not the input."""

    winner: Array

    def forward(self, x: Array) -> Array:
        x = to_nhwc(x)  # (N, H, W, C)
        self.shape = n, height, width, channels = x.shape
        remember = any(self.needs_grad)
        if kernels.enabled():
            y, self.winner = raw_pooling.max_pool2d_forward(x, self.window, remember)
            return as_nchw(y)
        positions = self.window.output_size(height, width)
        y = xp.empty((n, *positions, channels), dtype=x.dtype)
        first = self._first_inside(positions)
        if remember:
            self.winner = xp.empty(y.shape, dtype=first.dtype)

        def one_tile(batch: slice) -> None:
            padded, best = self.window.pad(x[batch], -np.inf), y[batch]
            winner = self.winner[batch] if remember else None
            for k, (rows, columns) in enumerate(self.window.offsets(positions)):
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
        return as_nchw(y)

    def _first_inside(self, positions: Pair) -> Array:
        """For each window its first element inside the image, which wins where all values are -inf: (Ho, Wo, 1)."""
        kh, kw = self.window.kernel
        first = []
        for axis in range(2):
            outside = self.window.padding[axis][0] - np.arange(positions[axis]) * self.window.stride[axis]
            first.append(-(-np.maximum(outside, 0) // self.window.dilation[axis]))
        elements = first[0][:, None, None] * kw + first[1][:, None]
        return xp.asarray(elements, dtype=xp.uint8 if kh * kw <= 256 else xp.int32)

    def backward(self, grad: Array) -> tuple[Array]:
        grad = to_nhwc(grad)
        if kernels.enabled():
            return (as_nchw(raw_pooling.max_pool2d_backward(grad, self.winner, self.window, self.shape)),)
        return (as_nchw(self._spread(grad, lambda batch, k: self.winner[batch] == k)),)


class AvgPool2d(_Pool2d):
    """O[n,c,k,l] = sum of the window / divisor.

    The divisor is the size of the window including padding (count_include_pad), or what of it lies in the image; what
    ceil_mode adds beyond the padding never counts.
    """

    def __init__(self, window: Window, count_include_pad: bool, divisor_override: int | None) -> None:
        super().__init__(window)
        self.count_include_pad, self.divisor_override = self._divisor_rule = (count_include_pad, divisor_override)

    def forward(self, x: Array) -> Array:
        x = to_nhwc(x)  # (N, H, W, C)
        self.shape = n, height, width, channels = x.shape
        if kernels.enabled():
            return as_nchw(raw_pooling.avg_pool2d_forward(x, self.window, *self._divisor_rule))
        positions = self.window.output_size(height, width)
        self.scale = self._scale(height, width, positions, x.dtype)
        y = xp.zeros((n, *positions, channels), dtype=x.dtype)

        def one_tile(batch: slice) -> None:
            padded, total = self.window.pad(x[batch], 0), y[batch]
            for rows, columns in self.window.offsets(positions):
                total += padded[:, rows, columns]
            total *= self.scale

        run_tiles(one_tile, tiles(n, x.itemsize * height * width * channels))
        return as_nchw(y)

    def _scale(self, height: int, width: int, positions: Pair, dtype: np.dtype[np.floating]) -> Array:
        """1 / divisor for each window position: (Ho, Wo, 1)."""
        if self.divisor_override is not None:
            return xp.full((1, 1, 1), 1 / self.divisor_override, dtype=dtype)
        counts = []
        for axis, size in enumerate((height, width)):
            before, after = self.window.padding[axis]
            low, high = (-before, size + after) if self.count_include_pad else (0, size)
            start = np.arange(positions[axis]) * self.window.stride[axis] - before
            counts.append(np.minimum(start + self.window.kernel[axis], high) - np.maximum(start, low))
        divisor = counts[0][:, None, None] * counts[1][:, None]
        return xp.asarray(1 / divisor, dtype=dtype)

    def backward(self, grad: Array) -> tuple[Array]:
        grad = to_nhwc(grad)
        if kernels.enabled():
            return (as_nchw(raw_pooling.avg_pool2d_backward(grad, self.window, self.shape, *self._divisor_rule)),)
        return (as_nchw(self._spread(grad, lambda batch, k: self.scale)),)
