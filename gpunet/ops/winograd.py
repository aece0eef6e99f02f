"""Convolution by 3x3 with 16 products where there are 36: Winograd's minimal filtering F(2x2, 3x3).

The image is cut into patches d of 4x4 pixels, two apart, each of which holds the windows of a tile of 2x2 outputs:

    y = Aᵀ [ (G f Gᵀ) * (Bᵀ d B) ] A

        | 1  0 -1  0 |         |  1   0   0  |
    Bᵀ =| 0  1  1  0 |     G = | 1/2 1/2 1/2 |     Aᵀ = | 1  1  1  0 |
        | 0 -1  1  0 |         | 1/2-1/2 1/2 |          | 0  1 -1 -1 |
        | 0  1  0 -1 |         |  0   0   1  |

The products in brackets go element by element, and are summed over the channels: for each of the 16 elements a matrix
product, (tiles, C) @ (C, O). The transforms are sums and differences of whole slices. They cost 8 additions for each
number of the input and 6 for each of the output, against 5 products saved for each pair of an input and an output
channel: it takes many channels to pay. Lavin and Gray, "Fast algorithms for convolutional neural networks", 2016.
"""

from __future__ import annotations

from typing import Any

from gpunet.backend import Array, kept, kernels, run_tiles, scratch, tiles, xp
from gpunet.ops.window import Window

__all__ = ["Winograd"]

FEWEST_CHANNELS = 64  # in and out: with fewer, the transforms take what the products save
FEWEST_NUMBERS = 1 << 19  # in the output: with fewer, the many short steps and the filters' transform take more
SMALLEST_SIDE = 4  # of the output; of a smaller one too much of the last tiles lies outside
_TURNED = [3, 1, 2, 0]  # the rows of G f where f has been turned around


class Winograd:
    """A 3x3 convolution with stride 1 and one group."""

    def __init__(self, weight: Array, window: Window) -> None:
        self.window = window
        self.filters = _transformed_filters(weight.transpose(2, 3, 1, 0))  # (4, 4, C, O)

    @staticmethod
    def fits(weight: Array, window: Window, groups: int, y: Array) -> bool:
        """Whether this convolution can be computed so, and is then faster: measured on CPUs, so only there."""
        if kernels.enabled() or Window((3, 3), padding=window.padding) != window or groups != 1:
            return False
        _, out_height, out_width, outputs = y.shape
        (top, bottom), (left, right) = window.padding
        return (
            min(weight.shape[1], outputs) >= FEWEST_CHANNELS
            and y.size >= FEWEST_NUMBERS
            and min(out_height, out_width) >= SMALLEST_SIDE
            and max(top, bottom, left, right) <= 2  # or the padding of the turned convolution would be negative
        )

    def tile_bytes(self, x: Array, y: Array) -> int:
        """How much one image takes, transformed."""
        return 4 * x.nbytes // len(x)

    def forward(self, x: Array, window: Window, y: Array) -> None:
        """Fill y (n, Ho, Wo, O) of a tile (n, H, W, C)."""
        _convolve(x, self.filters.reshape(16, *self.filters.shape[2:]), window, y)

    def gradient_bytes(self, x: Array, grad: Array, needs_x: bool) -> int:
        """How much one image takes on the way back."""
        return max(self.tile_bytes(x, grad), self.tile_bytes(grad, x))

    def gradients(self, x: Array, needs_x: bool) -> list[_Gradient]:
        """What computes the gradients by x, if needed, and by the filters."""
        return [_Gradient(self.filters, self.window)]


