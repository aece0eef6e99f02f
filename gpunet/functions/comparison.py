"""Comparisons and logic: plain results without history."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from gpunet.arguments import check_broadcast
from gpunet.backend import Array, asarray, check_active, quiet, xp
from gpunet.functional.checks import check_tensor
from gpunet.tensor import Tensor, as_tensor, operand, own

__all__ = [
    "allclose",
    "bitwise_and",
    "bitwise_not",
    "bitwise_or",
    "bitwise_xor",
    "eq",
    "equal",
    "ge",
    "greater",
    "greater_equal",
    "gt",
    "isclose",
    "isfinite",
    "isinf",
    "isnan",
    "isneginf",
    "isposinf",
    "le",
    "less",
    "less_equal",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "lt",
    "ne",
    "not_equal",
    "signbit",
]


def _comparison(name: str, sign: str) -> Callable[[Tensor, Any], Tensor]:
    compare = getattr(operator, name)

    def function(input: Tensor, other: Any) -> Tensor:
        check_tensor(input, name)
        return compare(input, operand(other))

    return _named(
        function,
        name,
        f"""Whether `input {sign} other`, element by element.

    Shape:
        the two broadcast; the result holds booleans.

    Raises:
        DTypeError: if the input is not a Tensor.
        ShapeError: if the shapes do not broadcast.
    """,
    )


def _question(name: str, what: str, answer: Callable[[Array], Array]) -> Callable[[Tensor], Tensor]:
    def function(input: Tensor) -> Tensor:
        check_tensor(input, name)
        check_active(input.array, f"{name}: input")
        with quiet():
            return own(xp.asarray(answer(input.array)))

    return _named(
        function,
        name,
        f"""Whether {what}, element by element.

    Shape:
        any; the result has the same and holds booleans.

    Raises:
        DTypeError: if the input is not a Tensor.
    """,
    )


def _logic(name: str, word: str, combine: Callable[[Any, Any], Any]) -> Callable[[Tensor, Tensor], Tensor]:
    def function(input: Tensor, other: Tensor) -> Tensor:
        check_tensor(input, name)
        check_tensor(other, name, "other")
        return combine(input != 0, other != 0)

    return _named(
        function,
        name,
        f"""Whether {word} of two values are true, that is, not 0.

    Shape:
        the two broadcast; the result holds booleans.

    Raises:
        DTypeError: if one is not a Tensor.
        ShapeError: if the shapes do not broadcast.
    """,
    )


def _has_minus(x: Array) -> Array:
    return xp.copysign(xp.ones_like(x), x) < 0 if x.dtype.kind == "f" else x < 0


def _bits(name: str, sign: str, combine: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Tensor]:
    def function(input: Any, other: Any) -> Tensor:
        return combine(as_tensor(operand(input)), operand(other))

    return _named(
        function,
        name,
        f"""`input {sign} other`, bit by bit.

    Shape:
        the two broadcast.

    Raises:
        DTypeError: if they are not whole numbers or booleans.
        ShapeError: if the shapes do not broadcast.
    """,
    )


def _named(function: Any, name: str, doc: str) -> Any:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


eq = _comparison("eq", "==")
ne = _comparison("ne", "!=")
lt = _comparison("lt", "<")
le = _comparison("le", "<=")
gt = _comparison("gt", ">")
ge = _comparison("ge", ">=")
isnan = _question("isnan", "it is NaN", lambda x: x != x)
isneginf = _question("isneginf", "it is minus infinity", lambda x: x == -float("inf"))
isposinf = _question("isposinf", "it is plus infinity", lambda x: x == float("inf"))
signbit = _question("signbit", "it has a minus, as -0.0 has, too", lambda x: _has_minus(x))
isinf = _question("isinf", "it is infinite", lambda x: abs(x) == float("inf"))
isfinite = _question("isfinite", "it is neither infinite nor NaN", lambda x: abs(x) < float("inf"))
greater, greater_equal, less, less_equal, not_equal = gt, ge, lt, le, ne
logical_not = _question("logical_not", "it is 0", lambda x: x == 0)
bitwise_and = _bits("bitwise_and", "&", operator.and_)
bitwise_or = _bits("bitwise_or", "|", operator.or_)
bitwise_xor = _bits("bitwise_xor", "^", operator.xor)
logical_and = _logic("logical_and", "both", operator.and_)
logical_or = _logic("logical_or", "one or both", operator.or_)
logical_xor = _logic("logical_xor", "just one", operator.xor)


def bitwise_not(input: Tensor) -> Tensor:
    """`~input`, bit by bit.

    Shape:
        any; the output has the same.

    Raises:
        DTypeError: if the input is not a Tensor of whole numbers or booleans.
    """
    check_tensor(input, "bitwise_not")
    return ~input


def isclose(input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
    """Whether `|input - other| <= atol + rtol |other|`, element by element; infinities are close to themselves.

    Shape:
        the two broadcast; the result holds booleans.

    Raises:
        DTypeError: if one is not a Tensor.
        ShapeError: if the shapes do not broadcast.
    """
    check_tensor(input, "isclose")
    check_tensor(other, "isclose", "other")
    check_broadcast(input.shape, other.shape, "isclose")
    check_active(input.array, "isclose: input")
    a, b = input.array, asarray(other.array)
    with quiet():
        wide = xp.float64 if a.dtype.kind == "f" else a.dtype
        far = abs(a.astype(wide) - b.astype(wide)) > atol + rtol * abs(b)
        close = (a == b) | (~far & xp.isfinite(a) & xp.isfinite(b))
        return own(xp.asarray(close | ((a != a) & (b != b)) if equal_nan else close))


def allclose(input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Whether all values are close to one another, as `isclose` has it.

    Shape:
        the two broadcast.

    Raises:
        DTypeError: if one is not a Tensor.
        ShapeError: if the shapes do not broadcast.
    """
    return bool(isclose(input, other, rtol, atol, equal_nan).all())


def equal(input: Tensor, other: Tensor) -> bool:
    """Whether two Tensors have the same shape and the same values.

    Shape:
        any.

    Raises:
        DTypeError: if one is not a Tensor.
    """
    check_tensor(input, "equal")
    check_tensor(as_tensor(other), "equal", "other")
    return input.shape == other.shape and bool((input == other).all())
