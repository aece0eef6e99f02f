"""Convolution as matrix products over lowered rows.

Textbook im2col makes a row of kh*kw*C numbers for every window position: kh*kw times the input. Here only the width is
lowered (MEC: Cho and Brand, "Memory-efficient convolution for deep neural network", 2017). Every padded image row
becomes Wo windows of kw*C numbers, once; the rows that kernel row i meets are then a slice of the same array, not
another copy:

    y (Ho*n*Wo, O)  =  sum over i < kh of  rows[i*dh : i*dh + Ho] (Ho*n*Wo, kw*C)  @  filters[i] (kw*C, O)

Copies shrink by kh, and so does memory. Image rows are the leading axis of a tile, before the images of the batch, so
that a slice of rows is one contiguous matrix. With a stride, rows are kept by their phase, r % stride: kernel row i
then meets consecutive rows of one phase. Groups are a leading axis G of both factors.
"""

from __future__ import annotations

from gpunet.backend import Array, as_nchw, run_tiles, scratch, sum_over_tiles, tiles, to_nhwc, xp
from gpunet.ops.operation import Operation
from gpunet.ops.window import Window

__all__ = ["Conv2d"]


class Conv2d(Operation):
    """O[n,o,k,l] = b[o] + sum over c, i, j of I'[n, c, S*k + D*i - P, S*l + D*j - P] * F[o,c,i,j], I' zero outside."""

    def __init__(self, window: Window, groups: int) -> None:
        self.window, self.groups = window, groups

    def forward(self, x: Array, weight: Array, bias: Array | None = None) -> Array:
        self.x = x = to_nhwc(x)  # (N, H, W, C)
        self.weight = weight  # (O, C/G, kh, kw)
        n, height, width, _ = x.shape
        y = xp.empty((n, *self.window.output_size(height, width), len(weight)), dtype=x.dtype)  # (N, Ho, Wo, O)
        filters = _filter_rows(weight, self.groups)

        def one_tile(batch: slice) -> None:
            _correlate(x[batch], filters, self.window, y[batch])
            if bias is not None:
                y[batch] += bias

        run_tiles(one_tile, tiles(n, _lowered_bytes(x, self.window)))
        return as_nchw(y)

    def backward(self, grad: Array) -> tuple[Array | None, ...]:
        grad = to_nhwc(grad)  # (N, Ho, Wo, O)
        needs_x, needs_weight, needs_bias = (*self.needs_grad, False)[:3]
        dx = xp.empty_like(self.x) if needs_x else None
        spread = _SpreadGradient(self.weight, self.window, self.groups) if needs_x else None

        def one_tile(batch: slice) -> tuple[Array | None, Array | None]:
            g = grad[batch]
            if spread is not None and dx is not None:
                spread(g, dx[batch])
            dfilters = _filter_gradient(self.x[batch], g, self.window, self.groups) if needs_weight else None
            return dfilters, g.sum(axis=(0, 1, 2)) if needs_bias else None

        lowered = max(_lowered_bytes(self.x, self.window), _lowered_bytes(grad, self.window))
        dfilters, dbias = sum_over_tiles(one_tile, tiles(len(grad), lowered))
        dweight = _filters_to_weight(dfilters, self.weight.shape) if needs_weight else None
        return (None if dx is None else as_nchw(dx), dweight, dbias)[: len(self.needs_grad)]


def _lowered_bytes(x: Array, window: Window) -> int:
    """How much one image (H, W, C) takes once its rows are lowered."""
    return x.nbytes // len(x) * window.kernel[1] // window.stride[1]


