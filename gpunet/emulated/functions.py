"""The functions of the array module: exactly those that gpunet uses, with the parameters that CuPy's have.

A keyword that NumPy knows and CuPy does not, such as `where=` in a sum, is refused by the signature.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from gpunet.emulated.array import (
    fresh,
    host_copy,
    index,
    made,
    ndarray,
    on_device,
    operand,
    poison,
    result,
    values_in,
    view,
)
from gpunet.emulated.counters import counters
from gpunet.emulated.streams import refuse_in_capture
from gpunet.errors import KernelError

__all__ = [
    "absolute",
    "add",
    "arange",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctan2",
    "arctanh",
    "argmax",
    "argmin",
    "argsort",
    "array",
    "asarray",
    "ascontiguousarray",
    "bincount",
    "broadcast_to",
    "ceil",
    "clip",
    "concatenate",
    "copysign",
    "copyto",
    "cos",
    "cosh",
    "cumprod",
    "cumsum",
    "einsum",
    "empty",
    "empty_like",
    "exp",
    "expand_dims",
    "expm1",
    "floor",
    "fmod",
    "full",
    "full_like",
    "hypot",
    "isfinite",
    "lib",
    "log",
    "log1p",
    "log2",
    "log10",
    "logaddexp",
    "matmul",
    "max",
    "maximum",
    "may_share_memory",
    "min",
    "minimum",
    "moveaxis",
    "multiply",
    "nonzero",
    "ogrid",
    "ones",
    "ones_like",
    "remainder",
    "rint",
    "sign",
    "sin",
    "sinh",
    "sqrt",
    "stack",
    "subtract",
    "sum",
    "take",
    "tan",
    "tanh",
    "tile",
    "trunc",
    "unique",
    "where",
    "zeros",
    "zeros_like",
]

# ---------------------------------------------------------------------- new arrays


def empty(shape: Any, dtype: Any = float, order: Any = "C") -> ndarray:
    """An array whose contents are arbitrary: here they are poison."""
    return made(lambda: poison(np.empty(shape, dtype, order)))


def zeros(shape: Any, dtype: Any = float, order: Any = "C") -> ndarray:
    """An array of zeros."""
    counters.functions["fill"] += 1
    return made(lambda: np.zeros(shape, dtype, order))


def ones(shape: Any, dtype: Any = float, order: Any = "C") -> ndarray:
    """An array of ones."""
    counters.functions["fill"] += 1
    return made(lambda: np.ones(shape, dtype, order))


def full(shape: Any, fill_value: Any, dtype: Any = None, order: Any = "C") -> ndarray:
    """An array of one value."""
    counters.functions["fill"] += 1
    return made(lambda value: np.full(shape, value, dtype, order), operand(fill_value))


def empty_like(
    prototype: ndarray, dtype: Any = None, order: Any = "K", subok: None = None, shape: Any = None
) -> ndarray:
    """An array of the shape and memory layout of another; its contents are arbitrary: here they are poison."""
    return made(lambda values: poison(np.empty_like(values, dtype, order, shape=shape)), operand(prototype))


def zeros_like(a: ndarray, dtype: Any = None, order: Any = "K", subok: None = None, shape: Any = None) -> ndarray:
    """An array of zeros of the shape and memory layout of another."""
    counters.functions["fill"] += 1
    return made(lambda values: np.zeros_like(values, dtype, order, shape=shape), operand(a))


def ones_like(a: ndarray, dtype: Any = None, order: Any = "K", subok: None = None, shape: Any = None) -> ndarray:
    """An array of ones of the shape and memory layout of another."""
    counters.functions["fill"] += 1
    return made(lambda values: np.ones_like(values, dtype, order, shape=shape), operand(a))


def full_like(
    a: ndarray, fill_value: Any, dtype: Any = None, order: Any = "K", subok: None = None, shape: Any = None
) -> ndarray:
    """An array of one value, of the shape and memory layout of another."""
    counters.functions["fill"] += 1
    return made(
        lambda values, value: np.full_like(values, value, dtype, order, shape=shape), operand(a), operand(fill_value)
    )


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> ndarray:
    """Numbers at equal distances."""
    counters.functions["arange"] += 1
    return made(lambda: np.arange(start, dtype=dtype) if stop is None else np.arange(start, stop, step, dtype=dtype))


class _OpenGrid:
    def __getitem__(self, key: Any) -> list[ndarray]:
        return [made(axis.copy) for axis in np.ogrid[key]]


ogrid = _OpenGrid()
"""`ogrid[0:m, 0:n]`: for each axis its indices, ready to broadcast."""


def array(
    obj: Any, dtype: Any = None, copy: bool = True, order: Any = "K", subok: bool = False, ndmin: int = 0
) -> ndarray:
    """A new array from host data, a device array, or nested lists of device arrays."""
    if type(obj) is ndarray:
        new = obj.astype(dtype if dtype is not None else obj.dtype, order, copy=copy)
    elif isinstance(obj, (list, tuple)) and _holds_device_arrays(obj):
        new = result(np.array, values_in(obj), dtype=dtype)
    else:
        new = host_copy(obj, dtype, order)
    return new if new.ndim >= ndmin else new.reshape((1,) * (ndmin - new.ndim) + new.shape)


def asarray(a: Any, dtype: Any = None, order: Any = None) -> ndarray:
    """As `array`, but an array that is right already is returned itself."""
    return array(a, dtype, copy=False, order=order or "K")


def ascontiguousarray(a: ndarray, dtype: Any = None) -> ndarray:
    """The array itself where its memory is contiguous, else a copy that is."""
    if type(a) is not ndarray:
        return host_copy(a, dtype)
    if a._values.flags.c_contiguous and (dtype is None or a.dtype == dtype):
        return a
    counters.functions["copy"] += 1
    return made(lambda values: np.array(values, dtype, order="C"), a._values)


def _holds_device_arrays(data: Sequence[Any]) -> bool:
    return any(
        _holds_device_arrays(part) if isinstance(part, (list, tuple)) else type(part) is ndarray for part in data
    )


# ---------------------------------------------------------------------- other shapes

MOST_COPIED = 8  # arrays that CuPy joins by a copy of each; more of them by one kernel, if they are small


def broadcast_to(array: ndarray, shape: Any) -> ndarray:
    """The view of a larger shape in which elements repeat."""
    return view(np.broadcast_to(operand(array), shape), array)


def expand_dims(a: ndarray, axis: Any) -> ndarray:
    """The view with new axes of size 1."""
    return view(np.expand_dims(operand(a), axis), a)


def moveaxis(a: ndarray, source: Any, destination: Any) -> ndarray:
    """The view with an axis in another place."""
    return view(np.moveaxis(operand(a), source, destination), a)


def concatenate(tup: Sequence[ndarray], axis: Any = 0, out: Any = None) -> ndarray:
    """Arrays joined along an axis."""
    if len(tup) <= MOST_COPIED:
        counters.functions["copy"] += len(tup) - 1  # one for each part
    else:
        counters.host_to_device += 1
        refuse_in_capture(f"joining more than {MOST_COPIED} arrays, whose addresses are copied to the device")
    return result(np.concatenate, [operand(part) for part in tup], axis=axis, out=out)


def stack(tup: Sequence[ndarray], axis: Any = 0, out: Any = None) -> ndarray:
    """Arrays joined along a new axis."""
    return concatenate([expand_dims(part, axis) for part in tup], axis, out)


def take(a: ndarray, indices: ndarray, axis: Any = None) -> ndarray:
    """Rows along an axis, by their numbers."""
    return result(np.take, operand(a), operand(indices), axis=axis)


def tile(A: ndarray, reps: Any) -> ndarray:  # noqa: N803
    """An array repeated along its axes."""
    return result(np.tile, operand(A), reps)


def _as_strided(x: ndarray, shape: Any = None, strides: Any = None) -> ndarray:
    """A view with any shape and strides; on a GPU nobody checks that it stays within the array's memory."""
    values = operand(x)
    strided = np.lib.stride_tricks.as_strided(values, shape, strides)
    (begin, end), (first, last) = byte_bounds(strided), byte_bounds(values if values.base is None else values.base)
    if strided.size and not first <= begin <= end <= last:
        raise KernelError(f"as_strided: shape {shape} with strides {strides} reaches beyond the array's memory")
    return view(strided, x)


