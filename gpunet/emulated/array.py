"""The device array: a NumPy array behind the rules of `cupy.ndarray`.

What CuPy refuses is refused with the same type of exception. What CuPy leaves undefined, such as the contents of
`empty` or which of two values lands in one element, gives values that nobody can mistake for right ones.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.array_utils import byte_bounds

from gpunet.emulated.counters import counters
from gpunet.emulated.memory import Allocation, allocations_at
from gpunet.emulated.streams import Stream, capturing, get_current_stream, refuse_in_capture

__all__ = [
    "Flags",
    "fresh",
    "host_copy",
    "index",
    "made",
    "ndarray",
    "on_device",
    "operand",
    "poison",
    "result",
    "values_in",
    "view",
]

Values = np.ndarray[Any, Any]

_KINDS = "biufc"  # the types of numbers that a device knows
_NUMBERS = (bool, int, float, complex, np.generic)  # the scalars that a kernel can take along


# ---------------------------------------------------------------------- operators


def _binary(function: Callable[[Any, Any], Any], swapped: bool = False) -> Callable[[ndarray, Any], Any]:
    def method(self: ndarray, other: Any) -> Any:
        if type(other) is ndarray:
            values: Any = other._values
        elif isinstance(other, _NUMBERS):
            values = other
        elif isinstance(other, (np.ndarray, list, tuple)):
            raise TypeError(f"Unsupported type {type(other)}")
        else:
            return NotImplemented
        return result(function, values, self._values) if swapped else result(function, self._values, values)

    return method


def _in_place(function: np.ufunc) -> Callable[[ndarray, Any], ndarray]:
    return lambda self, other: result(function, self._values, operand(other), out=self)


def _unary(function: np.ufunc) -> Callable[[ndarray], ndarray]:
    return lambda self: result(function, self._values)


class Flags(NamedTuple):
    """How an array lies in memory."""

    c_contiguous: bool
    f_contiguous: bool
    owndata: bool


class ndarray:
    """An array on the device. Made by the functions of this package, not by hand."""

    __slots__ = ("__weakref__", "_allocation", "_values", "base")
    __array_ufunc__ = None  # NumPy leaves operators to this class; NumPy's own functions refuse the array
    __hash__ = None  # type: ignore[assignment]

    _values: Values
    _allocation: Allocation
    base: ndarray | None
    """The array that this one is a view of; of a view of a view, too, it is the one with memory of its own."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    # ------------------------------------------------------------------ what it is

    @property
    def shape(self) -> tuple[int, ...]:
        """The size of each axis."""
        return self._values.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the numbers."""
        return self._values.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self._values.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self._values.size

    @property
    def itemsize(self) -> int:
        """The bytes of an element."""
        return self._values.itemsize

    @property
    def nbytes(self) -> int:
        """The bytes of all elements."""
        return self._values.nbytes

    @property
    def strides(self) -> tuple[int, ...]:
        """How far apart neighbours along each axis lie, in bytes."""
        return self._values.strides

    @property
    def flags(self) -> Flags:
        """How the array lies in memory."""
        flags = self._values.flags
        return Flags(flags.c_contiguous, flags.f_contiguous, flags.owndata)

    @property
    def data(self) -> SimpleNamespace:
        """Where the array begins: `data.ptr`."""
        return SimpleNamespace(ptr=self._values.ctypes.data)

    def __len__(self) -> int:
        return len(self._values)

    # ------------------------------------------------------------------ host and device

    def get(self, stream: Stream | None = None, order: str = "C", out: Any = None, blocking: bool = True) -> Values:
        """Copy to the host; with `blocking=False` the copy, into `out`, is there once the stream was waited for."""
        _count_read("ndarray.get")
        if out is None:
            return np.array(self._values, order=order)  # type: ignore[call-overload]
        if not isinstance(out, np.ndarray) or out.dtype != self.dtype or out.shape != self.shape:
            raise ValueError("out must be a numpy.ndarray of the same type and shape")
        if blocking:
            out[...] = self._values
        else:
            poison(out)
            (stream or get_current_stream()).enqueue(lambda: np.copyto(out, self._values))
        return out

    def set(self, arr: Values, stream: Stream | None = None) -> None:
        """Copy from a NumPy array of the same type and shape, in a stream."""
        if not isinstance(arr, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if arr.dtype != self.dtype:
            raise TypeError(f"{arr.dtype} array cannot be set to {self.dtype} array")
        if arr.shape != self.shape:
            raise ValueError(f"Shape mismatch. Old shape: {self.shape}, new shape: {arr.shape}")
        flags = self._values.flags
        if not flags.c_contiguous and not flags.f_contiguous:
            raise RuntimeError("Cannot set to non-contiguous array")
        _count_upload("ndarray.set")
        poison(self._values)
        (stream or get_current_stream()).enqueue(lambda: np.copyto(self._values, arr))

    def item(self) -> Any:
        """The one element as a Python number, copied to the host."""
        _count_read("ndarray.item")
        return self._values.item()

    def tolist(self) -> Any:
        """The elements as nested lists, copied to the host."""
        _count_read("ndarray.tolist")
        return self._values.tolist()

    def __bool__(self) -> bool:
        _count_read("the truth of an array")
        return bool(self._values)

    def __int__(self) -> int:
        return int(self.get())

    def __float__(self) -> float:
        return float(self.get())

    def __repr__(self) -> str:
        return repr(self.get())

    def __str__(self) -> str:
        return str(self.get())

    def __format__(self, spec: str) -> str:
        return format(self.get(), spec)

    # ------------------------------------------------------------------ elements

    def __iter__(self) -> Iterator[ndarray]:
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    def __getitem__(self, key: Any) -> ndarray:
        key = index(key)
        if _is_advanced(key):
            counters.functions["take"] += 1
            return made(
                lambda of: np.asarray(self._values[of], order="C"), key, like=_shape_of(key) if capturing() else None
            )
        if isinstance(key, tuple):
            if not any(part is Ellipsis for part in key):
                key = (*key, Ellipsis)
        elif key is not Ellipsis:
            key = (key, Ellipsis)
        return view(self._values[key], self)  # with an ellipsis, one element is a view of shape (), too

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(value, np.ndarray) and value.ndim:
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        if isinstance(value, (list, tuple)):
            raise TypeError(f"{type(value).__name__} cannot be used for fill")
        key, values = index(key), values_in(value)
        if _is_the_same(values, self._values, key):
            return  # what `a[key] += b` ends with
        counters.functions["copy" if np.ndim(values) else "fill"] += 1
        on_device(lambda: self._assign(key, values), self._values, key, values)

    def _assign(self, key: Any, values: Any) -> None:
        self._values[key] = values
        if _is_advanced(key):
            self._poison_contested(key, values)

    def _poison_contested(self, key: Any, values: Any) -> None:
        """Where an index occurs twice with different values, either may win on a GPU."""
        wanted = np.broadcast_to(np.asarray(values).astype(self.dtype), self._values[key].shape)
        found = self._values[key]
        lost = (found != wanted) & ((found == found) | (wanted == wanted))
        if lost.any():
            places = np.arange(self.size).reshape(self.shape)[key][lost]
            self._values[np.unravel_index(places, self.shape)] = _poison_of(self.dtype)

    def fill(self, value: Any) -> None:
        """Set every element."""
        self[...] = value

    # ------------------------------------------------------------------ other shapes of the same elements

    @property
    def T(self) -> ndarray:  # noqa: N802
        """The view with its axes in reverse order."""
        return view(self._values.T, self)

    def transpose(self, *axes: Any) -> ndarray:
        """The view with its axes in another order."""
        return view(self._values.transpose(*axes), self)

    def swapaxes(self, axis1: int, axis2: int) -> ndarray:
        """The view with two axes exchanged."""
        return view(self._values.swapaxes(axis1, axis2), self)

    def squeeze(self, axis: Any = None) -> ndarray:
        """The view without axes of size 1."""
        return view(self._values.squeeze(axis), self)

    def reshape(self, *shape: Any, order: Any = "C") -> ndarray:
        """The elements in another shape: a view where that is possible."""
        return _view_or_copy(lambda values: values.reshape(*shape, order=order), self)

    def ravel(self, order: Any = "C") -> ndarray:
        """The elements in one row: a view where that is possible."""
        return _view_or_copy(lambda values: values.ravel(order), self)

    def view(self, dtype: Any) -> ndarray:
        """The bits of the elements as another type of number: a view."""
        return _view_or_copy(lambda values: values.view(dtype), self)

    def astype(
        self, dtype: Any, order: Any = "K", casting: Any = None, subok: None = None, copy: bool = True
    ) -> ndarray:
        """The elements as another type of number."""
        if not copy and self.dtype == dtype:
            return self
        counters.functions["copy"] += 1
        return made(lambda values: values.astype(dtype, order=order, casting=casting or "unsafe"), self._values)

    def copy(self, order: Any = "C") -> ndarray:
        """The same elements in new memory."""
        counters.functions["copy"] += 1
        return made(lambda values: values.copy(order), self._values)

    def __copy__(self) -> ndarray:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> ndarray:
        return self.copy()

    # ------------------------------------------------------------------ operators

    __add__, __radd__ = _binary(np.add), _binary(np.add, swapped=True)
    __sub__, __rsub__ = _binary(np.subtract), _binary(np.subtract, swapped=True)
    __mul__, __rmul__ = _binary(np.multiply), _binary(np.multiply, swapped=True)
    __truediv__, __rtruediv__ = _binary(np.true_divide), _binary(np.true_divide, swapped=True)
    __floordiv__, __rfloordiv__ = _binary(np.floor_divide), _binary(np.floor_divide, swapped=True)
    __mod__, __rmod__ = _binary(np.remainder), _binary(np.remainder, swapped=True)
    __pow__, __rpow__ = _binary(np.power), _binary(np.power, swapped=True)
    __and__, __rand__ = _binary(np.bitwise_and), _binary(np.bitwise_and, swapped=True)
    __or__, __ror__ = _binary(np.bitwise_or), _binary(np.bitwise_or, swapped=True)
    __xor__, __rxor__ = _binary(np.bitwise_xor), _binary(np.bitwise_xor, swapped=True)
    __rshift__ = _binary(np.right_shift)
    __matmul__, __rmatmul__ = _binary(np.matmul), _binary(np.matmul, swapped=True)  # CuPy has no `@=`
    __iadd__ = _in_place(np.add)
    __isub__ = _in_place(np.subtract)
    __imul__ = _in_place(np.multiply)
    __itruediv__ = _in_place(np.true_divide)
    __ifloordiv__ = _in_place(np.floor_divide)
    __imod__ = _in_place(np.remainder)
    __ipow__ = _in_place(np.power)
    __iand__ = _in_place(np.bitwise_and)
    __ior__ = _in_place(np.bitwise_or)
    __ixor__ = _in_place(np.bitwise_xor)
    __lt__ = _binary(np.less)
    __le__ = _binary(np.less_equal)
    __gt__ = _binary(np.greater)
    __ge__ = _binary(np.greater_equal)
    __eq__ = _binary(np.equal)
    __ne__ = _binary(np.not_equal)
    __neg__, __abs__, __invert__ = _unary(np.negative), _unary(np.absolute), _unary(np.invert)

    # ------------------------------------------------------------------ reductions: arrays of shape (), not numbers

    def sum(self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
        """The sum along axes."""
        return result(_sum, self._values, axis=axis, dtype=dtype, out=out, keepdims=keepdims)

    def mean(self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
        """The mean along axes."""
        return result(np.mean, self._values, axis=axis, dtype=dtype, out=out, keepdims=keepdims)

    def max(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
        """The largest element along axes."""
        return result(np.max, self._values, axis=axis, out=out, keepdims=keepdims)

    def min(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
        """The smallest element along axes."""
        return result(np.min, self._values, axis=axis, out=out, keepdims=keepdims)

    def prod(self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
        """The product along axes."""
        return result(np.prod, self._values, axis=axis, dtype=dtype, out=out, keepdims=keepdims)

    def argmax(self, axis: Any = None, out: Any = None, dtype: Any = None, keepdims: bool = False) -> ndarray:
        """The place of the first largest element."""
        return _as_type(result(np.argmax, self._values, axis=axis, out=out, keepdims=keepdims), dtype)

    def argmin(self, axis: Any = None, out: Any = None, dtype: Any = None, keepdims: bool = False) -> ndarray:
        """The place of the first smallest element."""
        return _as_type(result(np.argmin, self._values, axis=axis, out=out, keepdims=keepdims), dtype)

    def any(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
        """Whether any element is true."""
        return result(np.any, self._values, axis=axis, out=out, keepdims=keepdims)

    def all(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
        """Whether all elements are true."""
        return result(np.all, self._values, axis=axis, out=out, keepdims=keepdims)


# ---------------------------------------------------------------------- from NumPy arrays to device arrays


def fresh(values: Any) -> ndarray:
    """A device array in memory of its own, which `values` becomes."""
    if values.dtype.kind not in _KINDS:
        raise ValueError(f"Unsupported dtype {values.dtype}")
    array = object.__new__(ndarray)
    array._allocation = Allocation(values.__array_interface__["data"][0], values.nbytes)
    array._values = values
    array.base = None
    return array


def made(make: Callable[..., Values], *arguments: Any, like: tuple[Any, ...] | None = None) -> ndarray:
    """A device array in new memory, of what `make` computes of NumPy arrays and numbers.

    While a graph is being captured nothing is known but its shape and type; `like` are arguments that tell as much.
    """
    with np.errstate(all="ignore"):
        array = fresh(make(*(arguments if like is None else like)))
    if capturing():
        values = poison(array._values)
        on_device(lambda: np.copyto(values, make(*arguments)), values, arguments)
    return array


def on_device(work: Callable[[], Any], *touched: Any, reached: Iterable[int] = ()) -> None:
    """Do work on the device: now, or, while a graph is being captured, when that is launched.

    Args:
        touched: the NumPy arrays that it reads and writes, and numbers.
        reached: addresses of others.
    """

    def quietly() -> None:
        with np.errstate(all="ignore"):
            work()

    if (capture := capturing()) is None:
        quietly()
    else:
        capture.work.append(quietly)
        begins = {byte_bounds(array)[0] for array in _arrays_in(touched) if array.size}
        capture.memory.update(map(weakref.ref, allocations_at(begins.union(reached))))


def _arrays_in(values: Any) -> Iterator[Values]:
    if isinstance(values, np.ndarray):
        yield values
    elif isinstance(values, tuple | list):
        for value in values:
            yield from _arrays_in(value)


def view(values: Values, source: ndarray) -> ndarray:
    """A device array that shares the memory of another."""
    array = object.__new__(ndarray)
    array._allocation = source._allocation
    array._values = values
    array.base = source if source.base is None else source.base
    return array


def _view_or_copy(form: Callable[[Values], Values], source: ndarray) -> ndarray:
    values = form(source._values)
    if np.may_share_memory(values, source._values):
        return view(values, source)
    counters.functions["copy"] += 1
    return made(form, source._values)


def _as_type(array: ndarray, dtype: Any) -> ndarray:
    return array if dtype is None else array.astype(dtype, copy=False)


def result(function: Callable[..., Any], *arguments: Any, out: ndarray | None = None, **options: Any) -> ndarray:
    """Run a NumPy function on bare values, as CuPy does it.

    It is silent about NaN and overflow and never gives a scalar. New results lie in C order, whatever the operands'.
    """
    counters.functions[function.__name__] += 1
    if function is np.matmul:
        if (
            capturing()
            and arguments[0].size
            and arguments[1].size
            and (arguments[0].shape[0], arguments[1].shape[-1]) != (1, 1)
        ):
            raise NotImplementedError("calling cuBLAS API during stream capture is currently unsupported")
        counters.functions["copy"] += copies_of_matmul(
            arguments[0], arguments[1], None if out is None else operand(out)
        )
    if out is None:
        return made(lambda *given: np.asarray(function(*given, **options), order="C"), *arguments)  # not the inputs'
    if not isinstance(out, ndarray):
        raise TypeError(f"out must be a device array, got {type(out)}")
    on_device(lambda: function(*arguments, out=out._values, **options), arguments, out._values)
    return out


def copies_of_matmul(a: Values, b: Values, out: Values | None) -> int:
    """The copies that CuPy makes around a matrix product.

    Two matrices go to cuBLAS as they are, transposed or not, if each lies in one piece. Of more dimensions it wants C
    order, and of float16 float32: no tensor core ever sees those.
    """
    dtype = np.result_type(a, b)
    written = out is None or out.flags.c_contiguous
    if max(a.ndim, b.ndim) <= 2:
        whole = [each.flags.c_contiguous or each.flags.f_contiguous for each in (a, b)]
        return whole.count(False) + (not (written and (out is None or out.dtype == dtype)))
    wanted = np.dtype(np.float32) if dtype == np.float16 else dtype
    fitting = [each.flags.c_contiguous and each.dtype == wanted for each in (a, b)]
    return fitting.count(False) + (not (written and wanted == (dtype if out is None else out.dtype)))


def _sum(values: Values, dtype: Any, out: Values | None = None, **options: Any) -> Any:
    """As CuPy does it: NumPy's own sum of float16 stops growing at 2048, where 2048 + 1 = 2048."""
    if values.dtype != np.float16 or dtype not in (None, np.float16):
        return np.sum(values, dtype=dtype, out=out, **options)
    total = np.sum(values, dtype=np.float32, **options).astype(np.float16)
    if out is not None:
        out[...] = total
    return total


