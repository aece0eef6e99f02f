"""The gradient of a convolution by its filters on a CPU: the launcher of raw_kernels/cpu/weight_gradient.h."""

from __future__ import annotations

import math

from gpunet.backend import Array
from gpunet.backend.cpu_kernels import CpuKernel
from gpunet.ops.conv import convolve_back_filters
from gpunet.ops.cpu_tiles import SUM_OVER_PIXELS, sum_in_chunks
from gpunet.ops.passes import is_float32
from gpunet.ops.window import Window

__all__ = ["WEIGHT_GRADIENT"]

WEIGHT_GRADIENT = CpuKernel("weight_gradient", SUM_OVER_PIXELS)
RANGE = 64  # input channels, and outputs, of an item, as in weight_gradient.h


@convolve_back_filters.on("cpu", takes=is_float32)
def _(x: Array, grad: Array, window: Window, groups: int) -> Array:
    ranges = groups * math.prod(-(-channels // groups // RANGE) for channels in (x.shape[3], grad.shape[3]))
    return sum_in_chunks(WEIGHT_GRADIENT, x, grad, window, groups, ranges)
