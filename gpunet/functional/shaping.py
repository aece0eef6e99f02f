"""Functions that join, pad or choose between Tensors."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from gpunet.arguments import check_broadcast, check_fits, dimension
from gpunet.errors import ArgumentError, DTypeError, ShapeError
from gpunet.functional.checks import check_choice, check_tensor, number, whole_number
from gpunet.ops.arithmetic import Maximum, Minimum, Where
from gpunet.ops.operation import Operation
from gpunet.ops.shaping import Concatenate, Pad
from gpunet.tensor import Tensor, apply, as_tensor, operand

__all__ = ["cat", "flatten", "maximum", "minimum", "pad", "stack", "where"]


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
    """Add elements of a constant value around a Tensor.

    Args:
        pad: (left, right) for the last dimension, then (top, bottom) for the one before, and so on.

    Shape:
        each padded dimension grows by its two numbers.

    Raises:
        ArgumentError: if the numbers are odd in count, too many or negative, the mode is not "constant", or the value
            does not fit the type of the input.
        DTypeError: if the input is not a Tensor.
    """
    check_choice(mode, ("constant",), "mode", "pad")
    check_tensor(input, "pad")
    if not isinstance(pad, Iterable):
        raise ArgumentError(f"pad: expected two numbers for each dimension, got {pad!r}")
    widths = [whole_number(width, "each width", "pad") for width in pad]
    value = 0.0 if value is None else number(value, "value", "pad")
    check_fits(value, input.dtype)
    if len(widths) % 2 or len(widths) > 2 * input.ndim or any(width < 0 for width in widths):
        raise ArgumentError(
            f"pad: expected two numbers of 0 or more for each of at most {input.ndim} dimensions, got {tuple(pad)}"
        )
    sides = [(widths[i], widths[i + 1]) for i in range(0, len(widths), 2)]
    unpadded = [(0, 0)] * (input.ndim - len(sides))
    return apply(Pad((*unpadded, *reversed(sides)), value), input)


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
