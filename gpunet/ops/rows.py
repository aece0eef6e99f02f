"""Channels-last values as rows of several pixels, so that what is done by channel runs over long rows.

NumPy's innermost loop is the last axis. Over a handful of channels it stops and starts all the time, so the pixels of
an image row are taken together, and the vector of the channels is repeated for each of them.
"""

from __future__ import annotations

from gpunet.backend import Array, xp

__all__ = ["per_row", "pixels_per_row"]

ROW_LENGTH = 1024  # numbers; so many let the loop run, and the vectors stay in the first-level cache


def pixels_per_row(width: int, channels: int) -> int:
    """How many of the `width` pixels beside each other make a row: a divisor of it."""
    fitting = (r for r in range(width, 0, -1) if width % r == 0 and r * channels <= ROW_LENGTH)
    return next(fitting, 1)


def per_row(vector: Array, pixels: int) -> Array:
    """A number for each channel, repeated for the pixels of a row: (C,) -> (r*C,)."""
    row = xp.empty((pixels, len(vector)), dtype=vector.dtype)
    row[...] = vector
    return row.reshape(-1)
