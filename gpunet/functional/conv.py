"""Convolution and the fully connected layer."""

from __future__ import annotations

import functools

from gpunet.errors import ArgumentError, ShapeError
from gpunet.functional.checks import (
    IntPair,
    check_choice,
    check_float,
    check_images,
    check_window_fits,
    pair,
    whole_number,
)
from gpunet.ops.conv import Conv2d
from gpunet.ops.linear import Linear
from gpunet.ops.window import Pair, Window
from gpunet.tensor import Tensor, apply

__all__ = ["conv2d", "linear"]


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: IntPair = 1,
    padding: IntPair | str = 0,
    dilation: IntPair = 1,
    groups: int = 1,
) -> Tensor:
    r"""2-D convolution (strictly, cross-correlation) of a batch of images with a set of filters.

    `O[n,o,k,l] = b[o] + sum over c, i, j of I'[n, c, S*k + D*i - P, S*l + D*j - P] * F[o,c,i,j]`, where I' is the input
    inside the image and 0 outside.

    Args:
        padding: zeros on each side, or "valid" (none), or "same" (so that the output has the size of the input).
        groups: input and output channels fall into that many groups, each convolved on its own.

    Shape:
        input: (N, C, H, W); weight: (O, C/groups, kh, kw); bias: (O,).
        output: (N, O, Ho, Wo) with Ho = floor((H + 2P - D(kh-1) - 1) / S) + 1 and Wo likewise.

    Raises:
        ShapeError: for a wrong rank or number of channels, an empty batch, or a window larger than the padded input.
        ArgumentError: for a stride or dilation below 1, a negative padding, or groups that do not divide the channels.
        DTypeError: if the Tensors are not floats of one type.

    Reference:
        Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016.
    """
    check_images(input, "conv2d")
    check_float(weight, "conv2d", "weight")
    if weight.ndim != 4 or 0 in weight.shape:
        raise ShapeError(f"conv2d: weight must have shape (O, C/groups, kh, kw), got {weight.shape}")
    groups = whole_number(groups, "groups", "conv2d", 1)
    channels, (outputs, group_channels, rows, columns) = input.shape[1], weight.shape
    window = conv_window((rows, columns), stride, padding, dilation)
    if channels % groups or outputs % groups:
        raise ArgumentError(
            f"conv2d: groups={groups} must divide the {channels} input channels and the {outputs} output channels"
        )
    if group_channels * groups != channels:
        raise ShapeError(
            f"conv2d: input must have {group_channels * groups} channels "
            f"(weight of shape {weight.shape}, groups={groups}), got {channels} in shape {input.shape}"
        )
    _check_bias(bias, outputs, "conv2d")
    check_window_fits(window, input, "conv2d")
    inputs = [tensor for tensor in (input, weight, bias) if tensor is not None]
    return apply(Conv2d(window, groups), *inputs)


def conv_window(kernel: Pair, stride: IntPair, padding: IntPair | str, dilation: IntPair) -> Window:
    """The window of a convolution, with "same" and "valid" padding worked out."""
    strides = pair(stride, "stride", "conv2d", 1)
    dilations = pair(dilation, "dilation", "conv2d", 1)
    if not isinstance(padding, str):
        rows, columns = pair(padding, "padding", "conv2d", 0)
        return _window(kernel, strides, ((rows, rows), (columns, columns)), dilations)
    check_choice(padding, ("same", "valid"), "padding", "conv2d")
    if padding == "valid":
        return _window(kernel, strides, dilation=dilations)
    if strides != (1, 1):
        raise ArgumentError(f"conv2d: padding 'same' needs a stride of 1, got {strides}")
    extra = [d * (k - 1) for d, k in zip(dilations, kernel, strict=True)]  # an odd one goes to the end, as in PyTorch
    sides = ((extra[0] // 2, extra[0] - extra[0] // 2), (extra[1] // 2, extra[1] - extra[1] // 2))
    return _window(kernel, strides, sides, dilations)


_window = functools.lru_cache(1024)(Window)  # a layer meets the same object again, and what is kept under it


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The fully connected layer: `y = x Wᵀ + b`.

    Shape:
        input: (..., I); weight: (O, I); bias: (O,). output: (..., O).

    Raises:
        ShapeError: if the last dimension of the input is not I, or weight or bias have another rank.
        DTypeError: if the Tensors are not floats of one type.
    """
    check_float(input, "linear")
    check_float(weight, "linear", "weight")
    if weight.ndim != 2:
        raise ShapeError(f"linear: weight must have shape (O, I), got {weight.shape}")
    outputs, inputs = weight.shape
    if input.ndim == 0 or input.shape[-1] != inputs:
        hint = "; flatten images first, with nn.Flatten()" if input.ndim == 4 else ""
        raise ShapeError(f"linear: input must have {inputs} features in its last dimension, got {input.shape}{hint}")
    if 0 in input.shape:
        raise ShapeError(f"linear: the batch is empty, input has shape {input.shape}")
    _check_bias(bias, outputs, "linear")
    return apply(Linear(), input, weight, *(() if bias is None else (bias,)))


def _check_bias(bias: Tensor | None, outputs: int, layer: str) -> None:
    if bias is None:
        return
    check_float(bias, layer, "bias")
    if bias.shape != (outputs,):
        raise ShapeError(f"{layer}: bias must have shape ({outputs},), got {bias.shape}")
