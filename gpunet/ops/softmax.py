"""Softmax and its logarithm along one axis, shifted by the largest value so that no exponential overflows."""

from __future__ import annotations

from gpunet.backend import Array, xp
from gpunet.ops.operation import Operation
from gpunet.ops.passes import Pass

__all__ = [
    "LogSoftmax",
    "Softmax",
    "log_softmax_backward",
    "log_softmax_forward",
    "softmax_backward",
    "softmax_forward",
]


class Softmax(Operation):
    """`y_i = e^x_i / sum_k e^x_k`; dx = y (g - sum_k g_k y_k)."""

    autocast, sums = "full", True

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, x: Array) -> Array:
        self.y = softmax_forward(x, self.axis)
        return self.y

    def backward(self, grad: Array) -> tuple[Array]:
        return (softmax_backward(grad, self.y, self.axis),)


class LogSoftmax(Operation):
    """`y_i = x_i - log sum_k e^x_k`; dx = g - e^y sum_k g_k."""

    autocast, sums = "full", True

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, x: Array) -> Array:
        self.y = log_softmax_forward(x, self.axis)
        return self.y

    def backward(self, grad: Array) -> tuple[Array]:
        return (log_softmax_backward(grad, self.y, self.axis),)


@Pass
def softmax_forward(x: Array, axis: int) -> Array:
    """`y_i = e^x_i / sum_k e^x_k` along an axis."""
    y = xp.exp(x - x.max(axis=axis, keepdims=True))
    y /= y.sum(axis=axis, keepdims=True)
    return y


@Pass
def softmax_backward(grad: Array, y: Array, axis: int) -> Array:
    """`dx = y (g - sum_k g_k y_k)`."""
    return y * (grad - (grad * y).sum(axis=axis, keepdims=True))


@Pass
def log_softmax_forward(x: Array, axis: int) -> Array:
    """`y_i = x_i - log sum_k e^x_k` along an axis."""
    shifted = x - x.max(axis=axis, keepdims=True)
    return shifted - xp.log(xp.exp(shifted).sum(axis=axis, keepdims=True))


@Pass
def log_softmax_backward(grad: Array, y: Array, axis: int) -> Array:
    """`dx = g - e^y sum_k g_k`."""
    return grad - xp.exp(y) * grad.sum(axis=axis, keepdims=True)
