"""Activation functions, element by element."""

from __future__ import annotations

import math
from typing import Any

from gpunet.backend import Array, elementwise, xp
from gpunet.ops.arithmetic import add
from gpunet.ops.broadcast import unbroadcast
from gpunet.ops.choice import where
from gpunet.ops.normal import normal_cdf, normal_pdf
from gpunet.ops.operation import ElementWise, Operation
from gpunet.ops.passes import Pass
from gpunet.ops.waiting import Normalised, Waiting, computed, wait

__all__ = [
    "GELU",
    "LeakyReLU",
    "Masked",
    "PReLU",
    "ReLU",
    "SiLU",
    "Sigmoid",
    "Tanh",
    "TanhGELU",
    "add_rectified_back",
    "rectify",
    "rectify_back",
    "relu",
    "sigmoid",
]


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^-x), for negative x as e^x / (1 + e^x): nothing overflows, and small values keep their digits."""
    return xp.exp(xp.minimum(x, 0)) / (1 + xp.exp(-xp.abs(x)))


@elementwise
def relu(x: Array, out: Array | None = None) -> Array:
    """max(x, 0); NaN stays NaN. Against a single number NumPy's clip is twice as fast as its maximum."""
    return xp.clip(x, 0, math.inf, out=out)


@Pass
def rectify(x: Array) -> Array:
    """max(x, 0), NaN where x is."""
    return relu(x)


@Pass
def rectify_back(grad: Array, y: Array) -> Array:
    """What reaches the input of a ReLU that gave y: 0 where y is 0, else the gradient, also where y is NaN."""
    return _keep_where_positive(grad, y)


@Pass
def add_rectified_back(grad: Array, y: Array, total: Array) -> Array:
    """The sum of that and of another gradient, `total`, over which it is written."""
    return add(rectify_back(grad, y), total, total)


@elementwise
def _keep_where_positive(grad: Array, y: Array) -> Array:
    """Bits are kept or cleared: a product with the mask makes NaN of infinity, and `where` takes ten times as long."""
    keep = (y <= 0).view("i1") - 1  # 0, or -1: all bits are set
    return (grad.view(f"i{grad.itemsize}") & keep).view(grad.dtype)


class ReLU(Operation):
    """`y = max(x, 0)`. Keeps its output, which the next layer keeps anyway."""

    takes_waiting = True

    def forward(self, x: Any) -> Any:
        joined = x.through_relu() if isinstance(x, Normalised) else None
        self.y = rectify(computed(x)) if joined is None else joined
        return self.y

    def backward(self, grad: Any) -> tuple[Any]:
        return (wait(Masked(self, computed(grad), computed(self.y))),)


class Masked(Waiting):
    """A gradient from which a ReLU that gave y is yet to cut its part; batch norm does that in its own passes."""

    __slots__ = ()

    def __init__(self, operation: object, grad: Array, y: Array) -> None:
        super().__init__(operation, grad.shape, rectify_back, (grad, y), (grad, y))

    def apart(self) -> tuple[Array, Array | None]:
        """The gradient and y; where it has been computed, the result and None."""
        work = self._work
        return (self.value, None) if work is None else (work.args[0], work.args[1])

    def add_to(self, total: Array) -> Array:
        """The sum of it and of another gradient, written over that."""
        grad, y = self.apart()
        return add(grad, total, total) if y is None else add_rectified_back(grad, y, total)


class LeakyReLU(ElementWise):
    """`y = x where x > 0 else slope * x`."""

    def __init__(self, slope: float) -> None:
        self.slope = slope

    def forward(self, x: Array) -> Array:
        self.x = x
        return where(x > 0, x, self.slope * x)

    def backward(self, grad: Array) -> tuple[Array]:
        return (where(self.x > 0, grad, self.slope * grad),)


class PReLU(ElementWise):
    """`y = x where x > 0 else slope * x`, with slopes that are learnt or drawn, and broadcast to x."""

    autocast, mixed = "half", "refused"
    function, names = "prelu", ("input", "weight")

    def forward(self, x: Array, slope: Array) -> Array:
        self.x, self.slope = x, slope
        return where(x > 0, x, slope * x)

    def backward(self, grad: Array) -> tuple[Array, Array | None]:
        dslope = unbroadcast(where(self.x > 0, 0, grad * self.x), self.slope.shape) if self.needs_grad[1] else None
        return where(self.x > 0, grad, self.slope * grad), dslope


class Sigmoid(ElementWise):
    """`y = 1 / (1 + e^-x)`; dy/dx = y (1 - y)."""

    def forward(self, x: Array) -> Array:
        self.y = sigmoid(x)
        return self.y

    def backward(self, grad: Array) -> tuple[Array]:
        return (grad * self.y * (1 - self.y),)


class Tanh(ElementWise):
    """`y = tanh x`; dy/dx = 1 - y^2."""

    def forward(self, x: Array) -> Array:
        self.y = xp.tanh(x)
        return self.y

    def backward(self, grad: Array) -> tuple[Array]:
        return (grad * (1 - self.y * self.y),)


class SiLU(ElementWise):
    """`y = x s` with s = sigmoid(x); dy/dx = s (1 + x (1 - s))."""

    def forward(self, x: Array) -> Array:
        self.x, self.s = x, sigmoid(x)
        return x * self.s

    def backward(self, grad: Array) -> tuple[Array]:
        return (grad * self.s * (1 + self.x * (1 - self.s)),)


class GELU(ElementWise):
    """`y = x Phi(x)` with the normal distribution Phi; dy/dx = Phi(x) + x phi(x)."""

    def forward(self, x: Array) -> Array:
        self.x, self.cdf = x, normal_cdf(x)
        return x * self.cdf

    def backward(self, grad: Array) -> tuple[Array]:
        return (grad * (self.cdf + self.x * normal_pdf(self.x)),)


class TanhGELU(ElementWise):
    """`y = x/2 (1 + tanh(u))` with u = sqrt(2/pi) (x + 0.044715 x^3): GELU as it was approximated in the paper."""

    SCALE = math.sqrt(2 / math.pi)
    CUBIC = 0.044715

    def forward(self, x: Array) -> Array:
        self.x, self.tanh = x, xp.tanh(self.SCALE * (x + self.CUBIC * x * x * x))
        return 0.5 * x * (1 + self.tanh)

    def backward(self, grad: Array) -> tuple[Array]:
        slope = self.SCALE * (1 + 3 * self.CUBIC * self.x * self.x)  # du/dx
        return (grad * 0.5 * (1 + self.tanh + self.x * (1 - self.tanh * self.tanh) * slope),)
