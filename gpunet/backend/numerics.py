"""How NumPy computes while gpunet does: silently, and with BLAS on one thread while tiles run.

Both are settings of NumPy that the user's own arrays share, so they hold only meanwhile, and are set here alone.
"""

from __future__ import annotations

import functools
import threading
from typing import Any

import numpy as np

__all__ = ["quiet", "single_threaded_blas"]


def quiet() -> np.errstate:
    """A context in which NaN and infinity travel on without a word, as they do on a GPU; each thread enters its own."""
    return np.errstate(all="ignore")


@functools.cache
def _libraries() -> list[Any]:
    from threadpoolctl import ThreadpoolController  # here, because it takes longer to import than all of this package

    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


class _SingleThreadedBlas:
    """A context for running tiles, whose threads would fight with those of BLAS.

    Many threads may be in it at once; the last to leave gives the libraries their threads back.
    Entered by every operation that has tiles, so it asks the libraries directly: threadpoolctl's own context takes ten
    times as long.
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
