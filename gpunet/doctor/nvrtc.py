"""Compiles kernels for GPUs that need not be there, with NVRTC from the wheel nvidia-cuda-nvrtc.

It is the compiler that CuPy uses, called with CuPy's options, so what compiles here compiles on a user's machine.
Neither a GPU nor CuPy is needed, only the shared library, which is called through ctypes.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from gpunet.backend.kernel_table import Instance
from gpunet.backend.kernels import OPTIONS, kernel_source
from gpunet.errors import BackendError, KernelError

__all__ = ["Compiled", "compile_instances", "compile_source", "find_nvrtc", "nvrtc_version"]

_CUPY_OPTIONS = ("-ftz=true", "--device-as-default-execution-space")  # what CuPy adds
_PLACES = ("*/lib/libnvrtc.so.*", "*/bin/nvrtc64_*.dll", "*/bin/*/nvrtc64_*.dll")  # below the package `nvidia`
_INSTALL = "pip install nvidia-cuda-nvrtc (or 'nvidia-cuda-nvrtc-cu12' for CUDA 12)"


class Compiled(NamedTuple):
    """One instance of a kernel as compiled for one architecture."""

    expression: str
    arch: str
    registers: int
    """Of each thread."""
    shared_bytes: int
    """Of each block."""
    spill_bytes: int
    """What did not fit into registers, written to and read from memory instead."""
    parameter_bytes: tuple[int, ...]
    """The size of each parameter."""


def find_nvrtc() -> Path | None:
    """The shared library of NVRTC among the installed packages, if there is one."""
    spec = importlib.util.find_spec("nvidia")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        for place in _PLACES:
            found = sorted(path for path in Path(folder).glob(place) if ".alt." not in path.name)
            if found:
                return found[-1]
    return None


@functools.cache
def _library() -> ctypes.CDLL:
    path = find_nvrtc()
    if path is None:
        raise BackendError(f"compiling kernels without CuPy needs NVRTC, which is not installed: {_INSTALL}")
    library = ctypes.CDLL(str(path))
    library.nvrtcGetErrorString.restype = ctypes.c_char_p
    return library


def nvrtc_version() -> tuple[int, int]:
    """The version of NVRTC, which is that of the CUDA toolkit it belongs to.

    Raises:
        BackendError: if NVRTC is not installed.
    """
    major, minor = ctypes.c_int(), ctypes.c_int()
    _library().nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    return major.value, minor.value


def compile_instances(instances: Sequence[Instance], arch: str) -> list[Compiled]:
    """Compile instances of kernels for one architecture, such as "sm_90".

    Raises:
        BackendError: if NVRTC is not installed.
        KernelError: if a kernel does not compile, or NVRTC does not know the architecture.
    """
    by_source: dict[str, list[str]] = {}
    for instance in instances:
        by_source.setdefault(instance.kernel.source, []).append(instance.expression)
    return [
        compiled
        for source, expressions in by_source.items()
        for compiled in compile_source(kernel_source(source), expressions, arch)
    ]


def compile_source(source: str, expressions: Sequence[str], arch: str) -> list[Compiled]:
    """Compile the named instances of the kernels in a source text for one architecture.

    Raises:
        BackendError: if NVRTC is not installed.
        KernelError: if the text does not compile, or NVRTC does not know the architecture.
    """
    library = _library()
    program = ctypes.c_void_p()
    _check(library.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernels.cu", 0, None, None))
    try:
        for expression in expressions:
            _check(library.nvrtcAddNameExpression(program, expression.encode()))
        options = [each.encode() for each in (*OPTIONS, *_CUPY_OPTIONS, f"-arch={arch}", "--ptxas-options=-v")]
        status = library.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
        log = _text(program, "ProgramLog")
        _check(status, log)
        ptx = _text(program, "PTX")
        return [_read(expression, arch, _lowered(program, expression), log, ptx) for expression in expressions]
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def _read(expression: str, arch: str, name: str, log: str, ptx: str) -> Compiled:
    """What the compiler says about the kernel of this (mangled) name."""
    report = re.search(rf"entry function '{name}'.*?\n(.*?Used .*?)\n", log, re.DOTALL)
    declared = re.search(rf"\.entry {name}\((.*?)\)", ptx, re.DOTALL)
    if report is None or declared is None:
        raise KernelError(f"NVRTC {nvrtc_version()} does not report on {expression} for {arch}:\n{log}")

    def number(pattern: str) -> int:
        return sum(map(int, re.findall(pattern, report[1])))

    parameters = re.findall(r"\.param (?:\.align \d+ )?\.[busf](\d+)[^\[,)]*(?:\[(\d+)\])?", declared[1])
    return Compiled(
        expression,
        arch,
        number(r"Used (\d+) registers"),
        number(r"(\d+) bytes smem"),
        number(r"(\d+) bytes spill"),  # stores and loads
        tuple(int(bits) // 8 * int(count or 1) for bits, count in parameters),
    )


def _text(program: ctypes.c_void_p, what: str) -> str:
    size = ctypes.c_size_t()
    _check(getattr(_library(), f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
    buffer = ctypes.create_string_buffer(size.value)
    _check(getattr(_library(), f"nvrtcGet{what}")(program, buffer))
    return buffer.value.decode(errors="replace")


def _lowered(program: ctypes.c_void_p, expression: str) -> str:
    name = ctypes.c_char_p()
    _check(_library().nvrtcGetLoweredName(program, expression.encode(), ctypes.byref(name)))
    return (name.value or b"").decode()


def _check(status: int, log: str = "") -> None:
    if status != 0:
        raise KernelError(f"NVRTC: {_library().nvrtcGetErrorString(status).decode()}\n{log}".rstrip())
