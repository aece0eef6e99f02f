"""Datasets: numbered items on the host, one at a time or a whole batch at once.

An item is a tuple, mostly of an image (C, H, W) and its label. Everything here is NumPy: the loader brings the batches
to the active backend.
"""

from __future__ import annotations

import math
import numbers
import operator
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from gpunet.backend import from_outside, host_generator, to_cpu
from gpunet.data.checks import HostArray, checked_count, checked_numbers
from gpunet.data.collate import stacked
from gpunet.data.outside import outside_code
from gpunet.data.transforms import Transform, as_transform
from gpunet.errors import ArgumentError, DataError, DTypeError, LabelError, ShapeError
from gpunet.generator import Generator, rng_of
from gpunet.tensor import Tensor

__all__ = [
    "ConcatDataset",
    "Dataset",
    "ImageDataset",
    "Item",
    "IterableDataset",
    "Subset",
    "TensorDataset",
    "item_of",
    "random_split",
]

Item: TypeAlias = tuple[Any, ...]
"""One element of a dataset: arrays and plain numbers, such as (image, label)."""


class Dataset(ABC):
    """A collection of items with numbers from 0 to len - 1.

    A dataset of your own needs `__len__` and `__getitem__`. Override `batch`, too, where several items can be had
    faster together, or where items change at random: only `batch` is given the generator that makes a run repeatable.
    """

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of items."""

    @abstractmethod
    def __getitem__(self, index: int) -> Item:
        """Return one item: a tuple of NumPy arrays and numbers, mostly (image, label)."""

    def __iter__(self) -> Iterator[Item]:
        return (self[index] for index in range(len(self)))

    def batch(self, indices: HostArray, rng: np.random.Generator) -> tuple[HostArray, ...]:
        """Return several items at once, each part of them stacked into one array.

        Args:
            indices: which items, in which order.
            rng: the only source of random numbers that the batch may use.

        Shape:
            indices: (N,); result: (N, C, H, W) and (N,) for items of an image (C, H, W) and a label.

        Raises:
            DataError: if an item is not a tuple, or two items have different numbers of parts.
            ShapeError: if the same part has different shapes in two items.
        """
        return _stack([self[int(index)] for index in indices])


class IterableDataset(ABC):
    """Items that come one after the other, without numbers: a class of your own needs `__iter__`, which begins anew."""

    @abstractmethod
    def __iter__(self) -> Iterator[Any]:
        """Return the items."""


class ConcatDataset(Dataset):
    """Several datasets, one behind the other.

    Raises:
        ArgumentError: if there are none.
    """

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise ArgumentError("ConcatDataset expects at least one dataset")
        self.ends = np.cumsum([len(each) for each in self.datasets])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, index: int) -> Any:
        dataset, place = self._place(_position(index, len(self)))
        return dataset[place]

    def batch(self, indices: HostArray, rng: np.random.Generator) -> tuple[HostArray, ...]:
        """Return several items at once."""
        places = (self._place(int(index)) for index in _checked_indices(indices, len(self)))
        return _stack([item_of(dataset, place, rng) for dataset, place in places])

    def _place(self, position: int) -> tuple[Any, int]:
        which = int(np.searchsorted(self.ends, position, side="right"))
        return self.datasets[which], position - (int(self.ends[which - 1]) if which else 0)


def item_of(dataset: Any, index: int, rng: np.random.Generator) -> Any:
    """One item; of a dataset of ours, which may change it at random, by the generator of the batch that it is for."""
    if isinstance(dataset, Dataset):
        return tuple(part[0] for part in dataset.batch(np.array([index]), rng))
    with outside_code(rng):
        return dataset[index]


class TensorDataset(Dataset):
    """Arrays side by side: item i holds the i-th element of each. Types of numbers are kept.

    Args:
        arrays: arrays or Tensors of equal length; those on a GPU are copied to the host once.

    Raises:
        ArgumentError: if no array is given.
        DTypeError: if one is neither an array nor a Tensor, or does not hold numbers.
        DataError: if the lengths differ.
    """

    def __init__(self, *arrays: Any) -> None:
        if not arrays:
            raise ArgumentError("TensorDataset expects at least one array")
        self.arrays = tuple(_host_array(array, f"TensorDataset: array {i}") for i, array in enumerate(arrays))
        if len({len(array) for array in self.arrays}) > 1:
            shapes = ", ".join(str(array.shape) for array in self.arrays)
            raise DataError(f"TensorDataset expects arrays of equal length, got shapes {shapes}")

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, index: int) -> Item:
        position = _position(index, len(self))
        return tuple(array[position] if array.ndim > 1 else array[position].item() for array in self.arrays)

    def batch(self, indices: HostArray, rng: np.random.Generator) -> tuple[HostArray, ...]:
        """Return several items at once; draws nothing."""
        indices = _checked_indices(indices, len(self))
        return tuple(array[indices] for array in self.arrays)


class ImageDataset(Dataset):
    """Labelled images in memory, and what is done to them on their way out.

    Args:
        images: an array of images, usually uint8.
        labels: the class of each. Numbers may be skipped: that is a class without images.
        transform: applied to every batch; a single item, `dataset[i]`, is a batch of one whose random numbers come from
            the stream of `gpunet.manual_seed`. One of albumentations or torchvision gets each image by itself.
        classes: the name of each class; "0", "1", ... if left out.
        names: the name of each image, such as that of its file; none have one if left out.

    Shape:
        images: (N, C, H, W); labels: (N,).

    Attributes:
        images, labels: the arrays, untransformed; labels are int64.
        classes: the names of the classes.
        names: the names of the images, or nothing.

    Raises:
        ArgumentError: if the transform is none.
        ShapeError: if the images are not 4-D or the labels not 1-D.
        DTypeError: if the labels are not whole numbers.
        DataError: if there are not as many labels as images, or as many names.
        LabelError: if a label is negative or has no class.
    """

    def __init__(
        self,
        images: Any,
        labels: Any,
        transform: Transform | None = None,
        classes: Sequence[str] | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        name = type(self).__name__
        self.images = _host_array(images, f"{name}: images")
        self.labels = _host_array(labels, f"{name}: labels")
        self.transform = None if transform is None else as_transform(transform)
        if self.images.ndim != 4:
            raise ShapeError(f"{name} expects images (N, C, H, W), got shape {self.images.shape}")
        if self.labels.ndim != 1:
            raise ShapeError(f"{name} expects labels (N,), got shape {self.labels.shape}")
        if self.labels.dtype.kind not in "ui":
            raise DTypeError(f"{name} expects labels that are whole numbers, got {self.labels.dtype}")
        if len(self.images) != len(self.labels):
            raise DataError(f"{name} expects a label for each image, got {len(self.images)} and {len(self.labels)}")
        self.names = tuple(names or ())
        if self.names and len(self.names) != len(self.images):
            raise DataError(f"{name} expects a name for each image, got {len(self.images)} and {len(self.names)}")
        self.labels = self.labels.astype(np.int64)
        largest = int(self.labels.max(initial=-1))
        self.classes = tuple(map(str, range(largest + 1)) if classes is None else classes)
        if self.labels.min(initial=0) < 0 or largest >= len(self.classes):
            raise LabelError(
                f"{name} expects labels from 0 to {len(self.classes) - 1}, got {self.labels.min()} to {largest}"
            )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[HostArray, int]:
        images, labels = self.batch(np.array([_position(index, len(self))]), host_generator())
        return images[0], int(labels[0])

    def batch(self, indices: HostArray, rng: np.random.Generator) -> tuple[HostArray, ...]:
        """Return several images, transformed together, and their labels."""
        indices = _checked_indices(indices, len(self))
        images = self.images[indices]
        return images if self.transform is None else self.transform(images, rng), self.labels[indices]


class Subset(Dataset):
    """Some items of a dataset, of another library, too, in a given order; an item may come more than once.

    Raises:
        DataError: if an index is not from 0 to len(dataset) - 1.
        DTypeError: if the indices are not whole numbers.
        ShapeError: if the indices are not 1-D.
    """

    def __init__(self, dataset: Any, indices: Sequence[int] | HostArray) -> None:
        self.dataset = dataset
        self.indices = _checked_indices(indices, len(dataset))

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Item:
        return self.dataset[int(self.indices[_position(index, len(self))])]

    def batch(self, indices: HostArray, rng: np.random.Generator) -> tuple[HostArray, ...]:
        """Return several items at once, by the dataset's own way of doing that, if it is one of ours."""
        chosen = self.indices[_checked_indices(indices, len(self))]
        if isinstance(self.dataset, Dataset):
            return self.dataset.batch(chosen, rng)
        return _stack([item_of(self.dataset, int(index), rng) for index in chosen])


