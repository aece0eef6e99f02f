"""Dropout, of elements, of channels and of whole branches."""

from __future__ import annotations

from gpunet.arguments import flag
from gpunet.backend import uniform, uniform_rows
from gpunet.errors import ShapeError
from gpunet.functional.checks import check_choice, check_float, probability
from gpunet.ops.dropout import Dropout
from gpunet.ops.formulas import SELU
from gpunet.tensor import Tensor, apply, own

__all__ = ["alpha_dropout", "dropout", "dropout1d", "dropout2d", "feature_alpha_dropout", "stochastic_depth"]


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Set each element to 0 with probability p and scale the others: `y = 0 where u < p else x / (1-p)`, u ~ U(0,1).

    The expected value stays the same, so evaluation (training=False) is the identity.

    Shape:
        any; the output has the same.

    Raises:
        ArgumentError: if p lies outside [0, 1], or `training` or `inplace` is neither True nor False.
        DTypeError: if the input is not a Tensor of floats.

    Reference:
        Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014.
    """
    return _drop("dropout", input, p, training, inplace, per_channel=False)


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
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
    if input.ndim < 3:
        raise ShapeError(f"dropout2d: input must have shape (N, C, H, W), got {input.shape}")
    return _drop("dropout2d", input, p, training, inplace, per_channel=True)


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Set each channel of each sequence to 0 with probability p and scale the others by 1 / (1-p).

    Shape:
        (N, C, L) or (C, L); the output has the same.

    Raises:
        ArgumentError: if p lies outside [0, 1], or `training` or `inplace` is neither True nor False.
        ShapeError: if the input has another rank.
        DTypeError: if the input is not a Tensor of floats.
    """
    check_float(input, "dropout1d")
    if input.ndim not in (2, 3):
        raise ShapeError(f"dropout1d: input must have shape (N, C, L) or (C, L), got {input.shape}")
    if input.ndim == 3:
        return _drop("dropout1d", input, p, training, inplace, per_channel=True)
    output = _drop("dropout1d", input.unsqueeze(0), p, training, False, per_channel=True).squeeze(0)
    return input.become(output) if flag(inplace, "dropout1d: inplace") else output


def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Dropout for selu: elements go to its lower limit, and the rest is scaled so that mean and variance stay.

    `y = a (x where u >= p else -1.7581) + b`, with a and b such that mean 0 and variance 1 are kept.

    Shape:
        any; the output has the same.

    Raises:
        ArgumentError: if p lies outside [0, 1], or `training` or `inplace` is neither True nor False.
        DTypeError: if the input is not a Tensor of floats.

    Reference:
        Klambauer et al., "Self-normalizing neural networks", 2017.
    """
    return _alpha_drop("alpha_dropout", input, p, training, inplace, per_channel=False)


def feature_alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """`alpha_dropout` of whole channels.

    Shape:
        (N, C, ...); the output has the same.

    Raises:
        ArgumentError: if p lies outside [0, 1], or `training` or `inplace` is neither True nor False.
        ShapeError: if the input has fewer than 2 dimensions.
        DTypeError: if the input is not a Tensor of floats.
    """
    check_float(input, "feature_alpha_dropout")
    if input.ndim < 2:
        raise ShapeError(f"feature_alpha_dropout: input must have shape (N, C, ...), got {input.shape}")
    return _alpha_drop("feature_alpha_dropout", input, p, training, inplace, per_channel=True)


def stochastic_depth(input: Tensor, p: float, mode: str, training: bool = True) -> Tensor:
    """Set what a residual branch has made to 0 with probability p, else scale it by 1 / (1-p): torchvision's.

    Args:
        mode: "batch" for all images together, "row" for each on its own.

    Shape:
        (N, ...); the output has the same.

    Raises:
        ArgumentError: if p lies outside [0, 1], the mode is another, or `training` is neither True nor False.
        DTypeError: if the input is not a Tensor of floats.

    Reference:
        Huang et al., "Deep networks with stochastic depth", 2016.
    """
    check_float(input, "stochastic_depth")
    p = probability(p, "p", "stochastic_depth")
    check_choice(mode, ("batch", "row"), "mode", "stochastic_depth")
    if not flag(training, "stochastic_depth: training") or p == 0:
        return input
    ones = (1,) * (input.ndim - 1)
    u = uniform_rows((len(input), *ones)) if mode == "row" else uniform((1, *ones))
    kept = (u >= p) * (1 / (1 - p) if p < 1 else 0.0)
    return input * own(kept.astype(input.dtype))


def _drop(layer: str, input: Tensor, p: float, training: bool, inplace: bool, per_channel: bool) -> Tensor:
    check_float(input, layer)
    p, training, inplace = probability(p, "p", layer), flag(training, f"{layer}: training"), flag(inplace, layer)
    if not training or p == 0:
        return input
    output = apply(Dropout(p, per_channel), input)
    return input.become(output) if inplace else output


def _alpha_drop(layer: str, input: Tensor, p: float, training: bool, inplace: bool, per_channel: bool) -> Tensor:
    check_float(input, layer)
    p, training, inplace = probability(p, "p", layer), flag(training, f"{layer}: training"), flag(inplace, layer)
    if not training or p == 0:
        return input
    if p == 1:  # nothing is left, as in PyTorch
        output = input * 0.0
        return input.become(output) if inplace else output
    limit = -SELU.SCALE * SELU.ALPHA
    a = ((1 - p) * (1 + p * limit * limit)) ** -0.5
    shape = (*input.shape[:2], *(1,) * (input.ndim - 2)) if per_channel else input.shape
    kept = (uniform_rows(shape) >= p).astype(input.dtype)
    scale, shift = own(kept * a), own(((1 - kept) - p) * (a * limit))
    output = input * scale + shift
    return input.become(output) if inplace else output
