"""Dropout layers."""

from __future__ import annotations

from gpunet import functional as F
from gpunet.functional.checks import probability
from gpunet.nn.module import Module
from gpunet.tensor import Tensor

__all__ = ["Dropout", "Dropout2d"]


class _Dropout(Module):
    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = probability(p, "p", type(self).__name__)

    def extra_repr(self) -> str:
        """The settings."""
        return f"p={self.p}"


class Dropout(_Dropout):
    """While training, sets each element to 0 with probability p and scales the others by 1 / (1-p).

    Shape:
        any; the output has the same.

    Raises:
        ArgumentError: if p lies outside [0, 1].

    Reference:
        Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Drop elements, or in evaluation return the input."""
        return F.dropout(input, self.p, self.training)


class Dropout2d(_Dropout):
    """While training, sets each channel of each image to 0 with probability p and scales the others by 1 / (1-p).

    Shape:
        (N, C, H, W); the output has the same.

    Raises:
        ArgumentError: if p lies outside [0, 1].

    Reference:
        Tompson et al., "Efficient object localization using convolutional networks", 2015.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Drop channels, or in evaluation return the input."""
        return F.dropout2d(input, self.p, self.training)
