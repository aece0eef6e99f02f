"""Adaptive pooling: the size of the output is given, and the windows follow from it.

Output row i of k covers the input rows floor(i*H/k) .. ceil((i+1)*H/k) - 1, columns likewise. Windows may overlap.

On a GPU `raw_pooling` does the same in one kernel; each operation branches to it at one line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gpunet.backend import Array, as_nchw, kernels, run_tiles, tiles, to_nhwc, xp
from gpunet.ops import raw_pooling
from gpunet.ops.operation import Operation
from gpunet.ops.window import Pair

__all__ = ["AdaptiveAvgPool2d", "AdaptiveMaxPool2d"]


class _AdaptivePool2d(Operation):
    shape: tuple[int, int, int, int]  # of the input in memory: (N, H, W, C)

    def __init__(self, output_size: Pair) -> None:
        self.output_size = output_size

    def _cells(self, height: int, width: int) -> Iterator[tuple[int, int, slice, slice]]:
        """For each output cell (i, j) the input rows and columns that it covers."""
        for i, rows in enumerate(_spans(height, self.output_size[0])):
            for j, columns in enumerate(_spans(width, self.output_size[1])):
                yield i, j, rows, columns

    def _pool(self, x: Array, reduce: Callable[[Array, slice, int, int], Array]) -> Array:
        """Y (N, k, k, C), where cell (i, j) of a tile is `reduce(block, tile, i, j)` of its block (n, h, w, C)."""
        n, height, width, channels = x.shape
        y = xp.empty((n, *self.output_size, channels), dtype=x.dtype)

        def one_tile(batch: slice) -> None:
            for i, j, rows, columns in self._cells(height, width):
                y[batch, i, j] = reduce(x[batch, rows, columns], batch, i, j)

        run_tiles(one_tile, tiles(n, x.itemsize * height * width * channels))
        return y

    def _spread(self, grad: Array, share: Callable[[slice, int, int, Pair], Array]) -> Array:
        """Dx (N, H, W, C), where the block of cell (i, j) receives `share(tile, i, j, size of the block)`."""
        n, height, width, channels = self.shape
        dx = xp.zeros(self.shape, dtype=grad.dtype)

        def one_tile(batch: slice) -> None:
            for i, j, rows, columns in self._cells(height, width):
                size = (rows.stop - rows.start, columns.stop - columns.start)
                dx[batch, rows, columns] += share(batch, i, j, size)

        run_tiles(one_tile, tiles(n, dx.itemsize * height * width * channels))
        return dx


def _spans(size: int, cells: int) -> Iterator[slice]:
    for i in range(cells):
        yield slice(i * size // cells, -(-(i + 1) * size // cells))


class AdaptiveAvgPool2d(_AdaptivePool2d):
    """O[n,c,i,j] = mean of the block of cell (i, j)."""

    def forward(self, x: Array) -> Array:
        x = to_nhwc(x)
        self.shape = x.shape
        if kernels.enabled():
            return as_nchw(raw_pooling.adaptive_avg_pool2d_forward(x, self.output_size))
        return as_nchw(self._pool(x, lambda block, batch, i, j: block.mean(axis=(1, 2))))

    def backward(self, grad: Array) -> tuple[Array]:
        grad = to_nhwc(grad)
        if kernels.enabled():
            return (as_nchw(raw_pooling.adaptive_avg_pool2d_backward(grad, self.shape)),)

        def share(batch: slice, i: int, j: int, size: Pair) -> Array:
            return (grad[batch, i, j] / (size[0] * size[1]))[:, None, None]

        return (as_nchw(self._spread(grad, share)),)


class AdaptiveMaxPool2d(_AdaptivePool2d):
    """O[n,c,i,j] = max of the block of cell (i, j); NaN wins. The first of equal values receives the gradient."""

    winner: Array

    def forward(self, x: Array) -> Array:
        x = to_nhwc(x)
        self.shape = x.shape
        remember = any(self.needs_grad)
        if kernels.enabled():
            y, self.winner = raw_pooling.adaptive_max_pool2d_forward(x, self.output_size, remember)
            return as_nchw(y)
        self.winner = xp.empty((len(x), *self.output_size, x.shape[3]), dtype=xp.int64)

        def reduce(block: Array, batch: slice, i: int, j: int) -> Array:
            top = block.max(axis=(1, 2))
            if remember:
                wins = ((block == top[:, None, None]) | (block != block)).reshape(len(block), -1, block.shape[3])
                self.winner[batch, i, j] = wins.argmax(axis=1)  # the first True
            return top

        return as_nchw(self._pool(x, reduce))

    def backward(self, grad: Array) -> tuple[Array]:
        grad = to_nhwc(grad)
        if kernels.enabled():
            return (as_nchw(raw_pooling.adaptive_max_pool2d_backward(grad, self.winner, self.shape)),)

        def share(batch: slice, i: int, j: int, size: Pair) -> Array:
            place = xp.arange(size[0] * size[1]).reshape(*size, 1)
            return grad[batch, i, j][:, None, None] * (self.winner[batch, i, j][:, None, None] == place)

        return (as_nchw(self._spread(grad, share)),)
