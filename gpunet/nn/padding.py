"""Layers that put something around images or sequences; see `gpunet.functional.pad`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from gpunet import functional as F
from gpunet.errors import ArgumentError, ShapeError
from gpunet.functional.checks import check_tensor, number, whole_number
from gpunet.nn.module import Module
from gpunet.tensor import Tensor

__all__ = [
    "CircularPad1d",
    "CircularPad2d",
    "ConstantPad1d",
    "ConstantPad2d",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ZeroPad1d",
    "ZeroPad2d",
]


class _Pad(Module):
    """The last `_dims` dimensions padded, each by two numbers, or all by the same one."""

    _dims: ClassVar[int]
    _mode: ClassVar[str] = "constant"

    def __init__(self, padding: int | Sequence[int], value: float | None = None) -> None:
        super().__init__()
        name = type(self).__name__
        widths = tuple(padding) if isinstance(padding, Sequence) else (padding,) * (2 * self._dims)
        self.padding = tuple(whole_number(width, "padding", name) for width in widths)
        if len(self.padding) != 2 * self._dims:
            raise ArgumentError(f"{name}: padding must be one whole number or {2 * self._dims}, got {padding!r}")
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        """Pad."""
        name = type(self).__name__
        check_tensor(input, name)
        if self._mode != "constant" and input.ndim not in (self._dims + 1, self._dims + 2):
            raise ShapeError(f"{name}: input must have {self._dims + 1} or {self._dims + 2} dimensions: {input.shape}")
        return F.pad(input, self.padding, self._mode, self.value)

    def extra_repr(self) -> str:
        """The settings."""
        return f"{self.padding}" + ("" if self.value is None else f", value={self.value}")


class _ConstantPad(_Pad):
    def __init__(self, padding: int | Sequence[int], value: float) -> None:
        super().__init__(padding, number(value, "value", type(self).__name__))


class _ZeroPad(_Pad):
    def __init__(self, padding: int | Sequence[int]) -> None:
        super().__init__(padding)


class ConstantPad1d(_ConstantPad):
    """Puts a value around sequences.

    Args:
        padding: (left, right), or one number for all; what is negative takes away.

    Shape:
        (N, C, L), or (C, L); L grows by the two numbers.

    Raises:
        ArgumentError: if the numbers are not whole, or too many or too few.
        ShapeError: when called, for an input that does not fit.
    """

    _dims = 1


class ConstantPad2d(_ConstantPad):
    """Puts a value around images.

    Args:
        padding: (left, right, top, bottom), or one number for all; what is negative takes away.

    Shape:
        (N, C, H, W), or (C, H, W); W grows by the first two numbers, H by the others.

    Raises:
        ArgumentError: if the numbers are not whole, or too many or too few.
        ShapeError: when called, for an input that does not fit.
    """

    _dims = 2


class ZeroPad1d(_ZeroPad):
    """Puts zeros around sequences.

    Args:
        padding: (left, right), or one number for all; what is negative takes away.

    Shape:
        (N, C, L), or (C, L); L grows by the two numbers.

    Raises:
        ArgumentError: if the numbers are not whole, or too many or too few.
        ShapeError: when called, for an input that does not fit.
    """

    _dims = 1


class ZeroPad2d(_ZeroPad):
    """Puts zeros around images.

    Args:
        padding: (left, right, top, bottom), or one number for all; what is negative takes away.

    Shape:
        (N, C, H, W), or (C, H, W); W grows by the first two numbers, H by the others.

    Raises:
        ArgumentError: if the numbers are not whole, or too many or too few.
        ShapeError: when called, for an input that does not fit.
    """

    _dims = 2


class ReflectionPad1d(_ZeroPad):
    """Puts what is there, mirrored without repeating the border around sequences.

    Args:
        padding: (left, right), or one number for all; what is negative takes away.

    Shape:
        (N, C, L), or (C, L); L grows by the two numbers.

    Raises:
        ArgumentError: if the numbers are not whole, or too many or too few.
        ShapeError: when called, for an input that does not fit.
    """

    _dims = 1
    _mode = "reflect"


class ReflectionPad2d(_ZeroPad):
    """Puts what is there, mirrored without repeating the border around images.

    Args:
        padding: (left, right, top, bottom), or one number for all; what is negative takes away.

    Shape:
        (N, C, H, W), or (C, H, W); W grows by the first two numbers, H by the others.

    Raises:
        ArgumentError: if the numbers are not whole, or too many or too few.
        ShapeError: when called, for an input that does not fit.
    """

    _dims = 2
    _mode = "reflect"


class ReplicationPad1d(_ZeroPad):
    """Puts the border, again and again around sequences.

    Args:
        padding: (left, right), or one number for all; what is negative takes away.

    Shape:
        (N, C, L), or (C, L); L grows by the two numbers.

    Raises:
        ArgumentError: if the numbers are not whole, or too many or too few.
        ShapeError: when called, for an input that does not fit.
    """

    _dims = 1
    _mode = "replicate"


class ReplicationPad2d(_ZeroPad):
    """Puts the border, again and again around images.

    Args:
        padding: (left, right, top, bottom), or one number for all; what is negative takes away.

    Shape:
        (N, C, H, W), or (C, H, W); W grows by the first two numbers, H by the others.

    Raises:
        ArgumentError: if the numbers are not whole, or too many or too few.
        ShapeError: when called, for an input that does not fit.
    """

    _dims = 2
    _mode = "replicate"


class CircularPad1d(_ZeroPad):
    """Puts what is on the other side around sequences.

    Args:
        padding: (left, right), or one number for all; what is negative takes away.

    Shape:
        (N, C, L), or (C, L); L grows by the two numbers.

    Raises:
        ArgumentError: if the numbers are not whole, or too many or too few.
        ShapeError: when called, for an input that does not fit.
    """

    _dims = 1
    _mode = "circular"


class CircularPad2d(_ZeroPad):
    """Puts what is on the other side around images.

    Args:
        padding: (left, right, top, bottom), or one number for all; what is negative takes away.

    Shape:
        (N, C, H, W), or (C, H, W); W grows by the first two numbers, H by the others.

    Raises:
        ArgumentError: if the numbers are not whole, or too many or too few.
        ShapeError: when called, for an input that does not fit.
    """

    _dims = 2
    _mode = "circular"
