"""Lowering: images as rows of windows, so that a convolution becomes a few matrix products.

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

from collections.abc import Sequence
from typing import NamedTuple

from gpunet.backend import Array, scratch, xp
from gpunet.ops.window import Window

__all__ = ["Band", "LoweredRows", "bands", "correlate", "filter_rows", "image_rows", "lowered_bytes", "rows_to_images"]


def lowered_bytes(x: Array, window: Window) -> int:
    """How much one image (H, W, C) takes once its rows are lowered."""
    return x.nbytes // len(x) * window.kernel[1] // window.stride[1]


def filter_rows(weight: Array, groups: int) -> Array:
    """Filters (O, C/G, kh, kw) as one matrix for each kernel row: (kh, G, kw*C/G, O/G)."""
    outputs, channels, kh, kw = weight.shape
    grouped = weight.reshape(groups, outputs // groups, channels, kh, kw)
    return xp.ascontiguousarray(grouped.transpose(3, 0, 4, 2, 1)).reshape(kh, groups, kw * channels, outputs // groups)


def image_rows(x: Array, groups: int) -> Array:
    """Images (n, H, W, C) in the order of lowered rows: (G, H*n*W, C/G), in scratch memory."""
    n, height, width, channels = x.shape
    rows = scratch("image rows", (groups, height, n, width, channels // groups), x.dtype)
    rows[...] = x.reshape(n, height, width, groups, channels // groups).transpose(3, 1, 0, 2, 4)
    return rows.reshape(groups, -1, channels // groups)


def rows_to_images(rows: Array, height: int, n: int, width: int) -> Array:
    """The reverse of `image_rows`, as a view: (G, H*n*W, C/G) -> (n, H, W, G, C/G)."""
    return rows.reshape(len(rows), height, n, width, rows.shape[-1]).transpose(2, 1, 3, 0, 4)


class Band(NamedTuple):
    """Some rows of the output: which, the rows of the image that they see, and the window with the padding there."""

    out_rows: slice
    rows: slice
    window: Window


def bands(window: Window, height: int, cuts: Sequence[slice]) -> list[Band]:
    """The bands of a convolution whose output rows are cut like this."""
    (top, _), columns = window.padding
    found = []
    for cut in cuts:
        first = cut.start * window.stride[0] - top  # of the image rows met, perhaps above the image
        last = (cut.stop - 1) * window.stride[0] - top + window.extent[0]
        rows = slice(min(max(first, 0), height), max(min(last, height), 0))
        sides = (rows.start - first, last - rows.stop) if rows.start < rows.stop else (last - first, 0)
        found.append(Band(cut, rows, Window(window.kernel, window.stride, (sides, columns), window.dilation)))
    return found


class LoweredRows:
    """The padded rows of a tile (n, H, W, C), each as its Wo windows, in scratch memory.

    `rows` is (G, stride, rows/stride, n, Wo, kw*C/G): padded row r is at [:, r % stride, r // stride].
    """

    def __init__(self, x: Array, window: Window, groups: int) -> None:
        n, height, width, channels = x.shape
        self.window = window
        self.out_height, out_width = window.output_size(height, width)
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
        rows = scratch("lowered rows", windows.shape, x.dtype)
        rows[...] = windows
        self.rows = rows.reshape(groups, sh, per_phase, n, out_width, kernel_width * group_channels)

    def met_by(self, i: int) -> Array:
        """The rows that kernel row i meets, as one matrix for each group: (G, Ho*n*Wo, kw*C/G), not copied."""
        start, phase = divmod(i * self.window.dilation[0], self.window.stride[0])
        met = self.rows[:, phase, start : start + self.out_height]  # (G, Ho, n, Wo, kw*C/G)
        return met.reshape(len(met), -1, met.shape[-1])


def correlate(lowered: LoweredRows, filters: Array, y: Array) -> None:
    """Fill y (n, Ho, Wo, O) with the convolution of lowered rows with filters (kh, G, kw*C/G, O/G)."""
    n, out_height, out_width, _ = y.shape
    kh, groups, _, group_outputs = filters.shape
    shape = (groups, out_height * n * out_width, group_outputs)
    total, part = scratch("total", shape, y.dtype), scratch("part", shape, y.dtype)
    xp.matmul(lowered.met_by(0), filters[0], out=total)
    for i in range(1, kh):
        xp.matmul(lowered.met_by(i), filters[i], out=part)
        if i < kh - 1:
            total += part
    grouped = y.reshape(n, out_height, out_width, groups, group_outputs)
    images = rows_to_images(total, out_height, n, out_width)
    if kh == 1:
        grouped[...] = images
    else:  # the last addition puts everything in its place
        xp.add(images, rows_to_images(part, out_height, n, out_width), out=grouped)
