"""Device memory: how much of it is in use, and what happens when it runs out."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from gpunet.emulated.streams import capturing
from gpunet.errors import KernelError

__all__ = [
    "Allocation",
    "MemoryPool",
    "OutOfMemoryError",
    "PinnedMemoryPointer",
    "alloc_pinned_memory",
    "allocations_at",
    "pool",
    "using_allocator",
]

_UNIT = 512  # CuPy hands out memory in multiples of this


class OutOfMemoryError(MemoryError):
    """As CuPy raises it when the pool's limit, or the device, has no room for an array."""

    def __init__(self, size: int, total: int, limit: int) -> None:
        super().__init__(
            f"Out of memory allocating {size:,} bytes "
            f"(allocated so far: {total:,} bytes, limit set to: {limit:,} bytes)."
        )


class MemoryPool:
    """Counts the bytes of all arrays that are alive.

    Memory that a captured graph works in never leaves the pool: it is freed with the pool itself.
    """

    device_bytes = 16 << 30  # what the device claims to have

    def __init__(self, allocator: None = None) -> None:
        self._used = 0
        self._limit = 0
        self.kept: list[Allocation] = []

    def malloc(self, size: int) -> Allocation:
        """Hands memory out; here it only tells `using_allocator` which pool is meant."""
        raise NotImplementedError("the emulated backend makes arrays by its functions alone")

    def take(self, size: int) -> None:
        """Note that an array of `size` bytes, rounded up already, is about to be made.

        Raises:
            OutOfMemoryError: if there is no room for it.
        """
        limit = self._limit or self.device_bytes
        if self._used + size > limit:
            raise OutOfMemoryError(size, self._used, limit)
        self._used += size

    def give_back(self, size: int) -> None:
        """Note that it is gone."""
        self._used -= size

    def used_bytes(self) -> int:
        """The bytes of the arrays that are alive."""
        return self._used

    def total_bytes(self) -> int:
        """The bytes that the pool holds: here, those in use."""
        return self._used

    def free_all_blocks(self) -> None:
        """Return unused memory to the device; there is none."""

    def set_limit(self, size: int | None = None, fraction: float | None = None) -> None:
        """Set the limit in bytes, or as a fraction of the device's memory; 0 is no limit."""
        if (size is None) == (fraction is None):
            raise ValueError("specify either size or fraction")
        self._limit = int(size if size is not None else (fraction or 0) * self.device_bytes)

    def get_limit(self) -> int:
        """The limit in bytes, 0 where there is none."""
        return self._limit


pool = MemoryPool()


class _Current(threading.local):
    pool = pool


_current = _Current()


@contextlib.contextmanager
def using_allocator(allocator: Callable[[int], Any] | None = None) -> Iterator[None]:
    """Let this thread make its arrays with the `malloc` of a pool while the block lasts."""
    before, _current.pool = _current.pool, pool if allocator is None else getattr(allocator, "__self__")  # noqa: B009
    try:
        yield
    finally:
        _current.pool = before


class Allocation:
    """The memory of one array, shared by its views; it counts as used while anybody refers to this object.

    Raises:
        KernelError: while a graph is being captured, for memory of the pool that everybody takes from: what the graph
            writes to at every launch would be somebody else's by then.
    """

    __slots__ = ("__weakref__", "_pool", "begin", "nbytes", "size")

    def __init__(self, begin: int, nbytes: int) -> None:
        self.size = 0  # nothing to give back if the pool refuses
        self._pool = weakref.ref(_current.pool)
        if (captured := capturing() is not None) and _current.pool is pool:
            raise KernelError(
                f"an array of {nbytes} bytes was made of the common memory pool while a graph was being captured; "
                "a graph needs a pool of its own: xp.cuda.using_allocator(xp.cuda.MemoryPool().malloc)"
            )
        rounded = -(-nbytes // _UNIT) * _UNIT
        _current.pool.take(rounded)
        self.size = rounded
        self.begin, self.nbytes = begin, nbytes
        _alive.add(self)
        if captured:
            _current.pool.kept.append(self)

    def __del__(self) -> None:
        if (owner := self._pool()) is not None:
            owner.give_back(self.size)


_alive: weakref.WeakSet[Allocation] = weakref.WeakSet()


def allocations_at(addresses: set[int]) -> list[Allocation]:
    """Those alive that these addresses point into: what a kernel may reach that is told addresses in a struct."""
    return [each for each in _alive if any(0 <= address - each.begin < each.nbytes for address in addresses)]


class PinnedMemoryPointer(bytearray):
    """Host memory that a device can read while the host goes on; `numpy.frombuffer` makes arrays in it."""

    def size(self) -> int:
        """The number of bytes."""
        return len(self)


def alloc_pinned_memory(size: int) -> PinnedMemoryPointer:
    """Pinned memory of at least so many bytes; its contents are arbitrary."""
    return PinnedMemoryPointer(b"\xff" * (-(-size // _UNIT) * _UNIT))
