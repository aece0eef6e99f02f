"""Max, average, adaptive and global pooling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunet.arguments import flag
from gpunet.backend import xp
from gpunet.errors import ArgumentError, DTypeError, LabelError, ShapeError
from gpunet.functional.checks import (
    IntPair,
    check_float,
    check_images,
    check_tensor,
    check_window_fits,
    number,
    pair,
    single,
    takes_one_image,
    whole_number,
)
from gpunet.ops.adaptive_pooling import AdaptiveAvgPool2d, AdaptiveMaxPool2d
from gpunet.ops.pooling import AvgPool2d, MaxPool2d, MaxUnpool2d
from gpunet.ops.shaping import Nothing
from gpunet.ops.window import Pair, Window
from gpunet.tensor import Tensor, apply, own

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "avg_pool1d",
    "avg_pool2d",
    "global_avg_pool2d",
    "lp_pool1d",
    "lp_pool2d",
    "max_pool1d",
    "max_pool2d",
    "max_unpool2d",
]


@takes_one_image
def max_pool2d(
    input: Tensor,
    kernel_size: IntPair,
    stride: IntPair | None = None,
    padding: IntPair = 0,
    dilation: IntPair = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest value of each window: `O[n,c,k,l] = max over i, j of I[n, c, S*k + D*i - P, S*l + D*j - P]`.

    Padding never wins; NaN always does. The first of equal values receives the gradient.

    Args:
        stride: by default the kernel size, so that windows tile the image.
        ceil_mode: keep a last window that reaches beyond the image.
        return_indices: return as well where in its image each value was found, as row * W + column.

    Shape:
        input: (N, C, H, W), or (C, H, W). output: (N, C, Ho, Wo), or (C, Ho, Wo), with
        Ho = floor((H + 2P - D(kh-1) - 1) / S) + 1, or ceil; indices: the same.

    Raises:
        ShapeError: for a wrong rank, or a window larger than the padded input.
        ArgumentError: for non-positive sizes, or a padding of more than half the window.
    """
    check_images(input, "max_pool2d")
    window = pool_window("max_pool2d", kernel_size, stride, padding, dilation, ceil_mode)
    check_window_fits(window, input, "max_pool2d")
    size = window.output_size(*input.shape[2:])
    return _maxima(MaxPool2d(window, flag(return_indices, "max_pool2d: return_indices")), input, size)


@takes_one_image
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
        input: (N, C, H, W), or (C, H, W). output: (N, C, Ho, Wo), or (C, Ho, Wo), with
        Ho = floor((H + 2P - kh) / S) + 1, or ceil.

    Raises:
        ShapeError: for a wrong rank, or a window larger than the padded input.
        ArgumentError: for non-positive sizes, or a padding of more than half the window.
    """
    check_images(input, "avg_pool2d")
    window = pool_window("avg_pool2d", kernel_size, stride, padding, 1, ceil_mode)
    if divisor_override is not None:
        divisor_override = whole_number(divisor_override, "divisor_override", "avg_pool2d", 1)
    check_window_fits(window, input, "avg_pool2d")
    size = window.output_size(*input.shape[2:])
    return _pooled(AvgPool2d(window, count_include_pad, divisor_override), input, size)


@takes_one_image
def adaptive_avg_pool2d(input: Tensor, output_size: int | Sequence[int | None]) -> Tensor:
    """The mean of each cell of a grid laid over the image.

    Cell (i, j) covers rows `floor(i*H/Ho) .. ceil((i+1)*H/Ho) - 1` and columns likewise.

    Args:
        output_size: Ho and Wo, or one number for both; None keeps the size of the input.

    Shape:
        input: (N, C, H, W), or (C, H, W). output: (N, C, Ho, Wo), or (C, Ho, Wo).

    Raises:
        ShapeError: for a wrong rank.
        ArgumentError: for a non-positive output size.
    """
    size = _adaptive_size("adaptive_avg_pool2d", input, output_size)
    return _pooled(AdaptiveAvgPool2d(size), input, size)


@takes_one_image
def adaptive_max_pool2d(input: Tensor, output_size: int | Sequence[int | None], return_indices: bool = False) -> Any:
    """The largest value of each cell of a grid laid over the image; NaN wins.

    Cell (i, j) covers rows `floor(i*H/Ho) .. ceil((i+1)*H/Ho) - 1` and columns likewise.

    Args:
        output_size: Ho and Wo, or one number for both; None keeps the size of the input.
        return_indices: return as well where in its image each value was found, as row * W + column.

    Shape:
        input: (N, C, H, W), or (C, H, W). output: (N, C, Ho, Wo), or (C, Ho, Wo); indices: the same.

    Raises:
        ShapeError: for a wrong rank.
        ArgumentError: for a non-positive output size.
    """
    size = _adaptive_size("adaptive_max_pool2d", input, output_size)
    remember = flag(return_indices, "adaptive_max_pool2d: return_indices")
    return _maxima(AdaptiveMaxPool2d(size, remember), input, size)


def max_pool1d(
    input: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest value of each window of a sequence: `max_pool2d` of images of one row.

    Shape:
        input: (N, C, L), or (C, L). output: (N, C, Lo), or (C, Lo), with Lo = floor((L + 2P - D(k-1) - 1) / S) + 1, or
        ceil; indices: the same.

    Raises:
        ShapeError: for a wrong rank, or a window larger than the padded input.
        ArgumentError: for non-positive sizes, or a padding of more than half the window.
    """
    sizes = _row_window("max_pool1d", kernel_size, stride, padding)
    dilations = (1, single(dilation, "dilation", "max_pool1d", 1))
    return _without_rows(max_pool2d(_with_rows("max_pool1d", input), *sizes, dilations, ceil_mode, return_indices))


