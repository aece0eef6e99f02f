"""The loader: which items make up which batch, made ahead of time in the background.

Batch i of epoch e depends on the seed, e and i alone, never on which thread makes it or when. So `_host_batch` is the
one place where a batch is made, and any number of threads may call it in any order.
"""

from __future__ import annotations

import contextvars
import functools
import itertools
import operator
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from gpunet.arguments import flag
from gpunet.backend import HostToBackend, as_nchw
from gpunet.data.checks import HostArray, checked_count
from gpunet.data.collate import array_of, each_array
from gpunet.data.dataset import Dataset
from gpunet.data.mixup import BatchTransform
from gpunet.data.outside import outside_code
from gpunet.data.sampler import DistributedSampler
from gpunet.data.source import Stream, source_of
from gpunet.errors import ArgumentError, DataError, DTypeError
from gpunet.generator import Generator, rng_of
from gpunet.tensor import Tensor, own

__all__ = ["DataLoader"]

_WORKER = "gpunet-data"  # how the names of the threads begin


class DataLoader:
    """Iterates over a dataset in batches of Tensors on the active backend; each pass is one epoch.

    Types of numbers are those of the dataset, except that whole numbers of one dimension, which is what labels are,
    become int64. 4-D parts are channels-last in memory.

    Args:
        dataset: where the items come from: a `Dataset`; anything with `__len__` and `__getitem__`, such as datasets of
            PyTorch, torchvision and Hugging Face, or a list of pairs; or anything that can be iterated over.
        batch_size: items in a batch.
        shuffle: go through the items in an order drawn anew for each epoch.
        sampler: gives the numbers of the items, anew for each epoch, in the place of `shuffle`.
        batch_sampler: gives lists of numbers, a batch each, in the place of `batch_size`, `shuffle` and `drop_last`.
        collate_fn: makes a batch of a list of items, in the place of `gpunet.data.default_collate`.
        drop_last: leave out the last batch where it is not full.
        seed: decides, together with the number of the epoch, on the order and on random transforms. Without it, a seed
            is drawn here from the stream of `gpunet.manual_seed`.
        prefetch: how many batches are made in the background ahead of the one in use, at least one for each worker; 0
            makes each when it is asked for.
        workers, num_workers: how many threads make them (the second is PyTorch's name, and wins); 0 makes each batch
            when it is asked for. The batches are the same, bit for bit, for every number of workers. With several,
            `Dataset.batch` is called from several threads at once; a dataset of another library, or a `collate_fn`,
            from one at a time, and what it draws from PyTorch's generator follows from the seed.
        batch_transform: what is done to a whole batch, images and labels together, such as `gpunet.data.Mixup`.
        pin_memory, persistent_workers: accepted, as PyTorch's; a GPU always gets batches by way of pinned memory, and
            threads cost nothing to start.
        generator: the stream that the seed is drawn from, where none is given.
        shard: (rank, ranks), where several processes share each batch: it is made as for one alone, and of its items
            this one keeps number `rank`, `rank + ranks`, ... A `DistributedSampler` says the same, but `batch_size` is
            then that of a part, as in PyTorch. Items of datasets that are not ours are only had where they are kept.

    Attributes:
        epoch: the number that the next pass will have; counts from 0, see `set_epoch`.
        start: the batch that the next pass begins with, see `set_epoch`.

    Raises:
        ArgumentError: if batch_size, shuffle, prefetch, workers or seed makes no sense or does not go with a sampler,
            or drop_last leaves no batch.
        DataError: if the dataset is empty, or an iterator, which is gone after an epoch.
        DTypeError: if it is no dataset.

    Example:
        >>> from gpunet.data import Digits
        >>> loader = DataLoader(Digits(train=False), batch_size=100)
        >>> [images.shape[0] for images, labels in loader]
        [100, 100, 100, 60]
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        shuffle: bool = False,
        drop_last: bool = False,
        seed: int | None = None,
        prefetch: int = 2,
        workers: int = 1,
        batch_transform: BatchTransform | None = None,
        *,
        sampler: Iterable[int] | None = None,
        batch_sampler: Iterable[Sequence[int]] | None = None,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        num_workers: int | None = None,
        pin_memory: bool = False,
        persistent_workers: bool = False,
        generator: Generator | None = None,
        shard: tuple[int, int] | None = None,
    ) -> None:
        self._source = source_of(dataset, collate_fn)
        self.dataset = dataset
        self.batch_size = checked_count(batch_size, 1, "DataLoader: batch_size")
        self.shuffle = flag(shuffle, "DataLoader: shuffle")
        self.drop_last = flag(drop_last, "DataLoader: drop_last")
        self.sampler, self.batch_sampler = sampler, batch_sampler
        dealt = (sampler.rank, sampler.num_replicas) if isinstance(sampler, DistributedSampler) else None
        self.shard = dealt if shard is None else shard
        self._check_samplers()
        self.prefetch = checked_count(prefetch, 0, "DataLoader: prefetch")
        self.seed = checked_count(
            int(rng_of(generator, "DataLoader").integers(2**63)) if seed is None else seed, 0, "DataLoader: seed"
        )
        self.workers = checked_count(workers if num_workers is None else num_workers, 0, "DataLoader: workers")
        self.pin_memory = flag(pin_memory, "DataLoader: pin_memory")
        self.persistent_workers = flag(persistent_workers, "DataLoader: persistent_workers")
        self.batch_transform = batch_transform
        self.epoch = 0
        self.start = 0
        if hasattr(dataset, "__len__") and sampler is None and batch_sampler is None and not len(self):
            raise ArgumentError(
                f"DataLoader with drop_last and batch_size {batch_size} leaves no batch of {len(dataset)} items"
            )

    def _check_samplers(self) -> None:
        """Make sure that everything is said once.

        Raises:
            ArgumentError: if not.
        """
        others = {"shuffle": self.shuffle, "sampler": self.sampler is not None}
        both = {**others, "batch_size": self.batch_size != 1, "drop_last": self.drop_last}
        if self.batch_sampler is not None and (twice := [name for name, given in both.items() if given]):
            raise ArgumentError(f"DataLoader: batch_sampler decides on {', '.join(twice)}, too; leave that away")
        if self.sampler is not None and self.shuffle:
            raise ArgumentError("DataLoader: sampler decides on the order; leave shuffle away")
        if isinstance(self._source, Stream) and (any(others.values()) or self.batch_sampler is not None or self.shard):
            raise ArgumentError(
                f"DataLoader: the items of a {type(self.dataset).__name__} have no numbers and come as they come; "
                "leave shuffle, shard and samplers away"
            )
        if self.shard is not None and not 0 <= self.shard[0] < self.shard[1]:
            raise ArgumentError(f"DataLoader: shard must be (rank, ranks), with a rank below that, got {self.shard}")

    def __len__(self) -> int:
        """Return the number of batches in an epoch.

        Raises:
            DTypeError: if the dataset, or the sampler, does not know how many items it has.
        """
        if self.batch_sampler is not None:
            return _length(self.batch_sampler)
        if isinstance(self.sampler, DistributedSampler):
            count = len(self.sampler.order())
        else:
            count = _length(self.dataset if self.sampler is None else self.sampler)
        return count // self._whole_batch() if self.drop_last else -(-count // self._whole_batch())

    def _whole_batch(self) -> int:
        """Items in a batch of which each rank has a part."""
        return self.batch_size * (self.sampler.num_replicas if isinstance(self.sampler, DistributedSampler) else 1)

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Choose the number of the next epoch, and the batch in it to begin with, to go on where a run has stopped.

        Args:
            start: how many batches of that pass are left out; they are not made. Passes after it are whole again.

        Raises:
            ArgumentError: if one is not a whole number of 0 or more, or the epoch has fewer batches than `start`.
        """
        start = checked_count(start, 0, "set_epoch: start")
        if start and start > len(self):
            raise ArgumentError(f"set_epoch: an epoch has {len(self)} batches, so none can start after {start}")
        self.epoch, self.start = checked_count(epoch, 0, "set_epoch: epoch"), start

    def __iter__(self) -> Iterator[Any]:
        return self.every(1)

    def every(self, step: int, first: int = 0) -> Iterator[Any]:
        """Each `step`-th batch of the next pass, from the `first` on; the others are not made."""
        epoch, start = self.epoch, self.start
        self.epoch, self.start = epoch + 1, 0
        return self._batches(epoch, start + first, step)

    def _batches(self, epoch: int, start: int, step: int) -> Iterator[Any]:
        transfer = HostToBackend()
        on_the_way: deque[Callable[[], Any]] = deque()
        try:
            for batch in self._host_batches(epoch, start, step):
                on_the_way.append(_send(transfer, batch))
                if len(on_the_way) > transfer.ahead:
                    yield on_the_way.popleft()()
        except Exception:  # what was made before it comes out before it
            yield from (arrive() for arrive in on_the_way)
            raise
        yield from (arrive() for arrive in on_the_way)

    def _host_batches(self, epoch: int, start: int, step: int) -> Iterator[Any]:
        """The batches of an epoch, on the host, made ahead."""
        if isinstance(self._source, Stream):
            runs = self._source.runs(self.batch_size, self.drop_last)
            make: Callable[[int], Any] = functools.partial(self._streamed_batch, epoch, runs)
            made = _make_ahead(make, range(sys.maxsize), self.prefetch, min(1, self.workers))
            yield from itertools.islice(itertools.takewhile(lambda batch: batch is not None, made), start, None, step)
            return
        batches = self._index_batches(epoch)
        make = functools.partial(self._host_batch, epoch, batches)
        ahead = max(self.prefetch, self.workers) if self.prefetch else 0
        yield from _make_ahead(make, range(start, len(batches), step), ahead, self.workers)

    def _index_batches(self, epoch: int) -> list[HostArray]:
        """The numbers of the items of each batch."""
        if self.batch_sampler is not None:
            return list(map(_numbers, self.batch_sampler))
        size = self._whole_batch()
        if isinstance(self.sampler, DistributedSampler):
            order = self.sampler.order()
        elif self.sampler is not None:
            order = _numbers(self.sampler)
        else:
            count = len(self.dataset)
            order = _generator(self.seed, epoch, 0).permutation(count) if self.shuffle else np.arange(count)
        end = len(order) - len(order) % size if self.drop_last else len(order)
        return [order[place : place + size] for place in range(0, end, size)]

    def _host_batch(self, epoch: int, batches: list[HostArray], index: int) -> Any:
        """Make batch `index` of an epoch, on the host."""
        rng = _generator(self.seed, epoch, 1 + index)
        indices, kept = batches[index], None if self.shard is None else slice(self.shard[0], None, self.shard[1])
        if kept is not None and not isinstance(self._source, Dataset):
            indices, kept = indices[kept], None
        return self._finished(self._source.batch(indices, rng), len(indices), rng, kept)

    def _streamed_batch(self, epoch: int, runs: Iterator[list[Any]], index: int) -> Any:
        """The same of items that have no numbers; None when there are no more."""
        rng = _generator(self.seed, epoch, 1 + index)
        with outside_code(rng):
            items = next(runs, None)
            batch = None if items is None else self._source.collate(items)
        return None if items is None else self._finished(batch, len(items), rng)

    def _finished(self, batch: Any, count: int, rng: np.random.Generator, kept: slice | None = None) -> Any:
        """A batch as it goes to the backend; of what a Dataset gave, the items that are kept."""
        if self.batch_transform is not None:
            batch = self.batch_transform(batch, rng)
        if isinstance(self._source, Dataset):
            return tuple(_prepared(part, count, kept) for part in batch)
        return each_array(batch, _in_order)


