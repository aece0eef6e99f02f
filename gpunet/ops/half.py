"""float16 where there is no arithmetic for it: the tensor cores of a GPU, imitated.

A tensor core takes factors in float16, multiplies and adds them up in float32, and rounds the sum to float16, once.
NumPy has nothing like it: its matrix product is a plain loop, hundreds of times slower than that of BLAS on float32,
and its sums along an axis stop growing where a single number is lost in them, 2048 + 1 = 2048. So there an operation
that adds up runs in float32 as a whole, between a cast of its inputs and a cast of its output. The result is that of a
tensor core: what is 65520 or more becomes infinite, what is 3e-8 or less becomes 0. It is slower than float32, never
faster.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.backend import Array, kernels
from gpunet.ops.operation import Operation
from gpunet.ops.waiting import computed

__all__ = ["InFloat32", "float32_inside"]


class InFloat32(Operation):
    """Another operation on float16, carried out in float32: each result is rounded once.

    Inputs that are float32 already, such as the parameters of batch norm in mixed precision, have float32 gradients.
    """

    def __init__(self, inner: Operation) -> None:
        self.inner = inner

    def forward(self, *inputs: Array) -> Array:
        self.dtypes = [x.dtype for x in inputs]
        self.inner.needs_grad = self.needs_grad
        y = self.inner.forward(*(computed(x).astype(np.float32, copy=False) for x in inputs))
        return computed(y).astype(np.float16)

    def backward(self, grad: Array) -> tuple[Array | None, ...]:
        gradients = self.inner.backward(grad.astype(np.float32))
        return tuple(
            None if each is None else each.astype(dtype, copy=False)
            for each, dtype in zip(gradients, self.dtypes, strict=True)
        )


def float32_inside(operation: Operation, dtype: Any) -> Operation:
    """An operation that adds many numbers up, on inputs of this type, such that its sums are float32 for float16.

    Matrix products and kernels on a GPU sum like that by themselves, and NumPy's on float32 or float64 need not.
    """
    return InFloat32(operation) if dtype == np.float16 and not kernels.enabled() else operation
