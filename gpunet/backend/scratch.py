"""Scratch memory: working arrays that a thread keeps and uses again.

A fresh array of a megabyte costs more in page faults than the work done in it. So on a CPU each thread keeps the
buffers of its tiles; on a GPU the memory pool does the same by itself.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

from gpunet.backend.active import Array, active_backend, xp

__all__ = ["scratch"]

KEPT_BYTES = 64 << 20  # by each thread; the buffers that were not used for longest go first


class _Buffers(threading.local):
    def __init__(self) -> None:
        self.kept: OrderedDict[tuple[Any, ...], Array] = OrderedDict()
        self.bytes = 0


_buffers = _Buffers()


def scratch(purpose: Hashable, shape: tuple[int, ...], dtype: Any) -> Array:
    """A working array of this thread: zero when it is made, later whatever the same purpose and shape left in it.

    Valid until this thread asks for the same purpose and shape again, so it must never become part of a result.
    """
    if active_backend() != "numpy":
        return xp.zeros(shape, dtype=dtype)
    key = (purpose, shape, dtype)
    buffer = _buffers.kept.get(key)
    if buffer is None:
        buffer = _buffers.kept[key] = xp.zeros(shape, dtype=dtype)
        _buffers.bytes += buffer.nbytes
        while _buffers.bytes > KEPT_BYTES and len(_buffers.kept) > 1:
            _buffers.bytes -= _buffers.kept.popitem(last=False)[1].nbytes
    _buffers.kept.move_to_end(key)
    return buffer
