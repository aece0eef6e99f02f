"""Writing over memory in place, so that nothing is silently wrong afterwards.

Two must hear of it. What waits (`gpunet.ops.waiting`) is computed before. And the tape may hold an operation that has
kept the memory for its gradient: going back it asks `changed_since`, and refuses to compute a wrong one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any
from weakref import ref

from gpunet.backend import Array, active_backend, xp
from gpunet.errors import ArgumentError
from gpunet.ops.waiting import Waiting, computed, is_waiting, memory_of, settle

__all__ = ["about_to_write", "changed_since", "check_writable", "keep_copies", "now"]

_clock = itertools.count()
_written: dict[int, tuple[ref[Any], int]] = {}  # by its id the memory, as long as there is any, and when it was written
_latest = -1


def now() -> int:
    """The time: later than at any call before."""
    return next(_clock)


def about_to_write(*arrays: Array) -> None:
    """Say that these arrays are going to be written over, before it is done.

    Raises:
        ArgumentError: if one is read-only; nothing has been written then.
    """
    global _latest
    if not arrays:
        return
    check_writable(*arrays)
    settle(*arrays)
    time = now()
    for memory in map(memory_of, arrays):
        noted = _written.get(id(memory))
        _written[id(memory)] = (_until_it_is_gone(memory) if noted is None else noted[0]), time
    _latest = time


def check_writable(*arrays: Array) -> None:
    """Make sure that these arrays can be written over; arrays on a GPU always can.

    Raises:
        ArgumentError: if one is read-only.
    """
    if active_backend() != "numpy":
        return
    for array in arrays:
        if not array.flags.writeable:
            raise ArgumentError(
                f"cannot change values in place: an array of shape {array.shape} is read-only, as those of files and "
                f"of np.broadcast_to are; gpunet.tensor(array) makes a copy that is not"
            )


def _until_it_is_gone(memory: Array) -> ref[Any]:
    key = id(memory)
    return ref(memory, lambda _: _written.pop(key, None))


def changed_since(time: int, operation: object) -> bool:
    """Whether an array that an operation keeps has been written over since then."""
    if _latest < time:  # as in ordinary training, where weights are changed after the walk back
        return False
    return any(_time_of(array) > time for array in _arrays(vars(operation).values()))


def keep_copies(operation: object, array: Array) -> None:
    """Give an operation, whose result is going to be written over this array, copies of what it has kept of it."""
    memory = memory_of(array)
    for name, kept in vars(operation).items():
        if isinstance(kept, xp.ndarray) and memory_of(kept) is memory:
            setattr(operation, name, kept.copy(order="K"))


def _time_of(array: Array) -> int:
    return _written.get(id(memory_of(array)), (None, -1))[1]


def _arrays(values: Iterable[Any]) -> Iterator[Array]:
    """All arrays among values, and among what these consist of."""
    for value in values:
        if isinstance(value, xp.ndarray):
            yield value
        elif isinstance(value, Waiting) and not is_waiting(value):
            yield computed(value)
        elif isinstance(value, tuple | list):
            yield from _arrays(value)
        elif hasattr(value, "needs_grad"):  # an operation within an operation
            yield from _arrays(vars(value).values())
