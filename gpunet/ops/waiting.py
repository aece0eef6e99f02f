"""Values that wait: a pass over memory is put off until it is known what follows, and done together with it.

Networks are written as in the paper, `relu(bn2(conv2(out)) + shortcut(x))`. Line by line that would be many passes over
memory. So what an operation returns may stand in a Tensor in place of an array, and wait:

    bn(x)             statistics are computed at once; the pass over x waits
    ... + shortcut    waits with it
    relu(...)         waits with it
    conv(...)         needs numbers: relu((x - center) * scale + shift + shortcut), in one pass

In evaluation the convolution before waits, too, and all of it is done while its output is at hand.

Nobody has to know of it. An operation that does not ask for what waits (`Operation.takes_waiting`) is given arrays, and
so is whoever looks at `data`, at any time and from any thread. Every value has the bits that it has on its own, and the
tape holds the operations as they were written.

What waits reads memory later than the program says. It may do so only as long as nobody writes there: nothing waits on
memory that somebody outside the library holds. `hand_out` takes note of that, having computed what waits on it; inside
the library, whoever writes in place calls `settle` before, or `gpunet.ops.writing.about_to_write`.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, NamedTuple
from weakref import ref

import numpy as np

from gpunet.backend import Array, before_switching, quiet
from gpunet.errors import OutOfMemoryError

__all__ = [
    "Convolved",
    "Normalised",
    "Waiting",
    "computed",
    "hand_out",
    "is_handed_out",
    "is_waiting",
    "memory_of",
    "settle",
    "wait",
]


_Lock = type(threading.RLock())  # the class itself: `threading.RLock` is a function, and takes three times as long


class _Work(NamedTuple):
    operation: object  # that put it off
    run: Callable[..., Array]
    args: tuple[Any, ...]
    reads: tuple[Array, ...]  # the memory that must not change before it has run

    @quiet()
    def result(self) -> Array:
        return self.run(*self.args)


class Waiting:
    """Stands for an array that is computed once, when somebody asks for its `value`: `run(*args)`, which reads `reads`.

    Attributes:
        origin: the layer that put the work off, if it was one.
    """

    __slots__ = ("__weakref__", "_lock", "_value", "_work", "dtype", "origin", "shape")

    def __init__(
        self,
        operation: object,
        shape: tuple[int, ...],
        run: Callable[..., Array],
        args: tuple[Any, ...],
        reads: tuple[Array, ...],
    ) -> None:
        self.shape, self.dtype = shape, reads[0].dtype
        self.origin: object | None = None
        self._work: _Work | None = _Work(operation, run, args, reads)
        self._value: Array = None
        self._lock = _Lock()

    @property
    def value(self) -> Array:
        """The array. Whoever asks while it is being computed waits for it; after an error, asking again tries again.

        Raises:
            OutOfMemoryError: if the memory does not suffice; it names the layer that put the work off.
        """
        with self._lock:
            if self._work is not None:
                try:
                    self._value = self._work.result()
                except MemoryError as error:
                    told = OutOfMemoryError.during(self._work.operation, self._work.reads)
                    told.origin, told.layer = self.origin, type(self.origin).__name__ if self.origin else ""
                    raise told from error
                self._work = None  # lets go of all that it was made of
                _waiting.pop(id(self), None)
        return self._value

    def __reduce__(self) -> Any:
        """A copy of it, as `copy.deepcopy` makes one, is a copy of the array."""
        return computed, (self.value,)


class Normalised(Waiting):
    """What batch norm puts off: y = relu(bn(x) + residual), where residual and ReLU may yet join.

    `run(residual, relu)` computes it in one pass, with the bits of one step after the other. It is given the residual
    as it lies in memory, (N, ..., C).
    """

    __slots__ = ()

    def __init__(
        self,
        operation: object,
        shape: tuple[int, ...],
        run: Callable[[Array | None, bool], Array],
        reads: tuple[Array, ...],
        residual: Array | None = None,
        relu: bool = False,
    ) -> None:
        super().__init__(operation, shape, run, (residual, relu), reads)

    def plus(self, other: Any) -> Waiting | Array | None:
        """The sum with `other`, which waits as well; None where it does not go together."""
        if other is self or getattr(other, "shape", None) != self.shape or other.dtype != self.dtype:
            return None  # twice the same, a number, or what is to be stretched or converted
        work = self._work  # read once: another thread may be computing it
        if work is None or work.args[0] is not None or work.args[1]:
            return None  # a sum or a ReLU is in it already
        other = computed(other)
        rows = other.transpose(0, *range(2, other.ndim), 1)  # (N, ..., C)
        return self._joined(work, rows, False, (*work.reads, other)) if rows.flags.c_contiguous else None

    def through_relu(self) -> Waiting | Array | None:
        """Max(y, 0), which waits as well; None where it does not go together."""
        work = self._work
        return None if work is None or work.args[1] else self._joined(work, work.args[0], True, work.reads)

    def _joined(
        self, work: _Work, residual: Array | None, relu: bool, reads: tuple[Array, ...]
    ) -> Waiting | Array | None:
        return _join(work, self, Normalised(work.operation, self.shape, work.run, reads, residual, relu))


class Convolved(Waiting):
    """What a convolution puts off where nothing is recorded: batch norm in evaluation becomes a part of it.

    `run(known, residual, relu)` computes it; without `known`, what batch norm knows of each channel, as it is.
    """

    __slots__ = ()

    def __init__(
        self, operation: object, shape: tuple[int, ...], run: Callable[..., Array], reads: tuple[Array, ...]
    ) -> None:
        super().__init__(operation, shape, run, (None, None, False), reads)

    def normalised(self, operation: object, known: Any, reads: tuple[Array, ...]) -> Waiting | Array | None:
        """Batch norm of it, which waits as well, and will read these, too; None where it does not go together."""
        work = self._work
        if work is None:
            return None
        run = functools.partial(work.run, known)
        return _join(work, self, Normalised(operation, self.shape, run, (*work.reads, *reads)))


def _join(work: _Work, before: Waiting, joined: Waiting) -> Waiting | Array | None:
    """What takes over the work of the one before."""
    joined.origin = before.origin
    waiting = wait(joined)
    if waiting is joined:
        return joined
    # Where another thread has just been handed what is read, the one before may be all that was saved of it.
    return None if any(map(is_handed_out, work.reads)) else waiting


def computed(value: Any) -> Any:
    """The array of what waits; anything else as it is."""
    return value.value if isinstance(value, Waiting) else value


def is_waiting(value: Any) -> bool:
    """Whether it has not been computed yet."""
    return isinstance(value, Waiting) and value._work is not None


# By their ids, and as long as anything refers to them: what waits, and the memory that is in the hands of others.
_waiting: dict[int, ref[Any]] = {}
_handed_out: dict[int, ref[Any]] = {}


def _note(noted: dict[int, ref[Any]], value: Any) -> None:
    key = id(value)
    noted[key] = ref(value, lambda _: noted.pop(key, None))


def wait(waiting: Waiting) -> Waiting | Array:
    """Let it wait; or, where somebody else holds memory that it reads, compute it at once."""
    _note(_waiting, waiting)  # first, so that nobody is handed that memory unnoticed
    work = waiting._work
    return waiting.value if work is None or any(map(is_handed_out, work.reads)) else waiting


def hand_out(array: Array) -> None:
    """Somebody outside the library is about to hold this memory, and may write there at any time from now on."""
    memory = memory_of(array)
    if id(memory) not in _handed_out:
        _note(_handed_out, memory)
    settle(array)


def settle(*arrays: Array) -> None:
    """Compute what waits on the memory of these arrays, or all that waits, because it is about to be written to."""
    if not _waiting:  # the usual case
        return
    written = {id(memory_of(array)) for array in arrays}
    for reference in list(_waiting.values()):
        waiting: Waiting | None = reference()
        work = None if waiting is None else waiting._work
        if work is not None and (not arrays or any(id(memory_of(each)) in written for each in work.reads)):
            computed(waiting)


def is_handed_out(array: Array) -> bool:
    """Whether somebody outside the library holds this memory, and may write there at any time."""
    return id(memory_of(array)) in _handed_out


def memory_of(array: Array) -> Array:
    """The array that a view, or a view of a view, is a view of: it owns the memory."""
    base = getattr(array, "base", None)
    while base is not None:
        if isinstance(base, (np.ndarray, type(array))):
            array = base
        base = getattr(base, "base", None)  # NumPy's as_strided has something of its own in between
    return array


before_switching.append(settle)
