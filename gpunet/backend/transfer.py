"""From the host to the backend: batches are copied to a GPU while it still works on the one before."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpunet.backend.active import Array, active_backend, asarray, xp

__all__ = ["HostToBackend"]

BATCHES_IN_FLIGHT = 2  # pinned buffers are held until the copies from them must have ended


class HostToBackend:
    """Copies arrays of the host to the active backend.

    On NumPy there is nothing to copy. On a GPU the arrays go through pinned memory, which the GPU can read by itself,
    on a stream of their own: `send` returns at once, and what it returns makes the computation wait for the copy, not
    the program.

    Attributes:
        ahead: how many batches should be sent before the first is used.
    """

    def __init__(self) -> None:
        self.ahead = 0 if active_backend() == "numpy" else 1
        if self.ahead:
            self.stream = xp.cuda.Stream(non_blocking=True)
            self._held: deque[tuple[Any, list[Any]]] = deque()

    def send(self, arrays: Sequence[np.ndarray[Any, Any]]) -> Callable[[], list[Array]]:
        """Begin to copy the arrays; the function that is returned gives them, ready to be used."""
        if not self.ahead:
            return lambda: [asarray(array) for array in arrays]
        while len(self._held) >= BATCHES_IN_FLIGHT:
            copied, _ = self._held.popleft()
            copied.synchronize()
        # The memory of a new array may have belonged to one that the computation is still reading: wait for that first.
        computation = xp.cuda.get_current_stream()
        self.stream.wait_event(computation.record())
        pinned = [_pinned_copy(array) for array in arrays]
        copies = [xp.empty(array.shape, dtype=array.dtype) for array in arrays]
        for copy, buffer in zip(copies, pinned, strict=True):
            copy.set(buffer, stream=self.stream)
        copied = self.stream.record()
        self._held.append((copied, pinned))

        def arrive() -> list[Array]:
            xp.cuda.get_current_stream().wait_event(copied)
            return copies

        return arrive


def _pinned_copy(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    memory = xp.cuda.alloc_pinned_memory(array.nbytes)
    buffer = np.frombuffer(memory, array.dtype, array.size).reshape(array.shape)
    buffer[...] = array
    return buffer
