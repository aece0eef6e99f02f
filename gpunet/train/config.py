"""What a training run is told: what decides on its result, and what does not."""

from __future__ import annotations

import numbers
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from gpunet.data import AUGMENTATIONS, DATASETS, DatasetRecipe
from gpunet.errors import ArgumentError, FileError
from gpunet.files import LARGEST_JSON, LARGEST_NUMBER, read_bytes
from gpunet.functional.checks import check_choice, probability, whole_number
from gpunet.nn import Module
from gpunet.optim import SGD, Adam, AdamW, Optimizer
from gpunet.optim.checks import below_one, not_negative, positive
from gpunet.optim.lr_scheduler import (
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
)
from gpunet.optim.optimizer import Params
from gpunet.suggestions import closest
from gpunet.train.fine_tuning import PREPROCESSING, groups_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["OPTIMIZERS", "SCHEDULES", "RunOptions", "TrainConfig", "make_optimizer", "make_schedule", "read_toml"]

MOMENTUM = 0.9


@dataclass(frozen=True)
class _Recipe:
    """An optimizer with what is right for it where nothing else is said."""

    make: Callable[[Params, float, float], Optimizer]
    lr: float
    weight_decay: float


OPTIMIZERS = {
    "sgd": _Recipe(
        lambda params, lr, decay: SGD(params, lr, momentum=MOMENTUM, weight_decay=decay, nesterov=True), 0.1, 5e-4
    ),
    "adam": _Recipe(lambda params, lr, decay: Adam(params, lr, weight_decay=decay), 3e-3, 0.0),
    "adamw": _Recipe(lambda params, lr, decay: AdamW(params, lr, weight_decay=decay), 3e-3, 0.05),
}
"""Every optimizer by the name that the command line takes."""

SCHEDULES = ("onecycle", "cosine", "step", "plateau", "constant")
"""Every schedule by the name that the command line takes; see `make_schedule`."""