def random_split(
    dataset: Any,
    lengths: Sequence[int] | Sequence[float],
    seed: int | None = None,
    *,
    generator: Generator | None = None,
) -> list[Subset]:
    """Deal the items of a dataset out to several parts at random, each item to one part.

    Args:
        dataset: where the items come from.
        lengths: the sizes of the parts, or fractions (floats) that add up to 1. A part of fraction f gets
            floor(f * len) items; what is left over goes, one item each, to the first parts.
        seed: makes the split depend on nothing else; without it the stream of `gpunet.manual_seed` is used.
        generator: the stream to use in its place.

    Raises:
        ArgumentError: if a length is negative, or fractions do not add up to 1.
        DataError: if lengths do not add up to the size of the dataset.
    """
    if not isinstance(lengths, Sequence | np.ndarray) or not all(isinstance(each, numbers.Real) for each in lengths):
        raise ArgumentError(f"random_split expects a list of lengths or fractions, got {lengths!r}")
    if not len(lengths) or not all(length >= 0 for length in lengths):  # NaN, too
        raise ArgumentError(f"random_split expects lengths or fractions of 0 or more, got {list(lengths)}")
    if all(isinstance(length, int | np.integer) for length in lengths):
        sizes = [int(length) for length in lengths]
        if sum(sizes) != len(dataset):
            raise DataError(f"random_split got lengths {sizes}, which add up to {sum(sizes)} and not to {len(dataset)}")
    else:
        sizes = _sizes_of_fractions(lengths, len(dataset))
    rng = rng_of(generator, "random_split")
    if seed is not None:
        rng = np.random.default_rng(checked_count(seed, 0, "random_split: seed"))
    ends = np.cumsum(sizes)[:-1]
    return [Subset(dataset, part) for part in np.split(rng.permutation(len(dataset)), ends)]


