"""Losses. Each takes `reduction`: "mean" (the default; NaN for an empty batch), "sum", or "none" for one by one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from gpunet.autocast import input_dtype
from gpunet.backend import active_backend, xp
from gpunet.backend.recording import check_values
from gpunet.errors import ArgumentError, DTypeError, LabelError, ShapeError
from gpunet.functional.activation import log_softmax
from gpunet.functional.checks import (
    check_choice,
    check_float,
    check_probabilities,
    check_same_dtype,
    number,
    probability,
    whole_number,
)
from gpunet.ops import loss as ops
from gpunet.ops.operation import Operation
from gpunet.tensor import Tensor, apply, own

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "check_labels",
    "check_reduction",
    "cross_entropy",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "mse_loss",
    "nll_loss",
    "reduce_losses",
    "smooth_l1_loss",
]


_Loss = TypeVar("_Loss", bound=Callable[..., Any])


def _takes_one_row(loss: _Loss) -> _Loss:
    """Let a loss of rows of scores (N, C) and targets (N,) take a single one, (C,) and its (), too: a decorator."""

    @functools.wraps(loss)
    def run(input: Any, target: Any, *args: Any, **kwargs: Any) -> Any:
        if not (isinstance(input, Tensor) and isinstance(target, Tensor)) or input.ndim != 1:
            return loss(input, target, *args, **kwargs)
        found = loss(input.unsqueeze(0), target.unsqueeze(0), *args, **kwargs)
        return found.squeeze(0) if found.ndim else found

    return run  # type: ignore[return-value]


@_takes_one_row
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy between the distribution that logits stand for and the right one: `-sum_i t_i log softmax(x)_i`.

    Minimising it minimises the Kullback-Leibler divergence KL(t|softmax(x)), from which it differs by the entropy of t.

    Args:
        target: the right class of each row as an integer, or a probability for each class.
        weight: how much each class counts. With class labels, the mean is over the weights of the rows.
        ignore_index: rows with this label count for nothing. Where that leaves no row, the mean is NaN, its gradient 0.
        label_smoothing: that much of the target is spread evenly over all classes.

    Shape:
        input: (N, C), (N, C, d1, ...) or (C,); target: (N,), (N, d1, ...) or () of integers, or the shape of the input
        of floats; weight: (C,). output: a single number, or the shape of integer targets for reduction "none".

    Raises:
        LabelError: for a label outside 0 .. C-1 or a probability outside [0, 1].
        DTypeError: for logits or labels of a wrong type.
        ShapeError: if the shapes do not match, or there are no classes.

    Reference:
        Szegedy et al., "Rethinking the Inception architecture for computer vision", 2015 (label smoothing).
    """
    dtype = _checked_scores(input, "cross_entropy")
    check_reduction(reduction, "cross_entropy")
    smoothing = probability(label_smoothing, "label_smoothing", "cross_entropy")
    _check_class_weight(weight, input, dtype, "cross_entropy")
    q: Any
    if isinstance(target, Tensor) and target.is_floating_point():
        q, row_weight = _probability_target(input, target, dtype, weight, smoothing), None
    else:
        q, row_weight = _label_target(input, target, dtype, weight, smoothing, ignore_index, "cross_entropy")
    losses = apply(ops.ExpectedNegativeLog(), log_softmax(input, dim=1), q)
    return reduce_losses(losses, reduction, row_weight)


@_takes_one_row
def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """The negative log-likelihood of the right classes: `-weight[t] * x[t]`, for log-probabilities x.

    Args:
        target: the right class of each row as an integer.
        weight: how much each class counts. The mean is over the weights of the rows.
        ignore_index: rows with this label count for nothing. Where that leaves no row, the mean is NaN, its gradient 0.

    Shape:
        input: (N, C), (N, C, d1, ...) or (C,); target: (N,), (N, d1, ...) or (); weight: (C,).
        output: a single number, or the shape of the target for reduction "none".

    Raises:
        LabelError: for a label outside 0 .. C-1.
        DTypeError: for log-probabilities or labels of a wrong type.
        ShapeError: if the shapes do not match, or there are no classes.
    """
    dtype = _checked_scores(input, "nll_loss")
    check_reduction(reduction, "nll_loss")
    _check_class_weight(weight, input, dtype, "nll_loss")
    q, row_weight = _label_target(input, target, dtype, weight, 0.0, ignore_index, "nll_loss")
    return reduce_losses(apply(ops.ExpectedNegativeLog(), input, q), reduction, row_weight)


