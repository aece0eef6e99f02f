"""The loader: which items make up which batch, made ahead of time in the background.

Batch i of epoch e depends on the seed, e and i alone, never on which thread makes it or when. So `_host_batch` is the
one place where a batch is made, and any number of threads may call it in any order.
"""

from __future__ import annotations

import functools
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from gpunet.arguments import flag
from gpunet.backend import HostToBackend, as_nchw, from_outside, host_generator
from gpunet.data.checks import HostArray, checked_count
from gpunet.data.dataset import Dataset
from gpunet.data.mixup import BatchTransform
from gpunet.errors import ArgumentError, DataError, DTypeError
from gpunet.tensor import Tensor, own

__all__ = ["DataLoader"]

_WORKER = "gpunet-data"  # how the names of the threads begin


class DataLoader:
    """Iterates over a dataset in batches of Tensors on the active backend; each pass is one epoch.

    Types of numbers are those of the dataset, except that whole numbers of one dimension, which is what labels are,
    become int64. 4-D parts are channels-last in memory.

    Args:
        dataset: where the items come from.
        batch_size: items in a batch.
        shuffle: go through the items in an order drawn anew for each epoch.
        drop_last: leave out the last batch where it is not full.
        seed: decides, together with the number of the epoch, on the order and on random transforms. Without it, a seed
            is drawn here from the stream of `gpunet.manual_seed`.
        prefetch: how many batches are made in the background ahead of the one in use, at least one for each worker; 0
            makes each when it is asked for.
        workers: how many threads make them; 0 makes each batch when it is asked for. The batches are the same, bit for
            bit, for every number of workers. With several, `Dataset.batch` is called from several threads at once.
        batch_transform: what is done to a whole batch, images and labels together, such as `gpunet.data.Mixup`.

    Attributes:
        epoch: the number that the next pass will have; counts from 0, see `set_epoch`.
        start: the batch that the next pass begins with, see `set_epoch`.

    Raises:
        ArgumentError: if batch_size, shuffle, prefetch, workers or seed makes no sense, or drop_last leaves no batch.
        DataError: if the dataset is empty.
        DTypeError: if it is not a `Dataset`.

    Example:
        >>> from gpunet.data import Digits
        >>> loader = DataLoader(Digits(train=False), batch_size=100)
        >>> [images.shape[0] for images, labels in loader]
        [100, 100, 100, 60]
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int = 1,
        shuffle: bool = False,
        drop_last: bool = False,
        seed: int | None = None,
        prefetch: int = 2,
        workers: int = 1,
        batch_transform: BatchTransform | None = None,
    ) -> None:
        if not isinstance(dataset, Dataset):
            raise DTypeError(
                f"DataLoader expects a gpunet.data.Dataset, got {type(dataset).__name__}; wrap arrays in TensorDataset"
            )
        if not len(dataset):
            raise DataError("DataLoader got an empty dataset")
        self.dataset = dataset
        self.batch_size = checked_count(batch_size, 1, "DataLoader: batch_size")
        self.shuffle = flag(shuffle, "DataLoader: shuffle")
        self.drop_last = flag(drop_last, "DataLoader: drop_last")
        self.prefetch = checked_count(prefetch, 0, "DataLoader: prefetch")
        self.seed = (
            int(host_generator().integers(2**63)) if seed is None else checked_count(seed, 0, "DataLoader: seed")
        )
        self.workers = checked_count(workers, 0, "DataLoader: workers")
        self.batch_transform = batch_transform
        self.epoch = 0
        self.start = 0
        if not len(self):
            raise ArgumentError(
                f"DataLoader with drop_last and batch_size {batch_size} leaves no batch of {len(dataset)} items"
            )

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        count = len(self.dataset)
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Choose the number of the next epoch, and the batch in it to begin with, to go on where a run has stopped.

        Args:
            start: how many batches of that pass are left out; they are not made. Passes after it are whole again.

        Raises:
            ArgumentError: if one is not a whole number of 0 or more, or the epoch has fewer batches than `start`.
        """
        start = checked_count(start, 0, "set_epoch: start")
        if start > len(self):
            raise ArgumentError(f"set_epoch: an epoch has {len(self)} batches, so none can start after {start}")
        self.epoch, self.start = checked_count(epoch, 0, "set_epoch: epoch"), start

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        epoch, start = self.epoch, self.start
        self.epoch, self.start = epoch + 1, 0
        return self._batches(epoch, start)

    def _batches(self, epoch: int, start: int) -> Iterator[tuple[Tensor, ...]]:
        make = functools.partial(self._host_batch, epoch, self._order(epoch))
        ahead = max(self.prefetch, self.workers) if self.prefetch else 0
        transfer = HostToBackend()
        on_the_way: deque[Callable[[], tuple[Tensor, ...]]] = deque()
        try:
            for arrays in _make_ahead(make, range(start, len(self)), ahead, self.workers):
                on_the_way.append(_send(transfer, arrays))
                if len(on_the_way) > transfer.ahead:
                    yield on_the_way.popleft()()
        except Exception:  # what was made before it comes out before it
            yield from (arrive() for arrive in on_the_way)
            raise
        yield from (arrive() for arrive in on_the_way)

    def _order(self, epoch: int) -> HostArray:
        count = len(self.dataset)
        return _generator(self.seed, epoch, 0).permutation(count) if self.shuffle else np.arange(count)

    def _host_batch(self, epoch: int, order: HostArray, index: int) -> tuple[HostArray, ...]:
        """Make batch `index` of an epoch, on the host."""
        indices = order[index * self.batch_size : (index + 1) * self.batch_size]
        rng = _generator(self.seed, epoch, 1 + index)
        parts = self.dataset.batch(indices, rng)
        if self.batch_transform is not None:
            parts = self.batch_transform(parts, rng)
        return tuple(_prepared(part, len(indices)) for part in parts)


