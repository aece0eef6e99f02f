"""What programs set for the libraries that PyTorch calls (`torch.backends`), and for products of matrices.

gpunet calls no cuDNN: what is set for it can be read again, and is a matter of speed alone.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from gpunet.arguments import flag, number_type
from gpunet.backend import active_backend, allow_tf32, allows_tf32
from gpunet.errors import ArgumentError
from gpunet.functional.checks import check_choice

__all__ = ["cuda", "cudnn", "get_default_dtype", "mps", "set_default_dtype", "set_float32_matmul_precision"]


class _Library(SimpleNamespace):
    """Settings of a library that is not called."""

    def __setattr__(self, name: str, value: object) -> None:
        if name not in vars(self):
            raise AttributeError(f"there is no such setting: {name!r}")
        super().__setattr__(name, value)

    def is_available(self) -> bool:
        """False: it is not called."""
        return False


class _Products:
    """How products of float32 matrices are computed on a GPU; see `gpunet.backend.allow_tf32`."""

    __slots__ = ()

    @property
    def allow_tf32(self) -> bool:
        """Whether they may round their inputs; elsewhere they never do."""
        return allows_tf32()

    @allow_tf32.setter
    def allow_tf32(self, allowed: bool) -> None:
        if flag(allowed, "allow_tf32") != allows_tf32() and active_backend() == "cupy":
            allow_tf32(allowed)


cudnn = _Library(enabled=False, benchmark=False, deterministic=False, allow_tf32=False)
mps = _Library()
cuda = SimpleNamespace(matmul=_Products())


def set_float32_matmul_precision(precision: str) -> None:
    """Let products of float32 matrices be rougher, "high" or "medium", or not, "highest".

    On the cupy backend that is `gpunet.backend.allow_tf32`; elsewhere they are always of the highest precision.

    Raises:
        ArgumentError: for another word.
    """
    check_choice(precision, ("highest", "high", "medium"), "precision", "set_float32_matmul_precision")
    cuda.matmul.allow_tf32 = precision != "highest"


def get_default_dtype() -> Any:
    """The type of number that floats of Python become: float32."""
    return number_type("float32")


def set_default_dtype(d: Any) -> None:
    """Make sure that float32 is meant.

    Raises:
        ArgumentError: if it is another type: each Tensor and each layer is told its own.
    """
    if number_type(d) != get_default_dtype():
        raise ArgumentError(
            f"floats of Python become float32, not {number_type(d)}: write tensor(..., dtype=...) and module.to(...)"
        )
