"""How NumPy computes while gpunet does: silently, and with BLAS on one thread while tiles run.

Both are settings of NumPy that the user's own arrays share, so they hold only meanwhile, and are set here alone.
"""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

__all__ = ["quiet", "single_threaded_blas"]


def quiet() -> np.errstate:
    """A context in which NaN and infinity travel on without a word, as they do on a GPU; each thread enters its own.

    A function is decorated with `@quiet()`, which takes half the time of a block.
    """
    return np.errstate(all="ignore")


class _Library(NamedTuple):
    """A BLAS library that is loaded: how many threads it has, and how to change that."""

    get_num_threads: Callable[[], int]
    set_num_threads: Callable[[int], object]


@functools.cache
def _libraries() -> list[_Library]:
    from threadpoolctl import ThreadpoolController  # here, because it takes longer to import than all of this package

    return [_library(found) for found in ThreadpoolController().select(user_api="blas").lib_controllers]


def _library(found: Any) -> _Library:
    """The functions of OpenBLAS itself: threadpoolctl's take ten times as long, and listen to one thread alone."""
    if found.internal_api == "openblas" and found.threading_layer != "openmp":
        for before, after in itertools.product(("", "scipy_"), ("", "64_", "_64")):  # as its builds name them
            names = [f"{before}openblas_{verb}_num_threads{after}" for verb in ("get", "set")]
            if all(hasattr(found.dynlib, name) for name in names):
                return _Library(*(getattr(found.dynlib, name) for name in names))
    return _Library(found.get_num_threads, found.set_num_threads)


class _SingleThreadedBlas:
    """A context for running tiles, whose threads would fight with those of BLAS.

    Many threads may be in it at once; the last to leave gives the libraries their threads back.
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
            library.set_num_threads(count)


single_threaded_blas = _SingleThreadedBlas()
