"""Arguments to try every pass and its kernels with (tests/test_passes.py): one module for each operation.

    @cases("moments")
    def moments(rng):
        for rows, channels in ((1, 3), (1000, 16)):
            yield (normal(rng, (rows, channels)),)

Each case is what the pass is called with, on the host: arrays of NumPy, plain values, or tuples of them. Every kernel
must take some of the cases; where one is for a special shape, such as depthwise filters, that shape belongs among them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

__all__ = ["CASES", "Cases", "cases", "normal"]


class Cases(NamedTuple):
    """What to call a pass with, and how near the results of its kernels must be to the page in float64."""

    make: Callable[[np.random.Generator], Iterator[tuple[Any, ...]]]
    tolerance: float
    special: bool
    in_place: bool


CASES: dict[str, Cases] = {}
"""By the name of the pass."""


def cases(name: str, tolerance: float = 1e-5, special: bool = True, in_place: bool = False) -> Callable[..., Any]:
    """Declare the cases of a pass: a decorator of a generator of tuples of arguments.

    Args:
        tolerance: of float32, as a part of the largest value; float16 has 2e-3.
        special: whether NaN and infinity are tried, too, in every array of floats; False where they cannot occur.
        in_place: whether the pass may write over what it is given; what it has written it must return, too.
    """

    def declare(make: Callable[[np.random.Generator], Iterator[tuple[Any, ...]]]) -> Any:
        assert name not in CASES, f"the cases of {name} are declared twice"
        CASES[name] = Cases(make, tolerance, special, in_place)
        return make

    return declare


def normal(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
    """Normal numbers."""
    return rng.standard_normal(shape).astype(dtype)
