"""Counts what a GPU program should do rarely: launches of raw kernels and copies between host and device."""

from __future__ import annotations

from dataclasses import dataclass, fields

__all__ = ["Counters", "counters"]


@dataclass
class Counters:
    """The counts since the last `reset`."""

    launches: int = 0
    """Launches of raw kernels."""
    host_to_device: int = 0
    """Arrays copied to the device."""
    device_to_host: int = 0
    """Arrays, or single values, copied back; each waits for the device on a GPU."""

    def reset(self) -> None:
        """Set every count to 0."""
        for field in fields(self):
            setattr(self, field.name, 0)


counters = Counters()
