"""Pooling by raw kernels: what `pooling.py` and `adaptive_pooling.py` compute with `xp`, in one launch each.

Arrays are NHWC-contiguous, (N, H, W, C), and on a backend that runs kernels. The kernels are in raw_kernels/pooling.cu
and raw_kernels/adaptive_pooling.cu.
"""

from __future__ import annotations

from gpunet.backend import Array, xp
from gpunet.backend.kernel_table import (
    ADAPTIVE_AVG_POOL2D_BACKWARD,
    ADAPTIVE_AVG_POOL2D_FORWARD,
    ADAPTIVE_MAX_POOL2D_BACKWARD,
    ADAPTIVE_MAX_POOL2D_FORWARD,
    AVG_POOL2D_BACKWARD,
    AVG_POOL2D_FORWARD,
    MAX_POOL2D_BACKWARD,
    MAX_POOL2D_FORWARD,
    Kernel,
)
from gpunet.backend.kernels import launch, vector_width
from gpunet.ops.window import Pair, Window

__all__ = [
    "adaptive_avg_pool2d_backward",
    "adaptive_avg_pool2d_forward",
    "adaptive_max_pool2d_backward",
    "adaptive_max_pool2d_forward",
    "avg_pool2d_backward",
    "avg_pool2d_forward",
    "max_pool2d_backward",
    "max_pool2d_forward",
]

Shape = tuple[int, int, int, int]


def max_pool2d_forward(x: Array, window: Window, remember: bool) -> tuple[Array, Array]:
    """Y (N, Ho, Wo, C), and for each value the place of the winner in its window (None if nobody will ask)."""
    n, height, width, channels = x.shape
    y = xp.empty((n, *window.output_size(height, width), channels), dtype=x.dtype)
    places = window.kernel[0] * window.kernel[1]
    winner = xp.empty(y.shape if remember else (0,), dtype=xp.uint8 if places <= 256 else xp.int32)
    _launch_items(MAX_POOL2D_FORWARD, (x, y, winner), y, *_max_settings(window, x.shape, y.shape), int(remember))
    return y, winner if remember else None


def max_pool2d_backward(grad: Array, winner: Array, window: Window, shape: Shape) -> Array:
    """Dx (N, H, W, C), the shape given, from the gradient by y and the winners (N, Ho, Wo, C)."""
    dx = xp.empty(shape, dtype=grad.dtype)
    _launch_items(MAX_POOL2D_BACKWARD, (grad, winner, dx), dx, *_max_settings(window, shape, grad.shape))
    return dx


def avg_pool2d_forward(x: Array, window: Window, count_include_pad: bool, divisor_override: int | None) -> Array:
    """Y (N, Ho, Wo, C)."""
    n, height, width, channels = x.shape
    y = xp.empty((n, *window.output_size(height, width), channels), dtype=x.dtype)
    settings = _avg_settings(window, x.shape, y.shape, count_include_pad, divisor_override)
    _launch_items(AVG_POOL2D_FORWARD, (x, y), y, *settings)
    return y


def avg_pool2d_backward(
    grad: Array, window: Window, shape: Shape, count_include_pad: bool, divisor_override: int | None
) -> Array:
    """Dx (N, H, W, C), the shape given, from the gradient by y (N, Ho, Wo, C)."""
    dx = xp.empty(shape, dtype=grad.dtype)
    settings = _avg_settings(window, shape, grad.shape, count_include_pad, divisor_override)
    _launch_items(AVG_POOL2D_BACKWARD, (grad, dx), dx, *settings)
    return dx


def adaptive_avg_pool2d_forward(x: Array, output_size: Pair) -> Array:
    """Y (N, Ho, Wo, C)."""
    y = xp.empty((x.shape[0], *output_size, x.shape[3]), dtype=x.dtype)
    _launch_items(ADAPTIVE_AVG_POOL2D_FORWARD, (x, y), y, *_sizes(x.shape, y.shape))
    return y


def adaptive_avg_pool2d_backward(grad: Array, shape: Shape) -> Array:
    """Dx (N, H, W, C), the shape given, from the gradient by y (N, Ho, Wo, C)."""
    dx = xp.empty(shape, dtype=grad.dtype)
    _launch_items(ADAPTIVE_AVG_POOL2D_BACKWARD, (grad, dx), dx, *_sizes(shape, grad.shape))
    return dx


def adaptive_max_pool2d_forward(x: Array, output_size: Pair, remember: bool) -> tuple[Array, Array]:
    """Y (N, Ho, Wo, C), and for each value the place of the winner in its cell (None if nobody will ask)."""
    y = xp.empty((x.shape[0], *output_size, x.shape[3]), dtype=x.dtype)
    winner = xp.empty(y.shape if remember else (0,), dtype=xp.int32)
    _launch_items(ADAPTIVE_MAX_POOL2D_FORWARD, (x, y, winner), y, *_sizes(x.shape, y.shape), int(remember))
    return y, winner if remember else None


def adaptive_max_pool2d_backward(grad: Array, winner: Array, shape: Shape) -> Array:
    """Dx (N, H, W, C), the shape given, from the gradient by y and the winners (N, Ho, Wo, C)."""
    dx = xp.empty(shape, dtype=grad.dtype)
    _launch_items(ADAPTIVE_MAX_POOL2D_BACKWARD, (grad, winner, dx), dx, *_sizes(shape, grad.shape))
    return dx


def _launch_items(kernel: Kernel, arrays: tuple[Array, ...], result: Array, *settings: int) -> None:
    """One thread for each pack of channels of the result; their number follows the arrays among the arguments."""
    vector = vector_width(result.shape[-1], result, *arrays)
    packs = result.size // vector
    launch(kernel, *arrays, packs, *settings, threads=packs, vector=vector)


def _sizes(shape: Shape, out_shape: Shape) -> tuple[int, ...]:
    return (*shape[1:], *out_shape[1:3])


def _max_settings(window: Window, shape: Shape, out_shape: Shape) -> tuple[int, ...]:
    (top, _), (left, _) = window.padding
    return (*_sizes(shape, out_shape), *window.kernel, *window.stride, top, left, *window.dilation)


def _avg_settings(
    window: Window, shape: Shape, out_shape: Shape, count_include_pad: bool, divisor_override: int | None
) -> tuple[int, ...]:
    (top, bottom), (left, right) = window.padding
    divisor = (int(count_include_pad), divisor_override or 0)  # 0: none
    return (*_sizes(shape, out_shape), *window.kernel, *window.stride, top, bottom, left, right, *divisor)
