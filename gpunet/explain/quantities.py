"""What lies between input and output where nothing slides: statistics, exponentials, logarithms, each by its name.

All of it is computed with Tensors, as the operations themselves do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gpunet import functional as F
from gpunet.backend import as_nchw, manual_seed, random_state, set_random_state, uniform
from gpunet.explain.exercise import Exercise
from gpunet.tensor import Tensor, tensor

__all__ = ["Quantity", "gradient_of", "quantities", "seeded_dropout"]

Values = np.ndarray[Any, np.dtype[Any]]


class Quantity(NamedTuple):
    """An intermediate value.

    Attributes:
        name: by which the catalogues of words describe it, as `quantity.NAME`.
        symbol: how formulas write it.
        values: a number, one for each channel or class, or an image.
        backward: whether it belongs to the way back.
    """

    name: str
    symbol: str
    values: Values
    backward: bool = False


def quantities(exercise: Exercise, output: Values) -> tuple[Quantity, ...]:
    """The intermediate values in the order in which they are computed; none for what a window makes."""
    make = _MAKERS.get(exercise.operation)
    return () if make is None else tuple(make(exercise, output))


def gradient_of(leaf: Tensor) -> Values:
    """The gradient that a Tensor has received; 0 is never -0, which would be shown as that."""
    return np.zeros(leaf.shape) if leaf.grad is None else leaf.grad.numpy() + 0.0


def seeded_dropout(exercise: Exercise, input: Tensor) -> tuple[Tensor, Values]:
    """The output of dropout for the seed of the exercise, and the numbers u that were drawn for it (C, H, W).

    The random numbers of whoever asks go on afterwards as if nothing had been drawn.
    """
    if exercise.seed is None or exercise.p is None:
        return input, np.zeros(exercise.input.shape)
    before = random_state()
    try:
        manual_seed(exercise.seed)
        output = F.dropout(input, exercise.p)
        manual_seed(exercise.seed)
        channels, height, width = exercise.input.shape
        drawn = as_nchw(uniform((1, height, width, channels)))[0]  # in the order of memory, as the operation draws them
    finally:
        set_random_state(before)
    return output, drawn


def _dropout(exercise: Exercise, output: Values) -> list[Quantity]:
    _, drawn = seeded_dropout(exercise, tensor(exercise.input[None]))
    p = exercise.p or 0.0
    scale = 1 / (1 - p) if p < 1 else 0.0
    return [Quantity("uniform", "u", drawn), Quantity("mask", "m", (drawn >= p) * scale)]


def _batch_norm(exercise: Exercise, output: Values) -> list[Quantity]:
    x, eps = tensor(exercise.input), exercise.eps or 0.0
    mean = x.mean(dim=(1, 2), keepdim=True)  # (C, 1, 1)
    var = x.var(dim=(1, 2), correction=0, keepdim=True)
    std = (var + eps).sqrt()
    normalised = (x - mean) / std
    g = tensor(exercise.gradient)
    return [
        Quantity("mean", "μ", mean.flatten().numpy()),
        Quantity("variance", "σ²", var.flatten().numpy()),
        Quantity("std", "√(σ²+ε)", std.flatten().numpy()),
        Quantity("normalised", "x̂", normalised.numpy()),
        Quantity("mean_gradient", "mean(g)", g.mean(dim=(1, 2)).numpy(), backward=True),
        Quantity("mean_product", "mean(g x̂)", (g * normalised).mean(dim=(1, 2)).numpy(), backward=True),
    ]


def _sigmoid(exercise: Exercise, output: Values) -> list[Quantity]:
    exponential = (-tensor(exercise.input)).exp()
    return [
        Quantity("exponential_of_negative", "e⁻ˣ", exponential.numpy()),
        Quantity("one_plus", "1 + e⁻ˣ", (exponential + 1).numpy()),
        Quantity("slope", "y (1 - y)", output * (1 - output), backward=True),
    ]


def _softmax(exercise: Exercise, output: Values) -> list[Quantity]:
    g = tensor(exercise.gradient)
    return [
        *_exponentials(exercise),
        Quantity("weighted_gradient", "Σ g y", (g * tensor(output)).sum().numpy(), backward=True),
    ]


def _exponentials(exercise: Exercise) -> list[Quantity]:
    x = tensor(exercise.input)
    shifted = x - x.max()
    exponential = shifted.exp()
    return [
        Quantity("shifted", "x - max", shifted.numpy()),
        Quantity("exponential", "e^(x-max)", exponential.numpy()),
        Quantity("sum", "Σ", exponential.sum().numpy()),
    ]


def _kl_div(exercise: Exercise, output: Values) -> list[Quantity]:
    p, log_q = tensor(exercise.target), tensor(exercise.input).log()
    log_p = tensor(np.where(p.numpy() == 0, 1, p.numpy())).log()  # where p is 0, p log p is 0
    return [
        Quantity("parts", "p log(p/q)", F.kl_div(log_q, p, reduction="none").numpy()),
        Quantity("cross_entropy", "-Σ p log q", (-(p * log_q)).sum().numpy()),
        Quantity("entropy", "-Σ p log p", (-(p * log_p)).sum().numpy()),
    ]


def _binary_cross_entropy(exercise: Exercise, output: Values) -> list[Quantity]:
    y, t = tensor(exercise.input), tensor(exercise.target)
    logits = (y / (-y + 1)).log().detach()
    logits.requires_grad = True
    F.binary_cross_entropy_with_logits(logits, t).backward()
    return [
        Quantity("log_y", "log y", y.log().numpy()),
        Quantity("log_not_y", "log(1-y)", (-y + 1).log().numpy()),
        Quantity("parts", "L", F.binary_cross_entropy(y, t, reduction="none").numpy()),
        Quantity("logits", "x", logits.numpy(), backward=True),
        Quantity("logit_gradient", "(y - t) / K", gradient_of(logits), backward=True),
    ]


def _cross_entropy(exercise: Exercise, output: Values) -> list[Quantity]:
    x = tensor(exercise.input)
    log_y = F.log_softmax(x).numpy()
    target = tensor(exercise.target).numpy()
    return [
        *_exponentials(exercise),
        Quantity("softmax", "y", F.softmax(x).numpy()),
        Quantity("log_softmax", "log y", log_y),
        Quantity("parts", "-t log y", -target * log_y + 0.0),
        Quantity("difference", "y - t", F.softmax(x).numpy() - target, backward=True),
    ]


_MAKERS: dict[str, Callable[[Exercise, Values], list[Quantity]]] = {
    "dropout": _dropout,
    "batch_norm": _batch_norm,
    "sigmoid": _sigmoid,
    "softmax": _softmax,
    "kl_div": _kl_div,
    "binary_cross_entropy": _binary_cross_entropy,
    "cross_entropy": _cross_entropy,
}
