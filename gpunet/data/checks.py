"""What the modules of this package share: the type of host arrays and the checks of arguments."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from gpunet.backend import is_real
from gpunet.errors import ArgumentError, DTypeError, ShapeError

__all__ = ["HostArray", "check_images", "checked_count", "checked_numbers"]

HostArray: TypeAlias = np.ndarray[Any, Any]
"""An array in the memory of the host, whatever the active backend."""


def checked_count(value: Any, smallest: int, what: str) -> int:
    """Return the value as an int, having made sure that it is a whole number and not too small."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < smallest:
        raise ArgumentError(f"{what} is expected to be a whole number of {smallest} or more, got {value!r}")
    return int(value)


def checked_numbers(array: HostArray, what: str) -> HostArray:
    """Return the array, having made sure that it holds numbers and has a dimension to go along."""
    if not is_real(array.dtype):
        raise DTypeError(f"{what} is expected to hold real numbers (of at most 64 bits) or booleans, got {array.dtype}")
    if array.ndim == 0:
        raise ShapeError(f"{what} is expected to have at least one dimension, got a single number")
    return array


def check_images(images: HostArray, what: str) -> None:
    """Make sure that a transform got a batch of images."""
    if not isinstance(images, np.ndarray):
        raise DTypeError(f"{what} expects a NumPy array of images, got {type(images).__name__}")
    if images.ndim != 4:
        raise ShapeError(
            f"{what} expects a batch of images (N, C, H, W), got shape {images.shape}; one image is a batch of one: "
            f"images[None]"
        )
