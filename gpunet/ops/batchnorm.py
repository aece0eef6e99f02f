"""Batch normalisation over rows of channels.

Every input, (N, C), (N, C, L) or (N, C, H, W), is seen as M rows of C channels, where M counts all other positions.
Ioffe and Szegedy, "Batch Normalization", 2015.
"""

from __future__ import annotations

from gpunet.backend import Array, as_nchw, run_tiles, sum_over_tiles, tiles, to_nhwc, xp
from gpunet.ops.operation import Operation

__all__ = ["BatchNorm", "BatchNormInference"]


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
    """y = (x - mean) * scale + bias per channel, where scale = weight / sqrt(var + eps)."""

    def __init__(self, eps: float) -> None:
        self.eps = eps

    def _normalise(self, x: Array, mean: Array, var: Array, weight: Array | None, bias: Array | None) -> Array:
        self.x, self.mean = x, mean.astype(x.dtype)  # (N, ..., C), (C,)
        self.inverse_std = (1 / xp.sqrt(var + self.eps)).astype(x.dtype)
        self.scale = self.inverse_std if weight is None else self.inverse_std * weight
        y = xp.empty_like(x)

        def one_tile(batch: slice) -> None:
            # The mean goes first: x * scale + shift would cancel badly where the mean is large.
            out = xp.subtract(x[batch], self.mean, out=y[batch])
            out *= self.scale
            if bias is not None:
                out += bias

        run_tiles(one_tile, self._tiles())
        return _channels_second(y)

    def _tiles(self) -> list[slice]:
        return tiles(len(self.x), self.x.nbytes // max(1, len(self.x)))

    def _sums(self, grad: Array) -> tuple[Array, Array]:
        """Per channel the sum of g and of g * (x - mean) / std: the gradients by bias and weight."""
        axes = tuple(range(grad.ndim - 1))

        def one_tile(batch: slice) -> tuple[Array, Array]:
            g, deviation = grad[batch], self.x[batch] - self.mean
            deviation *= g
            return g.sum(axis=axes), deviation.sum(axis=axes)

        dbias, dweight = sum_over_tiles(one_tile, self._tiles())
        return dbias, dweight * self.inverse_std


class BatchNorm(_BatchNorm):
    """Training: normalises by the mean and the biased variance of the batch, which stay readable afterwards.

    dx = scale * (g - mean(g) - xhat * mean(g * xhat)), with xhat the normalised input: the two means are what reaches x
    by way of the batch's mean and variance.
    """

    def forward(self, x: Array, weight: Array | None = None, bias: Array | None = None) -> Array:
        self.x = x = _channels_last(x)
        self.count = x.size // x.shape[-1]
        self.batch_mean, self.batch_var = self._moments()  # (C,), float64
        return self._normalise(x, self.batch_mean, self.batch_var, weight, bias)

    def _moments(self) -> tuple[Array, Array]:
        """Mean and biased variance per channel: two passes a tile, tiles merged by Chan's formula in float64.

        Chan, Golub and LeVeque, "Algorithms for computing the sample variance", 1983. The usual E[x^2] - E[x]^2 loses
        every digit where the mean is large against the deviation.
        """
        axes = tuple(range(self.x.ndim - 1))

        def one_tile(batch: slice) -> tuple[int, Array, Array]:
            tile = self.x[batch]
            mean = tile.mean(axis=axes, dtype=xp.float64)
            deviation = tile - mean.astype(tile.dtype)
            deviation *= deviation
            return tile.size // tile.shape[-1], mean, deviation.sum(axis=axes, dtype=xp.float64)

        count, mean, squares = 0, 0.0, 0.0
        for tile_count, tile_mean, tile_squares in run_tiles(one_tile, self._tiles()):
            total = count + tile_count
            delta = tile_mean - mean
            mean = mean + delta * (tile_count / total)
            squares = squares + tile_squares + delta * delta * (count * tile_count / total)
            count = total
        return mean, squares / count

    def backward(self, grad: Array) -> tuple[Array | None, ...]:
        grad = _channels_last(grad)
        dbias, dweight = self._sums(grad)
        dx = self._dx(grad, dweight, dbias) if self.needs_grad[0] else None
        return (dx, dweight, dbias)[: len(self.needs_grad)]

    def _dx(self, grad: Array, dweight: Array, dbias: Array) -> Array:
        slope = dweight * self.inverse_std / self.count
        shift = dbias / self.count
        dx = xp.empty_like(self.x)

        def one_tile(batch: slice) -> None:
            out = xp.subtract(self.x[batch], self.mean, out=dx[batch])
            out *= -slope  # -xhat * mean(g * xhat)
            out += grad[batch]
            out -= shift
            out *= self.scale

        run_tiles(one_tile, self._tiles())
        return _channels_second(dx)


class BatchNormInference(_BatchNorm):
    """Evaluation: normalises by statistics that are given, which makes it a fixed affine map of x."""

    def __init__(self, eps: float, mean: Array, var: Array) -> None:
        super().__init__(eps)
        self.given_mean, self.given_var = mean, var

    def forward(self, x: Array, weight: Array | None = None, bias: Array | None = None) -> Array:
        return self._normalise(_channels_last(x), self.given_mean, self.given_var, weight, bias)

    def backward(self, grad: Array) -> tuple[Array | None, ...]:
        grad = _channels_last(grad)
        dbias, dweight = self._sums(grad) if any(self.needs_grad[1:]) else (None, None)
        dx = _channels_second(grad * self.scale) if self.needs_grad[0] else None
        return (dx, dweight, dbias)[: len(self.needs_grad)]
