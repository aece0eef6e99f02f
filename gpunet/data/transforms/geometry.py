"""Sizes and places: enlarging, resizing, cropping, mirroring and turning images."""

from __future__ import annotations

import functools

import numpy as np

from gpunet.data.checks import HostArray, check_images, checked_count
from gpunet.errors import ArgumentError, ShapeError

__all__ = ["CenterCrop", "Enlarge", "RandomCrop", "RandomHorizontalFlip", "RandomRotation", "Resize"]


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


class Resize:
    """Every image at another size, by linear interpolation along both axes.

    Where the image shrinks, each new pixel is an average of all old ones under it (a triangle as wide as two new
    pixels), so that nothing is skipped; `interpolate(mode="bilinear", antialias=True)` of PyTorch does the same.
    Whole numbers stay whole numbers, rounded to the nearest.

    Args:
        size: the new height and width; one number for a square.

    Shape:
        (N, C, H, W) -> (N, C, size, size)

    Raises:
        ArgumentError: if a size is not positive.
    """

    def __init__(self, size: int | tuple[int, int]) -> None:
        self.size = _height_and_width(size, "Resize: size")

    def __call__(self, images: HostArray, rng: np.random.Generator) -> HostArray:
        """Resize a batch; draws nothing."""
        check_images(images, "Resize")
        if images.shape[2:] == self.size:
            return images
        rows = _interpolation(images.shape[2], self.size[0])  # (H', H)
        columns = _interpolation(images.shape[3], self.size[1])  # (W', W)
        numbers = images if images.dtype.kind == "f" else images.astype(np.float32)
        resized = rows.astype(numbers.dtype) @ numbers @ columns.T.astype(numbers.dtype)  # (N, C, H', W')
        return resized if images.dtype.kind == "f" else np.rint(resized).astype(images.dtype)


class CenterCrop:
    """Cut a window out of the middle of each image.

    Args:
        size: height and width of the window; one number for a square. Where the margin is odd, its larger part is below
            and to the right.

    Shape:
        (N, C, H, W) -> (N, C, size, size)

    Raises:
        ArgumentError: if a size is not positive.
        ShapeError: if the window is larger than the image.
    """

    def __init__(self, size: int | tuple[int, int]) -> None:
        self.size = _height_and_width(size, "CenterCrop: size")

    def __call__(self, images: HostArray, rng: np.random.Generator) -> HostArray:
        """Crop a batch; draws nothing."""
        check_images(images, "CenterCrop")
        top, left = (images.shape[2] - self.size[0]) // 2, (images.shape[3] - self.size[1]) // 2
        if top < 0 or left < 0:
            raise ShapeError(f"CenterCrop cannot cut {self.size} out of images of shape {images.shape}")
        return images[:, :, top : top + self.size[0], left : left + self.size[1]]


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

        self.size = _height_and_width(size, "RandomCrop: size")
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


class RandomRotation:
    """Turn each image about its middle, anticlockwise by an angle of its own, uniform in [-degrees, degrees].

    A new pixel is interpolated between the four old ones around the place it comes from; what comes from outside the
    image is zero. Whole numbers stay whole numbers, rounded to the nearest.

    Args:
        degrees: the largest angle, from 0 to 180.

    Shape:
        (N, C, H, W) -> (N, C, H, W)

    Raises:
        ArgumentError: if the angle is not in [0, 180].
    """

    def __init__(self, degrees: float) -> None:
        if not 0 <= degrees <= 180:
            raise ArgumentError(f"RandomRotation expects an angle in [0, 180], got {degrees!r}")
        self.degrees = float(degrees)

    def __call__(self, images: HostArray, rng: np.random.Generator) -> HostArray:
        """Turn a batch; draws N angles."""
        check_images(images, "RandomRotation")
        count, channels, height, width = images.shape
        angle = np.radians(rng.uniform(-self.degrees, self.degrees, count)).reshape(-1, 1, 1)
        y = np.arange(height).reshape(-1, 1) - (height - 1) / 2
        x = np.arange(width) - (width - 1) / 2
        from_y = np.cos(angle) * y + np.sin(angle) * x + (height - 1) / 2  # (N, H, W): where the new pixels come from
        from_x = np.cos(angle) * x - np.sin(angle) * y + (width - 1) / 2
        # A border of zeros on each side: whatever is farther out than that is moved onto the border.
        padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
        from_y, from_x = np.clip(from_y, -1, height) + 1, np.clip(from_x, -1, width) + 1
        top, left = np.minimum(from_y.astype(int), height), np.minimum(from_x.astype(int), width)
        down, right = (from_y - top).astype(np.float32), (from_x - left).astype(np.float32)
        flat = padded.reshape(count, channels, -1)
        corner = (top * (width + 2) + left).reshape(count, 1, -1)  # (N, 1, H*W)
        turned = np.zeros((count, channels, height * width), np.float32)
        for step, weight in (
            (0, (1 - down) * (1 - right)),
            (1, (1 - down) * right),
            (width + 2, down * (1 - right)),
            (width + 3, down * right),
        ):
            turned += np.take_along_axis(flat, corner + step, axis=2) * weight.reshape(count, 1, -1)
        result = turned if images.dtype.kind == "f" else np.rint(turned)
        return result.reshape(images.shape).astype(images.dtype)


def _height_and_width(size: int | tuple[int, int], what: str) -> tuple[int, int]:
    height, width = size if isinstance(size, tuple) and len(size) == 2 else (size, size)
    return checked_count(height, 1, what), checked_count(width, 1, what)


@functools.lru_cache(maxsize=64)
def _interpolation(old: int, new: int) -> HostArray:
    """How much each of the old pixels of a row counts in each of the new ones: (new, old), rows add up to 1."""
    scale = old / new
    width = max(scale, 1.0)  # of half the triangle, in old pixels
    centres = (np.arange(new) + 0.5) * scale - 0.5
    weights = np.maximum(0, 1 - abs(np.arange(old) - centres[:, None]) / width)
    return weights / weights.sum(axis=1, keepdims=True)
