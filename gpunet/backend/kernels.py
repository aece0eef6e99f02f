"""Launching the CUDA kernels of raw_kernels/: one wrapper for all of them, which checks what CuPy does not.

CuPy hands a kernel whatever it is given. A Python float arrives as a double where the kernel expects a float, a
transposed view is read as if it were contiguous, a missing argument is garbage. `launch` compares every argument with
the kernel's declared signature first and says what is wrong; such errors are mistakes in gpunet, never in a user's
program.

The sources are installed as the package `gpunet.raw_kernels`; the declarations are in `gpunet.backend.kernel_table`.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.resources
import math
import operator
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gpunet.backend.active import Array, active_backend, backend_of, switch, xp
from gpunet.backend.cpu_library import build_name, library
from gpunet.backend.kernel_table import KERNELS, PACK_BYTES, TEMPLATE_DTYPES, Instance, Kernel, Parameter
from gpunet.errors import ArgumentError, BackendError, DTypeError, FileError, ShapeError
from gpunet.suggestions import suggestion

if TYPE_CHECKING:
    from importlib.abc import Traversable  # moves to importlib.resources.abc with Python 3.14

__all__ = [
    "BLOCK",
    "OPTIONS",
    "Launched",
    "TableLaunch",
    "blocks_of",
    "device",
    "enabled",
    "kernel_names",
    "kernel_source",
    "kernels_in_use",
    "launch",
    "noted_launches",
    "vector_width",
]

BLOCK = 256
"""Threads of a block: BLOCK in common.cuh."""

CHUNK = 4 * BLOCK
"""Numbers of an array in a table that a block works on: CHUNK in optimizer.cu."""

OPTIONS = ("--std=c++17",)
"""What CuPy is asked to compile with, beside its own options."""

LARGEST_GRID = 2**31 - 1  # blocks along x; y and z end at 65535 and are not used

_INTEGER_LIMITS = {np.dtype(np.int32): 2**31, np.dtype(np.int64): 2**63}
_LARGEST_FLOATS = {np.dtype(each): float(np.finfo(each).max) for each in (np.float32, np.float64)}

# ----------------------------------------------------------------------------------------------------------- sources

_SHARED = "common.cuh"


def kernel_names() -> list[str]:
    """The names of the kernel files, without their ending."""
    return sorted(file.name.removesuffix(".cu") for file in _folder().iterdir() if file.name.endswith(".cu"))


def kernel_source(name: str) -> str:
    """The text of one kernel file, with the shared helpers in front, as the compiler gets it.

    Each part begins with a `#line`, so that a message of the compiler or the emulator names the file and its line.

    Raises:
        FileError: if there is no such file.
    """
    if name not in kernel_names():
        raise FileError(f"there is no kernel file {name!r}; {suggestion(name, kernel_names())}")
    return "".join(
        f'#line 1 "{file}"\n{(_folder() / file).read_text(encoding="utf-8")}\n' for file in (_SHARED, f"{name}.cu")
    )


def _folder() -> Traversable:
    try:
        return importlib.resources.files("gpunet.raw_kernels")
    except ModuleNotFoundError:  # a checkout that is not installed has the folder beside the package
        return Path(__file__).parents[2] / "raw_kernels"


# --------------------------------------------------------------------------------------------------------- launching


_turned_off = os.environ.get("GPUNET_RAW_KERNELS") == "0"  # looked at once: asking takes longer than a small pass


def device() -> str | None:
    """Whose kernels operations run on: `cpu`, `cuda`, or None where none were built or GPUNET_RAW_KERNELS was 0."""
    if _turned_off:
        return None
    if active_backend() != "numpy":
        return "cuda"
    return None if library() is None else "cpu"


def kernels_in_use() -> str:
    """For people and records: `cpu v3` and the like, `cuda`, or `none`."""
    return {"cpu": f"cpu {build_name()}", "cuda": "cuda", None: "none"}[device()]


def enabled() -> bool:
    """Whether operations run on the CUDA kernels."""
    return device() == "cuda"


def vector_width(channels: int, *arrays: Array) -> int:
    """How many channels a thread should take at once: as many as fill 16 bytes, or 1 where they do not fit.

    They fit where packs divide the channels and every array begins at a multiple of 16 bytes. The first array says how
    wide a value is.
    """
    width = PACK_BYTES // int(arrays[0].itemsize)
    fits = channels % width == 0 and all(array.data.ptr % PACK_BYTES == 0 for array in arrays)
    return width if fits else 1


def launch(kernel: Kernel, *arguments: Any, threads: int, vector: int = 1) -> None:
    """Run a kernel on at least this many threads.

    Arrays and numbers are checked against the kernel's signature; numbers become the C type that it declares. What the
    template parameters T and W stand for is read off the arrays. What depends on types and numbers alone is done at the
    first launch with them. No thread, no launch.

    Args:
        threads: how many items of work there are, one a thread; the last block is filled up.
        vector: the number of values in a pack, `vector_width`.

    Raises:
        ArgumentError: for a wrong number of arguments, or a number that is not of its parameter's type or range.
        BackendError: for an array of another backend.
        DTypeError: for an array of another type of number.
        ShapeError: for an array that is not C-contiguous.
    """
    if len(arguments) != len(kernel.parameters):
        raise ArgumentError(f"{kernel.name} takes {len(kernel.parameters)} arguments, got {len(arguments)}")
    arrays, numbers = arguments[: kernel.arrays], arguments[kernel.arrays :]
    of_backend = xp.ndarray
    for array in arrays:
        if not (isinstance(array, of_backend) and array.flags.c_contiguous):
            for parameter, each in zip(kernel.parameters, arrays, strict=False):
                _check_array(kernel, parameter, each)
    what = (kernel, active_backend(), tuple([array.dtype for array in arrays]), threads, vector, *numbers)
    if _noted is not None:
        _noted.append(Launched(Instance(kernel, _in_template(kernel, _bound(kernel, what[2])), vector), threads))
        return
    try:
        prepared = _prepare(*what)
    except TypeError:  # a number that cannot be hashed is none
        prepared = _prepare.__wrapped__(*what)
    if prepared.blocks:
        prepared.function((prepared.blocks,), (BLOCK,), arrays + prepared.numbers)


class Launched(NamedTuple):
    """A launch that was noted: what would have been compiled, and on how many threads it would have run."""

    instance: Instance
    threads: int


_noted: list[Launched] | None = None


@contextlib.contextmanager
def noted_launches() -> Iterator[list[Launched]]:
    """Let the stand-in for CuPy be the backend, and note each launch in place of running it.

    So one learns what an operation would ask of a GPU where there is no compiler. Sizes and types are those of a real
    run; the values of arrays that a kernel would have written mean nothing.
    """
    global _noted
    before, backend = _noted, xp._name
    noted: list[Launched] = []
    switch("emulated")
    _noted = noted
    try:
        yield noted
    finally:
        _noted = before
        switch(backend)


def _check_array(kernel: Kernel, parameter: Parameter, array: Any) -> None:
    if not isinstance(array, xp.ndarray):
        raise BackendError(
            f"{kernel.name}: {parameter.name} must be an array of {active_backend()}, got {_describe(array)}"
        )
    if not array.flags.c_contiguous:
        raise ShapeError(
            f"{kernel.name}: {parameter.name} must be C-contiguous, got shape {array.shape} with strides "
            f"{array.strides}; copy it with xp.ascontiguousarray"
        )


def blocks_of(size: int) -> int:
    """How many blocks work on an array of a table."""
    return -(-size // CHUNK)


class TableLaunch:
    """A kernel that takes a table of arrays, made ready to run on all of its rows, as often as wanted.

    It runs once, or where the rows are more than a table holds several times. All checks are made here and now.

    Args:
        columns: the arrays of each column of the table, all of one type, those of a row of one size; None where the
            kernel will not look. Each must be C-contiguous: views of others in the order of their memory.
        arguments: what follows the table: arrays, then numbers.
        per_block: the last of the arrays where it has a number for each block of all launches.

    Raises:
        BackendError: as `launch`.
        DTypeError: as `launch`, and where the arrays are of several types.
        ShapeError: as `launch`, and where the arrays of a row differ in size.
    """

    def __init__(
        self,
        kernel: Kernel,
        columns: Sequence[Sequence[Array] | None],
        *arguments: Any,
        per_block: Array | None = None,
    ) -> None:
        parameter = kernel.parameters[0]
        for column in columns:
            for array in column or ():
                _check_array(kernel, parameter, array)
        shared = arguments[: kernel.arrays - 1 - (per_block is not None)]
        numbers = arguments[len(shared) :]
        behind = shared if per_block is None else (*shared, per_block)
        for which, array in zip(kernel.parameters[1:], behind, strict=False):
            _check_array(kernel, which, array)
        dtypes = {array.dtype for column in columns for array in column or ()}
        if len(dtypes) > 1:
            raise DTypeError(f"{kernel.name}: {parameter.name} must be of one type, got {sorted(map(str, dtypes))}")
        self._launches = []
        begin = 0
        for table, blocks in _tables(kernel, parameter, columns):
            arrays = shared if per_block is None else (*shared, per_block[begin : begin + blocks])
            begin += blocks
            kinds = (*dtypes, *(array.dtype for array in arrays))
            prepared = _prepare(kernel, active_backend(), kinds, blocks * BLOCK, 1, *numbers)
            if blocks:
                self._launches.append((prepared.function, (blocks,), (table, *arrays, *prepared.numbers)))

    def point(self, column: int, arrays: Sequence[Array]) -> None:
        """Let a column lead to other arrays, of the same sizes and types, which lie in memory as those before."""
        begin = 0
        for _, _, (table, *_) in self._launches:
            count = int(table["count"])
            table["at"][column, :count] = [array.data.ptr for array in arrays[begin : begin + count]]
            begin += count

    def share(self, place: int, array: Array) -> None:
        """Let an argument be another array of the same type; `place` counts from the table, which is 0."""
        for number, (function, grid, arguments) in enumerate(self._launches):
            if array.dtype != arguments[place].dtype or not array.flags.c_contiguous:
                raise DTypeError(f"an argument of a TableLaunch must stay {arguments[place].dtype}, got {array.dtype}")
            self._launches[number] = function, grid, (*arguments[:place], array, *arguments[place + 1 :])

    def __call__(self) -> None:
        """Run it."""
        for function, grid, arguments in self._launches:
            function(grid, (BLOCK,), arguments)


def _tables(
    kernel: Kernel, parameter: Parameter, columns: Sequence[Sequence[Array] | None]
) -> Iterator[tuple[np.ndarray[Any, Any], int]]:
    """The rows in as many tables as they need, each with its number of blocks."""
    rows = next(column for column in columns if column is not None)
    for first in range(0, len(rows), parameter.most):
        part = slice(first, first + parameter.most)
        table = np.zeros((), parameter.table)
        sizes = [array.size for array in rows[part]]
        for k, column in enumerate(columns):
            if column is None:
                continue
            if [array.size for array in column[part]] != sizes:
                raise ShapeError(f"{kernel.name}: the arrays of a row of {parameter.name} must be of one size")
            table["at"][k, : len(sizes)] = [array.data.ptr for array in column[part]]
        ends = np.cumsum([blocks_of(size) for size in sizes])
        table["size"][: len(sizes)] = sizes
        table["first_block"][1 : len(sizes)] = ends[:-1]
        table["count"] = len(sizes)
        yield table, int(ends[-1])


class _Prepared(NamedTuple):
    function: Any
    blocks: int
    numbers: tuple[np.generic, ...]  # as the C types that the kernel declares


@functools.lru_cache(maxsize=4096, typed=True)
def _prepare(
    kernel: Kernel, backend: str, dtypes: tuple[np.dtype[Any], ...], threads: int, vector: int, *numbers: Any
) -> _Prepared:
    """What a launch needs besides its arrays: checked, and made, once for all launches with the same types and numbers.

    `typed`: 4.0 is another number than 4 and must not pass for it.
    """
    bound = _bound(kernel, dtypes)
    for parameter, dtype in zip(kernel.parameters, dtypes, strict=False):
        if dtype != parameter.dtype(bound):
            raise DTypeError(f"{kernel.name}: {parameter.name} must be {parameter.dtype(bound)}, got {dtype}")
    scalars = tuple(
        _to_scalar(kernel, parameter, number)
        for parameter, number in zip(kernel.parameters[kernel.arrays :], numbers, strict=True)
    )
    blocks = -(-threads // BLOCK)
    if not 0 <= blocks <= LARGEST_GRID:
        raise ArgumentError(f"{kernel.name}: {blocks} blocks of {BLOCK} threads, but a grid has 0 to {LARGEST_GRID}")
    return _Prepared(
        _function(backend, kernel, _in_template(kernel, bound), vector) if blocks else None, blocks, scalars
    )


def _bound(kernel: Kernel, dtypes: tuple[np.dtype[Any], ...]) -> dict[str, np.dtype[Any]]:
    """The dtype that each template parameter stands for: that of the first array declared with it."""
    bound: dict[str, np.dtype[Any]] = {}
    for parameter, dtype in zip(kernel.parameters, dtypes, strict=False):
        choices = TEMPLATE_DTYPES.get(parameter.type)
        if choices is not None and parameter.type not in bound:
            if dtype not in choices:
                listed = " or ".join(map(str, choices))
                raise DTypeError(f"{kernel.name}: {parameter.name} must be {listed}, got {dtype}")
            bound[parameter.type] = dtype
    return bound


def _in_template(kernel: Kernel, bound: dict[str, np.dtype[Any]]) -> tuple[np.dtype[Any], ...]:
    return tuple(bound[name] for name in kernel.template if name in TEMPLATE_DTYPES)


def _to_scalar(kernel: Kernel, parameter: Parameter, number: Any) -> np.generic:
    """The number as the C type that the parameter declares."""
    where = f"{kernel.name}: {parameter.name}"
    dtype = parameter.dtype({})
    if dtype in _LARGEST_FLOATS:
        if isinstance(number, bool) or not isinstance(number, int | float | np.integer | np.floating):
            raise ArgumentError(f"{where} must be a number, got {_describe(number)}")
        try:
            value = float(number)
            fits = not math.isfinite(value) or abs(value) <= _LARGEST_FLOATS[dtype]
        except OverflowError:
            fits = False
        if not fits:
            raise ArgumentError(f"{where} does not fit into {parameter.type}: {number}")
        return dtype.type(value)
    try:
        whole = operator.index(number)
    except TypeError:
        raise ArgumentError(f"{where} must be a whole number, got {_describe(number)}") from None
    limit = _INTEGER_LIMITS[dtype]
    if not -limit <= whole < limit:
        raise ArgumentError(f"{where} does not fit into {parameter.type}: {whole}")
    return dtype.type(whole)


def _describe(value: Any) -> str:
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"{type(value).__name__} of {backend_of(value)}, {value.dtype} of shape {value.shape}"
    return repr(value)


@functools.cache
def _function(backend: str, kernel: Kernel, dtypes: tuple[np.dtype[Any], ...], vector: int) -> Any:
    """The compiled kernel, ready to be called."""
    instance = Instance(kernel, dtypes, vector)
    if instance not in kernel.instances():
        raise ArgumentError(f"{kernel.name} has no instance {instance.expression}")
    return _module(backend, kernel.source, instance.dtype).get_function(instance.expression)


@functools.cache
def _module(backend: str, source: str, dtype: np.dtype[Any]) -> Any:
    """The kernels of one file for one T, compiled when the first of them is needed."""
    expressions = [
        instance.expression for kernel in KERNELS if kernel.source == source for instance in kernel.instances(dtype)
    ]
    return xp.RawModule(code=kernel_source(source), options=OPTIONS, name_expressions=expressions)