lib = SimpleNamespace(stride_tricks=SimpleNamespace(as_strided=_as_strided))

# ---------------------------------------------------------------------- element by element

_ATOMIC = ("int32", "int64", "uint32", "uint64", "float16", "float32", "float64")  # the types that cupy.add.at takes


class ufunc:
    """A function of elements. Takes device arrays and numbers, and always gives an array."""

    __slots__ = ("__name__", "_function")

    def __init__(self, function: np.ufunc) -> None:
        self._function = function
        self.__name__ = function.__name__

    def __call__(self, *operands: Any, out: ndarray | None = None) -> ndarray:
        """Apply the function, to new memory or to that of `out`."""
        return result(self._function, *map(operand, operands), out=out)

    def at(self, a: ndarray, indices: Any, b: Any = None) -> None:
        """Apply the function in place at the indices; each occurrence of an index counts."""
        if self.__name__ != "add":
            raise NotImplementedError(f"`cupy_{self.__name__}.at` is not supported yet")
        if a.dtype.name not in _ATOMIC:
            raise TypeError(f"cupy.add.at only supports {', '.join(_ATOMIC)} as data type")
        counters.functions["add.at"] += 1
        where, values = index(indices), operand(b)
        on_device(lambda: np.add.at(a._values, where, values), a._values, where, values)


