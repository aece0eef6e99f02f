"""The processes that compute together, and how they tell each other numbers: one alone, until others have joined it.

This is the seam. `Communicator` is what the rest of gpunet knows of several processes, and here it is one alone; those
of `gpunet.distributed` carry the same few methods out over MPI and NCCL. A process is called by its number, its rank.

Floating-point numbers give another sum in another order. So sums are not left to a library, which may choose the order
anew each time: each rank adds up a slice of the array, in the order of the ranks, and tells the others the result.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Iterator
from typing import Any

from gpunet.backend import Array, xp
from gpunet.errors import ProcessError

__all__ = ["LEAVING", "Communicator", "alone", "communicator", "use_communicator"]

LEAVING = "this rank ends"
"""What a rank gathers last. Those that gather anything else then have lost it."""

SPIN = 0.001  # seconds of waiting after which a rank sleeps in between, so that those it waits for get its core
NAP = 0.0001


class Communicator:
    """One process alone.

    What several do they do all: each calls the same methods in the same order. A method that takes time and gives the
    caller something to do meanwhile is a generator: each step looks whether it is done, and `wait` goes to its end.

    Attributes:
        rank: the number of this process, from 0.
        size: how many there are.
        local_rank, local_size: the same among those on this machine.
        hosts: the machine of each rank.
        timeout: seconds after which waiting for the others is an error.
        needs_asking: whether what is on its way only gets on when somebody takes a look.
    """

    rank = 0
    size = 1
    local_rank = 0
    local_size = 1
    hosts: tuple[str, ...] = ("",)
    timeout = math.inf
    needs_asking = True

    def channel(self, number: int) -> Communicator:
        """The same ranks, where messages cannot be taken for those of another channel."""
        return self

    def gather(self, value: Any) -> list[Any]:
        """What each rank gives here, by rank: anything that JSON can hold."""
        return [value]

    def broadcast(self, array: Array) -> None:
        """Make an array on all ranks what it is on rank 0, in place."""

    def barrier(self) -> None:
        """Wait until all ranks have come here."""
        self.gather(None)

    def abort(self, code: int) -> None:
        """End all ranks, at once."""
        os._exit(code)

    def all_to_all(self, given: Array, received: Array) -> Iterator[None]:
        """Row s goes to rank s; row r comes from rank r. Both (size, n)."""
        received[...] = given
        return iter(())

    def all_gather(self, given: Array, received: Array) -> Iterator[None]:
        """Row r is what rank r gives. (n,) and (size, n)."""
        received[0] = given
        return iter(())

    # ------------------------------------------------------------------ what follows from these

    def sum(self, flat: Array) -> Iterator[None]:
        """Put the sum over all ranks in the place of an array: the same bits on every rank, and every time.

        Shape:
            flat: (size * n,)
        """
        slices = flat.reshape(self.size, -1)
        parts = xp.empty_like(slices)
        yield from self.all_to_all(slices, parts)
        total = parts[0]
        for part in parts[1:]:
            total += part
        yield from self.all_gather(total, slices)

    def gathered(self, array: Array) -> Array:
        """What each rank gives here, by rank: (size, *the shape of the array)."""
        flat = xp.ascontiguousarray(array).reshape(-1)
        received = xp.empty((self.size, flat.size), dtype=flat.dtype)
        self.wait(self.all_gather(flat, received))
        return received.reshape(self.size, *array.shape)

    def total(self, array: Array) -> Array:
        """The sum over all ranks of an array of few numbers, in the order of the ranks."""
        parts = self.gathered(array)
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total

    def wait(self, steps: Iterator[None]) -> None:
        """Go on to the end.

        Raises:
            ProcessError: if the others do not come within `timeout`.
        """
        started = time.monotonic()
        for _ in steps:
            waited = time.monotonic() - started
            if waited > self.timeout:
                raise ProcessError(
                    f"rank {self.rank} has waited {self.timeout:,.0f} s for the others: they do something else, or hang"
                )
            if waited < SPIN:
                _let_others_run()
            else:
                time.sleep(NAP)


def _let_others_run() -> None:
    if hasattr(os, "sched_yield"):
        os.sched_yield()


_ALONE = Communicator()
_current = _ALONE


def communicator() -> Communicator:
    """That of the ranks which compute together with this process."""
    return _current


def use_communicator(chosen: Communicator | None) -> None:
    """Compute together with these ranks from now on; with None alone again."""
    global _current
    _current = chosen or _ALONE


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """While the block lasts this process computes for itself, whatever the others do."""
    before = _current
    use_communicator(None)
    try:
        yield
    finally:
        use_communicator(before)
