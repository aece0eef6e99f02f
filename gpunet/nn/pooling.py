"""Pooling layers; the functions behind them are in `gpunet.functional`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunet import functional as F
from gpunet.arguments import flag
from gpunet.functional.checks import IntPair
from gpunet.functional.pooling import pool_window
from gpunet.nn.module import Module
from gpunet.tensor import Tensor

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AvgPool1d",
    "AvgPool2d",
    "GlobalAvgPool2d",
    "LPPool1d",
    "LPPool2d",
    "MaxPool1d",
    "MaxPool2d",
    "MaxUnpool2d",
]


class MaxPool2d(Module):
    """The largest value of each window: `O[n,c,k,l] = max over i, j of I[n, c, S*k + D*i - P, S*l + D*j - P]`.

    Args:
        return_indices: return as well where in its image each value was found, as row * W + column.

    Shape:
        input: (N, C, H, W), or (C, H, W). output: (N, C, Ho, Wo) with
        Ho = floor((H + 2P - D(kh-1) - 1) / S) + 1, or ceil.

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
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        # Raises here, not at the first call.
        pool_window("MaxPool2d", kernel_size, stride, padding, dilation, ceil_mode)
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation, self.ceil_mode = padding, dilation, ceil_mode
        self.return_indices = flag(return_indices, "MaxPool2d: return_indices")

    def forward(self, input: Tensor) -> Any:
        """Pool the images."""
        return F.max_pool2d(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )

    def extra_repr(self) -> str:
        """The settings."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class AvgPool2d(Module):
    """The mean of each window: `O[n,c,k,l] = (sum over i, j of I'[n, c, S*k + i - P, S*l + j - P]) / divisor`.

    Shape:
        input: (N, C, H, W), or (C, H, W). output: (N, C, Ho, Wo) with Ho = floor((H + 2P - kh) / S) + 1, or ceil.

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
        input: (N, C, H, W), or (C, H, W). output: (N, C, Ho, Wo), the given output_size.

    Raises:
        ArgumentError: when called, for a non-positive output size.
        ShapeError: when called, for an input that does not fit.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Pool the images."""
        return F.adaptive_avg_pool2d(input, self.output_size)


class AdaptiveMaxPool2d(_AdaptivePool2d):
    """The largest value of each cell of a grid laid over the image, with the cells of AdaptiveAvgPool2d.

    Args:
        return_indices: return as well where in its image each value was found, as row * W + column.

    Shape:
        input: (N, C, H, W), or (C, H, W). output: (N, C, Ho, Wo), the given output_size.

    Raises:
        ArgumentError: when called, for a non-positive output size.
        ShapeError: when called, for an input that does not fit.
    """

    def __init__(self, output_size: int | Sequence[int | None], return_indices: bool = False) -> None:
        super().__init__(output_size)
        self.return_indices = flag(return_indices, "AdaptiveMaxPool2d: return_indices")

    def forward(self, input: Tensor) -> Any:
        """Pool the images."""
        return F.adaptive_max_pool2d(input, self.output_size, self.return_indices)


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


class MaxPool1d(Module):
    """The largest value of each window of a sequence; see `gpunet.functional.max_pool1d`.

    Args:
        return_indices: return as well where in its sequence each value was found.

    Shape:
        input: (N, C, L), or (C, L). output: (N, C, Lo) with Lo = floor((L + 2P - D(k-1) - 1) / S) + 1, or ceil.

    Raises:
        ArgumentError: when called, for non-positive sizes, or a padding of more than half the window.
        ShapeError: when called, for an input that does not fit.
    """

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation, self.ceil_mode = padding, dilation, ceil_mode
        self.return_indices = flag(return_indices, "MaxPool1d: return_indices")

    def forward(self, input: Tensor) -> Any:
        """Pool the sequences."""
        return F.max_pool1d(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )

    def extra_repr(self) -> str:
        """The settings."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool1d(Module):
    """The mean of each window of a sequence; see `gpunet.functional.avg_pool1d`.

    Shape:
        input: (N, C, L), or (C, L). output: (N, C, Lo) with Lo = floor((L + 2P - k) / S) + 1, or ceil.

    Raises:
        ArgumentError: when called, for non-positive sizes, or a padding of more than half the window.
        ShapeError: when called, for an input that does not fit.
    """

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.ceil_mode, self.count_include_pad = padding, ceil_mode, count_include_pad

    def forward(self, input: Tensor) -> Tensor:
        """Pool the sequences."""
        return F.avg_pool1d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)

    def extra_repr(self) -> str:
        """The settings."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AdaptiveAvgPool1d(Module):
    """The mean of each part of a sequence that is divided evenly; see `gpunet.functional.adaptive_avg_pool1d`.

    Shape:
        input: (N, C, L), or (C, L). output: (N, C, Lo), the given output_size.

    Raises:
        ArgumentError: when called, for a non-positive output size.
        ShapeError: when called, for an input that does not fit.
    """

    def __init__(self, output_size: int | Sequence[int]) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        """Pool the sequences."""
        return F.adaptive_avg_pool1d(input, self.output_size)

    def extra_repr(self) -> str:
        """The settings."""
        return f"output_size={self.output_size}"


class AdaptiveMaxPool1d(Module):
    """The largest value of each part of a sequence that is divided evenly.

    Args:
        return_indices: return as well where in its sequence each value was found.

    Shape:
        input: (N, C, L), or (C, L). output: (N, C, Lo), the given output_size.

    Raises:
        ArgumentError: when called, for a non-positive output size.
        ShapeError: when called, for an input that does not fit.
    """

    def __init__(self, output_size: int | Sequence[int], return_indices: bool = False) -> None:
        super().__init__()
        self.output_size = output_size
        self.return_indices = flag(return_indices, "AdaptiveMaxPool1d: return_indices")

    def forward(self, input: Tensor) -> Any:
        """Pool the sequences."""
        return F.adaptive_max_pool1d(input, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        """The settings."""
        return f"output_size={self.output_size}"


class LPPool2d(Module):
    """The p-norm of each window, `(sum of x^p)^(1/p)`; see `gpunet.functional.lp_pool2d`.

    Shape:
        input: (N, C, H, W), or (C, H, W). output: (N, C, Ho, Wo) with Ho = floor((H - kh) / S) + 1, or ceil.

    Raises:
        ArgumentError: when called, for non-positive sizes.
        ShapeError: when called, for an input that does not fit.
    """

    def __init__(
        self, norm_type: float, kernel_size: IntPair, stride: IntPair | None = None, ceil_mode: bool = False
    ) -> None:
        super().__init__()
        self.norm_type, self.kernel_size, self.stride, self.ceil_mode = norm_type, kernel_size, stride, ceil_mode

    def forward(self, input: Tensor) -> Tensor:
        """Pool the images."""
        return F.lp_pool2d(input, self.norm_type, self.kernel_size, self.stride, self.ceil_mode)

    def extra_repr(self) -> str:
        """The settings."""
        return f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}"


class LPPool1d(LPPool2d):
    """The p-norm of each window of a sequence; see `gpunet.functional.lp_pool1d`.

    Shape:
        input: (N, C, L), or (C, L). output: (N, C, Lo) with Lo = floor((L - k) / S) + 1, or ceil.

    Raises:
        ArgumentError: when called, for non-positive sizes.
        ShapeError: when called, for an input that does not fit.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Pool the sequences."""
        return F.lp_pool1d(input, self.norm_type, self.kernel_size, self.stride, self.ceil_mode)


class MaxUnpool2d(Module):
    """Maxima put back where MaxPool2d(return_indices=True) found them, among zeros.

    Shape:
        input and indices: (N, C, H, W), or (C, H, W). output: (N, C, Ho, Wo) with Ho = (H - 1) S - 2P + kh.

    Raises:
        ArgumentError: when called, for settings that make no sense.
        ShapeError: when called, for an input that does not fit.
    """

    def __init__(self, kernel_size: IntPair, stride: IntPair | None = None, padding: IntPair = 0) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.padding = kernel_size, kernel_size if stride is None else stride, padding

    def forward(self, input: Tensor, indices: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """Put the maxima back."""
        return F.max_unpool2d(input, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self) -> str:
        """The settings."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
