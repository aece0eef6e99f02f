"""Launchers of the CPU kernels for softmax and its logarithm, raw_kernels/cpu/softmax.h: an item is a row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpunet.backend import Array, xp
from gpunet.backend.cpu_kernels import CpuKernel, launch
from gpunet.ops import softmax
from gpunet.ops.passes import is_float32

WORK = 20  # multiply-adds that an exponential takes, roughly

_FORWARD = "const float* x, float* y, i64 classes"
_BACKWARD = "const float* grad, const float* y, float* dx, i64 classes"


def _is_last(*args: Any) -> bool:
    """Whether the axis is the last one, so that what is summed lies side by side."""
    return is_float32(*args) and args[-1] in (-1, args[0].ndim - 1) and args[0].size > 0


def _launcher(kernel: CpuKernel) -> Callable[..., Array]:
    def run(*args: Any) -> Array:
        arrays = [xp.ascontiguousarray(array) for array in args[:-1]]
        result = xp.empty_like(arrays[0])
        classes = result.shape[-1]
        prepared = kernel.prepare(classes, items=result.size // classes, work=result.size * WORK)
        launch(prepared, *arrays, result)
        return result

    return run


softmax.softmax_forward.on("cpu", takes=_is_last)(_launcher(CpuKernel("softmax_forward", _FORWARD)))
softmax.softmax_backward.on("cpu", takes=_is_last)(_launcher(CpuKernel("softmax_backward", _BACKWARD)))
softmax.log_softmax_forward.on("cpu", takes=_is_last)(_launcher(CpuKernel("log_softmax_forward", _FORWARD)))
softmax.log_softmax_backward.on("cpu", takes=_is_last)(_launcher(CpuKernel("log_softmax_backward", _BACKWARD)))
