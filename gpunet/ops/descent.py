"""A step of stochastic gradient descent: against the gradient, or against its decaying sum, the velocity.

    step = grad + decay * w
    v    = momentum * v + (1 - dampening) * step
    w   -= rate * v                                  nesterov: rate * (step + momentum * v)

It is what an optimizer does to weights, not an operation on the tape; but it goes over memory as those do.
"""

from __future__ import annotations

from typing import NamedTuple

from gpunet.backend import Array
from gpunet.ops.passes import Pass

__all__ = ["Descent", "descend"]


class Descent(NamedTuple):
    """The settings of a step. Plain Python numbers, which leave float32 arrays float32."""

    rate: float
    momentum: float = 0.0
    dampening: float = 0.0
    decay: float = 0.0
    nesterov: bool = False


@Pass
def descend(w: Array, grad: Array, v: Array | None, how: Descent) -> tuple[Array, Array | None]:
    """Take a step, in place; v is None where there is no momentum."""
    step = how.decay * w + grad if how.decay else grad
    if v is not None:
        v *= how.momentum
        v += (1 - how.dampening) * step if how.dampening else step
        step = how.momentum * v + step if how.nesterov else v
    w -= how.rate * step
    return w, v
