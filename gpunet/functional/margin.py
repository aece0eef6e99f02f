"""Losses of pairs, triplets and margins, and of counts, composed of arithmetic; and the distances in some of them.

As in `gpunet.functional.loss`, each takes `reduction`: "mean" (the default), "sum", or "none" for one by one. Where it
is on, autocast has them computed in float32.
"""

from __future__ import annotations

import math
from typing import Any

from gpunet.arguments import axis_of, flag
from gpunet.autocast import input_dtype
from gpunet.backend import xp
from gpunet.errors import ArgumentError, DTypeError, LabelError, ShapeError
from gpunet.functional.activation import logsigmoid
from gpunet.functional.checks import check_float, check_tensor, number
from gpunet.functional.loss import check_labels, check_reduction, reduce_losses
from gpunet.functional.shaping import minimum, where
from gpunet.ops.loss import SquaredError
from gpunet.tensor import Tensor, own

__all__ = [
    "cosine_embedding_loss",
    "cosine_similarity",
    "gaussian_nll_loss",
    "hinge_embedding_loss",
    "margin_ranking_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "normalize",
    "pairwise_distance",
    "poisson_nll_loss",
    "soft_margin_loss",
    "triplet_margin_loss",
]


def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: str = "mean"
) -> Tensor:
    """`max(0, -t (a - b) + margin)`: a should be the larger one where t is 1, the smaller one where it is -1.

    Shape:
        input1, input2 and target: any, the same. output: a single number, or that shape for "none".

    Raises:
        ShapeError: if the shapes differ.
        DTypeError: if the inputs are not Tensors of floats.
    """
    a, b = _floats("margin_ranking_loss", reduction, input1=input1, input2=input2)
    target = _same_shape(target, a, "margin_ranking_loss")
    losses = (-target * (a - b) + number(margin, "margin", "margin_ranking_loss")).clamp(min=0)
    return reduce_losses(losses, reduction)


def hinge_embedding_loss(input: Tensor, target: Tensor, margin: float = 1.0, reduction: str = "mean") -> Tensor:
    """`x where t is 1, max(0, margin - x) where t is -1`: distances of what belongs together, and of what does not.

    Shape:
        input and target: any, the same. output: a single number, or that shape for "none".

    Raises:
        ShapeError: if the shapes differ.
        DTypeError: if the input is not a Tensor of floats.

    Reference:
        Hadsell, Chopra and LeCun, "Dimensionality reduction by learning an invariant mapping", 2006.
    """
    (x,) = _floats("hinge_embedding_loss", reduction, input=input)
    target = _same_shape(target, x, "hinge_embedding_loss")
    apart = (number(margin, "margin", "hinge_embedding_loss") - x).clamp(min=0)
    return reduce_losses(where(target != 1, apart, 0.0) + where(target != -1, x, 0.0), reduction)


def soft_margin_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """`log(1 + e^(-t x))` for targets 1 and -1.

    Shape:
        input and target: any, the same. output: a single number, or that shape for "none".

    Raises:
        ShapeError: if the shapes differ.
        DTypeError: if the input is not a Tensor of floats.
    """
    (x,) = _floats("soft_margin_loss", reduction, input=input)
    return reduce_losses(-logsigmoid(_same_shape(target, x, "soft_margin_loss") * x), reduction)