@dataclass(frozen=True)
class TrainConfig:
    """What to train on what, and how: all that decides on the bits of the result.

    Attributes:
        data: the name of a dataset; see `gpunet.data.find_dataset`.
        model: the name of a network; see `gpunet.models.create_model`.
        epochs: passes over the training images; None for what is right for the data.
        batch_size: images in a batch.
        lr: the highest learning rate of the run; None for what is right for the optimizer.
        seed: of everything random.
        optimizer: one of `OPTIMIZERS`.
        schedule: one of `SCHEDULES`.
        weight_decay: None for what is right for the optimizer.
        label_smoothing: that much of the target is spread evenly over all classes.
        augment: how training images are changed; see `gpunet.data.AUGMENTATIONS`.
        clip: the largest norm of all gradients together; None for no limit.
        ema: the decay of a running average of the weights, which is what is evaluated and saved; None for no average.
        accumulate: batches whose gradients are averaged for one step.
        mixup: mix pairs of images and of labels, in shares from Beta(mixup, mixup); None for no mixing.
        image_size: of the images of a folder, which have none of their own.
        early_stop: end after that many epochs without a smaller loss on the test images; None for all epochs.
        amp: train in mixed precision; see `gpunet.train.Trainer`.
        weights: a file of weights to begin with; see `gpunet.weights`. The head is new unless classes are the same.
        freeze: patterns such as "layer1.*": parameters with such names stay as they are.
        head_lr: the highest learning rate of the head; None for that of all others.
        preprocessing: one of `PREPROCESSING`: by whose mean and deviation images are normalised.

    Raises:
        ArgumentError: if a value makes no sense.
    """

    data: str = "digits"
    model: str = "resnet8"
    epochs: int | None = None
    batch_size: int = 32
    lr: float | None = None
    seed: int = 0
    optimizer: str = "sgd"
    schedule: str = "onecycle"
    weight_decay: float | None = None
    label_smoothing: float = 0.0
    augment: str = "standard"
    clip: float | None = None
    ema: float | None = None
    accumulate: int = 1
    early_stop: int | None = None
    mixup: float | None = None
    image_size: int | None = None
    amp: bool = False
    weights: str | None = None
    freeze: Sequence[str] = ()
    head_lr: float | None = None
    preprocessing: str = "data"

    def __post_init__(self) -> None:
        _check_sizes(self)
        for name in ("data", "model", "optimizer", "schedule", "augment"):
            _check_text(getattr(self, name), name)
        check_choice(self.optimizer, tuple(OPTIMIZERS), "optimizer", "train")
        check_choice(self.schedule, SCHEDULES, "schedule", "train")
        recipe = OPTIMIZERS[self.optimizer]
        if self.epochs is None:
            self._set("epochs", DATASETS[self.data].epochs if self.data in DATASETS else DatasetRecipe.epochs)
        # Stored as Python's own numbers: those of NumPy cannot be written as JSON.
        for name, minimum in (("epochs", 1), ("batch_size", 2), ("seed", 0), ("accumulate", 1)):
            self._set(name, whole_number(getattr(self, name), name, "train", minimum))
        self._set("lr", positive(recipe.lr if self.lr is None else self.lr, "lr", "train"))
        decay = recipe.weight_decay if self.weight_decay is None else self.weight_decay
        self._set("weight_decay", not_negative(decay, "weight_decay", "train"))
        self._set("label_smoothing", probability(self.label_smoothing, "label_smoothing", "train"))
        check_choice(self.augment, AUGMENTATIONS, "augment", "train")
        for name in ("clip", "mixup"):
            if getattr(self, name) is not None:
                self._set(name, positive(getattr(self, name), name, "train"))
        if self.ema is not None:
            self._set("ema", below_one(self.ema, "ema", "train"))
        for name in ("early_stop", "image_size"):
            if getattr(self, name) is not None:
                self._set(name, whole_number(getattr(self, name), name, "train", 1))
        _check_switch(self.amp, "amp")
        if self.weights is not None:
            _check_text(str(self.weights) if isinstance(self.weights, Path) else self.weights, "weights")
            self._set("weights", str(self.weights))
        self._set("freeze", [self.freeze] if isinstance(self.freeze, str) else list(self.freeze))  # as JSON has it
        for pattern in self.freeze:
            _check_text(pattern, "freeze")
        if self.head_lr is not None:
            self._set("head_lr", positive(self.head_lr, "head_lr", "train"))
        check_choice(self.preprocessing, PREPROCESSING, "preprocessing", "train")

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)


@dataclass(frozen=True)
class RunOptions:
    """How a run is carried out: nothing here changes a bit of its result, but the run keeps to it when it goes on.

    Attributes:
        data_dir: where the files of the dataset are; None for where downloads are kept.
        on_unreadable: what becomes of files of a folder that are no images: "skip" or "error".
        workers: threads that make batches.
        keep: how many of the last checkpoints are kept, besides the best.
        checkpoint_steps: take a checkpoint every so many steps, and not only after each epoch.
        checkpoint_seconds: take a checkpoint when the last is that old, and not only after each epoch.
        tensorboard: whether to write events for TensorBoard.
        graph: whether to replay the step as CUDA graphs; see `gpunet.cuda_graph`.
        check_ranks: whether to compare the weights of all ranks after every step; see `gpunet.distributed`.

    Raises:
        ArgumentError: if a value makes no sense.
    """

    data_dir: str | None = None
    on_unreadable: str = "skip"
    workers: int = 1
    keep: int = 2
    checkpoint_steps: int | None = None
    checkpoint_seconds: float | None = None
    tensorboard: bool = False
    graph: bool = False
    check_ranks: bool = False

    def __post_init__(self) -> None:
        _check_sizes(self)
        if self.data_dir is not None:
            _check_text(str(self.data_dir) if isinstance(self.data_dir, Path) else self.data_dir, "data_dir")
            object.__setattr__(self, "data_dir", str(self.data_dir))
        _check_text(self.on_unreadable, "on_unreadable")
        check_choice(self.on_unreadable, ("skip", "error"), "on_unreadable", "train")
        whole_number(self.workers, "workers", "train", 0)
        whole_number(self.keep, "keep", "train", 1)
        if self.checkpoint_steps is not None:
            whole_number(self.checkpoint_steps, "checkpoint_steps", "train", 1)
        if self.checkpoint_seconds is not None:
            positive(self.checkpoint_seconds, "checkpoint_seconds", "train")
        _check_switch(self.tensorboard, "tensorboard")
        _check_switch(self.graph, "graph")
        _check_switch(self.check_ranks, "check_ranks")


