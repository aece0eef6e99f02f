"""Transforms of whole batches: images and labels together."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from gpunet.data.checks import HostArray, checked_count
from gpunet.errors import ArgumentError, DTypeError, LabelError, ShapeError

__all__ = ["BatchTransform", "Mixup"]

BatchTransform: TypeAlias = Callable[[tuple[HostArray, ...], np.random.Generator], tuple[HostArray, ...]]
"""A function of the parts of a batch, mostly images and labels, and a generator; returns the parts of the new batch."""


class Mixup:
    """Mix each image with another of its batch, and their labels in the same proportion.

    x' = t x + (1 - t) x[permuted], y' = t onehot(y) + (1 - t) onehot(y[permuted]), with one t ~ Beta(alpha, alpha) for
    the batch. The labels become probabilities, which `cross_entropy` takes as they are.

    Args:
        classes: how many there are.
        alpha: the larger, the more evenly images are mixed; 0.1 to 0.4 are usual.

    Shape:
        images (N, C, H, W) of floats and labels (N,) -> images (N, C, H, W) and probabilities (N, classes)

    Raises:
        ArgumentError: if classes or alpha makes no sense.
        DTypeError: if the images are not floats.
        ShapeError: if the batch is not one of images and labels.
        LabelError: if a label is negative or has no class.

    Reference:
        Zhang et al., "mixup: Beyond empirical risk minimization", 2017.

    Example:
        >>> mixup = Mixup(classes=3, alpha=0.2)
        >>> batch = np.ones((4, 1, 2, 2), np.float32), np.array([0, 1, 2, 1])
        >>> images, targets = mixup(batch, np.random.default_rng(0))
        >>> images.shape, targets.shape
        ((4, 1, 2, 2), (4, 3))
    """

    def __init__(self, classes: int, alpha: float = 0.2) -> None:
        self.classes = checked_count(classes, 1, "Mixup: classes")
        if not 0 < alpha < np.inf:
            raise ArgumentError(f"Mixup expects a positive alpha, got {alpha!r}")
        self.alpha = float(alpha)

    def __call__(self, parts: tuple[HostArray, ...], rng: np.random.Generator) -> tuple[HostArray, ...]:
        """Mix a batch; draws one proportion, then a permutation."""
        if len(parts) != 2 or parts[1].ndim != 1 or len(parts[0]) != len(parts[1]):
            raise ShapeError(f"Mixup expects images and labels (N,), got shapes {[part.shape for part in parts]}")
        images, labels = parts
        if images.dtype.kind != "f":
            raise DTypeError(
                f"Mixup expects images that are floats, got {images.dtype}; put ToFloat into the transform"
            )
        if labels.dtype.kind not in "ui":
            raise DTypeError(f"Mixup expects labels that are whole numbers, got {labels.dtype}")
        if labels.min(initial=0) < 0 or labels.max(initial=0) >= self.classes:
            raise LabelError(f"Mixup expects labels from 0 to {self.classes - 1}, got {labels.min()} to {labels.max()}")
        share = np.float32(rng.beta(self.alpha, self.alpha))
        other = rng.permutation(len(labels))
        targets = np.eye(self.classes, dtype=np.float32)[labels]  # (N, classes)
        mixed = images * share.astype(images.dtype) + images[other] * (1 - share).astype(images.dtype)
        return mixed, targets * share + targets[other] * (1 - share)
