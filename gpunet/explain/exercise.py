"""An operation of the lecture with its numbers, small enough to be looked at one by one."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from gpunet.backend import use_backend
from gpunet.errors import ArgumentError
from gpunet.explain.formula import Planes
from gpunet.explain.given import MOST_PIXELS, Given, Values
from gpunet.explain.operation import Exercise, Grid
from gpunet.explain.operations import LECTURE
from gpunet.functional.checks import whole_number
from gpunet.tensor import Tensor, tensor

__all__ = [
    "IMAGE_OPERATIONS",
    "LOSSES",
    "OPERATIONS",
    "SETTINGS",
    "Exercise",
    "as_planes",
    "exercise",
    "leaves_of",
    "lecture_exercise",
    "lecture_exercises",
    "run",
    "settings_of",
]

OPERATIONS = tuple(LECTURE)
"""The operations, in the order of the lecture."""
IMAGE_OPERATIONS = tuple(name for name, each in LECTURE.items() if each.is_image)
"""Those that work on an image; the others work on a few numbers."""
LOSSES = tuple(name for name, each in LECTURE.items() if each.is_loss)
"""Those whose output is a single number."""
SETTINGS: Mapping[str, tuple[str, ...]] = MappingProxyType({name: each.settings for name, each in LECTURE.items()})
"""What can be chosen for each operation, beside the element that is looked at."""


def lecture_exercise(operation: str) -> Exercise:
    """The exercise as the lecture has it: its image and filter, or a few numbers of the same kind.

    Raises:
        ArgumentError: if there is no such operation.

    Example:
        >>> lecture_exercise("conv2d").weight.tolist()
        [[[[1.0, 0.0], [2.0, 1.0]]]]
    """
    return exercise(operation)


def lecture_exercises() -> tuple[Exercise, ...]:
    """All of them, in the order of the lecture."""
    return tuple(lecture_exercise(operation) for operation in OPERATIONS)


def exercise(operation: str, chosen: Sequence[int] | None = None, **settings: Any) -> Exercise:
    """An operation with numbers of one's own; what is left out is as in the lecture.

    Args:
        operation: one of OPERATIONS.
        chosen: the element of the output to look at closely: (row, column), (channel, row, column) or (index,).
        settings: those of SETTINGS that the operation has. `input` is an image (H, W) or (C, H, W) or numbers (K,), or
            the size of an image, as a tuple of whole numbers, which is then drawn, or "digit 0" to "digit 9" for a
            handwritten one; conv2d takes `weight`, or `kernel_size` and `out_channels` for a filter that is drawn;
            `target` of cross_entropy is a class or a distribution; `gradient`, of the loss by the output, is 1
            everywhere, and for batch_norm and softmax, which let nothing of that through, 1 for the chosen element and
            0 elsewhere.

    Raises:
        ArgumentError: for an unknown operation, a setting that it does not have or that makes no sense, or numbers that
            are too many or too large to be shown.
        ShapeError: for arrays that do not fit together, or a window larger than the padded image.
        LabelError: for a class that does not exist, or probabilities that are none.

    Example:
        >>> exercise("max_pool2d", kernel_size=3, stride=1).window.kernel
        (3, 3)
    """
    if operation not in LECTURE:
        raise ArgumentError(f"explain: there is no operation {operation!r}; there are {', '.join(OPERATIONS)}")
    described = LECTURE[operation]
    foreign = sorted(name for name in settings if name not in described.settings)
    if foreign:
        known = ", ".join(described.settings)
        raise ArgumentError(f"explain {operation}: {operation} has no {', '.join(foreign)}; it takes {known}")
    given = Given(operation, settings)
    made = described.make(given)
    shape = _output_shape(made)
    if max(shape[1:], default=0) > MOST_PIXELS:
        raise ArgumentError(
            f"{given.where}: the output is {shape[1]}x{shape[2]}, but at most {MOST_PIXELS}x{MOST_PIXELS} can be shown"
        )
    first = 0 if made.target is None else int(made.target.argmax())
    looked_at = shape if made.target is None else made.target.shape
    place = _chosen(given.where, chosen, looked_at, first)
    return dataclasses.replace(made, chosen=place, gradient=_gradient(given, made, shape, place))


def run(exercise: Exercise, leaves: Mapping[str, Tensor]) -> Tensor:
    """The output of an exercise, through `gpunet.functional`, for Tensors of its arrays; images are a batch of one."""
    return LECTURE[exercise.operation].function(exercise, leaves)


def _output_shape(exercise: Exercise) -> tuple[int, ...]:
    """The shape of the output: (O, Ho, Wo), (K,), or () for a loss; it is not run where it would be too large."""
    if exercise.window is not None and exercise.operation != "residual_block":
        planes = exercise.input if exercise.weight is None else exercise.weight
        return (len(planes), *exercise.window.output_size(*exercise.input.shape[1:]))
    if exercise.output_size is not None:
        return (len(exercise.input), *exercise.output_size)
    with use_backend("numpy"):
        shape = run(exercise, leaves_of(exercise)).shape
    return shape[1:] if exercise.input.ndim == 3 else shape


def leaves_of(exercise: Exercise, dtype: Any = np.float64) -> dict[str, Tensor]:
    """What an operation is run on, by name: Tensors of the active backend; an image as a batch of one."""
    arrays = {
        name: getattr(exercise, name) for name in ("input", "weight", "second_weight", "matrix", "bias", "target")
    }
    found = {
        name: tensor(values.astype(dtype), requires_grad=name != "target")
        for name, values in arrays.items()
        if values is not None
    }
    if exercise.input.ndim == 3:
        found["input"] = tensor(exercise.input[None].astype(dtype), requires_grad=True)
    return found


# ------------------------------------------------------------------------------ the chosen element, and its gradient


def _chosen(where: str, chosen: Sequence[int] | None, shape: tuple[int, ...], first: int) -> tuple[int, ...]:
    if chosen is None:
        return (first,) if len(shape) == 1 else (0,) * len(shape)
    place = tuple(whole_number(index, "chosen", where, 0) for index in chosen)
    if len(shape) == 3 and len(place) == 2:
        place = (0, *place)
    if len(place) != len(shape) or any(index >= size for index, size in zip(place, shape, strict=True)):
        form = "channel, row and column" if len(shape) == 3 else "one index"
        raise ArgumentError(f"{where}: the chosen element must be {form} within {shape}, got {tuple(chosen)}")
    return place


def _gradient(given: Given, made: Exercise, shape: tuple[int, ...], chosen: tuple[int, ...]) -> Values | None:
    """The gradient by the output, like the output; None for a loss."""
    described = LECTURE[made.operation]
    if described.is_loss:
        return None
    if "gradient" in given:
        return given.gradient(shape)
    if described.spread:
        return np.ones(shape)
    gradient = np.zeros(shape)
    gradient[chosen] = 1
    return gradient


# ------------------------------------------------------------------------------------------------------------- planes


def settings_of(exercise: Exercise) -> dict[str, Any]:
    """What the shapes of the grids follow from, and the numbers that formulas name."""
    settings: dict[str, Any] = {}
    if exercise.input.ndim == 3:
        settings |= dict(zip(("channels", "height", "width"), exercise.input.shape, strict=True))
    else:
        settings["count"] = len(exercise.input)
    if exercise.weight is not None and exercise.weight.ndim in (2, 4):
        settings["filters" if exercise.weight.ndim == 4 else "outputs"] = len(exercise.weight)
    if exercise.window is not None:
        (top, _), (left, _) = exercise.window.padding
        window = {"kernel": exercise.window.kernel, "stride": exercise.window.stride, "padding": (top, left)}
        settings |= window | {"dilation": exercise.window.dilation}
    if exercise.factors is not None:
        settings["layers"] = len(exercise.factors)
    numbers = {name: getattr(exercise, name) for name in ("output_size", "p", "eps")}
    return settings | {name: value for name, value in numbers.items() if value is not None}


def as_planes(exercise: Exercise) -> dict[str, Planes]:
    """The arrays of the grids as planes (P, rows, columns), and the numbers that formulas name as planes of one."""
    settings = settings_of(exercise)
    numbers = {name: value for name, value in settings.items() if isinstance(value, int | float)}
    found = {name: np.full((1, 1, 1), float(value)) for name, value in numbers.items()}
    for name, grid in LECTURE[exercise.operation].grids.items():
        values = getattr(exercise, name)
        found[name] = values.reshape(_plane_shape(grid, settings, values))
    return found


def _plane_shape(grid: Grid, settings: Mapping[str, Any], values: Values) -> tuple[int, int, int]:
    if isinstance(grid.shape, str):  # like the output
        return (1,) * (3 - values.ndim) + values.shape
    sizes = [settings[each] if isinstance(each, str) else each for each in grid.shape]
    flat = [size for each in sizes for size in (each if isinstance(each, tuple) else (each,))]
    return math.prod(flat[:-2]), flat[-2], flat[-1]
