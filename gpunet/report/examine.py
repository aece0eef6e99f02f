"""What a trained network makes of the images held out: what a report shows beyond the summary of the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gpunet.backend import asarray
from gpunet.classifier import Classifier
from gpunet.data import DataLoader, ImageDataset
from gpunet.models import Summary, summary
from gpunet.report.cells import shrunk
from gpunet.tensor import Tensor
from gpunet.visualize import (
    FeatureMaps,
    GraphNode,
    deepest_map,
    feature_maps,
    first_filters,
    grad_cam,
    network_graph,
    overlay,
    spread,
)

__all__ = ["Examination", "Heat", "Sample", "examine"]

MOST_PICTURES = 24  # of mistakes
MOST_LAYERS = 11
MOST_SAMPLES = 400  # of all classes together
SAMPLES = (2, 8)  # of a class, at least and at most
LARGEST = 128  # pixels on a side of a picture; a larger one is made smaller


@dataclass(frozen=True)
class Sample:
    """A test image.

    Attributes:
        index: its number in the test set.
        picture: uint8 (C, H, W).
    """

    index: int
    picture: np.ndarray


@dataclass(frozen=True)
class Heat:
    """Where in an image Grad-CAM finds what speaks for the class that was predicted.

    Attributes:
        sample: the image.
        picture: uint8 (H, W, 3), the heat over the image.
    """

    sample: Sample
    picture: np.ndarray


@dataclass(frozen=True)
class Examination:
    """What the report shows beyond what the run has written down.

    Attributes:
        classes: their names.
        names: of the files of the test images; nothing where they have none.
        labels: (N,), of the test set.
        probabilities: (N, classes).
        mistakes: the images that were classified wrong, by their numbers, the most confident mistake first.
        heats: of the first mistakes.
        heat_layer, heat_size: the layer whose map the heat comes from, and how high and wide that is.
        samples: the first test images of each class.
        filters: (out_channels, in_channels, kernel height, kernel width) of the first convolution.
        maps: what some layers make of the first test image, in the order in which they run.
        layers: the network as a list.
        graph: the network as a graph.
    """

    classes: tuple[str, ...]
    names: tuple[str, ...]
    labels: np.ndarray
    probabilities: np.ndarray
    mistakes: np.ndarray
    heats: list[Heat]
    heat_layer: str
    heat_size: tuple[int, int]
    samples: list[list[Sample]]
    filters: np.ndarray
    maps: list[FeatureMaps]
    layers: Summary
    graph: list[GraphNode]

    @property
    def predicted(self) -> np.ndarray:
        """(N,), the class that was predicted."""
        return self.probabilities.argmax(axis=1)

    @property
    def accuracy(self) -> float:
        """The share of images that were classified right."""
        return float((self.predicted == self.labels).mean())


def examine(classifier: Classifier, test_set: ImageDataset, batch_size: int = 256) -> Examination:
    """Run a classifier over the test set and look closer at the images that it was most confidently wrong about."""
    every_label, every_row = [], []
    for images, right in DataLoader(test_set, batch_size):
        every_label.append(right.numpy())
        every_row.append(classifier.probabilities(images))
    labels, probabilities = np.concatenate(every_label), np.concatenate(every_row)
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    mistakes = wrong[np.argsort(-confidence[wrong], kind="stable")]
    first = Tensor(asarray(_images(test_set, [0])))
    layer, size = deepest_map(classifier.model, first)
    maps = feature_maps(classifier.model, first)
    return Examination(
        classes=classifier.classes,
        names=test_set.names,
        labels=labels,
        probabilities=probabilities,
        mistakes=mistakes,
        heats=_heats(classifier, test_set, mistakes[:MOST_PICTURES], predicted, layer),
        heat_layer=layer,
        heat_size=size,
        samples=_samples(classifier, test_set, labels),
        filters=first_filters(classifier.model),
        maps=[maps[index] for index in spread(len(maps), MOST_LAYERS)],
        layers=summary(classifier.model, first.shape[1:]),
        graph=network_graph(classifier.model, first),
    )


def _images(test_set: ImageDataset, indices: Sequence[int] | np.ndarray) -> np.ndarray:
    return test_set.batch(np.asarray(indices), np.random.default_rng(0))[0]  # (N, C, H, W)


def _heats(
    classifier: Classifier, test_set: ImageDataset, mistakes: np.ndarray, predicted: np.ndarray, layer: str
) -> list[Heat]:
    if not len(mistakes):
        return []
    prepared = _images(test_set, mistakes)
    heats = grad_cam(classifier.model, Tensor(asarray(prepared)), predicted[mistakes], layer)
    return [
        Heat(Sample(int(index), picture), overlay(picture, heat))
        for index, picture, heat in zip(mistakes, _pictures(classifier, prepared), heats, strict=True)
    ]


def _samples(classifier: Classifier, test_set: ImageDataset, labels: np.ndarray) -> list[list[Sample]]:
    count = max(SAMPLES[0], min(SAMPLES[1], MOST_SAMPLES // len(classifier.classes)))
    samples = []
    for label in range(len(classifier.classes)):
        chosen = np.flatnonzero(labels == label)[:count]
        pictures = _pictures(classifier, _images(test_set, chosen)) if len(chosen) else []
        samples.append([Sample(int(index), picture) for index, picture in zip(chosen, pictures, strict=True)])
    return samples


def _pictures(classifier: Classifier, prepared: np.ndarray) -> list[np.ndarray]:
    """As the network sees them, but no larger than a page needs them."""
    return [shrunk(picture, LARGEST) for picture in classifier.pictures(prepared)]
