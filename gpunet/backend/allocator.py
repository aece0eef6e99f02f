"""The C library's allocator, told to keep the memory of large arrays instead of returning it to the system each time.

By default glibc asks the system for every array above 32 MB, and often for smaller ones, and gives the pages back when
the array dies; the next array then faults all of its pages in again. A training step makes and frees the same large
arrays over and over: kept on the heap, they cost a tenth of the page faults at the same peak memory. Elsewhere than on
Linux with glibc nothing is done, and nothing needs to be.
"""

from __future__ import annotations

import ctypes
import functools
import sys

__all__ = ["keep_large_arrays"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # from <malloc.h>
_LARGEST_INT = (1 << 31) - 1


@functools.cache
def keep_large_arrays() -> bool:
    """Set the allocator up, once per process; returns whether it took the setting."""
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # another C library, such as musl
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, 1 << 30)) and bool(mallopt(_M_TRIM_THRESHOLD, _LARGEST_INT))
