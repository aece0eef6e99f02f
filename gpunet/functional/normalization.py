"""Normalisation: over the batch, over each image alone, and over neighbouring channels."""

from __future__ import annotations

from collections.abc import Sequence

from gpunet.arguments import flag, sizes_of
from gpunet.autocast import input_dtype
from gpunet.backend import xp
from gpunet.errors import ArgumentError, ShapeError
from gpunet.functional.checks import check_float, check_same_dtype, number, whole_number
from gpunet.functional.shaping import pad
from gpunet.ops.batchnorm import BatchNorm, BatchNormInference, Running
from gpunet.ops.groupnorm import GroupNorm, LayerNorm
from gpunet.ops.operation import Operation
from gpunet.ops.shaping import Nothing
from gpunet.ops.writing import check_writable
from gpunet.tape import no_grad
from gpunet.tensor import Tensor, apply, own

__all__ = ["batch_norm", "group_norm", "instance_norm", "layer_norm", "local_response_norm", "rms_norm"]


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
        ShapeError: for a wrong rank or length, or training on a single value per channel.
        ArgumentError: if there are no running statistics in evaluation, or only one of the two, or those that are to
            move are read-only, or eps or momentum is not a number that makes sense.
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
    operation: type[BatchNorm] = BatchNorm,
) -> Tensor:
    """The same for a layer, which counts its batches; without a momentum, running statistics are the mean over them.

    Args:
        operation: what normalises in training. `SyncBatchNorm` has to be carried out where there is no image, too, or a
            single value: other ranks have some.
    """
    check_float(input, "batch_norm")
    eps = _checked_eps(eps, "batch_norm")
    if momentum is not None or batches is None:
        momentum = number(momentum, "momentum", "batch_norm")
    shape = input.shape
    if not 2 <= len(shape) <= 4:
        raise ShapeError(f"batch_norm: input must have shape (N, C), (N, C, L) or (N, C, H, W), got {shape}")
    _check_vectors("batch_norm", shape, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    if (running_mean is None) != (running_var is None):
        raise ArgumentError("batch_norm: running_mean and running_var go together, got only one of them")
    if weight is None and bias is not None:
        weight = own(xp.ones_like(bias.array))
    learnt = [tensor for tensor in (weight, bias) if tensor is not None]
    if not training and running_mean is None:
        raise ArgumentError("batch_norm: evaluation needs running_mean and running_var")
    alone = operation is BatchNorm
    if 0 in shape and (alone or not training):
        if training and batches is not None:
            batches.array += 1
        return apply(Nothing(shape), input, *learnt)
    if not training and running_mean is not None and running_var is not None:
        evaluation = BatchNormInference(eps, running_mean.array, running_var.array)
        return apply(evaluation, input, *learnt)
    if alone and input.numel() == shape[1]:
        raise ShapeError(
            f"batch_norm: training needs more than one value per channel, got input of shape {shape}; "
            f"use a larger batch, or eval()"
        )
    running = None
    if running_mean is not None and running_var is not None:
        check_writable(running_mean.array, running_var.array)
        count = None if batches is None else batches.array
        running = Running(running_mean.array, running_var.array, momentum, count)
    return apply(operation(eps, running), input, *learnt)


def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Bring each group of channels of each image to mean 0 and variance 1: `y = (x - mean) / sqrt(var + eps) * w + b`.

    Mean and (biased) variance are over the channels of the group and all pixels, so that the batch does not matter.

    Shape:
        input: (N, C, ...); weight and bias: (C,). output: the shape of the input.

    Raises:
        ShapeError: for a wrong rank or length, or where a group has a single value.
        ArgumentError: if the groups do not divide the channels, or eps makes no sense.
        DTypeError: if the Tensors are not floats of one type.

    Reference:
        Wu and He, "Group normalization", 2018.
    """
    check_float(input, "group_norm")
    eps = _checked_eps(eps, "group_norm")
    shape = input.shape
    if len(shape) < 2:
        raise ShapeError(f"group_norm: input must have shape (N, C, ...), got {shape}")
    groups = whole_number(num_groups, "num_groups", "group_norm", 1)
    if shape[1] % groups:
        raise ArgumentError(f"group_norm: num_groups={groups} must divide the {shape[1]} channels of input {shape}")
    _check_vectors("group_norm", shape, weight=weight, bias=bias)
    if len(input) and input.numel() // (len(input) * groups) == 1:
        raise ShapeError(f"group_norm: a group needs more than one value, got input {shape} and {groups} groups")
    return _scale_channels(GroupNorm(groups, eps), input, weight, bias, "group_norm")


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Bring each channel of each image to mean 0 and variance 1: `y = (x - mean) / sqrt(var + eps) * w + b`.

    The running statistics, where given, move towards the means over the batch of mean and (unbiased) variance.

    Args:
        use_input_stats: whether to normalise by the image itself; else by the running statistics, as batch_norm does.

    Shape:
        input: (N, C, L) or (N, C, H, W); all others: (C,). output: the shape of the input.

    Raises:
        ShapeError: for a wrong rank or length, or where a channel has a single value.
        ArgumentError: if there are no running statistics to go by, or only one of the two, or eps or momentum makes no
            sense.
        DTypeError: if the Tensors are not floats of one type.

    Reference:
        Ulyanov, Vedaldi and Lempitsky, "Instance normalization: the missing ingredient for fast stylization", 2016.
    """
    check_float(input, "instance_norm")
    eps, momentum = _checked_eps(eps, "instance_norm"), number(momentum, "momentum", "instance_norm")
    shape = input.shape
    if not 3 <= len(shape) <= 4:
        raise ShapeError(f"instance_norm: input must have shape (N, C, L) or (N, C, H, W), got {shape}")
    if not flag(use_input_stats, "instance_norm: use_input_stats"):
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    _check_vectors("instance_norm", shape, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    if (running_mean is None) != (running_var is None):
        raise ArgumentError("instance_norm: running_mean and running_var go together, got only one of them")
    if input.numel() == len(input) * shape[1] != 0:
        raise ShapeError(f"instance_norm: a channel needs more than one value, got input {shape}")
    if running_mean is not None and running_var is not None:
        check_writable(running_mean.array, running_var.array)
        with no_grad():
            pixels = tuple(range(2, len(shape)))
            for running, now in ((running_mean, input.mean(pixels)), (running_var, input.var(pixels))):
                running.copy_(running * (1 - momentum) + now.mean(0) * momentum)
    return _scale_channels(GroupNorm(shape[1], eps), input, weight, bias, "instance_norm")


def layer_norm(
    input: Tensor,
    normalized_shape: int | Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Bring the last dimensions to mean 0 and variance 1: `y = (x - mean) / sqrt(var + eps) * w + b`.

    Args:
        normalized_shape: the sizes of these dimensions.

    Shape:
        input: (..., *normalized_shape); weight and bias: normalized_shape. output: the shape of the input.

    Raises:
        ShapeError: if the input does not end in this shape, or weight or bias has another.
        ArgumentError: if eps makes no sense.
        DTypeError: if the Tensors are not floats of one type.

    Reference:
        Ba, Kiros and Hinton, "Layer normalization", 2016.
    """
    eps = _checked_eps(eps, "layer_norm")
    sizes = _last_sizes(input, normalized_shape, "layer_norm", weight=weight, bias=bias)
    _check_types("layer_norm", LayerNorm(len(sizes), eps), input, weight, bias)
    y = apply(LayerNorm(len(sizes), eps) if input.numel() else Nothing(input.shape), input)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def rms_norm(
    input: Tensor, normalized_shape: int | Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """Bring the mean square of the last dimensions to 1: `y = x / sqrt(mean(x^2) + eps) * w`.

    Args:
        normalized_shape: the sizes of these dimensions.
        eps: by default the distance from 1 to the next number of the type of the input.

    Shape:
        input: (..., *normalized_shape); weight: normalized_shape. output: the shape of the input.

    Raises:
        ShapeError: if the input does not end in this shape, or the weight has another.
        ArgumentError: if eps makes no sense.
        DTypeError: if the Tensors are not floats of one type.

    Reference:
        Zhang and Sennrich, "Root mean square layer normalization", 2019.
    """
    sizes = _last_sizes(input, normalized_shape, "rms_norm", weight=weight)
    eps = _distance_from_1(input) if eps is None else _checked_eps(eps, "rms_norm")
    if weight is not None:
        check_same_dtype("rms_norm", input=input.dtype, weight=weight.dtype)
    dims = tuple(range(input.ndim - len(sizes), input.ndim))
    y = input / ((input * input).mean(dims, keepdim=True) + eps).sqrt()
    return y if weight is None else y * weight


def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """Divide by the strength of its neighbours: `y[c] = x[c] / (k + alpha / size * sum over c' of x[c']^2)^beta`.

    The sum is over `size` channels, of which c is the one in the middle; those that are not there count as 0.

    Shape:
        input: (N, C, ...). output: the same.

    Raises:
        ShapeError: for fewer than 3 dimensions.
        ArgumentError: if size is no whole number of 1 or more, or a setting no number.
        DTypeError: if the input is not a Tensor of floats.

    Reference:
        Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional neural networks", 2012.
    """
    check_float(input, "local_response_norm")
    size = whole_number(size, "size", "local_response_norm", 1)
    alpha, beta, k = (
        number(value, name, "local_response_norm") for name, value in (("alpha", alpha), ("beta", beta), ("k", k))
    )
    if input.ndim < 3:
        raise ShapeError(f"local_response_norm: input must have shape (N, C, ...), got {input.shape}")
    channels, spatial = input.shape[1], input.ndim - 2
    squares = pad(input * input, (0, 0) * spatial + (size // 2, (size - 1) // 2))
    total = squares[:, :channels]
    for first in range(1, size):
        total = total + squares[:, first : first + channels]
    return input / (total * (alpha / size) + k) ** beta


def _scale_channels(
    operation: GroupNorm, input: Tensor, weight: Tensor | None, bias: Tensor | None, layer: str
) -> Tensor:
    """The normalised input, each channel scaled and shifted."""
    _check_types(layer, operation, input, weight, bias)
    y = apply(operation if input.numel() else Nothing(input.shape), input)
    ones = (1,) * (input.ndim - 2)
    y = y if weight is None else y * weight.reshape(1, -1, *ones)
    return y if bias is None else y + bias.reshape(1, -1, *ones)


def _distance_from_1(input: Tensor) -> float:
    """To the next larger number of its type."""
    return 2.0 ** -{2: 10, 4: 23, 8: 52}[input.dtype.itemsize]


def _checked_eps(eps: float, layer: str) -> float:
    if not number(eps, "eps", layer) >= 0:
        raise ArgumentError(f"{layer}: eps must be 0 or more, got {eps}")
    return eps


def _check_types(layer: str, operation: Operation, input: Tensor, *learnt: Tensor | None) -> None:
    """Make sure that weight and bias are of the type in which the input is normalised."""
    for name, tensor in zip(("weight", "bias"), learnt, strict=True):
        if tensor is not None:
            check_same_dtype(layer, **{"input": input_dtype(operation, input.dtype), name: tensor.dtype})


def _last_sizes(
    input: Tensor, normalized_shape: int | Sequence[int], layer: str, **learnt: Tensor | None
) -> tuple[int, ...]:
    """The sizes of the dimensions to normalise over, which the input and what is learnt have."""
    check_float(input, layer)
    sizes = sizes_of((normalized_shape,), layer)
    if not sizes or input.shape[-len(sizes) :] != sizes:
        raise ShapeError(f"{layer}: input must end in normalized_shape {sizes}, got {input.shape}")
    for name, tensor in learnt.items():
        if tensor is not None:
            check_float(tensor, layer, name)
            if tensor.shape != sizes:
                raise ShapeError(f"{layer}: {name} must have shape {sizes}, got {tensor.shape}")
    return sizes


def _check_vectors(layer: str, shape: tuple[int, ...], **vectors: Tensor | None) -> None:
    """Make sure that Tensors, given by name, are missing or have a number for each channel of the input."""
    for name, vector in vectors.items():
        if vector is None:
            continue
        check_float(vector, layer, name)
        if vector.shape != (shape[1],):
            raise ShapeError(f"{layer}: {name} must have shape ({shape[1]},) for input {shape}, got {vector.shape}")
