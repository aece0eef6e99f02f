"""Element-wise arithmetic with broadcasting. Either input may be a plain number, which never needs a gradient."""

from __future__ import annotations

from typing import Any, ClassVar

from gpunet.backend import Array, elementwise, xp
from gpunet.errors import ArgumentError
from gpunet.ops.broadcast import unbroadcast
from gpunet.ops.operation import ElementWise, Operation
from gpunet.ops.passes import Pass
from gpunet.ops.waiting import Normalised, computed

__all__ = [
    "Abs",
    "Add",
    "Clamp",
    "Divide",
    "Exp",
    "Log",
    "Maximum",
    "Minimum",
    "Multiply",
    "Negate",
    "Power",
    "Reciprocal",
    "Remainder",
    "Sqrt",
    "Subtract",
    "Where",
    "add",
]


@Pass
def add(a: Any, b: Any, out: Array | None = None) -> Array:
    """A + b; written over b where that is `out`."""
    return _add(a, b, out=out)


@elementwise
def _add(a: Any, b: Any, out: Array | None = None) -> Array:
    return xp.add(a, b, out=out)


class _Binary(Operation):
    """An element-wise operation on two inputs: keeps what it needs of them, and sums gradients over broadcast axes."""

    mixed = "widest"
    needs: ClassVar[tuple[str, str]] = ("ab", "ab")
    """Which of the inputs, a and b, the gradient by the first needs, and which that by the second."""

    def _keep(self, a: Any, b: Any) -> None:
        self.shapes: tuple[Any, ...] = (getattr(a, "shape", ()), getattr(b, "shape", ()))
        by_a, by_b = self.needs_grad or (True, True)
        needed = (self.needs[0] if by_a else "") + (self.needs[1] if by_b else "")
        self.a: Any = a if "a" in needed else None
        self.b: Any = b if "b" in needed else None

    def _gradients(self, grad_a: Any, grad_b: Any) -> tuple[Array | None, ...]:
        return tuple(
            unbroadcast(part(), shape) if needed else None
            for part, shape, needed in zip((grad_a, grad_b), self.shapes, self.needs_grad, strict=True)
        )


class Add(_Binary):
    """`y = a + b`."""

    takes_waiting = True

    def forward(self, a: Any, b: Any) -> Any:
        self.shapes = tuple(getattr(value, "shape", None) for value in (a, b))
        joined = a.plus(b) if isinstance(a, Normalised) else None
        if joined is None and isinstance(b, Normalised):
            joined = b.plus(a)
        return add(computed(a), computed(b)) if joined is None else joined

    def backward(self, grad: Any) -> tuple[Any, ...]:
        if self.shapes[0] != self.shapes[1]:
            grad = computed(grad)  # to be summed
        return tuple(
            unbroadcast(grad, shape) if needed and shape is not None else None
            for shape, needed in zip(self.shapes, self.needs_grad, strict=True)
        )


class Subtract(_Binary, ElementWise):
    """`y = a - b`."""

    needs = ("", "")

    def forward(self, a: Any, b: Any) -> Array:
        self._keep(a, b)
        return a - b

    def backward(self, grad: Array) -> tuple[Array | None, ...]:
        return self._gradients(lambda: grad, lambda: -grad)


class Multiply(_Binary, ElementWise):
    """`y = a * b`."""

    needs = ("b", "a")

    def forward(self, a: Any, b: Any) -> Array:
        self._keep(a, b)
        return a * b

    def backward(self, grad: Array) -> tuple[Array | None, ...]:
        return self._gradients(lambda: grad * self.b, lambda: grad * self.a)


class Divide(_Binary, ElementWise):
    """`y = a / b`."""

    needs = ("b", "ab")

    def forward(self, a: Any, b: Any) -> Array:
        self._keep(a, b)
        return a / b

    def backward(self, grad: Array) -> tuple[Array | None, ...]:
        return self._gradients(lambda: grad / self.b, lambda: -grad * self.a / (self.b * self.b))


class Reciprocal(Divide):
    """`y = number / b`, which autocast distrusts as it does powers."""

    autocast = "full"


class Remainder(_Binary, ElementWise):
    """`y = a - floor(a / b) b`, constant but for a and for the number of times that b goes into it."""

    needs = ("", "ab")

    def forward(self, a: Any, b: Any) -> Array:
        self._keep(a, b)
        return xp.remainder(a, b)

    def backward(self, grad: Array) -> tuple[Array | None, ...]:
        return self._gradients(lambda: grad, lambda: -grad * xp.floor(self.a / self.b))


