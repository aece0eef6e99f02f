"""Sums over rows: of one block and many, of a few rows that are left, in groups."""

import numpy as np

from tests.passes import cases, normal

SHAPES = [(1, 3), (31, 16), (1000, 17), (5000, 2), (300, 64), (3, 70, 5), (2, 3, 1100, 1), (0, 4), (7, 0)]


@cases("sum_rows")
def sum_rows(rng):
    for shape in SHAPES:
        for dtype in (np.float32, np.float16, np.float64):
            yield (normal(rng, shape, dtype),)
            yield normal(rng, shape, dtype), normal(rng, shape, dtype)
