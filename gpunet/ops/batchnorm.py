"""Batch normalisation, with the addition and the ReLU that follow it in a residual block: y = relu(bn(x) + residual).

Every input, (N, C), (N, C, L) or (N, C, H, W), is seen as rows of channels. All that happens to a tile happens while it
is in the cache: one visit for the statistics, one to normalise, add and cut off. Ioffe and Szegedy, "Batch
Normalization", 2015.
"""

from __future__ import annotations

from gpunet.backend import Array, as_nchw, run_tiles, scratch, sum_over_tiles, tiles, to_nhwc, xp
from gpunet.ops.operation import Operation

__all__ = ["BatchNorm", "BatchNormInference"]

ROW_LENGTH = 4096  # numbers; so many let NumPy's inner loop run, and the vectors stay in the first-level cache


def _channels_last(x: Array) -> Array:
    """(N, C, ...) as contiguous (N, ..., C)."""
    if x.ndim == 4:
        return to_nhwc(x)
    return xp.ascontiguousarray(x.transpose(0, 2, 1) if x.ndim == 3 else x)


def _channels_second(x: Array) -> Array:
    """The view (N, C, ...) of (N, ..., C)."""
    if x.ndim == 4:
        return as_nchw(x)
    return x.transpose(0, 2, 1) if x.ndim == 3 else x


