"""Numbers that the host decides on and the device reads: learning rates, the scale of a loss.

A launch could take them along as arguments, but a CUDA graph repeats a launch with the arguments that it was recorded
with. So they lie on the device, and a number that has changed is written there, by a launch that takes it along. That
uploads nothing, and nobody waits.
"""

from __future__ import annotations

from collections.abc import Sequence

from gpunet.backend.active import xp

__all__ = ["DeviceNumbers"]


class DeviceNumbers:
    """A few numbers on the active backend.

    Attributes:
        array: where they are, float64, (count,).
    """

    def __init__(self, count: int) -> None:
        self.array = xp.empty(count, dtype=xp.float64)
        self._written: list[float | None] = [None] * count

    def write(self, numbers: Sequence[float]) -> None:
        """Bring them up to date."""
        for place, number in enumerate(numbers):
            if number != self._written[place]:
                self.array[place : place + 1].fill(number)
                self._written[place] = number
