"""Code of others, datasets and transforms that were not written for threads: one thread at a time is in it."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from contextvars import ContextVar

import numpy as np

__all__ = ["outside_code"]

_ALONE = threading.Lock()
_INSIDE: ContextVar[bool] = ContextVar(
    "outside_code", default=False
)  # threads of a loader within a dataset see it, too


@contextlib.contextmanager
def outside_code(rng: np.random.Generator) -> Iterator[int]:
    """While it lasts no other thread is in such code, and what it draws from PyTorch's generator follows from `rng`.

    Afterwards that generator is where it was. Python's `random` and `numpy.random` are left alone: the loop that trains
    may be drawing from them at this moment. Gives a seed for what has a generator of its own.
    """
    seed = int(rng.integers(2**32))
    if _INSIDE.get():  # by way of another such dataset, which is alone already
        yield seed
        return
    torch = sys.modules.get("torch")  # what has not been imported draws nothing
    with _ALONE, torch.random.fork_rng(devices=[]) if torch else contextlib.nullcontext():
        if torch:
            torch.default_generator.manual_seed(seed)
        before = _INSIDE.set(True)
        try:
            yield seed
        finally:
            _INSIDE.reset(before)
