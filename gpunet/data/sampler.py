"""Samplers: which items an epoch goes through, in which order, and which of them make up a batch; as PyTorch's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any

import numpy as np

from gpunet.arguments import flag
from gpunet.backend import from_outside, host_generator, to_cpu
from gpunet.data.checks import checked_count
from gpunet.errors import ArgumentError
from gpunet.tensor import Tensor

__all__ = [
    "BatchSampler",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "SubsetRandomSampler",
    "WeightedRandomSampler",
]


class Sampler:
    """What a `DataLoader` asks for the numbers of items; one of your own needs `__iter__`, and `__len__` if it can."""

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError


class SequentialSampler(Sampler):
    """All items in their order."""

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler):
    """Items in an order drawn anew each time, from the stream of `gpunet.manual_seed`.

    Args:
        data_source: the dataset.
        replacement: whether an item may come more than once.
        num_samples: how many are drawn; as many as there are where nothing is said.

    Raises:
        ArgumentError: if that makes no sense.
    """

    def __init__(self, data_source: Sized, replacement: bool = False, num_samples: int | None = None) -> None:
        self.data_source = data_source
        self.replacement = flag(replacement, "RandomSampler: replacement")
        count = len(data_source) if num_samples is None else num_samples
        self.num_samples = checked_count(count, 1, "RandomSampler: num_samples")

    def __iter__(self) -> Iterator[int]:
        rng, count = host_generator(), len(self.data_source)
        if self.replacement:
            yield from rng.integers(count, size=self.num_samples).tolist()
            return
        for begun in range(0, self.num_samples, count):  # more than there are: once through all, and again
            yield from rng.permutation(count)[: self.num_samples - begun].tolist()

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler):
    """Some items, in an order drawn anew each time."""

    def __init__(self, indices: Sequence[int]) -> None:
        self.indices = indices

    def __iter__(self) -> Iterator[int]:
        return (self.indices[place] for place in host_generator().permutation(len(self.indices)).tolist())

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler):
    """Items drawn with probabilities in proportion to their weights, such as 1 / (the number of images of the class).

    Args:
        weights: one for each item, of 0 or more.
        num_samples: how many are drawn.
        replacement: whether an item may come more than once.

    Raises:
        ArgumentError: if that makes no sense: negative weights, or fewer weights above 0 than there are to be drawn.
    """

    def __init__(self, weights: Any, num_samples: int, replacement: bool = True) -> None:
        given = weights.array if isinstance(weights, Tensor) else np.asarray(weights)
        self.weights = to_cpu(from_outside(given, "WeightedRandomSampler: weights")).astype(np.float64)
        self.num_samples = checked_count(num_samples, 1, "WeightedRandomSampler: num_samples")
        self.replacement = flag(replacement, "WeightedRandomSampler: replacement")
        if self.weights.ndim != 1 or not np.isfinite(self.weights).all() or not (self.weights >= 0).all():
            raise ArgumentError("WeightedRandomSampler expects finite weights of 0 or more, one for each item")
        drawable = int((self.weights > 0).sum())
        if drawable < (1 if self.replacement else self.num_samples):
            raise ArgumentError(
                f"WeightedRandomSampler cannot draw {self.num_samples} items: {drawable} have a weight above 0"
            )

    def __iter__(self) -> Iterator[int]:
        shares = self.weights / self.weights.sum()
        drawn = host_generator().choice(len(shares), self.num_samples, self.replacement, shares)
        return iter(drawn.tolist())

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler):
    """The numbers that another sampler gives, several at a time.

    Args:
        sampler: gives numbers of items.
        batch_size: how many make up a batch.
        drop_last: leave out the last batch where it is not full.
    """

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool) -> None:
        self.sampler = sampler
        self.batch_size = checked_count(batch_size, 1, "BatchSampler: batch_size")
        self.drop_last = flag(drop_last, "BatchSampler: drop_last")

    def __iter__(self) -> Iterator[list[int]]:
        batch: list[int] = []
        for index in self.sampler:
            batch.append(index)
            if len(batch) == self.batch_size:
                yield batch
                batch = []
        if batch and not self.drop_last:
            yield batch

    def __len__(self) -> int:
        count = len(self.sampler)  # type: ignore[arg-type]
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)
