"""Reductions: sum, mean, product, norm and the largest or smallest value, over all axes or some; and running sums.

Sums are accurate in every layout, to 1e-6 of the sum of the magnitudes. NumPy adds pairwise along the axis whose
numbers lie side by side, but one number after the other along any other: a float32 mean over two million rows is then
off by a percent. Here few numbers are added in float32, and their sums in float64.
"""

from __future__ import annotations

import functools
import itertools
import math

from gpunet.backend import Array, active_backend, xp
from gpunet.backend.kernel_table import arithmetic_dtype
from gpunet.ops.operation import Operation
from gpunet.ops.passes import Pass

__all__ = ["CumulativeSum", "Extremum", "Mean", "Norm", "Product", "Sum", "sum_over", "sum_rows"]

FEW = 32  # numbers that float32 may add one after the other: off by less than 1e-6, even all alike
WIDE = 1024  # numbers that make NumPy's innermost loop worth starting


@Pass
def sum_rows(x: Array, factor: Array | None = None) -> Array:
    """The sums over the rows of x (..., R, C), or of its products with a factor: (..., C), in float64."""
    *outer, rows, columns = x.shape
    dtype = arithmetic_dtype(x.dtype)
    parts, done = [], 0
    while done < rows:
        few = min(FEW, rows - done)
        side = max(1, min(WIDE // max(1, columns), (rows - done) // few))  # rows side by side, as one: see WIDE
        blocks = (rows - done) // (few * side)
        now = slice(done, done + blocks * few * side)

        def blocked(x: Array, now: slice = now, shape: tuple[int, ...] = (blocks, few, side * columns)) -> Array:
            return x[..., now, :].reshape(*outer, *shape).astype(dtype, copy=False)

        if factor is None:
            partial = blocked(x).sum(axis=-2)
        else:
            partial = xp.einsum("...ij,...ij->...j", blocked(x), blocked(factor))
        parts.append(partial.reshape(*outer, blocks * side, columns).sum(axis=-2, dtype=xp.float64))
        done = now.stop
    return functools.reduce(xp.add, parts) if parts else xp.zeros((*outer, columns), dtype=xp.float64)


def sum_over(x: Array, axes: tuple[int, ...]) -> Array:
    """The sums of floats over these axes (none negative), without them; in float32 or float64, for the caller to round.

    The axes are looked at in the order of memory, where those that lie together count as one, and summed from the
    innermost outwards.
    """
    order = sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))
    runs = [(reduced, list(run)) for reduced, run in itertools.groupby(order, lambda axis: axis in axes)]
    total = x.transpose(order).reshape([math.prod(x.shape[axis] for axis in run) for _, run in runs])
    for i in reversed(range(len(runs))):
        if runs[i][0]:
            before, behind = total.shape[:i], total.shape[i + 1 :]
            middle = total.reshape(math.prod(before), total.shape[i], math.prod(behind))
            total = _sum_middle(middle).reshape(before + behind)
    kept = [axis for axis in order if axis not in axes]
    return total.reshape([x.shape[axis] for axis in kept]).transpose([kept.index(axis) for axis in sorted(kept)])


def _sum_middle(x: Array) -> Array:
    """(A, R, C) to (A, C)."""
    if x.shape[2] != 1:
        return sum_rows(x)
    alone = active_backend() != "numpy"  # a thread of a GPU adds many numbers one after the other
    return x[:, :, 0].sum(axis=1, dtype=xp.float64 if alone else arithmetic_dtype(x.dtype))


class _Reduction(Operation):
    """A reduction over `axes` (a tuple of axes, none negative)."""

    shape: tuple[int, ...]

    def __init__(self, axes: tuple[int, ...], keepdims: bool) -> None:
        self.axes, self.keepdims = axes, keepdims

    def _stretch(self, y: Array) -> Array:
        """Put the reduced axes back with size 1, so that `y` broadcasts against the input."""
        return y.reshape(tuple(1 if axis in self.axes else size for axis, size in enumerate(self.shape)))

    def _sum(self, x: Array) -> Array:
        """The accurate sum over the axes, not yet rounded to the type of x."""
        self.shape = x.shape
        total = sum_over(x, self.axes) if x.dtype.kind == "f" else x.sum(axis=self.axes)
        return self._stretch(total) if self.keepdims else total

    def _to_all(self, grad: Array) -> Array:
        """The same gradient for all elements that were reduced to one."""
        stretched = self._stretch(grad)
        return stretched if stretched.shape == self.shape else xp.broadcast_to(stretched, self.shape)


