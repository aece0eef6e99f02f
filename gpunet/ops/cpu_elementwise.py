"""ReLU, its gradient and additions on a CPU: the launchers of raw_kernels/cpu/elementwise.h, for float32."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from gpunet.backend import Array, xp
from gpunet.backend.cpu_kernels import MOVED, CpuKernel, Launch, launch
from gpunet.backend.layout import in_memory_order
from gpunet.ops.activation import add_rectified_back, rectify, rectify_back
from gpunet.ops.arithmetic import add
from gpunet.ops.passes import FLOAT32

RELU = CpuKernel("relu_forward", "const float* x, float* y")
RELU_GRADIENT = CpuKernel("relu_gradient", "const float* grad, const float* y, float* dx")
ADD_RELU_GRADIENT = CpuKernel("add_relu_gradient", "const float* grad, const float* y, float* total")
ADD = CpuKernel("add", "const float* a, const float* b, float* y")
ADD_TO = CpuKernel("add_to", "const float* a, float* y")

SMALLEST = 1 << 12  # numbers; fewer are done before a kernel is launched


@functools.lru_cache(maxsize=1024)
def _over(kernel: CpuKernel, size: int) -> Launch:
    return kernel.prepare(items=size, work=MOVED * size)


def _lie_alike(*arrays: Any) -> bool:
    """Whether these are float32 arrays without gaps, equal in shape and in how they lie in memory."""
    first = arrays[0]
    return all(
        type(each) is np.ndarray and each.size >= SMALLEST and (each.dtype is FLOAT32 or each.dtype == FLOAT32)
        and each.shape == first.shape and each.strides == first.strides
        for each in arrays
    ) and in_memory_order(first).flags.c_contiguous  # fmt: skip


@rectify.on("cpu", takes=_lie_alike)
def _(x: Array) -> Array:
    y = xp.empty_like(x)
    launch(_over(RELU, x.size), in_memory_order(x), in_memory_order(y))
    return y


@rectify_back.on("cpu", takes=_lie_alike)
def _(grad: Array, y: Array) -> Array:
    dx = xp.empty_like(y)
    launch(_over(RELU_GRADIENT, y.size), in_memory_order(grad), in_memory_order(y), in_memory_order(dx))
    return dx


@add_rectified_back.on("cpu", takes=_lie_alike)
def _(grad: Array, y: Array, total: Array) -> Array:
    launch(_over(ADD_RELU_GRADIENT, y.size), in_memory_order(grad), in_memory_order(y), in_memory_order(total))
    return total


@add.on("cpu", takes=lambda a, b, out=None: (out is None or out is b) and out is not a and _lie_alike(a, b))
def _(a: Array, b: Array, out: Array | None = None) -> Array:
    if out is None:
        y = xp.empty_like(b)
        launch(_over(ADD, b.size), in_memory_order(a), in_memory_order(b), in_memory_order(y))
        return y
    launch(_over(ADD_TO, b.size), in_memory_order(a), in_memory_order(out))
    return out
