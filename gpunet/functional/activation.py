"""Activation functions, element by element, and softmax along a dimension."""

from __future__ import annotations

from gpunet.arguments import dimension
from gpunet.errors import ShapeError
from gpunet.functional.checks import check_choice, check_float, number
from gpunet.ops import activation
from gpunet.ops import softmax as softmax_ops
from gpunet.tensor import Tensor, apply

__all__ = ["gelu", "leaky_relu", "log_softmax", "relu", "sigmoid", "silu", "softmax", "tanh"]


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """`y = max(x, 0)`.

    Args:
        inplace: the Tensor that came in is the one that goes out, with the new values.

    Shape:
        any; the output has the same.

    Raises:
        DTypeError: if the input is not a Tensor of floats.
        GradientError: in place on a Tensor that was made with requires_grad, while operations are recorded.
    """
    check_float(input, "relu")
    output = apply(activation.ReLU(), input)
    return input.become(output) if inplace else output


def leaky_relu(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """`y = x where x > 0 else negative_slope * x`.

    Shape:
        any; the output has the same.

    Raises:
        DTypeError: if the input is not a Tensor of floats.

    Reference:
        Maas, Hannun and Ng, "Rectifier nonlinearities improve neural network acoustic models", 2013.
    """
    check_float(input, "leaky_relu")
    return apply(activation.LeakyReLU(number(negative_slope, "negative_slope", "leaky_relu")), input)


def sigmoid(input: Tensor) -> Tensor:
    """`y = 1 / (1 + e^-x)`: a number to the probability of one of two classes.

    Shape:
        any; the output has the same.

    Raises:
        DTypeError: if the input is not a Tensor of floats.
    """
    check_float(input, "sigmoid")
    return apply(activation.Sigmoid(), input)


def tanh(input: Tensor) -> Tensor:
    """`y = (e^x - e^-x) / (e^x + e^-x)`.

    Shape:
        any; the output has the same.

    Raises:
        DTypeError: if the input is not a Tensor of floats.
    """
    check_float(input, "tanh")
    return apply(activation.Tanh(), input)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """`y = x Phi(x)` with the cumulative normal distribution Phi.

    Args:
        approximate: "none", or "tanh" for `y = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`.

    Shape:
        any; the output has the same.

    Raises:
        DTypeError: if the input is not a Tensor of floats.
        ArgumentError: if `approximate` is something else.

    Reference:
        Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016.
    """
    check_float(input, "gelu")
    check_choice(approximate, ("none", "tanh"), "approximate", "gelu")
    return apply(activation.GELU() if approximate == "none" else activation.TanhGELU(), input)


def silu(input: Tensor) -> Tensor:
    """`y = x / (1 + e^-x)`, also known as swish.

    Shape:
        any; the output has the same.

    Raises:
        DTypeError: if the input is not a Tensor of floats.

    Reference:
        Elfwing, Uchibe and Doya, "Sigmoid-weighted linear units", 2017.
    """
    check_float(input, "silu")
    return apply(activation.SiLU(), input)


def softmax(input: Tensor, dim: int = -1) -> Tensor:
    """`y_i = e^x_i / sum_k e^x_k` along `dim`: numbers to a probability distribution over classes.

    Shape:
        any with at least one dimension; the output has the same.

    Raises:
        DTypeError: if the input is not a Tensor of floats.
        ShapeError: if there is no such dimension or it is empty.
    """
    axis = _softmax_axis(input, dim, "softmax")
    return apply(softmax_ops.Softmax(axis), input)


def log_softmax(input: Tensor, dim: int = -1) -> Tensor:
    """`y_i = x_i - log sum_k e^x_k` along `dim`: the logarithm of softmax, computed without overflow or underflow.

    Shape:
        any with at least one dimension; the output has the same.

    Raises:
        DTypeError: if the input is not a Tensor of floats.
        ShapeError: if there is no such dimension or it is empty.
    """
    axis = _softmax_axis(input, dim, "log_softmax")
    return apply(softmax_ops.LogSoftmax(axis), input)


def _softmax_axis(input: Tensor, dim: int, layer: str) -> int:
    check_float(input, layer)
    dim = dimension(dim, layer)
    if not -input.ndim <= dim < input.ndim or input.shape[dim] == 0:
        raise ShapeError(
            f"{layer}: dim {dim} must be a dimension of the input with at least one element, got {input.shape}"
        )
    return dim % input.ndim
