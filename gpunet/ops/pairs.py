"""Functions of two values, element by element: a table of each function and its derivatives by either."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from gpunet.backend import Array, xp
from gpunet.ops.broadcast import unbroadcast
from gpunet.ops.operation import Operation

__all__ = ["PAIRS", "Pair"]


class PairRule(NamedTuple):
    """A function y = f(a, b), and its derivatives, given a, b and y."""

    function: Callable[[Any, Any], Array]
    by_a: Callable[[Any, Any, Array], Array]
    by_b: Callable[[Any, Any, Array], Array]


_LN2 = math.log(2)

PAIRS: dict[str, PairRule] = {
    "atan2": PairRule(
        lambda a, b: xp.arctan2(a, b),
        lambda a, b, y: b / (a * a + b * b),
        lambda a, b, y: -a / (a * a + b * b),
    ),
    "copysign": PairRule(
        lambda a, b: xp.copysign(a, b),
        lambda a, b, y: xp.where(y == 0, xp.zeros_like(y), y / xp.where(y == 0, xp.ones_like(y), a)),
        lambda a, b, y: xp.zeros_like(y),
    ),
    "fmax": PairRule(
        lambda a, b: _but_nan(xp.maximum, a, b),
        lambda a, b, y: _first(a >= b, b),
        lambda a, b, y: ~_first(a >= b, b),
    ),
    "fmin": PairRule(
        lambda a, b: _but_nan(xp.minimum, a, b),
        lambda a, b, y: _first(a <= b, b),
        lambda a, b, y: ~_first(a <= b, b),
    ),
    "fmod": PairRule(lambda a, b: xp.fmod(a, b), lambda a, b, y: xp.ones_like(y), lambda a, b, y: -xp.trunc(a / b)),
    "hypot": PairRule(lambda a, b: xp.hypot(a, b), lambda a, b, y: a / y, lambda a, b, y: b / y),
    "logaddexp": PairRule(
        lambda a, b: xp.logaddexp(a, b),
        lambda a, b, y: 1 / (1 + xp.exp(b - a)),
        lambda a, b, y: 1 / (1 + xp.exp(a - b)),
    ),
    "logaddexp2": PairRule(
        lambda a, b: xp.logaddexp(a * _LN2, b * _LN2) / _LN2,
        lambda a, b, y: 1 / (1 + xp.exp((b - a) * _LN2)),
        lambda a, b, y: 1 / (1 + xp.exp((a - b) * _LN2)),
    ),
    "xlogy": PairRule(
        lambda a, b: xp.where((a == 0) & (b == b), xp.zeros_like(b), a * xp.log(b)),
        lambda a, b, y: xp.where((a == 0) & (b <= 0), xp.zeros_like(b), xp.log(b)),
        lambda a, b, y: a / b,
    ),
}


def _but_nan(choose: Callable[[Any, Any], Array], a: Any, b: Any) -> Array:
    """The choice of two, where a NaN is not chosen."""
    return xp.where(a != a, b, xp.where(b != b, a, choose(a, b)))


def _first(better: Array, b: Any) -> Array:
    """Whether the first of two is chosen: it is better, or the other is NaN."""
    return better | (b != b)


class Pair(Operation):
    """`y = f(a, b)` for a function of the table, by its name."""

    mixed = "widest"

    def __init__(self, name: str) -> None:
        self.rule = PAIRS[name]

    def forward(self, a: Any, b: Any) -> Array:
        self.a, self.b = a, b
        self.y = self.rule.function(a, b)
        return self.y

    def backward(self, grad: Array) -> tuple[Array | None, ...]:
        rules = zip((self.rule.by_a, self.rule.by_b), (self.a, self.b), self.needs_grad, strict=True)
        return tuple(
            unbroadcast(grad * rule(self.a, self.b, self.y), value.shape).astype(grad.dtype, copy=False)
            if needed
            else None
            for rule, value, needed in rules
        )
