"""Layers that multiply by a weight: convolution and the fully connected layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from gpunet import functional as F
from gpunet.arguments import DType
from gpunet.backend import Array, xp
from gpunet.errors import ArgumentError
from gpunet.functional.checks import IntPair, check_choice, check_float, pair, single, whole_number
from gpunet.functional.conv import conv_window, transposed_row, transposed_window
from gpunet.nn import init
from gpunet.nn.module import Module
from gpunet.nn.parameter import Parameter, factory_type
from gpunet.ops.window import Window
from gpunet.tensor import Tensor, own

__all__ = ["Conv1d", "Conv2d", "ConvTranspose1d", "ConvTranspose2d", "Linear"]


class _Weighted(Module):
    """A layer with a weight and perhaps a bias, both starting from U(-1/sqrt(fan_in), 1/sqrt(fan_in)) as in PyTorch."""

    weight: Parameter
    bias: Parameter | None

    def _make_parameters(self, weight: Array, outputs: int, bias: bool) -> None:
        self.weight = Parameter(own(weight))
        self.register_parameter("bias", Parameter(own(xp.empty(outputs, dtype=weight.dtype))) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        bound = 1 / math.sqrt(math.prod(self.weight.shape[1:]))
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)


class _Convolution(_Weighted):
    _dims: ClassVar[int] = 2

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        groups: int,
        bias: bool,
        device: Any,
        dtype: DType,
        transposed: bool = False,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.in_channels = whole_number(in_channels, "in_channels", name, 1)
        self.out_channels = whole_number(out_channels, "out_channels", name, 1)
        kernel: tuple[int, ...] = (single(kernel_size, "kernel_size", name, 1),) if self._dims == 1 else ()
        self.kernel_size = kernel or pair(kernel_size, "kernel_size", name, 1)
        self.groups = whole_number(groups, "groups", name, 1)
        if in_channels % groups or out_channels % groups:
            raise ArgumentError(f"{name}: groups={groups} must divide {in_channels} and {out_channels} channels")
        # In memory as (kh, kw, C/G, O), which is how the matrix product reads it: nothing is rearranged at every call.
        first, second = (in_channels, out_channels) if transposed else (out_channels, in_channels)
        weight = xp.empty((*self.kernel_size, second // groups, first), dtype=factory_type(device, dtype, name))
        weight = weight.transpose(self._dims + 1, self._dims, *range(self._dims))
        self._make_parameters(weight, out_channels, bias)

    def extra_repr(self) -> str:
        """The settings that are not the defaults."""
        defaults = {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1, "groups": 1, "padding_mode": "zeros"}
        settings = [(name, getattr(self, name, usual), usual) for name, usual in defaults.items()]
        changed = [f"{name}={value}" for name, value, usual in settings if value not in (usual, (usual,) * self._dims)]
        no_bias = [] if self.bias is not None else ["bias=False"]
        sizes = [str(self.in_channels), str(self.out_channels), f"kernel_size={self.kernel_size}"]
        return ", ".join(sizes + changed + no_bias)


class _PaddedConvolution(_Convolution):
    def _take_padding(self, padding: Any, padding_mode: str, window: Window) -> None:
        check_choice(padding_mode, ("zeros", "reflect", "replicate", "circular"), "padding_mode", type(self).__name__)
        numbers = tuple(before for before, _ in window.padding[2 - self._dims :])
        self.padding, self.padding_mode = padding if isinstance(padding, str) else numbers, padding_mode
        self._around = [width for sides in reversed(window.padding[2 - self._dims :]) for width in sides]

    def _padded(self, input: Tensor) -> tuple[Tensor, Any]:
        """The input, and the zeros that convolution is to add around it."""
        if self.padding_mode == "zeros":
            return input, self.padding
        check_float(input, type(self).__name__)
        return F.pad(input, self._around, self.padding_mode), 0


class Conv2d(_PaddedConvolution):
    """2-D convolution with learned filters; see `gpunet.functional.conv2d`.

    `O[n,o,k,l] = b[o] + sum over c, i, j of I'[n, c, S*k + D*i - P, S*l + D*j - P] * F[o,c,i,j]`

    Args:
        padding: pixels on each side, or "valid" (none), or "same" (so that the output has the size of the input).
        groups: input and output channels fall into that many groups, each convolved on its own.
        padding_mode: what they are: "zeros", or what `gpunet.functional.pad` makes of "reflect", "replicate" or
            "circular".

    Shape:
        input: (N, C, H, W), or (C, H, W). output: (N, O, Ho, Wo) with Ho = floor((H + 2P - D(kh-1) - 1) / S) + 1.

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
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: DType = None,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, groups, bias, device, dtype)
        rows, columns = self.kernel_size
        window = conv_window((rows, columns), stride, padding, dilation)
        self.stride, self.dilation = window.stride, window.dilation
        self._take_padding(padding, padding_mode, window)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve the images with the filters."""
        input, padding = self._padded(input)
        output = F.conv2d(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)
        return output.put_off_by(self)


class Conv1d(_PaddedConvolution):
    """Convolution of sequences with learned filters; see `gpunet.functional.conv1d`.

    Args:
        padding: numbers on each side, or "valid" (none), or "same" (so that the output has the length of the input).
        groups: input and output channels fall into that many groups, each convolved on its own.
        padding_mode: what they are: "zeros", or what `gpunet.functional.pad` makes of "reflect", "replicate" or
            "circular".

    Shape:
        input: (N, C, L), or (C, L). output: (N, O, Lo) with Lo = floor((L + 2P - D(k-1) - 1) / S) + 1.

    Raises:
        ArgumentError: for non-positive sizes, or groups that do not divide the channels.
        ShapeError: when called, for an input that does not fit.
    """

    _dims = 1

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] | str = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: DType = None,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, groups, bias, device, dtype)
        along = single(stride, "stride", "Conv1d", 1), single(dilation, "dilation", "Conv1d", 1)
        columns = padding if isinstance(padding, str) else (0, single(padding, "padding", "Conv1d", 0))
        window = conv_window((1, self.kernel_size[0]), (1, along[0]), columns, (1, along[1]))
        self.stride, self.dilation = window.stride[1:], window.dilation[1:]
        self._take_padding(padding, padding_mode, window)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve the sequences with the filters."""
        input, padding = self._padded(input)
        return F.conv1d(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class ConvTranspose2d(_Convolution):
    """Transposed convolution, to larger images; see `gpunet.functional.conv_transpose2d`.

    `O[n,o,S*k + D*i - P, S*l + D*j - P] = b[o] + sum over c, i, j of I[n,c,k,l] * F[c,o,i,j]`

    Args:
        padding: rows and columns that are taken off each side of the output.
        output_padding: rows and columns more at the end.
        groups: input and output channels fall into that many groups, each on its own.
        padding_mode: "zeros"; PyTorch knows no other, either.

    Shape:
        input: (N, C, H, W), or (C, H, W). output: (N, O, Ho, Wo) with
        Ho = (H - 1) S - 2P + D(kh-1) + output_padding + 1.

    Raises:
        ArgumentError: for settings that make no sense, or groups that do not divide the channels.
        ShapeError: when called, for an input that does not fit.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntPair,
        stride: IntPair = 1,
        padding: IntPair = 0,
        output_padding: IntPair = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: IntPair = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: DType = None,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, groups, bias, device, dtype, transposed=True)
        check_choice(padding_mode, ("zeros",), "padding_mode", "ConvTranspose2d")
        rows, columns = self.kernel_size  # what makes no sense is said here rather than at the first call
        window, _ = transposed_window((rows, columns), stride, padding, output_padding, dilation, (1, 1))
        self.stride, self.dilation = window.stride, window.dilation
        self.padding, self.output_padding = (pair(each, "", "", 0) for each in (padding, output_padding))

    def forward(self, input: Tensor) -> Tensor:
        """Lay the filters into the output."""
        settings = self.stride, self.padding, self.output_padding, self.groups, self.dilation
        return F.conv_transpose2d(input, self.weight, self.bias, *settings)


class ConvTranspose1d(_Convolution):
    """Transposed convolution, to longer sequences; see `gpunet.functional.conv_transpose1d`.

    Args:
        padding: numbers that are taken off each side of the output.
        output_padding: numbers more at the end.
        groups: input and output channels fall into that many groups, each on its own.
        padding_mode: "zeros"; PyTorch knows no other, either.

    Shape:
        input: (N, C, L), or (C, L). output: (N, O, Lo) with Lo = (L - 1) S - 2P + D(k-1) + output_padding + 1.

    Raises:
        ArgumentError: for settings that make no sense, or groups that do not divide the channels.
        ShapeError: when called, for an input that does not fit.
    """

    _dims = 1

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        output_padding: int | Sequence[int] = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | Sequence[int] = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: DType = None,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, groups, bias, device, dtype, transposed=True)
        check_choice(padding_mode, ("zeros",), "padding_mode", "ConvTranspose1d")
        row = transposed_row(stride, padding, output_padding, dilation)
        transposed_window((1, self.kernel_size[0]), *row, (1, 1))  # what makes no sense is said here
        self.stride, self.padding, self.output_padding, self.dilation = ((along,) for _, along in row)

    def forward(self, input: Tensor) -> Tensor:
        """Lay the filters into the output."""
        settings = self.stride, self.padding, self.output_padding, self.groups, self.dilation
        return F.conv_transpose1d(input, self.weight, self.bias, *settings)


class Linear(_Weighted):
    """The fully connected layer: `y = x Wᵀ + b`.

    Shape:
        input: (..., in_features). output: (..., out_features).

    Raises:
        ArgumentError: for non-positive sizes.
        ShapeError: when called, for an input that does not fit.
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: DType = None
    ) -> None:
        super().__init__()
        self.in_features = whole_number(in_features, "in_features", "Linear", 1)
        self.out_features = whole_number(out_features, "out_features", "Linear", 1)
        made_of = factory_type(device, dtype, "Linear")
        self._make_parameters(xp.empty((out_features, in_features), dtype=made_of), out_features, bias)

    def forward(self, input: Tensor) -> Tensor:
        """Multiply by the weight and add the bias."""
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        """The settings."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