class _Gradient:
    """The gradient by the input is the convolution of g with the filters turned around.

    That by the filters goes back through their transform, Gᵀ dU G, from dU = (Bᵀ d B)ᵀ @ (A g Aᵀ), a matrix product for
    each of the 16 elements.
    """

    def __init__(self, filters: Array, window: Window) -> None:
        self.window = window
        turned = filters[_TURNED][:, _TURNED]  # (4, 4, C, O)
        self.filters = turned.reshape(16, *turned.shape[2:]).swapaxes(1, 2)  # (16, O, C)
        (top, bottom), (left, right) = window.padding
        self.turned = Window((3, 3), padding=((2 - top, 2 - bottom), (2 - left, 2 - right)))

    def __call__(self, x: Array, grad: Array, dx: Array | None, needs_weight: bool) -> Array | None:
        """Fill dx (n, H, W, C) of a tile; return the gradient by the transformed filters, (16, C, O)."""
        if dx is not None:
            _convolve(grad, self.filters, self.turned, dx)
        if not needs_weight:
            return None
        patches = _patches(x, self.window).matrices  # (16, tiles, C)
        key = ("winograd gradient", grad.shape, grad.dtype)
        of_outputs = kept(key, lambda: _GradientTiles(grad.shape, grad.dtype))
        of_outputs.fill(grad)
        return xp.matmul(patches.swapaxes(1, 2), of_outputs.matrices)

    def put(self, dfilters: Array, dweight: Array) -> None:
        """Write the gradient by the weight (O, C, 3, 3)."""
        _, channels, outputs = dfilters.shape
        by_element = dfilters.reshape(4, 4, channels, outputs)
        dweight[...] = _filters_back(_filters_back(by_element).swapaxes(0, 1)).transpose(3, 2, 1, 0)


def _convolve(x: Array, filters: Array, window: Window, y: Array) -> None:
    """Fill y (n, Ho, Wo, O) with the convolution of x (n, H, W, C) with transformed filters (16, C, O)."""
    products = kept(("winograd products", y.shape, y.dtype), lambda: _Products(y.shape, y.dtype))
    xp.matmul(_patches(x, window).matrices, filters, out=products.matrices)
    products.write(y)


def _patches(x: Array, window: Window) -> _Patches:
    key = ("winograd patches", x.shape, x.dtype, window)
    patches = kept(key, lambda: _Patches(x.shape, x.dtype, window))
    patches.fill(x)
    return patches