def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """`w[t] / C sum over i other than t of max(0, margin - x[t] + x[i])^p`: the hinge loss of several classes.

    Args:
        target: the right class of each row as an integer.
        weight: how much each class counts.

    Shape:
        input: (N, C) or (C,); target: (N,) or (); weight: (C,). output: a single number, or the shape of the target.

    Raises:
        ShapeError: if the shapes do not match.
        LabelError: for a label outside 0 .. C-1.
        ArgumentError: if p is neither 1 nor 2.
        DTypeError: for scores or labels of a wrong type.

    Reference:
        Crammer and Singer, "On the algorithmic implementation of multiclass kernel-based vector machines", 2001.
    """
    layer = "multi_margin_loss"
    (x,) = _floats(layer, reduction, input=input)
    if p not in (1, 2):
        raise ArgumentError(f"{layer}: p must be 1 or 2, got {p!r}")
    margin = number(margin, "margin", layer)
    single = x.ndim == 1
    x, target = (x.unsqueeze(0), _as_row(target)) if single else (x, target)
    if x.ndim != 2:
        raise ShapeError(f"{layer}: input must have shape (N, C) or (C,), got {input.shape}")
    check_labels(x, target, layer)
    right = target.unsqueeze(1) == own(xp.arange(x.shape[1]))  # (N, C)
    losses = (margin - where(right, x, 0.0).sum(1, keepdim=True) + x).clamp(min=0) ** p
    losses = where(right, 0.0, losses)
    if weight is not None:
        check_float(weight, layer, "weight")
        if weight.shape != x.shape[1:]:
            raise ShapeError(f"{layer}: weight must have one value for each of {x.shape[1]} classes: {weight.shape}")
        losses = losses * where(right, weight, 0.0).sum(1, keepdim=True)
    losses = losses.sum(1) / x.shape[1]
    return reduce_losses(losses.squeeze(0) if single else losses, reduction)


def multilabel_margin_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """`1 / C sum over right classes t and all others i of max(0, 1 - x[t] + x[i])`.

    Args:
        target: the right classes of each row, as many as there are, followed by a -1 where there is room.

    Shape:
        input and target: (N, C) or (C,). output: a single number, or (N,) or ().

    Raises:
        ShapeError: if the shapes do not match.
        LabelError: for a label outside -1 .. C-1.
        DTypeError: for scores or labels of a wrong type.
    """
    layer = "multilabel_margin_loss"
    (x,) = _floats(layer, reduction, input=input)
    check_tensor(target, layer, "target")
    if x.ndim not in (1, 2) or target.shape != x.shape:
        raise ShapeError(f"{layer}: expected input and target (N, C) or (C,), got {input.shape} and {target.shape}")
    if target.dtype.kind not in "iu":
        raise DTypeError(f"{layer}: target must hold integer class labels, got {target.dtype}")
    single, classes = x.ndim == 1, x.shape[-1]
    labels = target.array.reshape(-1, classes)
    if bool(((labels < -1) | (labels >= classes)).any()):
        raise LabelError(f"{layer}: labels must lie within -1 .. {classes - 1}, got others")
    ended = xp.cumsum(labels < 0, axis=1)  # how many -1 have come so far
    named = (labels[:, :, None] == xp.arange(classes)) & (ended == 0)[:, :, None]  # (N, place, class)
    counts = own(named.sum(axis=1).astype(x.dtype))  # (N, C): how often a class is named
    right = counts > 0
    rows = x.reshape(-1, classes)
    pairs = (1 - rows.unsqueeze(2) + rows.unsqueeze(1)).clamp(min=0)  # (N, right, other)
    pairs = where(right.unsqueeze(1), 0.0, pairs * counts.unsqueeze(2))
    losses = pairs.sum((1, 2)) / max(1, classes)
    return reduce_losses(losses.squeeze(0) if single else losses, reduction)


