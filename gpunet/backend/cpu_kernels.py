"""Launching the CPU kernels of raw_kernels/cpu/: one wrapper for all of them, which checks what C++ does not.

    RELU = CpuKernel("relu_forward", "const float* x, float* y")     its fields, as the source declares them
    prepared = RELU.prepare(items=x.size, work=MOVED * x.size)       all but the arrays; a launcher keeps it for a shape
    launch(prepared, x, y)

A kernel gets addresses. Handed a transposed view, an array of float64 or one that is too short, it would read and
write whatever lies there. `launch` compares every argument with the kernel's declared signature first; its errors are
mistakes in gpunet, never in a user's program. It alone touches addresses, and it holds the arrays until the kernel has
returned.
"""

from __future__ import annotations

import ctypes
import functools
import struct
from typing import Any, NamedTuple

import numpy as np

from gpunet.backend.cpu_library import library
from gpunet.backend.tiles import get_num_threads
from gpunet.errors import ArgumentError, BackendError, DTypeError, ShapeError

__all__ = ["KERNELS", "LEAST_WORK", "MOVED", "CpuKernel", "Launch", "launch"]

_DTYPES: dict[str, np.dtype[Any]] = {
    "float": np.dtype(np.float32),
    "double": np.dtype(np.float64),
    "int": np.dtype(np.int32),
    "i64": np.dtype(np.int64),
    "unsigned char": np.dtype(np.uint8),
}
LEAST_WORK = 1 << 19  # multiply-adds that are worth being a part of their own: some 20 us
MOVED = 8  # multiply-adds that a number read from memory, or written, takes as long as
PARTS = 8  # of the work of each thread: one that is held up leaves the rest to the others


KERNELS: dict[str, CpuKernel] = {}
"""Every kernel that a launcher has declared, by its name."""


class CpuKernel:
    """A kernel as its source declares it: its name for Python, and the fields of its struct.

    Args:
        signature: `const float* x, float* y, i64 rows, double eps`: pointers first, then numbers. A pointer that is not
            const is written to. An array may be None where the pointer may be null: `const float*? bias`.

    Attributes:
        pointers: for each pointer its name, dtype, whether it is written to, and whether it may be null.
        wanted: what `launch` looks at: the same but for the name, and the size of a number.
        pack_addresses: makes the beginning of the struct that C++ sees. Every field has 8 bytes.
        pack_numbers: makes the rest of it.
    """

    def __init__(self, name: str, signature: str) -> None:
        self.name, self.signature = name, signature
        fields = [field.strip() for field in signature.split(",")]
        self.pointers = [_pointer(field) for field in fields if "*" in field]
        self.wanted = [
            (dtype, dtype.itemsize, written, may_be_null) for _, dtype, written, may_be_null in self.pointers
        ]
        kinds = "".join("d" if field.startswith("double") else "q" for field in fields if "*" not in field)
        self.pack_addresses = struct.Struct(f"{len(self.pointers)}Q").pack
        self.pack_numbers = struct.Struct(kinds).pack
        self._address: int | None = None
        KERNELS.setdefault(name, self)

    def prepare(self, *numbers: Any, items: int, work: int) -> Launch:
        """All of a launch but its arrays.

        Args:
            items: how many items the kernel's work has; which, its source says.
            work: roughly how many multiply-adds all of it takes; a number that is only moved counts as `MOVED`.

        Raises:
            ArgumentError: for a wrong number of numbers, or one that is none or not whole.
        """
        try:
            return Launch(self, self.pack_numbers(*numbers), items, work)
        except struct.error as error:
            raise ArgumentError(f"{self.name} takes {self.signature}; got the numbers {numbers}") from error

    def address(self) -> int:
        """Where the kernel lies in the library, looked up at the first launch.

        Raises:
            BackendError: if there are no CPU kernels.
        """
        if self._address is None:
            self._address = ctypes.cast(_entry(self.name), ctypes.c_void_p).value or 0
        return self._address


class Launch(NamedTuple):
    """All of a launch but its arrays; see `CpuKernel.prepare`."""

    kernel: CpuKernel
    numbers: bytes
    items: int
    work: int


