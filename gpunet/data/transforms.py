"""Transforms: from stored images to what a network reads, and random augmentation.

A transform is a function of a whole batch of images and a generator that returns a batch of images:

    images (N, C, H, W), numpy.random.Generator -> images (N, C, H', W')

The generator is handed in, so that a batch is augmented the same way whichever thread happens to make it. Everything
here runs on the host, with NumPy, on every backend. One image is a batch of one: `transform(image[None], rng)[0]`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from gpunet.data.checks import HostArray, check_images, checked_count
from gpunet.errors import ArgumentError, DTypeError, ShapeError

__all__ = ["Compose", "Enlarge", "Normalize", "RandomCrop", "RandomHorizontalFlip", "ToFloat", "Transform"]

Transform: TypeAlias = Callable[[HostArray, np.random.Generator], HostArray]
"""What counts as a transform: the classes of this module, or a function of the same form."""


class Compose:
    """Several transforms, one after the other.

    Shape:
        (N, C, H, W) -> what the last transform gives.

    Example:
        >>> augment = Compose([RandomCrop(8, padding=1), ToFloat(scale=16), Normalize(0.305, 0.376)])
        >>> augment(np.zeros((5, 1, 8, 8), dtype=np.uint8), np.random.default_rng(0)).shape
        (5, 1, 8, 8)
    """

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self.transforms = list(transforms)

    def __call__(self, images: HostArray, rng: np.random.Generator) -> HostArray:
        """Apply the transforms in their order; they draw from the generator in that order, too."""
        for transform in self.transforms:
            images = transform(images, rng)
        return images


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
        self.mean = np.asarray(mean, dtype=np.float32).reshape(-1, 1, 1)  # (C or 1, 1, 1)
        self.std = np.asarray(std, dtype=np.float32).reshape(-1, 1, 1)
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


class Enlarge:
    """Every pixel as a square of factor x factor equal pixels, for networks made for larger images.

    Args:
        factor: how many times larger the image becomes, in height and in width.

    Shape:
        (N, C, H, W) -> (N, C, factor*H, factor*W)

    Raises:
        ArgumentError: if the factor is not a whole number of 1 or more.
    """

    def __init__(self, factor: int) -> None:
        self.factor = checked_count(factor, 1, "Enlarge: factor")

    def __call__(self, images: HostArray, rng: np.random.Generator) -> HostArray:
        """Enlarge a batch; draws nothing."""
        check_images(images, "Enlarge")
        return images.repeat(self.factor, axis=2).repeat(self.factor, axis=3)


class RandomCrop:
    """Cut a window out of each image at a place of its own, after surrounding the image with zeros.

    The offset of the window in the padded image is uniform over all places where it fits. Zero is black before
    `Normalize` and the mean colour after it. Padding 4 with a window of the images' own size is the augmentation of
    He et al. (2016), "Deep Residual Learning for Image Recognition", section 4.2.

    Args:
        size: height and width of the window; one number for a square.
        padding: rows and columns of zeros on each side.

    Shape:
        (N, C, H, W) -> (N, C, size, size)

    Raises:
        ArgumentError: if a size is not positive or the padding is negative.
        ShapeError: if the window is larger than the padded image.
    """

    def __init__(self, size: int | tuple[int, int], padding: int = 0) -> None:
        height, width = size if isinstance(size, tuple) and len(size) == 2 else (size, size)
        self.size = (checked_count(height, 1, "RandomCrop: size"), checked_count(width, 1, "RandomCrop: size"))
        self.padding = checked_count(padding, 0, "RandomCrop: padding")

    def __call__(self, images: HostArray, rng: np.random.Generator) -> HostArray:
        """Crop a batch; draws N vertical offsets, then N horizontal ones."""
        check_images(images, "RandomCrop")
        pad = (self.padding, self.padding)
        padded = np.pad(images, ((0, 0), (0, 0), pad, pad))
        count, _, height, width = padded.shape
        rows, columns = height - self.size[0] + 1, width - self.size[1] + 1  # places where the window fits
        if rows < 1 or columns < 1:
            raise ShapeError(
                f"RandomCrop cannot cut {self.size} out of images of shape {images.shape} with padding {self.padding}"
            )
        top, left = rng.integers(rows, size=count), rng.integers(columns, size=count)
        windows = np.lib.stride_tricks.sliding_window_view(padded, self.size, axis=(2, 3))
        return windows[np.arange(count), :, top, left]  # of (N, C, rows, columns, size, size): one window an image


class RandomHorizontalFlip:
    """Mirror each image, left to right, with probability `p`.

    Shape:
        (N, C, H, W) -> (N, C, H, W)

    Raises:
        ArgumentError: if p is not in [0, 1].
    """

    def __init__(self, p: float = 0.5) -> None:
        if not 0 <= p <= 1:
            raise ArgumentError(f"RandomHorizontalFlip expects a probability in [0, 1], got {p!r}")
        self.p = p

    def __call__(self, images: HostArray, rng: np.random.Generator) -> HostArray:
        """Flip a batch; draws N numbers."""
        check_images(images, "RandomHorizontalFlip")
        chosen = rng.random(len(images)) < self.p
        flipped = images.copy(order="K")
        flipped[chosen] = images[chosen, :, :, ::-1]
        return flipped
