"""The training loop."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from tqdm import tqdm

from gpunet.backend import Array, xp
from gpunet.data import DataLoader
from gpunet.errors import NonFiniteError
from gpunet.functional import cross_entropy
from gpunet.nn import Module
from gpunet.optim import Optimizer
from gpunet.tensor import Tensor
from gpunet.train.metrics import Evaluation, evaluate

__all__ = ["EpochResult", "Schedule", "Trainer"]

STEPS_BETWEEN_LOOKS = 10  # reading the loss waits for a GPU to finish, so it is read only now and then


class Schedule(Protocol):
    """What changes the learning rate after every step; those of `gpunet.optim.lr_scheduler` do."""

    def step(self) -> None:
        """Move on by one step."""


@dataclass(frozen=True)
class EpochResult:
    """What one pass over the training set gave; a line of metrics.jsonl."""

    epoch: int
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    learning_rate: float
    images_per_second: float
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """The figures by name."""
        return asdict(self)


class Trainer:
    """Trains a classifier: forward, loss, backward, optimizer, schedule, for every batch of every epoch.

    Args:
        model: takes (N, C, H, W) images and returns (N, classes) logits.
        optimizer: over the parameters of the model.
        classes: how many there are.
        schedule: moved on by one step after every batch.
        loss_function: takes logits and labels and returns one number.
        show_progress: whether to draw a progress bar, where the output is a terminal.

    Attributes:
        stop_requested: set it, from a signal handler or a callback, to end after the batch that is being worked on.
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        classes: int,
        schedule: Schedule | None = None,
        loss_function: Callable[[Tensor, Tensor], Tensor] = cross_entropy,
        show_progress: bool = True,
    ) -> None:
        self.model, self.optimizer, self.schedule = model, optimizer, schedule
        self.classes, self.loss_function = classes, loss_function
        self.show_progress = show_progress
        self.stop_requested = False

    def fit(self, train: DataLoader, test: DataLoader, epochs: int) -> Iterator[EpochResult]:
        """Train for some epochs, yielding the figures of each as it ends; ends early where a stop was requested.

        Raises:
            NonFiniteError: if the loss becomes NaN or infinite.
        """
        for epoch in range(1, epochs + 1):
            started = time.perf_counter()
            loss, accuracy, images_per_second = self._train_epoch(train, epoch, epochs)
            if self.stop_requested:
                return
            result = self.evaluate(test)
            yield EpochResult(
                epoch=epoch,
                train_loss=loss,
                train_accuracy=accuracy,
                test_loss=result.loss,
                test_accuracy=result.accuracy,
                learning_rate=self.optimizer.param_groups[0]["lr"],
                images_per_second=images_per_second,
                seconds=time.perf_counter() - started,
            )

    def evaluate(self, loader: DataLoader) -> Evaluation:
        """Run the model over a loader in evaluation mode.

        Raises:
            NonFiniteError: if the loss is NaN or infinite: only here it shows what the last step did to the weights.
        """
        result = evaluate(self.model, loader, self.classes)
        self._check_finite(result.loss, "on the test images")
        return result

    def _train_epoch(self, loader: DataLoader, epoch: int, epochs: int) -> tuple[float, float, float]:
        """One pass over the training set: mean loss, accuracy, images per second."""
        self.model.train()
        loss_sum, right, seen = xp.zeros((), dtype=xp.float32), xp.zeros((), dtype=xp.int64), 0
        started = time.perf_counter()
        hidden = None if self.show_progress else True  # None: hidden unless stderr is a terminal
        with tqdm(
            loader, desc=f"epoch {epoch}/{epochs}", unit="batch", leave=False, disable=hidden, file=sys.stderr
        ) as progress:
            for step, (images, labels) in enumerate(progress, start=1):
                loss, batch_right = self.train_step(images, labels)
                loss_sum += loss * len(labels)
                right += batch_right
                seen += len(labels)
                if step % STEPS_BETWEEN_LOOKS == 0 or step == len(loader):
                    mean = self._check_finite(float(loss_sum) / seen, f"by step {step} of epoch {epoch}")
                    progress.set_postfix_str(
                        f"loss {mean:.3f}, accuracy {int(right) / seen:.1%}, "
                        f"{seen / (time.perf_counter() - started):,.0f} images/s"
                    )
                if self.stop_requested:
                    break
        return float(loss_sum) / seen, int(right) / seen, seen / (time.perf_counter() - started)

    def train_step(self, images: Tensor, labels: Tensor) -> tuple[Array, Array]:
        """Learn from one batch; returns its mean loss and how many images were classified right, on the device."""
        self.optimizer.zero_grad()
        logits = self.model(images)
        loss = self.loss_function(logits, labels)
        loss.backward()
        self.optimizer.step()
        if self.schedule is not None:
            self.schedule.step()
        return loss.data, (xp.argmax(logits.data, axis=1) == labels.data).sum()

    def _check_finite(self, loss: float, where: str) -> float:
        if not math.isfinite(loss):
            raise NonFiniteError(
                f"the loss became {loss} {where} (learning rate {self.optimizer.param_groups[0]['lr']:.3g}); "
                f"try a smaller learning rate"
            )
        return loss
