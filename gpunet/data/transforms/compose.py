"""Several transforms in a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.data.checks import HostArray
from gpunet.data.transforms.transform import as_transform

__all__ = ["Compose"]


class Compose:
    """Several transforms, one after the other; those of albumentations and torchvision may be among them.

    Shape:
        (N, C, H, W) -> what the last transform gives.

    Raises:
        ArgumentError: if one is no transform.

    Example:
        >>> from gpunet.data.transforms import Normalize, RandomCrop, ToFloat
        >>> augment = Compose([RandomCrop(8, padding=1), ToFloat(scale=16), Normalize(0.305, 0.376)])
        >>> augment(np.zeros((5, 1, 8, 8), dtype=np.uint8), np.random.default_rng(0)).shape
        (5, 1, 8, 8)
    """

    def __init__(self, transforms: Sequence[Any]) -> None:
        self.transforms = list(map(as_transform, transforms))

    def __call__(self, images: HostArray, rng: np.random.Generator) -> HostArray:
        """Apply the transforms in their order; they draw from the generator in that order, too."""
        for transform in self.transforms:
            images = transform(images, rng)
        return images
