"""Scratch memory: working arrays that a thread keeps and uses again.

A fresh array of a megabyte costs more in page faults than the work done in it. So on a CPU each thread keeps the
buffers of its tiles; on a GPU the memory pool does the same by itself.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

import numpy as np

from gpunet.backend.active import Array, active_backend, xp

__all__ = ["scratch"]

KEPT_BYTES = 64 << 20  # by each thread; what was not used for longest goes first


class _Kept(threading.local):
    def __init__(self) -> None:
        self.arrays: OrderedDict[tuple[Any, ...], np.ndarray[Any, Any]] = OrderedDict()
        self.bytes = 0


_kept = _Kept()


def scratch(purpose: str, shape: tuple[int, ...], dtype: Any) -> Array:
    """A working array of this thread, with arbitrary numbers in it.

    Valid until this thread asks for the same purpose and shape again, so it must never become part of a result.
    """
    if active_backend() != "numpy":
        return xp.empty(shape, dtype=dtype)
    key = (purpose, shape, dtype)
    array = _kept.arrays.get(key)
    if array is None:
        array = _kept.arrays[key] = np.empty(shape, dtype=dtype)
        _kept.bytes += array.nbytes
        while _kept.bytes > KEPT_BYTES and len(_kept.arrays) > 1:
            _kept.bytes -= _kept.arrays.popitem(last=False)[1].nbytes
    _kept.arrays.move_to_end(key)
    return array
