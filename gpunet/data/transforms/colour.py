"""Random changes of colour."""

from __future__ import annotations

import numpy as np

from gpunet.data.checks import HostArray, check_images
from gpunet.errors import ArgumentError, DTypeError, ShapeError

__all__ = ["ColorJitter"]

GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32).reshape(3, 1, 1)  # ITU-R BT.601, as PyTorch and Pillow


class ColorJitter:
    """Change brightness, contrast and saturation of each image by factors of its own.

    In this order, with a factor f uniform in [max(0, 1 - s), 1 + s] for a strength s:

        brightness: f * x;  contrast: m + f * (x - m), m the mean grey of the image;  saturation: g + f * (x - g), g the
        grey of the pixel

    each cut to [0, 1]. Grey is 0.299 R + 0.587 G + 0.114 B.

    Args:
        brightness, contrast, saturation: the strengths; 0 changes nothing.

    Shape:
        (N, 3, H, W) -> (N, 3, H, W), floats in [0, 1]; (N, 1, H, W) as well where saturation is 0.

    Raises:
        ArgumentError: if a strength is negative.
        DTypeError: if the images are not floats.
        ShapeError: if the images are neither of three channels nor of one.
    """

    def __init__(self, brightness: float = 0.0, contrast: float = 0.0, saturation: float = 0.0) -> None:
        for name, strength in (("brightness", brightness), ("contrast", contrast), ("saturation", saturation)):
            if not (np.isfinite(strength) and strength >= 0):
                raise ArgumentError(f"ColorJitter: {name} is expected to be 0 or more, got {strength!r}")
        self.brightness, self.contrast, self.saturation = brightness, contrast, saturation

    def __call__(self, images: HostArray, rng: np.random.Generator) -> HostArray:
        """Change a batch; draws N factors each for brightness, contrast and saturation, needed or not."""
        check_images(images, "ColorJitter")
        if images.dtype.kind != "f":
            raise DTypeError(f"ColorJitter expects floats in [0, 1], got images of {images.dtype}; put ToFloat before")
        if images.shape[1] not in ((3,) if self.saturation else (1, 3)):
            raise ShapeError(f"ColorJitter expects images of 3 channels, got shape {images.shape}")
        brightness, contrast, saturation = (
            rng.uniform(max(0.0, 1 - strength), 1 + strength, (len(images), 1, 1, 1)).astype(images.dtype)
            for strength in (self.brightness, self.contrast, self.saturation)
        )
        images = np.clip(images * brightness, 0, 1)
        if self.contrast:
            mean = _grey(images).mean(axis=(2, 3), keepdims=True)  # (N, 1, 1, 1)
            images = np.clip(mean + contrast * (images - mean), 0, 1)
        if self.saturation:
            grey = _grey(images)  # (N, 1, H, W)
            images = np.clip(grey + saturation * (images - grey), 0, 1)
        return images


def _grey(images: HostArray) -> HostArray:
    return images if images.shape[1] == 1 else (images * GREY.astype(images.dtype)).sum(axis=1, keepdims=True)
