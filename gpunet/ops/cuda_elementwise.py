"""The launcher of raw_kernels/elementwise.cu: the gradient of ReLU on a GPU."""

from __future__ import annotations

from gpunet.backend import Array, xp
from gpunet.backend.kernel_table import RELU_GRADIENT, TEMPLATE_DTYPES
from gpunet.backend.kernels import launch, vector_width
from gpunet.backend.layout import in_memory_order
from gpunet.ops.activation import rectify_back


def _lie_alike(grad: Array, y: Array) -> bool:
    """Whether these are floats of one type without gaps, equal in shape and in how they lie in memory."""
    return (
        grad.dtype == y.dtype in TEMPLATE_DTYPES["T"]
        and (grad.shape, grad.strides) == (y.shape, y.strides)
        and bool(in_memory_order(y).flags.c_contiguous)
    )


@rectify_back.on("cuda", takes=_lie_alike)
def _(grad: Array, y: Array) -> Array:
    dx = xp.empty_like(y)
    vector = vector_width(y.size, dx, grad, y)
    count = y.size // vector
    launch(RELU_GRADIENT, *map(in_memory_order, (grad, y, dx)), count, threads=count, vector=vector)
    return dx
