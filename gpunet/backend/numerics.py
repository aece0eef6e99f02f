"""How NumPy computes while gpunet does: silently, and with BLAS on one thread while tiles run.

Both are settings of NumPy that the user's own arrays share, so they hold only meanwhile, and are set here alone.
"""

from __future__ import annotations

import functools
import itertools
import os
import threading
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple
from weakref import WeakSet

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


class single_threaded_blas:
    """A context for running tiles, whose threads would fight with those of BLAS.

    Many threads may be in it at once; the last to leave gives the libraries their threads back. Ctrl-C may strike
    between any two lines, and a fork leaves all threads but one behind. So nothing is counted: what is known is who is
    inside, as long as it exists, and what is to be given back, and each step may be taken twice.
    """

    _lock = threading.RLock()
    _inside: ClassVar[WeakSet[single_threaded_blas]] = WeakSet()
    _lowered: ClassVar[list[int] | None] = None  # how many threads the libraries had, while they have one

    def __enter__(self) -> None:
        with self._lock:
            self._inside.add(self)
            if self._lowered is None:
                single_threaded_blas._lowered = [library.get_num_threads() for library in _libraries()]
                _set_threads([1] * len(_libraries()))

    def __exit__(self, *exception: object) -> None:
        self._leave()

    def __del__(self) -> None:
        if self._lowered is not None:  # this one was interrupted on its way in or out, or others are inside
            self._leave()

    def _leave(self) -> None:
        with self._lock:
            self._inside.discard(self)
            if not self._inside:
                self._give_back()

    @classmethod
    def _give_back(cls) -> None:
        if cls._lowered is not None:
            _set_threads(cls._lowered)
            cls._lowered = None

    @classmethod
    def _after_fork(cls) -> None:
        """In the child, where no other thread goes on, and whoever held the lock holds it for ever."""
        cls._lock, cls._inside = threading.RLock(), WeakSet()
        cls._give_back()


def _set_threads(counts: list[int]) -> None:
    for library, count in zip(_libraries(), counts, strict=True):
        library.set_num_threads(count)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=single_threaded_blas._after_fork)
