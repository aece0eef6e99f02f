"""Images as the windows of a convolution, and windows laid back into images."""

from __future__ import annotations

from gpunet.errors import ShapeError
from gpunet.functional.checks import IntPair, check_float, check_images, check_window_fits, pair, takes_one_image
from gpunet.ops.fold import Fold, Unfold
from gpunet.ops.shaping import Nothing
from gpunet.ops.window import Window
from gpunet.tensor import Tensor, apply

__all__ = ["fold", "unfold"]


@takes_one_image
def unfold(
    input: Tensor, kernel_size: IntPair, dilation: IntPair = 1, padding: IntPair = 0, stride: IntPair = 1
) -> Tensor:
    """Every window of images as a column of numbers, channel by channel: the im2col of a convolution.

    Shape:
        input: (N, C, H, W), or (C, H, W). output: (N, C kh kw, Ho Wo), or (C kh kw, Ho Wo), with the Ho and Wo of
        `conv2d`.

    Raises:
        ShapeError: for a wrong rank, or a window larger than the padded input.
        ArgumentError: for non-positive sizes.
    """
    check_images(input, "unfold")
    window = _fold_window("unfold", kernel_size, dilation, padding, stride)
    check_window_fits(window, input, "unfold")
    rows, columns = window.output_size(*input.shape[2:])
    shape = (0, input.shape[1] * window.kernel[0] * window.kernel[1], rows * columns)
    return apply(Unfold(window) if len(input) else Nothing(shape), input)


def fold(
    input: Tensor,
    output_size: IntPair,
    kernel_size: IntPair,
    dilation: IntPair = 1,
    padding: IntPair = 0,
    stride: IntPair = 1,
) -> Tensor:
    """Columns of numbers laid back as windows into images, where they add up: the transpose of `unfold`.

    Shape:
        input: (N, C kh kw, L), or (C kh kw, L), with as many columns as windows have places in the output.
        output: (N, C, *output_size), or (C, *output_size).

    Raises:
        ShapeError: for a wrong rank, or numbers that do not fit.
        ArgumentError: for non-positive sizes.
    """
    check_float(input, "fold")
    if input.ndim == 2:
        return fold(input.unsqueeze(0), output_size, kernel_size, dilation, padding, stride).squeeze(0)
    height, width = pair(output_size, "output_size", "fold", 1)
    window = _fold_window("fold", kernel_size, dilation, padding, stride)
    rows, columns = window.output_size(height, width)
    elements = window.kernel[0] * window.kernel[1]
    if input.ndim != 3 or input.shape[1] % elements or input.shape[2] != rows * columns or min(rows, columns) < 1:
        raise ShapeError(
            f"fold: input must have shape (N, C*{elements}, {rows}*{columns}) for output_size {(height, width)}, "
            f"got {input.shape}"
        )
    empty = Nothing((0, input.shape[1] // elements, height, width))
    return apply(Fold(window, (height, width)) if len(input) else empty, input)


def _fold_window(layer: str, kernel_size: IntPair, dilation: IntPair, padding: IntPair, stride: IntPair) -> Window:
    rows, columns = pair(padding, "padding", layer, 0)
    kernel, strides = pair(kernel_size, "kernel_size", layer, 1), pair(stride, "stride", layer, 1)
    return Window(kernel, strides, ((rows, rows), (columns, columns)), pair(dilation, "dilation", layer, 1))
