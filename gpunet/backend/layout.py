"""Memory format: shapes are (N, C, H, W), memory is (N, H, W, C).

A 4-D activation is an array of shape NCHW whose strides are those of NHWC ("channels last"). The channels of a pixel
lie side by side: on a CPU the matrix products of a convolution then run up to twice as fast, and on a GPU neighbouring
threads read neighbouring channels. NumPy's element-wise functions keep the layout by themselves, CuPy's do not: see
`elementwise`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from gpunet.backend.active import Array, active_backend, xp

__all__ = [
    "address",
    "as_nchw",
    "as_nhwc",
    "elementwise",
    "in_memory_order",
    "memory_order",
    "sees_channels_last",
    "to_nhwc",
]


def to_nhwc(x: Array) -> Array:
    """The (N, H, W, C) contiguous array behind a (N, C, H, W) one: a view where it is channels-last, else a copy.

    As well (N, ..., C) behind (N, C, ...) of any number of dimensions.
    """
    return xp.ascontiguousarray(x.transpose(_channels_last(x.ndim)))


def as_nchw(x: Array) -> Array:
    """The (N, C, H, W) view of a (N, H, W, C) array, or (N, C, ...) of (N, ..., C): only the strides change."""
    return x.transpose(_channels_second(x.ndim))


@functools.cache
def _channels_last(ndim: int) -> tuple[int, ...]:
    """The axes of (N, C, ...) in the order (N, ..., C)."""
    return (0, *range(2, ndim), 1)


@functools.cache
def _channels_second(ndim: int) -> tuple[int, ...]:
    """The axes of (N, ..., C) in the order (N, C, ...)."""
    return (0, ndim - 1, *range(1, ndim - 1))


def as_nhwc(x: Array) -> Array:
    """The (N, H, W, C) view of a (N, C, H, W) array; what has not four dimensions, or is no array, as it is."""
    return x.transpose(0, 2, 3, 1) if getattr(x, "ndim", 0) == 4 else x


def in_memory_order(x: Array) -> Array:
    """The (N, ..., C) view of what is channels-last, else x."""
    return x if x.flags.c_contiguous or x.ndim < 3 else x.transpose(_channels_last(x.ndim))


def sees_channels_last(operands: tuple[Any, ...]) -> bool:
    """Whether an element-wise function must be given the (N, H, W, C) views of its operands to keep the layout.

    CuPy writes every new result in C order, whatever it has read. NumPy goes by the operands.
    """
    if active_backend() == "numpy":
        return False
    arrays = [each for each in operands if not isinstance(each, int | float | np.generic)]
    return all(isinstance(each, xp.ndarray) and each.ndim in (0, 4) for each in arrays) and any(
        each.ndim and not each.flags.c_contiguous and each.transpose(0, 2, 3, 1).flags.c_contiguous for each in arrays
    )


def elementwise(function: Callable[..., Array]) -> Callable[..., Array]:
    """Let the result of an element-wise function be channels-last where its operands are: a decorator.

    Operands are 4-D arrays and numbers; with others the result is as the function makes it.
    """

    @functools.wraps(function)
    def in_memory_order(*operands: Any, **options: Any) -> Array:
        if not sees_channels_last(operands):
            return function(*operands, **options)
        views = {name: as_nhwc(each) for name, each in options.items()}
        return as_nchw(function(*map(as_nhwc, operands), **views))

    return in_memory_order


def memory_order(array: Array) -> list[int]:
    """The axes from the one whose neighbours lie furthest apart in memory to the one where they lie closest."""
    return sorted(range(array.ndim), key=lambda axis: -array.strides[axis])


def address(array: Array) -> int:
    """Where the first element of an array lies in memory."""
    return int(array.ctypes.data if active_backend() == "numpy" else array.data.ptr)
