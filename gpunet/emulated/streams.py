"""Streams: queues of work for the device.

Work in the default stream is done at once here. A copy in a stream of its own (`Stream(non_blocking=True)`) is put off
until somebody waits for it, as late as a GPU might do it: who uses the array before that, or overwrites the pinned
memory that it comes from, gets wrong numbers here every time, and on a GPU sometimes.

While a stream is being captured nothing is done at all: work is written down, and done when the graph is launched. What
CUDA refuses meanwhile is refused with its error, and the capture is lost as it is there.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Any

from gpunet.emulated.counters import counters
from gpunet.errors import KernelError

__all__ = [
    "CUDARuntimeError",
    "Capture",
    "Event",
    "Graph",
    "Stream",
    "capturing",
    "get_current_stream",
    "refuse_in_capture",
    "synchronize_all",
]


class CUDARuntimeError(RuntimeError):
    """The runtime refuses, as CuPy says it."""


class Capture:
    """What a stream was asked to do since `begin_capture`.

    Attributes:
        work: in its order.
        memory: what the work reads and writes; of each array what is gone when its memory is free.
        broken_by: what CUDA had to refuse; the capture is of no use then.
    """

    def __init__(self) -> None:
        self.work: list[Callable[[], Any]] = []
        self.memory: set[weakref.ref[Any]] = set()
        self.broken_by = ""


class Graph:
    """Work that was written down, to be done as often as it is launched."""

    def __init__(self, capture: Capture) -> None:
        self._capture = capture

    def launch(self, stream: Stream | None = None) -> None:
        """Do it, in a stream.

        Raises:
            KernelError: if memory that it reads or writes has been freed since: on a GPU it is somebody else's by now.
        """
        counters.graph_launches += 1
        (stream if stream is not None else get_current_stream()).enqueue(self._run)

    def _run(self) -> None:
        if gone := sum(memory() is None for memory in self._capture.memory):
            raise KernelError(
                f"a graph was launched, and {gone} of the arrays that it reads or writes are freed by now"
            )
        for work in self._capture.work:
            work()


def capturing() -> Capture | None:
    """The capture that work of this thread goes into, if it is not done at once."""
    return _current.stream.capture


def refuse_in_capture(what: str, capture: Capture | None = None) -> None:
    """Raise CUDA's error for what it does not do while a graph is being captured, if one is."""
    capture = capture or capturing()
    if capture is not None:
        capture.broken_by = capture.broken_by or what
        raise CUDARuntimeError(
            f"cudaErrorStreamCaptureUnsupported: operation not permitted when stream is capturing: {what}"
        )


class Event:
    """A point in a stream's queue."""

    def __init__(self, block: bool = False, disable_timing: bool = False, interprocess: bool = False) -> None:
        self._stream: Stream | None = None
        self._length = 0

    def record(self, stream: Stream | None = None) -> None:
        """Mark the present end of the queue."""
        self._stream = stream if stream is not None else get_current_stream()
        if self._stream.capture is not None:
            refuse_in_capture("an event, which would draw other streams into the graph", self._stream.capture)
        self._length = self._stream.enqueued

    def synchronize(self) -> None:
        """Wait until all that was queued before the mark is done."""
        refuse_in_capture("waiting for an event")
        if self._stream is not None:
            self._stream.run_until(self._length)

    @property
    def done(self) -> bool:
        """Whether that has happened already."""
        return self._stream is None or self._stream.finished >= self._length


class Stream:
    """A queue of work; `with stream:` makes it the current one of the thread."""

    null: Stream

    def __init__(self, null: bool = False, non_blocking: bool = False, ptds: bool = False) -> None:
        self.ptr = 0 if null else id(self)
        self.is_non_blocking = non_blocking
        self.enqueued = 0
        self.finished = 0
        self.capture: Capture | None = None
        self._queue: list[Callable[[], None]] = []
        self._before: list[Stream] = []

    def enqueue(self, work: Callable[[], None]) -> None:
        """Do the work: now, or in a non-blocking stream when somebody waits for it."""
        if self.capture is not None:
            refuse_in_capture("a copy from the host, or waiting for another stream", self.capture)
        self._queue.append(work)
        self.enqueued += 1
        _busy.add(self)
        if not self.is_non_blocking:
            self.synchronize()

    def run_until(self, length: int) -> None:
        """Do what is queued, up to so many pieces of work since the stream was made."""
        while self.finished < length:
            self.finished += 1
            self._queue.pop(0)()
        if not self._queue:
            _busy.discard(self)

    def synchronize(self) -> None:
        """Wait until the queue is empty."""
        if self.capture is not None:
            refuse_in_capture("waiting for the stream", self.capture)
        self.run_until(self.enqueued)

    @property
    def done(self) -> bool:
        """Whether the queue is empty."""
        return not self._queue

    def record(self, event: Event | None = None) -> Event:
        """Mark the present end of the queue with an event, a new one by default."""
        event = event if event is not None else Event()
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        """Let the work that is queued from now on wait for an event."""
        self.enqueue(event.synchronize)

    def begin_capture(self, mode: int | None = None) -> None:
        """From now on write down what this stream is asked to do, and do nothing of it."""
        if self is Stream.null:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        if self.capture is not None:
            raise CUDARuntimeError("cudaErrorIllegalState: the operation cannot be performed in the present state")
        self.capture = Capture()

    def end_capture(self) -> Graph:
        """The graph of what was written down."""
        capture, self.capture = self.capture, None
        if capture is None:
            raise CUDARuntimeError("cudaErrorIllegalState: the operation cannot be performed in the present state")
        if capture.broken_by:
            raise CUDARuntimeError(
                "cudaErrorStreamCaptureInvalidated: operation failed due to a previous error during capture: "
                + capture.broken_by
            )
        return Graph(capture)

    def is_capturing(self) -> bool:
        """Whether that is going on."""
        return self.capture is not None

    def use(self) -> Stream:
        """Make this the current stream of the thread."""
        _current.stream = self
        return self

    def __enter__(self) -> Stream:
        self._before.append(get_current_stream())
        return self.use()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._before.pop().use()


_busy: set[Stream] = set()  # those with work in their queues
Stream.null = Stream(null=True)


class _Current(threading.local):
    stream = Stream.null


_current = _Current()


def get_current_stream() -> Stream:
    """The stream that work of this thread goes to."""
    return _current.stream


def synchronize_all() -> None:
    """Wait for every stream of the device."""
    refuse_in_capture("waiting for the device")
    for stream in list(_busy):
        stream.synchronize()
