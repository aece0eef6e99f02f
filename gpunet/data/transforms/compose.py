"""What a transform is, and several of them in a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from gpunet.data.checks import HostArray

__all__ = ["Compose", "Transform"]

Transform: TypeAlias = Callable[[HostArray, np.random.Generator], HostArray]
"""What counts as a transform: the classes of this module, or a function of the same form."""


class Compose:
    """Several transforms, one after the other.

    Shape:
        (N, C, H, W) -> what the last transform gives.

    Example:
        >>> from gpunet.data.transforms import Normalize, RandomCrop, ToFloat
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
