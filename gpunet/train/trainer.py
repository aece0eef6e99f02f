"""The training loop, and what others hang into it."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn, Protocol

import numpy as np

from gpunet.amp import GradScaler, autocast
from gpunet.backend import Array, active_backend, to_cpu, xp
from gpunet.backend.recording import each_time
from gpunet.data import DataLoader
from gpunet.distributed import DataParallel, communicator
from gpunet.errors import ArgumentError, GpunetError, NonFiniteError, StateDictError
from gpunet.functional import cross_entropy
from gpunet.functional.checks import whole_number
from gpunet.graph import cuda_graph
from gpunet.nn import Module
from gpunet.notebook import titled
from gpunet.optim import Optimizer, clip_grad_norm_
from gpunet.optim.checks import positive
from gpunet.optim.lr_scheduler import ReduceLROnPlateau
from gpunet.progress_bar import progress_bar
from gpunet.ranks import alone
from gpunet.tensor import Tensor
from gpunet.train.ema import AveragedWeights
from gpunet.train.metrics import Evaluation, evaluate
from gpunet.train.nonfinite import NO_CAUSE, broken_parameter, find_cause
from gpunet.train.progress import EpochResult, Progress, results_table

__all__ = ["Callback", "Schedule", "Trainer"]

STEPS_BETWEEN_LOOKS = 10  # reading the loss waits for a GPU to finish, so it is read only now and then
SMALLEST_SCALE = 1  # of the loss, in mixed precision: gradients that overflow without being scaled up have exploded


class Schedule(Protocol):
    """What changes the learning rate after every step; those of `gpunet.optim.lr_scheduler` do."""

    def step(self) -> None:
        """Move on by one step."""


class Callback:
    """What the training loop calls as it goes along. Write a subclass with the methods that you need.

    A callback may read everything of the trainer. It may set `trainer.stop_requested`, which ends the run after this
    step as Ctrl-C does, and `trainer.finished`, which makes this epoch the last.

    Example:
        >>> class Loud(Callback):
        ...     def on_epoch_end(self, trainer, result):
        ...         print(f"after {trainer.progress.step} steps: {result.test_accuracy:.1%}")
    """

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Training begins, or goes on from a checkpoint."""

    def on_step_end(self, trainer: Trainer) -> None:
        """The optimizer has made a step, or mixed precision has left it out; the gradients are still there."""

    def on_epoch_end(self, trainer: Trainer, result: EpochResult) -> None:
        """An epoch is over, and evaluated."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """Training is over, or was stopped; not called after an error."""

    def state_dict(self) -> dict[str, Any]:
        """What has to be in a checkpoint, so that a resumed run goes on as if never interrupted; JSON can hold it."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave; called before `on_fit_begin`."""


