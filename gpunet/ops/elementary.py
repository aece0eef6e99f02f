"""Elementary functions of one variable, element by element: a table of each function and its derivative."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from gpunet.backend import Array, xp
from gpunet.ops.choice import where
from gpunet.ops.normal import normal_cdf
from gpunet.ops.operation import ElementWise

__all__ = ["PRECISE", "TABLE", "Elementary", "PreciseElementary"]


class Rule(NamedTuple):
    """A function y = f(x), and its derivative, given x and y."""

    function: Callable[[Array], Array]
    derivative: Callable[[Array, Array], Array]


TABLE: dict[str, Rule] = {
    "acos": Rule(lambda x: xp.arccos(x), lambda x, y: -1 / xp.sqrt(1 - x * x)),
    "acosh": Rule(lambda x: xp.arccosh(x), lambda x, y: 1 / xp.sqrt(x * x - 1)),
    "asin": Rule(lambda x: xp.arcsin(x), lambda x, y: 1 / xp.sqrt(1 - x * x)),
    "asinh": Rule(lambda x: xp.arcsinh(x), lambda x, y: 1 / xp.sqrt(x * x + 1)),
    "atan": Rule(lambda x: xp.arctan(x), lambda x, y: 1 / (x * x + 1)),
    "atanh": Rule(lambda x: xp.arctanh(x), lambda x, y: 1 / (1 - x * x)),
    "ceil": Rule(lambda x: xp.ceil(x), lambda x, y: xp.zeros_like(x)),
    "cos": Rule(lambda x: xp.cos(x), lambda x, y: -xp.sin(x)),
    "cosh": Rule(lambda x: xp.cosh(x), lambda x, y: xp.sinh(x)),
    "deg2rad": Rule(lambda x: x * (math.pi / 180), lambda x, y: xp.full_like(x, math.pi / 180)),
    "erf": Rule(lambda x: _erf(x), lambda x, y: 2 / math.sqrt(math.pi) * xp.exp(-x * x)),
    "erfc": Rule(lambda x: 2 * normal_cdf(x * -math.sqrt(2)), lambda x, y: -2 / math.sqrt(math.pi) * xp.exp(-x * x)),
    "exp2": Rule(lambda x: 2.0**x, lambda x, y: y * math.log(2)),
    "erfinv": Rule(lambda x: _erfinv(x), lambda x, y: math.sqrt(math.pi) / 2 * xp.exp(y * y)),
    "expm1": Rule(lambda x: xp.expm1(x), lambda x, y: y + 1),
    "floor": Rule(lambda x: xp.floor(x), lambda x, y: xp.zeros_like(x)),
    "frac": Rule(lambda x: x - xp.trunc(x), lambda x, y: xp.ones_like(x)),
    "log10": Rule(lambda x: xp.log10(x), lambda x, y: 1 / (x * math.log(10))),
    "log1p": Rule(lambda x: xp.log1p(x), lambda x, y: 1 / (x + 1)),
    "log2": Rule(lambda x: xp.log2(x), lambda x, y: 1 / (x * math.log(2))),
    "logit": Rule(lambda x: xp.log(x / (1 - x)), lambda x, y: 1 / (x * (1 - x))),
    "rad2deg": Rule(lambda x: x * (180 / math.pi), lambda x, y: xp.full_like(x, 180 / math.pi)),
    "reciprocal": Rule(lambda x: 1 / x, lambda x, y: -y * y),
    "round": Rule(lambda x: xp.rint(x), lambda x, y: xp.zeros_like(x)),  # halves to the even neighbour
    "rsqrt": Rule(lambda x: 1 / xp.sqrt(x), lambda x, y: -0.5 * y * y * y),
    "sign": Rule(lambda x: xp.sign(x), lambda x, y: xp.zeros_like(x)),
    "sin": Rule(lambda x: xp.sin(x), lambda x, y: xp.cos(x)),
    "sinc": Rule(lambda x: _sinc(x), lambda x, y: _but_at_0(x, (xp.cos(math.pi * x) - y) / _not_0(x), 0)),
    "sinh": Rule(lambda x: xp.sinh(x), lambda x, y: xp.cosh(x)),
    "square": Rule(lambda x: x * x, lambda x, y: 2 * x),
    "tan": Rule(lambda x: xp.tan(x), lambda x, y: y * y + 1),
    "trunc": Rule(lambda x: xp.trunc(x), lambda x, y: xp.zeros_like(x)),
}

PRECISE = {"acos", "asin", "cosh", "erfinv", "expm1", "log10", "log1p", "log2", "reciprocal", "rsqrt", "sinh", "tan"}
"""Those that float16 is not good enough for: autocast has them computed in float32, as PyTorch's does."""


def _not_0(x: Array) -> Array:
    return xp.where(x == 0, xp.ones_like(x), x)


def _but_at_0(x: Array, y: Array, value: float) -> Array:
    return xp.where(x == 0, xp.full_like(x, value), y)


def _sinc(x: Array) -> Array:
    return _but_at_0(x, xp.sin(math.pi * x) / (math.pi * _not_0(x)), 1)


def _erf(x: Array) -> Array:
    """2 Phi(sqrt(2) x) - 1; near 0, where little would be left of it, the first terms of the series."""
    near = x * (2 / math.sqrt(math.pi)) * (1 - x * x / 3 + x**4 / 10 - x**6 / 42 + x**8 / 216 - x**10 / 1320)
    return where(xp.abs(x) < 0.125, near, 2 * normal_cdf(x * math.sqrt(2)) - 1)


def _erfinv(y: Array) -> Array:
    """Winitzki's formula, right to 0.2 %, and then Newton's method on erf(x) = |y|, beyond 1/2 on 1 - erf(x)."""
    size = xp.abs(y)
    log = xp.log1p(size) + xp.log1p(-size)  # of 1 - y^2
    half = 2 / (math.pi * 0.147) + log / 2
    x = xp.sqrt(xp.sqrt(half * half - log / 0.147) - half)
    for _ in range(3):
        beyond = xp.where(size < 0.5, _erf(x) - size, 1 - size - 2 * normal_cdf(-x * math.sqrt(2)))
        x = x - beyond * (math.sqrt(math.pi) / 2) * xp.exp(x * x)
    return xp.where(size == 1, math.inf, x) * xp.sign(y)


class Elementary(ElementWise):
    """`y = f(x)` for a function of the table, by its name."""

    def __init__(self, name: str) -> None:
        self.rule = TABLE[name]

    def forward(self, x: Array) -> Array:
        self.x, self.y = x, self.rule.function(x)
        return self.y

    def backward(self, grad: Array) -> tuple[Array]:
        return (grad * self.rule.derivative(self.x, self.y),)


class PreciseElementary(Elementary):
    """The same for those functions that float16 is not good enough for."""

    autocast = "full"
