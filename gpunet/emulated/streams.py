"""Streams: queues of work for the device.

Work in the default stream is done at once here. A copy in a stream of its own (`Stream(non_blocking=True)`) is put off
until somebody waits for it, as late as a GPU might do it: who uses the array before that, or overwrites the pinned
memory that it comes from, gets wrong numbers here every time, and on a GPU sometimes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

__all__ = ["Event", "Stream", "get_current_stream", "synchronize_all"]


class Event:
    """A point in a stream's queue."""

    def __init__(self, block: bool = False, disable_timing: bool = False, interprocess: bool = False) -> None:
        self._stream: Stream | None = None
        self._length = 0

    def record(self, stream: Stream | None = None) -> None:
        """Mark the present end of the queue."""
        self._stream = stream if stream is not None else get_current_stream()
        self._length = self._stream.enqueued

    def synchronize(self) -> None:
        """Wait until all that was queued before the mark is done."""
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
        self.is_non_blocking = non_blocking
        self.enqueued = 0
        self.finished = 0
        self._queue: list[Callable[[], None]] = []
        self._before: list[Stream] = []

    @property
    def ptr(self) -> int:
        """What tells it from others."""
        return 0 if self is Stream.null else id(self)

    def enqueue(self, work: Callable[[], None]) -> None:
        """Do the work: now, or in a non-blocking stream when somebody waits for it."""
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
    for stream in list(_busy):
        stream.synchronize()
