"""An exercise as the page's scripts hold it: what is given, with its settings, and the formulas of all the rest."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.explain.exercise import Exercise, as_planes, settings_of
from gpunet.explain.formula import parse
from gpunet.explain.given import LARGEST, MOST_CHANNELS, MOST_NUMBERS, MOST_PADDED, MOST_PIXELS, digits
from gpunet.explain.operation import Operation, Step
from gpunet.explain.operations import LECTURE
from gpunet.explain.words import Words

__all__ = ["page_data"]

LIMITS = {
    "pixels": MOST_PIXELS,
    "padded": MOST_PADDED,
    "channels": MOST_CHANNELS,
    "numbers": MOST_NUMBERS,
    "largest": LARGEST,
}
"""What the scripts keep to, as `exercise` does."""


def page_data(exercise: Exercise, labels: Words) -> dict[str, Any]:
    """All that the scripts read, with the texts of a language."""
    operation = LECTURE[exercise.operation]
    texts = operation.texts[labels.language]
    return {
        "operation": operation.name,
        "state": {"grids": _opening_grids(exercise, operation), "settings": _opening_settings(exercise, operation)},
        "chosen": [0] * (3 - len(exercise.chosen)) + list(exercise.chosen),
        "limits": LIMITS,
        "words": dict(labels),
        "fields": _fields(exercise, operation),
        "grids": {name: each._asdict() for name, each in operation.grids.items()},
        "steps": [_step(each, operation) for each in operation.all_steps],
        "texts": texts,
        "small": operation.small,
        "columns": operation.columns,
        "signs": operation.signs,
        "below": operation.below,
        "views": operation.views,
        "picture": operation.picture,
        "problem": None if operation.problem is None else parse(operation.problem),
        "distributions": [each.grid for each in operation.distributions],
        "label": next((each.grid for each in operation.distributions if each.label), None),
        "digits": digits().tolist() if operation.is_image else [],
    }


def _step(step: Step, operation: Operation) -> dict[str, Any]:
    return step._asdict() | {"tree": operation.trees[step.name], "backward": step in operation.back}


def _opening_grids(exercise: Exercise, operation: Operation) -> dict[str, Any]:
    planes = as_planes(exercise)
    return {name: planes[name].tolist() for name in operation.grids}


def _opening_settings(exercise: Exercise, operation: Operation) -> dict[str, Any]:
    settings = settings_of(exercise)
    if "count_padding" in _fields(exercise, operation):
        settings["count_padding"] = True
    if exercise.target is not None and any(each.label for each in operation.distributions):
        settings["label"] = int(np.argmax(exercise.target))
    return settings


def _fields(exercise: Exercise, operation: Operation) -> list[str]:
    """The settings that can be changed on the page, by what the operation takes."""
    taken = {
        "out_channels": "filters",
        "kernel_size": "kernel",
        "stride": "stride",
        "padding": "padding",
        "dilation": "dilation",
        "output_size": "output_size",
        "p": "p",
        "eps": "eps",
        "factors": "layers",
    }
    found = ["height", "width", "channels"] if operation.is_image else ["count"]
    found = [] if operation.small else found
    found += ["outputs"] if exercise.weight is not None and exercise.weight.ndim == 2 else []
    found += [field for setting, field in taken.items() if setting in operation.settings]
    found += ["count_padding"] if operation.trees["output"][0] == "avg_pool2d" else []
    return found + [each.label for each in operation.distributions if each.label]