def _entry(name: str) -> Any:
    opened = library()
    if opened is None:
        raise BackendError(f"{name}: there are no CPU kernels here")
    return getattr(opened, name)


@functools.cache
def _run_on_threads() -> Any:
    """The function of raw_kernels/cpu/threads.h that calls a kernel."""
    function = _entry("run_on_threads")
    function.argtypes, function.restype = (ctypes.c_void_p, ctypes.c_char_p, *[ctypes.c_longlong] * 3), None
    return function


def _pointer(field: str) -> tuple[str, np.dtype[Any], bool, bool]:
    kind, name = field.rsplit(maxsplit=1)
    dtype: np.dtype[Any] = _DTYPES[kind.removeprefix("const ").rstrip("*? ")]
    return name, dtype, not kind.startswith("const "), kind.endswith("?")


def launch(prepared: Launch, *arrays: Any) -> None:
    """Run a kernel on all its items, on several threads where the work is worth it.

    Raises:
        ArgumentError: for a wrong number of arrays, or arrays that overlap.
        DTypeError: for an array of another type of number.
        ShapeError: for an array that is not C-contiguous or not aligned, or read-only where it is written to.
    """
    kernel, numbers, items, work = prepared
    if len(arrays) != len(kernel.wanted):
        raise ArgumentError(f"{kernel.name} takes {kernel.signature}; got {len(arrays)} arrays")
    addresses = []
    spans = []  # where each array begins and ends
    outs = []  # of those that are written to
    for array, (dtype, size, is_written, may_be_null) in zip(arrays, kernel.wanted):  # noqa: B905  (takes time)
        if array is None and may_be_null:
            addresses.append(0)
            continue
        try:
            address = _address_of(_memory_of(array))  # of what is contiguous and can be written to
            fits = array.dtype is dtype
        except (AttributeError, TypeError, ValueError):
            fits = False
        if not fits:
            address = _address_of_other(kernel, array, len(addresses))
        if address % size:
            name = kernel.pointers[len(addresses)][0]
            raise ShapeError(f"{kernel.name}: {name} must begin at a multiple of the size of its numbers")
        span = address, address + array.nbytes
        addresses.append(address)
        spans.append(span)
        if is_written:
            outs.append(span)
    for start, end in outs:
        met = 0
        for first, last in spans:
            if first < end and start < last:
                met += 1
        if met > 1:  # more than itself
            raise _overlap(kernel, arrays)
    threads = get_num_threads()
    parts = min(items, threads * PARTS, work // LEAST_WORK)
    _run_on_threads()(kernel.address(), kernel.pack_addresses(*addresses) + numbers, items, parts, threads)


# An array's own `ctypes.data` takes 2 us. This asks for the same memory through the buffer protocol, in 0.3 us.
_memory_of = ctypes.c_char.from_buffer
_address_of = ctypes.addressof


def _address_of_other(kernel: CpuKernel, array: Any, place: int) -> int:
    """The address of an array that may only be read, or is empty; of anything else the error."""
    name, dtype, written, _ = kernel.pointers[place]
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        got = f"{array.dtype}" if isinstance(array, np.ndarray) else type(array).__name__
        raise DTypeError(f"{kernel.name}: {name} must be an array of {dtype}, got {got}")
    if not array.flags.c_contiguous:
        raise ShapeError(
            f"{kernel.name}: {name} must be C-contiguous, got shape {array.shape}, strides {array.strides}"
        )
    if written and not array.flags.writeable:
        raise ShapeError(f"{kernel.name}: {name} is written to, got a read-only array")
    return int(array.ctypes.data)


def _overlap(kernel: CpuKernel, arrays: tuple[Any, ...]) -> ArgumentError:
    """The error that says which array lies where the kernel writes another."""
    named = [(name, written, array) for (name, _, written, _), array in zip(kernel.pointers, arrays, strict=True)]
    out, other = next(
        (out, other)
        for out, is_written, memory in named
        for other, _, its_memory in named
        if is_written and other != out and its_memory is not None and np.may_share_memory(memory, its_memory)
    )
    return ArgumentError(f"{kernel.name}: {out} overlaps with {other}")
