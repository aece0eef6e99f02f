"""An exercise as the page's scripts hold it: grids, each a list of planes of rows, and settings."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.explain.exercise import IMAGE_OPERATIONS, Exercise
from gpunet.explain.explanation import Explanation
from gpunet.explain.given import LARGEST, MOST_CHANNELS, MOST_NUMBERS, MOST_PADDED, MOST_PIXELS

__all__ = ["LIMITS", "opening_place", "opening_state"]

LIMITS = {
    "pixels": MOST_PIXELS,
    "padded": MOST_PADDED,
    "channels": MOST_CHANNELS,
    "numbers": MOST_NUMBERS,
    "largest": LARGEST,
}
"""What the scripts keep to, as `exercise` does."""


def opening_state(explanation: Explanation) -> dict[str, Any]:
    """The numbers that the page opens with: {"grids": {name: planes}, "settings": {name: number or pair}}."""
    exercise = explanation.exercise
    if exercise.operation not in IMAGE_OPERATIONS:
        return _numbers(exercise)
    channels, height, width = exercise.input.shape
    settings: dict[str, Any] = {"channels": channels, "height": height, "width": width}
    grids: dict[str, Any] = {"input": exercise.input}
    if exercise.window is not None:
        (top, _), (left, _) = exercise.window.padding
        settings["kernel"], settings["stride"] = exercise.window.kernel, exercise.window.stride
        settings["padding"], settings["dilation"] = (top, left), exercise.window.dilation
    if exercise.operation == "conv2d" and exercise.weight is not None:
        settings["filters"] = len(exercise.weight)
        grids["weight"] = exercise.weight.reshape(-1, *exercise.weight.shape[2:])  # (O*C, kh, kw)
    elif exercise.operation == "avg_pool2d":
        settings["count_padding"] = True
    elif exercise.output_size is not None:
        settings["output_size"] = exercise.output_size
    elif exercise.operation == "dropout":
        settings["p"] = exercise.p
        (grids["draws"],) = (each.values for each in explanation.quantities if each.name == "uniform")
    elif exercise.weight is not None and exercise.bias is not None:
        settings["eps"] = exercise.eps
        grids["gamma"], grids["beta"] = exercise.weight[None, None], exercise.bias[None, None]  # (1, 1, C)
    grids["gradient"] = exercise.gradient
    return {"grids": _lists(grids), "settings": settings}


def opening_place(exercise: Exercise) -> list[int]:
    """The chosen element as [plane, row, column]."""
    return [0] * (3 - len(exercise.chosen)) + list(exercise.chosen)


def _numbers(exercise: Exercise) -> dict[str, Any]:
    """Numbers in a row are a plane of one row."""
    grids = {"input": exercise.input, "target": exercise.target, "gradient": exercise.gradient}
    settings: dict[str, Any] = {"count": len(exercise.input)}
    if exercise.operation == "cross_entropy" and exercise.target is not None:
        settings["label"] = int(np.argmax(exercise.target))
    return {
        "grids": _lists({name: row[None, None] for name, row in grids.items() if row is not None}),
        "settings": settings,
    }


def _lists(grids: dict[str, Any]) -> dict[str, Any]:
    return {name: planes.tolist() for name, planes in grids.items()}
