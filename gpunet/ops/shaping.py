"""Operations that move values and compute nothing: reshape, permute, expand, index, put, pad, join, cast."""

from __future__ import annotations

from typing import Any

from gpunet.backend import Array, as_nchw, as_nhwc, sees_channels_last, xp
from gpunet.ops.broadcast import unbroadcast
from gpunet.ops.operation import Operation

__all__ = [
    "Cast",
    "Concatenate",
    "Diagonal",
    "Expand",
    "Index",
    "Nothing",
    "Pad",
    "Permute",
    "Put",
    "Reshape",
    "Same",
    "Written",
]


class Same(Operation):
    """`y = x`, the very memory: a place on the tape where somebody waits for a gradient."""

    views = True

    def forward(self, x: Array) -> Array:
        return x

    def backward(self, grad: Array) -> tuple[Array]:
        return (grad,)


class Reshape(Operation):
    """The same values in another shape; in memory order of (N, C, H, W), which copies a channels-last array."""

    views = True

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def forward(self, x: Array) -> Array:
        self.before = x.shape
        return x.reshape(self.shape)

    def backward(self, grad: Array) -> tuple[Array]:
        return (grad.reshape(self.before),)


class Permute(Operation):
    """The axes in another order."""

    views = True

    def __init__(self, axes: tuple[int, ...]) -> None:
        self.axes = axes

    def forward(self, x: Array) -> Array:
        return x.transpose(self.axes)

    def backward(self, grad: Array) -> tuple[Array]:
        inverse = sorted(range(len(self.axes)), key=self.axes.__getitem__)
        return (grad.transpose(inverse),)


class Expand(Operation):
    """Broadcast to a larger shape."""

    views = True

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def forward(self, x: Array) -> Array:
        self.before = x.shape
        return xp.broadcast_to(x, self.shape)

    def backward(self, grad: Array) -> tuple[Array]:
        return (unbroadcast(grad, self.before),)


class Index(Operation):
    """`y = x[key]`, with any key that NumPy takes."""

    views = True

    def __init__(self, key: Any) -> None:
        self.key = key

    def forward(self, x: Array) -> Array:
        self.shape = x.shape
        return x[self.key]

    def backward(self, grad: Array) -> tuple[Array]:
        whole = xp.zeros_like(grad, shape=self.shape)  # channels-last, where the gradient is
        if self._may_repeat():
            xp.add.at(whole, self.key, grad)  # one element may have been taken several times
        else:
            whole[self.key] = grad
        return (whole,)

    def _may_repeat(self) -> bool:
        parts = self.key if isinstance(self.key, tuple) else (self.key,)
        return any(isinstance(part, list | xp.ndarray) for part in parts)


class Diagonal(Operation):
    """`y[..., i] = x[..., row + i, column + i]` for so many i, as a view; `start` is (row, column)."""

    views = True

    def __init__(self, start: tuple[int, int], count: int) -> None:
        self.start, self.count = start, count

    def forward(self, x: Array) -> Array:
        self.shape = x.shape
        return self._of(x)

    def backward(self, grad: Array) -> tuple[Array]:
        whole = xp.zeros_like(grad, shape=self.shape)
        self._of(whole)[...] = grad
        return (whole,)

    def _of(self, x: Array) -> Array:
        row, column = self.start
        inside = x[..., row : row + self.count, column : column + self.count]
        strides = (*x.strides[:-2], x.strides[-2] + x.strides[-1])
        return xp.lib.stride_tricks.as_strided(inside, (*x.shape[:-2], self.count), strides)


