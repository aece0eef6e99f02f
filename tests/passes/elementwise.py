"""Element by element: arrays in C order and channels-last, large enough for a kernel, and of any length."""

import numpy as np

from tests.passes import cases, normal

SHAPES = [(4099,), (70, 60), (3, 5, 17, 19), (2, 16, 3, 44)]


def alike(rng, count):
    for shape in SHAPES:
        yield tuple(normal(rng, shape) for _ in range(count))
        if len(shape) == 4:
            n, c, h, w = shape
            yield tuple(normal(rng, (n, h, w, c)).transpose(0, 3, 1, 2) for _ in range(count))


@cases("rectify")
def rectify(rng):
    yield from alike(rng, 1)
    yield (normal(rng, (3, 4), np.float64),)


@cases("rectify_back")
def rectify_back(rng):
    for grad, y in alike(rng, 2):
        yield grad, np.maximum(y, 0)
    yield normal(rng, (3, 4), np.float16), np.maximum(normal(rng, (3, 4), np.float16), 0)


@cases("add_rectified_back", in_place=True)
def add_rectified_back(rng):
    for grad, y, total in alike(rng, 3):
        yield grad, np.maximum(y, 0), total
    yield tuple(np.maximum(normal(rng, (3, 4), np.float16), 0) for _ in range(3))


@cases("add")
def add(rng):
    yield from alike(rng, 2)
    yield normal(rng, (3, 1)), normal(rng, (1, 4))
