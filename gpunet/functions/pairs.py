"""Functions of two values, element by element."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpunet.arguments import check_broadcast
from gpunet.errors import DTypeError
from gpunet.functional.checks import check_tensor
from gpunet.functional.shaping import where
from gpunet.ops.pairs import Pair
from gpunet.tensor import Tensor, apply, as_tensor, operand

__all__ = [
    "arctan2",
    "atan2",
    "copysign",
    "float_power",
    "fmax",
    "fmin",
    "fmod",
    "heaviside",
    "hypot",
    "ldexp",
    "logaddexp",
    "logaddexp2",
    "rsub",
    "xlogy",
]

_WHOLE = {"fmax", "fmin", "fmod"}  # of whole numbers they are whole numbers
_RANKS = {"b": 0, "u": 1, "i": 1, "f": 2}  # a number has the type of the Tensor beside it, unless that ranks lower


def _beside(tensor: Tensor, number: Tensor) -> Tensor:
    return number if _RANKS[number.dtype.kind] > _RANKS[tensor.dtype.kind] else number.to(tensor.dtype)


def _pair(name: str, what: str) -> Callable[[Any, Any], Tensor]:
    """A function of the table of `gpunet.ops.pairs`, for Tensors and numbers."""

    def function(input: Any, other: Any) -> Tensor:
        a, b = as_tensor(operand(input)), as_tensor(operand(other))
        check_broadcast(a.shape, b.shape, name)
        if name not in _WHOLE:
            a, b = (each if each.is_floating_point() else each.float() for each in (a, b))
        if not isinstance(other, Tensor):
            b = _beside(a, b)
        elif not isinstance(input, Tensor):
            a = _beside(b, a)
        return apply(Pair(name), a, b)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"""{what}, element by element.

    Shape:
        the two broadcast.

    Raises:
        ShapeError: if they do not.
    """
    return function


atan2 = arctan2 = _pair("atan2", "The angle of the point (other, input), from -pi to pi")
copysign = _pair("copysign", "The first value with the sign of the second")
fmax = _pair("fmax", "The larger of two values, or the one that is not NaN")
fmin = _pair("fmin", "The smaller of two values, or the one that is not NaN")
fmod = _pair("fmod", "`input - trunc(input / other) * other`: what is left, with the sign of `input`")
hypot = _pair("hypot", "`sqrt(input^2 + other^2)`")
logaddexp = _pair("logaddexp", "`ln(e^input + e^other)`, without overflow")
logaddexp2 = _pair("logaddexp2", "The logarithm to base 2 of `2^input + 2^other`, without overflow")
xlogy = _pair("xlogy", "`input * ln(other)`, and 0 where the input is")


def rsub(input: Tensor, other: Any, alpha: float = 1) -> Tensor:
    """`other - alpha * input`.

    Shape:
        the two broadcast.

    Raises:
        ShapeError: if they do not.
        DTypeError: if the input is not a Tensor.
    """
    check_tensor(input, "rsub")
    return other - (input if alpha == 1 else input * alpha)


def ldexp(input: Tensor, other: Tensor) -> Tensor:
    """`input * 2^other`.

    Shape:
        the two broadcast.

    Raises:
        ShapeError: if they do not.
        DTypeError: if the input is not a Tensor.
    """
    check_tensor(input, "ldexp")
    return input * 2.0**other


def float_power(input: Any, exponent: Any) -> Tensor:
    """`input ** exponent`, computed and given in float64.

    Shape:
        the two broadcast.

    Raises:
        ShapeError: if they do not.
    """
    return as_tensor(operand(input)).double() ** as_tensor(operand(exponent)).double()


def heaviside(input: Tensor, values: Tensor) -> Tensor:
    """0 below 0, 1 above, and at 0 what `values` say: a plain result.

    Shape:
        the two broadcast.

    Raises:
        ShapeError: if they do not.
        DTypeError: if one is not a Tensor, or they hold different types.
    """
    check_tensor(input, "heaviside")
    check_tensor(values, "heaviside", "values")
    if input.dtype != values.dtype:
        raise DTypeError.mixed("heaviside", {"input": input.dtype, "values": values.dtype})
    return where(input == 0, values.detach(), (input > 0).to(input.dtype))
