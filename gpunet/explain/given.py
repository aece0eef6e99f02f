"""What was given for an exercise, checked; and what the lecture has where nothing was given."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from gpunet.data.digits import Digits
from gpunet.errors import ArgumentError, LabelError, ShapeError
from gpunet.functional.checks import IntPair, check_window_fits, pair, whole_number
from gpunet.functional.pooling import pool_window
from gpunet.ops.window import Pair, Window
from gpunet.tensor import Tensor

__all__ = [
    "LARGEST",
    "LECTURE_FILTER",
    "LECTURE_IMAGE",
    "LOGITS",
    "MOST_CHANNELS",
    "MOST_NUMBERS",
    "MOST_PADDED",
    "MOST_PIXELS",
    "Given",
    "Values",
    "digits",
]

Values: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"

LECTURE_IMAGE = ((1, 2, 1, 0), (2, 3, 1, 1), (3, 0, 0, 2), (1, 1, 2, 3))
"""The image of all the worked examples."""
LECTURE_FILTER = ((1, 0), (2, 1))
"""The filter of the convolution."""

LOGITS = (1.0, 0.0, 3.0, 2.0)
"""What a network returns for four classes."""

MOST_PIXELS = 12
"""Along a side of the image or the output: what can be shown."""
MOST_PADDED = 16
"""Along a side of the padded image."""
MOST_CHANNELS = 4
"""Of the image, and filters."""
MOST_NUMBERS = 12
"""Where there is no image."""
LARGEST = 1000.0
"""Numbers are smaller than this, so that a column can hold them."""

TOLERANCE = 1e-6  # of the sum of a distribution


@functools.cache
def digits() -> Values:
    """A handwritten digit of each class, (10, 8, 8): the first of each among the test images of the package."""
    data = Digits(train=False)
    return np.stack([data.images[list(data.labels).index(digit)][0] for digit in range(10)]).astype(np.float64)


class Given:
    """The settings that were given for an operation, read one by one under the names of `gpunet.functional`.

    Attributes:
        where: how messages begin.

    Raises:
        ArgumentError: by a method, for what is too much or too large to be shown, or makes no sense.
        ShapeError: for arrays of a wrong shape.
        LabelError: for a class that does not exist, or probabilities that are none.
    """

    def __init__(self, operation: str, settings: Mapping[str, Any]) -> None:
        self.where = f"explain {operation}"
        self._settings = {name: value for name, value in settings.items() if value is not None}

    def __contains__(self, name: str) -> bool:
        return name in self._settings

    def get(self, name: str, usual: Any = None) -> Any:
        """A setting as it was given."""
        return self._settings.get(name, usual)

    def pair(self, name: str, usual: IntPair, minimum: int) -> Pair:
        """Two whole numbers, for rows and for columns."""
        return pair(self.get(name, usual), name, self.where, minimum)

    def whole_number(self, name: str, usual: int, minimum: int) -> int:
        """A whole number."""
        return whole_number(self.get(name, usual), name, self.where, minimum)

    def numbers(self, name: str, usual: Any = None) -> Values:
        """An array of finite numbers that can be shown."""
        return self._as_numbers(name, self.get(name, usual))

    def _as_numbers(self, name: str, value: Any) -> Values:
        try:
            array = np.array(value, dtype=np.float64)
        except (TypeError, ValueError):
            raise ShapeError(
                f"{self.where}: {name} must be numbers, in rows of the same length, got {value!r}"
            ) from None
        if array.size == 0:
            raise ShapeError(f"{self.where}: {name} holds no numbers")
        if not (np.abs(array) < LARGEST).all():  # NaN, too
            raise ArgumentError(f"{self.where}: {name} must hold numbers between -{LARGEST:g} and {LARGEST:g}")
        return array

    # Images and filters

    def image(self, usual: Sequence[Sequence[float]] = LECTURE_IMAGE) -> Values:
        """The image (C, H, W): the one that was given, or one of the size that was given, or the usual one."""
        value = self.get("input", [*map(list, usual)])
        if isinstance(value, str):
            return self._digit(value)[None]
        if isinstance(value, tuple) and all(isinstance(size, int) for size in value):
            return self._drawn_image(value)
        image = self._as_numbers("input", value)
        if image.ndim > 3:
            raise ShapeError(f"{self.where}: input must be an image (H, W) or (C, H, W), got shape {image.shape}")
        image = _with_leading_ones(image, 3)
        self._check_size(*image.shape)
        return image

    def _digit(self, name: str) -> Values:
        """The first handwritten digit of a class among those of the package, 8x8 pixels from 0 to 16."""
        if not re.fullmatch("digit [0-9]", name):
            raise ArgumentError(f'{self.where}: input must be numbers, a size, or "digit 0" to "digit 9", got {name!r}')
        return digits()[int(name[-1])]

    def _drawn_image(self, size: tuple[int, ...]) -> Values:
        """Whole numbers from 0 to 3, the same in every run; of 4x4 pixels the lecture's."""
        if len(size) not in (2, 3):
            raise ShapeError(f"{self.where}: the size of an image is (H, W) or (C, H, W), got {size}")
        channels, height, width = (1, *size)[-3:]
        self._check_size(channels, height, width)
        if (channels, height, width) == (1, 4, 4):
            return np.array([LECTURE_IMAGE], dtype=np.float64)
        return np.random.default_rng(0).integers(0, 4, (channels, height, width)).astype(np.float64)

    def _check_size(self, channels: int, height: int, width: int) -> None:
        if not (1 <= channels <= MOST_CHANNELS and 1 <= height <= MOST_PIXELS and 1 <= width <= MOST_PIXELS):
            raise ArgumentError(
                f"{self.where}: images from 1x1 to {MOST_PIXELS}x{MOST_PIXELS} pixels with up to {MOST_CHANNELS} "
                f"channels can be shown, got {channels} channel(s) of {height}x{width}"
            )

    def filters(self, channels: int) -> Values | None:
        """The filters (O, C, kh, kw), if they themselves were given."""
        if "weight" not in self:
            return None
        if "kernel_size" in self or "out_channels" in self:
            raise ArgumentError(
                f"{self.where}: give the filter itself, or kernel_size and out_channels for one to be drawn"
            )
        weight = self.numbers("weight")
        if weight.ndim > 4:
            raise ShapeError(
                f"{self.where}: weight must be (kh, kw), (C, kh, kw) or (O, C, kh, kw), got {weight.shape}"
            )
        weight = _with_leading_ones(weight, 4)
        if weight.shape[1] != channels:
            raise ShapeError(
                f"{self.where}: a filter must have as many channels as the image, {channels}, got {weight.shape[1]}"
            )
        self._check_filters(len(weight))
        return weight

    def drawn_filters(self, channels: int, kernel: Pair) -> Values:
        """Filters of whole numbers from -1 to 2, the same in every run; a single one of 2x2 is the lecture's."""
        outputs = self.whole_number("out_channels", 1, minimum=1)
        self._check_filters(outputs)
        shape = (outputs, channels, *kernel)
        if shape == (1, 1, 2, 2):
            return np.array([[LECTURE_FILTER]], dtype=np.float64)
        return np.random.default_rng(1).integers(-1, 3, shape).astype(np.float64)

    def _check_filters(self, number: int) -> None:
        if number > MOST_CHANNELS:
            raise ArgumentError(f"{self.where}: at most {MOST_CHANNELS} filters can be shown, got {number}")

    # Windows

    def check_window(self, window: Window, image: Values) -> None:
        """Make sure that a window fits the padded image, which can be shown."""
        check_window_fits(window, Tensor(image[None]), self.where)
        height, width = window.padded_size(*image.shape[1:])
        if max(height, width) > MOST_PADDED:
            raise ArgumentError(
                f"{self.where}: the padded image is {height}x{width}, but at most {MOST_PADDED}x{MOST_PADDED} can be "
                f"shown"
            )

    def pool(self, operation: str, image: Values) -> Window:
        """The window of a pooling. With gaps between its pixels, all those of one may lie in the padding."""
        sizes = (self.get("kernel_size", 2), self.get("stride"), self.get("padding", 0), self.get("dilation", 1))
        window = pool_window(operation, *sizes, ceil_mode=False)
        self.check_window(window, image)
        for axis, (size, count) in enumerate(zip(image.shape[1:], window.output_size(*image.shape[1:]), strict=True)):
            if not all(any(0 <= at < size for at in window.covered(axis, k)) for k in range(count)):
                raise ArgumentError(f"{self.where}: a window sees nothing but padding; take less padding or dilation")
        return window

    def per_channel(self, name: str, usual: float, channels: int) -> Values:
        """A number for each channel."""
        numbers = self.numbers(name, [usual] * channels)
        if numbers.shape != (channels,):
            raise ShapeError(
                f"{self.where}: {name} must be one number for each channel, {channels}, got {numbers.tolist()}"
            )
        return numbers

    def gradient(self, shape: tuple[int, ...]) -> Values:
        """The gradient by the output, in the shape of the output."""
        gradient = self.numbers("gradient")
        if gradient.ndim < len(shape):
            gradient = _with_leading_ones(gradient, len(shape))
        if gradient.shape != shape:
            raise ShapeError(f"{self.where}: gradient must have the shape of the output, {shape}, got {gradient.shape}")
        return gradient

    # A few numbers

    def row(self, name: str, usual: Sequence[float], fewest: int = 1) -> Values:
        """Numbers in one row, (K,)."""
        numbers = self.numbers(name, usual)
        if numbers.ndim != 1 or not fewest <= len(numbers) <= MOST_NUMBERS:
            raise ShapeError(
                f"{self.where}: {name} must be {fewest} to {MOST_NUMBERS} numbers in one row, got shape {numbers.shape}"
            )
        return numbers

    def target(self, numbers: Values, usual: Sequence[float]) -> Values:
        """The target, a number for each of the input's."""
        count = len(numbers)
        # Left out, it is the usual one; where there are more or fewer numbers than usual, the first is right.
        target = self.row("target", usual if len(usual) == count else [1.0] + [0.0] * (count - 1))
        if len(target) != count:
            raise ShapeError(f"{self.where}: target must have as many numbers as input, {count}, got {len(target)}")
        return target

    def distribution(self, name: str, numbers: Values) -> Values:
        """The numbers, if they are a distribution."""
        if (numbers < 0).any() or abs(numbers.sum() - 1) > TOLERANCE:
            raise LabelError(
                f"{self.where}: {name} must be a distribution, numbers of 0 or more that add up to 1, "
                f"got {numbers.tolist()}"
            )
        return numbers

    def label(self, classes: int, usual: int) -> int:
        """The target as the number of a class."""
        target = np.ravel(self.get("target", usual)).tolist()
        if len(target) != 1 or isinstance(target[0], bool) or target[0] not in range(classes):
            raise LabelError(
                f"{self.where}: target must be a class, 0 .. {classes - 1} for {classes} logits, or a distribution, "
                f"got {target[0] if len(target) == 1 else target}"
            )
        return int(target[0])


def _with_leading_ones(array: Values, dimensions: int) -> Values:
    """A row as an image of one row, an image as one of one channel."""
    return array.reshape((1,) * (dimensions - array.ndim) + array.shape)
