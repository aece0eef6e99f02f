"""Reductions: sum, mean and the largest or smallest value, over all axes or some."""

from __future__ import annotations

from gpunet.backend import Array, xp
from gpunet.ops.operation import Operation

__all__ = ["Extremum", "Mean", "Sum"]


class _Reduction(Operation):
    """A reduction over `axes` (a tuple of axes, none negative)."""

    shape: tuple[int, ...]

    def __init__(self, axes: tuple[int, ...], keepdims: bool) -> None:
        self.axes, self.keepdims = axes, keepdims

    def _stretch(self, y: Array) -> Array:
        """Put the reduced axes back with size 1, so that `y` broadcasts against the input."""
        return y.reshape(tuple(1 if axis in self.axes else size for axis, size in enumerate(self.shape)))

    def _to_all(self, grad: Array) -> Array:
        """The same gradient for all elements that were reduced to one."""
        stretched = self._stretch(grad)
        return stretched if stretched.shape == self.shape else xp.broadcast_to(stretched, self.shape)


class Sum(_Reduction):
    """`y = sum of x over the axes`."""

    def forward(self, x: Array) -> Array:
        self.shape = x.shape
        return x.sum(axis=self.axes, keepdims=self.keepdims)

    def backward(self, grad: Array) -> tuple[Array]:
        return (self._to_all(grad),)


class Mean(_Reduction):
    """`y = mean of x over the axes`."""

    def forward(self, x: Array) -> Array:
        self.shape = x.shape
        return x.mean(axis=self.axes, keepdims=self.keepdims)

    def backward(self, grad: Array) -> tuple[Array]:
        count = 1
        for axis in self.axes:
            count *= self.shape[axis]
        return (self._to_all(grad / count),)


class Extremum(_Reduction):
    """`y = max (or min) of x over the axes`, NaN if any value is NaN. Equal extremes share the gradient evenly."""

    def __init__(self, axes: tuple[int, ...], keepdims: bool, largest: bool) -> None:
        super().__init__(axes, keepdims)
        self.largest = largest

    def forward(self, x: Array) -> Array:
        self.x, self.shape = x, x.shape
        reduce = xp.max if self.largest else xp.min
        self.y = reduce(x, axis=self.axes, keepdims=True)
        return (
            self.y
            if self.keepdims
            else self.y.reshape(tuple(size for axis, size in enumerate(self.shape) if axis not in self.axes))
        )

    def backward(self, grad: Array) -> tuple[Array]:
        chosen = ((self.x == self.y) | (self.x != self.x)).astype(grad.dtype)  # where NaN wins, nothing equals it
        return (chosen * (self._stretch(grad) / chosen.sum(axis=self.axes, keepdims=True)),)
