"""What a trained network makes of the images held out: what a report shows beyond the summary of the run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gpunet.backend import asarray
from gpunet.classifier import Classifier
from gpunet.data import DataLoader, Dataset
from gpunet.tensor import Tensor
from gpunet.visualize import FeatureMaps, feature_maps, first_filters, grad_cam, overlay, spread

__all__ = ["Examination", "Mistake", "examine"]

MOST_MISTAKES = 12
MOST_LAYERS = 10


@dataclass(frozen=True)
class Mistake:
    """An image that was classified wrong.

    Attributes:
        picture: uint8 (C, H, W).
        right, predicted: the two classes.
        confidence: the probability of the class that was predicted.
        heat: uint8 (H, W, 3), where in the image Grad-CAM finds what speaks for the class that was predicted.
    """

    picture: np.ndarray
    right: str
    predicted: str
    confidence: float
    heat: np.ndarray


@dataclass(frozen=True)
class Examination:
    """What the report shows beyond what the run has written down.

    Attributes:
        labels: (N,), of the test set.
        probabilities: (N, classes).
        mistakes: the most confident ones, the worst first.
        filters: (out_channels, in_channels, kernel height, kernel width) of the first convolution.
        sample: uint8 (C, H, W), the first test image, and `sample_class`, what it is.
        maps: what some layers make of the sample, in the order in which they run.
    """

    labels: np.ndarray
    probabilities: np.ndarray
    mistakes: list[Mistake]
    filters: np.ndarray
    sample: np.ndarray
    sample_class: str
    maps: list[FeatureMaps]


def examine(classifier: Classifier, test_set: Dataset, batch_size: int = 256) -> Examination:
    """Run a classifier over the test set and look closer at the images that it was most confidently wrong about."""
    labels, probabilities = [], []
    for images, right in DataLoader(test_set, batch_size):
        labels.append(right.numpy())
        probabilities.append(classifier.probabilities(images))
    every_label, every_row = np.concatenate(labels), np.concatenate(probabilities)
    sample = _images(test_set, np.array([0]))
    maps = feature_maps(classifier.model, Tensor(asarray(sample)))
    return Examination(
        every_label,
        every_row,
        _mistakes(classifier, test_set, every_label, every_row),
        first_filters(classifier.model),
        classifier.pictures(sample)[0],
        classifier.classes[int(every_label[0])],
        [maps[index] for index in spread(len(maps), MOST_LAYERS)],
    )


def _images(test_set: Dataset, indices: np.ndarray) -> np.ndarray:
    return test_set.batch(indices, np.random.default_rng(0))[0]  # (N, C, H, W)


def _mistakes(
    classifier: Classifier, test_set: Dataset, labels: np.ndarray, probabilities: np.ndarray
) -> list[Mistake]:
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:MOST_MISTAKES]
    if not len(worst):
        return []
    prepared = _images(test_set, worst)
    heat = grad_cam(classifier.model, Tensor(asarray(prepared)), predicted[worst])
    return [
        Mistake(
            picture,
            classifier.classes[labels[index]],
            classifier.classes[predicted[index]],
            float(confidence[index]),
            overlay(picture, each),
        )
        for index, picture, each in zip(worst, classifier.pictures(prepared), heat, strict=True)
    ]
