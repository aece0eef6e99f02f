"""Small pictures in a page: pixels as images, in rows of cells of one size."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from gpunet.markup import Markup, tag
from gpunet.visualize import data_uri, overlay

__all__ = ["cells", "heat_scale", "picture", "shrunk", "upright"]

SCALE_WIDTH = 64  # pixels of the picture of a colour scale


def picture(pixels: np.ndarray, told: str, **attributes: object) -> Markup:
    """An image.

    Shape:
        pixels: uint8 (H, W) or (H, W, channels).
    """
    return tag("img", src=data_uri(pixels), alt=told, **attributes)


def cells(pictures: Iterable[Markup]) -> Markup:
    """Pictures of one size beside each other, as many in a row as there is room for."""
    return tag("div", *pictures, class_="cells")


def upright(image: np.ndarray) -> np.ndarray:
    """(C, H, W) -> (H, W, C)."""
    return np.ascontiguousarray(image.transpose(1, 2, 0))


def shrunk(image: np.ndarray, largest: int) -> np.ndarray:
    """The image, (C, H, W), with the means of square blocks in place of pixels where a side has more than `largest`."""
    _, height, width = image.shape
    side = -(-max(height, width) // largest)
    if side == 1:
        return image
    cut = image[:, : height // side * side, : width // side * side]
    blocks = cut.reshape(len(image), height // side, side, width // side, side)
    return blocks.mean(axis=(2, 4)).round().astype(np.uint8)


def heat_scale(low: str, high: str, told: str) -> Markup:
    """The scale of the heat that is painted over images, from nothing to the most."""
    ramp = np.linspace(0, 1, SCALE_WIDTH, dtype=np.float32)[None, :]
    pixels = overlay(np.full((1, 1, SCALE_WIDTH), 128, np.uint8), ramp)
    return tag("p", low, picture(pixels, told), high, class_="scale soft")
