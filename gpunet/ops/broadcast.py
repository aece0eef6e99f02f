"""Broadcasting, backward: an input that was stretched receives the sum over the copies that were made of it."""

from __future__ import annotations

from gpunet.backend import Array
from gpunet.ops.reduction import sum_over

__all__ = ["unbroadcast"]


def unbroadcast(grad: Array, shape: tuple[int, ...]) -> Array:
    """Sum a gradient over every axis along which an input of this shape was broadcast."""
    if grad.shape == shape:
        return grad
    added = grad.ndim - len(shape)
    stretched = tuple(axis + added for axis, size in enumerate(shape) if size == 1 and grad.shape[axis + added] != 1)
    return sum_over(grad, (*range(added), *stretched)).astype(grad.dtype).reshape(shape)