def multilabel_soft_margin_loss(
    input: Tensor, target: Tensor, weight: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """The mean over the classes of `-t log s(x) - (1 - t) log(1 - s(x))` with s the sigmoid.

    Args:
        weight: how much each class counts.

    Shape:
        input and target: (..., C); weight: (C,). output: a single number, or (...) for "none".

    Raises:
        ShapeError: if the shapes differ.
        DTypeError: if the input is not a Tensor of floats.
    """
    (x,) = _floats("multilabel_soft_margin_loss", reduction, input=input)
    target = _same_shape(target, x, "multilabel_soft_margin_loss")
    losses = -(target * logsigmoid(x) + (1 - target) * logsigmoid(-x))
    losses = losses if weight is None else losses * weight
    return reduce_losses(losses.mean(-1), reduction)


def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: str = "mean"
) -> Tensor:
    """`1 - cos(a, b) where t is 1, max(0, cos(a, b) - margin) where t is -1`.

    Shape:
        input1 and input2: (N, D) or (D,); target: (N,) or (). output: a single number, or the shape of the target.

    Raises:
        ShapeError: if the shapes do not match.
        DTypeError: if the inputs are not Tensors of floats.
    """
    layer = "cosine_embedding_loss"
    a, b = _floats(layer, reduction, input1=input1, input2=input2)
    check_tensor(target, layer, "target")
    if a.ndim not in (1, 2) or a.shape != b.shape or target.shape != a.shape[:-1]:
        raise ShapeError(
            f"{layer}: expected inputs (N, D) and a target (N,), got {a.shape}, {b.shape} and {target.shape}"
        )
    smallest = 1e-12
    lengths = (((a * a).sum(-1) + smallest) * ((b * b).sum(-1) + smallest)).sqrt()
    cosine = (a * b).sum(-1) / lengths
    apart = (cosine - number(margin, "margin", layer)).clamp(min=0)
    return reduce_losses(where(target == 1, 1 - cosine, 0.0) + where(target == -1, apart, 0.0), reduction)


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """`max(0, d(a, p) - d(a, n) + margin)`: an anchor should be nearer to its like than to others, by a margin.

    Args:
        p: of the norm that distances are measured by.
        swap: take the distance of positive and negative where it is smaller than d(a, n).

    Shape:
        anchor, positive and negative: (N, D) or (D,). output: a single number, or (N,) or ().

    Raises:
        ShapeError: if the shapes differ.
        DTypeError: if the inputs are not Tensors of floats.

    Reference:
        Balntas et al., "Learning local feature descriptors with triplets and shallow convolutional neural networks",
        2016.
    """
    layer = "triplet_margin_loss"
    a, near, far = _floats(layer, reduction, anchor=anchor, positive=positive, negative=negative)
    if not a.shape == near.shape == far.shape:
        raise ShapeError(f"{layer}: the shapes must be equal, got {a.shape}, {near.shape} and {far.shape}")
    distance = pairwise_distance(a, far, p, eps)
    if flag(swap, f"{layer}: swap"):
        distance = minimum(distance, pairwise_distance(near, far, p, eps))
    losses = (pairwise_distance(a, near, p, eps) - distance + number(margin, "margin", layer)).clamp(min=0)
    return reduce_losses(losses, reduction)


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Tensor:
    """`e^x - t x`: the negative log-likelihood of counts t, of which e^x are expected, without a constant.

    Args:
        log_input: whether x is the logarithm of what is expected; else the loss is `x - t log(x + eps)`.
        full: add the constant as Stirling has it, `t log t - t + log(2 pi t) / 2` where t > 1.

    Shape:
        input and target: any, the same. output: a single number, or that shape for "none".

    Raises:
        ShapeError: if the shapes differ.
        DTypeError: if the input is not a Tensor of floats.
    """
    (x,) = _floats("poisson_nll_loss", reduction, input=input)
    target = _same_shape(target, x, "poisson_nll_loss")
    losses = x.exp() - target * x if log_input else x - target * (x + number(eps, "eps", "poisson_nll_loss")).log()
    if full:
        count = where(target > 1, target, 1.0)
        losses = losses + where(target > 1, count * count.log() - count + 0.5 * (count * (2 * math.pi)).log(), 0.0)
    return reduce_losses(losses, reduction)