_sum.__name__ = "sum"  # as which it is counted


# ---------------------------------------------------------------------- what may meet a device array


def operand(value: Any) -> Any:
    """The bare values of an operand of a ufunc: device arrays and numbers, nothing else."""
    if type(value) is ndarray:
        return value._values
    if isinstance(value, _NUMBERS):
        return value
    raise TypeError(f"Unsupported type {type(value)}")


def values_in(value: Any) -> Any:
    """The bare values of an argument that may also hold arrays in a list."""
    if type(value) is ndarray:
        return value._values
    if isinstance(value, np.ndarray) and value.ndim:
        raise TypeError("Unsupported type <class 'numpy.ndarray'>: a host array where a device array is needed")
    if isinstance(value, (list, tuple)):
        return [values_in(part) for part in value]
    return value


def index(key: Any) -> Any:
    """The bare values of an index; NumPy arrays and lists are copied to the device."""
    if type(key) is ndarray:
        return key._values
    if isinstance(key, tuple):
        return tuple(index(part) for part in key)
    if isinstance(key, (np.ndarray, list)):
        _count_upload("an index of the host")
    return key


def _shape_of(key: Any) -> tuple[Any]:
    """An index, in a tuple, that leads to as many elements as this one, whatever numbers are in it.

    Only the device knows how many elements a mask takes, so CuPy asks it.
    """
    parts = key if isinstance(key, tuple) else (key,)
    if any(isinstance(part, np.ndarray) and part.dtype == bool for part in parts):
        refuse_in_capture("counting what a mask takes")
    zeros = tuple(np.zeros_like(part) if isinstance(part, np.ndarray) else part for part in parts)
    return (zeros,)


