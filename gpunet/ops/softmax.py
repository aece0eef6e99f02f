"""Softmax and its logarithm along one axis, shifted by the largest value so that no exponential overflows."""

from __future__ import annotations

from gpunet.backend import Array, xp
from gpunet.ops.operation import Operation

__all__ = ["LogSoftmax", "Softmax"]


class Softmax(Operation):
    """`y_i = e^x_i / sum_k e^x_k`; dx = y (g - sum_k g_k y_k)."""

    autocast, sums = "full", True

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, x: Array) -> Array:
        y = xp.exp(x - x.max(axis=self.axis, keepdims=True))
        y /= y.sum(axis=self.axis, keepdims=True)
        self.y = y
        return y

    def backward(self, grad: Array) -> tuple[Array]:
        return (self.y * (grad - (grad * self.y).sum(axis=self.axis, keepdims=True)),)


class LogSoftmax(Operation):
    """`y_i = x_i - log sum_k e^x_k`; dx = g - e^y sum_k g_k."""

    autocast, sums = "full", True

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, x: Array) -> Array:
        shifted = x - x.max(axis=self.axis, keepdims=True)
        self.y = shifted - xp.log(xp.exp(shifted).sum(axis=self.axis, keepdims=True))
        return self.y

    def backward(self, grad: Array) -> tuple[Array]:
        return (grad - xp.exp(self.y) * grad.sum(axis=self.axis, keepdims=True),)
