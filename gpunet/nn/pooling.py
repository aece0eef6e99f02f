"""Pooling layers; the functions behind them are in `gpunet.functional`."""

from __future__ import annotations

from collections.abc import Sequence

from gpunet import functional as F
from gpunet.functional.checks import IntPair
from gpunet.functional.pooling import pool_window
from gpunet.nn.module import Module
from gpunet.tensor import Tensor

__all__ = ["AdaptiveAvgPool2d", "AdaptiveMaxPool2d", "AvgPool2d", "GlobalAvgPool2d", "MaxPool2d"]


class MaxPool2d(Module):
    """The largest value of each window: `O[n,c,k,l] = max over i, j of I[n, c, S*k + D*i - P, S*l + D*j - P]`.

    Shape:
        input: (N, C, H, W). output: (N, C, Ho, Wo) with Ho = floor((H + 2P - D(kh-1) - 1) / S) + 1, or ceil.

    Raises:
        ArgumentError: for non-positive sizes, or a padding of more than half the window.
        ShapeError: when called, for an input that does not fit.
    """

    def __init__(
        self,
        kernel_size: IntPair,
        stride: IntPair | None = None,
        padding: IntPair = 0,
        dilation: IntPair = 1,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        pool_window(
            "MaxPool2d", kernel_size, stride, padding, dilation, ceil_mode
        )  # raises here, not at the first call
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation, self.ceil_mode = padding, dilation, ceil_mode

    def forward(self, input: Tensor) -> Tensor:
        """Pool the images."""
        return F.max_pool2d(input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)

    def extra_repr(self) -> str:
        """The settings."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class AvgPool2d(Module):
    """The mean of each window: `O[n,c,k,l] = (sum over i, j of I'[n, c, S*k + i - P, S*l + j - P]) / divisor`.

    Shape:
        input: (N, C, H, W). output: (N, C, Ho, Wo) with Ho = floor((H + 2P - kh) / S) + 1, or ceil.

    Raises:
        ArgumentError: for non-positive sizes, or a padding of more than half the window.
        ShapeError: when called, for an input that does not fit.
    """

    def __init__(
        self,
        kernel_size: IntPair,
        stride: IntPair | None = None,
        padding: IntPair = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        pool_window("AvgPool2d", kernel_size, stride, padding, 1, ceil_mode)  # raises here, not at the first call
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.ceil_mode = padding, ceil_mode
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override

    def forward(self, input: Tensor) -> Tensor:
        """Pool the images."""
        return F.avg_pool2d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )

    def extra_repr(self) -> str:
        """The settings."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _AdaptivePool2d(Module):
    def __init__(self, output_size: int | Sequence[int | None]) -> None:
        super().__init__()
        self.output_size = output_size

    def extra_repr(self) -> str:
        """The settings."""
        return f"output_size={self.output_size}"


class AdaptiveAvgPool2d(_AdaptivePool2d):
    """The mean of each cell of a grid over the image: cell (i, j) covers rows floor(i*H/Ho) .. ceil((i+1)*H/Ho) - 1.

    Shape:
        input: (N, C, H, W). output: (N, C, Ho, Wo), the given output_size.

    Raises:
        ArgumentError: when called, for a non-positive output size.
        ShapeError: when called, for an input that does not fit.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Pool the images."""
        return F.adaptive_avg_pool2d(input, self.output_size)


class AdaptiveMaxPool2d(_AdaptivePool2d):
    """The largest value of each cell of a grid laid over the image, with the cells of AdaptiveAvgPool2d.

    Shape:
        input: (N, C, H, W). output: (N, C, Ho, Wo), the given output_size.

    Raises:
        ArgumentError: when called, for a non-positive output size.
        ShapeError: when called, for an input that does not fit.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Pool the images."""
        return F.adaptive_max_pool2d(input, self.output_size)


class GlobalAvgPool2d(Module):
    """The mean of each channel over the whole image: `O[n,c] = mean over h, w of I[n,c,h,w]`.

    Shape:
        input: (N, C, H, W). output: (N, C).

    Raises:
        ShapeError: when called, for an input that does not fit.

    Reference:
        Lin, Chen and Yan, "Network In Network", 2013.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Average over rows and columns."""
        return F.global_avg_pool2d(input)
