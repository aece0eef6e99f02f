"""Layers that multiply by a weight: convolution and the fully connected layer."""

from __future__ import annotations

import math

from gpunet import functional as F
from gpunet.backend import Array, xp
from gpunet.errors import ArgumentError
from gpunet.functional.checks import IntPair, pair, whole_number
from gpunet.functional.conv import conv_window
from gpunet.nn import init
from gpunet.nn.module import Module
from gpunet.nn.parameter import Parameter
from gpunet.tensor import Tensor, own

__all__ = ["Conv2d", "Linear"]


class _Weighted(Module):
    """A layer with a weight and perhaps a bias, both starting from U(-1/sqrt(fan_in), 1/sqrt(fan_in)) as in PyTorch."""

    weight: Parameter
    bias: Parameter | None

    def _make_parameters(self, weight: Array, bias: bool) -> None:
        self.weight = Parameter(own(weight))
        self.register_parameter("bias", Parameter(own(xp.empty(len(weight), dtype=weight.dtype))) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        bound = 1 / math.sqrt(math.prod(self.weight.shape[1:]))
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)


class Conv2d(_Weighted):
    """2-D convolution with learned filters; see `gpunet.functional.conv2d`.

    `O[n,o,k,l] = b[o] + sum over c, i, j of I'[n, c, S*k + D*i - P, S*l + D*j - P] * F[o,c,i,j]`

    Args:
        padding: zeros on each side, or "valid" (none), or "same" (so that the output has the size of the input).
        groups: input and output channels fall into that many groups, each convolved on its own.

    Shape:
        input: (N, C, H, W). output: (N, O, Ho, Wo) with Ho = floor((H + 2P - D(kh-1) - 1) / S) + 1 and Wo likewise.

    Raises:
        ArgumentError: for non-positive sizes, or groups that do not divide the channels.
        ShapeError: when called, for an input that does not fit.

    Reference:
        LeCun et al., "Gradient-based learning applied to document recognition", 1998.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntPair,
        stride: IntPair = 1,
        padding: IntPair | str = 0,
        dilation: IntPair = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.in_channels = whole_number(in_channels, "in_channels", "Conv2d", 1)
        self.out_channels = whole_number(out_channels, "out_channels", "Conv2d", 1)
        self.kernel_size = pair(kernel_size, "kernel_size", "Conv2d", 1)
        self.groups = whole_number(groups, "groups", "Conv2d", 1)
        if in_channels % groups or out_channels % groups:
            raise ArgumentError(f"Conv2d: groups={groups} must divide {in_channels} and {out_channels} channels")
        conv_window(self.kernel_size, stride, padding, dilation)  # raises here rather than at the first call
        self.stride, self.padding, self.dilation = stride, padding, dilation
        # In memory as (kh, kw, C/G, O), which is how the matrix product reads it: nothing is rearranged at every call.
        weight = xp.empty((*self.kernel_size, in_channels // groups, out_channels), dtype=xp.float32)
        self._make_parameters(weight.transpose(3, 2, 0, 1), bias)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve the images with the filters."""
        output = F.conv2d(input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)
        return output.put_off_by(self)

    def extra_repr(self) -> str:
        """The settings that are not the defaults."""
        defaults = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
        changed = [f"{name}={getattr(self, name)}" for name, usual in defaults.items() if getattr(self, name) != usual]
        no_bias = [] if self.bias is not None else ["bias=False"]
        sizes = [str(self.in_channels), str(self.out_channels), f"kernel_size={self.kernel_size}"]
        return ", ".join(sizes + changed + no_bias)


class Linear(_Weighted):
    """The fully connected layer: `y = x Wᵀ + b`.

    Shape:
        input: (..., in_features). output: (..., out_features).

    Raises:
        ArgumentError: for non-positive sizes.
        ShapeError: when called, for an input that does not fit.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__()
        self.in_features = whole_number(in_features, "in_features", "Linear", 1)
        self.out_features = whole_number(out_features, "out_features", "Linear", 1)
        self._make_parameters(xp.empty((out_features, in_features), dtype=xp.float32), bias)

    def forward(self, input: Tensor) -> Tensor:
        """Multiply by the weight and add the bias."""
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        """The settings."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
