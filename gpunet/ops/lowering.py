"""Lowering: images as rows of windows, so that a convolution becomes a few matrix products.

Textbook im2col makes a row of kh*kw*C numbers for every window position: kh*kw times the input. Here only the width is
lowered (MEC: Cho and Brand, "Memory-efficient convolution for deep neural network", 2017). Every padded image row
becomes Wo windows of kw*C numbers, once; the rows that kernel row i meets are then a slice of the same array, not
another copy:

    y (Ho*n*Wo, O)  =  sum over i < kh of  rows[i*dh : i*dh + Ho] (Ho*n*Wo, kw*C)  @  filters[i] (kw*C, O)

Copies shrink by kh, and so does memory. Image rows are the leading axis of a tile, before the images of the batch, so
that a slice of rows is one contiguous matrix. With a stride, rows are kept by their phase, r % stride: kernel row i
then meets consecutive rows of one phase. Groups are a leading axis G of both factors.

Where many outputs meet few channels, as in a first layer, adding up kh products takes longer than copying kh*kw*C
numbers, and whole windows are lowered: the im2col of the textbook, with one product instead of kh.

On a GPU `raw_lowering` lowers in one kernel, without the padded copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from gpunet.backend import Array, kept, kernels, scratch, xp
from gpunet.ops.raw_lowering import lower_rows
from gpunet.ops.window import Window

__all__ = [
    "Band",
    "Lowering",
    "bands",
    "correlate",
    "filter_rows",
    "image_rows",
    "lower",
    "lowered_bytes",
    "lowers_whole_windows",
    "whole_filters",
]


def lowered_bytes(x: Array, window: Window) -> int:
    """How much one image (H, W, C) takes once its rows are lowered."""
    return x.nbytes // len(x) * window.kernel[1] // window.stride[1]


def lowers_whole_windows(weight: Array, groups: int) -> bool:
    """Whether whole windows are lowered: only where no raw kernel lowers rows."""
    outputs, channels, kh, kw = weight.shape
    return kh > 1 and 2 * kw * channels < outputs // groups and not kernels.enabled()


def filter_rows(weight: Array, groups: int) -> Array:
    """Filters (O, C/G, kh, kw) as one matrix for each kernel row: (kh, G, kw*C/G, O/G)."""
    outputs, channels, kh, kw = weight.shape
    grouped = weight.reshape(groups, outputs // groups, channels, kh, kw)
    return xp.ascontiguousarray(grouped.transpose(3, 0, 4, 2, 1)).reshape(kh, groups, kw * channels, outputs // groups)


def whole_filters(weight: Array, groups: int) -> Array:
    """Filters (O, C/G, kh, kw) as one matrix for each group: (1, G, kh*kw*C/G, O/G)."""
    by_row = filter_rows(weight, groups).swapaxes(0, 1)  # (G, kh, kw*C/G, O/G)
    return by_row.reshape(1, groups, -1, by_row.shape[3])


def image_rows(x: Array, groups: int) -> Array:
    """Images (n, H, W, C) in the order of lowered rows: (G, H*n*W, C/G), in scratch memory."""
    n, height, width, channels = x.shape
    rows = scratch("image rows", (groups, height, n, width, channels // groups), x.dtype)
    rows[...] = x.reshape(n, height, width, groups, channels // groups).transpose(3, 1, 0, 2, 4)
    return rows.reshape(groups, -1, channels // groups)


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


class Lowering:
    """The working memory in which tiles of one shape (n, H, W, C) are lowered, with every view of it made once.

    Args:
        whole: lower the height of the windows as well.

    Attributes:
        rows: all lowered rows, (G, stride, rows/stride, n, Wo, kw, C/G).
        met_by: for each kernel row those that it meets, as one matrix for each group, (G, Ho*n*Wo, kw*C/G): slices of
            `rows`. Of whole windows there is one, (G, Ho*n*Wo, kh*kw*C/G).
    """

    def __init__(
        self, shape: tuple[int, int, int, int], dtype: Any, window: Window, groups: int, whole: bool = False
    ) -> None:
        n, height, width, channels = shape
        self.window, self.groups, self.whole = window, groups, whole
        (kh, kw), (stride, _) = window.kernel, window.stride
        self.out_height, self.out_width = window.output_size(height, width)
        padded_height, padded_width = window.padded_size(height, width)
        self.per_phase = -(-padded_height // stride)  # padded row r is row r // stride of phase r % stride
        self.padded = None
        self.by_kernel = kernels.enabled()
        if not self.by_kernel and (self.per_phase * stride, padded_width) != (height, width):
            # Zero around the images now and ever after: only what is inside is written.
            self.padded = xp.zeros((n, self.per_phase * stride, padded_width, channels), dtype=dtype)
            self.inside = window.inside(self.padded, height, width)
            self.windows = self._windows_of(self.padded)
        group_channels = channels // groups
        self.met = None
        if whole:
            self.rows = xp.empty((groups, self.out_height, n, self.out_width, kh, kw, group_channels), dtype=dtype)
            self.met_by = [self.rows.reshape(groups, -1, kh * kw * group_channels)]
            return
        self.rows = xp.empty((groups, stride, self.per_phase, n, self.out_width, kw, group_channels), dtype=dtype)
        starts = [divmod(i * window.dilation[0], stride) for i in range(kh)]
        self.met_by = [
            self.rows[:, phase, start : start + self.out_height].reshape(groups, -1, kw * group_channels)
            for start, phase in starts
        ]
        if stride == 1 and not self.by_kernel:
            self.met = self._met_by_all()

    @property
    def nbytes(self) -> int:
        """How much memory it takes."""
        return int(self.rows.nbytes) + (0 if self.padded is None else int(self.padded.nbytes))

    def _met_by_all(self) -> Array:
        """`met_by` as one array, (kh, G, Ho*n*Wo, kw*C/G): its slices overlap, and lie evenly where there is no stride.

        On a CPU it saves calls, and each call a thread's wait for the interpreter. CuPy would copy the slices apart.
        """
        step = self.window.dilation[0] * self.rows.strides[2]
        first = self.met_by[0]
        return xp.lib.stride_tricks.as_strided(
            first, shape=(len(self.met_by), *first.shape), strides=(step, *first.strides)
        )

    def _windows_of(self, padded: Array) -> Array:
        """The view of padded images that is copied into `rows`. Windows overlap, and nothing is copied yet."""
        image, row, column, channel = padded.strides
        n, group_channels = len(padded), padded.shape[3] // self.groups
        (kh, kw), (sh, sw), (dh, dw) = self.window.kernel, self.window.stride, self.window.dilation
        if self.whole:  # (G, Ho, n, Wo, kh, kw, C/G)
            shape = (self.groups, self.out_height, n, self.out_width, kh, kw, group_channels)
            strides = (group_channels * channel, sh * row, image, sw * column, dh * row, dw * column, channel)
        else:  # (G, stride, rows/stride, n, Wo, kw, C/G)
            shape = (self.groups, sh, self.per_phase, n, self.out_width, kw, group_channels)
            strides = (group_channels * channel, row, sh * row, image, sw * column, dw * column, channel)
        return xp.lib.stride_tricks.as_strided(padded, shape=shape, strides=strides)

    def fill(self, x: Array) -> None:
        """Lower a tile."""
        if self.by_kernel:
            lower_rows(xp.ascontiguousarray(x), self.rows, self.window)
        elif self.padded is None:
            self.rows[...] = self._windows_of(x)
        else:
            self.inside[...] = x
            self.rows[...] = self.windows

    def times(self, filters: Array, out: Array) -> None:
        """Fill out (kh, G, Ho*n*Wo, O/G): what each kernel row meets @ its filters (kh, G, kw*C/G, O/G)."""
        if self.met is not None:
            xp.matmul(self.met, filters, out=out)
        else:
            for met, matrix, product in zip(self.met_by, filters, out, strict=True):
                xp.matmul(met, matrix, out=product)

    def left_times(self, matrix: Array) -> Array:
        """A matrix (G, M, Ho*n*Wo) @ what each kernel row meets: (kh, G, M, kw*C/G)."""
        if self.met is not None:
            return xp.matmul(matrix, self.met)
        return xp.stack([xp.matmul(matrix, met) for met in self.met_by])


def lower(x: Array, window: Window, groups: int, whole: bool = False) -> Lowering:
    """Lower the rows of a tile (n, H, W, C), in memory that this thread uses again for the next tile of its shape."""
    key = ("lowering", x.shape, x.dtype, window, groups, whole)
    lowering = kept(key, lambda: Lowering(x.shape, x.dtype, window, groups, whole))
    lowering.fill(x)
    return lowering


class _Products:
    """The products of the kernel rows, (kh, G, Ho*n*Wo, O/G), each of them also seen as images."""

    def __init__(self, kh: int, groups: int, height: int, n: int, width: int, outputs: int, dtype: Any) -> None:
        self.values = xp.empty((kh, groups, height * n * width, outputs), dtype=dtype)
        by_row = self.values.reshape(kh, groups, height, n, width, outputs)
        self.images = by_row.transpose(0, 3, 2, 4, 1, 5)  # (kh, n, Ho, Wo, G, O/G)

    @property
    def nbytes(self) -> int:
        """How much memory they take."""
        return int(self.values.nbytes)


def correlate(lowered: Lowering, filters: Array, y: Array) -> None:
    """Fill y (n, Ho, Wo, O) with the convolution of lowered rows with filters (kh, G, kw*C/G, O/G)."""
    n, out_height, out_width, _ = y.shape
    kh, groups, _, group_outputs = filters.shape
    shape = (kh, groups, out_height, n, out_width, group_outputs)
    products = kept(("products", shape, y.dtype), lambda: _Products(*shape, y.dtype))
    lowered.times(filters, products.values)
    for product in products.values[1:-1]:
        products.values[0] += product
    grouped = y.reshape(n, out_height, out_width, groups, group_outputs)
    if kh == 1:
        grouped[...] = products.images[0]
    else:  # the last addition puts everything in its place
        xp.add(products.images[0], products.images[-1], out=grouped)
