"""What describes many numbers: sums without NaN, quantiles, modes, histograms, covariances; and running products."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from gpunet.arguments import axis_of, flag
from gpunet.backend import xp
from gpunet.errors import ArgumentError, DTypeError, ShapeError
from gpunet.functional.checks import check_choice, check_tensor, number, whole_number
from gpunet.functional.shaping import stack, where
from gpunet.functions.pairs import logaddexp
from gpunet.functions.reduction import amax, amin
from gpunet.functions.selection import Sorted, bincount, gather, sort
from gpunet.functions.shaping import diagonal, narrow, unbind
from gpunet.tensor import Tensor, as_tensor, own

__all__ = [
    "Bounds",
    "aminmax",
    "corrcoef",
    "cov",
    "cumprod",
    "histc",
    "logcumsumexp",
    "mode",
    "nanmean",
    "nansum",
    "quantile",
    "trapezoid",
    "trapz",
]


class Bounds(NamedTuple):
    """What `aminmax` returns."""

    min: Tensor
    max: Tensor


def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> Bounds:
    """The smallest and the largest value, of all or along a dimension; see `amin`.

    Shape:
        any -> without the dimension, or with size 1 in its place (keepdim).

    Raises:
        ShapeError: if there are no values.
    """
    axes = () if dim is None else dim
    return Bounds(amin(input, axes, keepdim), amax(input, axes, keepdim))


def nansum(input: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
    """The sum of the values that are not NaN.

    Shape:
        any -> without the dimensions, or with size 1 in their place (keepdim).

    Raises:
        DTypeError: if the input is not a Tensor.
    """
    check_tensor(input, "nansum")
    return where(input != input, input.new_zeros(()), input).sum(dim, keepdim)


def nanmean(input: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
    """The mean of the values that are not NaN.

    Shape:
        any -> without the dimensions, or with size 1 in their place (keepdim).

    Raises:
        DTypeError: if the input is not a Tensor of floats.
    """
    check_tensor(input, "nanmean")
    if not input.is_floating_point():
        raise DTypeError(f"nanmean expects floats, got {input.dtype}; convert with .float()")
    return nansum(input, dim, keepdim) / (input == input).sum(dim, keepdim).to(input.dtype)


def quantile(
    input: Tensor, q: float | Tensor, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """The value below which a part q of all lies; between two neighbours, in order, it is interpolated. NaN wins.

    Args:
        q: one number within [0, 1], or a vector of them.
        interpolation: "linear", or the neighbour that is "lower", "higher" or "nearest", or their "midpoint".

    Shape:
        any -> without the dimension (or all), or with size 1 in its place; with a vector q that comes first.

    Raises:
        DTypeError: if the input does not hold floats.
        ArgumentError: if q lies outside [0, 1], or for another interpolation.
        ShapeError: if there are no values.
    """
    check_tensor(input, "quantile")
    check_choice(interpolation, ("linear", "lower", "higher", "nearest", "midpoint"), "interpolation", "quantile")
    if not input.is_floating_point():
        raise DTypeError(f"quantile expects floats, got {input.dtype}; convert with .float()")
    parts = as_tensor(q, input.dtype)
    if parts.ndim > 1:
        raise ShapeError(f"quantile: q must be a number or a vector, got shape {parts.shape}")
    if not bool(((parts >= 0) & (parts <= 1)).all()):
        raise ArgumentError(f"quantile: q must lie within [0, 1], got {q}")
    rows = input.flatten() if dim is None or not input.ndim else input
    axis = 0 if dim is None else axis_of(dim, rows.ndim, "quantile")
    size = rows.shape[axis]
    if not size:
        raise ShapeError(f"quantile expects at least one value, got shape {input.shape}")
    ordered = sort(rows, axis).values
    last = narrow(ordered, axis, size - 1, 1)  # NaN if there is one
    found = []
    for place in parts.reshape(-1) * (size - 1):
        at = place.item()
        below, above = math.floor(at), math.ceil(at)
        if interpolation in ("lower", "higher", "nearest"):
            below = above = {"lower": below, "higher": above, "nearest": round(at)}[interpolation]
        weight = place - below if interpolation == "linear" else 0.5
        low, high = narrow(ordered, axis, below, 1), narrow(ordered, axis, above, 1)
        value = where(last != last, last, low if below == above else low + (high - low) * weight)
        if dim is None or not input.ndim:
            found.append(value.reshape((1,) * input.ndim if keepdim else ()))
        else:
            found.append(value if keepdim else value.squeeze(axis))
    return stack(found, 0) if parts.ndim else found[0]


def mode(input: Tensor, dim: int = -1, keepdim: bool = False) -> Sorted:
    """The value that occurs most often along a dimension, the smallest of several, and the last place where it does.

    Each value is compared with each other along the dimension, which takes memory.

    Shape:
        (..., L, ...) -> (..., ...), or (..., 1, ...) with keepdim.

    Raises:
        ShapeError: if there is no such dimension, or there are no values.
    """
    check_tensor(input, "mode")
    if not input.ndim:
        return Sorted(input.clone(), own(xp.zeros((), dtype="int64")))
    axis = axis_of(dim, input.ndim, "mode")
    size = input.shape[axis]
    if not size:
        raise ShapeError(f"mode expects at least one value, got shape {input.shape}")
    rows = input.detach().transpose(axis, -1)  # (..., L)
    counts = (rows.unsqueeze(-1) == rows.unsqueeze(-2)).sum(-1)  # (..., L)
    best = counts == counts.max(-1, keepdim=True).values
    largest = rows.max(-1, keepdim=True).values
    value = where(best, rows, largest).min(-1, keepdim=True).values  # the smallest of the most frequent
    places = own(xp.arange(size, dtype="int64"))
    place = where(rows == value, places, -1).max(-1, keepdim=True).values.transpose(axis, -1)
    values = gather(input, axis, place)
    return Sorted(values, place) if flag(keepdim, "keepdim") else Sorted(values.squeeze(axis), place.squeeze(axis))


def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """How many values lie in each of so many intervals of equal width: a plain result.

    Args:
        min: where the first begins; where both are 0, at the smallest value.
        max: where the last ends, which belongs to it; where both are 0, at the largest value.

    Shape:
        any -> (bins,).

    Raises:
        ArgumentError: if `bins` is not 1 or more, or the bounds lie the wrong way round or are not finite.
    """
    check_tensor(input, "histc")
    count, x = whole_number(bins, "bins", "histc", 1), input.detach().flatten().double()
    low, high = number(min, "min", "histc"), number(max, "max", "histc")
    if low == high == 0 and x.numel():
        low, high = x.min().item(), x.max().item()
    low, high = (low - 1, high + 1) if low == high else (low, high)
    if not -math.inf < low < high < math.inf:
        raise ArgumentError(f"histc expects finite bounds, the smaller first, got {low} and {high}")
    inside = x[(x >= low) & (x <= high)]
    places = ((inside - low) * (count / (high - low))).long().clamp(max=count - 1)
    return bincount(places, minlength=count).to(input.dtype)


def cov(
    input: Tensor, *, correction: int = 1, fweights: Tensor | None = None, aweights: Tensor | None = None
) -> Tensor:
    """The covariances of variables (rows), each seen so many times (columns): `sum (x - mean)(y - mean) / (n - 1)`.

    Args:
        fweights: how often each column was seen.
        aweights: how much each column counts.

    Shape:
        (V, n) -> (V, V); (n,) and (1, n) -> (); weights: (n,).

    Raises:
        ShapeError: if there are more dimensions.
        DTypeError: if the values are not floats.
        ArgumentError: if weights make no sense.
    """
    check_tensor(input, "cov")
    if input.ndim > 2:
        raise ShapeError(f"cov expects a matrix, got shape {input.shape}")
    rows = input.reshape(1, -1) if input.ndim < 2 else input
    weight = None if fweights is None else fweights.to(input.dtype)
    if aweights is not None:
        weight = aweights if weight is None else weight * aweights
    if weight is None:
        weight = input.new_ones((rows.shape[1],))
    if bool((weight < 0).any()) or (fweights is not None and fweights.is_floating_point()):
        raise ArgumentError("cov: fweights must be whole numbers, and no weight may be below 0")
    seen = weight.sum()
    lost = correction if aweights is None else correction * ((weight * aweights).sum() / seen)
    deviation = rows - (rows * weight).sum(1, keepdim=True) / seen
    found = (deviation * weight) @ deviation.T / (seen - lost).clamp(min=0)
    return found if len(rows) > 1 else found.reshape(())


def corrcoef(input: Tensor) -> Tensor:
    """The correlations of variables (rows): their covariances, divided by both standard deviations.

    Shape:
        (V, n) -> (V, V); (n,) -> ().

    Raises:
        ShapeError: if there are more dimensions.
        DTypeError: if the values are not floats.
    """
    found = cov(input)
    if not found.ndim:
        return found / found
    deviation = diagonal(found).sqrt()
    return (found / deviation.unsqueeze(1) / deviation).clamp(-1, 1)


def cumprod(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """The products of the values so far along a dimension.

    Shape:
        any; the output has the same.

    Raises:
        ShapeError: if there is no such dimension.
    """
    check_tensor(input, "cumprod")
    x = input if dtype is None else input.to(dtype)
    return _running(x.long() if x.dtype.kind in "biu" else x, dim, "cumprod", lambda product, value: product * value)


def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    """`ln` of the sums of `e^x` so far along a dimension, without overflow.

    Shape:
        any; the output has the same.

    Raises:
        ShapeError: if there is no such dimension.
    """
    check_tensor(input, "logcumsumexp")
    return _running(input if input.is_floating_point() else input.float(), dim, "logcumsumexp", logaddexp)


def _running(x: Tensor, dim: int, name: str, combine: Callable[[Any, Any], Tensor]) -> Tensor:
    """One value after the other is combined with what there is so far."""
    if not x.ndim:
        return x.clone()
    axis = axis_of(dim, x.ndim, name)
    return stack(list(itertools.accumulate(unbind(x, axis), combine)), axis) if x.shape[axis] else x.clone()


def trapezoid(y: Tensor, x: Tensor | None = None, *, dx: float = 1.0, dim: int = -1) -> Tensor:
    """The area under the line through points: `sum (y_i + y_(i+1)) / 2 * (x_(i+1) - x_i)`, or dx between neighbours.

    Shape:
        (..., L, ...) -> (..., ...); x: (L,), or the shape of y.

    Raises:
        ShapeError: if there is no such dimension.
    """
    check_tensor(y, "trapezoid", "y")
    axis = axis_of(dim, y.ndim, "trapezoid")
    size = y.shape[axis]
    if size < 2:
        return y.narrow(axis, 0, 0).sum(axis)
    means = (narrow(y, axis, 1, size - 1) + narrow(y, axis, 0, size - 1)) / 2
    if x is None:
        return means.sum(axis) * dx
    along = axis if x.ndim == y.ndim else x.ndim - 1
    steps = narrow(x, along, 1, size - 1) - narrow(x, along, 0, size - 1)
    if x.ndim == 1 and y.ndim > 1:
        steps = steps.reshape(tuple(-1 if i == axis else 1 for i in range(y.ndim)))
    return (means * steps).sum(axis)


trapz = trapezoid
