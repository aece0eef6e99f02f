"""A figure of where in images a network found what speaks for its answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gpunet.backend import to_cpu
from gpunet.errors import ArgumentError, LabelError, ShapeError
from gpunet.functional import softmax
from gpunet.nn import Module, evaluation_mode
from gpunet.tape import no_grad
from gpunet.tensor import Tensor
from gpunet.visualize.figure import new_figure, show_picture, shown_images
from gpunet.visualize.grad_cam import grad_cam
from gpunet.visualize.pictures import overlay

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_grad_cam"]

PAIRS = 4  # of an image and its heat, in a row


def plot_grad_cam(
    model: Module,
    images: Tensor,
    labels: Tensor | Sequence[int] | None = None,
    classes: Sequence[str] | None = None,
    layer: str | None = None,
) -> Figure:
    """Draw images, and beside each, in orange, where Grad-CAM finds what speaks for the class that is predicted.

    Args:
        labels: the right class of each image, to be written above it; answers that are wrong are then marked.
        classes: the names of the classes; their numbers if left out.
        layer: whose feature map is looked at, see `grad_cam`.

    Shape:
        images: (N, C, H, W); labels: (N,).

    Raises:
        ArgumentError: if there is not a name for each class, no such layer, or no layer that gives a feature map.
        GradientError: under `no_grad`.
        LabelError: if a label is not a class.
        ShapeError: if there is not a label for each image, or images or logits have another shape.
        GpunetError: if matplotlib is not installed.
    """
    heat = grad_cam(model, images, layer=layer)  # (N, H, W)
    with no_grad(), evaluation_mode(model):
        probabilities = to_cpu(softmax(model(images), dim=1).array)  # (N, classes)
    names = [str(index) for index in range(probabilities.shape[1])] if classes is None else classes
    if len(names) != probabilities.shape[1]:
        raise ArgumentError(f"plot_grad_cam: expected names of {probabilities.shape[1]} classes, got {len(names)}")
    predicted = probabilities.argmax(axis=1)
    right = predicted if labels is None else _checked(labels, *probabilities.shape)
    columns = min(len(heat), PAIRS)
    rows = math.ceil(len(heat) / columns)
    title = "Where the network found what speaks for its answer (orange: Grad-CAM)"
    figure = new_figure(title, max(3.1 * columns, 7), 1.75 * rows + 0.5)
    grid = figure.subplots(rows, 3 * columns, squeeze=False, width_ratios=[1, 1, 0.08] * columns)
    for axes in grid.flat:
        axes.set_axis_off()
    for index, picture in enumerate(shown_images(images)):
        row, pair = divmod(index, columns)
        answer = f"{names[predicted[index]]}, {probabilities[index].max():.0%}"
        is_wrong = predicted[index] != right[index]
        show_picture(grid[row, 3 * pair], picture, "" if labels is None else names[right[index]])
        show_picture(
            grid[row, 3 * pair + 1],
            overlay(picture, heat[index]).transpose(2, 0, 1),
            f"wrong: {answer}" if is_wrong else answer,
        )
    return figure


def _checked(labels: Tensor | Sequence[int], count: int, classes: int) -> np.ndarray:
    values = to_cpu(labels.array) if isinstance(labels, Tensor) else np.asarray(labels)
    if values.shape != (count,):
        raise ShapeError(f"plot_grad_cam expects a label for each of {count} images, got shape {values.shape}")
    if values.dtype.kind not in "ui" or values.min() < 0 or values.max() >= classes:
        raise LabelError(f"plot_grad_cam: labels must be classes from 0 to {classes - 1}, got {values.tolist()}")
    return values
