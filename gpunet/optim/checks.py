"""Checks of the numbers that an optimizer, a schedule or the clipping is given.

Each gives the number back as a Python float, which leaves float32 arrays float32 where a `numpy.float64` would widen
them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from gpunet.errors import ArgumentError
from gpunet.functional.checks import checked_number

__all__ = ["below_one", "check_ways", "checked_betas", "checked_number", "not_negative", "positive"]


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


def check_ways(ways: Mapping[str, Any], owner: str) -> None:
    """PyTorch's arguments that choose how a step is computed: taken where they make no difference to what comes out.

    A step is as few launches as it can be, and one that a CUDA graph can record, whatever they say.

    Raises:
        ArgumentError: for one that would make a difference, or that PyTorch does not have, either.
    """
    for name, value in ways.items():
        if name not in ("foreach", "fused", "capturable", "differentiable"):
            raise ArgumentError(f"{owner} has no argument {name!r}")
        if value not in (None, True, False):
            raise ArgumentError(f"{owner}: {name} must be True or False, got {value!r}")
    if ways.get("differentiable"):
        raise ArgumentError(f"{owner}: differentiable=True is not there: a step changes weights in place, off the tape")
