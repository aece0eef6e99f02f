"""A convolution as a matrix product: im2col makes a row of every window, and each filter is a column.

Sizes in bytes are those of float32, in which networks are trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunet.backend import to_nhwc
from gpunet.explain.operation import Exercise
from gpunet.ops.conv import im2col

__all__ = ["FLOAT_BYTES", "Matrices", "matrices"]

FLOAT_BYTES = 4

Values = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Matrices:
    """The factors of the product, in gpunet's order: in a window the channels of a pixel lie side by side.

    Attributes:
        windows: im2col of the image, (Ho*Wo, kh*kw*C): a row for each position of the window.
        filters: a column for each filter, (kh*kw*C, O).
        image_bytes: the image, in float32.
        windows_bytes: its windows. 0 for a 1x1 convolution: they are the pixels themselves, and nothing is copied.
    """

    windows: Values
    filters: Values
    image_bytes: int
    windows_bytes: int

    @property
    def size(self) -> tuple[int, int, int]:
        """M, K and N of the product (M, K) @ (K, N)."""
        rows, inner = self.windows.shape
        return rows, inner, self.filters.shape[1]

    @property
    def flops(self) -> int:
        """Its multiplications and additions."""
        m, k, n = self.size
        return 2 * m * k * n


def matrices(exercise: Exercise) -> Matrices | None:
    """The matrices of a convolution; None for another operation. Works on the NumPy backend."""
    window, weight = exercise.window, exercise.weight
    if exercise.operation != "conv2d" or window is None or weight is None:
        return None
    windows = im2col(to_nhwc(exercise.input[None]), window, 1)[0].copy()
    filters = weight.transpose(2, 3, 1, 0).reshape(-1, len(weight))
    copied = 0 if window.is_pointwise else windows.size
    return Matrices(windows, filters, exercise.input.size * FLOAT_BYTES, copied * FLOAT_BYTES)
