"""A compiled kernel file: its kernels, their parameters, and the launch."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import math
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gpunet.emulator.compiler import Flavour, build, default_flavour, shows_accesses
from gpunet.emulator.source import kernel_names, translation_unit
from gpunet.emulator.traffic import RECORDED, Traffic, measure
from gpunet.errors import ArgumentError, BackendError, KernelError

__all__ = ["ByValue", "Module", "Parameter", "record_traffic", "thread_order"]

_THREADS = 1024  # that a block can have
_ORDERS = ("forward", "backward", "shuffled")


class Parameter(NamedTuple):
    """One parameter of a kernel; `code` names its type as NumPy does, "f" for float and so on; "V" is a struct."""

    code: str
    pointer: bool
    const: bool
    size: int = 0  # of a struct, in bytes

    def __str__(self) -> str:
        size = f" of {self.size} bytes" if self.size else ""
        return f"{'const ' * self.const}{_C_NAMES[self.code]}{size}{'*' * self.pointer}"


_C_NAMES = {
    "?": "bool",
    "b": "signed char",
    "B": "unsigned char",
    "h": "short",
    "H": "unsigned short",
    "i": "int",
    "I": "unsigned int",
    "q": "long long",
    "Q": "unsigned long long",
    "e": "half",
    "f": "float",
    "d": "double",
    "V": "struct",
}


class ByValue(NamedTuple):
    """An argument that is a struct, and the memory that addresses in it lead to."""

    data: bytes
    reached: Sequence[tuple[int, int]]
    """Where each piece begins, and its bytes."""

    def tobytes(self) -> bytes:
        """What the kernel gets."""
        return self.data


class _Argument(ctypes.Structure):
    _fields_ = (("begin", ctypes.c_void_p), ("bytes", ctypes.c_size_t))


_Sizes = ctypes.c_uint * 3


@functools.cache
def _argument_list(length: int) -> type[ctypes.Array[_Argument]]:
    """The type of a list of arguments, kept: a class that is made anew for each launch is garbage in a cycle."""
    return _Argument * length


class _Launch(ctypes.Structure):  # as in engine.h
    _fields_ = (
        ("kernel", ctypes.c_void_p),
        ("values", ctypes.c_void_p),
        ("arguments", ctypes.POINTER(_Argument)),
        ("argument_count", ctypes.c_size_t),
        ("grid", _Sizes),
        ("block", _Sizes),
        ("dynamic_shared_bytes", ctypes.c_size_t),
        ("order", ctypes.c_int),
        ("seed", ctypes.c_uint),
        ("recording", ctypes.c_bool),
    )


class _Fault(ctypes.Structure):  # as in engine.h
    _fields_ = (
        ("what", ctypes.c_char * 1024),
        ("file", ctypes.c_char_p),
        ("line", ctypes.c_int),
        ("instruction", ctypes.c_void_p),
    )


class _Order:
    name, seed = "forward", 0


@contextlib.contextmanager
def thread_order(name: str, seed: int = 0) -> Iterator[None]:
    """Run blocks, and the threads of each, in another order inside this block: a right kernel does not care.

    Args:
        name: "forward", "backward", or "shuffled", anew after each barrier, by the seed.

    Raises:
        ArgumentError: for another name.
    """
    if name not in _ORDERS:
        raise ArgumentError(f"thread_order expects one of {', '.join(_ORDERS)}, got {name!r}")
    before = _Order.name, _Order.seed
    _Order.name, _Order.seed = name, seed
    try:
        yield
    finally:
        _Order.name, _Order.seed = before


class _Record:
    of: list[Traffic] | None = None


@contextlib.contextmanager
def record_traffic() -> Iterator[list[Traffic]]:
    """Count what each launch inside this block asks of memory; the list grows with them.

    Arrays are taken to begin where fresh memory of CuPy's does. A launch keeps 32 bytes for each access of each thread.
    """
    before, _Record.of = _Record.of, []
    try:
        yield _Record.of
    finally:
        _Record.of = before


class Module:
    """The kernels of one source text, ready to run on the CPU.

    Args:
        source: CUDA C.
        name_expressions: template instances to compile, such as "pool<float>"; kernels that are declared `extern "C"`
            are there without.
        options: options for the compiler, such as "-DWIDTH=4".
        flavour: how to build and run; by default what GPUNET_EMULATOR says, or CHECKED.

    Attributes:
        names: the kernels.

    Raises:
        BackendError: if there is no C++ compiler, or GPUNET_EMULATOR names no flavour.
        KernelError: if the source does not compile.
    """

    _one_at_a_time = threading.Lock()  # the engine of a library has one state

    def __init__(
        self,
        source: str,
        name_expressions: Sequence[str] = (),
        options: Sequence[str] = (),
        flavour: Flavour | None = None,
    ) -> None:
        self.names = list(dict.fromkeys([*name_expressions, *kernel_names(source)]))
        if not self.names:
            raise KernelError('the source has no kernel: none is declared extern "C", and no name expression was given')
        self.text = translation_unit(source, self.names)
        self.options = tuple(options)
        self._flavour = flavour if flavour is not None else default_flavour()
        self.path = build(self.text, options, self._flavour)
        self._library = ctypes.CDLL(str(self.path))
        self._run = self._library.gpunet_launch
        self._run.argtypes = [ctypes.POINTER(_Launch)]
        self._run.restype = ctypes.POINTER(_Fault)
        self._library.gpunet_recorded.restype = ctypes.c_void_p
        table = ctypes.c_void_p * len(self.names)
        self._kernels = dict(zip(self.names, table.in_dll(self._library, "gpunet_kernels"), strict=True))
        describe = table.in_dll(self._library, "gpunet_describe")
        self._parameters = {name: _parameters(address) for name, address in zip(self.names, describe, strict=True)}

    def signature(self, name: str) -> tuple[Parameter, ...]:
        """The parameters of a kernel.

        Raises:
            KernelError: if there is no such kernel.
        """
        if name not in self._parameters:
            raise KernelError(f"there is no kernel {name!r}; compiled were {', '.join(self.names)}")
        return self._parameters[name]

    def check(self, name: str, arguments: Sequence[Any]) -> tuple[Parameter, ...]:
        """Make sure that arguments fit a kernel; returns its parameters.

        Raises:
            KernelError: if they do not, or there is no such kernel.
        """
        parameters = self.signature(name)
        _check_arguments(name, parameters, arguments)
        return parameters

    def launch(
        self,
        name: str,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        arguments: Sequence[Any],
        shared_mem: int = 0,
    ) -> None:
        """Run a kernel on the whole grid.

        Args:
            arguments: a contiguous NumPy array for each pointer, None for a null pointer, a NumPy scalar for each other
                parameter; types must be exactly those of the signature.
            shared_mem: bytes of dynamic shared memory.

        Raises:
            KernelError: if the arguments do not fit, or the kernel breaks a rule while it runs: reads or writes out of
                bounds, reads shared memory that nobody has written, meets at a barrier without all its threads, ...
        """
        parameters = self.check(name, arguments)
        if min(grid) < 1 or min(block) < 1 or math.prod(block) > _THREADS:
            raise KernelError(
                f"kernel {name}: expected at least one block of 1 to {_THREADS} threads, got {grid}, {block}"
            )
        count = len(arguments)
        values = np.zeros((max(1, count), 2), np.uint64)  # 16 bytes for each value
        reached = [
            (i, *piece) for i, each in enumerate(arguments) if isinstance(each, ByValue) for piece in each.reached
        ]
        known = _argument_list(max(1, count + len(reached)))()
        known[count : count + len(reached)] = [_Argument(begin, nbytes) for _, begin, nbytes in reached]
        places = values.ctypes.data + 16 * np.arange(max(1, count), dtype=np.uint64)
        structs = []  # kept while the kernel runs
        for i, (parameter, argument) in enumerate(zip(parameters, arguments, strict=True)):
            if argument is None:
                continue
            if parameter.pointer:
                values[i, 0] = argument.ctypes.data
                known[i] = _Argument(argument.ctypes.data, argument.nbytes)
            elif isinstance(argument, ByValue):
                structs.append(np.frombuffer(argument.data, np.uint8).copy())
                places[i] = structs[-1].ctypes.data
            else:
                bits = np.frombuffer(argument.tobytes(), np.uint8)
                values[i].view(np.uint8)[: bits.size] = bits
        launch = _Launch(
            self._kernels[name],
            places.ctypes.data,
            known,
            count + len(reached),
            _Sizes(*grid),
            _Sizes(*block),
            shared_mem,
            _ORDERS.index(_Order.name),
            _Order.seed,
            _Record.of is not None,
        )
        with self._one_at_a_time:
            fault = self._run(ctypes.byref(launch))
            if fault:
                raise KernelError(f"kernel {name}, {self._place(fault.contents)}: {fault.contents.what.decode()}")
            if _Record.of is not None:
                tables = {count + place: i for place, (i, *_) in enumerate(reached)}
                _Record.of.append(measure(name, math.prod(grid), math.prod(block), self._recorded(), tables))

    def _recorded(self) -> np.ndarray[Any, Any]:
        """The accesses of the last launch."""
        if not shows_accesses(self._flavour):
            raise BackendError(
                "counting what a kernel asks of memory takes g++ (GPUNET_CXX), and no sanitizer (GPUNET_EMULATOR)"
            )
        count = ctypes.c_size_t()
        first = self._library.gpunet_recorded(ctypes.byref(count))
        return np.frombuffer(ctypes.string_at(first, count.value * RECORDED.itemsize), RECORDED)

    def _place(self, fault: _Fault) -> str:
        if fault.file:
            return f"{fault.file.decode()}:{fault.line}"
        return _source_line(self.path, fault.instruction - self._load_address())

    def _load_address(self) -> int:
        """Where the library lies in memory."""
        symbol = ctypes.cast(self._library.gpunet_launch, ctypes.c_void_p).value or 0
        info = _DlInfo()
        ctypes.CDLL(None).dladdr(ctypes.c_void_p(symbol), ctypes.byref(info))
        return info.base or 0


class _DlInfo(ctypes.Structure):  # as in dlfcn.h
    _fields_ = (
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    )


def _source_line(library: Path, address: int) -> str:
    """File and line of the instruction before an address, which is where a call returns to.

    If that is in a function which was compiled into another, such as a shared helper, those of the caller follow.
    """
    tool = shutil.which("addr2line") or shutil.which("llvm-addr2line")
    if tool is None:
        return "line unknown (addr2line, of the package binutils, would tell)"
    command = [tool, "-i", "-e", str(library), hex(address - 1)]
    found = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    places = re.findall(r"^(?:.*/)?(.*\.cuh?:\d+)", found, re.MULTILINE)  # and none in the emulator
    return ", called from ".join(places) or "line unknown"


def _parameters(describe: int) -> tuple[Parameter, ...]:
    text = ctypes.create_string_buffer(4096)
    ctypes.CFUNCTYPE(None, ctypes.c_char_p)(describe)(text)
    found = []
    for word in text.value.decode().split(",")[:-1]:
        code, size, pointer = re.fullmatch(r"(?:const )?(.)(\d*)(\*?)", word).groups()  # type: ignore[union-attr]
        found.append(Parameter(code, bool(pointer), word.startswith("const "), int(size or 0)))
    return tuple(found)


def _check_arguments(name: str, parameters: tuple[Parameter, ...], arguments: Sequence[Any]) -> None:
    if len(arguments) != len(parameters):
        raise KernelError(
            f"kernel {name} has {len(parameters)} parameters ({', '.join(map(str, parameters))}), "
            f"got {len(arguments)} arguments"
        )
    for i, (parameter, argument) in enumerate(zip(parameters, arguments, strict=True)):
        what = f"kernel {name}: argument {i} is declared as {parameter}, got"
        if parameter.pointer:
            if argument is None:
                continue
            if not isinstance(argument, np.ndarray):
                raise KernelError(f"{what} {type(argument).__name__} instead of an array")
            if parameter.code not in ("V", argument.dtype.char) and not _same_integer(parameter.code, argument.dtype):
                raise KernelError(f"{what} an array of {argument.dtype}")
            if not argument.flags.c_contiguous:
                raise KernelError(
                    f"{what} an array that is not contiguous (shape {argument.shape}, strides {argument.strides}); "
                    f"a kernel does not see strides"
                )
        elif parameter.code == "V" or isinstance(argument, ByValue):
            size = len(argument.data) if isinstance(argument, ByValue) else None
            if parameter.code != "V" or size != parameter.size:
                raise KernelError(f"{what} {type(argument).__name__ if size is None else f'a struct of {size} bytes'}")
        elif not isinstance(argument, np.generic):
            raise KernelError(f"{what} {type(argument).__name__} instead of a NumPy scalar")
        elif parameter.code != argument.dtype.char and not _same_integer(parameter.code, argument.dtype):
            raise KernelError(f"{what} {argument.dtype}")


def _same_integer(code: str, dtype: np.dtype[Any]) -> bool:
    """NumPy may have several letters for one type: "l" and "q" are both 64 bits on Linux."""
    return dtype.kind in "iu" and code in "bBhHiIqQ" and np.dtype(code) == dtype
