"""Images as their windows, and windows laid back into images: what convolution does inside, as operations of their own.

unfold: (N, C, H, W) -> (N, C*kh*kw, positions)      each column is a window; PyTorch's order of rows and columns
fold:   the transpose, where each pixel is the sum of all that the windows hold of it
"""

from __future__ import annotations

import math

from gpunet.backend import Array, as_nchw, to_nhwc, xp
from gpunet.backend.kernel_table import arithmetic_dtype
from gpunet.ops.conv import col2im, im2col
from gpunet.ops.operation import Operation
from gpunet.ops.window import Window

__all__ = ["Fold", "Unfold"]

Shape = tuple[int, int, int, int]


def _unfold(x: Array, window: Window) -> Array:
    """Images (N, H, W, C) to (N, C*kh*kw, positions), in new memory."""
    n, _, _, channels = x.shape
    rows = im2col(x, window, 1).reshape(n, -1, math.prod(window.kernel), channels)  # (N, positions, kh*kw, C)
    return xp.array(rows.transpose(0, 3, 2, 1), order="C").reshape(n, -1, rows.shape[1])


def _fold(columns: Array, window: Window, shape: Shape) -> Array:
    """(N, C*kh*kw, positions) to images (N, H, W, C)."""
    n, _, positions = columns.shape
    columns = columns.astype(arithmetic_dtype(columns.dtype), copy=False).reshape(n, shape[3], -1, positions)
    rows = xp.ascontiguousarray(columns.transpose(0, 3, 2, 1)).reshape(1, n * positions, -1)
    return col2im(rows, window, 1, shape)


class Unfold(Operation):
    """Every window of x (N, C, H, W) as a column: (N, C*kh*kw, positions)."""

    def __init__(self, window: Window) -> None:
        self.window = window

    def forward(self, x: Array) -> Array:
        x = to_nhwc(x)
        self.shape = x.shape
        return _unfold(x, self.window)

    def backward(self, grad: Array) -> tuple[Array]:
        return (as_nchw(_fold(grad, self.window, self.shape).astype(grad.dtype, copy=False)),)


class Fold(Operation):
    """Columns (N, C*kh*kw, positions) laid back into images (N, C, H, W), where they add up."""

    def __init__(self, window: Window, size: tuple[int, int]) -> None:
        self.window, self.size = window, size

    def forward(self, columns: Array) -> Array:
        channels = columns.shape[1] // math.prod(self.window.kernel)
        y = _fold(columns, self.window, (len(columns), *self.size, channels))
        return as_nchw(y.astype(columns.dtype, copy=False))

    def backward(self, grad: Array) -> tuple[Array]:
        return (_unfold(to_nhwc(grad), self.window),)