def _filter_rows(weight: Array, groups: int) -> Array:
    """The filters (O, C/G, kh, kw) as one matrix for each kernel row: (kh, G, kw*C/G, O/G)."""
    outputs, channels, kh, kw = weight.shape
    grouped = weight.reshape(groups, outputs // groups, channels, kh, kw)
    return xp.ascontiguousarray(grouped.transpose(3, 0, 4, 2, 1)).reshape(kh, groups, kw * channels, outputs // groups)


def _filters_to_weight(filters: Array, shape: tuple[int, int, int, int]) -> Array:
    """The reverse of `_filter_rows`."""
    _, channels, kh, kw = shape
    groups, group_outputs = filters.shape[1], filters.shape[3]
    grouped = filters.reshape(kh, groups, kw, channels, group_outputs)
    return xp.ascontiguousarray(grouped.transpose(1, 4, 3, 0, 2)).reshape(shape)


def _lower(x: Array, window: Window, groups: int) -> Array:
    """The padded rows of a tile (n, H, W, C), each as its Wo windows: (G, stride, rows/stride, n, Wo, kw*C/G).

    Padded row r is at [:, r % stride, r // stride].
    """
    n, height, width, channels = x.shape
    _, out_width = window.output_size(height, width)
    kernel_width, (sh, sw), column_dilation = window.kernel[1], window.stride, window.dilation[1]
    padded_height, padded_width = window.padded_size(height, width)
    per_phase = -(-padded_height // sh)
    group_channels = channels // groups
    padded = x
    if (per_phase * sh, padded_width) != (height, width):
        # What lies around the images stays zero: a buffer is shared only where images lie in it at the same place.
        place = ("padded", window.padding, (height, width))
        padded = scratch(place, (n, per_phase * sh, padded_width, channels), x.dtype)
        window.inside(padded, height, width)[...] = x
    image, row, column, channel = padded.strides
    windows = xp.lib.stride_tricks.as_strided(  # overlapping: nothing is copied yet
        padded,
        shape=(groups, sh, per_phase, n, out_width, kernel_width, group_channels),
        strides=(group_channels * channel, row, sh * row, image, sw * column, column_dilation * column, channel),
    )
    rows = scratch("rows", windows.shape, x.dtype)
    rows[...] = windows
    return rows.reshape(groups, sh, per_phase, n, out_width, kernel_width * group_channels)


def _rows_of(lowered: Array, window: Window, i: int, out_height: int) -> Array:
    """The lowered rows that kernel row i meets, as one matrix for each group: (G, Ho*n*Wo, kw*C/G), not copied."""
    first = i * window.dilation[0]
    start, phase = divmod(first, window.stride[0])
    met = lowered[:, phase, start : start + out_height]  # (G, Ho, n, Wo, kw*C/G)
    return met.reshape(len(met), -1, met.shape[-1])


def _correlate(x: Array, filters: Array, window: Window, y: Array) -> None:
    """Convolve a tile x (n, H, W, C) with filters (kh, G, kw*C/G, O/G), into y (n, Ho, Wo, O)."""
    n, out_height, out_width, _ = y.shape
    kh, groups, _, group_outputs = filters.shape
    lowered = _lower(x, window, groups)
    total, part = (
        scratch(name, (groups, out_height * n * out_width, group_outputs), y.dtype) for name in ("total", "part")
    )

    def as_images(rows: Array) -> Array:  # (G, Ho*n*Wo, O/G) -> (n, Ho, Wo, G, O/G)
        return rows.reshape(groups, out_height, n, out_width, group_outputs).transpose(2, 1, 3, 0, 4)

    xp.matmul(_rows_of(lowered, window, 0, out_height), filters[0], out=total)
    for i in range(1, kh):
        xp.matmul(_rows_of(lowered, window, i, out_height), filters[i], out=part)
        if i < kh - 1:
            total += part
    grouped = y.reshape(n, out_height, out_width, groups, group_outputs)
    if kh == 1:
        grouped[...] = as_images(total)
    else:
        xp.add(as_images(total), as_images(part), out=grouped)


def _filter_gradient(x: Array, grad: Array, window: Window, groups: int) -> Array:
    """The gradient by the filters, (kh, G, kw*C/G, O/G): rowsᵀ @ g for each kernel row."""
    lowered = _lower(x, window, groups)
    g = _gradient_rows(grad, groups)
    filters = xp.empty((window.kernel[0], groups, lowered.shape[-1], g.shape[-1]), dtype=x.dtype)
    for i in range(window.kernel[0]):
        xp.matmul(_rows_of(lowered, window, i, grad.shape[1]).swapaxes(1, 2), g, out=filters[i])
    return filters


def _gradient_rows(grad: Array, groups: int) -> Array:
    """A gradient (n, Ho, Wo, O) in the order of the lowered rows: (G, Ho*n*Wo, O/G)."""
    n, out_height, out_width, outputs = grad.shape
    rows = scratch("gradient", (groups, out_height, n, out_width, outputs // groups), grad.dtype)
    rows[...] = grad.reshape(n, out_height, out_width, groups, outputs // groups).transpose(3, 1, 0, 2, 4)
    return rows.reshape(groups, -1, outputs // groups)


class _SpreadGradient:
    """The gradient by the input.

    With stride 1 it is itself a convolution, of g with the filters turned around:

        dI[k, l] = sum over i, j of g[k - D*i + P, l - D*j + P] * F[i, j]

    With a larger stride every lowered row receives g @ filtersᵀ and is then added back to where it came from.
    """

    def __init__(self, weight: Array, window: Window, groups: int) -> None:
        self.window, self.groups = window, groups
        self.turned = window.stride == (1, 1) and all(
            side < extent for sides, extent in zip(window.padding, window.extent, strict=True) for side in sides
        )
        if self.turned:
            outputs, channels, kh, kw = weight.shape
            grouped = weight[:, :, ::-1, ::-1].reshape(groups, outputs // groups, channels, kh, kw)
            inputs = grouped.transpose(0, 2, 1, 3, 4).reshape(groups * channels, outputs // groups, kh, kw)
            self.filters = _filter_rows(inputs, groups)  # (kh, G, kw*O/G, C/G)
            (top, bottom), (left, right) = window.padding
            rows, columns = window.extent[0] - 1, window.extent[1] - 1
            padding = ((rows - top, rows - bottom), (columns - left, columns - right))
            self.turned_window = Window(window.kernel, padding=padding, dilation=window.dilation)
        else:
            self.filters = _filter_rows(weight, groups).swapaxes(2, 3)  # (kh, G, O/G, kw*C/G)

    def __call__(self, grad: Array, dx: Array) -> None:
        """Fill dx (n, H, W, C) from the gradient g (n, Ho, Wo, O) of a tile."""
        if self.turned:
            _correlate(grad, self.filters, self.turned_window, dx)
        else:
            self._add_back(grad, dx)

    def _add_back(self, grad: Array, dx: Array) -> None:
        n, height, width, channels = dx.shape
        out_height, out_width = grad.shape[1:3]
        (kh, kw), (sh, sw), (dh, dw) = self.window.kernel, self.window.stride, self.window.dilation
        g = _gradient_rows(grad, self.groups)
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
        inside = padded[:, top : top + height, :, left : left + width]
        dx.reshape(n, height, width, self.groups, group_channels)[...] = inside.transpose(2, 1, 3, 0, 4)
