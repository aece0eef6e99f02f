"""Functions that make one number of many, or add up as they go."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gpunet.arguments import axes_of, axis_of, flag
from gpunet.backend import check_active, xp
from gpunet.errors import DTypeError, ShapeError
from gpunet.functional.checks import check_tensor, number
from gpunet.functional.shaping import where
from gpunet.ops.reduction import CumulativeSum, Extremum, Norm, Product
from gpunet.tensor import Tensor, apply, own

__all__ = [
    "amax",
    "amin",
    "count_nonzero",
    "cumsum",
    "dist",
    "logsumexp",
    "norm",
    "prod",
    "std",
    "std_mean",
    "trace",
    "var_mean",
]

_KEEPDIM = "keepdim"


def std(
    input: Tensor,
    dim: int | Sequence[int] | None = None,
    correction: float | None = 1,
    keepdim: bool = False,
    unbiased: bool | None = None,
) -> Tensor:
    """The standard deviation, `sqrt(sum (x - mean)^2 / (n - correction))`; its gradient is 0 where all are equal.

    Args:
        unbiased: True is correction 1, False is correction 0.

    Shape:
        any -> without the dimensions, or with size 1 in their place (keepdim).

    Raises:
        DTypeError: if the values are not floats.
    """
    check_tensor(input, "std")
    if isinstance(dim, bool):  # PyTorch's std(x, False)
        dim, unbiased = None, dim
    axes = axes_of(dim, input.ndim, "std")
    if unbiased is not None:
        correction = int(flag(unbiased, "unbiased"))
    count = math.prod(input.shape[axis] for axis in axes)
    freedom = count - (1 if correction is None else correction)
    if freedom <= 0:
        return input.var(dim, correction, keepdim) ** 0.5  # NaN or infinite
    deviation = input - input.mean(axes, keepdim=True)
    return apply(Norm(axes, flag(keepdim, _KEEPDIM), 2.0), deviation) / math.sqrt(freedom)


def std_mean(
    input: Tensor,
    dim: int | Sequence[int] | None = None,
    correction: float | None = 1,
    keepdim: bool = False,
    unbiased: bool | None = None,
) -> tuple[Tensor, Tensor]:
    """`std` and `mean`.

    Shape:
        any -> without the dimensions, or with size 1 in their place (keepdim).

    Raises:
        DTypeError: if the values are not floats.
    """
    over = None if isinstance(dim, bool) else dim
    return std(input, dim, correction, keepdim, unbiased), input.mean(over, keepdim)


def var_mean(
    input: Tensor,
    dim: int | Sequence[int] | None = None,
    correction: float | None = 1,
    keepdim: bool = False,
    unbiased: bool | None = None,
) -> tuple[Tensor, Tensor]:
    """`var` and `mean`.

    Shape:
        any -> without the dimensions, or with size 1 in their place (keepdim).

    Raises:
        DTypeError: if the values are not floats.
    """
    check_tensor(input, "var_mean")
    over = None if isinstance(dim, bool) else dim
    return input.var(dim, correction, keepdim, unbiased), input.mean(over, keepdim)


def norm(
    input: Tensor, p: float | str | None = 2.0, dim: int | Sequence[int] | None = None, keepdim: bool = False
) -> Tensor:
    """The length of a vector, `(sum |x|^p)^(1/p)`, of all values or along dimensions; p may be infinite.

    Its gradient is 0 where the length is.

    Args:
        p: "fro" is 2.

    Shape:
        any -> without the dimensions, or with size 1 in their place (keepdim).

    Raises:
        DTypeError: if the values are not floats.
        ArgumentError: if p is not a number.
        ShapeError: if there are no values, and p is infinite.
    """
    check_tensor(input, "norm")
    if not input.is_floating_point():
        raise DTypeError(f"norm expects floats, got {input.dtype}; convert with .float()")
    axes = axes_of(dim, input.ndim, "norm")
    order = 2.0 if p in (None, "fro") else number(p, "p", "norm")
    if (order == math.inf or order < 0) and any(input.shape[axis] == 0 for axis in axes):
        raise ShapeError(f"norm of order {p} expects at least one value, got shape {input.shape}")
    return apply(Norm(axes, flag(keepdim, _KEEPDIM), order), input)


def dist(input: Tensor, other: Tensor, p: float = 2.0) -> Tensor:
    """The length of the difference, as `norm` has it.

    Shape:
        the two broadcast; a single number.

    Raises:
        DTypeError: if the values are not floats.
    """
    check_tensor(input, "dist")
    return norm(input - other, p)


def prod(input: Tensor, dim: int | None = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
    """The product of all values, or along a dimension.

    Shape:
        any -> without the dimension, or with size 1 in its place (keepdim).

    Raises:
        ShapeError: if there is no such dimension.
    """
    check_tensor(input, "prod")
    if dtype is not None:
        input = input.to(dtype)
    whole = input.long() if input.dtype.kind in "biu" else input
    if dim is None or (not input.ndim and axes_of(dim, 0, "prod") == ()):
        return apply(Product(0, False), whole.flatten())
    return apply(Product(axis_of(dim, input.ndim, "prod"), flag(keepdim, _KEEPDIM)), whole)


def amax(input: Tensor, dim: int | Sequence[int] = (), keepdim: bool = False) -> Tensor:
    """The largest value along dimensions, or of all. NaN wins; equal ones share the gradient.

    Shape:
        any -> without the dimensions, or with size 1 in their place (keepdim).

    Raises:
        ShapeError: if there are no values.
    """
    return _extremum(input, dim, keepdim, "amax")


def amin(input: Tensor, dim: int | Sequence[int] = (), keepdim: bool = False) -> Tensor:
    """The smallest value along dimensions, or of all. NaN wins; equal ones share the gradient.

    Shape:
        any -> without the dimensions, or with size 1 in their place (keepdim).

    Raises:
        ShapeError: if there are no values.
    """
    return _extremum(input, dim, keepdim, "amin")


def _extremum(input: Tensor, dim: Any, keepdim: bool, name: str) -> Tensor:
    check_tensor(input, name)
    axes = axes_of(dim, input.ndim, name)
    if any(input.shape[axis] == 0 for axis in axes):
        raise ShapeError(f"{name} expects at least one value, got shape {input.shape}")
    return apply(Extremum(axes, flag(keepdim, _KEEPDIM), largest=name == "amax"), input)


def logsumexp(input: Tensor, dim: int | Sequence[int], keepdim: bool = False) -> Tensor:
    """`ln sum e^x`, without overflow: the largest value is taken out first.

    Shape:
        any -> without the dimensions, or with size 1 in their place (keepdim).

    Raises:
        DTypeError: if the input is not a Tensor.
        ShapeError: if there are no values.
    """
    check_tensor(input, "logsumexp")
    x = input if input.is_floating_point() else input.float()
    largest = amax(x.detach(), dim, keepdim=True)
    largest = where(own(xp.isfinite(largest.array)), largest, largest.new_zeros(()))
    total = (x - largest).exp().sum(dim, keepdim=True).log() + largest
    axes = axes_of(dim, input.ndim, "logsumexp")
    return total if keepdim else total.reshape([size for i, size in enumerate(total.shape) if i not in axes])


def cumsum(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """The sums of the values so far along a dimension.

    Shape:
        any; the output has the same.

    Raises:
        ShapeError: if there is no such dimension.
    """
    check_tensor(input, "cumsum")
    if dtype is not None:
        input = input.to(dtype)
    summed = input.long() if input.dtype.kind in "biu" else input
    return apply(CumulativeSum(axis_of(dim, input.ndim, "cumsum")), summed) if input.ndim else summed.clone()


def count_nonzero(input: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    """How many values are not 0: a plain result.

    Shape:
        any -> without the dimensions.

    Raises:
        DTypeError: if the input is not a Tensor.
    """
    check_tensor(input, "count_nonzero")
    check_active(input.array, "count_nonzero: input")
    return own(xp.asarray(input.array != 0)).sum(dim)


def trace(input: Tensor) -> Tensor:
    """The sum of the diagonal of a matrix.

    Shape:
        (m, n) -> ().

    Raises:
        ShapeError: if it is not a matrix.
    """
    check_tensor(input, "trace")
    if input.ndim != 2:
        raise ShapeError(f"trace expects a matrix, got shape {input.shape}")
    places = xp.arange(min(input.shape))
    return input[places, places].sum()
