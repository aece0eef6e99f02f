"""How much memory a process has taken."""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["peak_rss"]


def peak_rss() -> int | None:
    """The most bytes that this process has had in memory at once; None where the system does not say."""
    try:
        # Not ru_maxrss: on Linux a new program takes over the peak of the process that started it.
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
