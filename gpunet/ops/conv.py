"""Convolution as a matrix product (im2col).

Every window of the input becomes a row, the filters become the columns of a matrix, and one GEMM multiplies the two:

    rows (N*Ho*Wo, kh*kw*C)  @  filters (kh*kw*C, O)  =  output (N*Ho*Wo, O)

Groups are a leading axis G of both factors: C/G input channels each, O/G filters each. Chellapilla, Puri and Simard,
"High Performance Convolutional Neural Networks for Document Processing", 2006.
"""

from __future__ import annotations

from gpunet.backend import Array, as_nchw, run_tiles, sum_over_tiles, tiles, to_nhwc, xp
from gpunet.ops.operation import Operation
from gpunet.ops.window import Pair, Window

__all__ = ["Conv2d"]


class Conv2d(Operation):
    """O[n,o,k,l] = b[o] + sum over c, i, j of I'[n, c, S*k + D*i - P, S*l + D*j - P] * F[o,c,i,j], I' zero outside."""

    def __init__(self, window: Window, groups: int) -> None:
        self.window, self.groups = window, groups

    def forward(self, x: Array, weight: Array, bias: Array | None = None) -> Array:
        self.x = x = to_nhwc(x)  # (N, H, W, C)
        self.weight = weight  # (O, C/G, kh, kw)
        n, height, width, _ = x.shape
        positions = self.window.output_size(height, width)
        filters = self._filter_matrix()
        y = xp.empty((n, *positions, len(weight)), dtype=x.dtype)  # (N, Ho, Wo, O)

        def one_tile(batch: slice) -> None:
            xp.matmul(self._im2col(x[batch], positions), filters, out=self._by_group(y[batch]))
            if bias is not None:
                y[batch] += bias

        run_tiles(one_tile, self._tiles(positions))
        return as_nchw(y)

    def backward(self, grad: Array) -> tuple[Array | None, ...]:
        grad = to_nhwc(grad)  # (N, Ho, Wo, O)
        positions = grad.shape[1:3]
        needs_x, needs_weight, needs_bias = (*self.needs_grad, False)[:3]
        dx = xp.empty_like(self.x) if needs_x else None
        filters_transposed = self._filter_matrix().swapaxes(1, 2)  # (G, O/G, kh*kw*C/G)

        def one_tile(batch: slice) -> tuple[Array | None, Array | None]:
            g = self._by_group(grad[batch])  # (G, n*Ho*Wo, O/G)
            if dx is not None:
                self._col2im(xp.matmul(g, filters_transposed), dx[batch], positions)
            dfilters = self._im2col(self.x[batch], positions).swapaxes(1, 2) @ g if needs_weight else None
            return dfilters, grad[batch].sum(axis=(0, 1, 2)) if needs_bias else None

        dfilters, dbias = sum_over_tiles(one_tile, self._tiles(positions))
        dweight = self._filters_to_weight(dfilters) if needs_weight else None
        return (None if dx is None else as_nchw(dx), dweight, dbias)[: len(self.needs_grad)]

    def _tiles(self, positions: Pair) -> list[slice]:
        kh, kw = self.window.kernel
        lowered_bytes = self.x.itemsize * positions[0] * positions[1] * kh * kw * self.x.shape[3]
        return tiles(len(self.x), lowered_bytes)

    def _filter_matrix(self) -> Array:
        """The filters (O, C/G, kh, kw) as matrices (G, kh*kw*C/G, O/G)."""
        outputs, channels, kh, kw = self.weight.shape
        grouped = self.weight.reshape(self.groups, outputs // self.groups, channels, kh, kw)
        return grouped.transpose(0, 3, 4, 2, 1).reshape(self.groups, kh * kw * channels, outputs // self.groups)

    def _filters_to_weight(self, filters: Array) -> Array:
        """The reverse of `_filter_matrix`, in contiguous memory."""
        outputs, channels, kh, kw = self.weight.shape
        grouped = filters.reshape(self.groups, kh, kw, channels, outputs // self.groups)
        return xp.ascontiguousarray(grouped.transpose(0, 4, 3, 1, 2)).reshape(self.weight.shape)

    def _by_group(self, y: Array) -> Array:
        """The view (G, n*Ho*Wo, O/G) of an output tile (n, Ho, Wo, O)."""
        return y.reshape(-1, self.groups, y.shape[3] // self.groups).transpose(1, 0, 2)

    def _im2col(self, x: Array, positions: Pair) -> Array:
        """The windows of a tile (n, H, W, C) as rows (G, n*Ho*Wo, kh*kw*C/G): a view for a 1x1 kernel, else a copy."""
        padded = self.window.pad(x, 0)
        n, channels, group_channels = len(x), x.shape[3], x.shape[3] // self.groups
        (kh, kw), (sh, sw), (dh, dw) = self.window.kernel, self.window.stride, self.window.dilation
        image, row, column, channel = padded.strides
        windows = xp.lib.stride_tricks.as_strided(  # overlapping: nothing is copied yet
            padded,
            shape=(self.groups, n, *positions, kh, kw, group_channels),
            strides=(group_channels * channel, image, sh * row, sw * column, dh * row, dw * column, channel),
        )
        rows = n * positions[0] * positions[1]
        return xp.ascontiguousarray(windows).reshape(self.groups, rows, kh * kw * channels // self.groups)

    def _col2im(self, columns: Array, dx: Array, positions: Pair) -> None:
        """Add every row (G, n*Ho*Wo, kh*kw*C/G) back to where its window was, into dx (n, H, W, C).

        One kernel element at a time: within one no two windows overlap, so nothing is written twice and the order of
        the additions is fixed.
        """
        n, height, width, channels = dx.shape
        kh, kw = self.window.kernel
        grouped = columns.reshape(self.groups, n, *positions, kh * kw, channels // self.groups)
        elements = grouped.transpose(4, 1, 2, 3, 0, 5)  # (kh*kw, n, Ho, Wo, G, C/G)
        padded_height, padded_width = self.window.padded_size(height, width)
        padded = xp.zeros((n, padded_height, padded_width, self.groups, channels // self.groups), dtype=dx.dtype)
        for element, (rows, cols) in zip(elements, self.window.offsets(positions), strict=True):
            padded[:, rows, cols] += element
        dx[...] = self.window.inside(padded, height, width).reshape(dx.shape)