def _numbers(given: Iterable[Any]) -> HostArray:
    """What a sampler gives, as numbers of items."""
    try:
        return np.array([operator.index(each) for each in given], np.int64)
    except TypeError:
        raise DTypeError(
            f"DataLoader: a sampler gives whole numbers, the numbers of items, got {given!r:.100}"
        ) from None


def _length(items: Any) -> int:
    try:
        return len(items)
    except (TypeError, NotImplementedError):
        raise DTypeError(
            f"a {type(items).__name__} does not say how many items it has, so batches cannot be counted"
        ) from None


def _generator(seed: int, epoch: int, purpose: int) -> np.random.Generator:
    """Make a generator of its own for each purpose in an epoch: 0 is the order, 1 + i is batch i.

    Seed and key stay apart: a plain list [seed, epoch] would give the same numbers as [seed, epoch, 0].
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(epoch, purpose)))


def _make_ahead(make: Callable[[int], Any], numbers: range, ahead: int, workers: int) -> Iterator[Any]:
    """Yield make(i) for each number in turn, made by threads that run up to `ahead` results ahead.

    An exception of `make` comes out where its result would have. However the loop is left, the threads have ended then.
    """
    if not ahead or not workers:
        yield from map(make, numbers)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix=_WORKER)

    def submit(number: int) -> Future[Any]:
        return pool.submit(contextvars.copy_context().run, make, number)

    try:
        waiting: deque[Future[Any]] = deque(map(submit, numbers[:ahead]))
        for done in range(len(numbers)):
            result = waiting.popleft().result()
            for upcoming in numbers[done + ahead : done + ahead + 1]:  # empty near the end
                waiting.append(submit(upcoming))
            yield result
    finally:
        # The garbage collector may close this generator from within a worker, which cannot wait for its own end.
        inside_worker = threading.current_thread().name.startswith(_WORKER)
        pool.shutdown(wait=not inside_worker, cancel_futures=True)


def _prepared(part: HostArray, count: int, kept: slice | None) -> HostArray:
    if not isinstance(part, np.ndarray) or part.ndim == 0 or len(part) != count:
        got = f"shape {part.shape}" if isinstance(part, np.ndarray) else type(part).__name__
        raise DataError(f"Dataset.batch was asked for {count} items and is expected to give arrays of them, got {got}")
    return _in_order(part if kept is None else np.ascontiguousarray(part[kept]))


def _in_order(part: Any) -> HostArray:
    """An array of a batch as the rest of gpunet expects it: native numbers, labels int64, images channels-last."""
    part = array_of(part)  # whose numbers may be in the order of bytes of another machine
    if part.ndim == 1 and part.dtype.kind in "ui":
        return part.astype(np.int64, copy=False)
    if part.ndim == 4:
        return np.ascontiguousarray(part.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    return part


def _send(transfer: HostToBackend, batch: Any) -> Callable[[], Any]:
    """Begin to copy a batch to the backend; the function that is returned waits for it."""
    parts: list[HostArray] = []
    each_array(batch, parts.append)
    # Images are contiguous on their way as (N, H, W, C), so that a copy keeps their memory order.
    arrive = transfer.send([part.transpose(0, 2, 3, 1) if part.ndim == 4 else part for part in parts])

    def tensors() -> Any:
        arrived = arrive()
        make = own if transfer.ahead else Tensor  # what was not copied may be an array that the dataset holds
        made = [make(as_nchw(array) if array.ndim == 4 else array) for array in arrived]
        for each, part in zip(made, parts, strict=True):
            each.note_range(part)
        in_turn = iter(made)
        return each_array(batch, lambda part: next(in_turn))

    return tensors
