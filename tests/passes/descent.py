"""Gradient descent: with and without velocity, in the order of axes that filters have, and in orders that differ."""

import numpy as np

from gpunet.ops.descent import Descent
from tests.passes import cases, normal

HOW = [
    Descent(0.1, 0.9),
    Descent(0.01, 0.9, decay=0.3),
    Descent(0.5, 0.7, dampening=0.4, decay=0.1),
    Descent(0.1, 0.9, decay=0.2, nesterov=True),
]


@cases("descend", in_place=True)
def descend(rng):
    for how in HOW:
        for shape in ((1,), (17,), (300, 7), (8, 3, 3, 5)):
            w, grad, v = (normal(rng, shape) for _ in range(3))
            yield w, grad, None, how._replace(momentum=0.0, dampening=0.0, nesterov=False)
            yield w, grad, v, how
            yield w.T, grad.T, v.T, how
            yield w.T, np.ascontiguousarray(grad.T), np.ascontiguousarray(v.T), how
    yield (*(normal(rng, (5,), np.float64) for _ in range(3)), Descent(0.1, 0.9))
