"""Holding the BLAS library to one thread while tiles run: the threads of the tiles would fight with its own."""

from __future__ import annotations

import functools
import threading
from typing import Any

__all__ = ["single_threaded_blas"]


@functools.cache
def _libraries() -> list[Any]:
    from threadpoolctl import ThreadpoolController  # here, because it takes longer to import than all of this package

    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


class _SingleThreadedBlas:
    """A context that many threads may be in at once; the last to leave gives the libraries their threads back.

    Entered at every operation, so it asks the libraries directly: threadpoolctl's own context takes ten times as long.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._before: list[int] = []

    def __enter__(self) -> None:
        with self._lock:
            if self._users == 0:
                self._before = [library.get_num_threads() for library in _libraries()]
                self._set([1] * len(self._before))
            self._users += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._set(self._before)

    def _set(self, counts: list[int]) -> None:
        for library, count in zip(_libraries(), counts, strict=True):
            _give_up_control(library)  # whoever was the last to set the number
            library.set_num_threads(count)
            _give_up_control(library)


def _give_up_control(library: Any) -> None:
    """Recent versions of threadpoolctl listen to one thread alone; here another may leave than has entered."""
    release = getattr(library, "clear_controlling_thread", None)
    if release is not None:
        release(force=True)


single_threaded_blas = _SingleThreadedBlas()
