"""Dropout: random elements, or whole channels, set to zero while training."""

from __future__ import annotations

import operator
from typing import Any

from gpunet.backend import Array, as_nchw, elementwise, uniform_rows
from gpunet.ops.operation import Operation

__all__ = ["Dropout"]

_multiply = elementwise(operator.mul)


@elementwise
def _mask(u: Array, p: float, keep_scale: Any) -> Array:
    return (u >= p) * keep_scale


class Dropout(Operation):
    """`y = 0 where u < p else x / (1 - p)`, with u drawn from U(0, 1) for each element or for each channel."""

    def __init__(self, p: float, per_channel: bool) -> None:
        self.p, self.per_channel = p, per_channel

    def forward(self, x: Array) -> Array:
        keep_scale = 1 / (1 - self.p) if self.p < 1 else 0.0
        self.mask = _mask(self._draw(x), self.p, x.dtype.type(keep_scale))
        return _multiply(x, self.mask)

    def _draw(self, x: Array) -> Array:
        if self.per_channel:
            return uniform_rows((*x.shape[:2], *(1,) * (x.ndim - 2)))
        if x.ndim == 4:  # in the memory order of the activations, so that the product keeps it
            n, channels, height, width = x.shape
            return as_nchw(uniform_rows((n, height, width, channels)))
        return uniform_rows(x.shape)

    def backward(self, grad: Array) -> tuple[Array]:
        return (_multiply(grad, self.mask),)
