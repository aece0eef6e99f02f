"""Ranks of a GPU each, which talk over NCCL, by way of `cupyx.distributed`.

Never run on hardware by us: the tests run it on the emulated backend, with a stand-in for CuPy's communicator.

Whatever the host has to know goes over MPI, which has started the ranks. What lies on a GPU goes from GPU to GPU.
Buckets of gradients do so on a stream of their own, while backward goes on: that stream waits for what the main stream
has done until now, and in the end the main stream waits for it. The host waits for neither.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

from gpunet.backend import Array, xp
from gpunet.errors import ProcessError
from gpunet.ranks import Communicator

__all__ = ["NcclCommunicator", "join_gpus"]


class NcclCommunicator(Communicator):
    """The ranks of another communicator, with one GPU each.

    Args:
        host: the ranks, as the host talks to them.
        gpus: what `cupyx.distributed.init_process_group` returns.
    """

    needs_asking = False

    def __init__(self, host: Communicator, gpus: Any) -> None:
        self._host, self._gpus = host, gpus
        self._stream = xp.cuda.Stream(non_blocking=True)
        self.rank, self.size, self.hosts = host.rank, host.size, host.hosts
        self.local_rank, self.local_size, self.timeout = host.local_rank, host.local_size, host.timeout

    def gather(self, value: Any) -> list[Any]:
        """What each rank gives here, by rank: anything that JSON can hold."""
        return self._host.gather(value)

    def broadcast(self, array: Array) -> None:
        """Make an array on all ranks what it is on rank 0, in place."""
        values = xp.ascontiguousarray(array)
        self._gpus.broadcast(values, 0)
        array[...] = values

    def all_to_all(self, given: Array, received: Array) -> Iterator[None]:
        """Row s goes to rank s; row r comes from rank r: on the stream that is current."""
        self._gpus.all_to_all(given, received)
        return iter(())

    def all_gather(self, given: Array, received: Array) -> Iterator[None]:
        """Row r is what rank r gives: on the stream that is current."""
        self._gpus.all_gather(given, received, given.size)
        return iter(())

    def sum(self, flat: Array) -> Iterator[None]:
        """Put the sum over all ranks in the place of an array, on a stream of its own until the last step."""
        self._stream.wait_event(xp.cuda.get_current_stream().record())
        with self._stream:
            for _ in super().sum(flat):
                pass
        done = self._stream.record()
        yield
        xp.cuda.get_current_stream().wait_event(done)

    def abort(self, code: int) -> None:
        """End all ranks, at once."""
        self._host.abort(code)


def join_gpus(host: Communicator, given: int | None) -> Communicator:
    """Choose the GPU of this rank, and let those of all ranks talk to each other.

    Args:
        host: the ranks, as the host talks to them.
        given: the number among the ranks of the machine, where the launcher has said it.

    Raises:
        ProcessError: if a machine has fewer GPUs than ranks.
    """
    local_rank, count = host.local_rank if given is None else given, xp.cuda.runtime.getDeviceCount()
    chosen = 0 if count == 1 else local_rank  # a launcher may show each rank its own GPU, and no other
    if chosen < count:
        xp.cuda.Device(chosen).use()
    which = [host.hosts[host.rank], xp.cuda.Device(chosen).pci_bus_id if chosen < count else None]
    everyone = host.gather(which)
    for rank, (name, gpu) in enumerate(everyone):
        if gpu is None or [name, gpu] in everyone[:rank]:
            raise ProcessError(
                f"rank {rank} has no GPU of its own: {name} has {host.hosts.count(name)} ranks; start as many as GPUs"
            )
    make = importlib.import_module("cupyx.distributed").init_process_group
    return NcclCommunicator(host, make(host.size, host.rank, use_mpi=True))
