"""From stored pixels to the numbers that a network reads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gpunet.data.checks import HostArray, check_images
from gpunet.errors import ArgumentError, DTypeError, ShapeError

__all__ = ["Normalize", "ToFloat"]


class ToFloat:
    """Whole numbers to float32: `x / scale`, which brings pixels of 0..scale into [0, 1].

    Args:
        scale: the largest value a pixel can have.

    Shape:
        (N, C, H, W) -> (N, C, H, W)

    Raises:
        ArgumentError: if the scale is not a positive number.
        DTypeError: if the images are not whole numbers; floats have been converted already.
    """

    def __init__(self, scale: float = 255.0) -> None:
        if not (np.isfinite(scale) and scale > 0):
            raise ArgumentError(f"ToFloat expects a positive scale, got {scale!r}")
        self.scale = float(scale)

    def __call__(self, images: HostArray, rng: np.random.Generator) -> HostArray:
        """Convert a batch; draws nothing."""
        check_images(images, "ToFloat")
        if images.dtype.kind not in "ui":
            raise DTypeError(
                f"ToFloat expects whole numbers such as uint8, got images of {images.dtype}; apply it once"
            )
        return np.divide(images, np.float32(self.scale), dtype=np.float32)


class Normalize:
    """Shift and scale each channel: `(x - mean) / std`, with which the training images get mean 0 and variance 1.

    Args:
        mean: one number for each channel, or one for all of them.
        std: likewise; positive.

    Shape:
        (N, C, H, W) -> (N, C, H, W)

    Raises:
        ArgumentError: if a mean is not finite or a std not positive.
        DTypeError: if the images are not floats.
        ShapeError: if the images have another number of channels.
    """

    def __init__(self, mean: float | Sequence[float], std: float | Sequence[float]) -> None:
        try:
            self.mean = np.asarray(mean, dtype=np.float32).reshape(-1, 1, 1)  # (C or 1, 1, 1)
            self.std = np.asarray(std, dtype=np.float32).reshape(-1, 1, 1)
        except (TypeError, ValueError):
            raise ArgumentError(f"Normalize expects numbers, got {mean!r} and {std!r}") from None
        if not np.isfinite(self.mean).all():
            raise ArgumentError(f"Normalize expects finite means, got {mean!r}")
        if not (np.isfinite(self.std).all() and (self.std > 0).all()):
            raise ArgumentError(f"Normalize expects positive standard deviations, got {std!r}")
        if self.mean.size != self.std.size or not self.mean.size:
            raise ArgumentError(f"Normalize expects as many means as standard deviations, got {mean!r} and {std!r}")

    def __call__(self, images: HostArray, rng: np.random.Generator) -> HostArray:
        """Normalize a batch; draws nothing."""
        check_images(images, "Normalize")
        if images.dtype.kind != "f":
            raise DTypeError(f"Normalize expects floats, got images of {images.dtype}; put ToFloat before it")
        if self.mean.size not in (1, images.shape[1]):
            raise ShapeError(f"Normalize has {self.mean.size} means and stds, got images of shape {images.shape}")
        return (images - self.mean.astype(images.dtype)) / self.std.astype(images.dtype)
