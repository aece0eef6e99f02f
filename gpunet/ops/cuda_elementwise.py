"""The launchers of raw_kernels/elementwise.cu: the gradient of ReLU on a GPU, alone and added to another."""

from __future__ import annotations

from gpunet.backend import Array, xp
from gpunet.backend.kernel_table import ADD_RELU_GRADIENT, RELU_GRADIENT, TEMPLATE_DTYPES, Kernel
from gpunet.backend.kernels import launch, vector_width
from gpunet.backend.layout import in_memory_order
from gpunet.ops.activation import add_rectified_back, rectify_back


def _lie_alike(grad: Array, y: Array, *others: Array) -> bool:
    """Whether these are floats of one type without gaps, equal in shape and in how they lie in memory."""
    return (
        y.dtype in TEMPLATE_DTYPES["T"]
        and all((x.dtype, x.shape, x.strides) == (y.dtype, y.shape, y.strides) for x in (grad, *others))
        and bool(in_memory_order(y).flags.c_contiguous)
    )


@rectify_back.on("cuda", takes=_lie_alike)
def _(grad: Array, y: Array) -> Array:
    return _launch(RELU_GRADIENT, grad, y, xp.empty_like(y))


@add_rectified_back.on("cuda", takes=_lie_alike)
def _(grad: Array, y: Array, total: Array) -> Array:
    return _launch(ADD_RELU_GRADIENT, grad, y, total)


def _launch(kernel: Kernel, grad: Array, y: Array, written: Array) -> Array:
    vector = vector_width(y.size, written, grad, y)
    count = y.size // vector
    launch(kernel, *map(in_memory_order, (grad, y, written)), count, threads=count, vector=vector)
    return written
