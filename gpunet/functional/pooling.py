"""Max, average, adaptive and global pooling."""

from __future__ import annotations

from collections.abc import Sequence

from gpunet.errors import ArgumentError
from gpunet.functional.checks import IntPair, check_images, check_window_fits, pair, whole_number
from gpunet.ops.adaptive_pooling import AdaptiveAvgPool2d, AdaptiveMaxPool2d
from gpunet.ops.operation import Operation
from gpunet.ops.pooling import AvgPool2d, MaxPool2d
from gpunet.ops.window import Pair, Window
from gpunet.tensor import Tensor, apply

__all__ = [
    "adaptive_avg_pool2d",
    "adaptive_max_pool2d",
    "avg_pool2d",
    "global_avg_pool2d",
    "max_pool2d",
]


def max_pool2d(
    input: Tensor,
    kernel_size: IntPair,
    stride: IntPair | None = None,
    padding: IntPair = 0,
    dilation: IntPair = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """The largest value of each window: `O[n,c,k,l] = max over i, j of I[n, c, S*k + D*i - P, S*l + D*j - P]`.

    Padding never wins; NaN always does. The first of equal values receives the gradient.

    Args:
        stride: by default the kernel size, so that windows tile the image.
        ceil_mode: keep a last window that reaches beyond the image.

    Shape:
        input: (N, C, H, W). output: (N, C, Ho, Wo) with Ho = floor((H + 2P - D(kh-1) - 1) / S) + 1, or ceil.

    Raises:
        ShapeError: for a wrong rank, an empty batch, or a window larger than the padded input.
        ArgumentError: for non-positive sizes, or a padding of more than half the window.
    """
    check_images(input, "max_pool2d")
    window = pool_window("max_pool2d", kernel_size, stride, padding, dilation, ceil_mode)
    check_window_fits(window, input, "max_pool2d")
    return apply(MaxPool2d(window), input)


def avg_pool2d(
    input: Tensor,
    kernel_size: IntPair,
    stride: IntPair | None = None,
    padding: IntPair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window: `O[n,c,k,l] = (sum over i, j of I'[n, c, S*k + i - P, S*l + j - P]) / divisor`.

    Args:
        stride: by default the kernel size, so that windows tile the image.
        ceil_mode: keep a last window that reaches beyond the image.
        count_include_pad: whether the zeros of the padding count in the divisor.
        divisor_override: divide by this number instead.

    Shape:
        input: (N, C, H, W). output: (N, C, Ho, Wo) with Ho = floor((H + 2P - kh) / S) + 1, or ceil.

    Raises:
        ShapeError: for a wrong rank, an empty batch, or a window larger than the padded input.
        ArgumentError: for non-positive sizes, or a padding of more than half the window.
    """
    check_images(input, "avg_pool2d")
    window = pool_window("avg_pool2d", kernel_size, stride, padding, 1, ceil_mode)
    if divisor_override is not None:
        divisor_override = whole_number(divisor_override, "divisor_override", "avg_pool2d", 1)
    check_window_fits(window, input, "avg_pool2d")
    return apply(AvgPool2d(window, count_include_pad, divisor_override), input)


def adaptive_avg_pool2d(input: Tensor, output_size: int | Sequence[int | None]) -> Tensor:
    """The mean of each cell of a grid laid over the image.

    Cell (i, j) covers rows `floor(i*H/Ho) .. ceil((i+1)*H/Ho) - 1` and columns likewise.

    Args:
        output_size: Ho and Wo, or one number for both; None keeps the size of the input.

    Shape:
        input: (N, C, H, W). output: (N, C, Ho, Wo).

    Raises:
        ShapeError: for a wrong rank or an empty batch.
        ArgumentError: for a non-positive output size.
    """
    return _adaptive(AdaptiveAvgPool2d, "adaptive_avg_pool2d", input, output_size)


def adaptive_max_pool2d(input: Tensor, output_size: int | Sequence[int | None]) -> Tensor:
    """The largest value of each cell of a grid laid over the image; NaN wins.

    Cell (i, j) covers rows `floor(i*H/Ho) .. ceil((i+1)*H/Ho) - 1` and columns likewise.

    Args:
        output_size: Ho and Wo, or one number for both; None keeps the size of the input.

    Shape:
        input: (N, C, H, W). output: (N, C, Ho, Wo).

    Raises:
        ShapeError: for a wrong rank or an empty batch.
        ArgumentError: for a non-positive output size.
    """
    return _adaptive(AdaptiveMaxPool2d, "adaptive_max_pool2d", input, output_size)


def global_avg_pool2d(input: Tensor) -> Tensor:
    """The mean of each channel over the whole image: `O[n,c] = mean over h, w of I[n,c,h,w]`.

    Shape:
        input: (N, C, H, W). output: (N, C).

    Raises:
        ShapeError: for a wrong rank or an empty batch.

    Reference:
        Lin, Chen and Yan, "Network In Network", 2013.
    """
    return _adaptive(AdaptiveAvgPool2d, "global_avg_pool2d", input, 1).flatten(1)


def pool_window(
    layer: str,
    kernel_size: IntPair,
    stride: IntPair | None,
    padding: IntPair,
    dilation: IntPair,
    ceil_mode: bool,
) -> Window:
    """The window of a pooling layer, checked."""
    kernel = pair(kernel_size, "kernel_size", layer, 1)
    strides = kernel if stride is None else pair(stride, "stride", layer, 1)
    rows, columns = pair(padding, "padding", layer, 0)
    window = Window(
        kernel, strides, ((rows, rows), (columns, columns)), pair(dilation, "dilation", layer, 1), ceil_mode
    )
    if rows * 2 > window.extent[0] or columns * 2 > window.extent[1]:
        raise ArgumentError(
            f"{layer}: padding must be at most half the window, got padding {(rows, columns)} "
            f"for a window of {window.extent}; some windows would see nothing but padding"
        )
    return window


def _adaptive(
    operation: type[AdaptiveAvgPool2d | AdaptiveMaxPool2d],
    layer: str,
    input: Tensor,
    output_size: int | Sequence[int | None],
) -> Tensor:
    check_images(input, layer)
    sizes = tuple(output_size) if isinstance(output_size, Sequence) else (output_size, output_size)
    if len(sizes) != 2:
        raise ArgumentError(f"{layer}: output_size must be one whole number or two, got {output_size!r}")
    given: Pair = pair(
        [x if s is None else s for s, x in zip(sizes, input.shape[2:], strict=True)], "output_size", layer, 1
    )
    pool: Operation = operation(given)
    return apply(pool, input)