class _Patches:
    """Images as transformed patches, Bᵀ d B: `matrices` is (16, tiles, C)."""

    def __init__(self, shape: tuple[int, ...], dtype: Any, window: Window) -> None:
        n, height, width, channels = shape
        rows, columns = (-(-size // 2) for size in window.output_size(height, width))
        # Zero around the images now and ever after: only what is inside is written.
        self.padded = xp.zeros((n, 2 * rows + 2, 2 * columns + 2, channels), dtype=dtype)
        self.inside = window.inside(self.padded, height, width)
        self.by_row = xp.empty((4, n, rows, 2 * columns + 2, channels), dtype=dtype)
        self.values = xp.empty((4, 4, n, rows, columns, channels), dtype=dtype)
        self.matrices = self.values.reshape(16, -1, channels)
        self.pixel_rows = [self.padded[:, k : k + 2 * rows : 2] for k in range(4)]
        self.pixel_columns = [self.by_row[:, :, :, k : k + 2 * columns : 2] for k in range(4)]

    @property
    def nbytes(self) -> int:
        """How much memory it takes."""
        return int(self.padded.nbytes + self.by_row.nbytes + self.values.nbytes)

    def fill(self, x: Array) -> None:
        """Transform the images of a tile."""
        self.inside[...] = x
        _input_transform(self.pixel_rows, self.by_row)
        _input_transform(self.pixel_columns, self.values.swapaxes(0, 1))


class _Products:
    """The products of patches and filters, `matrices` (16, tiles, O), on their way to outputs: Aᵀ m A."""

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        n, height, width, outputs = shape
        rows, columns = -(-height // 2), -(-width // 2)
        self.values = xp.empty((4, 4, n, rows, columns, outputs), dtype=dtype)
        self.matrices = self.values.reshape(16, -1, outputs)
        self.by_row = xp.empty((2, 4, n, rows, columns, outputs), dtype=dtype)

    @property
    def nbytes(self) -> int:
        """How much memory it takes."""
        return int(self.values.nbytes + self.by_row.nbytes)

    def write(self, y: Array) -> None:
        """Fill the outputs (n, Ho, Wo, O); what the last tiles have beyond them is left out."""
        _output_transform(self.values, self.by_row[0], self.by_row[1])
        for i, by_row in enumerate(self.by_row):
            out = y[:, i::2]
            _output_transform(by_row[:, :, : out.shape[1]], out[:, :, ::2], out[:, :, 1::2])


class _GradientTiles:
    """Gradients by the outputs as transformed tiles, A g Aᵀ: `matrices` is (16, tiles, O)."""

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        n, height, width, outputs = shape
        rows, columns = -(-height // 2), -(-width // 2)
        self.padded = xp.zeros((n, 2 * rows, 2 * columns, outputs), dtype=dtype)
        self.inside = self.padded[:, :height, :width]
        self.by_row = xp.empty((4, n, rows, 2 * columns, outputs), dtype=dtype)
        self.values = xp.empty((4, 4, n, rows, columns, outputs), dtype=dtype)
        self.matrices = self.values.reshape(16, -1, outputs)

    @property
    def nbytes(self) -> int:
        """How much memory it takes."""
        return int(self.padded.nbytes + self.by_row.nbytes + self.values.nbytes)

    def fill(self, grad: Array) -> None:
        """Transform the gradients of a tile."""
        self.inside[...] = grad
        _gradient_transform(self.padded[:, ::2], self.padded[:, 1::2], self.by_row)
        even, odd = self.by_row[:, :, :, ::2], self.by_row[:, :, :, 1::2]
        _gradient_transform(even, odd, self.values.swapaxes(0, 1))


def _input_transform(d: list[Array], out: Array) -> None:
    """Bᵀ along one axis: four slices of pixels to the four of `out`."""
    xp.subtract(d[0], d[2], out=out[0])
    xp.add(d[1], d[2], out=out[1])
    xp.subtract(d[2], d[1], out=out[2])
    xp.subtract(d[1], d[3], out=out[3])


def _output_transform(m: Array, even: Array, odd: Array) -> None:
    """Aᵀ along one axis: m[0..3] to the outputs at even places and, where there are as many, at odd ones."""
    both = scratch("winograd sums", m.shape[1:], m.dtype)
    xp.add(m[1], m[2], out=both)
    xp.add(both, m[0], out=even)
    xp.subtract(m[1], m[2], out=both)
    places = (slice(None),) * (both.ndim - 2) + (slice(odd.shape[-2]),)
    xp.subtract(both[places], m[3][places], out=odd)


def _gradient_transform(even: Array, odd: Array, out: Array) -> None:
    """A along one axis: the reverse of Aᵀ."""
    out[0] = even
    xp.add(even, odd, out=out[1])
    xp.subtract(even, odd, out=out[2])
    xp.negative(odd, out=out[3])


def _transformed_filters(filters: Array) -> Array:
    """G f Gᵀ: filters (3, 3, C, O) to (4, 4, C, O)."""
    _, _, channels, outputs = filters.shape
    transformed = xp.empty((4, 4, channels, outputs), dtype=filters.dtype)

    def some_channels(part: slice) -> None:
        by_row = xp.empty((4, 3, part.stop - part.start, outputs), dtype=filters.dtype)
        _filter_transform(filters[:, :, part], by_row)
        _filter_transform(by_row.swapaxes(0, 1), transformed[:, :, part].swapaxes(0, 1))

    run_tiles(some_channels, tiles(channels, transformed.nbytes // channels))
    return transformed


def _filter_transform(f: Array, out: Array) -> None:
    """G along the first axis: (3, ...) to (4, ...)."""
    out[0], out[3] = f[0], f[2]
    ends, middle = (f[0] + f[2]) * 0.5, f[1] * 0.5
    xp.add(ends, middle, out=out[1])
    xp.subtract(ends, middle, out=out[2])


def _filters_back(u: Array) -> Array:
    """Gᵀ along the first axis: (4, ...) to (3, ...)."""
    both = (u[1] + u[2]) * 0.5
    return xp.stack([u[0] + both, (u[1] - u[2]) * 0.5, both + u[3]])
