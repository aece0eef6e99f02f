"""A model whose gradients are averaged over all ranks, while backward still goes on."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np

from gpunet.backend import Array, draw_for_whole_batch, memory_order, random_state, set_random_state, xp
from gpunet.distributed.same import check_same
from gpunet.errors import GradientError
from gpunet.functional.checks import whole_number
from gpunet.nn import Module
from gpunet.nn.batchnorm import SyncBatchNorm
from gpunet.ops.operation import Operation
from gpunet.ops.writing import about_to_write
from gpunet.ranks import Communicator, communicator
from gpunet.tape import is_grad_enabled, when_backward_ends
from gpunet.tensor import Tensor, apply, own

__all__ = ["DataParallel"]

BUCKET_BYTES = 4 << 20  # so large that a message takes much longer than it takes to set out; so small that many overlap


class DataParallel(Module):
    """A model of which each rank has a copy, and learns from a part of the batch; PyTorch's DistributedDataParallel.

    At the start all ranks get the parameters, buffers and random numbers of rank 0. Each forward pass, while gradients
    are recorded, tells the others how many images it was given; `backward` leaves the gradients of the mean loss over
    the images of all ranks in `.grad`, the same bits on all. Rank r has images r, r + N, ... of a batch that is dealt
    out in turn (`DistributedSampler`), which dropout relies on.

    Args:
        module: the model. Its forward pass takes Tensors of which the first dimension is the images.
        bucket_bytes: of gradients that travel together.
        broadcast_buffers: whether all ranks get the buffers of rank 0 before each forward pass in training, but for
            those of SyncBatchNorm, which are the same anyway.

    Attributes:
        module: the model.
        counts: how many images each rank had in the last forward pass.

    Raises:
        ArgumentError: if bucket_bytes is not a whole number of 1 or more.
        ProcessError: if the models of the ranks have other parameters or buffers.

    Example:
        >>> from gpunet.nn import Linear
        >>> DataParallel(Linear(3, 2))  # alone it does nothing
        DataParallel(
          (module): Linear(in_features=3, out_features=2, bias=True)
        )
    """

    def __init__(self, module: Module, bucket_bytes: int = BUCKET_BYTES, broadcast_buffers: bool = True) -> None:
        super().__init__()
        self.module = module
        self.bucket_bytes = whole_number(bucket_bytes, "bucket_bytes", "DataParallel", 1)
        self.broadcast_buffers = broadcast_buffers
        self.counts = [0]
        self._averages, self._under_way = True, False
        self._leaves: list[object] = []
        self._buckets: list[_Bucket] = []
        ranks = communicator()
        if ranks.size > 1:
            tensors = module.state_dict()
            check_same({name: [*each.shape, str(each.dtype)] for name, each in tensors.items()}, "parameters")
            _broadcast(ranks, [*module.parameters(), *module.buffers()])
            set_random_state(ranks.gather(random_state())[0])

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """The output of the model for the images of this rank."""
        ranks = communicator()
        if ranks.size == 1 or not is_grad_enabled():
            return self.module(*inputs, **named)
        self._watch()
        if self.training and self.broadcast_buffers:
            _broadcast(ranks, _own_buffers(self.module))
        images = next(each for each in [*inputs, *named.values()] if isinstance(each, Tensor))
        self.counts = ranks.gather(len(images))
        draw_for_whole_batch(sum(self.counts), _rows(self.counts, ranks.rank))
        output = self.module(*inputs, **named)
        share = self.counts[ranks.rank] * ranks.size / sum(self.counts)
        return output if share == 1 else _weighted(output, share)

    @contextlib.contextmanager
    def no_sync(self) -> Iterator[None]:
        """While the block lasts gradients stay with their rank, and add up; the next backward averages the sums."""
        before, self._averages = self._averages, False
        try:
            yield
        finally:
            self._averages = before

    # ------------------------------------------------------------------ buckets

    def _watch(self) -> None:
        """Put the parameters that learn in buckets, and ask to be told of their gradients, unless that was done."""
        learning = [each for each in self.module.parameters() if each.requires_grad]
        if [each._node for each in learning] == self._leaves:
            return
        self._leaves = [each._node for each in learning]
        for bucket in self._buckets:
            bucket.leave()
        self._buckets = []
        for params in _filled(learning[::-1], self.bucket_bytes):  # backward comes to the last layers first
            bucket = _Bucket(params, communicator(), len(self._buckets))
            self._buckets.append(bucket)
            bucket.handles = [each.register_post_accumulate_grad_hook(self._ready(bucket)) for each in params]

    def _ready(self, bucket: _Bucket) -> Any:
        def ready(param: Tensor) -> None:
            if not self._averages or communicator().size == 1:
                return
            if not self._under_way:
                self._under_way = True
                when_backward_ends(self._finish)
            bucket.take(param)
            for each in self._buckets:  # in the same order on all ranks
                if each.steps is None:
                    if each.missing:
                        break
                    each.set_out()
            if communicator().needs_asking:
                for each in self._buckets:
                    each.get_on()

        return ready

    def _finish(self) -> None:
        """Backward is over: what has not set out lacks gradients that this rank does not have."""
        self._under_way = False
        for bucket in self._buckets:
            if bucket.steps is None:
                bucket.set_out()
        params = [each for bucket in self._buckets for each in bucket.params]
        lacking = communicator().gather([place for place, each in enumerate(params) if each.grad is None])
        nowhere = {params[place] for place in set(lacking[0]).intersection(*lacking)}
        for bucket in self._buckets:
            bucket.arrive(nowhere)


class _Bucket:
    """Parameters whose gradients travel side by side, in one array."""

    def __init__(self, params: Sequence[Tensor], ranks: Communicator, number: int) -> None:
        self.params, self.ranks = params, ranks.channel(number)
        self.handles: list[Any] = []
        self.steps: Iterator[None] | None = None
        self.missing = set(params)
        numbers = sum(each.numel() for each in params)
        self.flat = xp.zeros(-(-numbers // ranks.size) * ranks.size, dtype=params[0].dtype)  # in equal slices
        ends = np.cumsum([each.numel() for each in params]).tolist()
        self.views = [
            _lying_as(each.array, self.flat[end - each.numel() : end]) for each, end in zip(params, ends, strict=True)
        ]

    def take(self, param: Tensor) -> None:
        """Note that a gradient is there."""
        if self.steps is not None:
            raise GradientError(
                f"DataParallel: a parameter of shape {param.shape} got more of its gradient when that was under way "
                "already, as of a layer that is in two checkpoints; use no_sync() for this step"
            )
        self.missing.discard(param)

    def set_out(self) -> None:
        """Gather the gradients; from here on they are on their way."""
        for param, view in zip(self.params, self.views, strict=True):
            view[...] = 0 if param.grad is None else param.grad.array
        self.steps = self.ranks.sum(self.flat)
        self.get_on()

    def get_on(self) -> None:
        """Take a look at what is on its way, which brings it forward."""
        if self.steps is not None:
            next(self.steps, None)

    def arrive(self, nowhere: Collection[Tensor]) -> None:
        """Wait for the sums, and put the means in the place of the gradients, but for those that no rank has."""
        self.ranks.wait(self.steps or iter(()))
        self.steps, self.missing = None, set(self.params)
        for param, view in zip(self.params, self.views, strict=True):
            if param in nowhere:
                continue
            if param.grad is None:
                param.grad = own(xp.empty_like(param.array))
            mean = param.grad.array
            about_to_write(mean)
            xp.multiply(view, 1 / self.ranks.size, out=mean)

    def leave(self) -> None:
        """Ask no longer to be told."""
        for handle in self.handles:
            handle.remove()


def _filled(params: Sequence[Tensor], size: int) -> Iterator[list[Tensor]]:
    """Parameters of one type, as many as have `size` bytes, or one that has more."""
    taken: list[Tensor] = []
    for param in params:
        full = sum(each.array.nbytes for each in taken) + param.array.nbytes > size
        if taken and (full or param.dtype != taken[0].dtype):
            yield taken
            taken = []
        taken.append(param)
    if taken:
        yield taken


def _lying_as(array: Array, line: Array) -> Array:
    """A view of numbers in a line, with the shape of an array and in its order of memory."""
    order = memory_order(array)
    return line.reshape([array.shape[axis] for axis in order]).transpose(np.argsort(order).tolist())


def _rows(counts: Sequence[int], rank: int) -> slice:
    """Which images of the whole batch a rank has: dealt out in turn, or else one lot after the other."""
    total, ranks = sum(counts), len(counts)
    if all(count == len(range(each, total, ranks)) for each, count in enumerate(counts)):
        return slice(rank, None, ranks)
    return slice(sum(counts[:rank]), sum(counts[: rank + 1]))


def _own_buffers(module: Module) -> list[Tensor]:
    """The buffers that may be others on each rank."""
    found = []
    for layer in module.modules():
        if not isinstance(layer, SyncBatchNorm):
            found += list(layer.buffers(recurse=False))
    return found


def _broadcast(ranks: Communicator, tensors: Sequence[Tensor]) -> None:
    for tensor in tensors:
        about_to_write(tensor.array)
        ranks.broadcast(tensor.array)


class _Weighted(Operation):
    """The identity, whose gradient counts for more or less: a rank's mean loss is over more or fewer images."""

    def __init__(self, share: float) -> None:
        self.share = share

    def forward(self, x: Array) -> Array:
        return x.copy()

    def backward(self, grad: Array) -> tuple[Array]:
        return (grad * xp.asarray(self.share, dtype=grad.dtype) if self.share else xp.zeros_like(grad),)


def _weighted(output: Any, share: float) -> Any:
    if isinstance(output, Tensor):
        return apply(_Weighted(share), output)
    if isinstance(output, dict):
        return {name: _weighted(each, share) for name, each in output.items()}
    return type(output)(_weighted(each, share) for each in output) if isinstance(output, tuple | list) else output
