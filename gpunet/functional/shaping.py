"""Functions that join, pad or choose between Tensors."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from gpunet.arguments import check_broadcast, check_fits, dimension
from gpunet.backend import xp
from gpunet.errors import ArgumentError, DTypeError, LabelError, ShapeError
from gpunet.functional.checks import check_choice, check_tensor, number, whole_number
from gpunet.ops.arithmetic import Maximum, Minimum, Where
from gpunet.ops.operation import Operation
from gpunet.ops.resample import Repeat, repetition
from gpunet.ops.shaping import Concatenate, Pad
from gpunet.tensor import Tensor, apply, as_tensor, operand, own

__all__ = ["cat", "flatten", "maximum", "minimum", "one_hot", "pad", "stack", "where"]


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Join Tensors along an existing dimension.

    Shape:
        equal but for the size of `dim`; the sizes of `dim` add up.

    Raises:
        ArgumentError: if there are no Tensors.
        DTypeError: if one is something else.
        ShapeError: if other sizes differ, or there is no such dimension.
    """
    tensors = _all_tensors(tensors, "cat")
    first, dim = tensors[0], dimension(dim, "cat")
    if not -first.ndim <= dim < first.ndim:
        raise ShapeError(f"cat: there is no dimension {dim} in shape {first.shape}")
    axis = dim % first.ndim
    for other in tensors[1:]:
        if other.ndim != first.ndim or any(
            a != b for i, (a, b) in enumerate(zip(first.shape, other.shape, strict=True)) if i != axis
        ):
            raise ShapeError(f"cat: shapes must be equal but for dimension {axis}, got {first.shape} and {other.shape}")
    return apply(Concatenate(axis), *tensors)


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Join Tensors along a new dimension.

    Shape:
        all equal; the output has one more dimension, of the number of Tensors.

    Raises:
        ArgumentError: if there are no Tensors.
        DTypeError: if one is something else.
        ShapeError: if the shapes differ.
    """
    tensors = _all_tensors(tensors, "stack")
    if any(other.shape != tensors[0].shape for other in tensors):
        raise ShapeError(f"stack: shapes must be equal, got {[other.shape for other in tensors]}")
    dim = dimension(dim, "stack")
    return cat([each.unsqueeze(dim) for each in tensors], dim)


def _all_tensors(tensors: Any, layer: str) -> list[Tensor]:
    if not isinstance(tensors, Iterable):
        raise DTypeError(f"{layer}: expected a list of Tensors, got {type(tensors).__name__}")
    tensors = list(tensors)
    if not tensors:
        raise ArgumentError(f"{layer}: expected at least one Tensor, got none")
    for position, each in enumerate(tensors):
        check_tensor(each, layer, f"number {position}")
    return tensors


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Dimensions `start_dim` to `end_dim` joined into one.

    Shape:
        (a, b, c, d) with start_dim=1 -> (a, b*c*d).

    Raises:
        ShapeError: if there is no such dimension.
        DTypeError: if the input is not a Tensor.
    """
    check_tensor(input, "flatten")
    return input.flatten(start_dim, end_dim)


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Add elements around a Tensor; a negative number takes some away.

    Args:
        pad: (left, right) for the last dimension, then (top, bottom) for the one before, and so on.
        mode: "constant" for a value; or what is there, mirrored ("reflect", without repeating the border), the border
            again and again ("replicate"), or from the other side ("circular").
        value: 0 by default.

    Shape:
        each padded dimension grows by its two numbers. All modes but "constant" leave the first dimension, and perhaps
        the second, as it is.

    Raises:
        ArgumentError: if the numbers are odd in count, too many or too large, the mode is not known, or the value does
            not fit the type of the input, or is given for another mode than "constant".
        DTypeError: if the input is not a Tensor.
    """
    check_choice(mode, ("constant", "reflect", "replicate", "circular"), "mode", "pad")
    check_tensor(input, "pad")
    if not isinstance(pad, Iterable):
        raise ArgumentError(f"pad: expected two numbers for each dimension, got {pad!r}")
    widths = [whole_number(width, "each width", "pad") for width in pad]
    if len(widths) % 2 or len(widths) > 2 * input.ndim:
        raise ArgumentError(f"pad: expected two numbers for each of at most {input.ndim} dimensions, got {tuple(pad)}")
    sides = {input.ndim - 1 - i: (widths[2 * i], widths[2 * i + 1]) for i in range(len(widths) // 2)}
    for axis, (before, after) in sides.items():
        if min(before, 0) + min(after, 0) + input.shape[axis] < 0:
            raise ArgumentError(f"pad: {(before, after)} takes away more than there is of {input.shape}")
    if mode in ("constant", "circular") and min(widths, default=0) < 0:
        input = input[tuple(_cropped(size, *sides.get(axis, (0, 0))) for axis, size in enumerate(input.shape))]
        sides = {axis: (max(0, before), max(0, after)) for axis, (before, after) in sides.items()}
    if mode != "constant":
        if value is not None:
            raise ArgumentError(f"pad: a value is for the mode 'constant', not for {mode!r}, got {value!r}")
        return _repeat(input, sides, mode)
    value = 0.0 if value is None else number(value, "value", "pad")
    check_fits(value, input.dtype)
    return apply(Pad(tuple(sides.get(axis, (0, 0)) for axis in range(input.ndim)), value), input)


def _cropped(size: int, before: int, after: int) -> slice:
    """What is left of a dimension where the numbers are negative."""
    return slice(max(0, -before), size + min(0, after))


def _repeat(input: Tensor, sides: dict[int, tuple[int, int]], mode: str) -> Tensor:
    most = {"reflect": -1, "circular": 0}.get(mode)
    if len(sides) not in (input.ndim - 1, input.ndim - 2):
        raise ArgumentError(f"pad: {mode} leaves one or two dimensions as they are, got {sides} for {input.shape}")
    for axis, (before, after) in sides.items():
        size = input.shape[axis]
        if size == 0 or (most is not None and max(before, after) > size + most):
            raise ArgumentError(f"pad: {mode} has no {max(before, after)} elements to repeat in {input.shape}")
    axes = {axis: [repetition(input.shape[axis], *widths, mode)] for axis, widths in sides.items() if any(widths)}
    return apply(Repeat(axes), input) if axes else input


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """Class labels as rows of zeros with a single 1, at the place of the class.

    Args:
        num_classes: by default one more than the largest label.

    Shape:
        any; the output has one more dimension, of the number of classes.

    Raises:
        DTypeError: if the labels are not integers.
        LabelError: if one is negative, or too large.
        ArgumentError: if the number of classes is no whole number, or there is nothing to tell it from.
    """
    check_tensor(tensor, "one_hot", "tensor")
    classes = whole_number(num_classes, "num_classes", "one_hot")
    if tensor.dtype.kind not in "iu":
        raise DTypeError(f"one_hot: tensor must hold integer class labels, got {tensor.dtype}")
    if classes < 1 and (classes != -1 or not tensor.numel()):
        raise ArgumentError(f"one_hot: num_classes must be 1 or more, got {num_classes} for shape {tensor.shape}")
    labels = tensor.array
    smallest, largest = (int(labels.min()), int(labels.max())) if tensor.numel() else (0, 0)
    classes = largest + 1 if classes == -1 else classes
    if smallest < 0 or largest >= classes:
        raise LabelError(f"one_hot: labels must lie within 0 .. {classes - 1}, got {smallest} to {largest}")
    return own((labels[..., None] == xp.arange(classes)).astype(xp.int64))


def where(condition: Tensor, input: Any, other: Any) -> Tensor:
    """`input` where the condition holds, `other` elsewhere.

    Shape:
        condition, input and other broadcast to the shape of the output.

    Raises:
        ShapeError: if the shapes do not broadcast.
    """
    condition = as_tensor(condition, bool)
    return _choose(Where(condition.array), input, other, condition.shape)


def maximum(input: Any, other: Any) -> Tensor:
    """The larger of two values, element by element; NaN where either is NaN.

    Shape:
        input and other broadcast to the shape of the output.

    Raises:
        ShapeError: if the shapes do not broadcast.
    """
    return _choose(Maximum(), input, other)


def minimum(input: Any, other: Any) -> Tensor:
    """The smaller of two values, element by element; NaN where either is NaN.

    Shape:
        input and other broadcast to the shape of the output.

    Raises:
        ShapeError: if the shapes do not broadcast.
    """
    return _choose(Minimum(), input, other)


def _choose(operation: Operation, a: Any, b: Any, shape: tuple[int, ...] = ()) -> Tensor:
    """Run an element-wise choice on two values that broadcast to each other, and to `shape`."""
    a, b = operand(a), operand(b)
    if not isinstance(a, Tensor) and not isinstance(b, Tensor):
        a = as_tensor(a)
    name = type(operation).__name__.lower()
    shapes = [shape, *(value.shape for value in (a, b) if isinstance(value, Tensor))]
    for one, other in itertools.combinations(shapes, 2):
        check_broadcast(one, other, name)
    return apply(operation, a, b)
