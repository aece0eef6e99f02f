"""Adaptive pooling: the size of the output is given, and the windows follow from it.

Output row i of k covers the input rows floor(i*H/k) .. ceil((i+1)*H/k) - 1, columns likewise. Windows may overlap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gpunet.backend import Array, as_nchw, run_tiles, tiles, to_nhwc, xp
from gpunet.ops.operation import Operation
from gpunet.ops.passes import Pass
from gpunet.ops.pooling import Shape
from gpunet.ops.window import Pair

__all__ = [
    "AdaptiveAvgPool2d",
    "AdaptiveMaxPool2d",
    "adaptive_avg_pool2d_backward",
    "adaptive_avg_pool2d_forward",
    "adaptive_max_pool2d_backward",
    "adaptive_max_pool2d_forward",
    "spans",
]


class AdaptiveAvgPool2d(Operation):
    """O[n,c,i,j] = mean of the block of cell (i, j)."""

    def __init__(self, output_size: Pair) -> None:
        self.output_size = output_size

    def forward(self, x: Array) -> Array:
        x = to_nhwc(x)  # (N, H, W, C)
        self.shape = x.shape
        return as_nchw(adaptive_avg_pool2d_forward(x, self.output_size))

    def backward(self, grad: Array) -> tuple[Array]:
        return (as_nchw(adaptive_avg_pool2d_backward(to_nhwc(grad), self.shape)),)


class AdaptiveMaxPool2d(Operation):
    """O[n,c,i,j] = max of the block of cell (i, j); NaN wins. The first of equal values receives the gradient."""

    def __init__(self, output_size: Pair, remember: bool = False) -> None:
        self.output_size, self.remember = output_size, remember

    def forward(self, x: Array) -> Array:
        x = to_nhwc(x)  # (N, H, W, C)
        self.shape = x.shape
        y, self.winner = adaptive_max_pool2d_forward(x, self.output_size, self.remember or any(self.needs_grad))
        return as_nchw(y)

    def indices(self) -> Array:
        """Where in its image each maximum was found, rows * width + column: (N, C, Ho, Wo)."""
        found = xp.empty(self.winner.shape, dtype=xp.int64)
        for i, j, rows, columns in _cells(self.shape[1:3], self.output_size):
            k, width = self.winner[:, i, j], columns.stop - columns.start
            found[:, i, j] = (rows.start + k // width) * self.shape[2] + columns.start + k % width
        return as_nchw(found)

    def backward(self, grad: Array) -> tuple[Array]:
        return (as_nchw(adaptive_max_pool2d_backward(to_nhwc(grad), self.winner, self.shape)),)


@Pass
def adaptive_avg_pool2d_forward(x: Array, output_size: Pair) -> Array:
    """Y (N, k, k, C)."""
    sum_dtype = xp.promote_types(x.dtype, xp.float64)  # a float32 sum over an image of a million pixels loses digits
    return _pool(x, output_size, lambda block, batch, i, j: block.mean(axis=(1, 2), dtype=sum_dtype))


@Pass
def adaptive_avg_pool2d_backward(grad: Array, shape: Shape) -> Array:
    """Dx (N, H, W, C), the shape given, from the gradient by y (N, k, k, C)."""

    def share(batch: slice, i: int, j: int, size: Pair) -> Array:
        return (grad[batch, i, j] / (size[0] * size[1]))[:, None, None]

    return _spread(grad, shape, share)


@Pass
def adaptive_max_pool2d_forward(x: Array, output_size: Pair, remember: bool) -> tuple[Array, Array | None]:
    """Y (N, k, k, C), and for each value the place of the winner in its cell (None if nobody will ask)."""
    winner = xp.empty((len(x), *output_size, x.shape[3]), dtype=xp.int32) if remember else None

    def reduce(block: Array, batch: slice, i: int, j: int) -> Array:
        top = block.max(axis=(1, 2))
        if winner is not None:
            wins = ((block == top[:, None, None]) | (block != block)).reshape(len(block), -1, block.shape[3])
            winner[batch, i, j] = wins.argmax(axis=1)  # the first True
        return top

    return _pool(x, output_size, reduce), winner


@Pass
def adaptive_max_pool2d_backward(grad: Array, winner: Array, shape: Shape) -> Array:
    """Dx (N, H, W, C), the shape given, from the gradient by y and the winners (N, k, k, C)."""

    def share(batch: slice, i: int, j: int, size: Pair) -> Array:
        place = xp.arange(size[0] * size[1]).reshape(*size, 1)
        return xp.where(winner[batch, i, j][:, None, None] == place, grad[batch, i, j][:, None, None], 0)

    return _spread(grad, shape, share)


def _cells(size: Pair, output_size: Pair) -> Iterator[tuple[int, int, slice, slice]]:
    """For each output cell (i, j) the input rows and columns that it covers."""
    for i, rows in enumerate(spans(size[0], output_size[0])):
        for j, columns in enumerate(spans(size[1], output_size[1])):
            yield i, j, rows, columns


def spans(size: int, cells: int) -> Iterator[slice]:
    """For each of so many cells along an axis the rows, or columns, that it covers."""
    for i in range(cells):
        yield slice(i * size // cells, -(-(i + 1) * size // cells))


def _pool(x: Array, output_size: Pair, reduce: Callable[[Array, slice, int, int], Array]) -> Array:
    """Y (N, k, k, C), where cell (i, j) of a tile is `reduce(block, tile, i, j)` of its block (n, h, w, C)."""
    n, height, width, channels = x.shape
    y: Array = xp.empty((n, *output_size, channels), dtype=x.dtype)

    def one_tile(batch: slice) -> None:
        for i, j, rows, columns in _cells((height, width), output_size):
            y[batch, i, j] = reduce(x[batch, rows, columns], batch, i, j)

    run_tiles(one_tile, tiles(n, x.itemsize * height * width * channels))
    return y


def _spread(grad: Array, shape: Shape, share: Callable[[slice, int, int, Pair], Array]) -> Array:
    """Dx (N, H, W, C), where the block of cell (i, j) receives `share(tile, i, j, size of the block)`."""
    n, height, width, channels = shape
    dx: Array = xp.zeros(shape, dtype=grad.dtype)

    def one_tile(batch: slice) -> None:
        for i, j, rows, columns in _cells((height, width), grad.shape[1:3]):
            size = (rows.stop - rows.start, columns.stop - columns.start)
            dx[batch, rows, columns] += share(batch, i, j, size)

    run_tiles(one_tile, tiles(n, dx.itemsize * height * width * channels))
    return dx
