"""A convolution as a matrix product: the textbook's im2col, and the lowered rows that gpunet makes instead.

Sizes in bytes are those of float32, in which networks are trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunet.backend import to_nhwc
from gpunet.explain.exercise import Exercise
from gpunet.explain.windows import Step
from gpunet.ops.lowering import Lowering, bands, filter_rows
from gpunet.ops.window import Window

__all__ = ["FLOAT_BYTES", "Matrices", "Product", "lowering_of", "matrices"]

FLOAT_BYTES = 4

Values = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Product:
    """Matrix products of one size, (M, K) @ (K, N), whose results are added up.

    Attributes:
        left, right: the factors of each, (M, K) and (K, N).
        left_bytes: what the left factors take together in memory, in float32. Where they overlap, they share it.
    """

    left: tuple[Values, ...]
    right: tuple[Values, ...]
    left_bytes: int

    @property
    def size(self) -> tuple[int, int, int]:
        """M, K and N."""
        rows, inner = self.left[0].shape
        return rows, inner, self.right[0].shape[1]

    @property
    def flops(self) -> int:
        """Multiplications and additions of all of them."""
        m, k, n = self.size
        return 2 * m * k * n * len(self.left)


@dataclass(frozen=True)
class Matrices:
    """The same convolution as one large matrix product and as gpunet's smaller ones.

    Attributes:
        textbook: one product; a row of its left factor for each window position, (Ho*Wo, C*kh*kw).
        gpunet: a product for each row of the filter, of the lowered rows that it meets, (Ho*Wo, kw*C).
        lowered: all lowered rows, (rows of the padded image * Wo, kw*C), of which those are slices; None for a 1x1
            convolution, which needs none.
        image_bytes: the image itself, in float32.
    """

    textbook: Product
    gpunet: Product
    lowered: Values | None
    image_bytes: int


def matrices(exercise: Exercise, steps: tuple[Step, ...]) -> Matrices | None:
    """The matrices of a convolution; None for another operation. Works on the NumPy backend."""
    window, weight = exercise.window, exercise.weight
    if exercise.operation != "conv2d" or window is None or weight is None:
        return None
    of_first_filter = [step for step in steps if step.sum.place[0] == 0]
    rows = np.array([[term.value for term in step.sum.terms] for step in of_first_filter])  # (Ho*Wo, C*kh*kw)
    textbook = Product((rows,), (weight.reshape(len(weight), -1).T,), rows.size * FLOAT_BYTES)
    image = to_nhwc(exercise.input[None])  # (1, H, W, C)
    image_bytes = image.size * FLOAT_BYTES
    filters = tuple(filter_rows(weight, 1)[:, 0])  # kh times (kw*C, O)
    if window.is_pointwise:
        pixels = image.reshape(-1, image.shape[-1])  # (H*W, C)
        return Matrices(textbook, Product((pixels,), filters, image_bytes), None, image_bytes)
    lowering = lowering_of(exercise.input.shape, window)
    (band,) = bands(window, image.shape[1], [slice(0, lowering.out_height)])
    lowering.fill(image[:, band.rows])
    lowered = lowering.rows.reshape(-1, lowering.rows.shape[-2] * lowering.rows.shape[-1])
    met = tuple(each[0] for each in lowering.met_by)  # kh times (Ho*Wo, kw*C)
    gpunet = Product(met, filters, lowered.size * FLOAT_BYTES)
    return Matrices(textbook, gpunet, lowered, image_bytes)


def lowering_of(shape: tuple[int, ...], window: Window) -> Lowering:
    """The working memory in which gpunet lowers one image (C, H, W) for such a window, as in `gpunet.ops.conv`."""
    channels, height, width = shape
    (band,) = bands(window, height, [slice(0, window.output_size(height, width)[0])])
    seen = band.rows.stop - band.rows.start
    return Lowering((1, seen, width, channels), np.float64, band.window, groups=1)
