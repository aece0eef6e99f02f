"""The passes of batch normalisation over memory, with `xp`, tile by tile.

All that happens to a tile happens while it is in the cache: one visit for the statistics, one to normalise, add and cut
off; going back, one visit for the sums and one for the gradient by x.
"""

from __future__ import annotations

from gpunet.backend import Array, run_tiles, scratch, sum_over_tiles, tiles, xp

__all__ = ["TilePasses"]

ROW_LENGTH = 4096  # numbers; so many let NumPy's inner loop run, and the vectors stay in the first-level cache


class TilePasses:
    """The passes over one input x, contiguous (N, ..., C).

    Inside, x is (N, R, r*C): rows of r pixels, so that what is done by channel runs over long rows.
    """

    def __init__(self, x: Array, relu: bool) -> None:
        self.shape, self.relu = x.shape, relu
        self.channels = x.shape[-1]
        self.count = x.size // self.channels
        width = x.shape[-2] if x.ndim > 2 else 1
        fitting = (r for r in range(width, 0, -1) if width % r == 0 and r * self.channels <= ROW_LENGTH)
        self.pixels = next(fitting, 1)
        self.x = self._as_rows(x)
        self.tiles = tiles(len(x), x.nbytes // len(x))

    def _as_rows(self, x: Array) -> Array:
        return x.reshape(len(x), -1, self.pixels * self.channels)

    def _per_row(self, vector: Array) -> Array:
        """A number for each channel, repeated for the pixels of a row: (C,) -> (r*C,)."""
        return xp.broadcast_to(vector.astype(self.x.dtype), (self.pixels, self.channels)).reshape(-1)

    def _per_channel(self, row: Array) -> Array:
        """Sums over a tile, still one for each place in a row: (r*C,) -> (C,) in float64."""
        return row.reshape(self.pixels, self.channels).sum(axis=0, dtype=xp.float64)

    def moments(self) -> tuple[Array, Array]:
        """Mean and biased variance per channel, float64, in one visit to each tile.

        Sums are taken of the deviations from a first guess, the mean of the tile's first row: E[x^2] - E[x]^2 would
        lose every digit where the mean is large against the deviation. Tiles are merged in float64 by the formula of
        Chan, Golub and LeVeque, "Algorithms for computing the sample variance", 1983.
        """

        def one_tile(batch: slice) -> tuple[int, Array, Array]:
            tile = self.x[batch]
            guess = (self._per_channel(tile[0, 0]) / self.pixels).astype(tile.dtype)
            deviation = xp.subtract(tile, self._per_row(guess), out=scratch("deviation", tile.shape, tile.dtype))
            rows = deviation.reshape(-1, deviation.shape[-1])
            count = tile.size // self.channels
            total = self._per_channel(rows.sum(axis=0))
            squares = self._per_channel(xp.einsum("ij,ij->j", rows, rows))
            return count, guess.astype(xp.float64) + total / count, squares - total * total / count

        count, mean, squares = 0, 0.0, 0.0
        for tile_count, tile_mean, tile_squares in run_tiles(one_tile, self.tiles):
            together = count + tile_count
            delta = tile_mean - mean
            mean = mean + delta * (tile_count / together)
            squares = squares + tile_squares + delta * delta * (count * tile_count / together)
            count = together
        return mean, xp.maximum(squares / count, 0)

    def normalise(
        self, mean: Array, var: Array, eps: float, weight: Array | None, bias: Array | None, residual: Array | None
    ) -> Array:
        """Y = relu((x - mean) * scale + bias + residual), like x, with scale = weight / sqrt(var + eps)."""
        self.inverse_std = (1 / xp.sqrt(var + eps)).astype(self.x.dtype)
        self.scale = self.inverse_std if weight is None else self.inverse_std * weight  # (C,)
        self.mean_row = self._per_row(mean)
        scale, shift = self._per_row(self.scale), None if bias is None else self._per_row(bias)
        residual = None if residual is None else self._as_rows(residual)
        y = xp.empty_like(self.x)

        def one_tile(batch: slice) -> None:
            # The mean goes first: x * scale + shift would cancel badly where the mean is large.
            out = xp.subtract(self.x[batch], self.mean_row, out=y[batch])
            out *= scale
            if shift is not None:
                out += shift
            if residual is not None:
                out += residual[batch]
            if self.relu:
                xp.maximum(out, 0, out=out)

        run_tiles(one_tile, self.tiles)
        self.y = y  # its sign says where ReLU lets the gradient pass
        return y.reshape(self.shape)

    def backward(
        self, grad: Array, needs_x: bool, has_residual: bool, statistics_move: bool
    ) -> tuple[Array | None, Array, Array, Array]:
        """The gradients by x, weight, bias and residual; `statistics_move` where mean and var depend on x."""
        grad = self._as_rows(grad)
        masked = xp.empty_like(grad) if self.relu else grad
        dweight, dbias = self._sums(grad, masked)
        dx = self._dx(masked, dweight, dbias, statistics_move).reshape(self.shape) if needs_x else None
        dtype = self.x.dtype
        return dx, dweight.astype(dtype), dbias.astype(dtype), masked.reshape(self.shape)

    def _sums(self, grad: Array, masked: Array) -> tuple[Array, Array]:
        """Per channel the sum of g * xhat and of g. Writes to `masked` what ReLU lets through of g."""

        def one_tile(batch: slice) -> tuple[Array, Array]:
            g = grad[batch]
            if self.relu:
                g = xp.multiply(g, ~(self.y[batch] <= 0), out=masked[batch])
            deviation = xp.subtract(self.x[batch], self.mean_row, out=scratch("deviation", g.shape, g.dtype))
            rows = (-1, g.shape[-1])
            product = xp.einsum("ij,ij->j", g.reshape(rows), deviation.reshape(rows))
            return self._per_channel(product), self._per_channel(g.reshape(rows).sum(axis=0))

        products, dbias = sum_over_tiles(one_tile, self.tiles)
        return products * self.inverse_std, dbias

    def _dx(self, grad: Array, dweight: Array, dbias: Array, statistics_move: bool) -> Array:
        scale = self._per_row(self.scale)
        if not statistics_move:
            return grad * scale
        slope = self._per_row(-self.scale * self.inverse_std * dweight / self.count)
        shift = self._per_row(self.scale * dbias / self.count)
        dx = xp.empty_like(self.x)

        def one_tile(batch: slice) -> None:
            out = xp.subtract(self.x[batch], self.mean_row, out=dx[batch])
            out *= slope  # -scale * xhat * mean(g * xhat)
            out += xp.multiply(grad[batch], scale, out=scratch("scaled", out.shape, out.dtype))
            out -= shift

        run_tiles(one_tile, self.tiles)
        return dx
