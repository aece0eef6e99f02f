"""Checks of the numbers that an optimizer, a schedule or the clipping is given.

Each gives the number back as a Python float, which leaves float32 arrays float32 where a `numpy.float64` would widen
them.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from typing import Any

from gpunet.errors import ArgumentError

__all__ = ["below_one", "checked_betas", "checked_number", "not_negative", "positive"]


def checked_number(value: Any, name: str, owner: str, expected: str, accept: Callable[[float], bool]) -> float:
    """The value as a float that `accept` takes; `expected` says in words what that is.

    Raises:
        ArgumentError: if the value is not a number, or not an accepted one.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not accept(float(value)):
        raise ArgumentError(f"{owner}: {name} must be {expected}, got {value!r}")
    return float(value)


def not_negative(value: Any, name: str, owner: str) -> float:
    """The value as a finite float of 0 or more."""
    return checked_number(value, name, owner, "a finite number of 0 or more", lambda x: 0 <= x < math.inf)


def positive(value: Any, name: str, owner: str) -> float:
    """The value as a finite float above 0."""
    return checked_number(value, name, owner, "a finite number above 0", lambda x: 0 < x < math.inf)


def below_one(value: Any, name: str, owner: str) -> float:
    """The value as a float within [0, 1)."""
    return checked_number(value, name, owner, "a number of at least 0 and below 1", lambda x: 0 <= x < 1)


def checked_betas(value: Any, owner: str) -> tuple[float, ...]:
    """Two floats within [0, 1): how much of each running mean is kept."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise ArgumentError(f"{owner}: betas must be two numbers, got {value!r}")
    return tuple(below_one(beta, f"betas[{i}]", owner) for i, beta in enumerate(value))
