"""Memory format: shapes are (N, C, H, W), memory is (N, H, W, C).

A 4-D activation is an array of shape NCHW whose strides are those of NHWC ("channels last"). The channels of a pixel
lie side by side: on a CPU the matrix products of a convolution then run up to twice as fast, and on a GPU neighbouring
threads read neighbouring channels. Element-wise operations keep the layout by themselves.
"""

from __future__ import annotations

from gpunet.backend.active import Array, active_backend, xp

__all__ = ["address", "as_nchw", "to_nhwc"]


def to_nhwc(x: Array) -> Array:
    """The (N, H, W, C) contiguous array behind a (N, C, H, W) one: a view where it is channels-last, else a copy."""
    return xp.ascontiguousarray(x.transpose(0, 2, 3, 1))


def as_nchw(x: Array) -> Array:
    """The (N, C, H, W) view of a (N, H, W, C) array: only the strides change."""
    return x.transpose(0, 3, 1, 2)


def address(array: Array) -> int:
    """Where the first element of an array lies in memory."""
    return int(array.ctypes.data if active_backend() == "numpy" else array.data.ptr)
