"""Convolution as matrix products over lowered rows; `lowering` says how."""

from __future__ import annotations

import itertools

from gpunet.backend import Array, as_nchw, run_tiles, scratch, sum_over_tiles, tiles, to_nhwc, xp
from gpunet.ops.lowering import Band, bands, correlate, filter_rows, image_rows, lower, lowered_bytes
from gpunet.ops.operation import Operation
from gpunet.ops.window import Window

__all__ = ["Conv2d"]


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
        filters = filter_rows(weight, self.groups)
        residual = None if self.residual is None else to_nhwc(self.residual)
        pointwise = _is_pointwise(self.window, self.groups)

        def one_tile(tile: tuple[slice, Band]) -> None:
            batch, band = tile
            out = y[batch, band.out_rows]
            if pointwise:
                xp.matmul(_pixels(x[batch, band.rows]), filters[0, 0], out=_pixels(out))
            else:
                correlate(lower(x[batch, band.rows], band.window, self.groups), filters, out)
            if bias is not None:
                out += bias
            if residual is not None:
                out += residual[batch, band.out_rows]
            if self.relu:
                xp.maximum(out, 0, out=out)

        size = lowered_bytes(x, self.window)
        batches = tiles(n, size)
        # Where one image fills a tile, or there is only one, images are cut as well.
        cuts = tiles(y.shape[1], size // y.shape[1]) if len(batches) == n else [slice(0, y.shape[1])]
        run_tiles(one_tile, list(itertools.product(batches, bands(self.window, height, cuts))))
        return as_nchw(y)

    def backward(self, grad: Array) -> tuple[Array | None, ...]:
        grad = to_nhwc(grad)  # (N, Ho, Wo, O)
        needs_x, needs_weight, needs_bias = (*self.needs_grad, False)[:3]
        dx = xp.empty_like(self.x) if needs_x else None
        kind: type[_PointwiseBackward | _TurnedBackward | _SpreadingBackward]
        if _is_pointwise(self.window, self.groups):
            kind = _PointwiseBackward
        else:
            kind = _TurnedBackward if needs_x and _TurnedBackward.fits(self.window) else _SpreadingBackward
        tile_backward = kind(self.weight, self.window, self.groups)

        def one_tile(batch: slice) -> tuple[Array | None, Array | None]:
            g = grad[batch]
            dfilters = tile_backward(self.x[batch], g, None if dx is None else dx[batch], needs_weight)
            return dfilters, g.sum(axis=(0, 1, 2)) if needs_bias else None

        lowered = max(lowered_bytes(self.x, self.window), lowered_bytes(grad, self.window))
        dfilters, dbias = sum_over_tiles(one_tile, tiles(len(grad), lowered))
        dweight = tile_backward.to_weight(dfilters) if needs_weight else None
        return (None if dx is None else as_nchw(dx), dweight, dbias)[: len(self.needs_grad)]


def _is_pointwise(window: Window, groups: int) -> bool:
    """Whether a convolution is one matrix product over the pixels as they are: 1x1, nothing to lower."""
    return window.is_pointwise and groups == 1


def _pixels(images: Array) -> Array:
    """The view (n*H*W, C) of images (n, H, W, C): each pixel a row."""
    return images.reshape(-1, images.shape[-1])


class _PointwiseBackward:
    """1x1: the gradients of a fully connected layer over the pixels."""

    def __init__(self, weight: Array, window: Window, groups: int) -> None:
        self.matrix = weight[:, :, 0, 0]  # (O, C)

    def __call__(self, x: Array, grad: Array, dx: Array | None, needs_weight: bool) -> Array | None:
        """Fill dx (n, H, W, C) of a tile; return the gradient by the filters, (O, C)."""
        g = _pixels(grad)
        if dx is not None:
            xp.matmul(g, self.matrix, out=_pixels(dx))
        return xp.matmul(g.T, _pixels(x)) if needs_weight else None

    def to_weight(self, dfilters: Array) -> Array:
        """The gradient by the filters in the shape of the weight."""
        return dfilters[:, :, None, None]


class _TurnedBackward:
    """Stride 1: the gradient by the input is itself a convolution, of g with the filters turned around.

        dI[k, l] = sum over i, j of g[k - D*i + P, l - D*j + P] * F[i, j]

    The rows of g that are lowered for it serve for the gradient by the filters, too: xᵀ @ rows.
    """

    def __init__(self, weight: Array, window: Window, groups: int) -> None:
        self.groups, self.shape = groups, weight.shape
        outputs, channels, kh, kw = weight.shape
        grouped = weight[:, :, ::-1, ::-1].reshape(groups, outputs // groups, channels, kh, kw)
        inputs = grouped.transpose(0, 2, 1, 3, 4).reshape(groups * channels, outputs // groups, kh, kw)
        self.filters = filter_rows(inputs, groups)  # (kh, G, kw*O/G, C/G)
        (top, bottom), (left, right) = window.padding
        rows, columns = window.extent[0] - 1, window.extent[1] - 1
        padding = ((rows - top, rows - bottom), (columns - left, columns - right))
        self.window = Window(window.kernel, padding=padding, dilation=window.dilation)

    @staticmethod
    def fits(window: Window) -> bool:
        """Whether the padding of the turned convolution would not be negative."""
        reach = zip(window.padding, window.extent, strict=True)
        return window.stride == (1, 1) and all(side < extent for sides, extent in reach for side in sides)

    def __call__(self, x: Array, grad: Array, dx: Array | None, needs_weight: bool) -> Array | None:
        """Fill dx (n, H, W, C) of a tile; return the gradient by the filters, (kh, G, C/G, kw*O/G)."""
        lowered = lower(grad, self.window, self.groups)
        if dx is not None:
            correlate(lowered, self.filters, dx)
        if not needs_weight:
            return None
        rows = image_rows(x, self.groups).swapaxes(1, 2)  # (G, C/G, H*n*W)
        return xp.stack([xp.matmul(rows, met) for met in lowered.met_by])

    def to_weight(self, dfilters: Array) -> Array:
        """The gradient by the filters in the shape of the weight."""
        outputs, channels, kh, kw = self.shape
        grouped = dfilters.reshape(kh, self.groups, channels, kw, outputs // self.groups)
        return grouped.transpose(1, 4, 2, 0, 3)[:, :, :, ::-1, ::-1].reshape(self.shape)


class _SpreadingBackward:
    """Any stride: every lowered row receives g @ filtersᵀ, and is added back to where it came from.

    The gradient by the filters is rowsᵀ @ g, over the lowered rows of x.
    """

    def __init__(self, weight: Array, window: Window, groups: int) -> None:
        self.window, self.groups, self.shape = window, groups, weight.shape
        self.filters = filter_rows(weight, groups).swapaxes(2, 3)  # (kh, G, O/G, kw*C/G)

    def __call__(self, x: Array, grad: Array, dx: Array | None, needs_weight: bool) -> Array | None:
        """Fill dx (n, H, W, C) of a tile; return the gradient by the filters, (kh, G, kw*C/G, O/G)."""
        g = image_rows(grad, self.groups)  # (G, Ho*n*Wo, O/G)
        if dx is not None:
            self._spread(g, grad.shape[1], grad.shape[2], dx)
        if not needs_weight:
            return None
        return xp.stack([xp.matmul(met.swapaxes(1, 2), g) for met in lower(x, self.window, self.groups).met_by])

    def _spread(self, g: Array, out_height: int, out_width: int, dx: Array) -> None:
        n, height, width, channels = dx.shape
        (kh, kw), (sh, sw), (dh, dw) = self.window.kernel, self.window.stride, self.window.dilation
        padded_height, padded_width = self.window.padded_size(height, width)
        group_channels = channels // self.groups
        padded = scratch("spread", (self.groups, padded_height, n, padded_width, group_channels), dx.dtype)
        padded[...] = 0
        part = scratch("part", (self.groups, out_height * n * out_width, kw * group_channels), dx.dtype)
        windows = part.reshape(self.groups, out_height, n, out_width, kw, group_channels)
        for i in range(kh):
            xp.matmul(g, self.filters[i], out=part)
            for j in range(kw):  # within one kernel element no two windows overlap
                rows = slice(i * dh, i * dh + sh * (out_height - 1) + 1, sh)
                columns = slice(j * dw, j * dw + sw * (out_width - 1) + 1, sw)
                padded[:, rows, :, columns] += windows[:, :, :, :, j]
        (top, _), (left, _) = self.window.padding
        inside = padded[:, top : top + height, :, left : left + width]  # (G, H, n, W, C/G)
        dx.reshape(n, height, width, self.groups, group_channels)[...] = inside.transpose(2, 1, 3, 0, 4)

    def to_weight(self, dfilters: Array) -> Array:
        """The gradient by the filters in the shape of the weight."""
        outputs, channels, kh, kw = self.shape
        grouped = dfilters.reshape(kh, self.groups, kw, channels, outputs // self.groups)
        return grouped.transpose(1, 4, 3, 0, 2).reshape(self.shape)
