"""Operators of ONNX that work element by element: arithmetic, activations, comparisons."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from gpunet import functional as F
from gpunet.onnx.operators import ABSENT, Call, operator, unsupported
from gpunet.ops.activation import PReLU
from gpunet.tensor import Tensor, apply

__all__: list[str] = []

_ALL = "fiub"


def _unary(function: Callable[[Tensor], Tensor], kinds: str, name: str) -> None:
    @operator(name, kinds=kinds)
    def run(call: Call, x: Tensor) -> Tensor:
        return function(x)


for _name in (
    *("Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Cos", "Cosh", "Erf", "Exp", "Floor", "Log"),
    *("Reciprocal", "Round", "Sigmoid", "Sign", "Sin", "Sinh", "Sqrt", "Tan", "Tanh"),
):
    _unary(getattr(Tensor, _name.lower()), "f", _name)
for _name in ("HardSwish", "Mish", "Relu", "Softplus", "Softsign"):
    _unary(getattr(F, _name.lower()), "f", _name)
_unary(abs, "fi", "Abs")
_unary(lambda x: -x, "fi", "Neg")
_unary(lambda x: x, _ALL, "Identity")
_unary(lambda x: ~x, "b", "Not")
_unary(lambda x: x != x, "f", "IsNaN")


def _aligned(call: Call, a: Tensor, b: Tensor, axis: int | None, broadcast: int) -> Tensor:
    """B as it is; before version 7 it was broadcast only if that was said, and laid against `axis` of a."""
    if call.version >= 7:
        if axis is not None or broadcast:
            raise unsupported(call, "with axis or broadcast")
    elif not broadcast and a.shape != b.shape:
        raise unsupported(call, f"of {a.shape} and {b.shape} without broadcast")
    elif axis is not None:
        return b.reshape(*b.shape, *(1,) * (a.ndim - axis % a.ndim - b.ndim))
    return b


def _binary(function: Callable[[Tensor, Tensor], Any], kinds: str, name: str) -> None:
    @operator(name, kinds=kinds, axis=ABSENT, broadcast=0)
    def run(call: Call, a: Tensor, b: Tensor, axis: int, broadcast: int) -> Any:
        return function(a, _aligned(call, a, b, None if axis == ABSENT else axis, broadcast))


def _divide(a: Tensor, b: Tensor) -> Tensor:
    """Whole numbers are divided towards 0."""
    if a.is_floating_point():
        return a / b
    quotient = a // b
    return (quotient + ((quotient < 0) & (quotient * b != a)).to(a.dtype)).to(a.dtype)


def _power(a: Tensor, b: Tensor) -> Tensor:
    """Of the type of a, whatever that of b is."""
    exponent = b.to(a.dtype) if a.is_floating_point() else b
    return (a**exponent).to(a.dtype)


_binary(lambda a, b: a + b, "fiu", "Add")
_binary(lambda a, b: a - b, "fiu", "Sub")
_binary(lambda a, b: a * b, "fiu", "Mul")
_binary(_divide, "fiu", "Div")
_binary(_power, "fi", "Pow")
_binary(lambda a, b: a == b, _ALL, "Equal")
_binary(lambda a, b: a > b, "fiu", "Greater")
_binary(lambda a, b: a < b, "fiu", "Less")
_binary(lambda a, b: a >= b, "fiu", "GreaterOrEqual")
_binary(lambda a, b: a <= b, "fiu", "LessOrEqual")
_binary(lambda a, b: a & b, "b", "And")
_binary(lambda a, b: a | b, "b", "Or")
_binary(lambda a, b: a ^ b, "b", "Xor")


def _several(function: Callable[[Tensor, Tensor], Tensor], kinds: str, name: str) -> None:
    @operator(name, kinds=kinds)
    def run(call: Call, first: Tensor, *others: Tensor) -> Tensor:
        return functools.reduce(function, others, first)


_several(lambda a, b: a + b, "f", "Sum")
_several(F.maximum, "fiu", "Max")
_several(F.minimum, "fiu", "Min")


@operator("Mean")
def _mean(call: Call, *values: Tensor) -> Tensor:
    return functools.reduce(lambda a, b: a + b, values) / len(values)


@operator("Mod", kinds="fiu", fmod=0)
def _mod(call: Call, a: Tensor, b: Tensor, fmod: int) -> Tensor:
    if fmod or a.is_floating_point():
        raise unsupported(call, "with fmod or floats")
    return a % b


@operator("Where", kinds=_ALL)
def _where(call: Call, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return F.where(condition, a, b)


@operator("Clip", settings=(1, 2), kinds="fiu", min=float("-inf"), max=float("inf"))
def _clip(
    call: Call,
    x: Tensor,
    low: Tensor | None = None,
    high: Tensor | None = None,
    **limits: float,
) -> Tensor:
    if call.version < 11:
        return x.clamp(limits["min"], limits["max"])
    if limits != {"min": float("-inf"), "max": float("inf")}:
        raise unsupported(call, "with limits among its attributes, from version 11 on,")
    x = x if low is None else F.maximum(x, low)
    return x if high is None else F.minimum(x, high)


@operator("IsInf", detect_negative=1, detect_positive=1)
def _isinf(call: Call, x: Tensor, detect_negative: int, detect_positive: int) -> Tensor:
    negative, positive = x == float("-inf"), x == float("inf")
    return (negative & bool(detect_negative)) | (positive & bool(detect_positive))


@operator("LeakyRelu", alpha=0.01)
def _leaky_relu(call: Call, x: Tensor, alpha: float) -> Tensor:
    return F.leaky_relu(x, alpha)


@operator("ThresholdedRelu", alpha=1.0)
def _thresholded_relu(call: Call, x: Tensor, alpha: float) -> Tensor:
    return F.threshold(x, alpha, 0.0)


@operator("PRelu")
def _prelu(call: Call, x: Tensor, slope: Tensor) -> Tensor:
    if call.version < 7 and slope.ndim == 1:  # one a channel
        slope = slope.reshape(-1, *(1,) * (x.ndim - 2))
    return apply(PReLU(), x, slope)


@operator("Elu", alpha=1.0)
def _elu(call: Call, x: Tensor, alpha: float) -> Tensor:
    return F.elu(x, alpha)


@operator("Celu", alpha=1.0)
def _celu(call: Call, x: Tensor, alpha: float) -> Tensor:
    return F.celu(x, alpha)


@operator("Selu", alpha=1.67326319217681884765625, gamma=1.05070102214813232421875)
def _selu(call: Call, x: Tensor, alpha: float, gamma: float) -> Tensor:
    return F.elu(x, alpha) * gamma


@operator("HardSigmoid", alpha=0.2, beta=0.5)
def _hard_sigmoid(call: Call, x: Tensor, alpha: float, beta: float) -> Tensor:
    return (x * alpha + beta).clamp(0, 1)


@operator("Swish", alpha=1.0)
def _swish(call: Call, x: Tensor, alpha: float) -> Tensor:
    return x * F.sigmoid(x * alpha)


@operator("Gelu", approximate="none")
def _gelu(call: Call, x: Tensor, approximate: str) -> Tensor:
    return F.gelu(x, approximate)


@operator("Shrink", lambd=0.5, bias=0.0)
def _shrink(call: Call, x: Tensor, lambd: float, bias: float) -> Tensor:
    zero = x * 0
    return F.where(x < -lambd, x + bias, F.where(x > lambd, x - bias, zero))


@operator("Cast", kinds=_ALL, to=ABSENT, saturate=1, round_mode="up")
def _cast(call: Call, x: Tensor, to: int, saturate: int, round_mode: str) -> Tensor:
    if to not in TYPES:
        raise unsupported(call, f"to type {to} of number")
    return x.to(TYPES[to])


@operator("CastLike", kinds=_ALL, saturate=1, round_mode="up")
def _cast_like(call: Call, x: Tensor, like: Tensor, saturate: int, round_mode: str) -> Tensor:
    return x.to(like.dtype)


TYPES: dict[int, Any] = {
    number: np.dtype(name)
    for number, name in {
        1: "float32",
        2: "uint8",
        3: "int8",
        4: "uint16",
        5: "int16",
        6: "int32",
        7: "int64",
        9: "bool",
        10: "float16",
        11: "float64",
        12: "uint32",
    }.items()
}
"""ONNX numbers the types; those that are missing (strings, complex and very short numbers) are none of gpunet."""
