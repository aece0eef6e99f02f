"""Changes to networks that leave what they compute the same."""

from __future__ import annotations

import copy
import itertools
from typing import Any

from gpunet import functional as F
from gpunet.backend import xp
from gpunet.errors import ArgumentError
from gpunet.nn.batchnorm import BatchNorm2d
from gpunet.nn.container import Sequential
from gpunet.nn.linear import Conv2d
from gpunet.nn.module import Module
from gpunet.nn.parameter import Parameter
from gpunet.nn.shaping import Identity
from gpunet.tensor import Tensor

__all__ = ["conv_bn", "fold_batch_norm", "fuse_conv_bn_eval"]


def conv_bn(conv: Module, bn: Module, x: Tensor, residual: Tensor | None = None, relu: bool = False) -> Tensor:
    """A convolution and its batch norm, then the residual and the ReLU: `relu(bn(conv(x)) + residual)`.

    For the `forward` of a network: where `fold_batch_norm` has left nothing of the batch norm, everything happens in
    the one pass of the convolution.

    Shape:
        x: (N, C, H, W); residual: (N, O, Ho, Wo). output: (N, O, Ho, Wo).
    """
    if isinstance(bn, Identity):
        return conv(x, residual=residual, relu=relu)
    y = bn(conv(x)) if residual is None else bn(conv(x)) + residual
    return F.relu(y) if relu else y


def fuse_conv_bn_eval(conv: Conv2d, bn: BatchNorm2d) -> Conv2d:
    """One convolution that computes what a convolution and the batch norm after it compute in evaluation.

    `W' = W * s` and `b' = (b - mean) * s + beta`, per output channel, with `s = gamma / sqrt(var + eps)`.

    Shape:
        the filters keep theirs, (O, C/groups, kh, kw); the bias of the new convolution is (O,).

    Raises:
        ArgumentError: if the channels differ, or the batch norm has no running statistics.
    """
    if bn.num_features != conv.out_channels:
        raise ArgumentError(f"fuse_conv_bn_eval: {conv.out_channels} channels leave the convolution, got {bn!r}")
    if bn.running_mean is None or bn.running_var is None:
        raise ArgumentError("fuse_conv_bn_eval: the batch norm must track running statistics")
    scale = 1 / xp.sqrt(bn.running_var.data + bn.eps)
    if bn.weight is not None:
        scale = scale * bn.weight.data
    bias = -bn.running_mean.data if conv.bias is None else conv.bias.data - bn.running_mean.data
    bias = bias * scale
    if bn.bias is not None:
        bias = bias + bn.bias.data
    fused = copy.deepcopy(conv)
    fused.weight.data = fused.weight.data * scale[:, None, None, None]
    fused.bias = Parameter(bias.astype(fused.weight.dtype))
    return fused.eval()


def fold_batch_norm(model: Module) -> Module:
    """A copy of a network for evaluation, in which batch norm after a convolution has become part of the convolution.

    Which batch norm follows which convolution is known in a Sequential, and in a Module that says so in an attribute
    `conv_bn_pairs`, as the networks of `gpunet.models` do; everything else stays as it is.

    Shape:
        the copy takes and returns what the network does.
    """
    folded = copy.deepcopy(model).eval()
    for module in list(folded.modules()):
        for conv_name, bn_name in _pairs(module):
            conv, bn = getattr(module, conv_name), getattr(module, bn_name)
            if isinstance(conv, Conv2d) and isinstance(bn, BatchNorm2d) and bn.running_mean is not None:
                setattr(module, conv_name, fuse_conv_bn_eval(conv, bn))
                setattr(module, bn_name, Identity())
    return folded


def _pairs(module: Any) -> list[tuple[str, str]]:
    if isinstance(module, Sequential):
        names = [name for name, _ in module.named_children()]
        return list(itertools.pairwise(names))
    return list(getattr(module, "conv_bn_pairs", ()))