class Sum(_Reduction):
    """`y = sum of x over the axes`."""

    autocast, sums = "full", True

    def forward(self, x: Array) -> Array:
        return self._sum(x).astype(x.dtype)

    def backward(self, grad: Array) -> tuple[Array]:
        return (self._to_all(grad),)


class Mean(_Reduction):
    """`y = mean of x over the axes`."""

    autocast, sums = "full", True

    def forward(self, x: Array) -> Array:
        self.count = math.prod(x.shape[axis] for axis in self.axes)
        return (self._sum(x) / self.count).astype(x.dtype)

    def backward(self, grad: Array) -> tuple[Array]:
        return (self._to_all(grad / self.count),)


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


class Norm(_Reduction):
    """`y = (sum of |x|^p over the axes)^(1/p)`; for an infinite p the largest (or smallest) |x|, for 0 their count.

    The gradient is x |x|^(p-2) / y^(p-1), and 0 where y is.
    """

    autocast, sums = "full", True

    def __init__(self, axes: tuple[int, ...], keepdims: bool, p: float) -> None:
        super().__init__(axes, keepdims)
        self.p = p

    def forward(self, x: Array) -> Array:
        self.x = x
        size = xp.abs(x)
        if math.isinf(self.p):
            self.shape, reduce = x.shape, xp.max if self.p > 0 else xp.min
            self.y = reduce(size, axis=self.axes, keepdims=True)
            return self.y if self.keepdims else self.y.reshape(self._kept(x.shape))
        powers = (x != 0).astype(x.dtype) if self.p == 0 else size if self.p == 1 else size**self.p
        total = self._sum(powers)
        self.y = (total if self.p in (0, 1) else total ** (1 / self.p)).astype(x.dtype)
        return self.y

    def _kept(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(size for axis, size in enumerate(shape) if axis not in self.axes)

    def backward(self, grad: Array) -> tuple[Array]:
        grad, y, sign = self._stretch(grad), self._stretch(self.y), xp.sign(self.x)
        if math.isinf(self.p):
            chosen = (xp.abs(self.x) == y).astype(grad.dtype)
            return (sign * chosen * (grad / chosen.sum(axis=self.axes, keepdims=True)),)
        if self.p in (0, 1):
            return (sign * grad * self.p,)
        by_x = sign * (xp.abs(self.x) / y) ** (self.p - 1) if self.p != 2 else self.x / y
        return (xp.where((y == 0) | (self.x == 0), xp.zeros_like(by_x), by_x * grad),)


class Product(Operation):
    """`y = product of x along an axis`. The gradient by a value is the product of those before it and those behind."""

    autocast = "full"

    def __init__(self, axis: int, keepdims: bool) -> None:
        self.axis, self.keepdims = axis, keepdims

    def forward(self, x: Array) -> Array:
        self.x = x
        return x.prod(axis=self.axis, keepdims=self.keepdims)

    def backward(self, grad: Array) -> tuple[Array]:
        x = xp.moveaxis(self.x, self.axis, -1)
        grad = xp.moveaxis(grad, self.axis, -1) if self.keepdims else grad[..., None]
        one = xp.ones_like(x[..., :1])
        before = xp.concatenate([one, xp.cumprod(x, axis=-1)[..., :-1]], axis=-1)
        behind = xp.concatenate([one, xp.cumprod(x[..., ::-1], axis=-1)[..., :-1]], axis=-1)[..., ::-1]
        return (xp.moveaxis(grad * before * behind, -1, self.axis),)


class CumulativeSum(Operation):
    """`y = the sums of x so far along an axis`, added up in float64."""

    autocast, sums = "full", True

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, x: Array) -> Array:
        return xp.cumsum(x, axis=self.axis, dtype=xp.float64 if x.dtype.kind == "f" else x.dtype).astype(x.dtype)

    def backward(self, grad: Array) -> tuple[Array]:
        """Each x is a part of its own sum and of all that follow."""
        backwards = (slice(None),) * self.axis + (slice(None, None, -1),)
        return (xp.cumsum(grad[backwards], axis=self.axis, dtype=xp.float64)[backwards].astype(grad.dtype),)
