"""Dropout."""

from __future__ import annotations

from gpunet.arguments import flag
from gpunet.errors import ShapeError
from gpunet.functional.checks import check_float, probability
from gpunet.ops.dropout import Dropout
from gpunet.tensor import Tensor, apply

__all__ = ["dropout", "dropout2d"]


def dropout(input: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """Set each element to 0 with probability p and scale the others: `y = 0 where u < p else x / (1-p)`, u ~ U(0,1).

    The expected value stays the same, so evaluation (training=False) is the identity.

    Shape:
        any; the output has the same.

    Raises:
        ArgumentError: if p lies outside [0, 1], or `training` is neither True nor False.
        DTypeError: if the input is not a Tensor of floats.

    Reference:
        Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014.
    """
    check_float(input, "dropout")
    p, training = probability(p, "p", "dropout"), flag(training, "dropout: training")
    return apply(Dropout(p, per_channel=False), input) if training and p > 0 else input


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """Set each channel of each image to 0 with probability p and scale the others by 1 / (1-p).

    Neighbouring pixels resemble each other, so dropping single ones hides little; whole channels are dropped instead.

    Shape:
        (N, C, H, W); the output has the same.

    Raises:
        ArgumentError: if p lies outside [0, 1], or `training` is neither True nor False.
        ShapeError: if the input has fewer than 3 dimensions.
        DTypeError: if the input is not a Tensor of floats.

    Reference:
        Tompson et al., "Efficient object localization using convolutional networks", 2015.
    """
    check_float(input, "dropout2d")
    p, training = probability(p, "p", "dropout2d"), flag(training, "dropout2d: training")
    if input.ndim < 3:
        raise ShapeError(f"dropout2d: input must have shape (N, C, H, W), got {input.shape}")
    return apply(Dropout(p, per_channel=True), input) if training and p > 0 else input
