"""Images of another size: along an axis, each row of the output is a weighted sum of a few rows of the input.

    y[i] = sum over taps t of weight_t[i] * x[row_t[i]]      going back: dx[row_t[i]] += weight_t[i] * g[i]

That is interpolation, with one tap (nearest), two (linear) or four (cubic); and padding that repeats what is there,
with one tap of weight 1. Rows and columns are done one after the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from gpunet.backend import Array, as_nchw, run_tiles, tiles, to_nhwc, xp
from gpunet.backend.kernel_table import arithmetic_dtype
from gpunet.ops.operation import Operation

__all__ = ["Interpolate", "Repeat", "Tap", "interpolation", "repetition"]

CUBIC = -0.75  # the free parameter of cubic interpolation, as PyTorch and OpenCV have it


class Tap(NamedTuple):
    """For each row of the output one of the input, and how much it counts; 1 where no weights are given."""

    rows: list[int]
    weights: list[float] | None = None


class _Resample(Operation):
    """Axes of x taken anew, each as its taps say; channels-last where x has four axes."""

    def __init__(self, axes: dict[int, list[Tap]]) -> None:
        self.axes = axes

    def forward(self, x: Array) -> Array:
        self.dtype, self.images, self.sizes = x.dtype, x.ndim == 4, x.shape
        return self._by_tiles(x, self._forward)

    def backward(self, grad: Array) -> tuple[Array]:
        return (self._by_tiles(grad, self._backward),)

    def _by_tiles(self, x: Array, work: Callable[[Array], Array]) -> Array:
        """A few of N images at a time: what is between rows and columns stays in the cache."""
        x = to_nhwc(x) if self.images else x
        cut = tiles(len(x), x[:1].nbytes) if self.images and len(x) else [slice(None)]
        parts = run_tiles(lambda some: work(x[some]), cut)
        y = (parts[0] if len(parts) == 1 else xp.concatenate(parts)).astype(self.dtype, copy=False)
        return as_nchw(y) if self.images else y

    def _forward(self, x: Array) -> Array:
        for axis, taps in self.axes.items():
            x = self._take(x, self._place(axis), taps)
        return x

    def _backward(self, grad: Array) -> Array:
        for axis, taps in reversed(self.axes.items()):
            grad = self._give_back(grad, self._place(axis), taps, self.sizes[axis])
        return grad

    def _place(self, axis: int) -> int:
        """Where an axis of (N, C, H, W) is in memory."""
        return (0, 3, 1, 2)[axis] if self.images else axis

    def _take(self, x: Array, axis: int, taps: list[Tap]) -> Array:
        parts = [_weighted(xp.take(x, xp.asarray(tap.rows), axis=axis), axis, tap) for tap in taps]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total

    def _give_back(self, grad: Array, axis: int, taps: list[Tap], size: int) -> Array:
        """Several rows of the output may have taken the same one of the input: their gradients come one by one."""
        shape = (*grad.shape[:axis], size, *grad.shape[axis + 1 :])
        dx = xp.zeros(shape, dtype=arithmetic_dtype(grad.dtype))
        for tap in taps:
            part = _weighted(grad, axis, tap)
            for takers in _one_taker_each(tap.rows):
                rows = [tap.rows[i] for i in takers]
                dx[_at(axis, xp.asarray(rows))] += xp.take(part, xp.asarray(takers), axis=axis)
        return dx


class Interpolate(_Resample):
    """Images of another size; the taps are those of `interpolation`."""

    autocast = "full"


class Repeat(_Resample):
    """Padding that repeats what is there; the taps are those of `repetition`."""


def _weighted(x: Array, axis: int, tap: Tap) -> Array:
    """Each row as much as it counts."""
    if tap.weights is None:
        return x
    weights = xp.asarray(tap.weights, dtype=arithmetic_dtype(x.dtype))
    return x * weights.reshape(-1, *(1,) * (x.ndim - axis - 1))


def _one_taker_each(rows: list[int]) -> list[list[int]]:
    """The rows of the output in groups, of which no two have taken the same row of the input; in their order."""
    groups: list[list[int]] = []
    taken: dict[int, int] = {}  # how often
    for i, row in enumerate(rows):
        number = taken.get(row, 0)
        taken[row] = number + 1
        if number == len(groups):
            groups.append([])
        groups[number].append(i)
    return groups


def _at(axis: int, where: int | Array) -> tuple[slice | int | Array, ...]:
    return (slice(None),) * axis + (where,)


def repetition(size: int, before: int, after: int, mode: str) -> Tap:
    """An axis with rows added at both ends (taken away, where negative) that repeat those that are there."""
    places = range(-before, size + after)
    if mode == "circular":
        return Tap([i % size for i in places])
    if mode == "replicate":
        return Tap([min(max(i, 0), size - 1) for i in places])
    return Tap([size - 1 - abs(size - 1 - abs(i)) for i in places])  # reflect: the last row is not repeated


def interpolation(size: int, target: int, factor: float | None, mode: str, align_corners: bool) -> list[Tap]:
    """The taps that bring an axis from one size to another.

    Args:
        factor: how many times as large the result is meant to be, where that is not just target / size.
        align_corners: whether the first and last rows of both lie on one another; else their outer borders do.
    """
    step = 1 / factor if factor else size / target
    if mode == "nearest" and target in (size, 2 * size):  # PyTorch goes by the sizes then
        return [Tap([i * size // target for i in range(target)])]
    if mode.startswith("nearest"):
        shift, step = np.float32(0.5 if mode == "nearest-exact" else 0), np.float32(step)  # PyTorch rounds like that
        return [Tap([min(int((np.float32(i) + shift) * step), size - 1) for i in range(target)])]
    if align_corners:
        places = [i * (size - 1) / (target - 1) if target > 1 else 0.0 for i in range(target)]
    else:
        places = [(i + 0.5) * step - 0.5 for i in range(target)]
    if mode == "bicubic":
        return _cubic(places, size)
    places = [min(max(place, 0.0), size - 1.0) for place in places]
    first = [int(place) for place in places]
    rest = [place - i for place, i in zip(places, first, strict=True)]
    return [Tap(first, [1 - part for part in rest]), Tap([min(i + 1, size - 1) for i in first], rest)]


def _cubic(places: list[float], size: int) -> list[Tap]:
    """Keys, "Cubic convolution interpolation for digital image processing", 1981."""
    first = [math.floor(place) for place in places]
    taps = []
    for offset in (-1, 0, 1, 2):
        index = [min(max(i + offset, 0), size - 1) for i in first]
        taps.append(Tap(index, [_keys(abs(place - i - offset)) for place, i in zip(places, first, strict=True)]))
    return taps


def _keys(distance: float) -> float:
    if distance <= 1:
        return ((CUBIC + 2) * distance - (CUBIC + 3)) * distance * distance + 1
    return ((distance - 5) * distance + 8) * distance * CUBIC - 4 * CUBIC
