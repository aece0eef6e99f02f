"""A window that slides over images: the geometry that convolution and pooling share.

Window position (r, s) covers the padded rows `r*stride + i*dilation` for i < kernel, and columns likewise.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from gpunet.backend import Array, xp

__all__ = ["Pair", "Window"]

Pair: TypeAlias = tuple[int, int]


class Window(NamedTuple):
    """Kernel size, stride, padding and dilation, each as (for rows, for columns)."""

    kernel: Pair
    stride: Pair = (1, 1)
    padding: tuple[Pair, Pair] = ((0, 0), (0, 0))  # ((top, bottom), (left, right))
    dilation: Pair = (1, 1)
    ceil_mode: bool = False

    @property
    def extent(self) -> Pair:
        """Rows and columns from the first to the last element of a window."""
        return (self.dilation[0] * (self.kernel[0] - 1) + 1, self.dilation[1] * (self.kernel[1] - 1) + 1)

    @property
    def is_pointwise(self) -> bool:
        """Whether each output position sees exactly the input position at the same place: a 1x1 convolution."""
        return self.kernel == self.stride == (1, 1) and self.padding == ((0, 0), (0, 0))

    def output_size(self, height: int, width: int) -> Pair:
        """How many positions the window takes: floor((H + top + bottom - extent) / stride) + 1, or with ceil."""
        return self._positions(0, height), self._positions(1, width)

    def covered(self, axis: int, position: int) -> range:
        """The rows (axis 0) or columns that the window meets at a position; those outside 0 .. H-1 are padding."""
        begin = self.stride[axis] * position - self.padding[axis][0]
        return range(begin, begin + self.extent[axis], self.dilation[axis])

    def _positions(self, axis: int, size: int) -> int:
        before, after = self.padding[axis]
        stride = self.stride[axis]
        room = size + before + after - self.extent[axis]
        if not self.ceil_mode:
            return room // stride + 1
        positions = -(-room // stride) + 1
        # A last window that would start in the padding after the image is left out.
        return positions - 1 if (positions - 1) * stride >= size + before else positions

    def padded_size(self, height: int, width: int) -> Pair:
        """The size of an image with its padding, grown where the last window of ceil_mode reaches beyond it."""
        positions = self.output_size(height, width)
        return (self._padded(0, height, positions[0]), self._padded(1, width, positions[1]))

    def _padded(self, axis: int, size: int, positions: int) -> int:
        reach = (positions - 1) * self.stride[axis] + self.extent[axis]
        return max(size + sum(self.padding[axis]), reach)

    def pad(self, x: Array, value: float) -> Array:
        """The images (N, H, W, C) with `value` around them: (N, Hp, Wp, C); the images themselves without padding."""
        n, height, width, channels = x.shape
        padded_height, padded_width = self.padded_size(height, width)
        if (padded_height, padded_width) == (height, width):
            return x
        padded = xp.full((n, padded_height, padded_width, channels), value, dtype=x.dtype)
        self.inside(padded, height, width)[...] = x
        return padded

    def inside(self, padded: Array, height: int, width: int) -> Array:
        """The view of the images (N, H, W, C) inside their padding: the reverse of `pad`."""
        (top, _), (left, _) = self.padding
        return padded[:, top : top + height, left : left + width]

    def views(self, padded: Array, positions: Pair) -> Array:
        """The view of every window of padded images (n, Hp, Wp, C): (n, Ho, Wo, kh, kw, C), without a copy."""
        n, _, _, channels = padded.shape
        image, row, column, channel = padded.strides
        (sh, sw), (dh, dw) = self.stride, self.dilation
        strides = (image, row * sh, column * sw, row * dh, column * dw, channel)
        return xp.lib.stride_tricks.as_strided(padded, (n, *positions, *self.kernel, channels), strides)

    def offsets(self, positions: Pair) -> Iterator[tuple[slice, slice]]:
        """For each element (i, j) of the kernel, the padded rows and columns it meets over all window positions."""
        (rows, columns), (sh, sw), (dh, dw) = positions, self.stride, self.dilation
        for i in range(self.kernel[0]):
            for j in range(self.kernel[1]):
                yield (
                    slice(i * dh, i * dh + sh * (rows - 1) + 1, sh),
                    slice(j * dw, j * dw + sw * (columns - 1) + 1, sw),
                )
