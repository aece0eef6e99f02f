"""Starting values. Each function fills a Tensor in place and returns it.

The numbers are drawn on the host, so that a seed starts the same network on every backend.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunet.backend import asarray, host_generator
from gpunet.errors import ArgumentError, ShapeError
from gpunet.functional.checks import check_tensor, number
from gpunet.ops.writing import about_to_write
from gpunet.tensor import Tensor

__all__ = [
    "calculate_gain",
    "constant_",
    "dirac_",
    "eye_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "ones_",
    "orthogonal_",
    "sparse_",
    "trunc_normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with one value.

    Shape:
        any.
    """
    return _fill(tensor, number(val, "val", "constant_"))


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with 0.

    Shape:
        any.
    """
    return constant_(tensor, 0)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with 1.

    Shape:
        any.
    """
    return constant_(tensor, 1)


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0) -> Tensor:
    """Draw from the uniform distribution U(a, b).

    Shape:
        any.

    Raises:
        ArgumentError: if a is larger than b.
    """
    check_tensor(tensor, "uniform_", "what is filled")
    if not number(a, "a", "uniform_") <= number(b, "b", "uniform_"):
        raise ArgumentError(f"uniform_: a must be at most b, got {a} and {b}")
    return _fill(tensor, host_generator().uniform(a, b, tensor.shape))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Draw from the normal distribution with that mean and standard deviation.

    Shape:
        any.

    Raises:
        ArgumentError: if the standard deviation is negative.
    """
    check_tensor(tensor, "normal_", "what is filled")
    mean = number(mean, "mean", "normal_")
    if not number(std, "std", "normal_") >= 0:
        raise ArgumentError(f"normal_: std must be 0 or more, got {std}")
    return _fill(tensor, host_generator().normal(mean, std, tensor.shape))


def trunc_normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0) -> Tensor:
    """Draw from the normal distribution, but what lies outside [a, b] is drawn again.

    Shape:
        any.

    Raises:
        ArgumentError: if the standard deviation is not positive, a is not below b, or they lie so far from the mean
            that hardly anything is drawn between them.
    """
    check_tensor(tensor, "trunc_normal_", "what is filled")
    mean, std, a, b = (number(value, "each setting", "trunc_normal_") for value in (mean, std, a, b))
    if not (std > 0 and a < b and (a - mean) / std < 4 and (b - mean) / std > -4):
        raise ArgumentError(f"trunc_normal_: a must be below b, and not beyond the tail, got {mean}, {std}, {a}, {b}")
    rng = host_generator()
    drawn = rng.normal(mean, std, tensor.shape)
    while (outside := (drawn < a) | (drawn > b)).any():
        drawn[outside] = rng.normal(mean, std, int(outside.sum()))
    return _fill(tensor, drawn)


def orthogonal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Draw a matrix (O, I*kh*kw) whose rows, or columns if they are fewer, are orthogonal and of length `gain`.

    Shape:
        (O, I) or (O, I, kh, kw).

    Raises:
        ShapeError: if the Tensor has fewer than two dimensions.

    Reference:
        Saxe et al., "Exact solutions to the nonlinear dynamics of learning in deep linear neural networks", 2013.
    """
    _calculate_fan_in_and_fan_out(tensor)
    rows = tensor.shape[0]
    columns = tensor.numel() // max(1, rows)
    drawn = host_generator().standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(drawn)
    q *= np.sign(np.diagonal(r))  # otherwise not every matrix would be as likely
    return _fill(tensor, gain * (q if rows >= columns else q.T).reshape(tensor.shape))


