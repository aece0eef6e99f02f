"""Hiding a part of each image, so that a network cannot rely on any one part."""

from __future__ import annotations

import numpy as np

from gpunet.data.checks import HostArray, check_images, checked_count
from gpunet.errors import ArgumentError

__all__ = ["Cutout", "RandomErasing"]


class Cutout:
    """Set a square of each image to zero. Its centre is any pixel, so it may reach beyond the image.

    Zero is black before `Normalize` and the mean colour after it, where the paper has it.

    Args:
        size: height and width of the square.

    Shape:
        (N, C, H, W) -> (N, C, H, W)

    Raises:
        ArgumentError: if the size is not positive.

    Reference:
        DeVries and Taylor, "Improved regularization of convolutional neural networks with Cutout", 2017.
    """

    def __init__(self, size: int) -> None:
        self.size = checked_count(size, 1, "Cutout: size")

    def __call__(self, images: HostArray, rng: np.random.Generator) -> HostArray:
        """Cut out of a batch; draws N rows, then N columns."""
        check_images(images, "Cutout")
        count, _, height, width = images.shape
        top = rng.integers(height, size=count) - self.size // 2
        left = rng.integers(width, size=count) - self.size // 2
        return _filled(images, top, top + self.size, left, left + self.size, 0.0)


class RandomErasing:
    """Set a rectangle within each image to one value, with probability `p`.

    Its area is uniform in `scale` times that of the image, the logarithm of height over width uniform in that of
    `ratio`, its place uniform over those where it fits. A side longer than the image is cut to the image.

    Args:
        p: how likely an image is changed.
        scale: the smallest and the largest share of the area.
        ratio: the smallest and the largest height over width.
        value: what is written there; 0 is black before `Normalize` and the mean colour after it.

    Shape:
        (N, C, H, W) -> (N, C, H, W)

    Raises:
        ArgumentError: if p is not in [0, 1], or a range is empty or not positive, or shares exceed 1.

    Reference:
        Zhong et al., "Random erasing data augmentation", 2017.
    """

    def __init__(
        self,
        p: float = 0.5,
        scale: tuple[float, float] = (0.02, 0.33),
        ratio: tuple[float, float] = (0.3, 3.3),
        value: float = 0.0,
    ) -> None:
        if not 0 <= p <= 1:
            raise ArgumentError(f"RandomErasing expects a probability in [0, 1], got {p!r}")
        if not 0 < scale[0] <= scale[1] <= 1:
            raise ArgumentError(f"RandomErasing expects shares of the area with 0 < low <= high <= 1, got {scale!r}")
        if not 0 < ratio[0] <= ratio[1] < np.inf:
            raise ArgumentError(f"RandomErasing expects ratios with 0 < low <= high, got {ratio!r}")
        self.p, self.scale, self.ratio, self.value = p, scale, ratio, value

    def __call__(self, images: HostArray, rng: np.random.Generator) -> HostArray:
        """Erase in a batch; draws N numbers each for: whether, area, ratio, row, column."""
        check_images(images, "RandomErasing")
        count, _, height, width = images.shape
        chosen = rng.random(count) < self.p
        area = rng.uniform(*self.scale, count) * (height * width)
        ratio = np.exp(rng.uniform(np.log(self.ratio[0]), np.log(self.ratio[1]), count))
        high = np.clip(np.rint(np.sqrt(area * ratio)), 1, height).astype(int) * chosen
        wide = np.clip(np.rint(np.sqrt(area / ratio)), 1, width).astype(int)
        top = rng.integers(height - high + 1)
        left = rng.integers(width - wide + 1)
        return _filled(images, top, top + high, left, left + wide, self.value)


def _filled(
    images: HostArray, top: HostArray, bottom: HostArray, left: HostArray, right: HostArray, value: float
) -> HostArray:
    """Copy the images with a rectangle of each set to the value: rows top..bottom-1, columns left..right-1."""
    rows, columns = np.arange(images.shape[2]), np.arange(images.shape[3])
    in_rows = (rows >= top[:, None]) & (rows < bottom[:, None])  # (N, H)
    in_columns = (columns >= left[:, None]) & (columns < right[:, None])  # (N, W)
    inside = in_rows[:, None, :, None] & in_columns[:, None, None, :]  # (N, 1, H, W)
    return np.where(inside, images.dtype.type(value), images)
