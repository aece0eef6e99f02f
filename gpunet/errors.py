"""Every exception a user of gpunet can meet.

Each message says which operation complains, what it expected, what it got and, where that is not obvious, what to do.
An error raised inside a model also says in which layer: `Module.__call__` fills `layer` in as the error passes through.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

__all__ = [
    "ArgumentError",
    "BackendError",
    "DTypeError",
    "DataError",
    "FileError",
    "GpunetError",
    "GradientError",
    "GraphError",
    "KernelError",
    "LabelError",
    "NonFiniteError",
    "OutOfMemoryError",
    "ProcessError",
    "ShapeError",
    "StateDictError",
    "UnsupportedError",
]


_Error = TypeVar("_Error", bound="GpunetError")


class GpunetError(Exception):
    """The base of all gpunet exceptions: `except GpunetError` catches every mistake that gpunet reports."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.layer = ""
        self.origin: object | None = None
        self.is_everywhere = False

    def everywhere(self: _Error) -> _Error:
        """Note that every rank raises it, so that it need be told once; see `gpunet.distributed`."""
        self.is_everywhere = True
        return self

    def __str__(self) -> str:
        return f"in layer {self.layer}: {self.message}" if self.layer else self.message


class ArgumentError(GpunetError, ValueError):
    """An argument has a value that makes no sense, such as a stride of 0."""


class ShapeError(GpunetError, ValueError):
    """An array has the wrong rank, the wrong number of channels or a size that does not fit."""


class DTypeError(GpunetError, TypeError):
    """An array has a type of number that the operation cannot work with, such as labels that are floats."""

    @classmethod
    def mixed(cls, function: str, dtypes: Mapping[str, Any]) -> DTypeError:
        """The error of a function whose Tensors, given by name, are not all of one type."""
        listed = ", ".join(f"{name} is {dtype}" for name, dtype in dtypes.items())
        return cls(f"{function}: all Tensors must hold the same type of float, but {listed}; convert with .to(dtype)")


class LabelError(GpunetError, ValueError):
    """A class label, or a target probability, is out of range."""


class GradientError(GpunetError, RuntimeError):
    """The tape cannot do what was asked, such as running backward a second time."""


class BackendError(GpunetError, RuntimeError):
    """A backend cannot be used, or arrays of two backends were mixed."""


class GraphError(GpunetError, RuntimeError):
    """A step cannot be recorded as a CUDA graph, or would not be replayed as it was recorded."""


class KernelError(GpunetError, RuntimeError):
    """A CUDA kernel does not compile, got arguments that do not fit, or broke a rule while it ran in the emulator."""


class StateDictError(GpunetError, ValueError):
    """A state_dict does not fit the model: keys are missing, unexpected or misshapen."""


class DataError(GpunetError, ValueError):
    """A dataset does not hold what it should."""


class FileError(GpunetError, OSError):
    """A file cannot be read or written, or does not hold what it should."""


class UnsupportedError(GpunetError, NotImplementedError):
    """A file asks for something that gpunet does not do, such as an operator of ONNX that it has not."""


class OutOfMemoryError(GpunetError, MemoryError):
    """An operation needs more memory than the GPU or the machine has left."""

    @classmethod
    def during(cls, operation: object, arrays: Iterable[Any]) -> OutOfMemoryError:
        """The error of an operation on these inputs, with their sizes and what to do."""
        sized = [array for array in arrays if hasattr(array, "nbytes")]
        listed = ", ".join(f"{tuple(each.shape)} {each.dtype} ({each.nbytes / 1e6:,.1f} MB)" for each in sized)
        batch = next((each.shape[0] for each in sized if each.shape), 0)
        hint = f"a batch of {batch // 2} instead of {batch} takes about half" if batch > 1 else "use smaller images"
        return cls(f"{type(operation).__name__}: out of memory on inputs {listed or 'of unknown size'}; {hint}")


class NonFiniteError(GpunetError, ArithmeticError):
    """The loss became NaN or infinite during training."""


class ProcessError(GpunetError, RuntimeError):
    """Processes cannot compute together: they are not the same, do not come, or there is no MPI between them."""