def _check_sizes(settings: TrainConfig | RunOptions) -> None:
    """Make sure that numbers can be written down and read again."""
    for each in fields(settings):
        value = getattr(settings, each.name)
        if isinstance(value, numbers.Integral) and abs(int(value)) > LARGEST_NUMBER:
            raise ArgumentError(f"train: {each.name} must be at most {LARGEST_NUMBER}")


def _check_text(value: Any, name: str) -> None:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ArgumentError(f"train: {name} must be a text, got {value!r:.200}")


def _check_switch(value: Any, name: str) -> None:
    if not isinstance(value, bool):
        raise ArgumentError(f"train: {name} must be true or false, got {value!r:.200}")


def make_optimizer(config: TrainConfig, model: Module) -> Optimizer:
    """The optimizer that a configuration asks for; SGD has a Nesterov momentum of 0.9."""
    lr, decay = config.lr, config.weight_decay
    groups: list[dict[str, Any]] = [{"params": params} for params in groups_of(model, config.head_lr)]
    if config.head_lr is not None:
        groups[1]["lr"] = config.head_lr
    return OPTIMIZERS[config.optimizer].make(groups, float(lr or 0), float(decay or 0))


def make_schedule(config: TrainConfig, optimizer: Optimizer, steps: int) -> LRScheduler | None:
    """The schedule that a configuration asks for, over so many steps.

    onecycle: up to the learning rate within 30 % of the run, and down to nearly nothing; momentum the other way.
    cosine: up to it in a straight line within 5 % of the run, and down to 0 along half a cosine.
    step: a tenth of it after half of the run, a hundredth after three quarters.
    plateau: a tenth each time that the loss on the test images has not become smaller for three epochs.
    constant: the same all the time.

    Reference:
        Smith and Topin, "Super-convergence: very fast training of neural networks using large learning rates", 2018.
        He et al., "Deep residual learning for image recognition", 2016 (step, and plateau).
    """
    lr = float(config.lr or 0)
    if config.schedule == "onecycle":
        return OneCycleLR(optimizer, lr if config.head_lr is None else [lr, config.head_lr], total_steps=steps)
    if config.schedule == "cosine":
        warm_up = max(1, steps // 20)
        rise = LinearLR(optimizer, start_factor=1 / (warm_up + 1), total_iters=warm_up)
        return SequentialLR(optimizer, [rise, CosineAnnealingLR(optimizer, max(1, steps - warm_up))], [warm_up])
    if config.schedule == "step":
        return MultiStepLR(optimizer, sorted({steps // 2, steps * 3 // 4}))
    if config.schedule == "plateau":
        return ReduceLROnPlateau(optimizer, patience=2)
    return None


def read_toml(path: Path | str) -> dict[str, Any]:
    """The settings in a TOML file: names of `TrainConfig` and `RunOptions`, with hyphens or underscores.

    Raises:
        FileError: if it cannot be read or is not TOML.
        ArgumentError: if there are settings that nobody knows; the message says which may be meant.
    """
    try:
        found = tomllib.loads(read_bytes(Path(path), LARGEST_JSON).decode("utf-8"))
    except (ValueError, RecursionError) as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise FileError(f"{path} is not a TOML file: {error}") from error
    settings = {name.replace("-", "_"): value for name, value in found.items()}
    names = [each.name for each in (*fields(TrainConfig), *fields(RunOptions))]
    if unknown := [name for name in settings if name not in names]:
        guess = closest(unknown[0], names)
        meant = f"did you mean {guess}?" if guess else f"known are {', '.join(names)}"
        raise ArgumentError(f"{path} has settings that are not known: {', '.join(unknown)}; {meant}")
    return settings