def _is_the_same(values: Any, of: Values, key: Any) -> bool:
    """Whether values are themselves the view of an array that a key stands for."""
    if not isinstance(values, np.ndarray) or _is_advanced(key):
        return False
    return values.__array_interface__ == np.asarray(of[key]).__array_interface__


def _is_advanced(key: Any) -> bool:
    return any(isinstance(part, (np.ndarray, list)) for part in (key if isinstance(key, tuple) else (key,)))


# ---------------------------------------------------------------------- between host and device


def _count_read(what: str) -> None:
    counters.device_to_host += 1
    refuse_in_capture(what + ", which waits for the device")


def _count_upload(what: str) -> None:
    """A graph would copy the same pinned memory again at each launch, which is somebody else's by then."""
    counters.host_to_device += 1
    refuse_in_capture(what + ", a copy to the device")


# ---------------------------------------------------------------------- memory that nobody has written


def poison(values: Values) -> Values:
    """Fill with what nobody can take for a result."""
    values.fill(_poison_of(values.dtype))
    return values


def _poison_of(dtype: np.dtype[Any]) -> Any:
    if dtype.kind in "fc":
        return np.nan
    return True if dtype.kind == "b" else np.iinfo(dtype).max // 3


def host_copy(data: Any, dtype: Any, order: Any = "C") -> ndarray:
    """A device array with the values of host data."""
    values = np.array(data, dtype=dtype, order=order)
    _count_upload("an array made of values of the host")
    array = fresh(values)
    stream = get_current_stream()
    if stream.is_non_blocking:
        waiting = values.copy("K")
        poison(values)
        stream.enqueue(lambda: np.copyto(values, waiting))
    return array
