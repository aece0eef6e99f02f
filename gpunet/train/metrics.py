"""How good a classifier is: the confusion matrix, and what follows from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gpunet.backend import Array, asarray, to_cpu, xp
from gpunet.data import DataLoader
from gpunet.errors import ShapeError
from gpunet.functional import cross_entropy
from gpunet.nn import Module, evaluation_mode
from gpunet.printable import printable
from gpunet.ranks import communicator
from gpunet.tape import no_grad
from gpunet.tensor import Tensor
from gpunet.terminal import table

__all__ = ["Evaluation", "evaluate"]


@dataclass(frozen=True)
class Evaluation:
    """The result of running a classifier over labelled images.

    Attributes:
        loss: the mean cross-entropy.
        confusion: (C, C) counts; row: the right class, column: the class that was predicted.
    """

    loss: float
    confusion: np.ndarray

    @property
    def accuracy(self) -> float:
        """The share of images that were classified right."""
        return float(np.trace(self.confusion) / self.confusion.sum())

    @property
    def precision(self) -> np.ndarray:
        """For each class, the share of images predicted to be of it that were; NaN where none was predicted."""
        return self._right_of(self.confusion.sum(axis=0))

    @property
    def recall(self) -> np.ndarray:
        """For each class, the share of its images that were predicted to be of it; NaN where it has none."""
        return self._right_of(self.confusion.sum(axis=1))

    def _right_of(self, counts: np.ndarray) -> np.ndarray:
        """Those that are right, as a share; of nothing it is undefined, and not 0."""
        return np.divide(np.diag(self.confusion), counts, out=np.full(len(counts), np.nan), where=counts > 0)

    def table(self, classes: Sequence[str]) -> str:
        """A row for each class: images, precision, recall, and the class it was most often mistaken for.

        A dash stands for what is undefined. Where the terminal that stdout goes to is too narrow, a row is a paragraph.
        """
        classes = [printable(name) for name in classes]
        rows = [["class", "images", "precision", "recall", "most often mistaken for"]]
        mistakes = self.confusion - np.diag(np.diag(self.confusion))
        for index, name in enumerate(classes):
            worst = int(mistakes[index].argmax())
            count = int(mistakes[index, worst])
            images = str(int(self.confusion[index].sum()))
            shares = _percent(self.precision[index]), _percent(self.recall[index])
            rows.append([name, images, *shares, f"{classes[worst]} ({count})" if count else "-"])
        return table(rows, left=(0, 4))


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{share:.1%}"


def evaluate(model: Module, loader: DataLoader, classes: int) -> Evaluation:
    """Run a classifier over all batches of a loader, in evaluation mode and without recording gradients.

    Where several ranks compute together they take turns at the batches, and the sums over batches are added up in the
    order of the batches: all get the result that one alone would get, bit for bit.

    Args:
        classes: how many there are; the model returns that many logits for each image.

    Shape:
        the loader gives (N, C, H, W) images and (N,) labels.

    Raises:
        ShapeError: if the model does not return (N, classes) logits.
    """
    ranks = communicator()
    losses: list[Array] = []  # the sum over each batch
    confusion = xp.zeros(classes * classes, dtype=xp.int64)
    with no_grad(), evaluation_mode(model):
        for images, labels in loader if ranks.size == 1 else loader.every(ranks.size, ranks.rank):
            logits = model(images)
            if logits.shape != (len(labels), classes):
                raise ShapeError(
                    f"evaluate: the model must return logits of shape {(len(labels), classes)}, got {logits.shape}"
                )
            losses.append(cross_entropy(logits, labels, reduction="sum").array)
            confusion += _pair_counts(labels, logits, classes)
    dealt = ranks.gather(to_cpu(xp.stack(losses)).tolist() if losses else [])  # a GPU is waited for once
    total = np.float32(0)
    for batch in range(sum(map(len, dealt))):
        total += np.float32(dealt[batch % ranks.size][batch // ranks.size])
    counts = to_cpu(ranks.total(confusion)).reshape(classes, classes)
    return Evaluation(float(total) / int(counts.sum()), counts)


def _pair_counts(labels: Tensor, logits: Tensor, classes: int) -> np.ndarray:
    pairs = labels.array * classes + xp.argmax(logits.array, axis=1)  # one number for (right, predicted)
    return asarray(xp.bincount(pairs, minlength=classes * classes))
