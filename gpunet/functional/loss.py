"""Losses. Each takes `reduction`: "mean" (the default), "sum", or "none" for the losses one by one."""

from __future__ import annotations

from typing import Any

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
    probability,
    whole_number,
)
from gpunet.ops import loss as ops
from gpunet.ops.operation import Operation
from gpunet.tensor import Tensor, apply, own

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "kl_div",
    "mse_loss",
    "nll_loss",
]


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
        input: (N, C) or (N, C, d1, ...); target: (N,) or (N, d1, ...) of integers, or the shape of the input of floats;
        weight: (C,). output: a single number, or the shape of integer targets for reduction "none".

    Raises:
        LabelError: for a label outside 0 .. C-1 or a probability outside [0, 1].
        DTypeError: for logits or labels of a wrong type.
        ShapeError: if the shapes do not match or the batch is empty.

    Reference:
        Szegedy et al., "Rethinking the Inception architecture for computer vision", 2015 (label smoothing).
    """
    dtype = _checked_scores(input, "cross_entropy")
    _check_reduction(reduction, "cross_entropy")
    smoothing = probability(label_smoothing, "label_smoothing", "cross_entropy")
    _check_class_weight(weight, input, dtype, "cross_entropy")
    if isinstance(target, Tensor) and target.is_floating_point():
        q, row_weight = _probability_target(input, target, dtype, weight, smoothing), None
    else:
        q, row_weight = _label_target(input, target, dtype, weight, smoothing, ignore_index, "cross_entropy")
    losses = apply(ops.ExpectedNegativeLog(q), log_softmax(input, dim=1))
    return _reduce(losses, reduction, row_weight)


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
        input: (N, C) or (N, C, d1, ...); target: (N,) or (N, d1, ...); weight: (C,).
        output: a single number, or the shape of the target for reduction "none".

    Raises:
        LabelError: for a label outside 0 .. C-1.
        DTypeError: for log-probabilities or labels of a wrong type.
        ShapeError: if the shapes do not match or the batch is empty.
    """
    dtype = _checked_scores(input, "nll_loss")
    _check_reduction(reduction, "nll_loss")
    _check_class_weight(weight, input, dtype, "nll_loss")
    q, row_weight = _label_target(input, target, dtype, weight, 0.0, ignore_index, "nll_loss")
    return _reduce(apply(ops.ExpectedNegativeLog(q), input), reduction, row_weight)


