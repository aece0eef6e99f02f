"""The passes of batch normalisation over memory, with `xp`, tile by tile.

All that happens to a tile happens while it is in the cache: one visit for the statistics, one to normalise, add and cut
off; going back, one visit for the sums and one for the gradient by x.
"""

from __future__ import annotations

import math

from gpunet.backend import Array, run_tiles, scratch, sum_over_tiles, tiles, xp
from gpunet.ops.activation import relu, relu_gradient
from gpunet.ops.rows import per_row, pixels_per_row

__all__ = ["TilePasses"]

LARGE_MEAN = 4  # deviations: sums of x and x^2 lose the digits of a mean beyond that


class TilePasses:
    """The passes over one input x, contiguous (N, ..., C).

    Inside, x is (N, R, r*C): rows of r pixels, so that what is done by channel runs over long rows.

    Where a mean is large against the deviation, x * scale + shift and the sums would cancel, and the mean is taken off
    first: `center` is then a row of means, and None where x can be used as it is.
    """

    def __init__(self, x: Array, relu: bool) -> None:
        self.shape, self.relu = x.shape, relu
        self.channels = x.shape[-1]
        self.count = x.size // self.channels
        self.pixels = pixels_per_row(x.shape[-2] if x.ndim > 2 else 1, self.channels)
        self.x = self._as_rows(x)
        self.tiles = tiles(len(x), x.nbytes // len(x))

    def _as_rows(self, x: Array) -> Array:
        return x.reshape(len(x), -1, self.pixels * self.channels)

    def _per_row(self, vector: Array) -> Array:
        return per_row(vector.astype(self.x.dtype), self.pixels)

    def _per_channel(self, row: Array) -> Array:
        """Sums over a tile, still one for each place in a row: (r*C,) -> (C,) in float64."""
        return row.reshape(self.pixels, self.channels).sum(axis=0, dtype=xp.float64)

    def _centred(self, tile: Array, out: Array | None = None) -> Array:
        """The tile less its center."""
        if self.center is None:
            return tile
        return xp.subtract(tile, self.center, out=scratch("centred", tile.shape, tile.dtype) if out is None else out)

    def moments(self) -> tuple[Array, Array]:
        """Mean and biased variance per channel, float64: E[x^2] - E[x]^2, or where that loses digits about the mean."""
        mean, var = self._moments_about(None)
        if _lost_digits(mean, var):
            mean, var = self._moments_about(mean)
        return mean, var

    def _moments_about(self, guess: Array | None) -> tuple[Array, Array]:
        self.center = None if guess is None else self._per_row(guess)

        def one_tile(batch: slice) -> tuple[Array, Array]:
            tile = self._centred(self.x[batch])
            rows = tile.reshape(-1, tile.shape[-1])
            return self._per_channel(rows.sum(axis=0)), self._per_channel(xp.einsum("ij,ij->j", rows, rows))

        total, squares = sum_over_tiles(one_tile, self.tiles)
        offset = total / self.count
        mean = offset if guess is None else guess.astype(self.x.dtype) + offset  # rounded, as it was taken off
        return mean, xp.maximum(squares / self.count - offset * offset, 0)

    def normalise(
        self, mean: Array, var: Array, eps: float, weight: Array | None, bias: Array | None, residual: Array | None
    ) -> Array:
        """Y = relu((x - mean) * scale + bias + residual), like x, with scale = weight / sqrt(var + eps)."""
        self.inverse_std = 1 / xp.sqrt(var + eps)  # (C,), float64 as mean and var
        self.scale = self.inverse_std if weight is None else self.inverse_std * weight
        self.center, self.mean = None, mean
        if _lost_digits(mean, var):
            rounded = mean.astype(self.x.dtype)
            # What is left of the mean once the center has been taken off: no more than its rounding.
            self.center, self.mean = self._per_row(rounded), mean - rounded
        shift = -self.mean * self.scale if bias is None else bias - self.mean * self.scale
        scale, shift = self._per_row(self.scale), self._per_row(shift)
        residual = None if residual is None else self._as_rows(residual)
        y = xp.empty_like(self.x)

        def one_tile(batch: slice) -> None:
            out = y[batch]
            xp.multiply(self._centred(self.x[batch], out), scale, out=out)
            out += shift
            if residual is not None:
                out += residual[batch]
            if self.relu:
                relu(out, out=out)

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
                g = relu_gradient(g, self.y[batch], out=masked[batch])
            rows = (-1, g.shape[-1])
            product = xp.einsum("ij,ij->j", g.reshape(rows), self._centred(self.x[batch]).reshape(rows))
            return self._per_channel(product), self._per_channel(g.reshape(rows).sum(axis=0))

        products, dbias = sum_over_tiles(one_tile, self.tiles)
        return (products - self.mean * dbias) * self.inverse_std, dbias

    def _dx(self, grad: Array, dweight: Array, dbias: Array, statistics_move: bool) -> Array:
        """Dx = scale * (g - mean(g) - xhat * mean(g * xhat)), with xhat = (x - mean) / std."""
        scale = self._per_row(self.scale)
        if not statistics_move:
            return grad * scale
        slope = -self.scale * self.inverse_std * dweight / self.count
        shift = self._per_row(-self.scale * dbias / self.count - slope * self.mean)
        slope = self._per_row(slope)
        dx = xp.empty_like(self.x)

        def one_tile(batch: slice) -> None:
            out = dx[batch]
            xp.multiply(self._centred(self.x[batch], out), slope, out=out)
            out += xp.multiply(grad[batch], scale, out=scratch("scaled", out.shape, out.dtype))
            out += shift

        run_tiles(one_tile, self.tiles)
        return dx


def _lost_digits(mean: Array, var: Array) -> bool:
    """Whether some mean is so large that sums of x and x^2 do not say the variance to float32's accuracy."""
    return not ((mean * mean <= LARGE_MEAN**2 * var) & (var < math.inf)).all()
