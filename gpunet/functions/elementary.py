"""Functions of each element alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gpunet.errors import DTypeError
from gpunet.functional.checks import check_choice, check_tensor
from gpunet.functional.shaping import where
from gpunet.ops.elementary import PRECISE, Elementary, PreciseElementary
from gpunet.tensor import Tensor, apply, as_tensor, operand

__all__ = [
    "absolute",
    "acos",
    "acosh",
    "add",
    "addcdiv",
    "addcmul",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctanh",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "ceil",
    "clamp_max",
    "clamp_min",
    "clip",
    "cos",
    "cosh",
    "deg2rad",
    "div",
    "divide",
    "erf",
    "erfc",
    "erfinv",
    "exp2",
    "expm1",
    "fix",
    "floor",
    "floor_divide",
    "frac",
    "lerp",
    "log1p",
    "log2",
    "log10",
    "logit",
    "mul",
    "multiply",
    "nan_to_num",
    "neg",
    "negative",
    "positive",
    "pow",
    "rad2deg",
    "reciprocal",
    "remainder",
    "round",
    "rsqrt",
    "sgn",
    "sign",
    "sin",
    "sinc",
    "sinh",
    "square",
    "sub",
    "subtract",
    "tan",
    "true_divide",
    "trunc",
]

_STEPS = {"ceil", "floor", "round", "sign", "square", "trunc"}  # of whole numbers they are whole numbers


def _elementary(name: str, what: str) -> Callable[[Tensor], Tensor]:
    """A function of the table of `gpunet.ops.elementary`, for Tensors."""
    kind = PreciseElementary if name in PRECISE else Elementary

    def function(input: Tensor) -> Tensor:
        check_tensor(input, name)
        keeps = input.is_floating_point() or (name in _STEPS and input.dtype.kind != "b")
        return apply(kind(name), input if keeps else input.float())

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"""{what}, element by element.

    Shape:
        any; the output has the same.

    Raises:
        DTypeError: if the input is not a Tensor.
    """
    return function


acos = _elementary("acos", "The angle of 0 to pi with this cosine")
acosh = _elementary("acosh", "The inverse of the hyperbolic cosine")
asin = _elementary("asin", "The angle of -pi/2 to pi/2 with this sine")
asinh = _elementary("asinh", "The inverse of the hyperbolic sine")
atan = _elementary("atan", "The angle of -pi/2 to pi/2 with this tangent")
atanh = _elementary("atanh", "The inverse of the hyperbolic tangent")
ceil = _elementary("ceil", "The smallest whole number that is not below it")
cos = _elementary("cos", "The cosine")
cosh = _elementary("cosh", "The hyperbolic cosine")
deg2rad = _elementary("deg2rad", "An angle in degrees as one in radians")
erf = _elementary("erf", "The error function, `2 / sqrt(pi) * integral from 0 to x of e^(-t^2) dt`")
erfc = _elementary("erfc", "`1 - erf(x)`, accurate where that is small, too")
exp2 = _elementary("exp2", "`2^x`")
erfinv = _elementary("erfinv", "What `erf` makes this number of: -inf at -1, inf at 1, and NaN beyond")
expm1 = _elementary("expm1", "`e^x - 1`, accurate near 0, too")
floor = _elementary("floor", "The largest whole number that is not above it")
frac = _elementary("frac", "What stands behind the point")
log10 = _elementary("log10", "The logarithm to base 10")
log1p = _elementary("log1p", "`ln(1 + x)`, accurate near 0, too")
log2 = _elementary("log2", "The logarithm to base 2")
rad2deg = _elementary("rad2deg", "An angle in radians as one in degrees")
reciprocal = _elementary("reciprocal", "`1 / x`")
rsqrt = _elementary("rsqrt", "`1 / sqrt(x)`")
sign = _elementary("sign", "-1, 0 or 1")
sin = _elementary("sin", "The sine")
sinc = _elementary("sinc", "`sin(pi x) / (pi x)`, 1 at 0")
sinh = _elementary("sinh", "The hyperbolic sine")
square = _elementary("square", "`x * x`")
tan = _elementary("tan", "The tangent")
trunc = _elementary("trunc", "The value without what stands behind the point")
_logit = _elementary("logit", "`ln(x / (1 - x))`")
_rint = _elementary("round", "The nearest whole number")


def round(input: Tensor, decimals: int = 0) -> Tensor:
    """The nearest whole number, element by element; halves go to the even one. Or the nearest with some decimals.

    Shape:
        any; the output has the same.

    Raises:
        DTypeError: if the input is not a Tensor, or holds whole numbers that are to have decimals.
    """
    if not decimals:
        return _rint(input)
    check_tensor(input, "round")
    if not input.is_floating_point():
        raise DTypeError(f"round: decimals are for floats, got a Tensor of {input.dtype}")
    return _rint(input * 10.0**decimals) / 10.0**decimals


arccos, arccosh, arcsin, arcsinh, arctan, arctanh = acos, acosh, asin, asinh, atan, atanh
fix, sgn = trunc, sign


def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """`ln(x / (1 - x))`, the inverse of the sigmoid, where x is first brought within [eps, 1 - eps], if so wished.

    Shape:
        any; the output has the same.

    Raises:
        DTypeError: if the input is not a Tensor.
    """
    check_tensor(input, "logit")
    return _logit(input if eps is None else input.clamp(eps, 1 - eps))


def absolute(input: Tensor) -> Tensor:
    """`|x|`.

    Shape:
        any; the output has the same.

    Raises:
        DTypeError: if the input is not a Tensor.
    """
    check_tensor(input, "absolute")
    return input.abs()


def positive(input: Tensor) -> Tensor:
    """The Tensor itself.

    Shape:
        any; the output has the same.

    Raises:
        DTypeError: if the input is not a Tensor, or one of booleans.
    """
    check_tensor(input, "positive")
    if input.dtype.kind == "b":
        raise DTypeError("positive is for numbers, got a Tensor of booleans")
    return input


def clamp_min(input: Tensor, min: Any) -> Tensor:
    """Every value brought to `min` at least, a number or a Tensor.

    Shape:
        any; the output has the same.

    Raises:
        DTypeError: if the input is not a Tensor.
    """
    return clip(input, min=min)


def clamp_max(input: Tensor, max: Any) -> Tensor:
    """Every value brought to `max` at most, a number or a Tensor.

    Shape:
        any; the output has the same.

    Raises:
        DTypeError: if the input is not a Tensor.
    """
    return clip(input, max=max)


def nan_to_num(input: Tensor, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Tensor:
    """Numbers in the place of NaN and of the infinities; without any, the largest and the smallest that there are.

    Shape:
        any; the output has the same.

    Raises:
        DTypeError: if the input is not a Tensor.
    """
    check_tensor(input, "nan_to_num")
    if not input.is_floating_point():
        return input.clone()
    largest = float(np.finfo(input.dtype).max)
    for found, value in (
        (input != input, nan),
        (input == math.inf, largest if posinf is None else posinf),
        (input == -math.inf, -largest if neginf is None else neginf),
    ):
        input = where(found, value, input)
    return input


def add(input: Any, other: Any, alpha: float = 1) -> Tensor:
    """`input + alpha * other`.

    Shape:
        the two broadcast.

    Raises:
        ShapeError: if they do not.
    """
    return _first(input) + (other if alpha == 1 else alpha * _first(other))


def sub(input: Any, other: Any, alpha: float = 1) -> Tensor:
    """`input - alpha * other`.

    Shape:
        the two broadcast.

    Raises:
        ShapeError: if they do not.
    """
    return _first(input) - (other if alpha == 1 else alpha * _first(other))


def mul(input: Any, other: Any) -> Tensor:
    """`input * other`.

    Shape:
        the two broadcast.

    Raises:
        ShapeError: if they do not.
    """
    return _first(input) * other


def div(input: Any, other: Any, rounding_mode: str | None = None) -> Tensor:
    """`input / other`; rounded towards 0 ("trunc") or down ("floor"), if so wished.

    Shape:
        the two broadcast.

    Raises:
        ShapeError: if they do not.
        ArgumentError: for another way of rounding.
    """
    if rounding_mode is None:
        return _first(input) / other
    check_choice(rounding_mode, ("trunc", "floor"), "rounding_mode", "div")
    if rounding_mode == "floor":
        return floor_divide(input, other)
    quotient = trunc(_first(input) / other)
    whole = all(_first(each).dtype.kind in "biu" for each in (input, other))
    return quotient.long() if whole else quotient


multiply, subtract, divide, true_divide = mul, sub, div, div


def floor_divide(input: Any, other: Any) -> Tensor:
    """`floor(input / other)`: a plain result without history, since it is constant but for its steps.

    Shape:
        the two broadcast.

    Raises:
        ShapeError: if they do not.
        ArgumentError: if a whole number is divided by 0.
    """
    return _first(input) // other


def remainder(input: Any, other: Any) -> Tensor:
    """`input - floor(input / other) * other`: what is left, with the sign of `other`.

    Shape:
        the two broadcast.

    Raises:
        ShapeError: if they do not.
        ArgumentError: if a whole number is divided by 0.
    """
    return _first(input) % other


def neg(input: Tensor) -> Tensor:
    """`-input`.

    Shape:
        any; the output has the same.

    Raises:
        DTypeError: if the input is not a Tensor of numbers.
    """
    check_tensor(input, "neg")
    return -input


negative = neg


def pow(input: Any, exponent: Any) -> Tensor:
    """`input ** exponent`; either may be a number.

    Shape:
        the two broadcast.

    Raises:
        ShapeError: if they do not.
    """
    return operand(input) ** operand(exponent)


def clip(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """`clamp` under its other name.

    Shape:
        any; the output has the same.

    Raises:
        DTypeError: if the input is not a Tensor.
    """
    check_tensor(input, "clip")
    return input.clamp(min, max)


def lerp(input: Tensor, end: Tensor, weight: Any) -> Tensor:
    """`input + weight * (end - input)`: on the way from the one to the other.

    Shape:
        all broadcast.

    Raises:
        ShapeError: if they do not.
        DTypeError: if the input is not a Tensor.
    """
    check_tensor(input, "lerp")
    return input + weight * (end - input)


def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, value: float = 1) -> Tensor:
    """`input + value * tensor1 * tensor2`.

    Shape:
        all broadcast.

    Raises:
        ShapeError: if they do not.
        DTypeError: if the input is not a Tensor.
    """
    check_tensor(input, "addcmul")
    return input + value * (tensor1 * tensor2)


def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, value: float = 1) -> Tensor:
    """`input + value * tensor1 / tensor2`.

    Shape:
        all broadcast.

    Raises:
        ShapeError: if they do not.
        DTypeError: if the input is not a Tensor.
    """
    check_tensor(input, "addcdiv")
    return input + value * (tensor1 / tensor2)


def _first(value: Any) -> Tensor:
    """The Tensor that arithmetic begins with, where a number may stand in its place."""
    return as_tensor(operand(value))