def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """Cross-entropy for two classes, from probabilities: `-t log y - (1-t) log(1-y)`.

    The logarithms are cut off at -100. `binary_cross_entropy_with_logits` is better: it stays precise near 0 and 1.

    Shape:
        input and target: any, the same; weight: broadcasts to it. output: a single number, or that shape for "none".

    Raises:
        LabelError: if input or target lie outside [0, 1].
        ShapeError: if the shapes differ or there are no elements.
    """
    _check_pair(input, target, "binary_cross_entropy")
    _check_reduction(reduction, "binary_cross_entropy")
    check_probabilities(input, "binary_cross_entropy", "input")
    check_probabilities(target, "binary_cross_entropy", "target")
    _check_weight(weight, input, ops.BinaryCrossEntropy)
    losses = apply(ops.BinaryCrossEntropy(), input, target)
    return _reduce(losses if weight is None else losses * weight, reduction)


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
        ShapeError: if the shapes differ or there are no elements.
    """
    _check_pair(input, target, "binary_cross_entropy_with_logits")
    _check_reduction(reduction, "binary_cross_entropy_with_logits")
    check_probabilities(target, "binary_cross_entropy_with_logits", "target")
    _check_weight(weight, input, ops.BinaryCrossEntropyWithLogits)
    _check_weight(pos_weight, input, ops.BinaryCrossEntropyWithLogits, "pos_weight")
    positive = () if pos_weight is None else (pos_weight.detach(),)
    losses = apply(ops.BinaryCrossEntropyWithLogits(), input, target, *positive)
    return _reduce(losses if weight is None else losses * weight, reduction)


def kl_div(input: Tensor, target: Tensor, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """The Kullback-Leibler divergence of a distribution q from the right one p: `sum_i p_i (log p_i - log q_i)`.

    Args:
        input: log q.
        target: p, or log p with `log_target`.
        reduction: "batchmean" divides the sum by N and is the divergence; "mean" divides by the number of elements.

    Shape:
        input and target: any, the same. output: a single number, or that shape for "none".

    Raises:
        LabelError: if the target lies outside [0, 1] and is not a logarithm.
        ShapeError: if the shapes differ or there are no elements.

    Reference:
        Kullback and Leibler, "On information and sufficiency", 1951.
    """
    _check_pair(input, target, "kl_div")
    check_choice(reduction, ("mean", "batchmean", "sum", "none"), "reduction", "kl_div")
    if not log_target:
        check_probabilities(target, "kl_div", "target")
    losses = apply(ops.KLDivergence(log_target), input, target)
    if reduction == "batchmean":
        return losses.sum() / input.shape[0]
    return _reduce(losses, reduction)


def mse_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """The squared error: `(x - t)^2`.

    Shape:
        input and target: any, the same. output: a single number, or that shape for "none".

    Raises:
        ShapeError: if the shapes differ or there are no elements.
    """
    _check_pair(input, target, "mse_loss", target_is_constant=False)
    _check_reduction(reduction, "mse_loss")
    return _reduce(apply(ops.SquaredError(), input, target), reduction)


def _reduce(losses: Tensor, reduction: str, row_weight: Any = None) -> Tensor:
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    if row_weight is None:
        return losses.mean()
    total_weight = own(xp.asarray(row_weight.sum(dtype=xp.promote_types(losses.dtype, xp.float32))))
    return (losses.to(total_weight.dtype).sum() / total_weight).to(losses.dtype)  # float16 cannot count to 70,000


def _check_reduction(reduction: str, layer: str) -> None:
    check_choice(reduction, ("mean", "sum", "none"), "reduction", layer)


def _checked_scores(input: Tensor, layer: str) -> Any:
    """The type in which the loss of scores, or log-probabilities, is computed."""
    check_float(input, layer)
    if input.ndim < 2:
        raise ShapeError(f"{layer}: input must have shape (N, C) or (N, C, d1, ...), got {input.shape}")
    if 0 in input.shape:
        raise ShapeError(f"{layer}: the batch is empty, input has shape {input.shape}")
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
    classes = input.shape[1]
    whole_number(ignore_index, "ignore_index", layer)
    if not isinstance(target, Tensor) or target.dtype.kind not in "iu":
        given = f"a Tensor of {target.dtype}" if isinstance(target, Tensor) else type(target).__name__
        raise DTypeError(f"{layer}: target must be a Tensor of integer class labels, got {given}; convert with .long()")
    expected = (input.shape[0], *input.shape[2:])
    if target.shape != expected:
        raise ShapeError(f"{layer}: target must have shape {expected} for input {input.shape}, got {target.shape}")
    check_values(target, lambda: _check_labels(target, classes, ignore_index, layer))
    class_weight = None if weight is None else weight.array
    return ops.target_distribution(target.array, classes, class_weight, smoothing, ignore_index, dtype)


def _check_labels(target: Tensor, classes: int, ignore_index: int, layer: str) -> None:
    known = None if active_backend() == "numpy" else target.known_range()  # there looking is better, and costs nothing
    smallest, largest = known or (-1, -1)
    if not 0 <= smallest <= largest < classes:
        labels = target.array
        wrong = ((labels < 0) | (labels >= classes)) & (labels != ignore_index)
        if bool(wrong.any()):
            raise LabelError(
                f"{layer}: labels must lie within 0 .. {classes - 1} for {classes} classes, "
                f"got {int(labels[wrong][0])} among them"
            )


def _probability_target(input: Tensor, target: Tensor, dtype: Any, weight: Tensor | None, smoothing: float) -> Any:
    if target.shape == (input.shape[0], *input.shape[2:]):
        raise DTypeError(f"cross_entropy: class labels must be integers, got {target.dtype}; convert with .long()")
    _check_pair(input, target, "cross_entropy")
    check_same_dtype("cross_entropy", input=dtype, target=input_dtype(ops.ExpectedNegativeLog, target.dtype))
    check_probabilities(target, "cross_entropy", "target")
    q = target.array.astype(dtype, copy=False)
    if smoothing:
        q = q * (1 - smoothing) + smoothing / input.shape[1]
    return q if weight is None else q * weight.array.reshape((-1,) + (1,) * (input.ndim - 2))


def _check_pair(input: Tensor, target: Tensor, layer: str, target_is_constant: bool = True) -> None:
    check_float(input, layer)
    check_float(target, layer, "target")
    if input.shape != target.shape:
        raise ShapeError(f"{layer}: input and target must have the same shape, got {input.shape} and {target.shape}")
    if input.numel() == 0:
        raise ShapeError(f"{layer}: the batch is empty, input has shape {input.shape}")
    if target_is_constant and target.requires_grad:
        raise ArgumentError(f"{layer}: no gradient flows to the target; pass target.detach()")