class _BatchNorm(Operation):
    """y = relu((x - mean) * scale + bias + residual) per channel, where scale = weight / sqrt(var + eps).

    Inputs are x, then weight and bias where `affine`, then the residual where there is one.
    """

    def __init__(self, eps: float, affine: bool, relu: bool) -> None:
        self.eps, self.affine, self.relu = eps, affine, relu

    def _set_input(self, x: Array) -> None:
        """Keep x as (N, R, r*C): rows of r pixels, so that an operation by channel runs over long rows."""
        x = _channels_last(x)
        self.memory_shape = x.shape
        self.channels = x.shape[-1]
        width = x.shape[-2] if x.ndim > 2 else 1
        fitting = (r for r in range(width, 0, -1) if width % r == 0 and r * self.channels <= ROW_LENGTH)
        self.pixels = next(fitting, 1)
        self.x = self._as_rows(x)
        self.tiles = tiles(len(x), x.nbytes // len(x))

    def _as_rows(self, x: Array) -> Array:
        return x.reshape(len(x), -1, self.pixels * self.channels)

    def _as_output(self, rows: Array) -> Array:
        return _channels_second(rows.reshape(self.memory_shape))

    def _per_row(self, vector: Array) -> Array:
        """A number for each channel, repeated for the pixels of a row: (C,) -> (r*C,)."""
        return xp.tile(vector.astype(self.x.dtype), self.pixels)

    def _per_channel(self, row: Array) -> Array:
        """Sums over a tile, still one for each place in a row: (r*C,) -> (C,) in float64."""
        return row.reshape(self.pixels, self.channels).sum(axis=0, dtype=xp.float64)

    def _normalise(self, mean: Array, var: Array, inputs: tuple[Array, ...]) -> Array:
        weight, bias = inputs[:2] if self.affine else (None, None)
        residual = self._as_rows(_channels_last(inputs[-1])) if len(inputs) > 2 * self.affine else None
        inverse_std = 1 / xp.sqrt(var + self.eps)
        self.inverse_std = inverse_std.astype(self.x.dtype)
        self.scale = self.inverse_std if weight is None else self.inverse_std * weight  # (C,)
        self.mean_row = self._per_row(mean)
        scale, shift = self._per_row(self.scale), None if bias is None else self._per_row(bias)
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
        self.y = y if self.relu else None  # its sign says where the gradient passes
        return self._as_output(y)

    def _gradient_before_relu(self, grad: Array, batch: slice, out: Array) -> Array:
        """The gradient by bn(x) + residual: what ReLU lets through of a tile of g, written to `out`."""
        if self.y is None:
            return grad[batch]
        return xp.multiply(grad[batch], ~(self.y[batch] <= 0), out=out[batch])

    def _backward_sums(self, grad: Array, masked: Array) -> tuple[Array, Array]:
        """Per channel the sum of g and of g * xhat: the gradients by bias and weight. Fills `masked`."""

        def one_tile(batch: slice) -> tuple[Array, Array]:
            g = self._gradient_before_relu(grad, batch, masked)
            deviation = xp.subtract(self.x[batch], self.mean_row, out=scratch("deviation", g.shape, g.dtype))
            rows = (-1, g.shape[-1])
            product = xp.einsum("ij,ij->j", g.reshape(rows), deviation.reshape(rows))
            return self._per_channel(g.reshape(rows).sum(axis=0)), self._per_channel(product)

        dbias, dweight = sum_over_tiles(one_tile, self.tiles)
        return dbias, dweight * self.inverse_std

    def _gradients(self, dx: Array, dweight: Array, dbias: Array, masked: Array) -> tuple[Array | None, ...]:
        gradients = [None if dx is None else self._as_output(dx)]
        if self.affine:
            gradients += [dweight.astype(self.x.dtype), dbias.astype(self.x.dtype)]
        if len(self.needs_grad) > len(gradients):
            gradients.append(self._as_output(masked))
        return tuple(gradients)


class BatchNorm(_BatchNorm):
    """Training: normalises by the mean and the biased variance of the batch, which stay readable afterwards.

    dx = scale * (g - mean(g) - xhat * mean(g * xhat)), with xhat the normalised input: the two means are what reaches x
    by way of the batch's mean and variance.
    """

    def forward(self, x: Array, *inputs: Array) -> Array:
        self._set_input(x)
        self.count = x.size // self.channels
        self.batch_mean, self.batch_var = self._moments()  # (C,), float64
        return self._normalise(self.batch_mean, self.batch_var, inputs)

    def _moments(self) -> tuple[Array, Array]:
        """Mean and biased variance per channel, in one visit to each tile.

        Sums are taken of the deviations from a first guess, the mean of the tile's first row: E[x^2] - E[x]^2 would
        lose every digit where the mean is large against the deviation. Tiles are merged in float64 by the formula of
        Chan, Golub and LeVeque, "Algorithms for computing the sample variance", 1983.
        """

        def one_tile(batch: slice) -> tuple[int, Array, Array]:
            tile = self.x[batch]
            guess = self._per_channel(tile[0, 0]) / self.pixels
            deviation = xp.subtract(tile, self._per_row(guess), out=scratch("deviation", tile.shape, tile.dtype))
            rows = deviation.reshape(-1, deviation.shape[-1])
            count = tile.size // self.channels
            total = self._per_channel(rows.sum(axis=0))
            squares = self._per_channel(xp.einsum("ij,ij->j", rows, rows))
            guess = guess.astype(tile.dtype).astype(xp.float64)  # as it was subtracted
            return count, guess + total / count, squares - total * total / count

        count, mean, squares = 0, 0.0, 0.0
        for tile_count, tile_mean, tile_squares in run_tiles(one_tile, self.tiles):
            together = count + tile_count
            delta = tile_mean - mean
            mean = mean + delta * (tile_count / together)
            squares = squares + tile_squares + delta * delta * (count * tile_count / together)
            count = together
        return mean, xp.maximum(squares / count, 0)

    def backward(self, grad: Array) -> tuple[Array | None, ...]:
        grad = self._as_rows(_channels_last(grad))
        masked = xp.empty_like(grad) if self.relu else grad
        dbias, dweight = self._backward_sums(grad, masked)
        dx = self._dx(masked, dweight, dbias) if self.needs_grad[0] else None
        return self._gradients(dx, dweight, dbias, masked)

    def _dx(self, grad: Array, dweight: Array, dbias: Array) -> Array:
        scale = self._per_row(self.scale)
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


class BatchNormInference(_BatchNorm):
    """Evaluation: normalises by statistics that are given, which makes it a fixed affine map of x."""

    def __init__(self, eps: float, affine: bool, relu: bool, mean: Array, var: Array) -> None:
        super().__init__(eps, affine, relu)
        self.given_mean, self.given_var = mean, var

    def forward(self, x: Array, *inputs: Array) -> Array:
        self._set_input(x)
        return self._normalise(self.given_mean, self.given_var, inputs)

    def backward(self, grad: Array) -> tuple[Array | None, ...]:
        grad = self._as_rows(_channels_last(grad))
        masked = xp.empty_like(grad) if self.relu else grad
        dbias, dweight = self._backward_sums(grad, masked)
        dx = masked * self._per_row(self.scale) if self.needs_grad[0] else None
        return self._gradients(dx, dweight, dbias, masked)
