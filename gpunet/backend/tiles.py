"""Tiles: large operations run slice by slice over the batch.

The lowered input of a convolution is kh*kw times the input. Made for a whole batch at once it overflows every cache and
exhausts the memory of a GPU, so an operation asks for `tiles` under a byte budget and hands `run_tiles` a function for
one tile. On a CPU the tiles run on a few Python threads while the BLAS library is held to one thread: every pass, not
only the matrix products, then uses all cores. On a GPU they run one after the other.

How a batch is cut depends on the work alone, never on the number of threads, and results come back in the order of the
tiles. Sums over tiles therefore have the same bits for any number of threads.
"""

from __future__ import annotations

import itertools
import logging
import os
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from gpunet.backend.active import active_backend
from gpunet.backend.numerics import quiet, single_threaded_blas
from gpunet.errors import ArgumentError

__all__ = ["cores", "get_num_threads", "run_tiles", "set_num_threads", "sum_over_tiles", "tiles"]

CPU_TILE_BYTES = 1 << 20  # a tile should stay in the second-level cache
CPU_SMALLEST_TILE_BYTES = 1 << 17  # below this, handing a tile to a thread costs more than it gains
MOST_THREADS = 1024  # a system starts only so many, and more than cores never help
GPU_TILE_BYTES = 1 << 28  # workspace per tile: large enough to fill a GPU, small enough not to exhaust it

_log = logging.getLogger("gpunet")

Tile = TypeVar("Tile")  # a slice of the batch, or what else an operation cuts its work into
Result = TypeVar("Result")


def tiles(count: int, bytes_each: int, bytes_shared: int = 0) -> list[slice]:
    """Cut `count` items into slices of nearly equal size, each within the byte budget of the active backend.

    Args:
        bytes_shared: what every tile reads or makes besides its items, such as the filters: a tile that is smaller than
            that would spend its time on it.
    """
    bytes_each = max(1, bytes_each)
    on_cpu = active_backend() == "numpy"
    budget = max(CPU_TILE_BYTES, bytes_shared) if on_cpu else GPU_TILE_BYTES
    fitting = max(1, budget // bytes_each)  # items in a tile
    number = -(-count // fitting)
    if on_cpu:
        number = max(number, min(4, count, count * bytes_each // CPU_SMALLEST_TILE_BYTES))
        if number > 4:
            number = min(count, -(-number // 4) * 4)  # an even share for two threads, and for four
    return [slice(count * i // number, count * (i + 1) // number) for i in range(number)]


def run_tiles(work: Callable[[Tile], Result], slices: Sequence[Tile]) -> list[Result]:
    """Call `work` for every tile, on all threads where that pays; the results are in the order of the tiles."""
    if active_backend() != "numpy":
        return [work(tile) for tile in slices]
    with single_threaded_blas():
        return _on_threads(work, slices)


def _on_threads(work: Callable[[Tile], Result], slices: Sequence[Tile]) -> list[Result]:
    if len(slices) < 2 or _threads.count < 2 or _inside_worker.flag:
        return [work(tile) for tile in slices]
    results: dict[int, Result] = {}
    failures: list[BaseException] = []
    tickets = itertools.count()  # next() is atomic: whichever thread is free takes the next tile
    done: queue.SimpleQueue[None] = queue.SimpleQueue()

    def worker() -> None:
        try:
            _inside_worker.flag = True
            with quiet():
                while (index := next(tickets)) < len(slices):
                    results[index] = work(slices[index])
        except BaseException as error:
            failures.append(error)
        finally:
            _inside_worker.flag = False
            done.put(None)

    helpers = min(_threads.count, len(slices)) - 1
    _threads.start(worker, helpers)
    worker()  # the calling thread takes its share
    for _ in range(helpers + 1):  # all of them, also where one has failed: nothing goes on in the background
        done.get()
    if failures:
        raise failures[0]
    return [results[index] for index in range(len(slices))]


def sum_over_tiles(work: Callable[[slice], tuple[Any, ...]], slices: Sequence[slice]) -> tuple[Any, ...]:
    """Run `work` for every slice and add up, in order, what it returned: member by member, where None stays None."""
    first, *others = run_tiles(work, slices)
    totals = list(first)
    for parts in others:
        totals = [None if part is None else total + part for total, part in zip(totals, parts, strict=True)]
    return tuple(totals)


class _InsideWorker(threading.local):
    """Marks the threads that already work on a tile: tiles within tiles run in line."""

    flag = False


_inside_worker = _InsideWorker()


class _Threads:
    """The number of threads, and the helpers that are started when they are first needed.

    They wait at a queue, which hands over work in a quarter of the time that an executor and its futures take. Ctrl-C
    may strike between any two lines: there may then be helpers that nobody counts, but never work that nobody takes.
    """

    def __init__(self) -> None:
        self.count = _threads_from_environment()
        self.forget()

    def start(self, job: Callable[[], None], helpers: int) -> None:
        """Have so many helpers do this, each once, while the calling thread goes on."""
        while self._running < helpers:
            threading.Thread(target=_help, args=(self._jobs,), name="gpunet-tile", daemon=True).start()
            self._running += 1
        for _ in range(helpers):
            self._jobs.put(job)

    def resize(self, count: int) -> None:
        self.count = count
        jobs, running = self._jobs, self._running
        self.forget()
        for _ in range(running):
            jobs.put(None)

    def forget(self) -> None:
        self._running = 0
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()


def _help(jobs: queue.SimpleQueue[Callable[[], None] | None]) -> None:
    """What a helper does until it is sent home."""
    while (job := jobs.get()) is not None:
        job()
        del job  # and the arrays that it holds


def _threads_from_environment() -> int:
    text = os.environ.get("GPUNET_NUM_THREADS", "")
    if text.isdecimal() and len(text) < 10 and 0 < int(text) <= MOST_THREADS:  # int() refuses what is very long
        return int(text)
    if text:
        _log.warning(
            "GPUNET_NUM_THREADS must be a whole number from 1 to %d, got %r; using every core", MOST_THREADS, text
        )
    return cores()


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_threads = _Threads()
if hasattr(os, "register_at_fork"):  # threads do not survive a fork; the child makes its own
    os.register_at_fork(after_in_child=_threads.forget)


def set_num_threads(count: int) -> None:
    """Set how many threads the NumPy backend uses (default: GPUNET_NUM_THREADS, else every core of the process).

    Raises:
        ArgumentError: if the count is not a whole number from 1 to 1024.
    """
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MOST_THREADS:
        raise ArgumentError(f"set_num_threads expects a whole number from 1 to {MOST_THREADS}, got {count!r}")
    _threads.resize(count)


def get_num_threads() -> int:
    """How many threads the NumPy backend uses."""
    return _threads.count
