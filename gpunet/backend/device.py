"""What can be set on a GPU: how much of its memory is used, and how precisely matrix products are computed."""

from __future__ import annotations

import numpy as np

from gpunet.backend.active import active_backend, xp
from gpunet.errors import ArgumentError, BackendError

__all__ = ["allow_tf32", "allows_tf32", "set_memory_limit"]


def set_memory_limit(size: int | None) -> None:
    """Let arrays on the GPU take at most this many bytes; None lifts the limit.

    Raises:
        ArgumentError: if the size is not a whole number of 1 or more.
        BackendError: on the numpy backend, which takes its memory from the system.
    """
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
        raise ArgumentError(f"set_memory_limit expects a number of bytes of 1 or more, or None, got {size!r}")
    if active_backend() == "numpy":
        raise BackendError("set_memory_limit works on a GPU; the numpy backend takes its memory from the system")
    xp.get_default_memory_pool().set_limit(size=size or 0)  # CuPy's word for no limit


def allow_tf32(allowed: bool = True) -> None:
    """Let matrix products of float32 round their inputs to 10 bits of mantissa (TF32), on GPUs from Ampere on.

    Several times faster, with errors of about 1e-3 instead of 1e-7. Off by default.

    Raises:
        BackendError: on another backend than cupy.
    """
    if active_backend() != "cupy":
        raise BackendError(f"allow_tf32 works on the cupy backend; active is {active_backend()}")
    linalg = xp._core._routines_linalg
    xp._core.set_compute_type(np.float32, linalg.COMPUTE_TYPE_TF32 if allowed else linalg.COMPUTE_TYPE_DEFAULT)


def allows_tf32() -> bool:
    """Whether `allow_tf32` was called, on the cupy backend; no other rounds like that."""
    if active_backend() != "cupy":
        return False
    linalg = xp._core._routines_linalg
    return bool(linalg.get_compute_type(np.dtype(np.float32)) == linalg.COMPUTE_TYPE_TF32)
