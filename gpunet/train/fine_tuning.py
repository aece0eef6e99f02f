"""Fine-tuning: a network begins with the weights of another, some of its layers stay as they are, its head is new."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gpunet.data import DatasetRecipe
from gpunet.errors import ArgumentError
from gpunet.nn import Module
from gpunet.tensor import Tensor
from gpunet.weights import load_weights
from gpunet.weights.naming import head_of

__all__ = ["PREPROCESSING", "begin_with", "freeze", "groups_of", "normalised"]

PREPROCESSING = ("data", "imagenet")
"""By whose mean and deviation images are normalised: those of the training images, or ImageNet's."""
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's training images, as torchvision has them


def normalised(recipe: DatasetRecipe, preprocessing: str) -> DatasetRecipe:
    """A dataset, with its images normalised as they are to be.

    Raises:
        ArgumentError: if they are to be normalised as ImageNet's and have no three colours.
    """
    if preprocessing == "data":
        return recipe
    if recipe.channels != 3:
        raise ArgumentError(f"preprocessing imagenet is for images of 3 channels, these have {recipe.channels}")
    return replace(recipe, mean=_MEAN, std=_STD)


def begin_with(model: Module, path: Path | str, classes: Sequence[str]) -> str:
    """Load the weights of another network; the head only if the file says that it tells the same classes apart.

    Returns:
        what was done, for people.

    Raises:
        FileError: if the file cannot be read or is damaged.
        StateDictError: if it holds another network.
    """
    found = load_weights(path, model, head=lambda weights: weights.about.get("classes") == list(classes))
    new = f"; new: {', '.join(found.head)}" if found.head else ", the head among them"
    return f"begun with {len(found.matched)} arrays of {path}{new}"


def freeze(model: Module, patterns: Sequence[str]) -> str:
    """Let parameters stay as they are whose names fit one of the patterns, such as "layer1.*".

    Returns:
        what was done, for people.

    Raises:
        ArgumentError: if a pattern fits no name, or nothing is left to learn.
    """
    named = dict(model.named_parameters())
    frozen: set[str] = set()
    for pattern in patterns:
        fitting = fnmatch.filter(named, pattern)
        if not fitting:
            raise ArgumentError(f"train: freeze {pattern!r} fits none of the parameters {', '.join(named)}"[:600])
        frozen.update(fitting)
    if len(frozen) == len(named):
        raise ArgumentError("train: freeze leaves nothing to learn")
    for name in frozen:
        named[name].requires_grad = False
    learning = sum(each.numel() for each in named.values() if each.requires_grad)
    return f"{len(frozen)} of {len(named)} parameters stay as they are; {learning:,} numbers learn"


def groups_of(model: Module, head_lr: float | None) -> list[list[Tensor]]:
    """The parameters that learn: in one group, or, if the head learns at a rate of its own, those before it and its.

    Raises:
        ArgumentError: if the head is to learn at its own rate, and is frozen.
    """
    learning: dict[str, Tensor] = {name: each for name, each in model.named_parameters() if each.requires_grad}
    if head_lr is None:
        return [list(learning.values())]
    head = set(head_of(model))
    groups = [[each for name, each in learning.items() if (name in head) == whether] for whether in (False, True)]
    if not groups[1]:
        raise ArgumentError("train: head_lr is for a head that learns, and this one is frozen")
    return groups
