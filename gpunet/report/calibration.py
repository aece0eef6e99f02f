"""Whether a classifier is right as often as it says it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gpunet.errors import ArgumentError, ShapeError

__all__ = ["Reliability", "reliability"]


@dataclass(frozen=True)
class Reliability:
    """Images sorted into bins of equal width by confidence, the probability of the class that was predicted.

    Attributes:
        counts: images in each bin; bin b of B holds confidences in (b/B, (b+1)/B].
        confidence: the mean confidence in each bin, 0 where it is empty.
        accuracy: the share that was classified right in each bin, 0 where it is empty.
    """

    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @property
    def expected_calibration_error(self) -> float:
        """`ECE = sum_b n_b / N |accuracy_b - confidence_b|`: by how much confidence and accuracy differ on average."""
        gaps = np.abs(self.accuracy - self.confidence)
        return float((self.counts * gaps).sum() / max(int(self.counts.sum()), 1))


def reliability(probabilities: np.ndarray, labels: np.ndarray, bins: int = 10) -> Reliability:
    """Compare how confident a classifier was with how often it was right.

    Shape:
        probabilities: (N, classes), each row adds up to 1; labels: (N,).

    Raises:
        ArgumentError: if there is not at least one bin.
        ShapeError: if there is not one label for each row.

    Reference:
        Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks", 2017.
    """
    if bins < 1:
        raise ArgumentError(f"reliability: bins must be 1 or more, got {bins}")
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1]:
        raise ShapeError(
            f"reliability expects (N, classes) probabilities and (N,) labels, "
            f"got shapes {probabilities.shape} and {labels.shape}"
        )
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    bin_of = (np.ceil(confidence * bins) - 1).clip(0, bins - 1).astype(np.int64)
    counts = np.bincount(bin_of, minlength=bins)
    each = np.maximum(counts, 1)
    return Reliability(
        counts,
        np.bincount(bin_of, weights=confidence, minlength=bins) / each,
        np.bincount(bin_of, weights=right, minlength=bins) / each,
    )