def _sizes_of_fractions(fractions: Sequence[float], count: int) -> list[int]:
    if not math.isclose(sum(fractions), 1):
        raise ArgumentError(f"random_split got fractions {list(fractions)}, which add up to {sum(fractions)}, not to 1")
    sizes = [math.floor(fraction * count) for fraction in fractions]
    for part in range(count - sum(sizes)):
        sizes[part % len(sizes)] += 1
    return sizes


def _position(index: int, count: int) -> int:
    """Count an item from 0 on; the index may count from the end."""
    try:
        position = operator.index(index)
    except TypeError:
        raise DTypeError(f"a dataset is indexed by one whole number, got {index!r}; for several, use Subset") from None
    if not -count <= position < count:
        raise DataError(f"item {position} asked for, but the dataset has {count} items")
    return position % count


def _checked_indices(indices: Sequence[int] | HostArray, count: int) -> HostArray:
    array = np.asarray(indices)
    if array.ndim != 1:
        raise ShapeError(f"indices of a dataset are expected as (N,), got shape {array.shape}")
    if not array.size:
        return array.astype(np.int64)  # an empty list has no type of its own
    if array.dtype.kind not in "ui":
        raise DTypeError(f"indices of a dataset are whole numbers, got {array.dtype}; for a mask, use np.flatnonzero")
    if array.min() < 0 or array.max() >= count:
        raise DataError(f"items {array.min()} to {array.max()} asked for, but the dataset has {count} items")
    return array.astype(np.int64, copy=False)


def _host_array(value: Any, what: str) -> HostArray:
    if not hasattr(value, "dtype") or not hasattr(value, "shape"):
        raise DTypeError(f"{what} is expected to be an array or a Tensor, got {type(value).__name__}")
    data = value.handed_out() if isinstance(value, Tensor) else from_outside(value, what)
    return checked_numbers(to_cpu(data), what)


def _stack(items: list[Item]) -> tuple[HostArray, ...]:
    """Items to a batch: the first part of each in one array, the second part of each in another, ..."""
    for item in items:
        if not isinstance(item, tuple) or len(item) != len(items[0]):
            got = f"one of {len(item)} parts" if isinstance(item, tuple) else type(item).__name__
            raise DataError(f"each item of a dataset is expected to be a tuple such as (image, label), got {got}")
    return tuple(stacked(values, f"part {number} of them") for number, values in enumerate(zip(*items, strict=True)))
