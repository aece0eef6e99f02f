"""Dropout layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from gpunet import functional as F
from gpunet.functional.checks import check_choice, probability
from gpunet.nn.module import Module
from gpunet.tensor import Tensor

__all__ = ["AlphaDropout", "Dropout", "Dropout1d", "Dropout2d", "FeatureAlphaDropout", "StochasticDepth"]


class _Dropout(Module):
    _function: ClassVar[Callable[..., Tensor]]

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        self.p, self.inplace = probability(p, "p", type(self).__name__), inplace

    def forward(self, input: Tensor) -> Tensor:
        """Drop by chance, or in evaluation return the input."""
        return self._function(input, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        """The settings."""
        return f"p={self.p}" + (", inplace=True" if self.inplace else "")


class Dropout(_Dropout):
    """While training, sets each element to 0 with probability p and scales the others by 1 / (1-p).

    Shape:
        any; the output has the same.

    Raises:
        ArgumentError: if p lies outside [0, 1].

    Reference:
        Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014.
    """

    _function = staticmethod(F.dropout)


class Dropout2d(_Dropout):
    """While training, sets each channel of each image to 0 with probability p and scales the others by 1 / (1-p).

    Shape:
        (N, C, H, W); the output has the same.

    Raises:
        ArgumentError: if p lies outside [0, 1].

    Reference:
        Tompson et al., "Efficient object localization using convolutional networks", 2015.
    """

    _function = staticmethod(F.dropout2d)


class Dropout1d(_Dropout):
    """While training, sets each channel of each sequence to 0 with probability p and scales the others by 1 / (1-p).

    Shape:
        (N, C, L) or (C, L); the output has the same.

    Raises:
        ArgumentError: if p lies outside [0, 1].
    """

    _function = staticmethod(F.dropout1d)


class AlphaDropout(_Dropout):
    """While training, dropout that keeps mean 0 and variance 1 behind SELU; see `gpunet.functional.alpha_dropout`.

    Shape:
        any; the output has the same.

    Raises:
        ArgumentError: if p lies outside [0, 1].
    """

    _function = staticmethod(F.alpha_dropout)


class FeatureAlphaDropout(_Dropout):
    """While training, AlphaDropout of whole channels; see `gpunet.functional.feature_alpha_dropout`.

    Shape:
        (N, C, ...); the output has the same.

    Raises:
        ArgumentError: if p lies outside [0, 1].
    """

    _function = staticmethod(F.feature_alpha_dropout)


class StochasticDepth(Module):
    """While training, drops a residual branch with probability p; see `gpunet.functional.stochastic_depth`.

    Args:
        mode: "batch" for all images together, "row" for each on its own.

    Shape:
        (N, ...); the output has the same.

    Raises:
        ArgumentError: if p lies outside [0, 1], or the mode is another.
    """

    def __init__(self, p: float, mode: str) -> None:
        super().__init__()
        self.p, self.mode = probability(p, "p", "StochasticDepth"), mode
        check_choice(mode, ("batch", "row"), "mode", "StochasticDepth")

    def forward(self, input: Tensor) -> Tensor:
        """Drop by chance, or in evaluation return the input."""
        return F.stochastic_depth(input, self.p, self.mode, self.training)

    def extra_repr(self) -> str:
        """The settings."""
        return f"p={self.p}, mode={self.mode}"
