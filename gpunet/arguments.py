"""What functions and methods are told: dimensions, sizes, numbers, types of number and flags, checked before any work.

Whole numbers may be those of NumPy, or Tensors of one; whatever else passes for a number in Python, such as True for 1,
is refused where PyTorch refuses it.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from gpunet.backend import is_real, native
from gpunet.errors import ArgumentError, DTypeError, ShapeError

__all__ = [
    "DType",
    "axes_of",
    "axis_of",
    "check_broadcast",
    "check_fits",
    "check_numbers",
    "dimension",
    "flag",
    "number_type",
    "sizes_of",
]

DType: TypeAlias = Any
"""Whatever NumPy takes for a type of number: `numpy.float32`, `gpunet.float32`, "float32"."""


def check_numbers(dtype: Any) -> None:
    """Make sure that data are of a type that a Tensor can hold.

    Raises:
        DTypeError: if not.
    """
    if not is_real(dtype):
        raise DTypeError(f"a Tensor holds real numbers (of at most 64 bits) or booleans, got data of type {dtype}")


def check_fits(number: Any, dtype: Any) -> None:
    """Make sure that a number of Python is one that whole numbers of this type can express, but for a fraction.

    Raises:
        ArgumentError: if it is not.
    """
    if dtype.kind not in "iu" or isinstance(number, bool):
        return
    low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    if not (math.isfinite(number) and low <= int(number) <= high):
        raise ArgumentError(f"{number} does not fit {dtype}, which goes from {low} to {high}; convert with .to(dtype)")


def number_type(dtype: DType) -> Any:
    """The type of number that somebody has named, in the order of bytes of this machine.

    Raises:
        DTypeError: if it names none that a Tensor can hold.
    """
    try:
        named = None if dtype is None else native(np.dtype(dtype))
    except (TypeError, ValueError):
        named = None
    if named is None:
        raise DTypeError(
            f"{dtype!r} is no type of number; write one of NumPy's, such as 'float32' or gpunet.int64 (the device is "
            f"that of the active backend: gpunet.use_backend)"
        )
    check_numbers(named)
    return named


def check_broadcast(a: tuple[int, ...], b: tuple[int, ...], what: str) -> None:
    """Make sure that two shapes broadcast.

    Raises:
        ShapeError: if they do not; `what` names the operation in the message.
    """
    if a == b:
        return
    for left, right in zip(reversed(a), reversed(b), strict=False):
        if left != right and left != 1 and right != 1:
            raise ShapeError(f"{what} cannot broadcast shapes {a} and {b}: {left} and {right} differ and neither is 1")


def sizes_of(given: tuple[Any, ...], what: str) -> tuple[int, ...]:
    """The sizes of `f(2, 3)` and of `f((2, 3))` alike."""
    if len(given) == 1 and isinstance(given[0], list | tuple):
        given = tuple(given[0])
    return tuple(dimension(size, what) for size in given)


def dimension(value: Any, what: str) -> int:
    """The number of a dimension, or its size, as an int; it may be negative.

    Raises:
        ArgumentError: if it is no whole number.
    """
    try:
        if not isinstance(value, bool):
            return operator.index(value)
    except TypeError:
        pass
    raise ArgumentError(f"{what} expects dimensions and sizes as whole numbers, got {value!r}")


def axis_of(dim: int, ndim: int, what: str) -> int:
    """The dimension counted from 0.

    Raises:
        ShapeError: if there is no such dimension.
    """
    dim = dimension(dim, what)
    if not -ndim <= dim < ndim:
        raise ShapeError(f"{what} got dimension {dim} of a Tensor with {ndim} dimension(s)")
    return dim % ndim


def axes_of(dim: int | Sequence[int] | None, ndim: int, what: str) -> tuple[int, ...]:
    """The dimensions that a reduction goes over; all where none is named, be it by None or by (), as in PyTorch.

    Raises:
        ArgumentError: if one comes twice.
    """
    dims = dim if isinstance(dim, list | tuple) else () if dim is None else (dim,)
    if not ndim and all(not isinstance(one, bool) and one in (0, -1) for one in dims):
        return ()  # a single number counts as a vector of one
    axes = tuple(axis_of(one, ndim, what) for one in dims or range(ndim))
    if len(set(axes)) != len(axes):
        raise ArgumentError(f"{what} got a dimension twice: {dim}")
    return axes


def flag(value: Any, what: str) -> bool:
    """The value, which must be True or False: a word such as "no" would count as True.

    Raises:
        ArgumentError: if it is anything else.
    """
    if not isinstance(value, bool | np.bool_):
        raise ArgumentError(f"{what} must be True or False, got {value!r}")
    return bool(value)