def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """Cross-entropy for two classes, from probabilities: `-t log y - (1-t) log(1-y)`.

    The logarithms are cut off at -100. `binary_cross_entropy_with_logits` is better: it stays precise near 0 and 1.

    Shape:
        input and target: any, the same; weight: broadcasts to it. output: a single number, or that shape for "none".

    Raises:
        LabelError: if input or target lie outside [0, 1].
        ShapeError: if the shapes differ.
    """
    _check_pair(input, target, "binary_cross_entropy")
    check_reduction(reduction, "binary_cross_entropy")
    check_probabilities(input, "binary_cross_entropy", "input")
    check_probabilities(target, "binary_cross_entropy", "target")
    _check_weight(weight, input, ops.BinaryCrossEntropy)
    losses = apply(ops.BinaryCrossEntropy(), input, target)
    return reduce_losses(losses if weight is None else losses * weight, reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Cross-entropy for two classes, from logits: `-w t log s(x) - (1-t) log(1 - s(x))` with s the sigmoid.

    Args:
        pos_weight: w, how much the positive class counts; broadcasts to the input.

    Shape:
        input and target: any, the same; weight: broadcasts to it. output: a single number, or that shape for "none".

    Raises:
        LabelError: if the target lies outside [0, 1].
        ShapeError: if the shapes differ.
    """
    _check_pair(input, target, "binary_cross_entropy_with_logits")
    check_reduction(reduction, "binary_cross_entropy_with_logits")
    check_probabilities(target, "binary_cross_entropy_with_logits", "target")
    _check_weight(weight, input, ops.BinaryCrossEntropyWithLogits)
    _check_weight(pos_weight, input, ops.BinaryCrossEntropyWithLogits, "pos_weight")
    positive = () if pos_weight is None else (pos_weight,)
    losses = apply(ops.BinaryCrossEntropyWithLogits(), input, target, *positive)
    return reduce_losses(losses if weight is None else losses * weight, reduction)


def kl_div(input: Tensor, target: Tensor, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """The Kullback-Leibler divergence of a distribution q from the right one p: `sum_i p_i (log p_i - log q_i)`.

    Args:
        input: log q.
        target: p, or log p with `log_target`.
        reduction: "batchmean" divides the sum by N and is the divergence; "mean" divides by the number of elements.

    Shape:
        input and target: any, the same. output: a single number, or that shape for "none".

    Raises:
        ShapeError: if the shapes differ.

    Reference:
        Kullback and Leibler, "On information and sufficiency", 1951.
    """
    _check_pair(input, target, "kl_div")
    check_choice(reduction, ("mean", "batchmean", "sum", "none"), "reduction", "kl_div")
    losses = apply(ops.KLDivergence(log_target), input, target)
    if reduction == "batchmean":
        return losses.sum() / (input.shape[0] if input.ndim else 1)
    return reduce_losses(losses, reduction)


def _reduced(losses: Tensor, weight: Tensor | None, reduction: str, function: str) -> Tensor:
    if weight is None:
        return reduce_losses(losses, reduction)
    weighted = _weighted(losses, weight, function)
    return weighted.sum() / weight.sum() if reduction == "mean" else reduce_losses(weighted, reduction)


def mse_loss(input: Tensor, target: Tensor, reduction: str = "mean", weight: Tensor | None = None) -> Tensor:
    """The squared error: `(x - t)^2`.

    Args:
        weight: how much each value counts. The mean is over the weights.

    Shape:
        input, target and weight: any, the same. output: a single number, or that shape for "none".

    Raises:
        ShapeError: if the shapes differ.
    """
    _check_pair(input, target, "mse_loss")
    check_reduction(reduction, "mse_loss")
    losses = apply(ops.SquaredError(), input, target)
    return _reduced(losses, weight, reduction, "mse_loss")


def l1_loss(input: Tensor, target: Tensor, reduction: str = "mean", weight: Tensor | None = None) -> Tensor:
    """The absolute error: `|x - t|`.

    Args:
        weight: how much each value counts. The mean is over the weights.

    Shape:
        input, target and weight: any, the same. output: a single number, or that shape for "none".

    Raises:
        ShapeError: if the shapes differ.
    """
    _check_pair(input, target, "l1_loss")
    check_reduction(reduction, "l1_loss")
    losses = apply(ops.AbsoluteError(), input, target)
    return _reduced(losses, weight, reduction, "l1_loss")


def smooth_l1_loss(input: Tensor, target: Tensor, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """`d^2 / (2 beta) where |d| < beta else |d| - beta / 2`, with d = x - t: squared near 0, absolute beyond.

    Shape:
        input and target: any, the same. output: a single number, or that shape for "none".

    Raises:
        ShapeError: if the shapes differ.
        ArgumentError: if beta is no number of 0 or more.

    Reference:
        Girshick, "Fast R-CNN", 2015.
    """
    if number(beta, "beta", "smooth_l1_loss") == 0:
        return l1_loss(input, target, reduction)
    if beta < 0:
        raise ArgumentError(f"smooth_l1_loss: beta must be 0 or more, got {beta}")
    _check_pair(input, target, "smooth_l1_loss")
    check_reduction(reduction, "smooth_l1_loss")
    return reduce_losses(apply(ops.SmoothL1(float(beta)), input, target), reduction)


def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """`d^2 / 2 where |d| <= delta else delta (|d| - delta / 2)`, with d = x - t.

    Args:
        weight: how much each value counts; the mean is over their number all the same, as in PyTorch.

    Shape:
        input, target and weight: any, the same. output: a single number, or that shape for "none".

    Raises:
        ShapeError: if the shapes differ.
        ArgumentError: if delta is no positive number.

    Reference:
        Huber, "Robust estimation of a location parameter", 1964.
    """
    if not number(delta, "delta", "huber_loss") > 0:
        raise ArgumentError(f"huber_loss: delta must be positive, got {delta}")
    _check_pair(input, target, "huber_loss")
    check_reduction(reduction, "huber_loss")
    losses = apply(ops.Huber(float(delta)), input, target)
    return reduce_losses(losses if weight is None else _weighted(losses, weight, "huber_loss"), reduction)


def _weighted(losses: Tensor, weight: Tensor, layer: str) -> Tensor:
    check_float(weight, layer, "weight")
    if weight.shape != losses.shape:
        raise ShapeError(f"{layer}: weight must have the shape of the input, {losses.shape}, got {weight.shape}")
    return losses * weight


def reduce_losses(losses: Tensor, reduction: str, row_weight: Any = None) -> Tensor:
    """What `reduction` makes of losses; with weights of the rows their mean is the weighted one."""
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    if row_weight is None:
        return losses.mean()
    total_weight = own(xp.asarray(row_weight.sum(dtype=xp.promote_types(losses.dtype, xp.float32))))
    return (losses.to(total_weight.dtype).sum() / total_weight).to(losses.dtype)  # float16 cannot count to 70,000


def check_reduction(reduction: str, layer: str) -> None:
    """Make sure that the reduction is one that losses know."""
    check_choice(reduction, ("mean", "sum", "none"), "reduction", layer)


def _checked_scores(input: Tensor, layer: str) -> Any:
    """The type in which the loss of scores, or log-probabilities, is computed."""
    check_float(input, layer)
    if input.ndim < 2:
        raise ShapeError(f"{layer}: input must have shape (N, C) or (N, C, d1, ...), got {input.shape}")
    if input.shape[1] == 0:
        raise ShapeError(f"{layer}: there are no classes, input has shape {input.shape}")
    return input_dtype(ops.ExpectedNegativeLog, input.dtype)


def _check_class_weight(weight: Tensor | None, input: Tensor, dtype: Any, layer: str) -> None:
    if weight is None:
        return
    check_float(weight, layer, "weight")
    check_same_dtype(layer, input=dtype, weight=weight.dtype)
    if weight.shape != (input.shape[1],):
        raise ShapeError(
            f"{layer}: weight must have one value for each of {input.shape[1]} classes, got {weight.shape}"
        )


def _check_weight(weight: Tensor | None, input: Tensor, operation: type[Operation], name: str = "weight") -> None:
    """Make sure that a weight is of the type in which the loss is computed, and broadcasts to the input."""
    if weight is None:
        return
    layer = operation.function
    check_float(weight, layer, name)
    check_same_dtype(layer, **{"input": input_dtype(operation, input.dtype), name: weight.dtype})
    sizes = zip(reversed(weight.shape), reversed(input.shape), strict=False)
    if weight.ndim > input.ndim or any(size not in (1, full) for size, full in sizes):
        raise ShapeError(f"{layer}: {name} must broadcast to the input of shape {input.shape}, got {weight.shape}")


def _label_target(
    input: Tensor, target: Any, dtype: Any, weight: Tensor | None, smoothing: float, ignore_index: int, layer: str
) -> tuple[Any, Any]:
    """The distribution that class labels stand for, and the weight of each row."""
    whole_number(ignore_index, "ignore_index", layer)
    check_labels(input, target, layer, ignore_index)
    class_weight = None if weight is None else weight.array
    return ops.target_distribution(target.array, input.shape[1], class_weight, smoothing, ignore_index, dtype)


def check_labels(input: Tensor, target: Any, layer: str, ignore_index: int | None = None) -> None:
    """Make sure that there is a class label for each row of scores (N, C, ...).

    Raises:
        DTypeError: if the labels are no integers.
        ShapeError: if there are not as many as rows.
        LabelError: for one that is no class, but for `ignore_index`.
    """
    classes = input.shape[1]
    if not isinstance(target, Tensor) or target.dtype.kind not in "iu":
        given = f"a Tensor of {target.dtype}" if isinstance(target, Tensor) else type(target).__name__
        raise DTypeError(f"{layer}: target must be a Tensor of integer class labels, got {given}; convert with .long()")
    expected = (input.shape[0], *input.shape[2:])
    if target.shape != expected:
        raise ShapeError(f"{layer}: target must have shape {expected} for input {input.shape}, got {target.shape}")
    check_values(target, lambda: _check_labels(target, classes, ignore_index, layer))


def _check_labels(target: Tensor, classes: int, ignore_index: int | None, layer: str) -> None:
    known = None if active_backend() == "numpy" else target.known_range()  # there looking is better, and costs nothing
    smallest, largest = known or (-1, -1)
    if not 0 <= smallest <= largest < classes:
        labels = target.array
        wrong = (labels < 0) | (labels >= classes)
        wrong = wrong if ignore_index is None else wrong & (labels != ignore_index)
        if bool(wrong.any()):
            raise LabelError(
                f"{layer}: labels must lie within 0 .. {classes - 1} for {classes} classes, "
                f"got {int(labels[wrong][0])} among them"
            )


def _probability_target(input: Tensor, target: Tensor, dtype: Any, weight: Tensor | None, smoothing: float) -> Tensor:
    if target.shape == (input.shape[0], *input.shape[2:]) != input.shape:
        raise DTypeError(f"cross_entropy: class labels must be integers, got {target.dtype}; convert with .long()")
    _check_pair(input, target, "cross_entropy")
    check_same_dtype("cross_entropy", input=dtype, target=input_dtype(ops.ExpectedNegativeLog, target.dtype))
    check_probabilities(target, "cross_entropy", "target")
    q = target.to(dtype)
    if smoothing:
        q = q * (1 - smoothing) + smoothing / input.shape[1]
    return q if weight is None else q * weight.reshape(-1, *(1,) * (input.ndim - 2))


def _check_pair(input: Tensor, target: Tensor, layer: str) -> None:
    check_float(input, layer)
    check_float(target, layer, "target")
    if input.shape != target.shape:
        raise ShapeError(f"{layer}: input and target must have the same shape, got {input.shape} and {target.shape}")
