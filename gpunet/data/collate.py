"""From items to a batch: the same part of each stacked into one array, in tuples and dictionaries as they were."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gpunet.backend import from_outside, is_array, to_cpu
from gpunet.data.checks import HostArray, checked_numbers
from gpunet.data.images import is_picture
from gpunet.errors import DataError, DTypeError, ShapeError
from gpunet.tensor import Tensor

__all__ = ["array_of", "default_collate", "each_array", "stacked"]


def default_collate(items: Sequence[Any]) -> Any:
    """Items to a batch, as PyTorch's function of this name does it, on the host.

    Arrays, Tensors (PyTorch's, too) and numbers are stacked; tuples, lists and dictionaries are gone into; of texts and
    bytes a list is made.

    Raises:
        DataError: if there are no items, or one consists of other parts than another.
        ShapeError: if the same part has different shapes in two items.
        DTypeError: if an item holds anything else, such as a picture of Pillow.
    """
    if not len(items):
        raise DataError("default_collate got no items")
    first = items[0]
    if isinstance(first, str | bytes):
        return list(items)
    if isinstance(first, Mapping):
        if any(not isinstance(item, Mapping) or item.keys() != first.keys() for item in items):
            raise DataError(f"items of one batch need the same names, the first has {', '.join(map(str, first))}")
        return {name: default_collate([item[name] for item in items]) for name in first}
    if isinstance(first, tuple | list):
        if any(not isinstance(item, tuple | list) or len(item) != len(first) for item in items):
            raise DataError(f"items of one batch need the same number of parts, the first has {len(first)}")
        parts = [default_collate(part) for part in zip(*items, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else tuple(parts)
    return stacked(items, "the same part of them")


def stacked(values: Sequence[Any], which: str) -> HostArray:
    """Arrays or numbers in one array, with a leading axis.

    Raises:
        ShapeError: if they have different shapes; `which` says which part of the items they are.
        DTypeError: if they are no arrays of numbers.
    """
    arrays = [array_of(value) for value in values]
    if len({array.shape for array in arrays}) > 1:
        shapes = ", ".join(sorted({str(array.shape) for array in arrays}))
        raise ShapeError(f"items of one batch need equal shapes, but {which} has shapes {shapes}")
    return checked_numbers(np.stack(arrays), f"{which} of the items")


def array_of(value: Any) -> HostArray:
    """A part of an item as an array on the host.

    Raises:
        DTypeError: if it is none, such as a picture of Pillow.
    """
    if isinstance(value, float):
        return np.asarray(value, dtype=np.float32)  # as gpunet.tensor does: a Python number makes no float64
    if isinstance(value, Tensor):
        return to_cpu(value.array)
    if is_picture(value):
        raise DTypeError(
            "an item of a dataset is expected to hold arrays (C, H, W), got a picture of Pillow; "
            "np.asarray(picture.convert('RGB')).transpose(2, 0, 1) makes one of it"
        )
    return to_cpu(from_outside(value, "an item of a dataset"))


def each_array(batch: Any, change: Callable[[Any], Any]) -> Any:
    """A batch with `change` applied to every array in it, also those of other libraries; all else as it is."""
    if isinstance(batch, Mapping):
        return {name: each_array(part, change) for name, part in batch.items()}
    if isinstance(batch, tuple | list):
        parts: Iterator[Any] = (each_array(part, change) for part in batch)
        return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)
    return change(batch) if is_array(batch) or (hasattr(batch, "dtype") and hasattr(batch, "shape")) else batch