class Put(Operation):
    """`y = x` but for `y[key] = values` (or one number), or `y[key] += values`, as often as the key says."""

    mixed = "widest"

    def __init__(self, key: Any, add: bool) -> None:
        self.key, self.add = key, add

    def forward(self, x: Array, values: Any) -> Array:
        self.shape = getattr(values, "shape", ())
        small = self.add and x.dtype.kind in "biu" and x.dtype.itemsize < 4  # which CuPy has no atomic additions for:
        y = x.astype("int64") if small else x.copy(order="K")  # cut to the small type, the sum is the small type's
        if self.add:
            xp.add.at(y, self.key, values)
        else:
            y[self.key] = values
        return y.astype(x.dtype, copy=False)

    def backward(self, grad: Array) -> tuple[Array | None, ...]:
        kept = grad
        if not self.add:
            kept = grad.copy(order="K")
            kept[self.key] = 0
        if not self.needs_grad[1]:
            return kept, None
        by_values = grad[self.key]
        added = len(self.shape) - by_values.ndim  # NumPy lets values have more dimensions of size 1
        return kept, unbroadcast(by_values.reshape((1,) * added + by_values.shape), self.shape)


class Written(Operation):
    """`y = x` but for what a row of views sees of it, which is `values`: where a view has been changed in place."""

    mixed = "widest"

    def __init__(self, views: list[Operation]) -> None:
        self.views_of_it = views

    def forward(self, x: Array, values: Array) -> Array:
        y = x.copy()
        self._seen(y)[...] = values
        return y

    def backward(self, grad: Array) -> tuple[Array | None, ...]:
        seen = self._seen(grad)
        if not self.needs_grad[0]:
            return None, seen
        inside = xp.ones_like(seen)
        for view in reversed(self.views_of_it):
            (inside,) = view.backward(inside)
        kept = grad.copy(order="K")
        kept[inside != 0] = 0
        return kept, seen if self.needs_grad[1] else None

    def _seen(self, whole: Array) -> Array:
        for view in self.views_of_it:
            whole = view.forward(whole)
        return whole


class Pad(Operation):
    """Add `widths[axis] = (before, after)` elements of a constant value around the array."""

    def __init__(self, widths: tuple[tuple[int, int], ...], value: float) -> None:
        self.widths, self.value = widths, value

    def forward(self, x: Array) -> Array:
        shape = tuple(before + size + after for (before, after), size in zip(self.widths, x.shape, strict=True))
        y = xp.full_like(x, self.value, shape=shape)  # keeps channels-last memory, which xp.pad does not
        y[self._inside(shape)] = x
        return y

    def backward(self, grad: Array) -> tuple[Array]:
        return (grad[self._inside(grad.shape)],)

    def _inside(self, shape: tuple[int, ...]) -> tuple[slice, ...]:
        return tuple(slice(before, size - after) for (before, after), size in zip(self.widths, shape, strict=True))


class Concatenate(Operation):
    """Join arrays along one axis."""

    mixed = "widest"

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, *arrays: Array) -> Array:
        self.sizes = [array.shape[self.axis] for array in arrays]
        if sees_channels_last(arrays):
            axis = (0, 3, 1, 2)[self.axis]  # of (N, H, W, C)
            return as_nchw(xp.concatenate([as_nhwc(array) for array in arrays], axis=axis))
        return xp.concatenate(arrays, axis=self.axis)

    def backward(self, grad: Array) -> tuple[Array, ...]:
        parts, start = [], 0
        for size in self.sizes:
            parts.append(grad[(slice(None),) * self.axis + (slice(start, start + size),)])
            start += size
        return tuple(parts)


class Nothing(Operation):
    """What comes of an empty batch, whatever the operation: no elements, in this shape; and gradients of 0."""

    mixed = "widest"

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def forward(self, *inputs: Array) -> Array:
        self.of = [(x.shape, x.dtype) for x in inputs]
        return xp.empty(self.shape, dtype=inputs[0].dtype)

    def backward(self, grad: Array) -> tuple[Array, ...]:
        return tuple(xp.zeros(shape, dtype=dtype) for shape, dtype in self.of)


class Cast(Operation):
    """The same values as another type of number."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype

    def forward(self, x: Array) -> Array:
        self.before = x.dtype
        return x.astype(self.dtype)

    def backward(self, grad: Array) -> tuple[Array]:
        return (grad.astype(self.before),)
