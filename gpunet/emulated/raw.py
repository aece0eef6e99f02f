"""RawKernel and RawModule: CUDA C from source text, run by the emulator.

CuPy hands a kernel whatever it is given. Where that would corrupt memory on a GPU, `KernelError` says so here.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from gpunet.emulated.array import ndarray, on_device
from gpunet.emulated.counters import counters
from gpunet.emulated.memory import allocations_at
from gpunet.emulator import ByValue, Module

__all__ = ["CUDADriverError", "RawKernel", "RawModule"]

_LARGEST_GRID = (2**31 - 1, 65535, 65535)
_LARGEST_BLOCK = (1024, 1024, 64)
_THREADS = 1024
_DYNAMIC_SHARED_BYTES = 48 * 1024


class CUDADriverError(RuntimeError):
    """The driver refuses, as CuPy says it."""


class RawModule:
    """The kernels of one source text, compiled when the first of them is needed."""

    def __init__(
        self,
        *,
        code: str,
        options: tuple[str, ...] = (),
        backend: str = "nvrtc",
        name_expressions: Any = None,
    ) -> None:
        self.code = code
        self.options = _tuple("options", options)
        self.name_expressions = tuple(name_expressions or ())

    @functools.cached_property
    def _module(self) -> Module:
        definitions = [option for option in self.options if option.startswith(("-D", "-U"))]
        return Module(self.code, self.name_expressions, definitions)

    def compile(self, log_stream: Any = None) -> None:
        """Compile now."""
        _ = self._module

    def get_function(self, name: str) -> RawKernel:
        """A kernel: by the text of its name expression, or its plain name where it is declared `extern "C"`."""
        if name not in self._module.names:
            raise CUDADriverError("CUDA_ERROR_NOT_FOUND: named symbol not found")
        return RawKernel(self.code, name, self.options, _module=self)


class RawKernel:
    """One kernel; calling it runs it on a grid."""

    def __init__(
        self,
        code: str,
        name: str,
        options: tuple[str, ...] = (),
        backend: str = "nvrtc",
        *,
        _module: RawModule | None = None,
    ) -> None:
        self.code, self.name, self.options = code, name, options
        self._of = _module if _module is not None else RawModule(code=code, options=options)

    def compile(self, log_stream: Any = None) -> None:
        """Compile now."""
        self._of.compile()

    def __call__(
        self,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        args: Any,
        *,
        shared_mem: int = 0,
    ) -> None:
        """Run the kernel with `grid` blocks of `block` threads.

        Raises:
            CUDADriverError: for a grid or block that is too large.
            KernelError: if the arguments do not fit the kernel's parameters, or the kernel breaks a rule.
        """
        blocks, threads = _three("grid", grid), _three("block", block)
        if (
            any(map(int.__gt__, blocks, _LARGEST_GRID))
            or any(map(int.__gt__, threads, _LARGEST_BLOCK))
            or threads[0] * threads[1] * threads[2] > _THREADS
            or shared_mem > _DYNAMIC_SHARED_BYTES
        ):
            raise CUDADriverError(
                f"CUDA_ERROR_INVALID_VALUE: invalid argument "
                f"(grid {blocks}, block {threads}, {shared_mem} bytes of shared memory)"
            )
        counters.launches += 1
        counters.launches_of[self.name.partition("<")[0]] += 1
        arguments = [_argument(value) for value in args]
        structs = [each for each in arguments if isinstance(each, ByValue)]
        kernel = self._of._module
        on_device(
            lambda: kernel.launch(self.name, blocks, threads, arguments, shared_mem),
            arguments,
            reached={begin for struct in structs for begin, _ in struct.reached},
        )


def _tuple(what: str, value: Any) -> Any:
    if not isinstance(value, tuple):
        raise TypeError(f"Argument '{what}' has incorrect type (expected tuple, got {type(value).__name__})")
    return value


def _three(what: str, sizes: tuple[int, ...]) -> tuple[int, int, int]:
    """Three sizes. As in CuPy a size of 0 becomes 1: the kernel runs, and its guard must hold."""
    x, y, z = (max(1, int(size)) for size in (*_tuple(what, sizes), 1, 1)[:3])
    return x, y, z


def _argument(value: Any) -> Any:
    """An argument as the emulator takes it; Python numbers become 64 bits wide, whatever the kernel expects."""
    if type(value) is ndarray:
        return value._values
    if value is None or isinstance(value, np.generic):
        return value
    if isinstance(value, np.ndarray):
        if value.size != 1:
            raise TypeError(
                f"You are trying to pass a numpy.ndarray of shape {value.shape} as a kernel parameter; "
                f"pass a device array instead"
            )
        bare = value.reshape(())[()]
        return _by_value(bare) if isinstance(bare, np.void) else bare
    if isinstance(value, bool):
        return np.bool_(value)
    if isinstance(value, int):
        return np.uint64(value) if value >= 2**63 else np.int64(value)
    if isinstance(value, float):
        return np.float64(value)
    raise TypeError(f"Unsupported type {type(value)}")


def _by_value(struct: np.void) -> ByValue:
    """A struct, with the arrays that lie where one of its words of 8 bytes points to."""
    data = struct.tobytes()
    words = np.frombuffer(data[: len(data) // 8 * 8], np.uint64)
    reached = allocations_at(set(words.tolist()))
    return ByValue(data, [(each.begin, each.nbytes) for each in reached])
