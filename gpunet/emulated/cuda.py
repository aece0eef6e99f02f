"""What stands for `cupy.cuda`: device, streams, memory."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from gpunet.emulated.memory import (
    MemoryPool,
    OutOfMemoryError,
    PinnedMemoryPointer,
    alloc_pinned_memory,
    pool,
    using_allocator,
)
from gpunet.emulated.raw import CUDADriverError
from gpunet.emulated.streams import CUDARuntimeError, Event, Graph, Stream, get_current_stream, synchronize_all

__all__ = [
    "Device",
    "Event",
    "Graph",
    "MemoryPool",
    "PinnedMemoryPointer",
    "Stream",
    "alloc_pinned_memory",
    "device",
    "driver",
    "get_current_stream",
    "memory",
    "runtime",
    "using_allocator",
]


class Device:
    """The one device there is."""

    compute_capability = "80"

    def __init__(self, device: int = 0) -> None:
        self.id = device

    def synchronize(self) -> None:
        """Wait until everything that was queued is done."""
        synchronize_all()

    @property
    def mem_info(self) -> tuple[int, int]:
        """Bytes that are free and bytes that there are."""
        return runtime.memGetInfo()

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *error: Any) -> None:
        pass


def _memory_info() -> tuple[int, int]:
    return pool.device_bytes - pool.used_bytes(), pool.device_bytes


device = SimpleNamespace(get_cublas_handle=lambda: 1)
driver = SimpleNamespace(CUDADriverError=CUDADriverError)
memory = SimpleNamespace(MemoryPool=MemoryPool, OutOfMemoryError=OutOfMemoryError)
runtime = SimpleNamespace(
    CUDARuntimeError=CUDARuntimeError,
    deviceSynchronize=synchronize_all,
    getDeviceCount=lambda: 1,
    memGetInfo=_memory_info,
)