class Trainer:
    """Trains a classifier: forward, loss, backward, optimizer, schedule, for every batch of every epoch.

    Where several ranks compute together (`gpunet.distributed`), each has a Trainer, and its `shard` of each batch;
    losses and counts are those of all, and all stop at the same step.

    Args:
        model: takes (N, C, H, W) images and returns (N, classes) logits. Layers whose parameters are all frozen stay in
            evaluation: batch norm keeps its statistics.
        optimizer: over the parameters of the model.
        classes: how many there are.
        schedule: moved on after every step; a `ReduceLROnPlateau` after every epoch, by the loss on the test images.
        loss_function: takes logits and labels and returns one number, the mean over the batch.
        show_progress: whether to draw a progress bar, where the output is a terminal.
        clip: the largest norm of all gradients together; see `clip_grad_norm_`.
        ema: keep a running average of the weights with this decay, and evaluate that; see `AveragedWeights`.
        accumulate: batches whose gradients are averaged for one step of the optimizer. An epoch ends with a step of
            fewer where the number of batches is not a multiple.
        callbacks: called in their order.
        amp: train in mixed precision: the forward pass and the loss under `autocast`, and a `GradScaler`, which may be
            given instead of True. Where gradients overflow the optimizer leaves the step out; schedule and average of
            the weights move on as after any other. Weights are float32, and evaluated without autocast: the figures of
            an epoch are those that anybody gets who loads them.
        graph: record the step as a CUDA graph and replay it, with the same bits; see `gpunet.cuda_graph`. A batch of
            another shape, such as a smaller last one, makes an ordinary step. Not with `accumulate`.

    Attributes:
        progress: how far the training has come.
        scaler: scales the loss in mixed precision; not enabled without.
        averages: the running average of the weights, or None.
        stop_requested: set it, from a signal handler or a callback, to end after the step that is being worked on.
        finished: set it in `on_epoch_end` to make that epoch the last.
        look_always: whether to read the loss at every step, so that the weights are still good when it is NaN. It is
            always so on NumPy, where there is no device to wait for.

    Raises:
        ArgumentError: if a setting makes no sense.
        BackendError: for `graph` on the numpy backend.

    Example:
        >>> from gpunet.data import Digits, TensorDataset
        >>> from gpunet.models import resnet8
        >>> from gpunet.optim import SGD
        >>> digits = Digits(train=False)
        >>> images = digits.images[:32].astype("float32") / 16
        >>> data = DataLoader(TensorDataset(images, digits.labels[:32]), batch_size=16)
        >>> model = resnet8(num_classes=10, in_channels=1)
        >>> trainer = Trainer(model, SGD(model.parameters(), lr=0.1), classes=10, clip=1.0)
        >>> [result.epoch for result in trainer.fit(data, data, epochs=2)]
        [1, 2]
        >>> trainer.progress.step
        4
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        classes: int,
        schedule: Schedule | ReduceLROnPlateau | None = None,
        loss_function: Callable[[Tensor, Tensor], Tensor] = cross_entropy,
        show_progress: bool = True,
        clip: float | None = None,
        ema: float | None = None,
        accumulate: int = 1,
        callbacks: Sequence[Callback] = (),
        amp: bool | GradScaler = False,
        graph: bool = False,
    ) -> None:
        self._parallel = model if isinstance(model, DataParallel) else DataParallel(model)
        self.model, self.optimizer, self.schedule = self._parallel.module, optimizer, schedule
        self.classes, self.loss_function = classes, loss_function
        self.show_progress = show_progress
        self.clip = None if clip is None else positive(clip, "clip", "Trainer")
        self.averages = None if ema is None else AveragedWeights(self.model, ema)
        self.accumulate = whole_number(accumulate, "accumulate", "Trainer", 1)
        self.callbacks = list(callbacks)
        self.scaler = amp if isinstance(amp, GradScaler) else GradScaler(enabled=amp)
        if graph and self.accumulate > 1:
            raise ArgumentError("Trainer: graph and accumulate do not go together: a graph is one batch and its step")
        if graph and communicator().size > 1:
            raise ArgumentError("Trainer: graph is for one rank alone: what ranks tell each other is not recorded")
        self._graph = cuda_graph(self._whole_step) if graph else None
        self.progress = Progress()
        self.stop_requested = False
        self.finished = False
        self.look_always = False
        self._unread: list[tuple[int, int, Array]] = []  # batch, step and loss of each since the last look

    def __repr__(self) -> str:
        model, optimizer = type(self.model).__name__, type(self.optimizer).__name__
        done = len(self.progress.results)
        return f"Trainer({model}, {optimizer}, after {done} epoch{'s' * (done != 1)} and {self.progress.step} steps)"

    def _repr_html_(self) -> str:
        """How a notebook shows it: with the figures of its epochs."""
        return titled(repr(self), "", results_table(self.progress.results))

    @property
    def learning_rate(self) -> float:
        """That of the first parameter group, at the moment."""
        return float(self.optimizer.param_groups[0]["lr"])

    def fit(self, train: DataLoader, test: DataLoader, epochs: int) -> Iterator[EpochResult]:
        """Train until `epochs` epochs are done, yielding the figures of each as it ends; ends early where asked to.

        Epochs that were done before, by an earlier call or by the run that a checkpoint was taken from, count.

        Raises:
            NonFiniteError: if the loss becomes NaN or infinite.
            StateDictError: if it is to go on from a place that the training set does not have.
            ArgumentError: if several ranks compute together, and `train` gives each of them whole batches.
        """
        self._check_place(train)
        for callback in self.callbacks:
            callback.on_fit_begin(self)
        while not any(self._asked_to_end()) and self.progress.epoch <= epochs:
            started = time.perf_counter() - self.progress.seconds
            if self._train_epoch(train, epochs):
                break
            result = self._result(self.evaluate(test), time.perf_counter() - started)
            self.progress.results.append(result)
            self.progress.start_epoch()
            if isinstance(self.schedule, ReduceLROnPlateau):
                self.schedule.step(result.test_loss)
            for callback in self.callbacks:
                callback.on_epoch_end(self, result)
            yield result
        for callback in self.callbacks:
            callback.on_fit_end(self)

    def _asked_to_end(self) -> tuple[bool, bool]:
        """Whether any rank is to stop, or has finished: all ask at the same places, so that all do the same.

        A signal may ask for it while this is found out, and must not be forgotten: nothing is set back.
        """
        asked = communicator().gather([self.stop_requested, self.finished])
        stops, finished = (any(flags) for flags in zip(*asked, strict=True))
        if stops:
            self.stop_requested = True
        if finished:
            self.finished = True
        return stops, finished

    def _check_place(self, train: DataLoader) -> None:
        if communicator().size > 1 and train.shard is None:
            raise ArgumentError("fit: each rank needs a part of every batch: give the DataLoader shard=(rank, ranks)")
        batch = self.progress.batch
        if batch > len(train) or (batch < len(train) and batch % self.accumulate):
            raise StateDictError(
                f"training cannot go on at batch {batch} of an epoch of {len(train)}, {self.accumulate} of them a step"
            )

    def _result(self, evaluation: Evaluation, seconds: float) -> EpochResult:
        progress = self.progress
        return EpochResult(
            epoch=progress.epoch,
            train_loss=float(progress.loss_sum) / progress.images,
            train_accuracy=int(progress.right) / progress.images,
            test_loss=evaluation.loss,
            test_accuracy=evaluation.accuracy,
            learning_rate=self.learning_rate,
            images_per_second=progress.images / progress.seconds,
            seconds=seconds,
            gradient_norms=progress.gradient_norms,
            loss_scale=self.scaler.get_scale() if self.scaler.is_enabled() else None,
        )

    def evaluate(self, loader: DataLoader) -> Evaluation:
        """Run the model, with the averages of its weights where there are any, over a loader in evaluation mode.

        Raises:
            NonFiniteError: if the loss is NaN or infinite: only here it shows what the last step did to the weights.
        """
        with self.averaged_weights():
            result = evaluate(self.model, loader, self.classes)
            if not math.isfinite(result.loss):
                name = broken_parameter(self.model)
                raise NonFiniteError(
                    f"the loss became {result.loss} on the test images (learning rate {self.learning_rate:.3g})"
                    f"{f': {name} is not finite' if name else ''}; try a smaller learning rate"
                ).everywhere()
        return result

    def averaged_weights(self) -> contextlib.AbstractContextManager[None]:
        """While the block lasts, the model has the running averages as its weights, where they are kept."""
        return contextlib.nullcontext() if self.averages is None else self.averages.in_use()

    def _train_epoch(self, loader: DataLoader, epochs: int) -> bool:
        """The rest of a pass over the training set; whether it was stopped."""
        progress = self.progress
        if progress.batch == len(loader):
            return False
        self.model.train()
        for module in self.model.modules():
            own = list(module.parameters(recurse=False))
            if own and not any(each.requires_grad for each in own):  # frozen: batch norm keeps its statistics, too
                module.eval()
        loader.set_epoch(progress.epoch - 1, progress.batch)
        started = time.perf_counter() - progress.seconds
        about = f"epoch {progress.epoch}/{epochs}"
        seen = self.show_progress and communicator().rank == 0
        with progress_bar(loader, about, "batches", len(loader), progress.batch, seen) as bar:
            for images, labels in bar:
                part = progress.batch % self.accumulate
                parts = min(self.accumulate, len(loader) - progress.batch + part)
                step = progress.step + 1
                loss, right = self.train_step(images, labels, part, parts)
                count = len(labels) if communicator().size == 1 else sum(self._parallel.counts)
                progress.batch += 1
                progress.loss_sum += loss * count
                progress.right += right
                progress.images += count
                progress.seconds = time.perf_counter() - started
                self._unread.append((progress.batch, step, loss))
                if progress.batch % STEPS_BETWEEN_LOOKS == 0 or progress.batch == len(loader):
                    mean = self._look(loader)
                    bar.show(
                        f"loss {mean:.3f}",
                        f"accuracy {int(progress.right) / progress.images:.1%}",
                        f"{progress.images / progress.seconds:,.0f} images/s",
                    )
                if progress.step < step:  # there are batches to come that make it up
                    continue
                if progress.batch == len(loader):
                    progress.gradient_norms = self._gradient_norms()
                for callback in self.callbacks:
                    callback.on_step_end(self)
                stops, _ = self._asked_to_end()
                if stops:
                    return True
        return False

    def train_step(self, images: Tensor, labels: Tensor, part: int = 0, parts: int = 1) -> tuple[Array, Array]:
        """Learn from one batch; returns its mean loss and how many images were classified right, on the device.

        Where several ranks compute together each has a part of the batch, and gets what is true of all of it.

        Args:
            part: the number of the batch among those that make up one step of the optimizer, from 0.
            parts: how many those are; the gradients of all are averaged, and the last makes the step.

        Raises:
            NonFiniteError: where the loss, or the norm of gradients to clip, is not finite and is read (`look_always`);
                in mixed precision, where gradients are not finite however little the loss is scaled.
        """
        looks = self.look_always or active_backend() == "numpy"
        if self._graph is not None and not looks and self._graph.takes(images, labels):
            loss, right, made = self._graph(images, labels)
            self._count(made)
            return loss, right
        loss, right = self._backward(images, labels, part, parts, looks)
        if part + 1 == parts:
            place = self.progress.batch + 1, self.progress.step + 1
            norm = self._finish_gradients()
            if norm is not None and looks and not self.scaler.is_enabled() and not math.isfinite(norm.item()):
                self._fail_of_gradients(norm, *place, images, labels)
            made = self._learn()
            if looks and self._overflows_always():
                self._fail_of_gradients(self._clip(math.inf), *place, images, labels)
            self._count(made)
        return loss, right

    def _whole_step(self, images: Tensor, labels: Tensor) -> tuple[Array, Array, Tensor | None]:
        """What a graph holds."""
        loss, right = self._backward(images, labels)
        self._finish_gradients()
        return loss, right, self._learn()

    def _backward(
        self, images: Tensor, labels: Tensor, part: int = 0, parts: int = 1, looks: bool = False
    ) -> tuple[Array, Array]:
        """Add the gradients of a batch to those of the parts before; its loss, and how many were classified right."""
        if part == 0:
            self.optimizer.zero_grad()
        with autocast(self.scaler.is_enabled()):
            logits = (self.model if communicator().size == 1 else self._parallel)(images)
            loss = self.loss_function(logits, labels)
        mean, right = _of_all_ranks(loss.array, _right(logits, labels), len(labels))
        if looks and not math.isfinite(value := float(mean)):
            self._fail("loss", value, self.progress.batch + 1, self.progress.step + 1, images, labels)
        with contextlib.nullcontext() if part + 1 == parts else self._parallel.no_sync():
            self.scaler.scale(loss if parts == 1 else loss / parts).backward()
        return mean, right

    def _finish_gradients(self) -> Tensor | None:
        """Unscale and clip the gradients; returns their norm from before it was clipped."""
        self.scaler.unscale_(self.optimizer)
        return None if self.clip is None else self._clip(self.clip)

    def _learn(self) -> Tensor | None:
        """From gradients to other weights; in mixed precision whether the step was made, or left out."""
        made = self.scaler.step(self.optimizer)
        self.scaler.update()
        if (averages := self.averages) is not None:
            each_time(lambda: averages.begin(self.progress.step + 1))
            averages.take_in()
        return made if isinstance(made, Tensor) else None

    def _count(self, made: Tensor | None) -> None:
        """The host's part of a step."""
        self.progress.step += 1
        if made is not None:
            self.progress.skipped_steps += ~made.array
        if self.schedule is not None and not isinstance(self.schedule, ReduceLROnPlateau):
            self.schedule.step()

    def _overflows_always(self) -> bool:
        """Whether gradients in mixed precision are not finite however little the loss is scaled."""
        if not self.scaler.is_enabled() or self.scaler.get_scale() >= SMALLEST_SCALE:
            return False
        return not math.isfinite(self._clip(math.inf).item())

    def _clip(self, limit: float) -> Tensor:
        """The norm of all gradients together, from before they were brought down to the limit."""
        return clip_grad_norm_((each for group in self.optimizer.param_groups for each in group["params"]), limit)

    def _look(self, loader: DataLoader) -> float:
        """The mean loss of the epoch so far; an error if a batch since the last look has broken it."""
        unread, self._unread = self._unread, []
        loss = float(self.progress.loss_sum) / self.progress.images
        if not math.isfinite(loss):
            broken = ((batch, step, float(each)) for batch, step, each in unread if not math.isfinite(float(each)))
            batch, step, value = next(broken, (self.progress.batch, self.progress.step, loss))
            loader.set_epoch(self.progress.epoch - 1, batch - 1)
            self._fail("loss", value, batch, step, *next(iter(loader)))
        if self._overflows_always():
            batch, step, _ = unread[-1]
            loader.set_epoch(self.progress.epoch - 1, batch - 1)
            self._fail_of_gradients(self._clip(math.inf), batch, step, *next(iter(loader)))
        return loss

    def _fail(self, what: str, value: float, batch: int, step: int, images: Tensor, labels: Tensor) -> NoReturn:
        with alone(), autocast(self.scaler.is_enabled()):
            try:
                cause = find_cause(self.model, self.loss_function, images, labels)
            except GpunetError as error:  # as of the one image of a batch that this rank has
                cause = f"{NO_CAUSE} ({error})"
        causes = communicator().gather(cause)
        rank = next((rank for rank, each in enumerate(causes) if not each.startswith(NO_CAUSE)), 0)
        where = "" if len(set(causes)) == 1 else f"on rank {rank} "
        raise NonFiniteError(
            f"the {what} became {value} in step {step}, with batch {batch} of epoch {self.progress.epoch} "
            f"(learning rate {self.learning_rate:.3g}): {where}{causes[rank]}; try a smaller learning rate"
        ).everywhere()

    def _fail_of_gradients(self, norm: Tensor, batch: int, step: int, images: Tensor, labels: Tensor) -> NoReturn:
        self._fail("norm of the gradients", norm.item(), batch, step, images, labels)

    def _gradient_norms(self) -> dict[str, float]:
        """The L2 norm of each parameter's gradient, copied from the device all at once."""
        named = [(name, each.grad.array) for name, each in self.model.named_parameters() if each.grad is not None]
        if not named:
            return {}
        norms = to_cpu(xp.sqrt(xp.stack([(grad * grad).sum() for _, grad in named])))
        if self.scaler.is_enabled() and not np.isfinite(norms).all():  # the step was left out
            return {}
        return {name: float(norm) for (name, _), norm in zip(named, norms, strict=True)}


def _right(logits: Tensor, labels: Tensor) -> Array:
    """How many images were classified right; where labels are probabilities, as the likeliest class."""
    expected = xp.argmax(labels.array, axis=1) if labels.is_floating_point() else labels.array
    return (xp.argmax(logits.array, axis=1) == expected).sum()


def _of_all_ranks(loss: Array, right: Array, count: int) -> tuple[Array, Array]:
    """The mean loss and how many are right, of the images of all ranks."""
    ranks = communicator()
    if ranks.size == 1:
        return loss, right
    ours = xp.stack([loss.astype(xp.float64) * count if count else xp.zeros(()), right, xp.asarray(count)])
    losses, rights, images = ranks.total(ours.astype(xp.float64))
    return xp.asarray(losses / images, dtype=loss.dtype), xp.asarray(rights, dtype=xp.int64)
