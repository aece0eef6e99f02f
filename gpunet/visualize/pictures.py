"""Numbers to pixels: grey values, several pictures side by side, heat over an image. On the host, with NumPy."""

from __future__ import annotations

import math

import numpy as np

from gpunet.data.transforms.colour import GREY
from gpunet.errors import ArgumentError, ShapeError

__all__ = ["grey_picture", "mosaic", "overlay", "resize_bilinear", "spread"]

HEAT = np.array([255, 96, 0], np.float32)  # orange: apart from grey for every kind of colour vision


def grey_picture(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Numbers to grey values: `low` becomes black, `high` white; NaN becomes black.

    Shape:
        values: any; result: uint8 of the same shape.
    """
    share = (np.asarray(values, np.float32) - low) / (high - low if high > low else 1.0)
    return (np.nan_to_num(share).clip(0, 1) * 255).round().astype(np.uint8)


def mosaic(pictures: np.ndarray, columns: int) -> np.ndarray:
    """Several pictures in one, row by row, with a transparent gap of one pixel between them.

    Shape:
        pictures: uint8 (N, h, w) or (N, h, w, 1 or 3); result: uint8 (H, W, 2 or 4), the last channel is alpha.

    Raises:
        ArgumentError: if `columns` is not positive.
        ShapeError: if the pictures have another shape, or there are none.
    """
    if columns < 1:
        raise ArgumentError(f"mosaic: columns must be 1 or more, got {columns}")
    if pictures.ndim == 3:
        pictures = pictures[:, :, :, None]
    if pictures.ndim != 4 or pictures.shape[3] not in (1, 3) or not pictures.size:
        raise ShapeError(f"mosaic expects (N, h, w) or (N, h, w, 1 or 3) pictures, got shape {pictures.shape}")
    count, height, width, channels = pictures.shape
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    canvas = np.zeros((rows * (height + 1) - 1, columns * (width + 1) - 1, channels + 1), np.uint8)
    for index, picture in enumerate(pictures):
        row, column = divmod(index, columns)
        tile = canvas[row * (height + 1) :, column * (width + 1) :][:height, :width]
        tile[:, :, :channels] = picture
        tile[:, :, channels] = 255
    return canvas


def overlay(image: np.ndarray, heat: np.ndarray, strength: float = 0.7) -> np.ndarray:
    """Paint heat over an image made grey: `(1 - a) grey + a orange` with `a = strength * heat`; no heat, no paint.

    Shape:
        image: uint8 (C, H, W) with 1 or 3 channels; heat: (h, w) from 0 to 1, stretched to the image;
        result: uint8 (H, W, 3).

    Raises:
        ArgumentError: if the strength is not from 0 to 1.
        ShapeError: if the image or the heat has another shape.
    """
    if not 0 <= strength <= 1:
        raise ArgumentError(f"overlay: strength must be from 0 to 1, got {strength}")
    if image.ndim != 3 or image.shape[0] not in (1, 3) or heat.ndim != 2:
        raise ShapeError(f"overlay expects a (1 or 3, H, W) image and (h, w) heat, got {image.shape} and {heat.shape}")
    grey = (GREY * image).sum(axis=0)[:, :, None]  # (H, W, 1); orange would not show on an orange image
    paint = strength * resize_bilinear(heat[None], *image.shape[1:])[0][:, :, None]  # (H, W, 1)
    return ((1 - paint) * grey + paint * HEAT).clip(0, 255).round().astype(np.uint8)


def resize_bilinear(maps: np.ndarray, height: int, width: int) -> np.ndarray:
    """Stretch maps over a larger area: `R A S^T`, where R and S hold the weights of bilinear interpolation.

    Shape:
        maps: (N, h, w); result: float32 (N, height, width).
    """
    rows, columns = _interpolation(maps.shape[1], height), _interpolation(maps.shape[2], width)
    return rows @ maps.astype(np.float32) @ columns.T


def _interpolation(source: int, target: int) -> np.ndarray:
    """(target, source) weights: each new pixel lies between the centres of two old ones, or on the edge."""
    centres = ((np.arange(target) + 0.5) * source / target - 0.5).clip(0, source - 1)  # in old pixels
    return np.maximum(0, 1 - np.abs(centres[:, None] - np.arange(source))).astype(np.float32)


def spread(count: int, most: int) -> np.ndarray:
    """The indices of at most so many of `count` things, from the first to the last at equal distances."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(int)
