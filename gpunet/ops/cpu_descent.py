"""Stochastic gradient descent on a CPU: the launcher of raw_kernels/cpu/descent.h, for float32."""

from __future__ import annotations

from gpunet.backend import Array, memory_order, xp
from gpunet.backend.cpu_kernels import MOVED, CpuKernel, launch
from gpunet.ops.descent import Descent, descend
from gpunet.ops.passes import is_float32

DESCEND = CpuKernel(
    "descend",
    "const float* grad, float* w, float*? v, i64 nesterov, double rate, double momentum, double kept, double decay",
)


def _takes(w: Array, grad: Array, v: Array | None, how: Descent) -> bool:
    """Weights without gaps, in any order of their axes."""
    return is_float32(w, grad, v) and bool(w.transpose(memory_order(w)).flags.c_contiguous)


@descend.on("cpu", takes=_takes)
def _(w: Array, grad: Array, v: Array | None, how: Descent) -> tuple[Array, Array | None]:
    order = memory_order(w)
    grads, weights, velocities = (
        None if each is None else xp.ascontiguousarray(each.transpose(order)) for each in (grad, w, v)
    )
    numbers = (int(how.nesterov), how.rate, how.momentum, 1 - how.dampening, how.decay)
    launch(DESCEND.prepare(*numbers, items=w.size, work=MOVED * w.size), grads, weights, velocities)
    if v is not None and not xp.may_share_memory(v, velocities):  # it lay in another order
        v.transpose(order)[...] = velocities
    return w, v
