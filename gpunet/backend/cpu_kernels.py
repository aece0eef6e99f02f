"""Launching the CPU kernels of raw_kernels/cpu/: one wrapper for all of them, which checks what C++ does not.

A kernel gets addresses. Handed a transposed view, an array of float64 or one that is too short, it would read and
write whatever lies there. `launch` compares every argument with the kernel's declared signature first; its errors are
mistakes in gpunet, never in a user's program. It alone touches addresses, and it holds the arrays until the kernel has
returned.
"""

from __future__ import annotations

import ctypes
import functools
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunet.backend.cpu_library import library
from gpunet.backend.tiles import get_num_threads, on_threads
from gpunet.errors import ArgumentError, BackendError, DTypeError, ShapeError

__all__ = ["CpuKernel", "launch"]

_DTYPES: dict[str, np.dtype[Any]] = {
    "float": np.dtype(np.float32),
    "double": np.dtype(np.float64),
    "int": np.dtype(np.int32),
    "i64": np.dtype(np.int64),
    "unsigned char": np.dtype(np.uint8),
}
LEAST_WORK = 1 << 16  # multiply-adds, or numbers moved, that are worth handing to another thread
PARTS = 4  # of the work of each thread: one that is held up leaves the rest to the others


@dataclass(frozen=True)
class CpuKernel:
    """A kernel as its source declares it: its name for Python, and the fields of its struct.

    Args:
        signature: `const float* x, float* y, i64 rows`: pointers first, then whole numbers. A pointer that is not const
            is written to. An array may be None where the pointer may be null: `const float*? bias`.
    """

    name: str
    signature: str

    @functools.cached_property
    def arrays(self) -> list[tuple[str, np.dtype[Any], bool, bool]]:
        """For each pointer its name, dtype, whether it is written to, and whether it may be null."""
        return [_pointer(field) for field in self._fields if "*" in field]

    @functools.cached_property
    def numbers(self) -> list[str]:
        """The names of the whole numbers."""
        return [field.split()[1] for field in self._fields if "*" not in field]

    @property
    def _fields(self) -> list[str]:
        return [field.strip() for field in self.signature.split(",")]

    @functools.cached_property
    def pack(self) -> Callable[..., bytes]:
        """The struct of addresses and numbers, as C++ sees it."""
        return struct.Struct(f"{len(self.arrays)}Q{len(self.numbers)}q").pack

    @functools.cached_property
    def function(self) -> Any:
        """The entry in the library."""
        opened = library()
        if opened is None:
            raise BackendError(f"{self.name}: there are no CPU kernels here")
        function = getattr(opened, self.name)
        function.argtypes, function.restype = (ctypes.c_char_p, ctypes.c_longlong, ctypes.c_longlong), None
        return function


def _pointer(field: str) -> tuple[str, np.dtype[Any], bool, bool]:
    kind, name = field.rsplit(maxsplit=1)
    dtype = _DTYPES[kind.removeprefix("const ").rstrip("*? ")]
    return name, dtype, not kind.startswith("const "), kind.endswith("?")


def launch(kernel: CpuKernel, *arguments: Any, items: int, work: int) -> None:
    """Run a kernel on all its items, on several threads where the work is worth it.

    Args:
        items: how many items the kernel's work has; which, its source says.
        work: roughly how many multiply-adds or moved numbers all of it takes.

    Raises:
        ArgumentError: for a wrong number of arguments, something else than a whole number, or arrays that overlap.
        DTypeError: for an array of another type of number.
        ShapeError: for an array that is not C-contiguous, or read-only where it is written to.
    """
    arrays = arguments[: len(kernel.arrays)]
    if len(arguments) != len(kernel.arrays) + len(kernel.numbers):
        raise ArgumentError(f"{kernel.name} takes {kernel.signature}; got {len(arguments)} arguments")
    addresses = [
        0 if array is None and nullable else _address(kernel, array, name, dtype, written)
        for array, (name, dtype, written, nullable) in zip(arrays, kernel.arrays, strict=True)
    ]
    _check_overlap(kernel, arrays, addresses)
    try:
        packed = kernel.pack(*addresses, *arguments[len(arrays) :])
    except struct.error as error:
        numbers = dict(zip(kernel.numbers, arguments[len(arrays) :], strict=True))
        raise ArgumentError(f"{kernel.name} expects whole numbers, got {numbers}") from error
    threads = get_num_threads()
    if threads == 1 or work < 2 * LEAST_WORK or items < 2:
        kernel.function(packed, 0, items)
        return
    parts = min(items, threads * PARTS, work // LEAST_WORK)
    bounds = [items * part // parts for part in range(parts + 1)]
    on_threads(lambda part: kernel.function(packed, bounds[part], bounds[part + 1]), range(parts))


def _address(kernel: CpuKernel, array: Any, name: str, dtype: np.dtype[Any], written: bool) -> int:
    if type(array) is not np.ndarray or array.dtype is not dtype:
        got = f"{array.dtype}" if isinstance(array, np.ndarray) else type(array).__name__
        if got != str(dtype):
            raise DTypeError(f"{kernel.name}: {name} must be an array of {dtype}, got {got}")
    flags = array.flags
    if not flags.c_contiguous:
        raise ShapeError(
            f"{kernel.name}: {name} must be C-contiguous, got shape {array.shape}, strides {array.strides}"
        )
    if written and not flags.writeable:
        raise ShapeError(f"{kernel.name}: {name} is written to, got a read-only array")
    return int(array.ctypes.data)


def _check_overlap(kernel: CpuKernel, arrays: tuple[Any, ...], addresses: list[int]) -> None:
    """What is written to must not overlap with anything else."""
    for out, (name, _, written, _) in enumerate(kernel.arrays):
        if not written or not addresses[out]:
            continue
        start = addresses[out]
        end = start + arrays[out].nbytes
        for other, address in enumerate(addresses):
            if other != out and address and address < end and start < address + arrays[other].nbytes:
                raise ArgumentError(f"{kernel.name}: {name} overlaps with {kernel.arrays[other][0]}")
