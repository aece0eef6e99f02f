"""Depthwise convolution on a CPU, where each channel has filters of its own: launchers of raw_kernels/cpu/depthwise.h.

The kernels know one filter for each channel. Where there are m, the channels are repeated m times, and on the way back
their gradients are added.
"""

from __future__ import annotations

import functools
import math
from typing import Any

from gpunet.backend import Array, xp
from gpunet.backend.cpu_kernels import CpuKernel, Launch, launch
from gpunet.ops.batchnorm import Channels, Given, resolved
from gpunet.ops.conv import Shape, convolve, convolve_back_filters, convolve_back_input, convolve_normalise
from gpunet.ops.cpu_tiles import SUM_OVER_PIXELS, WINDOW, sum_in_chunks, window_numbers
from gpunet.ops.passes import is_float32
from gpunet.ops.window import Window

__all__ = ["DEPTHWISE", "DEPTHWISE_WEIGHT_GRADIENT"]

DEPTHWISE = CpuKernel(
    "depthwise",
    "const float* x, const float* filters, const float*? bias, const float*? center, const float*? scale, "
    f"const float*? shift, const float*? residual, float* y, {WINDOW}, i64 with_relu, i64 back",
)
DEPTHWISE_WEIGHT_GRADIENT = CpuKernel("depthwise_weight_gradient", SUM_OVER_PIXELS)
LEAST = 16  # channels: a vector of the widest build; general kernels do the work of fewer
RANGE = 64  # channels of an item of the gradient by the filters, as in depthwise.h


def _takes(x: Array, weight: Array, bias: Array | None, window: Window, groups: int, *_: Any) -> bool:
    return groups == x.shape[3] and len(weight) >= LEAST and is_float32(x, weight)


@convolve.on("cpu", takes=_takes)
def _convolve(x: Array, weight: Array, bias: Array | None, window: Window, groups: int) -> Array:
    return _forward(x, weight, bias, window, (None, None, None), None, False)


@convolve_normalise.on("cpu", takes=_takes)
def _convolve_normalise(
    x: Array,
    weight: Array,
    bias: Array | None,
    window: Window,
    groups: int,
    known: Channels | Given,
    residual: Array | None,
    relu: bool,
) -> Array:
    known = resolved(known)
    return _forward(x, weight, bias, window, (known.center, known.scale, known.shift), residual, relu)


def _forward(
    x: Array,
    weight: Array,
    bias: Array | None,
    window: Window,
    normalise: tuple[Array | None, ...],
    residual: Array | None,
    relu: bool,
) -> Array:
    x = _repeated(x, len(weight))
    y = xp.empty((len(x), *window.output_size(*x.shape[1:3]), len(weight)), dtype=x.dtype)
    prepared = _launch(x.shape, y.shape, window, int(relu), 0, len(y) * y.shape[1])
    launch(prepared, x, _filters(weight), bias, *normalise, residual, y)
    return y


def _takes_gradient(grad: Array, weight: Array, window: Window, groups: int, shape: Shape) -> bool:
    return groups == shape[3] and len(weight) >= LEAST and is_float32(grad, weight)


@convolve_back_input.on("cpu", takes=_takes_gradient)
def _convolve_back_input(grad: Array, weight: Array, window: Window, groups: int, shape: Shape) -> Array:
    outputs = len(weight)
    dx = xp.empty((*shape[:3], outputs), dtype=grad.dtype)
    prepared = _launch(dx.shape, grad.shape, window, 0, 1, shape[0] * shape[1])
    launch(prepared, grad, _filters(weight), *[None] * 5, dx)
    return dx if outputs == groups else dx.reshape(*shape, -1).sum(axis=4)


def _takes_both(x: Array, grad: Array, window: Window, groups: int) -> bool:
    return groups == x.shape[3] and grad.shape[3] >= LEAST and is_float32(x, grad)


@convolve_back_filters.on("cpu", takes=_takes_both)
def _convolve_back_filters(x: Array, grad: Array, window: Window, groups: int) -> Array:
    outputs = grad.shape[3]
    x = _repeated(x, outputs)
    return sum_in_chunks(DEPTHWISE_WEIGHT_GRADIENT, x, grad, window, outputs, -(-outputs // RANGE))


@functools.lru_cache(maxsize=1024)
def _launch(x: Shape, y: Shape, window: Window, relu: int, back: int, rows: int) -> Launch:
    work = math.prod(y) * math.prod(window.kernel)
    return DEPTHWISE.prepare(*window_numbers(x, y, window, x[3]), relu, back, items=rows, work=work)


def _filters(weight: Array) -> Array:
    """Filters (O, 1, kh, kw) as (kh, kw, 1, O), which is how nn.Conv2d allocates them: then it is no copy."""
    return xp.ascontiguousarray(weight.transpose(2, 3, 1, 0))


def _repeated(x: Array, outputs: int) -> Array:
    """Images (N, H, W, C) with each channel as often as it has filters."""
    return x if x.shape[3] == outputs else xp.repeat(x, outputs // x.shape[3], axis=3)
