"""Launchers of the CUDA kernels for pooling, raw_kernels/pooling.cu and adaptive_pooling.cu: one launch a pass."""

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
from gpunet.ops import adaptive_pooling, pooling
from gpunet.ops.pooling import Shape, winner_dtype
from gpunet.ops.window import Pair, Window


@pooling.max_pool2d_forward.on("cuda")
def _max_pool2d_forward(x: Array, window: Window, remember: bool) -> tuple[Array, Array]:
    n, height, width, channels = x.shape
    y = xp.empty((n, *window.output_size(height, width), channels), dtype=x.dtype)
    winner = xp.empty(y.shape if remember else (0,), dtype=winner_dtype(window))
    _launch_items(MAX_POOL2D_FORWARD, (x, y, winner), y, *_max_settings(window, x.shape, y.shape), int(remember))
    return y, winner if remember else None


@pooling.max_pool2d_backward.on("cuda")
def _max_pool2d_backward(grad: Array, winner: Array, window: Window, shape: Shape) -> Array:
    dx = xp.empty(shape, dtype=grad.dtype)
    _launch_items(MAX_POOL2D_BACKWARD, (grad, winner, dx), dx, *_max_settings(window, shape, grad.shape))
    return dx


@pooling.avg_pool2d_forward.on("cuda")
def _avg_pool2d_forward(x: Array, window: Window, count_include_pad: bool, divisor_override: int | None) -> Array:
    n, height, width, channels = x.shape
    y = xp.empty((n, *window.output_size(height, width), channels), dtype=x.dtype)
    settings = _avg_settings(window, x.shape, y.shape, count_include_pad, divisor_override)
    _launch_items(AVG_POOL2D_FORWARD, (x, y), y, *settings)
    return y


@pooling.avg_pool2d_backward.on("cuda")
def _avg_pool2d_backward(
    grad: Array, window: Window, shape: Shape, count_include_pad: bool, divisor_override: int | None
) -> Array:
    dx = xp.empty(shape, dtype=grad.dtype)
    settings = _avg_settings(window, shape, grad.shape, count_include_pad, divisor_override)
    _launch_items(AVG_POOL2D_BACKWARD, (grad, dx), dx, *settings)
    return dx


@adaptive_pooling.adaptive_avg_pool2d_forward.on("cuda")
def _adaptive_avg_pool2d_forward(x: Array, output_size: Pair) -> Array:
    y = xp.empty((x.shape[0], *output_size, x.shape[3]), dtype=x.dtype)
    _launch_items(ADAPTIVE_AVG_POOL2D_FORWARD, (x, y), y, *_sizes(x.shape, y.shape))
    return y


@adaptive_pooling.adaptive_avg_pool2d_backward.on("cuda")
def _adaptive_avg_pool2d_backward(grad: Array, shape: Shape) -> Array:
    dx = xp.empty(shape, dtype=grad.dtype)
    _launch_items(ADAPTIVE_AVG_POOL2D_BACKWARD, (grad, dx), dx, *_sizes(shape, grad.shape))
    return dx


@adaptive_pooling.adaptive_max_pool2d_forward.on("cuda")
def _adaptive_max_pool2d_forward(x: Array, output_size: Pair, remember: bool) -> tuple[Array, Array]:
    y = xp.empty((x.shape[0], *output_size, x.shape[3]), dtype=x.dtype)
    winner = xp.empty(y.shape if remember else (0,), dtype=xp.int32)
    _launch_items(ADAPTIVE_MAX_POOL2D_FORWARD, (x, y, winner), y, *_sizes(x.shape, y.shape), int(remember))
    return y, winner if remember else None


@adaptive_pooling.adaptive_max_pool2d_backward.on("cuda")
def _adaptive_max_pool2d_backward(grad: Array, winner: Array, shape: Shape) -> Array:
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