def eye_(tensor: Tensor) -> Tensor:
    """Fill a matrix with ones on its diagonal and zeros elsewhere: the output of the layer is its input.

    Shape:
        (O, I).

    Raises:
        ShapeError: if the Tensor has not two dimensions.
    """
    check_tensor(tensor, "eye_", "what is filled")
    if tensor.ndim != 2:
        raise ShapeError(f"eye_ fills a matrix, got shape {tensor.shape}")
    return _fill(tensor, np.eye(tensor.shape[0], tensor.shape[1]))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Fill the filters of a convolution so that its output is its input, as far as there are channels; in each group.

    Shape:
        (O, I, kh, kw), or with another number of dimensions behind (O, I).

    Raises:
        ShapeError: if the Tensor has fewer than three dimensions.
        ArgumentError: if the groups do not divide the filters.
    """
    check_tensor(tensor, "dirac_", "what is filled")
    if tensor.ndim < 3:
        raise ShapeError(f"dirac_ fills the filters of a convolution, got shape {tensor.shape}")
    if groups < 1 or tensor.shape[0] % groups:
        raise ArgumentError(f"dirac_: groups={groups} must divide the {tensor.shape[0]} filters")
    values = np.zeros(tensor.shape)
    middle = [size // 2 for size in tensor.shape[2:]]
    each = tensor.shape[0] // groups
    for group in range(groups):
        for channel in range(min(each, tensor.shape[1])):
            at = (group * each + channel, channel, *middle)
            values[at] = 1
    return _fill(tensor, values)


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01) -> Tensor:
    """Draw from the normal distribution around 0, and set this part of each column to 0.

    Shape:
        (O, I).

    Raises:
        ShapeError: if the Tensor has not two dimensions.

    Reference:
        Martens, "Deep learning via Hessian-free optimization", 2010.
    """
    check_tensor(tensor, "sparse_", "what is filled")
    if tensor.ndim != 2:
        raise ShapeError(f"sparse_ fills a matrix, got shape {tensor.shape}")
    rng, (rows, columns) = host_generator(), tensor.shape
    values = rng.normal(0, std, tensor.shape)
    zeros = math.ceil(number(sparsity, "sparsity", "sparse_") * rows)
    for column in range(columns):
        values[rng.permutation(rows)[:zeros], column] = 0
    return _fill(tensor, values)


def xavier_uniform_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Draw from U(-a, a) with `a = gain * sqrt(6 / (fan_in + fan_out))`.

    Shape:
        (O, I) or (O, I, kh, kw).

    Raises:
        ShapeError: if the Tensor has fewer than two dimensions.

    Reference:
        Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.
    """
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    bound = gain * math.sqrt(6 / (fan_in + fan_out))
    return uniform_(tensor, -bound, bound)


def xavier_normal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Draw from the normal distribution with `std = gain * sqrt(2 / (fan_in + fan_out))`.

    Shape:
        (O, I) or (O, I, kh, kw).

    Raises:
        ShapeError: if the Tensor has fewer than two dimensions.

    Reference:
        Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.
    """
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    return normal_(tensor, 0.0, gain * math.sqrt(2 / (fan_in + fan_out)))


def kaiming_uniform_(tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> Tensor:
    """Draw from U(-b, b) with `b = gain * sqrt(3 / fan)`.

    Args:
        a: the slope of leaky_relu for negative values.
        mode: "fan_in" keeps the size of activations going forward, "fan_out" that of gradients going back.

    Shape:
        (O, I) or (O, I, kh, kw).

    Raises:
        ShapeError: if the Tensor has fewer than two dimensions.
        ArgumentError: for an unknown mode or nonlinearity.

    Reference:
        He et al., "Delving deep into rectifiers", 2015.
    """
    bound = calculate_gain(nonlinearity, a) * math.sqrt(3 / _fan(tensor, mode))
    return uniform_(tensor, -bound, bound)


def kaiming_normal_(tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> Tensor:
    """Draw from the normal distribution with `std = gain / sqrt(fan)`.

    Args:
        a: the slope of leaky_relu for negative values.
        mode: "fan_in" keeps the size of activations going forward, "fan_out" that of gradients going back.

    Shape:
        (O, I) or (O, I, kh, kw).

    Raises:
        ShapeError: if the Tensor has fewer than two dimensions.
        ArgumentError: for an unknown mode or nonlinearity.

    Reference:
        He et al., "Delving deep into rectifiers", 2015.
    """
    return normal_(tensor, 0.0, calculate_gain(nonlinearity, a) / math.sqrt(_fan(tensor, mode)))


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """By how much weights must be larger to make up for what an activation function takes away.

    Args:
        param: the slope of leaky_relu for negative values, 0.01 by default.

    Shape:
        none: a number.

    Raises:
        ArgumentError: for an unknown function.
    """
    gains = {
        "linear": 1.0,
        "conv2d": 1.0,
        "sigmoid": 1.0,
        "tanh": 5 / 3,
        "relu": math.sqrt(2),
        "leaky_relu": math.sqrt(2 / (1 + (0.01 if param is None else param) ** 2)),
        "selu": 3 / 4,
    }
    if nonlinearity not in gains:
        raise ArgumentError(f"calculate_gain: nonlinearity must be one of {', '.join(gains)}, got {nonlinearity!r}")
    return gains[nonlinearity]


def _fill(tensor: Tensor, values: Any) -> Tensor:
    check_tensor(tensor, "init", "what is filled")
    about_to_write(tensor.array)
    tensor.array[...] = asarray(values, tensor.dtype)
    return tensor


def _calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    """How many inputs each output sees, and how many outputs each input reaches."""
    check_tensor(tensor, "init", "what is filled")
    if tensor.ndim < 2:
        raise ShapeError(f"init: fan_in and fan_out need a weight of at least two dimensions, got {tensor.shape}")
    window = math.prod(tensor.shape[2:])
    return tensor.shape[1] * window, tensor.shape[0] * window


def _fan(tensor: Tensor, mode: str) -> int:
    if mode not in ("fan_in", "fan_out"):
        raise ArgumentError(f"init: mode must be 'fan_in' or 'fan_out', got {mode!r}")
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    return fan_in if mode == "fan_in" else fan_out
