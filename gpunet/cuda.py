"""What programs ask PyTorch about the GPU (`torch.cuda`): here about the active backend."""

from __future__ import annotations

from typing import Any

from gpunet.amp import GradScaler, autocast
from gpunet.backend import active_backend, manual_seed, xp
from gpunet.device import check_device

__all__ = [
    "GradScaler",
    "autocast",
    "current_device",
    "device_count",
    "empty_cache",
    "is_available",
    "manual_seed",
    "manual_seed_all",
    "set_device",
    "synchronize",
]

manual_seed_all = manual_seed


def is_available() -> bool:
    """Whether the active backend computes on a GPU, or its stand-in."""
    return active_backend() != "numpy"


def device_count() -> int:
    """1 where there is a GPU: one process uses one."""
    return int(is_available())


def current_device() -> int:
    """0."""
    return 0


def set_device(device: Any) -> None:
    """Make sure that this device is the one that is used.

    Raises:
        BackendError: if it is not.
    """
    check_device(device, "set_device")


def synchronize(device: Any = None) -> None:
    """Wait until the GPU has done all that it was told."""
    if is_available():
        xp.cuda.Stream.null.synchronize()


def empty_cache() -> None:
    """Give back the memory of the GPU that is kept for later use."""
    if active_backend() == "cupy":
        xp.get_default_memory_pool().free_all_blocks()
