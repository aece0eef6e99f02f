"""What programs ask PyTorch about whatever GPU there is (`torch.accelerator`): here about the active backend."""

from __future__ import annotations

from gpunet.cuda import current_device, device_count, is_available, synchronize
from gpunet.device import device

__all__ = ["current_accelerator", "current_device_index", "device_count", "is_available", "synchronize"]

current_device_index = current_device


def current_accelerator(check_available: bool = False) -> device | None:
    """The device of the GPU, or of its stand-in; None on the NumPy backend."""
    return device("cuda") if is_available() else None
