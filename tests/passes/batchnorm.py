"""Batch normalisation: many rows and few, channels that fill vectors and that do not, large means."""

import numpy as np

from gpunet.ops.batchnorm import Channels, Given, Running, Sums
from tests.passes import cases, normal

SHAPES = [
    (6, 3),
    (2, 16),
    (3, 5, 17),
    (4, 9, 9, 16),
    (2, 33, 31, 8),  # rows beyond several blocks of partial sums
    (700, 64),
    (5, 2, 2, 1000),
    (1, 1, 2, 1),
    (3, 97, 41, 3),
    (31, 129),
]
TYPES = (np.float32, np.float16, np.float64)


def in_types(rng):
    for shape in SHAPES:
        for dtype in TYPES:
            yield shape, dtype, np.float64 if dtype == np.float64 else np.float32


def channels_of(rng, count, dtype):
    return Channels(*(normal(rng, (count,), dtype) for _ in range(4)))


def relu_output(rng, shape, dtype):
    return np.maximum(normal(rng, shape, dtype), 0)


@cases("moments", special=False)  # the mean of a channel with infinity in it is infinite or NaN; its output is NaN
def moments(rng):
    for shape, dtype, _ in in_types(rng):
        yield (normal(rng, shape, dtype) * 2 + 3,)
    for shape in SHAPES:
        yield (normal(rng, shape) + 10000,)
    for value in (0.1, 0.3, 0.7, 1.1, 3.3):  # rounding may leave a variance below 0
        yield (np.full((3, 7, 48), value, np.float32),)


@cases("channels")
def channels(rng):
    for shape, dtype, _ in in_types(rng):
        count = shape[-1]
        mean, var = normal(rng, (count,), np.float64), normal(rng, (count,), np.float64) ** 2
        weight, bias = normal(rng, (count,), dtype), normal(rng, (count,), dtype)
        yield mean, var, weight, bias, 1e-5, weight
        yield mean.astype(np.float32), var.astype(np.float32), None, None, 1e-3, weight
        yield mean.astype(dtype), var.astype(dtype), weight, bias, 1e-1, weight


@cases("statistics", special=False, in_place=True)
def statistics(rng):
    for shape, dtype, arithmetic in in_types(rng):
        count, x = shape[-1], normal(rng, shape, dtype) * 2 + 3
        weight, bias, mean = (normal(rng, (count,), dtype) for _ in range(3))
        yield x, weight, bias, 1e-5, Running(mean, normal(rng, (count,), dtype) ** 2, 0.1)
        yield x, weight, bias, 1e-3, Running()
        counted = [normal(rng, (count,), arithmetic) for _ in range(2)]
        for momentum in (0.3, None):
            running = Running(counted[0].copy(), counted[1] ** 2, momentum, np.array(4))
            yield x, weight.astype(arithmetic), bias.astype(arithmetic), 1e-3, running
        yield x, None, bias, 1e-1, Running(mean, normal(rng, (count,), dtype) ** 2, 0.7)


@cases("normalise")
def normalise(rng):
    for shape, dtype, arithmetic in in_types(rng):
        known = channels_of(rng, shape[-1], arithmetic)
        for relu in (False, True):
            yield normal(rng, shape, dtype), known, None, relu
            yield normal(rng, shape, dtype), known, normal(rng, shape, dtype), relu
        mean, weight, bias = (normal(rng, shape[-1:], arithmetic) for _ in range(3))
        given = Given(mean, normal(rng, shape[-1:], arithmetic) ** 2, weight, bias, 1e-3)
        yield normal(rng, shape, dtype), given, None, False
        yield normal(rng, shape, dtype), given._replace(weight=None, bias=None), normal(rng, shape, dtype), True


@cases("backward_sums")
def backward_sums(rng):
    for shape, dtype, arithmetic in in_types(rng):
        known = channels_of(rng, shape[-1], arithmetic)
        yield normal(rng, shape, dtype), normal(rng, shape, dtype), known, None
        yield normal(rng, shape, dtype), normal(rng, shape, dtype), known, relu_output(rng, shape, dtype)


@cases("gradients")
def gradients(rng):
    yield from backward_sums(rng)
    for shape in ((2, 3, 5, 16), (1, 4, 4, 32), (7, 3, 3, 48), (3, 64)):  # small
        known = channels_of(rng, shape[-1], np.float32)
        for output in (None, relu_output(rng, shape, np.float32)):
            yield normal(rng, shape), normal(rng, shape), known, output


@cases("input_gradient")
def input_gradient(rng):
    for shape, dtype, arithmetic in in_types(rng):
        known = channels_of(rng, shape[-1], arithmetic)
        sums = Sums(*(normal(rng, shape[-1:], arithmetic) for _ in range(4)))
        grad, x = normal(rng, shape, dtype), normal(rng, shape, dtype)
        yield grad, x, known, sums, None
        yield grad, x, known, sums, relu_output(rng, shape, dtype)
