"""Transposed convolution: a convolution with forward and backward exchanged.

    y  = what convolution's backward pass makes of x, taken for the gradient by its output
    dx = the convolution of the gradient

Zeiler et al., "Deconvolutional networks", 2010.
"""

from __future__ import annotations

from gpunet.backend import Array, as_nchw, to_nhwc
from gpunet.ops.conv import convolve, convolve_back_filters, convolve_back_input
from gpunet.ops.operation import Operation
from gpunet.ops.reduction import sum_rows
from gpunet.ops.window import Window

__all__ = ["ConvTranspose2d"]


class ConvTranspose2d(Operation):
    """The adjoint of a convolution: y is to x what the gradient by its input is to the gradient by its output.

    Inputs: x (N, C, H, W), weight (C, O/G, kh, kw), bias (O,). The window is that of the convolution from y to x.
    """

    autocast, mixed, sums = "half", "refused", True
    function, names = "conv_transpose2d", ("input", "weight", "bias")

    def __init__(self, window: Window, groups: int, size: tuple[int, int]) -> None:
        self.window, self.groups, self.size = window, groups, size

    def forward(self, x: Array, weight: Array, bias: Array | None = None) -> Array:
        self.x, self.weight = x, weight = to_nhwc(x), weight  # (N, H, W, C), (C, O/G, kh, kw)
        shape = (len(x), *self.size, weight.shape[1] * self.groups)
        y = convolve_back_input(x, weight, self.window, self.groups, shape)  # (N, Ho, Wo, O)
        return as_nchw(y if bias is None else y + bias)

    def backward(self, grad: Array) -> tuple[Array | None, ...]:
        grad = to_nhwc(grad)  # (N, Ho, Wo, O)
        needs_x, needs_weight, needs_bias = (*self.needs_grad, False)[:3]
        dx = dweight = dbias = None
        if needs_x:
            dx = as_nchw(convolve(grad, self.weight, None, self.window, self.groups))
        if needs_weight:
            dweight = convolve_back_filters(grad, self.x, self.window, self.groups)
        if needs_bias:
            dbias = sum_rows(grad.reshape(-1, grad.shape[3])).astype(grad.dtype)
        return (dx, dweight, dbias)[: len(self.needs_grad)]