def avg_pool1d(
    input: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window of a sequence: `avg_pool2d` of images of one row.

    Shape:
        input: (N, C, L), or (C, L). output: (N, C, Lo), or (C, Lo), with Lo = floor((L + 2P - k) / S) + 1, or ceil.

    Raises:
        ShapeError: for a wrong rank, or a window larger than the padded input.
        ArgumentError: for non-positive sizes, or a padding of more than half the window.
    """
    sizes = _row_window("avg_pool1d", kernel_size, stride, padding)
    pooled = avg_pool2d(_with_rows("avg_pool1d", input), *sizes, ceil_mode, count_include_pad)
    return pooled.squeeze(-2)


def adaptive_avg_pool1d(input: Tensor, output_size: int | Sequence[int]) -> Tensor:
    """The mean of each part of a sequence that is divided evenly: `adaptive_avg_pool2d` of images of one row.

    Shape:
        input: (N, C, L), or (C, L). output: (N, C, Lo), or (C, Lo).

    Raises:
        ShapeError: for a wrong rank.
        ArgumentError: for a non-positive output size.
    """
    size = single(output_size, "output_size", "adaptive_avg_pool1d", 1)
    return adaptive_avg_pool2d(_with_rows("adaptive_avg_pool1d", input), (1, size)).squeeze(-2)


def adaptive_max_pool1d(input: Tensor, output_size: int | Sequence[int], return_indices: bool = False) -> Any:
    """The largest value of each part of a sequence that is divided evenly.

    Shape:
        input: (N, C, L), or (C, L). output: (N, C, Lo), or (C, Lo); indices: the same.

    Raises:
        ShapeError: for a wrong rank.
        ArgumentError: for a non-positive output size.
    """
    size = single(output_size, "output_size", "adaptive_max_pool1d", 1)
    return _without_rows(adaptive_max_pool2d(_with_rows("adaptive_max_pool1d", input), (1, size), return_indices))


def lp_pool2d(
    input: Tensor,
    norm_type: float,
    kernel_size: IntPair,
    stride: IntPair | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """The p-norm of each window, `(sum of x^p)^(1/p)`: the sum for p = 1, towards the maximum as p grows.

    Shape:
        input: (N, C, H, W), or (C, H, W). output: that of `avg_pool2d`.

    Raises:
        ShapeError: for a wrong rank, or a window larger than the input.
        ArgumentError: for non-positive sizes, or a p that is no number.
    """
    p = number(norm_type, "norm_type", "lp_pool2d")
    rows, columns = pair(kernel_size, "kernel_size", "lp_pool2d", 1)
    mean = avg_pool2d(input**p, (rows, columns), stride, 0, ceil_mode)
    return (mean * (rows * columns)) ** (1 / p)


def lp_pool1d(
    input: Tensor,
    norm_type: float,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """The p-norm of each window of a sequence: `lp_pool2d` of images of one row.

    Shape:
        input: (N, C, L), or (C, L). output: that of `avg_pool1d`.

    Raises:
        ShapeError: for a wrong rank, or a window larger than the input.
        ArgumentError: for non-positive sizes, or a p that is no number.
    """
    kernel, strides, _ = _row_window("lp_pool1d", kernel_size, stride, 0)
    return lp_pool2d(_with_rows("lp_pool1d", input), norm_type, kernel, strides, ceil_mode).squeeze(-2)


def max_unpool2d(
    input: Tensor,
    indices: Tensor,
    kernel_size: IntPair,
    stride: IntPair | None = None,
    padding: IntPair = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Maxima put back where `max_pool2d` found them, among zeros.

    Args:
        indices: what max_pool2d returned with return_indices.
        output_size: the size of the images that were pooled, where several have the same result; Ho and Wo come last.

    Shape:
        input and indices: (N, C, H, W), or (C, H, W). output: (N, C, Ho, Wo), or (C, Ho, Wo), with
        Ho = (H - 1) S - 2P + kh.

    Raises:
        ShapeError: for a wrong rank, or indices of another shape.
        ArgumentError: for an output_size that such a pool does not bring to the size of the input.
        DTypeError: if the indices are not integers.
        LabelError: for an index outside the output.

    Reference:
        Zeiler and Fergus, "Visualizing and understanding convolutional networks", 2013.
    """
    check_tensor(indices, "max_unpool2d", "indices")
    if isinstance(input, Tensor) and input.ndim == 3 and indices.ndim == 3:
        whole = input.unsqueeze(0), indices.unsqueeze(0)
        return max_unpool2d(*whole, kernel_size, stride, padding, output_size).squeeze(0)
    check_images(input, "max_unpool2d")
    if indices.shape != input.shape:
        raise ShapeError(f"max_unpool2d: indices must have shape {input.shape}, got {indices.shape}")
    if indices.dtype.kind not in "iu":
        raise DTypeError(f"max_unpool2d: indices must be integers, got {indices.dtype}")
    window = pool_window("max_unpool2d", kernel_size, stride, padding, 1, False)
    least = [
        (before - 1) * step - sum(sides) + size
        for before, step, sides, size in zip(input.shape[2:], window.stride, window.padding, window.kernel, strict=True)
    ]
    size = (
        least if output_size is None else [whole_number(one, "output_size", "max_unpool2d", 1) for one in output_size]
    )
    height, width = size = size[-2:]
    if any(abs(one - usual) >= step for one, usual, step in zip(size, least, window.stride, strict=True)):
        raise ArgumentError(
            f"max_unpool2d: output_size must differ from {least} by less than the stride {window.stride}, got {size}"
        )
    if bool(((indices.array < 0) | (indices.array >= height * width)).any()):
        raise LabelError(f"max_unpool2d: indices must lie within 0 .. {height * width - 1} for images of {size}")
    return apply(MaxUnpool2d(indices.array, (height, width)), input)


def global_avg_pool2d(input: Tensor) -> Tensor:
    """The mean of each channel over the whole image: `O[n,c] = mean over h, w of I[n,c,h,w]`.

    Shape:
        input: (N, C, H, W). output: (N, C).

    Raises:
        ShapeError: for a wrong rank.

    Reference:
        Lin, Chen and Yan, "Network In Network", 2013.
    """
    check_images(input, "global_avg_pool2d")
    return adaptive_avg_pool2d(input, 1).flatten(1)


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


def _adaptive_size(layer: str, input: Tensor, output_size: int | Sequence[int | None]) -> Pair:
    check_images(input, layer)
    sizes = tuple(output_size) if isinstance(output_size, Sequence) else (output_size, output_size)
    if len(sizes) != 2:
        raise ArgumentError(f"{layer}: output_size must be one whole number or two, got {output_size!r}")
    given = [x if s is None else s for s, x in zip(sizes, input.shape[2:], strict=True)]
    return pair(given, "output_size", layer, 1)


def _with_rows(layer: str, input: Tensor) -> Tensor:
    """Sequences (N, C, L) or (C, L) as images of one row."""
    check_float(input, layer)
    if input.ndim not in (2, 3):
        raise ShapeError(f"{layer}: input must have shape (N, C, L) or (C, L), got {input.shape}")
    return input.unsqueeze(-2)


def _without_rows(output: Any) -> Any:
    return tuple(each.squeeze(-2) for each in output) if isinstance(output, tuple) else output.squeeze(-2)


def _row_window(
    layer: str, kernel_size: int | Sequence[int], stride: int | Sequence[int] | None, padding: int | Sequence[int]
) -> tuple[Pair, Pair, Pair]:
    kernel = single(kernel_size, "kernel_size", layer, 1)
    step = kernel if stride is None else single(stride, "stride", layer, 1)
    return (1, kernel), (1, step), (0, single(padding, "padding", layer, 0))


def _pooled(pool: AvgPool2d | AdaptiveAvgPool2d | MaxPool2d | AdaptiveMaxPool2d, input: Tensor, size: Pair) -> Tensor:
    return apply(pool if len(input) else Nothing((*input.shape[:2], *size)), input)


def _maxima(pool: MaxPool2d | AdaptiveMaxPool2d, input: Tensor, size: Pair) -> Any:
    """The maxima, and where they were found if the pool is to remember it."""
    output = _pooled(pool, input, size)
    if not pool.remember:
        return output
    return output, own(pool.indices() if len(input) else xp.zeros(output.shape, dtype=xp.int64))