def gaussian_nll_loss(
    input: Tensor, target: Tensor, var: Tensor | float, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Tensor:
    """`(log v + (x - t)^2 / v) / 2` with `v = max(var, eps)`: the negative log-likelihood of a normal distribution.

    Args:
        var: the variance, for each value, or the same along one dimension.
        full: add the constant `log(2 pi) / 2`.

    Shape:
        input and target: any, the same; var: that, but for one size of 1, or without the last, or a number.
        output: a single number, or the shape of the input for "none".

    Raises:
        ShapeError: if the shapes do not match.
        ArgumentError: if eps is no positive number, or a variance is negative.
        DTypeError: if the input is not a Tensor of floats.

    Reference:
        Nix and Weigend, "Estimating the mean and variance of the target probability distribution", 1994.
    """
    layer = "gaussian_nll_loss"
    (x,) = _floats(layer, reduction, input=input)
    target = _same_shape(target, x, layer)
    if not number(eps, "eps", layer) > 0:
        raise ArgumentError(f"{layer}: eps must be positive, got {eps}")
    variance = var if isinstance(var, Tensor) else own(xp.full(x.shape, number(var, "var", layer), dtype=x.dtype))
    if variance.shape == x.shape[:-1]:
        variance = variance.unsqueeze(-1)
    shared = [ours for ours, full_size in zip(variance.shape, x.shape, strict=False) if ours != full_size]
    if variance.ndim != x.ndim or shared not in ([], [1]):
        raise ShapeError(f"{layer}: var must have shape {x.shape}, but for one size of 1, got {variance.shape}")
    if bool((variance.array < 0).any()):
        raise ArgumentError(f"{layer}: var must not be negative")
    variance = variance + (variance.clamp(min=eps) - variance).detach()  # gradients pass, as in PyTorch
    difference = x - target
    losses = 0.5 * (variance.log() + difference * difference / variance)
    return reduce_losses(losses + 0.5 * math.log(2 * math.pi) if full else losses, reduction)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """The cosine of the angle between vectors: `a . b / (max(|a|, eps) max(|b|, eps))`.

    Shape:
        x1 and x2 broadcast to each other. output: without `dim`.

    Raises:
        ShapeError: if they do not, or there is no such dimension.
        DTypeError: if they are not Tensors of floats.
    """
    a, b = _floats("cosine_similarity", "mean", x1=x1, x2=x2)
    products = a * b
    a, b = a.expand(*products.shape), b.expand(*products.shape)
    lengths = [_norm(x, 2, dim, keepdim=False).clamp(min=number(eps, "eps", "cosine_similarity")) for x in (a, b)]
    return products.sum(dim) / (lengths[0] * lengths[1])


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """The p-norm of the differences of vectors: `(sum over i of |a_i - b_i + eps|^p)^(1/p)`.

    Shape:
        (N, D) or (D,), which broadcast to each other. output: (N,), (), or with a last size of 1 for `keepdim`.

    Raises:
        ShapeError: if the shapes do not broadcast.
        DTypeError: if the inputs are not Tensors of floats.
    """
    a, b = _floats("pairwise_distance", "mean", x1=x1, x2=x2)
    return _norm(a - b + number(eps, "eps", "pairwise_distance"), p, -1, keepdim)


def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """Vectors brought to the length 1: `x / max(|x|, eps)`, with the p-norm along `dim`.

    Shape:
        any with such a dimension; the output has the same.

    Raises:
        ShapeError: if there is no such dimension.
        DTypeError: if the input is not a Tensor of floats.
    """
    (x,) = _floats("normalize", "mean", input=input)
    return x / _norm(x, p, dim, keepdim=True).clamp(min=number(eps, "eps", "normalize"))


def _norm(x: Tensor, p: float, dim: int, keepdim: bool) -> Tensor:
    """The p-norm along a dimension, with a gradient of 0 where it is 0."""
    axis_of(dim, x.ndim, "a norm")
    p = number(p, "p", "a norm")
    size = x.abs()
    if p == math.inf:
        largest = size.max(dim, keepdim=keepdim)
        return largest.values
    if p == 0:
        return (size != 0).to(x.dtype).sum(dim, keepdim=keepdim)
    if p == 1:
        return size.sum(dim, keepdim=keepdim)
    total = (size**p).sum(dim, keepdim=keepdim)
    positive = total > 0
    return where(positive, where(positive, total, 1.0) ** (1 / p), 0.0)


def _floats(layer: str, reduction: str, **given: Tensor) -> list[Tensor]:
    """The Tensors, by name, checked and in the type in which losses are computed."""
    check_reduction(reduction, layer)
    for name, tensor in given.items():
        check_float(tensor, layer, name)
    return [tensor.to(input_dtype(SquaredError, tensor.dtype)) for tensor in given.values()]


def _same_shape(target: Any, x: Tensor, layer: str) -> Tensor:
    """The target, of floats or integers, in the type of the input."""
    check_tensor(target, layer, "target")
    if target.shape != x.shape:
        raise ShapeError(f"{layer}: input and target must have the same shape, got {x.shape} and {target.shape}")
    return target.to(x.dtype)


def _as_row(target: Any) -> Any:
    """The one label of a single row."""
    return target.reshape(1) if isinstance(target, Tensor) and target.numel() == 1 else target
