"""Normalisation of each image alone: groups of its channels, or its last axes, are brought to mean 0 and variance 1.

    mean, var = over the part                                      whatever else is in the batch
    y         = (x - mean) / sqrt(var + eps)
    dx        = (g - mean(g) - y mean(g y)) / sqrt(var + eps)      going back

Batch norm (batchnorm.py) differs in what a mean is taken over, and needs the batch to be large.

Ba, Kiros and Hinton, "Layer normalization", 2016. Wu and He, "Group normalization", 2018.
"""

from __future__ import annotations

import math

from gpunet.backend import Array, as_nchw, run_tiles, tiles, to_nhwc, xp
from gpunet.backend.kernel_table import arithmetic_dtype
from gpunet.ops.operation import ARRAYS, Operation
from gpunet.ops.reduction import sum_over, sum_rows

__all__ = ["GroupNorm", "LayerNorm"]


class _Standardise(Operation):
    """Of x in a shape that suits `_mean`, in which a subclass sums over the parts."""

    autocast, sums = "full", True

    def __init__(self, eps: float) -> None:
        self.eps = eps

    def _mean(self, x: Array, factor: Array | None = None) -> Array:
        """The mean of each part of x, or of its product with a factor, in a shape that broadcasts to x."""
        raise NotImplementedError

    def _standardise(self, x: Array) -> Array:
        self.dtype = x.dtype
        self.y: Array = xp.empty(x.shape, dtype=arithmetic_dtype(x.dtype))

        def one_tile(some: slice) -> Array:
            part = x[some].astype(self.y.dtype, copy=False)
            deviation = part - self._mean(part)
            offset = self._mean(deviation)  # what rounding the mean has left, which counts where it is large
            variance = self._mean(deviation, deviation) - offset * offset
            inverse_std = 1 / xp.sqrt(xp.maximum(variance, 0) + self.eps)
            xp.multiply(deviation - offset, inverse_std, out=self.y[some])
            return inverse_std

        parts = run_tiles(one_tile, self._tiles())
        self.inverse_std = parts[0] if len(parts) == 1 else xp.concatenate(parts)
        return self.y.astype(self.dtype, copy=False)

    def _back(self, grad: Array) -> Array:
        dx = xp.empty_like(self.y)

        def one_tile(some: slice) -> None:
            g, y = grad[some].astype(dx.dtype, copy=False), self.y[some]
            xp.multiply(g - self._mean(g) - y * self._mean(g, y), self.inverse_std[some], out=dx[some])

        run_tiles(one_tile, self._tiles())
        return dx.astype(self.dtype, copy=False)

    def _tiles(self) -> list[slice]:
        """A few parts at a time: what is computed on the way stays in the cache."""
        return tiles(len(self.y), ARRAYS * self.y[:1].nbytes) or [slice(0)]


class GroupNorm(_Standardise):
    """Each of G groups of the channels of x (N, C, ...) by itself: over its C/G channels and all pixels."""

    def __init__(self, groups: int, eps: float) -> None:
        super().__init__(eps)
        self.groups = groups

    def forward(self, x: Array) -> Array:
        x = to_nhwc(x)  # (N, ..., C)
        self.shape = x.shape
        return as_nchw(self._standardise(self._pixels(x)).reshape(self.shape))

    def backward(self, grad: Array) -> tuple[Array]:
        return (as_nchw(self._back(self._pixels(to_nhwc(grad))).reshape(self.shape)),)

    def _pixels(self, x: Array) -> Array:
        return x.reshape(len(x), -1, x.shape[-1])  # (N, pixels, C)

    def _mean(self, x: Array, factor: Array | None = None) -> Array:
        """Of each group, and there for each of its channels: (N, 1, C), so that NumPy's innermost loops are long."""
        n, pixels, channels = x.shape
        by_channel = sum_rows(x, factor).reshape(n, self.groups, -1)  # (N, G, C/G)
        mean = by_channel.mean(axis=2, keepdims=True) / pixels
        return xp.broadcast_to(mean, by_channel.shape).reshape(n, 1, channels).astype(x.dtype)


class LayerNorm(_Standardise):
    """The last `ndim` axes of x, for each place in the others by itself."""

    def __init__(self, ndim: int, eps: float) -> None:
        super().__init__(eps)
        self.ndim = ndim

    def forward(self, x: Array) -> Array:
        numbers = math.prod(x.shape[x.ndim - self.ndim :])
        return self._standardise(x.reshape(-1, numbers)).reshape(x.shape)

    def backward(self, grad: Array) -> tuple[Array]:
        return (self._back(grad.reshape(self.y.shape)).reshape(grad.shape),)

    def _mean(self, x: Array, factor: Array | None = None) -> Array:
        """Of each row: (R, 1)."""
        total = sum_over(x if factor is None else x * factor, (1,))
        return (total / x.shape[1]).astype(x.dtype).reshape(-1, 1)
