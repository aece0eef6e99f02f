"""Batch norm in evaluation, taken into the layer before it: one layer that computes what the two do.

gpunet's own networks have no need of it: in evaluation batch norm runs as the last step of the convolution anyhow. It
is PyTorch's function for programs that call it; files of ONNX are folded by `gpunet.onnx`.
"""

from __future__ import annotations

import copy
from typing import TypeVar

from gpunet.errors import ArgumentError
from gpunet.nn.batchnorm import ChannelNorm
from gpunet.nn.linear import Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d, Linear
from gpunet.nn.parameter import Parameter
from gpunet.tape import no_grad
from gpunet.tensor import Tensor

__all__ = ["fuse_conv_bn_eval", "fuse_conv_bn_weights", "fuse_linear_bn_eval", "fuse_linear_bn_weights"]

Conv = TypeVar("Conv", bound="Conv1d | Conv2d | ConvTranspose1d | ConvTranspose2d")


def fuse_conv_bn_eval(conv: Conv, bn: ChannelNorm, transpose: bool = False) -> Conv:
    """A convolution that computes what a convolution and the batch norm behind it do in evaluation.

    Args:
        conv: the convolution; it is copied.
        bn: the batch norm.
        transpose: whether it is a transposed one, whose filters have the output channels second.

    Raises:
        ArgumentError: if one of the two is training, or there are no running statistics.
    """
    fused = copy.deepcopy(conv)
    fused.weight, fused.bias = _fused(conv, bn, transpose)
    return fused


def fuse_linear_bn_eval(linear: Linear, bn: ChannelNorm) -> Linear:
    """A fully connected layer that computes what it and the batch norm behind it do in evaluation.

    Raises:
        ArgumentError: if one of the two is training, there are no running statistics, or it has other features.
    """
    if bn.num_features != linear.out_features:
        raise ArgumentError(f"fuse_linear_bn_eval: {linear.out_features} outputs, but {bn.num_features} features")
    fused = copy.deepcopy(linear)
    fused.weight, fused.bias = _fused(linear, bn, False)
    return fused


def _fused(
    layer: Conv1d | Conv2d | ConvTranspose1d | ConvTranspose2d | Linear, bn: ChannelNorm, transpose: bool
) -> tuple[Parameter, Parameter]:
    if layer.training or bn.training:
        raise ArgumentError("fusing is for evaluation: call .eval() first")
    if bn.running_mean is None or bn.running_var is None:
        raise ArgumentError(f"fusing: this {type(bn).__name__} has no running statistics")
    return fuse_conv_bn_weights(
        layer.weight, layer.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias, transpose
    )


def fuse_conv_bn_weights(
    conv_w: Tensor,
    conv_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
    transpose: bool = False,
) -> tuple[Parameter, Parameter]:
    """`w' = w * s` and `b' = (b - mean) * s + bias` with `s = weight / sqrt(var + eps)`, per output channel.

    Shape:
        conv_w: (O, I/groups, ...), or (I, O/groups, ...) if it is transposed. All others: (O,).
    """
    with no_grad():
        scale = (bn_rv + bn_eps).rsqrt() * (1 if bn_w is None else bn_w)
        shape = [1, -1] if transpose else [-1, 1]
        weight = conv_w * scale.reshape(*shape, *[1] * (conv_w.ndim - 2)).to(conv_w.dtype)
        bias = (-bn_rm if conv_b is None else conv_b - bn_rm) * scale + (0 if bn_b is None else bn_b)
        learns = conv_w.requires_grad if conv_b is None else conv_b.requires_grad
        return Parameter(weight, conv_w.requires_grad), Parameter(bias, learns)


def fuse_linear_bn_weights(
    linear_w: Tensor,
    linear_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
) -> tuple[Parameter, Parameter]:
    """The same for a fully connected layer.

    Shape:
        linear_w: (O, I). All others: (O,).
    """
    return fuse_conv_bn_weights(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b)
