"""Averages of weights, under PyTorch's names: `AveragedModel`, the schedule that goes with it, and `update_bn`.

What `gpunet train` averages is in `gpunet.train`; this is for training loops of one's own.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any, TypeAlias

from gpunet.device import check_device
from gpunet.errors import ArgumentError
from gpunet.functional.checks import check_choice, probability, whole_number
from gpunet.nn import BatchNorm1d, BatchNorm2d, Module
from gpunet.optim.checks import not_negative
from gpunet.optim.lr_scheduler import LRScheduler, anneal_cos, anneal_linear, per_group
from gpunet.optim.optimizer import Optimizer
from gpunet.tape import no_grad
from gpunet.tensor import Tensor, tensor

__all__ = [
    "SWALR",
    "AveragedModel",
    "get_ema_avg_fn",
    "get_ema_multi_avg_fn",
    "get_swa_avg_fn",
    "get_swa_multi_avg_fn",
    "update_bn",
]

Average: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]
"""The new average, of the old one, the values of the model, and how many models are in it."""

Averages: TypeAlias = Callable[[Sequence[Tensor], Sequence[Tensor], Tensor], None]
"""The same for many, in place."""


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """The exponential moving average: `average = decay * average + (1 - decay) * weight`.

    Raises:
        ArgumentError: if the decay is not in [0, 1].
    """
    kept = probability(decay, "decay", "get_ema_avg_fn")
    return lambda average, weight, count: kept * average + (1 - kept) * weight


def get_swa_avg_fn() -> Average:
    """The mean of all models so far: `average = average + (weight - average) / (count + 1)`."""
    return lambda average, weight, count: average + (weight - average) / (count + 1).to(_float_of(average))


def get_ema_multi_avg_fn(decay: float = 0.999) -> Averages:
    """`get_ema_avg_fn` for `multi_avg_fn`.

    Raises:
        ArgumentError: if the decay is not in [0, 1].
    """
    return _each_by(get_ema_avg_fn(decay))


def get_swa_multi_avg_fn() -> Averages:
    """`get_swa_avg_fn` for `multi_avg_fn`."""
    return _each_by(get_swa_avg_fn())


def _each_by(average: Average) -> Averages:
    def run(averages: Sequence[Tensor], weights: Sequence[Tensor], count: Tensor) -> None:
        for mine, theirs in zip(averages, weights, strict=True):
            mine.copy_(average(mine, theirs, count))

    return run


def _float_of(values: Tensor) -> Any:
    return values.dtype if values.dtype.kind == "f" else "float32"


class AveragedModel(Module):
    """A copy of a model whose parameters are averages of the model's, each time that `update_parameters` is called.

    Args:
        model: whose weights are averaged; it is copied.
        device: that of the active backend, or None.
        avg_fn: the new average of (the average, the weight, how many are in it); the mean of all where it is None.
        multi_avg_fn: the same for lists, in place.
        use_buffers: whether buffers are averaged as well, and not copied.

    Raises:
        ArgumentError: if both functions are given.

    Reference:
        Izmailov et al., "Averaging weights leads to wider optima and better generalization", 2018.

    Example:
        >>> from gpunet.nn import Linear
        >>> model = Linear(2, 1)
        >>> average = AveragedModel(model)
        >>> average.update_parameters(model)
        >>> average.n_averaged
        tensor(1)
    """

    n_averaged: Tensor

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Average | None = None,
        multi_avg_fn: Averages | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise ArgumentError("AveragedModel expects avg_fn or multi_avg_fn, got both")
        check_device(device, "AveragedModel")
        self.module = copy.deepcopy(model)
        self.register_buffer("n_averaged", tensor(0))
        self.avg_fn, self.multi_avg_fn, self.use_buffers = avg_fn, multi_avg_fn, use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the copy makes of it."""
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Take in the weights that the model has now; the first time they are copied."""
        with no_grad():
            mine, theirs = self._averaged(self.module), self._averaged(model)
            if self.n_averaged.item() == 0:
                for average, weight in zip(mine, theirs, strict=True):
                    average.copy_(weight)
            else:
                take_in = self.multi_avg_fn or _each_by(self.avg_fn or get_swa_avg_fn())
                for dtype in dict.fromkeys(each.dtype for each in mine):
                    alike = [pair for pair in zip(mine, theirs, strict=True) if pair[0].dtype == dtype]
                    take_in([average for average, _ in alike], [weight for _, weight in alike], self.n_averaged)
            if not self.use_buffers:
                for kept, buffer in zip(self.module.buffers(), model.buffers(), strict=True):
                    kept.copy_(buffer)
            self.n_averaged += 1

    def _averaged(self, model: Module) -> list[Tensor]:
        buffers: Iterable[Tensor] = model.buffers() if self.use_buffers else ()
        return [each.detach() for each in chain(model.parameters(), buffers)]


def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Compute the running statistics of all batch norms anew, as the mean over the batches of a loader.

    Averaged weights have other activations than those that the statistics were taken of.

    Args:
        loader: gives Tensors, or tuples or lists whose first element is the input.
        model: whose statistics are computed.
        device: that of the active backend, or None.
    """
    check_device(device, "update_bn")
    norms = [each for each in model.modules() if isinstance(each, BatchNorm1d | BatchNorm2d)]
    if not norms:
        return
    momenta, was_training = [each.momentum for each in norms], model.training
    for each in norms:
        each.reset_running_stats()
        each.momentum = None  # every batch counts the same
    model.train()
    with no_grad():
        for batch in loader:
            model(batch[0] if isinstance(batch, list | tuple) else batch)
    for each, momentum in zip(norms, momenta, strict=True):
        each.momentum = momentum
    model.train(was_training)


class SWALR(LRScheduler):
    """From the learning rate that there is to `swa_lr`, where it stays: along half a cosine, or in a straight line.

    Another schedule may come before: where this one starts from is read at its first step.

    Args:
        optimizer: whose learning rates are written.
        swa_lr: where they go, one number or one for each parameter group.
        anneal_epochs: in how many steps; 0 goes there at once.
        anneal_strategy: "cos" or "linear".

    Raises:
        ArgumentError: if a setting makes no sense.
    """

    _state_names = (*LRScheduler._state_names, "start_lrs")

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float | Sequence[float],
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
    ) -> None:
        check_choice(anneal_strategy, ("cos", "linear"), "anneal_strategy", self._name)
        self._anneal = anneal_cos if anneal_strategy == "cos" else anneal_linear
        self.anneal_epochs = whole_number(anneal_epochs, "anneal_epochs", self._name, 0)
        self.swa_lrs = [
            not_negative(lr, "swa_lr", self._name) for lr in per_group(swa_lr, "swa_lr", self._name, optimizer)
        ]
        super().__init__(optimizer)

    def _go_to(self, epoch: int) -> None:
        if epoch <= 1:
            self.start_lrs = [group["lr"] for group in self.optimizer.param_groups]
        pairs = zip(self.start_lrs, self.swa_lrs, strict=True)
        self._last_lr = [self._anneal(start, end, self._progress(epoch)) for start, end in pairs]
        self.last_epoch = epoch
        self._write()

    def lr_at(self, epoch: int, base_lr: float) -> float:
        """The point on the way from `base_lr` to the first of `swa_lr`."""
        return self._anneal(base_lr, self.swa_lrs[0], self._progress(epoch))

    def _progress(self, epoch: int) -> float:
        return min(epoch / self.anneal_epochs, 1.0) if self.anneal_epochs else 1.0
