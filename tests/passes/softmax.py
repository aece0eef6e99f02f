"""Softmax: rows of any number of classes, along the last axis, for which there are kernels, and along others."""

import numpy as np

from gpunet.ops.softmax import log_softmax_forward, softmax_forward
from tests.passes import cases, normal

# (shape, axis)
SHAPES = [((5, 10), 1), ((3, 1), 1), ((2, 3, 16), -1), ((4, 37), 1), ((2, 4500), 1), ((9, 63), -1), ((3, 4, 5), 1)]
TYPES = (np.float32, np.float16, np.float64)


def in_types(rng):
    for shape, axis in SHAPES:
        for dtype in TYPES:
            yield normal(rng, shape, dtype) * dtype(5), axis


@cases("softmax_forward", tolerance=3e-7)
def softmax(rng):
    yield from in_types(rng)
    yield (normal(rng, (6, 40)) * 60).astype(np.float32), 1  # some powers are 0
    yield (normal(rng, (6, 43)) * 5 - 500).astype(np.float32), 1  # all would be, but for the largest value
    yield (normal(rng, (7, 9)) * 5 + 500).astype(np.float32), 1
    yield normal(rng, (7, 9)) + np.arange(7, dtype=np.float32)[:, None] * 200, 1  # rows far above those before them


@cases("softmax_backward")
def softmax_back(rng):
    for x, axis in in_types(rng):
        yield normal(rng, x.shape, x.dtype), softmax_forward.page(x, axis), axis


@cases("log_softmax_forward")
def log_softmax(rng):
    yield from in_types(rng)
    yield (normal(rng, (6, 40)) * 60).astype(np.float32), 1
    yield (normal(rng, (6, 43)) * 5 - 500).astype(np.float32), 1
    yield (normal(rng, (7, 9)) * 5 + 500).astype(np.float32), 1
    yield normal(rng, (7, 9)) + np.arange(7, dtype=np.float32)[:, None] * 200, 1  # rows far above those before them


@cases("log_softmax_backward")
def log_softmax_back(rng):
    for x, axis in in_types(rng):
        yield normal(rng, x.shape, x.dtype), log_softmax_forward.page(x, axis), axis
