"""Layers that only arrange numbers anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunet import functional as F
from gpunet.arguments import axis_of, dimension, sizes_of
from gpunet.functional.checks import IntPair, check_tensor
from gpunet.nn.module import Module
from gpunet.tensor import Tensor

__all__ = ["Flatten", "Fold", "Identity", "Unflatten", "Unfold"]


class Identity(Module):
    """`y = x`: the shortcut of a residual block, or the place of a layer that is not there. Arguments are ignored.

    Shape:
        any; the output has the same.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        """Return the input."""
        return input


class Flatten(Module):
    """Dimensions `start_dim` to `end_dim` joined into one: images to rows of features.

    Shape:
        input: (N, C, H, W). output: (N, C*H*W).
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, input: Tensor) -> Tensor:
        """Join the dimensions."""
        return F.flatten(input, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        """The settings."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """A dimension divided into several: the reverse of Flatten.

    Shape:
        (N, C*H*W) with dim=1 and sizes (C, H, W) -> (N, C, H, W); one size may be -1.

    Raises:
        ArgumentError: if the sizes are no whole numbers.
        ShapeError: when called, if they do not fit.
    """

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        self.dim, self.unflattened_size = dimension(dim, "Unflatten"), sizes_of((unflattened_size,), "Unflatten")

    def forward(self, input: Tensor) -> Tensor:
        """Divide the dimension."""
        check_tensor(input, "Unflatten")
        axis = axis_of(self.dim, input.ndim, "Unflatten")
        return input.reshape(*input.shape[:axis], *self.unflattened_size, *input.shape[axis + 1 :])

    def extra_repr(self) -> str:
        """The settings."""
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


class Unfold(Module):
    """Every window of images as a column of numbers; see `gpunet.functional.unfold`.

    Shape:
        input: (N, C, H, W), or (C, H, W). output: (N, C kh kw, Ho Wo), or (C kh kw, Ho Wo).

    Raises:
        ArgumentError: when called, for non-positive sizes.
        ShapeError: when called, for an input that does not fit.
    """

    def __init__(self, kernel_size: IntPair, dilation: IntPair = 1, padding: IntPair = 0, stride: IntPair = 1) -> None:
        super().__init__()
        self.kernel_size, self.dilation, self.padding, self.stride = kernel_size, dilation, padding, stride

    def forward(self, input: Tensor) -> Tensor:
        """Take the windows out."""
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        """The settings."""
        return f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, stride={self.stride}"


class Fold(Unfold):
    """Columns of numbers laid back as windows into images, where they add up; see `gpunet.functional.fold`.

    Shape:
        input: (N, C kh kw, L), or (C kh kw, L). output: (N, C, *output_size), or (C, *output_size).

    Raises:
        ArgumentError: when called, for non-positive sizes.
        ShapeError: when called, for an input that does not fit.
    """

    def __init__(
        self,
        output_size: IntPair,
        kernel_size: IntPair,
        dilation: IntPair = 1,
        padding: IntPair = 0,
        stride: IntPair = 1,
    ) -> None:
        super().__init__(kernel_size, dilation, padding, stride)
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        """Lay the windows back."""
        return F.fold(input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)
