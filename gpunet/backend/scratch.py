"""Scratch memory: working arrays that a thread keeps and uses again.

A fresh array of a megabyte costs more in page faults than the work done in it. So on a CPU each thread keeps the
buffers of its tiles; on a GPU the memory pool does the same by itself.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Protocol, TypeVar

from gpunet.backend.active import Array, active_backend, xp

__all__ = ["kept", "scratch"]

KEPT_BYTES = 64 << 20  # by each thread; what was not used for longest goes first


class _Sized(Protocol):
    @property
    def nbytes(self) -> int:
        """How much memory it takes."""


Workspace = TypeVar("Workspace", bound=_Sized)


class _Kept(threading.local):
    def __init__(self) -> None:
        self.workspaces: OrderedDict[Hashable, Any] = OrderedDict()
        self.bytes = 0


_kept = _Kept()


def kept(key: Hashable, make: Callable[[], Workspace]) -> Workspace:
    """What this thread has made under a key before, or `make()`.

    Valid until this thread asks for the same key again, so it must never become part of a result.
    """
    if active_backend() != "numpy":
        return make()
    workspace: Workspace | None = _kept.workspaces.get(key)
    if workspace is None:
        workspace = _kept.workspaces[key] = make()
        _kept.bytes += workspace.nbytes
        while _kept.bytes > KEPT_BYTES and len(_kept.workspaces) > 1:
            _kept.bytes -= _kept.workspaces.popitem(last=False)[1].nbytes
    _kept.workspaces.move_to_end(key)
    return workspace


def scratch(purpose: str, shape: tuple[int, ...], dtype: Any) -> Array:
    """A working array of this thread: zero when it is made, later whatever the same purpose and shape left in it."""
    return kept((purpose, shape, dtype), lambda: xp.zeros(shape, dtype=dtype))
