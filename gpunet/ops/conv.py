"""Convolution, tile by tile. How a tile is computed is in `pointwise`, `lowered` and `winograd`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Protocol

from gpunet.backend import Array, as_nchw, run_tiles, sum_over_tiles, tiles, to_nhwc, xp
from gpunet.ops.activation import relu
from gpunet.ops.lowered import Lowered
from gpunet.ops.lowering import Band, bands
from gpunet.ops.operation import Operation
from gpunet.ops.pointwise import Pointwise
from gpunet.ops.rows import per_row, pixels_per_row
from gpunet.ops.window import Window
from gpunet.ops.winograd import Winograd

__all__ = ["Conv2d"]


class _Gradient(Protocol):
    """Computes the gradients of a tile, or a part of them."""

    def __call__(self, x: Array, grad: Array, dx: Array | None, needs_weight: bool) -> Array | None:
        """Fill dx (n, H, W, C), if wanted; return the gradient by the filters as they were used, if wanted."""

    def put(self, dfilters: Array, dweight: Array) -> None:
        """Write the gradient by the filters to its place in that by the weight (O, C/G, kh, kw)."""


class Conv2d(Operation):
    """O[n,o,k,l] = b[o] + sum over c, i, j of I'[n, c, S*k + D*i - P, S*l + D*j - P] * F[o,c,i,j], I' zero outside."""

    def __init__(self, window: Window, groups: int, residual: Array | None = None, relu: bool = False) -> None:
        """Residual (N, O, Ho, Wo) and ReLU are for evaluation: they are applied to each tile, and have no backward."""
        self.window, self.groups = window, groups
        self.residual, self.relu = residual, relu

    def forward(self, x: Array, weight: Array, bias: Array | None = None) -> Array:
        self.x = x = to_nhwc(x)  # (N, H, W, C)
        self.weight = weight  # (O, C/G, kh, kw)
        n, height, width, _ = x.shape
        y = xp.empty((n, *self.window.output_size(height, width), len(weight)), dtype=x.dtype)  # (N, Ho, Wo, O)
        self.method = method = self._method(y)
        self.pixels = pixels_per_row(y.shape[2], y.shape[3])
        bias_row = None if bias is None else per_row(bias, self.pixels)
        residual = None if self.residual is None else to_nhwc(self.residual)

        def one_tile(tile: tuple[slice, Band]) -> None:
            batch, band = tile
            out = y[batch, band.out_rows]
            method.forward(x[batch, band.rows], band.window, out)
            rows = self._as_rows(out)
            if bias_row is not None:
                rows += bias_row
            if residual is not None:
                rows += self._as_rows(residual[batch, band.out_rows])
            if self.relu:
                relu(rows, out=rows)

        size = method.tile_bytes(x, y)
        batches = tiles(n, size, method.filters.nbytes)
        # Where one image fills a tile, or there is only one, images are cut as well.
        cuts = tiles(y.shape[1], size // y.shape[1]) if len(batches) == n else [slice(0, y.shape[1])]
        run_tiles(one_tile, list(itertools.product(batches, bands(self.window, height, cuts))))
        return as_nchw(y)

    def _method(self, y: Array) -> Pointwise | Winograd | Lowered:
        if Pointwise.fits(self.window, self.groups):
            return Pointwise(self.weight)
        if Winograd.fits(self.weight, self.window, self.groups, y):
            return Winograd(self.weight, self.window)
        return Lowered(self.weight, self.window, self.groups)

    def _as_rows(self, y: Array) -> Array:
        """Outputs (n, Ho, Wo, O) as rows of several pixels, (n, Ho, R, r*O)."""
        return y.reshape(*y.shape[:2], -1, self.pixels * y.shape[3])

    def backward(self, grad: Array) -> tuple[Array | None, ...]:
        grad = to_nhwc(grad)  # (N, Ho, Wo, O)
        needs_x, needs_weight, needs_bias = (*self.needs_grad, False)[:3]
        gradients: Sequence[_Gradient] = self.method.gradients(self.x, needs_x)
        dx = xp.empty_like(self.x) if needs_x else None
        some_meet_nothing = self.window.stride != (1, 1)  # pixels, and elements of the kernel

        def one_tile(batch: slice) -> tuple[Array | None, ...]:
            g = grad[batch]
            dx_tile = None if dx is None else dx[batch]
            if dx_tile is not None and some_meet_nothing:
                dx_tile[...] = 0
            dfilters = [gradient(self.x[batch], g, dx_tile, needs_weight) for gradient in gradients]
            return (*dfilters, self._as_rows(g).sum(axis=(0, 1, 2)) if needs_bias else None)

        size = self.method.gradient_bytes(self.x, grad, needs_x)
        batches = tiles(len(grad), size, self.method.filters.nbytes)
        *dfilters, dbias_row = sum_over_tiles(one_tile, batches)
        dweight = dbias = None
        if needs_weight:
            dweight = (xp.zeros_like if some_meet_nothing else xp.empty_like)(self.weight)
            for gradient, of_filters in zip(gradients, dfilters, strict=True):
                gradient.put(of_filters, dweight)
        if needs_bias:
            dbias = dbias_row.reshape(self.pixels, -1).sum(axis=0)
        return (None if dx is None else as_nchw(dx), dweight, dbias)[: len(self.needs_grad)]