def _generator(seed: int, epoch: int, purpose: int) -> np.random.Generator:
    """Make a generator of its own for each purpose in an epoch: 0 is the order, 1 + i is batch i.

    Seed and key stay apart: a plain list [seed, epoch] would give the same numbers as [seed, epoch, 0].
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(epoch, purpose)))


def _make_ahead(
    make: Callable[[int], tuple[HostArray, ...]], numbers: range, ahead: int, workers: int
) -> Iterator[tuple[HostArray, ...]]:
    """Yield make(i) for each number in turn, made by threads that run up to `ahead` results ahead.

    An exception of `make` comes out where its result would have. However the loop is left, the threads have ended then.
    """
    if not ahead or not workers:
        yield from map(make, numbers)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix=_WORKER)
    try:
        waiting: deque[Future[tuple[HostArray, ...]]] = deque(pool.submit(make, i) for i in numbers[:ahead])
        for done in range(len(numbers)):
            result = waiting.popleft().result()
            for upcoming in numbers[done + ahead : done + ahead + 1]:  # empty near the end
                waiting.append(pool.submit(make, upcoming))
            yield result
    finally:
        # The garbage collector may close this generator from within a worker, which cannot wait for its own end.
        inside_worker = threading.current_thread().name.startswith(_WORKER)
        pool.shutdown(wait=not inside_worker, cancel_futures=True)


def _prepared(part: HostArray, count: int) -> HostArray:
    if not isinstance(part, np.ndarray) or part.ndim == 0 or len(part) != count:
        got = f"shape {part.shape}" if isinstance(part, np.ndarray) else type(part).__name__
        raise DataError(f"Dataset.batch was asked for {count} items and is expected to give arrays of them, got {got}")
    part = from_outside(part, "Dataset.batch")  # whose numbers may be in the order of bytes of another machine
    if part.ndim == 1 and part.dtype.kind in "ui":
        return part.astype(np.int64, copy=False)
    if part.ndim == 4:
        return np.ascontiguousarray(part.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)  # channels-last
    return part


def _send(transfer: HostToBackend, parts: tuple[HostArray, ...]) -> Callable[[], tuple[Tensor, ...]]:
    """Begin to copy a batch to the backend; the function that is returned waits for it."""
    # Images are contiguous on their way as (N, H, W, C), so that a copy keeps their memory order.
    arrive = transfer.send([part.transpose(0, 2, 3, 1) if part.ndim == 4 else part for part in parts])

    def tensors() -> tuple[Tensor, ...]:
        arrived = arrive()
        make = own if transfer.ahead else Tensor  # what was not copied may be an array that the dataset holds
        made = [make(as_nchw(array) if array.ndim == 4 else array) for array in arrived]
        for each, part in zip(made, parts, strict=True):
            each.note_range(part)
        return tuple(made)

    return tensors
