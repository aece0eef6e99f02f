"""Activation functions, element by element, and softmax along a dimension.

`inplace`, where a function has it: the Tensor that came in is the one that goes out, with the new values.
"""

from __future__ import annotations

from gpunet.arguments import DType, axis_of, dimension, flag
from gpunet.backend import uniform_rows, xp
from gpunet.errors import ArgumentError, ShapeError
from gpunet.functional.checks import check_choice, check_float, number
from gpunet.ops import activation, formulas
from gpunet.ops import softmax as softmax_ops
from gpunet.ops.operation import Operation
from gpunet.ops.shaping import Nothing
from gpunet.tensor import Tensor, apply, own

__all__ = [
    "celu",
    "elu",
    "gelu",
    "glu",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "leaky_relu",
    "log_softmax",
    "logsigmoid",
    "mish",
    "prelu",
    "relu",
    "relu6",
    "rrelu",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "tanh",
    "tanhshrink",
    "threshold",
]


def _activate(layer: str, operation: Operation, input: Tensor, inplace: bool = False) -> Tensor:
    check_float(input, layer)
    output = apply(operation, input)
    return input.become(output) if flag(inplace, f"{layer}: inplace") else output


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """`y = max(x, 0)`.

    Shape:
        any; the output has the same.

    Raises:
        DTypeError: if the input is not a Tensor of floats.
        GradientError: in place on a Tensor that was made with requires_grad, while operations are recorded.
    """
    return _activate("relu", activation.ReLU(), input, inplace)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """`y = x where x > 0 else negative_slope * x`.

    Shape:
        any; the output has the same.

    Raises:
        DTypeError: if the input is not a Tensor of floats.

    Reference:
        Maas, Hannun and Ng, "Rectifier nonlinearities improve neural network acoustic models", 2013.
    """
    slope = number(negative_slope, "negative_slope", "leaky_relu")
    return _activate("leaky_relu", activation.LeakyReLU(slope), input, inplace)


def sigmoid(input: Tensor) -> Tensor:
    """`y = 1 / (1 + e^-x)`: a number to the probability of one of two classes.

    Shape:
        any; the output has the same.

    Raises:
        DTypeError: if the input is not a Tensor of floats.
    """
    return _activate("sigmoid", activation.Sigmoid(), input)


def tanh(input: Tensor) -> Tensor:
    """`y = (e^x - e^-x) / (e^x + e^-x)`.

    Shape:
        any; the output has the same.

    Raises:
        DTypeError: if the input is not a Tensor of floats.
    """
    return _activate("tanh", activation.Tanh(), input)


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
    check_choice(approximate, ("none", "tanh"), "approximate", "gelu")
    return _activate("gelu", activation.GELU() if approximate == "none" else activation.TanhGELU(), input)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """`y = x / (1 + e^-x)`, also known as swish.

    Shape:
        any; the output has the same.

    Raises:
        DTypeError: if the input is not a Tensor of floats.

    Reference:
        Elfwing, Uchibe and Doya, "Sigmoid-weighted linear units", 2017.
    """
    return _activate("silu", activation.SiLU(), input, inplace)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """`y = min(max(x, 0), 6)`.

    Shape:
        any; the output has the same.

    Raises:
        DTypeError: if the input is not a Tensor of floats.

    Reference:
        Howard et al., "MobileNets: efficient convolutional neural networks for mobile vision applications", 2017.
    """
    return _activate("relu6", formulas.Hardtanh(0.0, 6.0), input, inplace)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """`y = min(max(x, min_val), max_val)`.

    Shape:
        any; the output has the same.

    Raises:
        DTypeError: if the input is not a Tensor of floats.
        ArgumentError: if a bound is no number, or they are the wrong way round.
    """
    low, high = number(min_val, "min_val", "hardtanh"), number(max_val, "max_val", "hardtanh")
    if low > high:
        raise ArgumentError(f"hardtanh: min_val must not be larger than max_val, got {low} and {high}")
    return _activate("hardtanh", formulas.Hardtanh(low, high), input, inplace)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """`y = min(max(x + 3, 0), 6) / 6`: a sigmoid of straight lines.

    Shape:
        any; the output has the same.

    Raises:
        DTypeError: if the input is not a Tensor of floats.
    """
    return _activate("hardsigmoid", formulas.Hardsigmoid(), input, inplace)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """`y = x min(max(x + 3, 0), 6) / 6`: silu of straight lines and a parabola.

    Shape:
        any; the output has the same.

    Raises:
        DTypeError: if the input is not a Tensor of floats.

    Reference:
        Howard et al., "Searching for MobileNetV3", 2019.
    """
    return _activate("hardswish", formulas.Hardswish(), input, inplace)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """`y = x where x > 0 else alpha (e^x - 1)`.

    Shape:
        any; the output has the same.

    Raises:
        DTypeError: if the input is not a Tensor of floats.
        ArgumentError: if alpha is no number.

    Reference:
        Clevert et al., "Fast and accurate deep network learning by exponential linear units", 2015.
    """
    return _activate("elu", formulas.ELU(number(alpha, "alpha", "elu")), input, inplace)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """`y = scale (x where x > 0 else alpha (e^x - 1))` with scale 1.0507 and alpha 1.6733: keeps mean 0 and variance 1.

    Shape:
        any; the output has the same.

    Raises:
        DTypeError: if the input is not a Tensor of floats.

    Reference:
        Klambauer et al., "Self-normalizing neural networks", 2017.
    """
    return _activate("selu", formulas.SELU(), input, inplace)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """`y = x where x > 0 else alpha (e^(x / alpha) - 1)`.

    Shape:
        any; the output has the same.

    Raises:
        DTypeError: if the input is not a Tensor of floats.
        ArgumentError: if alpha is no number, or 0.

    Reference:
        Barron, "Continuously differentiable exponential linear units", 2017.
    """
    alpha = number(alpha, "alpha", "celu")
    if alpha == 0:
        raise ArgumentError("celu: alpha must not be 0")
    return _activate("celu", formulas.CELU(alpha), input, inplace)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """`y = x where x > 0 else w x` with a learnt slope w, one for all or one for each channel.

    Shape:
        input: (N, C, ...), or any for a single slope; weight: (C,), (1,) or (). output: that of the input.

    Raises:
        DTypeError: if the Tensors are not floats of one type.
        ShapeError: if there is neither one slope nor one for each channel.

    Reference:
        He et al., "Delving deep into rectifiers", 2015.
    """
    check_float(input, "prelu")
    check_float(weight, "prelu", "weight")
    channels = input.shape[1] if input.ndim > 1 else 1
    if weight.ndim > 1 or weight.numel() not in (1, channels):
        raise ShapeError(f"prelu: weight must have 1 slope or {channels}, got {weight.shape} for input {input.shape}")
    if weight.numel() == 1:
        return apply(activation.PReLU(), input, weight.reshape(()))
    return apply(activation.PReLU(), input, weight.reshape(1, -1, *(1,) * (input.ndim - 2)))


