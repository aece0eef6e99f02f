"""Activation layers; the formulas and papers are with the functions of the same names in `gpunet.functional`.

`inplace`, where a layer has it: the Tensor that came in is the one that goes out, with the new values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from gpunet import functional as F
from gpunet.arguments import DType
from gpunet.backend import xp
from gpunet.errors import ShapeError
from gpunet.functional.checks import check_choice, number, whole_number
from gpunet.nn.init import constant_
from gpunet.nn.module import Module
from gpunet.nn.parameter import Parameter, factory_type
from gpunet.tensor import Tensor, own

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "SELU",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LeakyReLU",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "PReLU",
    "RReLU",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softmax2d",
    "Softmin",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Tanh",
    "Tanhshrink",
    "Threshold",
]


class _Activation(Module):
    """A layer that calls one function with the settings that it was made with."""

    _function: ClassVar[Callable[..., Tensor]]

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self._settings = tuple(settings)
        for name, value in settings.items():
            setattr(self, name, value)

    def forward(self, input: Tensor) -> Tensor:
        """The function of the input."""
        return self._function(input, **{name: getattr(self, name) for name in self._settings})

    def extra_repr(self) -> str:
        """The settings; `inplace` where it is on."""
        shown = [(name, getattr(self, name)) for name in self._settings]
        return ", ".join(f"{name}={value!r}" for name, value in shown if name != "inplace" or value)


class ReLU(_Activation):
    """`y = max(x, 0)`.

    Shape:
        any; the output has the same.
    """

    _function = staticmethod(F.relu)

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(inplace=inplace)


class ReLU6(_Activation):
    """`y = min(max(x, 0), 6)`.

    Shape:
        any; the output has the same.
    """

    _function = staticmethod(F.relu6)

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(inplace=inplace)


class LeakyReLU(_Activation):
    """`y = x where x > 0 else negative_slope * x`.

    Shape:
        any; the output has the same.
    """

    _function = staticmethod(F.leaky_relu)

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__(negative_slope=negative_slope, inplace=inplace)


class ELU(_Activation):
    """`y = x where x > 0 else alpha (e^x - 1)`.

    Shape:
        any; the output has the same.
    """

    _function = staticmethod(F.elu)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__(alpha=alpha, inplace=inplace)


class SELU(_Activation):
    """`y = scale (x where x > 0 else alpha (e^x - 1))` with scale 1.0507 and alpha 1.6733.

    Shape:
        any; the output has the same.
    """

    _function = staticmethod(F.selu)

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(inplace=inplace)


class CELU(_Activation):
    """`y = x where x > 0 else alpha (e^(x / alpha) - 1)`.

    Shape:
        any; the output has the same.
    """

    _function = staticmethod(F.celu)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__(alpha=alpha, inplace=inplace)


class GELU(_Activation):
    """`y = x Phi(x)` with the cumulative normal distribution Phi; approximate="tanh" takes the paper's approximation.

    Shape:
        any; the output has the same.

    Raises:
        ArgumentError: if `approximate` is neither "none" nor "tanh".
    """

    _function = staticmethod(F.gelu)

    def __init__(self, approximate: str = "none") -> None:
        check_choice(approximate, ("none", "tanh"), "approximate", "GELU")
        super().__init__(approximate=approximate)


class SiLU(_Activation):
    """`y = x / (1 + e^-x)`.

    Shape:
        any; the output has the same.
    """

    _function = staticmethod(F.silu)

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(inplace=inplace)


class Mish(_Activation):
    """`y = x tanh(log(1 + e^x))`.

    Shape:
        any; the output has the same.
    """

    _function = staticmethod(F.mish)

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(inplace=inplace)


class Softplus(_Activation):
    """`y = log(1 + e^(beta x)) / beta`, and x itself where beta x > threshold.

    Shape:
        any; the output has the same.
    """

    _function = staticmethod(F.softplus)

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__(beta=beta, threshold=threshold)


class Sigmoid(_Activation):
    """`y = 1 / (1 + e^-x)`.

    Shape:
        any; the output has the same.
    """

    _function = staticmethod(F.sigmoid)


class LogSigmoid(_Activation):
    """`y = log(1 / (1 + e^-x))`.

    Shape:
        any; the output has the same.
    """

    _function = staticmethod(F.logsigmoid)


class Tanh(_Activation):
    """`y = (e^x - e^-x) / (e^x + e^-x)`.

    Shape:
        any; the output has the same.
    """

    _function = staticmethod(F.tanh)


class Softsign(_Activation):
    """`y = x / (1 + |x|)`.

    Shape:
        any; the output has the same.
    """

    _function = staticmethod(F.softsign)


class Tanhshrink(_Activation):
    """`y = x - tanh x`.

    Shape:
        any; the output has the same.
    """

    _function = staticmethod(F.tanhshrink)


class Hardtanh(_Activation):
    """`y = min(max(x, min_val), max_val)`.

    Shape:
        any; the output has the same.
    """

    _function = staticmethod(F.hardtanh)

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__(min_val=min_val, max_val=max_val, inplace=inplace)


class Hardsigmoid(_Activation):
    """`y = min(max(x + 3, 0), 6) / 6`.

    Shape:
        any; the output has the same.
    """

    _function = staticmethod(F.hardsigmoid)

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(inplace=inplace)


class Hardswish(_Activation):
    """`y = x min(max(x + 3, 0), 6) / 6`.

    Shape:
        any; the output has the same.
    """

    _function = staticmethod(F.hardswish)

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(inplace=inplace)


class Softshrink(_Activation):
    """`y = x - lambd where x > lambd, x + lambd where x < -lambd, else 0`.

    Shape:
        any; the output has the same.
    """

    _function = staticmethod(F.softshrink)

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__(lambd=lambd)


class Hardshrink(_Activation):
    """`y = x where |x| > lambd else 0`.

    Shape:
        any; the output has the same.
    """

    _function = staticmethod(F.hardshrink)

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__(lambd=lambd)


class Threshold(_Activation):
    """`y = x where x > threshold else value`.

    Shape:
        any; the output has the same.
    """

    _function = staticmethod(F.threshold)

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__(threshold=threshold, value=value, inplace=inplace)


class GLU(_Activation):
    """`y = a / (1 + e^-b)`, where a and b are the two halves of the input along `dim`.

    Shape:
        (..., 2 C, ...) -> (..., C, ...).
    """

    _function = staticmethod(F.glu)

    def __init__(self, dim: int = -1) -> None:
        super().__init__(dim=dim)


class Softmax(_Activation):
    """`y_i = e^x_i / sum_k e^x_k` along a dimension.

    Shape:
        any; the output has the same.
    """

    _function = staticmethod(F.softmax)

    def __init__(self, dim: int = -1) -> None:
        super().__init__(dim=dim)


class LogSoftmax(_Activation):
    """`y_i = x_i - log sum_k e^x_k` along a dimension.

    Shape:
        any; the output has the same.
    """

    _function = staticmethod(F.log_softmax)

    def __init__(self, dim: int = -1) -> None:
        super().__init__(dim=dim)


class Softmin(_Activation):
    """`y_i = e^-x_i / sum_k e^-x_k` along a dimension.

    Shape:
        any; the output has the same.
    """

    _function = staticmethod(F.softmin)

    def __init__(self, dim: int = -1) -> None:
        super().__init__(dim=dim)


class Softmax2d(_Activation):
    """Softmax over the channels of each pixel.

    Shape:
        (N, C, H, W) or (C, H, W); the output has the same.

    Raises:
        ShapeError: when called, for another rank.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Turn the channels of each pixel into a probability distribution."""
        if input.ndim not in (3, 4):
            raise ShapeError(f"Softmax2d: input must have shape (N, C, H, W) or (C, H, W), got {input.shape}")
        return F.softmax(input, -3)


class PReLU(Module):
    """`y = x where x > 0 else w x` with learnt slopes w.

    Args:
        num_parameters: 1 slope for all, or one for each channel.
        init: what the slopes are at first.

    Shape:
        (N, C, ...); the output has the same.

    Raises:
        ArgumentError: if `num_parameters` is no whole number of 1 or more, or `init` no number.
    """

    weight: Parameter

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: DType = None) -> None:
        super().__init__()
        self.num_parameters = whole_number(num_parameters, "num_parameters", "PReLU", 1)
        self.init = number(init, "init", "PReLU")
        self.weight = Parameter(own(xp.empty(num_parameters, dtype=factory_type(device, dtype, "PReLU"))))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Back to the slope of the beginning."""
        constant_(self.weight, self.init)

    def forward(self, input: Tensor) -> Tensor:
        """Scale what is negative."""
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        """The settings."""
        return f"num_parameters={self.num_parameters}"


class RReLU(_Activation):
    """`y = x where x > 0 else a x`, in training with slopes drawn from U(lower, upper), else their mean.

    Shape:
        any; the output has the same.
    """

    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3, inplace: bool = False) -> None:
        super().__init__(lower=lower, upper=upper, inplace=inplace)

    def forward(self, input: Tensor) -> Tensor:
        """Scale what is negative, by chance while training."""
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)
