"""Launchers of the CPU kernels for pooling: raw_kernels/cpu/pooling.h and adaptive.h."""

from __future__ import annotations

from gpunet.backend import Array, xp
from gpunet.backend.cpu_kernels import MOVED, CpuKernel, launch
from gpunet.ops import adaptive_pooling, pooling
from gpunet.ops.passes import is_float32
from gpunet.ops.pooling import Shape, winner_dtype
from gpunet.ops.window import Pair, Window

_SIZES = "i64 height, i64 width, i64 channels, i64 out_height, i64 out_width"
_WINDOW = f"{_SIZES}, i64 kh, i64 kw, i64 sh, i64 sw, i64 top, i64 left, i64 dh, i64 dw"
_DIVISOR = "i64 bottom, i64 right, i64 count_include_pad, i64 override"

MAX_FORWARD = {
    xp_type: CpuKernel(f"max_pool2d_forward{ending}", f"const float* x, float* y, {c_type}*? winner, {_WINDOW}")
    for xp_type, c_type, ending in (("uint8", "unsigned char", ""), ("int32", "int", "_int"))
}
MAX_BACKWARD = {
    xp_type: CpuKernel(
        f"max_pool2d_backward{ending}", f"const float* grad, const {c_type}* winner, float* dx, {_WINDOW}"
    )
    for xp_type, c_type, ending in (("uint8", "unsigned char", ""), ("int32", "int", "_int"))
}
AVG_FORWARD = CpuKernel("avg_pool2d_forward", f"const float* x, float* y, {_WINDOW}, {_DIVISOR}")
AVG_BACKWARD = CpuKernel("avg_pool2d_backward", f"const float* grad, float* dx, {_WINDOW}, {_DIVISOR}")
ADAPTIVE_AVG_FORWARD = CpuKernel("adaptive_avg_pool2d_forward", f"const float* x, float* y, {_SIZES}")
ADAPTIVE_AVG_BACKWARD = CpuKernel("adaptive_avg_pool2d_backward", f"const float* grad, float* dx, {_SIZES}")
ADAPTIVE_MAX_FORWARD = CpuKernel("adaptive_max_pool2d_forward", f"const float* x, float* y, int*? winner, {_SIZES}")
ADAPTIVE_MAX_BACKWARD = CpuKernel(
    "adaptive_max_pool2d_backward", f"const float* grad, const int* winner, float* dx, {_SIZES}"
)


@pooling.max_pool2d_forward.on("cpu", takes=is_float32)
def _max_pool2d_forward(x: Array, window: Window, remember: bool) -> tuple[Array, Array | None]:
    n, height, width, channels = x.shape
    y = xp.empty((n, *window.output_size(height, width), channels), dtype=x.dtype)
    winner = xp.empty(y.shape, dtype=winner_dtype(window)) if remember else None
    kernel = MAX_FORWARD["uint8" if winner is None else winner.dtype.name]
    _launch_rows(kernel, (x, y, winner), y, x.size, *_window(window, x.shape, y.shape))
    return y, winner


@pooling.max_pool2d_backward.on("cpu", takes=is_float32)
def _max_pool2d_backward(grad: Array, winner: Array, window: Window, shape: Shape) -> Array:
    dx = xp.empty(shape, dtype=grad.dtype)
    kernel = MAX_BACKWARD[winner.dtype.name]
    _launch_rows(kernel, (grad, winner, dx), dx, dx.size, *_window(window, shape, grad.shape))
    return dx


@pooling.avg_pool2d_forward.on("cpu", takes=is_float32)
def _avg_pool2d_forward(x: Array, window: Window, count_include_pad: bool, divisor_override: int | None) -> Array:
    n, height, width, channels = x.shape
    y = xp.empty((n, *window.output_size(height, width), channels), dtype=x.dtype)
    rule = _divisor(window, count_include_pad, divisor_override)
    _launch_rows(AVG_FORWARD, (x, y), y, x.size, *_window(window, x.shape, y.shape), *rule)
    return y


@pooling.avg_pool2d_backward.on("cpu", takes=is_float32)
def _avg_pool2d_backward(
    grad: Array, window: Window, shape: Shape, count_include_pad: bool, divisor_override: int | None
) -> Array:
    dx = xp.empty(shape, dtype=grad.dtype)
    rule = _divisor(window, count_include_pad, divisor_override)
    _launch_rows(AVG_BACKWARD, (grad, dx), dx, dx.size, *_window(window, shape, grad.shape), *rule)
    return dx


@adaptive_pooling.adaptive_avg_pool2d_forward.on("cpu", takes=is_float32)
def _adaptive_avg_pool2d_forward(x: Array, output_size: Pair) -> Array:
    y = xp.empty((len(x), *output_size, x.shape[3]), dtype=x.dtype)
    _launch_rows(ADAPTIVE_AVG_FORWARD, (x, y), y, x.size, *x.shape[1:], *output_size)
    return y


@adaptive_pooling.adaptive_avg_pool2d_backward.on("cpu", takes=is_float32)
def _adaptive_avg_pool2d_backward(grad: Array, shape: Shape) -> Array:
    dx = xp.empty(shape, dtype=grad.dtype)
    _launch_rows(ADAPTIVE_AVG_BACKWARD, (grad, dx), dx, dx.size, *shape[1:], *grad.shape[1:3])
    return dx


@adaptive_pooling.adaptive_max_pool2d_forward.on("cpu", takes=is_float32)
def _adaptive_max_pool2d_forward(x: Array, output_size: Pair, remember: bool) -> tuple[Array, Array | None]:
    y = xp.empty((len(x), *output_size, x.shape[3]), dtype=x.dtype)
    winner = xp.empty(y.shape, dtype=xp.int32) if remember else None
    _launch_rows(ADAPTIVE_MAX_FORWARD, (x, y, winner), y, x.size, *x.shape[1:], *output_size)
    return y, winner


@adaptive_pooling.adaptive_max_pool2d_backward.on("cpu", takes=is_float32)
def _adaptive_max_pool2d_backward(grad: Array, winner: Array, shape: Shape) -> Array:
    dx = xp.empty(shape, dtype=grad.dtype)
    _launch_rows(ADAPTIVE_MAX_BACKWARD, (grad, winner, dx), dx, dx.size, *shape[1:], *grad.shape[1:3])
    return dx


def _launch_rows(kernel: CpuKernel, arrays: tuple[Array | None, ...], result: Array, work: int, *settings: int) -> None:
    """An item is a row of the result."""
    launch(kernel.prepare(*settings, items=result.shape[0] * result.shape[1], work=MOVED * work), *arrays)


def _window(window: Window, shape: Shape, out_shape: Shape) -> tuple[int, ...]:
    (top, _), (left, _) = window.padding
    return (*shape[1:], *out_shape[1:3], *window.kernel, *window.stride, top, left, *window.dilation)


def _divisor(window: Window, count_include_pad: bool, divisor_override: int | None) -> tuple[int, ...]:
    (_, bottom), (_, right) = window.padding
    return bottom, right, int(count_include_pad), divisor_override or 0
