"""The table of activations that are one formula each: `y = value(x)` and dx = g slope(x), element by element.

Those whose output says enough for the way back, or that kernels know, are in `gpunet.ops.activation`. At a corner the
slope is PyTorch's. Exponentials are taken of what is not positive, so that none overflows.
"""

from __future__ import annotations

from typing import Any

from gpunet.backend import Array, xp
from gpunet.ops.activation import sigmoid
from gpunet.ops.choice import where
from gpunet.ops.operation import ElementWise, in_tiles

__all__ = [
    "CELU",
    "ELU",
    "SELU",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LogSigmoid",
    "Mish",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Tanhshrink",
    "Threshold",
]


class _Formula(ElementWise):
    """A row of the table; the settings of the constructor follow x as arguments of its two functions."""

    def __init__(self, *settings: float) -> None:
        self.settings = settings

    def _value(self, x: Array, *settings: Any) -> Array:
        raise NotImplementedError

    def _slope(self, x: Array, *settings: Any) -> Array:
        raise NotImplementedError

    def forward(self, x: Array) -> Array:
        self.x = x
        return in_tiles(lambda x: self._value(x, *self.settings), x)

    def backward(self, grad: Array) -> tuple[Array]:
        return (in_tiles(lambda grad, x: grad * self._slope(x, *self.settings), grad, self.x),)


class ELU(_Formula):
    """`y = x where x > 0 else alpha (e^x - 1)`."""

    def _value(self, x: Array, alpha: float) -> Array:
        return where(x > 0, x, alpha * xp.expm1(xp.minimum(x, 0)))

    def _slope(self, x: Array, alpha: float) -> Array:
        return where(x > 0, 1, alpha * xp.exp(xp.minimum(x, 0)))


class CELU(_Formula):
    """`y = x where x > 0 else alpha (e^(x / alpha) - 1)`: ELU with a slope of 1 on both sides of 0."""

    def _value(self, x: Array, alpha: float) -> Array:
        return where(x > 0, x, alpha * xp.expm1(xp.minimum(x / alpha, 0)))

    def _slope(self, x: Array, alpha: float) -> Array:
        return where(x > 0, 1, xp.exp(xp.minimum(x / alpha, 0)))


class SELU(_Formula):
    """`y = scale x where x > 0 else scale alpha (e^x - 1)`: deep layers then keep mean 0 and variance 1."""

    ALPHA = 1.6732632423543772848170429916717
    SCALE = 1.0507009873554804934193349852946

    def _value(self, x: Array) -> Array:
        return self.SCALE * where(x > 0, x, self.ALPHA * xp.expm1(xp.minimum(x, 0)))

    def _slope(self, x: Array) -> Array:
        return self.SCALE * where(x > 0, 1, self.ALPHA * xp.exp(xp.minimum(x, 0)))


class Hardtanh(_Formula):
    """`y = min(max(x, low), high)`; 0 and 6 make it ReLU6."""

    def _value(self, x: Array, low: float, high: float) -> Array:
        return xp.clip(x, low, high)

    def _slope(self, x: Array, low: float, high: float) -> Array:
        return (x > low) & (x < high)


class Hardsigmoid(_Formula):
    """`y = min(max(x + 3, 0), 6) / 6`."""

    def _value(self, x: Array) -> Array:
        return xp.clip(x + 3, 0, 6) / 6

    def _slope(self, x: Array) -> Array:
        return where((x > -3) & (x < 3), xp.asarray(1 / 6, dtype=x.dtype), 0)


class Hardswish(_Formula):
    """`y = x min(max(x + 3, 0), 6) / 6`."""

    def _value(self, x: Array) -> Array:
        return x * xp.clip(x + 3, 0, 6) / 6

    def _slope(self, x: Array) -> Array:
        return where(x < 3, where(x > -3, x / 3 + 0.5, 0), 1)


class Softplus(_Formula):
    """`y = log(1 + e^(beta x)) / beta`, and x itself where beta x > threshold."""

    autocast = "full"

    def _value(self, x: Array, beta: float, threshold: float) -> Array:
        z = beta * x
        return where(z > threshold, x, (xp.maximum(z, 0) + xp.log1p(xp.exp(-xp.abs(z)))) / beta)

    def _slope(self, x: Array, beta: float, threshold: float) -> Array:
        z = beta * x
        return where(z > threshold, 1, sigmoid(z))


class LogSigmoid(_Formula):
    """`y = log(1 / (1 + e^-x))`."""

    def _value(self, x: Array) -> Array:
        return xp.minimum(x, 0) - xp.log1p(xp.exp(-xp.abs(x)))

    def _slope(self, x: Array) -> Array:
        return sigmoid(-x)


class Mish(_Formula):
    """`y = x tanh(log(1 + e^x))`."""

    def _value(self, x: Array) -> Array:
        return x * self._tanh(x)

    def _slope(self, x: Array) -> Array:
        tanh = self._tanh(x)
        return tanh + x * sigmoid(x) * (1 - tanh * tanh)

    def _tanh(self, x: Array) -> Array:
        return xp.tanh(xp.maximum(x, 0) + xp.log1p(xp.exp(-xp.abs(x))))


class Softsign(_Formula):
    """`y = x / (1 + |x|)`."""

    def _value(self, x: Array) -> Array:
        return x / (1 + xp.abs(x))

    def _slope(self, x: Array) -> Array:
        root = 1 / (1 + xp.abs(x))
        return root * root


class Tanhshrink(_Formula):
    """`y = x - tanh x`."""

    def _value(self, x: Array) -> Array:
        return x - xp.tanh(x)

    def _slope(self, x: Array) -> Array:
        tanh = xp.tanh(x)
        return tanh * tanh


class Softshrink(_Formula):
    """`y = x` moved towards 0 by lambda, and 0 where |x| <= lambda."""

    def _value(self, x: Array, lambd: float) -> Array:
        return x - xp.clip(x, -lambd, lambd)

    def _slope(self, x: Array, lambd: float) -> Array:
        return xp.abs(x) > lambd


class Hardshrink(_Formula):
    """`y = x`, and 0 where |x| <= lambda."""

    def _value(self, x: Array, lambd: float) -> Array:
        return where(xp.abs(x) <= lambd, 0, x)

    def _slope(self, x: Array, lambd: float) -> Array:
        return xp.abs(x) > lambd


class Threshold(_Formula):
    """`y = x where x > threshold else value`."""

    def _value(self, x: Array, threshold: float, value: float) -> Array:
        return where(x <= threshold, xp.asarray(value, dtype=x.dtype), x)

    def _slope(self, x: Array, threshold: float, value: float) -> Array:
        return ~(x <= threshold)
