"""Ranks that talk over MPI, with mpi4py: a few of its calls, on arrays of the host and on bytes, never on pickles.

All calls are those that do not wait (Ialltoall, ...). MPI is asked from time to time whether they are done; meanwhile
backward goes on, or, where there is nothing to do, the core is left to others and Ctrl-C is heard.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from gpunet.backend import Array, asarray, to_cpu
from gpunet.errors import ProcessError
from gpunet.ranks import LEAVING, Communicator

__all__ = ["MpiCommunicator"]

_SHORT = 256  # bytes of a message that is sent together with its length


class MpiCommunicator(Communicator):
    """The processes of an MPI communicator. Arrays of a GPU take the way over the host.

    Args:
        mpi: the module `mpi4py.MPI`.
        group: one of its communicators.
    """

    def __init__(self, mpi: Any, group: Any) -> None:
        self._mpi, self._group = mpi, group.Dup()  # so that nothing of the user's meets ours
        self._channels: dict[int, MpiCommunicator] = {}
        self.rank, self.size = group.Get_rank(), group.Get_size()
        self.hosts = tuple(self.gather(mpi.Get_processor_name()))
        same = [rank for rank, host in enumerate(self.hosts) if host == self.hosts[self.rank]]
        self.local_rank, self.local_size = same.index(self.rank), len(same)

    def channel(self, number: int) -> Communicator:
        """The same ranks, where messages cannot be taken for those of another channel."""
        if number not in self._channels:
            self._channels[number] = MpiCommunicator(self._mpi, self._group)
            self._channels[number].timeout = self.timeout
        return self._channels[number]

    def gather(self, value: Any) -> list[Any]:
        """What each rank gives here, by rank: anything that JSON can hold.

        Raises:
            ProcessError: if a rank ends here instead.
        """
        message = json.dumps(value).encode()
        mine = np.zeros(_SHORT, np.uint8)
        mine[:8].view(np.int64)[0] = len(message)
        short = np.frombuffer(message[: _SHORT - 8], np.uint8)
        mine[8 : 8 + len(short)] = short
        letters = np.empty((self.size, _SHORT), np.uint8)
        self.wait(self.all_gather(mine, letters))
        lengths = letters[:, :8].copy().view(np.int64)[:, 0]
        if lengths.max() > _SHORT - 8:
            mine = np.zeros(int(lengths.max()), np.uint8)
            mine[: len(message)] = np.frombuffer(message, np.uint8)
            letters = np.empty((self.size, len(mine)), np.uint8)
            self.wait(self.all_gather(mine, letters))
        else:
            letters = letters[:, 8:]
        values = [json.loads(line[:length].tobytes()) for line, length in zip(letters, lengths, strict=True)]
        if LEAVING in values and any(each != LEAVING for each in values):
            raise ProcessError(f"rank {values.index(LEAVING)} has ended before the others")
        return values

    def broadcast(self, array: Array) -> None:
        """Make an array on all ranks what it is on rank 0, in place."""
        values = np.ascontiguousarray(to_cpu(array)).copy()
        self.wait(self._until(self._group.Ibcast(self._bytes(values), root=0)))
        array[...] = asarray(values)

    def all_to_all(self, given: Array, received: Array) -> Iterator[None]:
        """Row s goes to rank s; row r comes from rank r."""
        return self._exchange(self._group.Ialltoall, given, received)

    def all_gather(self, given: Array, received: Array) -> Iterator[None]:
        """Row r is what rank r gives."""
        return self._exchange(self._group.Iallgather, given, received)

    def _exchange(self, start: Any, given: Array, received: Array) -> Iterator[None]:
        there = to_cpu(given)
        here = received if isinstance(received, np.ndarray) else np.empty(received.shape, received.dtype)
        yield from self._until(start(self._bytes(there), self._bytes(here)))
        if here is not received:
            received[...] = asarray(here)

    def _bytes(self, array: np.ndarray[Any, Any]) -> list[Any]:
        """As MPI takes it: every type of number is bytes, which nobody adds up on the way."""
        return [array.reshape(-1).view(np.uint8), self._mpi.BYTE]

    def _until(self, request: Any) -> Iterator[None]:
        while not request.Test():
            yield

    def abort(self, code: int) -> None:
        """End all ranks, at once."""
        self._group.Abort(code)