class Power(_Binary, ElementWise):
    """`y = a ** b`. dy/da = b a^(b-1), dy/db = y ln a; at a = 0 the latter is taken as 0, its limit for b > 0.

    Raises:
        ArgumentError: if whole numbers are raised to negative powers.
    """

    autocast = "full"

    def forward(self, a: Any, b: Any) -> Array:
        self._keep(a, b)
        if (a if hasattr(a, "dtype") else b).dtype.kind in "biu" and (xp.asarray(b) < 0).any():
            raise ArgumentError("whole numbers cannot be raised to negative powers; convert with .float()")
        self.y = a**b
        return self.y

    def backward(self, grad: Array) -> tuple[Array | None, ...]:
        def by_base() -> Array:
            one_less = self.b - (self.b != 0)  # where b is 0 the power does not matter, but 0^-1 would be infinite
            return grad * self.b * self.a**one_less

        def by_exponent() -> Array:
            base = xp.asarray(self.a, dtype=self.y.dtype)
            return grad * self.y * xp.log(xp.where(base == 0, xp.ones_like(base), base))

        return self._gradients(by_base, by_exponent)


class _Choice(_Binary, ElementWise):
    """The larger or the smaller of two; equal values share the gradient evenly, as in PyTorch."""

    def _share(self, grad: Array, first_wins: Array) -> tuple[Array | None, ...]:
        tie = (self.a == self.b) * grad.dtype.type(0.5)
        return self._gradients(lambda: grad * (first_wins + tie), lambda: grad * (1 - first_wins - tie))


class Maximum(_Choice):
    """`y = max(a, b)`, NaN where either is NaN."""

    def forward(self, a: Array, b: Array) -> Array:
        self._keep(a, b)
        return xp.maximum(a, b)

    def backward(self, grad: Array) -> tuple[Array | None, ...]:
        return self._share(grad, (self.a > self.b).astype(grad.dtype))


class Minimum(_Choice):
    """`y = min(a, b)`, NaN where either is NaN."""

    def forward(self, a: Array, b: Array) -> Array:
        self._keep(a, b)
        return xp.minimum(a, b)

    def backward(self, grad: Array) -> tuple[Array | None, ...]:
        return self._share(grad, (self.a < self.b).astype(grad.dtype))


class Where(_Binary):
    """`y = a where condition else b`."""

    needs = ("", "")

    def __init__(self, condition: Array) -> None:
        self.condition = condition

    def forward(self, a: Array, b: Array) -> Array:
        self._keep(a, b)
        return xp.where(self.condition, a, b)

    def backward(self, grad: Array) -> tuple[Array | None, ...]:
        zero = xp.zeros_like(grad)
        return self._gradients(
            lambda: xp.where(self.condition, grad, zero), lambda: xp.where(self.condition, zero, grad)
        )


class Negate(ElementWise):
    """`y = -x`."""

    def forward(self, x: Array) -> Array:
        return -x

    def backward(self, grad: Array) -> tuple[Array]:
        return (-grad,)


class Exp(ElementWise):
    """`y = e^x`."""

    autocast = "full"

    def forward(self, x: Array) -> Array:
        self.y = xp.exp(x)
        return self.y

    def backward(self, grad: Array) -> tuple[Array]:
        return (grad * self.y,)


class Log(ElementWise):
    """`y = ln x`."""

    autocast = "full"

    def forward(self, x: Array) -> Array:
        self.x = x
        return xp.log(x)

    def backward(self, grad: Array) -> tuple[Array]:
        return (grad / self.x,)


class Sqrt(ElementWise):
    """`y = sqrt(x)`."""

    def forward(self, x: Array) -> Array:
        self.y = xp.sqrt(x)
        return self.y

    def backward(self, grad: Array) -> tuple[Array]:
        return (grad / (2 * self.y),)


class Abs(ElementWise):
    """`y = |x|`, with slope 0 at 0."""

    def forward(self, x: Array) -> Array:
        self.x = x
        return xp.abs(x)

    def backward(self, grad: Array) -> tuple[Array]:
        return (grad * xp.sign(self.x),)


class Clamp(ElementWise):
    """`y = min(max(x, low), high)`; the gradient passes where x lies within the bounds."""

    def __init__(self, low: float | None, high: float | None) -> None:
        self.low, self.high = low, high

    def forward(self, x: Array) -> Array:
        self.x = x
        y = x if self.low is None else xp.maximum(x, self.low)
        return y if self.high is None else xp.minimum(y, self.high)

    def backward(self, grad: Array) -> tuple[Array]:
        inside = xp.ones_like(self.x, dtype=bool)
        if self.low is not None:
            inside &= self.x >= self.low
        if self.high is not None:
            inside &= self.x <= self.high
        return (grad * inside,)
