"""What a loader can take for a dataset: ours, those of others whose items have numbers, and items that merely come."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from gpunet.data.checks import HostArray
from gpunet.data.collate import default_collate
from gpunet.data.dataset import Dataset, item_of
from gpunet.data.outside import outside_code
from gpunet.errors import DataError, DTypeError
from gpunet.tensor import Tensor

__all__ = ["Items", "Stream", "source_of"]


class Items:
    """Items that `collate` makes a batch of: they are had one by one, or, where their dataset knows how, together."""

    def __init__(self, dataset: Any, collate: Callable[[list[Any]], Any]) -> None:
        self._dataset, self.collate = dataset, collate

    def batch(self, indices: HostArray, rng: np.random.Generator) -> Any:
        """Several items, as a batch."""
        numbers = indices.tolist()
        with outside_code(rng):
            if hasattr(self._dataset, "__getitems__"):
                return self.collate(self._dataset.__getitems__(numbers))
            return self.collate([item_of(self._dataset, number, rng) for number in numbers])


class Stream:
    """Items that come one after the other."""

    def __init__(self, items: Iterable[Any], collate: Callable[[list[Any]], Any]) -> None:
        self._items, self.collate = items, collate

    def runs(self, size: int, drop_last: bool) -> Iterator[list[Any]]:
        """The items, several at a time."""
        items = iter(self._items)
        while run := list(itertools.islice(items, size)):
            if len(run) == size or not drop_last:
                yield run


def source_of(dataset: Any, collate_fn: Callable[[list[Any]], Any] | None) -> Any:
    """What makes batches of a dataset.

    Raises:
        DataError: if it is empty, or an iterator, which is gone after an epoch.
        DTypeError: if it is no dataset.
    """
    numbered = hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")
    if not numbered and not hasattr(dataset, "__iter__"):
        raise DTypeError(
            "DataLoader expects a dataset, whose items have numbers (__len__ and __getitem__) or can be iterated over, "
            f"got {type(dataset).__name__}"
        )
    if isinstance(dataset, Tensor | np.ndarray | Mapping | str | bytes):
        raise DTypeError(f"DataLoader expects a dataset, got {type(dataset).__name__}; wrap arrays in TensorDataset")
    if not numbered:
        if iter(dataset) is dataset:
            raise DataError(
                f"DataLoader got a {type(dataset).__name__}, which is gone after one epoch; give a list, or a class "
                "whose __iter__ begins anew"
            )
        return Stream(dataset, collate_fn or default_collate)
    if not len(dataset):
        raise DataError("DataLoader got an empty dataset")
    if isinstance(dataset, Dataset) and collate_fn is None:
        return dataset
    return Items(dataset, collate_fn or default_collate)
