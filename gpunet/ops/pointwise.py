"""Convolution by 1x1: a fully connected layer over the pixels, with nothing to lower."""

from __future__ import annotations

from gpunet.backend import Array, xp
from gpunet.ops.window import Window

__all__ = ["Pointwise"]


class Pointwise:
    """y = x @ F over the channels of each pixel."""

    def __init__(self, weight: Array) -> None:
        self.filters = weight[:, :, 0, 0]  # (O, C)

    @staticmethod
    def fits(window: Window, groups: int) -> bool:
        """Whether a convolution is one matrix product over the pixels as they are."""
        return window.is_pointwise and groups == 1

    def tile_bytes(self, x: Array, y: Array) -> int:
        """How much one image takes."""
        return max(x.nbytes, y.nbytes) // len(x)

    def forward(self, x: Array, window: Window, y: Array) -> None:
        """Fill y (n, H, W, O) of a tile (n, H, W, C)."""
        xp.matmul(_pixels(x), self.filters.T, out=_pixels(y))

    def gradient_bytes(self, x: Array, grad: Array, needs_x: bool) -> int:
        """How much one image takes on the way back."""
        return self.tile_bytes(x, grad)

    def gradients(self, x: Array, needs_x: bool) -> list[_Gradient]:
        """What computes the gradients by x, if needed, and by the filters."""
        return [_Gradient(self.filters)]


class _Gradient:
    def __init__(self, matrix: Array) -> None:
        self.matrix = matrix

    def __call__(self, x: Array, grad: Array, dx: Array | None, needs_weight: bool) -> Array | None:
        """Fill dx (n, H, W, C) of a tile; return the gradient by the filters, (O, C)."""
        g = _pixels(grad)
        if dx is not None:
            xp.matmul(g, self.matrix, out=_pixels(dx))
        return xp.matmul(g.T, _pixels(x)) if needs_weight else None

    def put(self, dfilters: Array, dweight: Array) -> None:
        """Write the gradient by the filters to its place in that by the weight (O, C, 1, 1)."""
        dweight[:, :, 0, 0] = dfilters


def _pixels(images: Array) -> Array:
    """The view (n*H*W, C) of images (n, H, W, C): each pixel a row."""
    return images.reshape(-1, images.shape[-1])