absolute = ufunc(np.absolute)
add = ufunc(np.add)
arccos = ufunc(np.arccos)
arccosh = ufunc(np.arccosh)
arcsin = ufunc(np.arcsin)
arcsinh = ufunc(np.arcsinh)
arctan = ufunc(np.arctan)
arctan2 = ufunc(np.arctan2)
arctanh = ufunc(np.arctanh)
ceil = ufunc(np.ceil)
copysign = ufunc(np.copysign)
cos = ufunc(np.cos)
cosh = ufunc(np.cosh)
exp = ufunc(np.exp)
expm1 = ufunc(np.expm1)
floor = ufunc(np.floor)
hypot = ufunc(np.hypot)
fmod = ufunc(np.fmod)
isfinite = ufunc(np.isfinite)
log = ufunc(np.log)
log10 = ufunc(np.log10)
log1p = ufunc(np.log1p)
log2 = ufunc(np.log2)
logaddexp = ufunc(np.logaddexp)
matmul = ufunc(np.matmul)
maximum = ufunc(np.maximum)
minimum = ufunc(np.minimum)
multiply = ufunc(np.multiply)
remainder = ufunc(np.remainder)
rint = ufunc(np.rint)
sign = ufunc(np.sign)
sin = ufunc(np.sin)
sinh = ufunc(np.sinh)
sqrt = ufunc(np.sqrt)
subtract = ufunc(np.subtract)
tan = ufunc(np.tan)
tanh = ufunc(np.tanh)
trunc = ufunc(np.trunc)


def where(condition: ndarray, x: Any, y: Any) -> ndarray:
    """`x` where the condition holds, else `y`."""
    return result(np.where, operand(condition), operand(x), operand(y))


def clip(a: ndarray, a_min: Any, a_max: Any, out: ndarray | None = None) -> ndarray:
    """The values, none below the one bound or above the other."""
    return result(np.clip, operand(a), operand(a_min), operand(a_max), out=out)


def may_share_memory(a: ndarray, b: ndarray) -> bool:
    """Whether two arrays may lie in the same memory, going by where each begins and ends."""
    return np.may_share_memory(operand(a), operand(b))


def copyto(dst: ndarray, src: Any, casting: Any = "same_kind", where: ndarray | None = None) -> None:
    """Copy elements, or those where a mask holds."""
    mask = True if where is None else operand(where)
    counters.functions["copy"] += 1
    values = operand(src)
    on_device(lambda: np.copyto(dst._values, values, casting=casting, where=mask), dst._values, values, mask)


# ---------------------------------------------------------------------- sums and the like


def _reduction(method: Callable[..., ndarray]) -> Callable[..., ndarray]:
    """The function that takes what the array's method takes."""

    def function(a: ndarray, *arguments: Any, **options: Any) -> ndarray:
        if type(a) is not ndarray:
            raise TypeError(f"Unsupported type {type(a)}")
        return method(a, *arguments, **options)

    function.__doc__ = method.__doc__
    return function


sum = _reduction(ndarray.sum)
max = _reduction(ndarray.max)
min = _reduction(ndarray.min)


def argmax(a: ndarray, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
    """The place of the first largest element."""
    operand(a)
    return a.argmax(axis, out, dtype, keepdims)


def argmin(a: ndarray, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
    """The place of the first smallest element."""
    operand(a)
    return a.argmin(axis, out, dtype, keepdims)


def argsort(a: ndarray, axis: Any = -1, kind: Any = None) -> ndarray:
    """The places of the elements in ascending order, equal ones in the order they come in."""
    if kind not in (None, "stable"):
        raise ValueError("kind can only be None or 'stable'")
    return result(np.argsort, operand(a), axis=axis, kind="stable")


def cumsum(a: ndarray, axis: Any = None, dtype: Any = None, out: Any = None) -> ndarray:
    """The sums so far along an axis."""
    return result(np.cumsum, operand(a), axis=axis, dtype=dtype, out=out)


def cumprod(a: ndarray, axis: Any = None, dtype: Any = None, out: Any = None) -> ndarray:
    """The products so far along an axis."""
    return result(np.cumprod, operand(a), axis=axis, dtype=dtype, out=out)


def nonzero(a: ndarray) -> tuple[ndarray, ...]:
    """Where the elements are not 0: for each axis the indices."""
    counters.functions["nonzero"] += 1
    refuse_in_capture("nonzero, which waits to know how many there are")
    return tuple(fresh(each) for each in np.nonzero(operand(a)))


def unique(ar: ndarray, return_index: bool = False, return_inverse: bool = False, return_counts: bool = False) -> Any:
    """Each value once, in ascending order; and which of them each element is, and how often they occur."""
    counters.functions["unique"] += 1
    refuse_in_capture("unique, which waits to know how many there are")
    find: Any = np.unique
    found = find(operand(ar), return_index, return_inverse, return_counts)
    return tuple(fresh(each) for each in found) if isinstance(found, tuple) else fresh(found)


def bincount(x: ndarray, weights: ndarray | None = None, minlength: int | None = None) -> ndarray:
    """How often each number from 0 upwards occurs."""
    refuse_in_capture("counting up to the largest number, which CuPy reads")
    return result(np.bincount, operand(x), None if weights is None else operand(weights), minlength or 0)


def einsum(*operands: Any) -> ndarray:
    """Sums of products in Einstein's notation: the subscripts, then the arrays."""
    subscripts, *arrays = operands
    return result(np.einsum, subscripts, *map(operand, arrays))
