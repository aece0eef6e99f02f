"""Starting values. Each function fills a Tensor in place and returns it.

The numbers are drawn on the host, so that a seed starts the same network on every backend.
"""

from __future__ import annotations

import math
from typing import Any

from gpunet.backend import asarray, host_generator
from gpunet.errors import ArgumentError, ShapeError
from gpunet.functional.checks import check_tensor, number
from gpunet.ops.writing import about_to_write
from gpunet.tensor import Tensor

__all__ = [
    "calculate_gain",
    "constant_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "ones_",
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


def xavier_uniform_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Draw from U(-a, a) with `a = gain * sqrt(6 / (fan_in + fan_out))`.

    Shape:
        (O, I) or (O, I, kh, kw).

    Raises:
        ShapeError: if the Tensor has fewer than two dimensions.

    Reference:
        Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.
    """
    fan_in, fan_out = _fans(tensor)
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
    fan_in, fan_out = _fans(tensor)
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


def _fans(tensor: Tensor) -> tuple[int, int]:
    """How many inputs each output sees, and how many outputs each input reaches."""
    check_tensor(tensor, "init", "what is filled")
    if tensor.ndim < 2:
        raise ShapeError(f"init: fan_in and fan_out need a weight of at least two dimensions, got {tensor.shape}")
    window = math.prod(tensor.shape[2:])
    return tensor.shape[1] * window, tensor.shape[0] * window


def _fan(tensor: Tensor, mode: str) -> int:
    if mode not in ("fan_in", "fan_out"):
        raise ArgumentError(f"init: mode must be 'fan_in' or 'fan_out', got {mode!r}")
    fan_in, fan_out = _fans(tensor)
    return fan_in if mode == "fan_in" else fan_out
