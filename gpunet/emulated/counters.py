"""Counts what a GPU program should do rarely: operations of the device, and copies between host and device."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields

__all__ = ["Counters", "counters"]


@dataclass
class Counters:
    """The counts since the last `reset`."""

    launches: int = 0
    """Launches of raw kernels."""
    launches_of: Counter[str] = field(default_factory=Counter)
    """The same for each kernel, by its name without template arguments."""
    functions: Counter[str] = field(default_factory=Counter)
    """What the array module's functions launch on a device, by name: one for most, and what CuPy does beside them.

    That are the copies that it makes of operands and results ("copy"), and memory that it fills ("fill").
    """
    graph_launches: int = 0
    """Launches of graphs; what is in them was counted when it was captured."""
    host_to_device: int = 0
    """Arrays copied to the device."""
    device_to_host: int = 0
    """Arrays, or single values, copied back; each waits for the device on a GPU."""

    @property
    def device_operations(self) -> int:
        """All that a device has to start: kernels, products of cuBLAS, copies and fills."""
        return self.launches + self.functions.total()

    def reset(self) -> None:
        """Set every count to 0."""
        zero = Counters()
        for count in fields(self):
            setattr(self, count.name, getattr(zero, count.name))


counters = Counters()
