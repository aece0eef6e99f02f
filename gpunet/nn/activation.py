"""Activation layers; the formulas and papers are with the functions of the same names in `gpunet.functional`."""

from __future__ import annotations

from gpunet import functional as F
from gpunet.functional.checks import check_choice
from gpunet.nn.module import Module
from gpunet.tensor import Tensor

__all__ = ["GELU", "LeakyReLU", "LogSoftmax", "ReLU", "SiLU", "Sigmoid", "Softmax", "Tanh"]


class ReLU(Module):
    """`y = max(x, 0)`.

    Args:
        inplace: the Tensor that came in is the one that goes out, with the new values.

    Shape:
        any; the output has the same.
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Set what is negative to 0."""
        return F.relu(input, self.inplace)

    def extra_repr(self) -> str:
        """The setting, where it is not the default."""
        return "inplace=True" if self.inplace else ""


class LeakyReLU(Module):
    """`y = x where x > 0 else negative_slope * x`.

    Shape:
        any; the output has the same.
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__()
        self.negative_slope = negative_slope

    def forward(self, input: Tensor) -> Tensor:
        """Scale what is negative down."""
        return F.leaky_relu(input, self.negative_slope)

    def extra_repr(self) -> str:
        """The settings."""
        return f"negative_slope={self.negative_slope}"


class Sigmoid(Module):
    """`y = 1 / (1 + e^-x)`.

    Shape:
        any; the output has the same.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Bring every value into (0, 1)."""
        return F.sigmoid(input)


class Tanh(Module):
    """`y = (e^x - e^-x) / (e^x + e^-x)`.

    Shape:
        any; the output has the same.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Bring every value into (-1, 1)."""
        return F.tanh(input)


class GELU(Module):
    """`y = x Phi(x)` with the cumulative normal distribution Phi; approximate="tanh" takes the paper's approximation.

    Shape:
        any; the output has the same.

    Raises:
        ArgumentError: if `approximate` is neither "none" nor "tanh".
    """

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        check_choice(approximate, ("none", "tanh"), "approximate", "GELU")
        self.approximate = approximate

    def forward(self, input: Tensor) -> Tensor:
        """Weigh every value by the probability that a normal number is smaller."""
        return F.gelu(input, self.approximate)

    def extra_repr(self) -> str:
        """The settings."""
        return f"approximate={self.approximate!r}"


class SiLU(Module):
    """`y = x / (1 + e^-x)`.

    Shape:
        any; the output has the same.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Weigh every value by its sigmoid."""
        return F.silu(input)


class _AlongDimension(Module):
    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def extra_repr(self) -> str:
        """The settings."""
        return f"dim={self.dim}"


class Softmax(_AlongDimension):
    """`y_i = e^x_i / sum_k e^x_k` along a dimension.

    Shape:
        any with at least one dimension; the output has the same.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Turn numbers into a probability distribution."""
        return F.softmax(input, self.dim)


class LogSoftmax(_AlongDimension):
    """`y_i = x_i - log sum_k e^x_k` along a dimension.

    Shape:
        any with at least one dimension; the output has the same.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Turn numbers into the logarithms of a probability distribution."""
        return F.log_softmax(input, self.dim)
