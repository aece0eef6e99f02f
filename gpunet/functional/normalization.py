"""Batch normalisation."""

from __future__ import annotations

from gpunet.errors import ArgumentError, ShapeError
from gpunet.functional.checks import check_float, number
from gpunet.ops.batchnorm import BatchNorm, BatchNormInference, Running
from gpunet.ops.writing import check_writable
from gpunet.tensor import Tensor, apply

__all__ = ["batch_norm"]


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Bring each channel to mean 0 and variance 1, then scale and shift: `y = (x - mean) / sqrt(var + eps) * w + b`.

    In training, mean and (biased) variance are those of the batch, over all dimensions but the second; the running
    statistics, where given, move towards them in place: `running = (1 - momentum) * running + momentum * batch`, with
    the unbiased variance. In evaluation the running statistics are used. A float16 input may have float32 weight, bias
    and running statistics, as in mixed precision; it is normalised in float32, and the output is float16.

    Shape:
        input: (N, C), (N, C, L) or (N, C, H, W); all others: (C,). output: the shape of the input.

    Raises:
        ShapeError: for a wrong rank or length, an empty batch, or training on a single value per channel.
        ArgumentError: if there are no running statistics in evaluation, or only one of the two or of weight and bias,
            running statistics that are to move are read-only, or eps or momentum is not a number that makes sense.
        DTypeError: if the Tensors are not floats of one type; only the input may be float16 where weight and bias are
            float32.

    Reference:
        Ioffe and Szegedy, "Batch Normalization: accelerating deep network training by reducing internal covariate
        shift", 2015.
    """
    return normalise_batch(input, running_mean, running_var, weight, bias, training, momentum, eps)


def normalise_batch(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    training: bool,
    momentum: float | None,
    eps: float,
    batches: Tensor | None = None,
) -> Tensor:
    """The same for a layer, which counts its batches; without a momentum, running statistics are the mean over them."""
    check_float(input, "batch_norm")
    if not number(eps, "eps", "batch_norm") >= 0:
        raise ArgumentError(f"batch_norm: eps must be 0 or more, got {eps}")
    if momentum is not None or batches is None:
        momentum = number(momentum, "momentum", "batch_norm")
    shape = input.shape
    if not 2 <= len(shape) <= 4:
        raise ShapeError(f"batch_norm: input must have shape (N, C), (N, C, L) or (N, C, H, W), got {shape}")
    if 0 in shape:
        raise ShapeError(f"batch_norm: the batch is empty, input has shape {shape}")
    _check_vectors(shape, running_mean=running_mean, running_var=running_var)
    _check_vectors(shape, weight=weight, bias=bias)
    learnt = [tensor for tensor in (weight, bias) if tensor is not None]
    if not training:
        if running_mean is None or running_var is None:
            raise ArgumentError("batch_norm: evaluation needs running_mean and running_var")
        evaluation = BatchNormInference(eps, running_mean.array, running_var.array)
        return apply(evaluation, input, *learnt)
    if input.numel() == shape[1]:
        raise ShapeError(
            f"batch_norm: training needs more than one value per channel, got input of shape {shape}; "
            f"use a larger batch, or eval()"
        )
    running = None
    if running_mean is not None and running_var is not None:
        check_writable(running_mean.array, running_var.array)
        count = None if batches is None else batches.array
        running = Running(running_mean.array, running_var.array, momentum, count)
    return apply(BatchNorm(eps, running), input, *learnt)


def _check_vectors(shape: tuple[int, ...], **vectors: Tensor | None) -> None:
    """Make sure that two Tensors, given by name, are both missing or have a number for each channel of the input."""
    missing = 0
    for name, vector in vectors.items():
        if vector is None:
            missing += 1
            continue
        check_float(vector, "batch_norm", name)
        if vector.shape != (shape[1],):
            raise ShapeError(f"batch_norm: {name} must have shape ({shape[1]},) for input {shape}, got {vector.shape}")
    if missing == 1:
        raise ArgumentError(f"batch_norm: {' and '.join(vectors)} go together, got only one of them")
