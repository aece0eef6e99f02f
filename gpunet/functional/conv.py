"""Convolution and the fully connected layer."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from gpunet.errors import ArgumentError, ShapeError
from gpunet.functional.checks import (
    IntPair,
    check_choice,
    check_float,
    check_images,
    check_window_fits,
    pair,
    single,
    takes_one_image,
    whole_number,
)
from gpunet.ops.conv import Conv2d
from gpunet.ops.conv_transpose import ConvTranspose2d
from gpunet.ops.linear import Linear
from gpunet.ops.shaping import Nothing
from gpunet.ops.window import Pair, Window
from gpunet.tensor import Tensor, apply

__all__ = ["conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d", "linear"]


@takes_one_image
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
        input: (N, C, H, W), or (C, H, W); weight: (O, C/groups, kh, kw); bias: (O,).
        output: (N, O, Ho, Wo), or (O, Ho, Wo), with Ho = floor((H + 2P - D(kh-1) - 1) / S) + 1 and Wo likewise.

    Raises:
        ShapeError: for a wrong rank or number of channels, or a window larger than the padded input.
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
    if not len(input):
        return apply(Nothing((0, outputs, *window.output_size(*input.shape[2:]))), *inputs)
    return apply(Conv2d(window, groups), *inputs)


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """Convolution of sequences: `conv2d` of images of one row.

    Shape:
        input: (N, C, L), or (C, L); weight: (O, C/groups, k); bias: (O,).
        output: (N, O, Lo), or (O, Lo), with Lo = floor((L + 2P - D(k-1) - 1) / S) + 1.

    Raises:
        ShapeError: for a wrong rank or number of channels, or a window larger than the padded input.
        ArgumentError: for a stride or dilation below 1, a negative padding, or groups that do not divide the channels.
        DTypeError: if the Tensors are not floats of one type.
    """
    check_float(input, "conv1d")
    check_float(weight, "conv1d", "weight")
    if input.ndim not in (2, 3) or weight.ndim != 3:
        raise ShapeError(
            f"conv1d: input must have shape (N, C, L) or (C, L) and weight (O, C/groups, k), got {input.shape} and "
            f"{weight.shape}"
        )
    padding = padding if isinstance(padding, str) else (0, single(padding, "padding", "conv1d", 0))
    strides = (1, single(stride, "stride", "conv1d", 1))
    dilations = (1, single(dilation, "dilation", "conv1d", 1))
    rows = input.unsqueeze(-2)  # (..., C, 1, L)
    return conv2d(rows, weight.unsqueeze(-2), bias, strides, padding, dilations, groups).squeeze(-2)


@takes_one_image
def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: IntPair = 1,
    padding: IntPair = 0,
    output_padding: IntPair = 0,
    groups: int = 1,
    dilation: IntPair = 1,
) -> Tensor:
    r"""Transposed convolution: each pixel lays its multiple of the filters into a larger image, where they add up.

    `O[n,o,S*k + D*i - P, S*l + D*j - P] = b[o] + sum over c, i, j of I[n,c,k,l] * F[c,o,i,j]`: what `conv2d` does with
    gradients on the way back.

    Args:
        padding: rows and columns that are taken off each side of the output.
        output_padding: rows and columns more at the end, of those sizes that conv2d would bring to the same one.
        groups: input and output channels fall into that many groups, each on its own.

    Shape:
        input: (N, C, H, W), or (C, H, W); weight: (C, O/groups, kh, kw); bias: (O,).
        output: (N, O, Ho, Wo), or (O, Ho, Wo), with Ho = (H - 1) S - 2P + D(kh-1) + output_padding + 1.

    Raises:
        ShapeError: for a wrong rank or number of channels, or where nothing is left of the output.
        ArgumentError: for a stride or dilation below 1, a negative padding, an output_padding that is not smaller than
            the stride, or groups that do not divide the channels.
        DTypeError: if the Tensors are not floats of one type.

    Reference:
        Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016.
    """
    layer = "conv_transpose2d"
    check_images(input, layer)
    check_float(weight, layer, "weight")
    if weight.ndim != 4 or 0 in weight.shape:
        raise ShapeError(f"{layer}: weight must have shape (C, O/groups, kh, kw), got {weight.shape}")
    groups = whole_number(groups, "groups", layer, 1)
    channels, group_outputs, *kernel = weight.shape
    if input.shape[1] != channels:
        raise ShapeError(f"{layer}: input must have {channels} channels, got {input.shape[1]} in shape {input.shape}")
    if channels % groups:
        raise ArgumentError(f"{layer}: groups={groups} must divide the {channels} input channels")
    _check_bias(bias, group_outputs * groups, layer)
    window, size = transposed_window(
        (kernel[0], kernel[1]), stride, padding, output_padding, dilation, (input.shape[2], input.shape[3])
    )
    if min(size) < 1:
        raise ShapeError(f"{layer}: padding {padding} leaves no pixels of the output for input {input.shape}")
    inputs = [tensor for tensor in (input, weight, bias) if tensor is not None]
    if not len(input):
        return apply(Nothing((0, group_outputs * groups, *size)), *inputs)
    return apply(ConvTranspose2d(window, groups, size), *inputs)


def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
) -> Tensor:
    """Transposed convolution of sequences: `conv_transpose2d` of images of one row.

    Shape:
        input: (N, C, L), or (C, L); weight: (C, O/groups, k); bias: (O,).
        output: (N, O, Lo), or (O, Lo), with Lo = (L - 1) S - 2P + D(k-1) + output_padding + 1.

    Raises:
        ShapeError: for a wrong rank or number of channels, or where nothing is left of the output.
        ArgumentError: for a stride or dilation below 1, a negative padding, an output_padding that is not smaller than
            the stride, or groups that do not divide the channels.
        DTypeError: if the Tensors are not floats of one type.
    """
    check_float(input, "conv_transpose1d")
    check_float(weight, "conv_transpose1d", "weight")
    if input.ndim not in (2, 3) or weight.ndim != 3:
        raise ShapeError(
            f"conv_transpose1d: input must have shape (N, C, L) or (C, L) and weight (C, O/groups, k), got "
            f"{input.shape} and {weight.shape}"
        )
    settings = transposed_row(stride, padding, output_padding, dilation)
    rows = input.unsqueeze(-2)  # (..., C, 1, L)
    return conv_transpose2d(rows, weight.unsqueeze(-2), bias, *settings[:3], groups, settings[3]).squeeze(-2)


def transposed_row(stride: Any, padding: Any, output_padding: Any, dilation: Any) -> tuple[Pair, Pair, Pair, Pair]:
    """The settings of `conv_transpose1d` as those of `conv_transpose2d` for images of one row."""
    layer = "conv_transpose1d"
    return (
        (1, single(stride, "stride", layer, 1)),
        (0, single(padding, "padding", layer, 0)),
        (0, single(output_padding, "output_padding", layer, 0)),
        (1, single(dilation, "dilation", layer, 1)),
    )


def transposed_window(
    kernel: Pair, stride: IntPair, padding: IntPair, output_padding: IntPair, dilation: IntPair, size: Pair
) -> tuple[Window, Pair]:
    """The window of the convolution that goes back from output to input, and the size of the output.

    Raises:
        ArgumentError: if the settings make no sense.
    """
    layer = "conv_transpose2d"
    strides, dilations = pair(stride, "stride", layer, 1), pair(dilation, "dilation", layer, 1)
    (rows, columns), more = pair(padding, "padding", layer, 0), pair(output_padding, "output_padding", layer, 0)
    if more[0] >= strides[0] or more[1] >= strides[1]:
        raise ArgumentError(f"{layer}: output_padding must be smaller than the stride, got {more} and {strides}")
    window = _window(kernel, strides, ((rows, rows), (columns, columns)), dilations)
    height, width = (
        (before - 1) * step + extent - 2 * off + end
        for before, step, extent, off, end in zip(size, strides, window.extent, (rows, columns), more, strict=True)
    )
    return window, (height, width)


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
        ShapeError: if the last dimension of the input is not I, or 0, or weight or bias have another rank.
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
    if inputs == 0:
        raise ShapeError(f"linear: there are no features, input has shape {input.shape}")
    _check_bias(bias, outputs, "linear")
    operation = Linear() if input.numel() else Nothing((*input.shape[:-1], outputs))
    return apply(operation, input, weight, *(() if bias is None else (bias,)))


def _check_bias(bias: Tensor | None, outputs: int, layer: str) -> None:
    if bias is None:
        return
    check_float(bias, layer, "bias")
    if bias.shape != (outputs,):
        raise ShapeError(f"{layer}: bias must have shape ({outputs},), got {bias.shape}")
