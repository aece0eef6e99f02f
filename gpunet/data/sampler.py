"""Samplers: which items an epoch goes through, in which order, and which of them make up a batch; as PyTorch's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any

import numpy as np

from gpunet.arguments import flag
from gpunet.backend import from_outside, host_generator, to_cpu
from gpunet.data.checks import checked_count
from gpunet.errors import ArgumentError
from gpunet.ranks import communicator
from gpunet.tensor import Tensor

__all__ = [
    "BatchSampler",
    "DistributedSampler",
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


class DistributedSampler(Sampler):
    """Of the items of an epoch those of one rank: they are dealt out in turn, like cards.

    No item comes twice, and none is left out unless `drop_last` asks for it: ranks may differ by one item. PyTorch's
    gives some items twice, so that they do not. A `DataLoader` with this sampler makes batches of which those of all
    ranks together are the batch of `size * batch_size` items that one rank alone would have, with the same random
    transforms; all ranks have equally many, the last of which may be smaller, and even empty.

    Args:
        dataset: whose items they are.
        num_replicas: how many ranks there are; None for as many as compute together.
        rank: of this process; None for its own.
        shuffle: whether the order is drawn anew for each epoch, from `seed` and the number of the epoch.
        seed: the same on all ranks.
        drop_last: leave out the last items where they do not go round.

    Raises:
        ArgumentError: if that makes no sense.

    Example:
        >>> [list(DistributedSampler(range(5), num_replicas=2, rank=rank, shuffle=False)) for rank in range(2)]
        [[0, 2, 4], [1, 3]]
    """

    def __init__(
        self,
        dataset: Sized,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        name, ranks = "DistributedSampler", communicator()
        self.dataset = dataset
        self.num_replicas = checked_count(
            ranks.size if num_replicas is None else num_replicas, 1, f"{name}: num_replicas"
        )
        self.rank = checked_count(ranks.rank if rank is None else rank, 0, f"{name}: rank")
        if self.rank >= self.num_replicas:
            raise ArgumentError(f"{name}: rank must be less than num_replicas, {self.num_replicas}, got {rank}")
        self.shuffle = flag(shuffle, f"{name}: shuffle")
        self.seed = checked_count(seed, 0, f"{name}: seed")
        self.drop_last = flag(drop_last, f"{name}: drop_last")
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the number of the next epoch: without it each epoch has the order of the one before."""
        self.epoch = checked_count(epoch, 0, "set_epoch: epoch")

    def order(self) -> np.ndarray:
        """The items of all ranks, in the order in which they are dealt out."""
        count = len(self.dataset)
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(self.epoch, 0)))  # as DataLoader's
        order = rng.permutation(count) if self.shuffle else np.arange(count)
        return order[: count - count % self.num_replicas] if self.drop_last else order

    def __iter__(self) -> Iterator[int]:
        return iter(self.order()[self.rank :: self.num_replicas].tolist())

    def __len__(self) -> int:
        count = len(self.dataset)
        dealt = count - count % self.num_replicas if self.drop_last else count
        return len(range(self.rank, dealt, self.num_replicas))