def rrelu(
    input: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    """`y = x where x > 0 else a x`, in training with slopes drawn from U(lower, upper), else their mean.

    Shape:
        any; the output has the same.

    Raises:
        DTypeError: if the input is not a Tensor of floats.
        ArgumentError: if a bound is no number, or they are the wrong way round.

    Reference:
        Xu et al., "Empirical evaluation of rectified activations in convolutional network", 2015.
    """
    check_float(input, "rrelu")
    low, high = number(lower, "lower", "rrelu"), number(upper, "upper", "rrelu")
    if low > high:
        raise ArgumentError(f"rrelu: lower must not be larger than upper, got {low} and {high}")
    if not flag(training, "rrelu: training"):
        return leaky_relu(input, (low + high) / 2, inplace)
    slopes = own(xp.asarray(low + (high - low) * uniform_rows(input.shape), dtype=input.dtype))
    output = apply(activation.PReLU(), input, slopes)
    return input.become(output) if flag(inplace, "rrelu: inplace") else output


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """`y = log(1 + e^(beta x)) / beta`, and x itself where beta x > threshold: a smooth relu.

    Shape:
        any; the output has the same.

    Raises:
        DTypeError: if the input is not a Tensor of floats.
        ArgumentError: if beta or threshold is no number.
    """
    settings = number(beta, "beta", "softplus"), number(threshold, "threshold", "softplus")
    return _activate("softplus", formulas.Softplus(*settings), input)


def logsigmoid(input: Tensor) -> Tensor:
    """`y = log(1 / (1 + e^-x))`, computed without overflow.

    Shape:
        any; the output has the same.

    Raises:
        DTypeError: if the input is not a Tensor of floats.
    """
    return _activate("logsigmoid", formulas.LogSigmoid(), input)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """`y = x tanh(log(1 + e^x))`.

    Shape:
        any; the output has the same.

    Raises:
        DTypeError: if the input is not a Tensor of floats.

    Reference:
        Misra, "Mish: a self regularized non-monotonic neural activation function", 2019.
    """
    return _activate("mish", formulas.Mish(), input, inplace)


def softsign(input: Tensor) -> Tensor:
    """`y = x / (1 + |x|)`.

    Shape:
        any; the output has the same.

    Raises:
        DTypeError: if the input is not a Tensor of floats.
    """
    return _activate("softsign", formulas.Softsign(), input)


def tanhshrink(input: Tensor) -> Tensor:
    """`y = x - tanh x`.

    Shape:
        any; the output has the same.

    Raises:
        DTypeError: if the input is not a Tensor of floats.
    """
    return _activate("tanhshrink", formulas.Tanhshrink(), input)


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """`y = x - lambd where x > lambd, x + lambd where x < -lambd, else 0`.

    Shape:
        any; the output has the same.

    Raises:
        DTypeError: if the input is not a Tensor of floats.
        ArgumentError: if lambd is no number, or negative.
    """
    lambd = number(lambd, "lambd", "softshrink")
    if lambd < 0:
        raise ArgumentError(f"softshrink: lambd must be 0 or more, got {lambd}")
    return _activate("softshrink", formulas.Softshrink(lambd), input)


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """`y = x where |x| > lambd else 0`.

    Shape:
        any; the output has the same.

    Raises:
        DTypeError: if the input is not a Tensor of floats.
        ArgumentError: if lambd is no number.
    """
    return _activate("hardshrink", formulas.Hardshrink(number(lambd, "lambd", "hardshrink")), input)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """`y = x where x > threshold else value`.

    Shape:
        any; the output has the same.

    Raises:
        DTypeError: if the input is not a Tensor of floats.
        ArgumentError: if threshold or value is no number.
    """
    settings = number(threshold, "threshold", "threshold"), number(value, "value", "threshold")
    return _activate("threshold", formulas.Threshold(*settings), input, inplace)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """`y = a / (1 + e^-b)`, where a and b are the two halves of the input along `dim`.

    Shape:
        (..., 2 C, ...) -> (..., C, ...).

    Raises:
        DTypeError: if the input is not a Tensor of floats.
        ShapeError: if there is no such dimension, or its size is odd.

    Reference:
        Dauphin et al., "Language modeling with gated convolutional networks", 2016.
    """
    check_float(input, "glu")
    axis = axis_of(dim, input.ndim, "glu")
    half, odd = divmod(input.shape[axis], 2)
    if odd:
        raise ShapeError(f"glu: dim {dim} must be of an even size, got {input.shape}")
    a, b = ((slice(None),) * axis + (part,) for part in (slice(0, half), slice(half, None)))
    return input[a] * sigmoid(input[b])


def softmin(input: Tensor, dim: int = -1, *, dtype: DType = None) -> Tensor:
    """`y_i = e^-x_i / sum_k e^-x_k` along `dim`.

    Args:
        dtype: the type of number to compute in.

    Shape:
        any; the output has the same.

    Raises:
        DTypeError: if the input is not a Tensor of floats.
        ShapeError: if there is no such dimension.
    """
    _softmax_axis(input, dim, "softmin")
    return softmax(-input, dim, dtype=dtype)


def softmax(input: Tensor, dim: int = -1, *, dtype: DType = None) -> Tensor:
    """`y_i = e^x_i / sum_k e^x_k` along `dim`: numbers to a probability distribution over classes.

    Args:
        dtype: the type of number to compute in.

    Shape:
        any; the output has the same.

    Raises:
        DTypeError: if the input is not a Tensor of floats.
        ShapeError: if there is no such dimension.
    """
    axis = _softmax_axis(input, dim, "softmax")
    return _along(softmax_ops.Softmax(axis), input, dtype)


def log_softmax(input: Tensor, dim: int = -1, *, dtype: DType = None) -> Tensor:
    """`y_i = x_i - log sum_k e^x_k` along `dim`: the logarithm of softmax, computed without overflow or underflow.

    Args:
        dtype: the type of number to compute in.

    Shape:
        any; the output has the same.

    Raises:
        DTypeError: if the input is not a Tensor of floats.
        ShapeError: if there is no such dimension.
    """
    axis = _softmax_axis(input, dim, "log_softmax")
    return _along(softmax_ops.LogSoftmax(axis), input, dtype)


def _softmax_axis(input: Tensor, dim: int, layer: str) -> int:
    check_float(input, layer)
    dim, ndim = dimension(dim, layer), max(1, input.ndim)  # a single number counts as a row of one
    if not -ndim <= dim < ndim:
        raise ShapeError(f"{layer}: dim {dim} must be a dimension of the input, got {input.shape}")
    return dim % ndim


def _along(operation: softmax_ops.Softmax | softmax_ops.LogSoftmax, input: Tensor, dtype: DType) -> Tensor:
    input = input if dtype is None else input.to(dtype)
    if not input.ndim:
        return apply(operation, input.reshape(1)).reshape(())
    return apply(operation if input.numel() else Nothing(input.shape), input)
