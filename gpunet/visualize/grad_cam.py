"""Grad-CAM: where in an image a network found what speaks for a class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.backend import asarray, to_cpu
from gpunet.errors import ArgumentError, GradientError, LabelError, ShapeError
from gpunet.nn import Conv2d, Module, evaluation_mode, observe
from gpunet.suggestions import closest
from gpunet.tape import is_grad_enabled, no_grad
from gpunet.tensor import Tensor
from gpunet.visualize.pictures import resize_bilinear

__all__ = ["deepest_map", "grad_cam"]

SMALLEST = 4  # places on a side of the map that is looked at by itself


def grad_cam(
    model: Module, images: Tensor, targets: Sequence[int] | None = None, layer: str | None = None
) -> np.ndarray:
    r"""The heat map of each image: `relu(sum_k a_k A_k)`, where `a_k` is the mean of `dy/dA_k` over all places.

    `A_k` is the k-th channel of a feature map, `y` the logit of the class. The heat is divided by its largest value in
    each image and stretched to the size of the image; it is 0 everywhere where nothing speaks for the class.

    The model is run in evaluation mode. It, its gradients and its mode are afterwards as they were.

    Args:
        model: takes images and returns (N, classes) logits.
        targets: a class for each image; the most likely one if left out.
        layer: the name of the layer whose feature map is looked at. If left out it is that of `deepest_map`.

    Shape:
        images: (N, C, H, W); result: float32 (N, H, W) on the host, from 0 to 1.

    Raises:
        ArgumentError: if there is no such layer, or no layer that gives a feature map.
        GradientError: under `no_grad`.
        LabelError: if a target is not a class.
        ShapeError: if there is not one target for each image, or images or logits have another shape.

    Reference:
        Selvaraju et al., "Grad-CAM: visual explanations from deep networks via gradient-based localization", 2017.
    """
    if not is_grad_enabled():
        raise GradientError("grad_cam needs gradients; call it outside of no_grad()")
    if images.ndim != 4:
        raise ShapeError(f"grad_cam expects images of shape (N, C, H, W), got {images.shape}")
    kept = [(parameter, parameter.grad) for parameter in model.parameters() if parameter.requires_grad]
    try:
        with evaluation_mode(model):
            moment = _moment_of(model, images, layer)[0]
            logits, maps = _run_from(model, images, moment)
        logits.backward(_choice(logits, targets))
        gradients = to_cpu(maps.grad.array) if maps.grad is not None else np.zeros(maps.shape, np.float32)
    finally:
        for parameter, grad in kept:  # the layers above the feature map have received gradients, too
            parameter.grad = grad
    weights = gradients.mean(axis=(2, 3), keepdims=True)  # (N, K, 1, 1)
    heat = np.maximum((weights * to_cpu(maps.array)).sum(axis=1), 0)  # (N, h, w)
    heat = heat / np.maximum(heat.max(axis=(1, 2), keepdims=True), np.finfo(np.float32).tiny)
    return resize_bilinear(heat, *images.shape[2:])


def deepest_map(model: Module, images: Tensor) -> tuple[str, tuple[int, int]]:
    """The name of the layer whose feature map `grad_cam` looks at by itself, and how high and wide the map is.

    It is the deepest map of at least 4 x 4 places, as a coarser one hardly says where something is; where all are
    coarser, the deepest. Of the outputs that are as high and wide as what a convolution gives it is the last, so that
    normalisation, shortcut, activation and what was there before are included.

    Raises:
        ArgumentError: if no convolution gives a feature map.
    """
    with evaluation_mode(model):
        _, name, (height, width) = _moment_of(model, images, None)
    return name, (height, width)


def _moment_of(model: Module, images: Tensor, layer: str | None) -> tuple[int, str, tuple[int, ...]]:
    """When, counted in outputs of Modules, the feature map arises that is to be looked at; its layer and its size."""
    seen: list[tuple[str, bool, tuple[int, ...]]] = []

    def note(name: str, module: Module, inputs: tuple[Any, ...], output: Any) -> None:
        seen.append((name, isinstance(module, Conv2d), getattr(output, "shape", ())))

    with no_grad(), observe(model, note):
        model(images)
    if layer is not None:
        moments = [moment for moment, (name, _, shape) in enumerate(seen) if name == layer and len(shape) == 4]
    else:
        sizes = [shape[2:] for _, is_convolution, shape in reversed(seen) if is_convolution]
        size = next((each for each in sizes if min(each) >= SMALLEST), sizes[0] if sizes else None)
        moments = [moment for moment, (_, _, shape) in enumerate(seen) if len(shape) == 4 and shape[2:] == size]
    if not moments:
        names = list(dict.fromkeys(name for name, _, shape in seen if name and len(shape) == 4))
        guess = None if layer is None else closest(layer, names)
        there = (", ".join(names) or "none") + ("" if guess is None else f"; did you mean {guess}?")
        asked = (
            f"{type(model).__name__} has no convolution that gives a" if layer is None else f"layer {layer!r} gives no"
        )
        raise ArgumentError(f"grad_cam: {asked} feature map (N, C, H, W); layers that give one: {there}")
    return moments[-1], seen[moments[-1]][0], seen[moments[-1]][2][2:]


def _run_from(model: Module, images: Tensor, moment: int) -> tuple[Tensor, Tensor]:
    """The logits, and the feature map of that moment as the start of the tape: what came before needs no gradient."""
    count = 0
    maps = images

    def cut(name: str, module: Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor | None:
        nonlocal count, maps
        count += 1
        if count - 1 != moment:
            return None
        maps = Tensor(output.array, requires_grad=True)
        return maps

    with observe(model, cut):
        logits = model(images)
    return logits, maps


def _choice(logits: Tensor, targets: Sequence[int] | None) -> Tensor:
    """1 at the class of each image, 0 elsewhere: the gradient of the sum of the chosen logits."""
    if logits.ndim != 2:
        raise ShapeError(f"grad_cam: the model must return (N, classes) logits, got shape {logits.shape}")
    count, classes = logits.shape
    chosen = to_cpu(logits.array).argmax(axis=1) if targets is None else np.asarray(targets)
    if chosen.shape != (count,):
        raise ShapeError(f"grad_cam expects a target for each of {count} images, got shape {chosen.shape}")
    if chosen.dtype.kind not in "ui" or (count and not (chosen.min() >= 0 and chosen.max() < classes)):
        raise LabelError(f"grad_cam: targets must be classes from 0 to {classes - 1}, got {chosen.tolist()}")
    choice = np.zeros((count, classes), logits.dtype)
    choice[np.arange(count), chosen] = 1
    return Tensor(asarray(choice))
