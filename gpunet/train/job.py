"""The main job: from the name of a dataset and of a network to a trained classifier in a folder."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from gpunet.backend import active_backend, manual_seed
from gpunet.backend.kernels import kernels_in_use
from gpunet.data import DataLoader, DatasetRecipe, Mixup, find_dataset
from gpunet.distributed import SyncBatchNorm, check_same, communicator, together
from gpunet.distributed.same import digests
from gpunet.errors import ArgumentError, DataError, FileError, GpunetError, NonFiniteError, StateDictError
from gpunet.functional import cross_entropy
from gpunet.graph import check_graphs
from gpunet.models import IMAGE_SIZES, check_image_size, create_model
from gpunet.nn import Module
from gpunet.optim.lr_scheduler import LRScheduler
from gpunet.train.callbacks import EarlyStopping, SameWeights
from gpunet.train.checkpoint import CheckpointFolder
from gpunet.train.config import RunOptions, TrainConfig, make_optimizer, make_schedule
from gpunet.train.environment import environment
from gpunet.train.fine_tuning import begin_with, freeze, normalised
from gpunet.train.metrics import Evaluation, evaluate
from gpunet.train.progress import EpochResult
from gpunet.train.run_data import changed_data, find_other_data, find_run_data, holds_out_by_order, read_input
from gpunet.train.run_folder import RunFolder
from gpunet.train.saving import CheckpointWriter, MetricsWriter, TensorBoardWriter
from gpunet.train.snapshot import largest_checkpoint, restore
from gpunet.train.trainer import Callback, Trainer
from gpunet.version import __version__
from gpunet.weights import load_weights

__all__ = ["TrainingRun", "evaluate_run", "saved_config", "saved_options"]

TEST_BATCH_SIZE = 256  # the same in training and in `evaluate_run`, so that both give the same bits

_log = logging.getLogger("gpunet")
_Settings = TypeVar("_Settings", TrainConfig, RunOptions)


class TrainingRun:
    """One training run on the active backend: made ready here, carried out by `run`.

    Where several ranks compute together (`gpunet.distributed`) each makes and runs the same: it is the run of one rank
    alone, with SyncBatchNorm in the place of batch norm. Rank 0 writes into the folder, the others only read from it.

    Args:
        config: what to train.
        folder: where to write; see `gpunet.train.run_folder`.
        overwrite: whether a run that is already there may be replaced.
        show_progress: whether to draw a progress bar, where the output is a terminal.
        options: how to carry it out; where a run goes on and none are given, as before. Those given are its from then
            on.
        resume: go on with the run that is in the folder, from its last checkpoint, to the same bits as if it had never
            been interrupted. Where no run was begun yet it is begun. With more epochs than before it is extended: from
            there on, learning rates are those of a run that was to have so many all along.
        callbacks: called before those that write into the folder, so that a checkpoint holds what they remember.

    Attributes:
        trainer: set its `stop_requested` to end the run early; what has been learned by then is saved.
        classes: the names of the classes.
        parameters: how many numbers the model learns.
        epochs: passes over the training images.
        resumed_from: whole epochs and batches of the next, where a checkpoint was loaded, else None.
        remarks: what to say of how the run is carried out: smaller batches than asked for, where there are not that
            many images; and where it goes on, other options or more epochs than before, or another backend or other
            kernels than it was begun with, with which results differ in their last bits.

    Raises:
        ArgumentError: if there is no such dataset or model, or the run to go on with has another configuration.
        FileError: if the folder holds a run, cannot be written to, or its last checkpoint is damaged.
        StateDictError: if that checkpoint is of another run.
        DataError: if the data are not what they were when the run to go on with was begun.
        BackendError: for CUDA graphs on the numpy backend.
        ProcessError: if ranks have other settings, data or weights.
    """

    def __init__(
        self,
        config: TrainConfig,
        folder: Path | str,
        overwrite: bool = False,
        show_progress: bool = True,
        options: RunOptions | None = None,
        resume: bool = False,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.config = config
        self.epochs = int(config.epochs or 0)  # the configuration has put a number in the place of None
        self.folder = RunFolder(communicator().gather(os.fspath(folder))[0])
        self.checkpoints = CheckpointFolder(self.folder.checkpoints_path)
        with together():
            before = _before(self.folder, config) if resume and self.folder.holds_run() else None
        check_same({**asdict(config), "resumed run": None if before is None else before.written}, "settings")
        self.options = options or (before.options if before else RunOptions())
        self.remarks = before.remarks(config, self.options) if before else []
        self._begun = before is not None
        self._by_order = holds_out_by_order(before.written) if before else False
        with together():
            parts = self._make(before)
        self._check_ranks(parts)
        self.model, self.train_loader, self.test_loader, self.classes, recipe, remarks = parts
        self.remarks += remarks
        self.parameters = sum(parameter.numel() for parameter in self.model.parameters())
        self.trainer = _make_trainer(config, self.options, parts, show_progress)
        writers = self._writers() if communicator().rank == 0 else []
        checks = [SameWeights()] if self.options.check_ranks else []
        self.trainer.callbacks += [*checks, *callbacks, *writers]
        with together():
            self.resumed_from = self._go_on(before) if before else None
        check_same({"last checkpoint": self.resumed_from, **digests(self.model)}, "weights")
        if not before:
            with together():
                if communicator().rank == 0:
                    self.folder.create(self._description(recipe), overwrite)
            self._begun = True

    def _make(self, before: _Before | None) -> _Parts:
        """What is to be trained on what."""
        parts = self._made()
        if before and (changed := changed_data(before.written, parts.recipe, parts.classes)):
            raise DataError(f"{changed}; a run goes on with the data it was begun with, or a new one begins")
        if parts.recipe.left_out and not before and communicator().rank == 0:
            _log.warning("%s", parts.recipe.left_out)
        if parts.train_loader.batch_size < self.config.batch_size:
            parts.remarks.append(
                f"batches of {parts.train_loader.batch_size} images, not {self.config.batch_size}: there are no more"
            )
        return parts

    def _check_ranks(self, parts: _Parts) -> None:
        """Make sure that all ranks learn the same from the same."""
        data = {
            "images to learn from": len(parts.train_loader.dataset),
            "images held out": len(parts.test_loader.dataset),
            "classes": list(parts.classes),
            "files": parts.recipe.files,
            "kernels": kernels_in_use(),
        }
        check_same(data, "data and kernels")
        check_same(digests(parts.model), "weights")

    def _writers(self) -> list[Callback]:
        """What writes into the folder as training goes along."""
        events = [TensorBoardWriter(self.folder.events_path)] if self.options.tensorboard else []
        writer = CheckpointWriter(
            self.checkpoints, self.options.keep, self.options.checkpoint_steps, self.options.checkpoint_seconds
        )
        return [MetricsWriter(self.folder), *events, writer]

    def _go_on(self, before: _Before) -> tuple[int, int] | None:
        """Load the last checkpoint, and write down what is not as before."""
        if communicator().rank:
            return self._restore(self.trainer)
        with self.folder.locked():
            position = self._restore(self.trainer)
            written = {**before.written, **asdict(self.config), **asdict(self.options)}
            if self.config != before.config:
                earlier = written.get("extended")
                extension = {"epochs": before.config.epochs, "after": list(position or (0, 0))}
                written["extended"] = [*(earlier if isinstance(earlier, list) else []), extension]
            if (self.config, self.options) != (before.config, before.options):
                self.folder.write_config(written)
        return position

    def _description(self, recipe: DatasetRecipe) -> dict[str, Any]:
        """What config.json holds. With "input" and "classes" the model can be used where the dataset is not."""
        return {
            "gpunet": __version__,
            **asdict(self.config),
            "backend": active_backend(),
            "kernels": kernels_in_use(),
            **asdict(self.options),
            "classes": list(self.classes),
            "input": {
                "channels": recipe.channels,
                "stored_size": recipe.size,
                "size": _image_size(self.config.model, recipe),
                "scale": recipe.scale,
                "mean": _numbers(recipe.mean),
                "std": _numbers(recipe.std),
            },
            **({} if recipe.files is None else {"files": recipe.files}),
            "environment": environment(),
        }

    def _made(self) -> _Parts:
        """The same, unchecked; the weights to begin with only where no checkpoint holds others."""
        goes_on = self._begun and self.checkpoints.positions()
        config = replace(self.config, weights=None) if goes_on else self.config
        return _make(config, self.options, self._by_order)

    def _restore(self, trainer: Trainer, with_callbacks: bool = True) -> tuple[int, int] | None:
        """Load the last checkpoint, where there is one."""
        positions = self.checkpoints.positions()
        if not positions:
            return None
        checkpoint = self.checkpoints.load(positions[-1], largest_checkpoint(trainer, positions[-1][0]))
        try:
            restore(trainer, checkpoint, with_callbacks)
        except StateDictError as error:
            raise StateDictError(f"{self.checkpoints.path_of(positions[-1])}: {error.message}") from error
        if isinstance(trainer.schedule, LRScheduler):
            trainer.schedule.recompute()  # of a run that is longer now
        return positions[-1]

    def run(self, on_epoch: Callable[[EpochResult], None] = lambda result: None) -> tuple[Evaluation, dict[str, Any]]:
        """Train, evaluate on the test set and write everything; returns the evaluation and the summary written.

        Raises:
            NonFiniteError: if the loss becomes NaN or infinite; checkpoints from before are kept.
            FileError: if the folder cannot be written to; checkpoints from before are kept. Also if another process
                writes into it, or has by now put another run in the place of this one.
        """
        with contextlib.ExitStack() as stack:
            with together():
                if communicator().rank == 0:
                    stack.enter_context(self.folder.locked())
                    self._check_ours()
            return self._run(on_epoch)

    def _check_ours(self) -> None:
        """Make sure that the folder still holds this run: it was not locked since that was made ready."""
        there = {**asdict(saved_config(self.folder)), **asdict(saved_options(self.folder))}
        if there != {**asdict(self.config), **asdict(self.options)}:
            raise FileError(f"{self.folder.path} holds another run by now")

    def _run(self, on_epoch: Callable[[EpochResult], None]) -> tuple[Evaluation, dict[str, Any]]:
        try:
            for result in self.trainer.fit(self.train_loader, self.test_loader, self.epochs):
                on_epoch(result)
        except NonFiniteError as error:
            raise self._explained(error) from error
        started = time.perf_counter()
        evaluation = self.trainer.evaluate(self.test_loader)
        progress = self.trainer.progress
        seconds = sum(result.seconds for result in progress.results) + progress.seconds
        summary = self._summary(evaluation, seconds + time.perf_counter() - started)
        if communicator().rank == 0:
            with self.trainer.averaged_weights():
                summary = self.folder.save(self.model, summary)
        return evaluation, summary

    def _explained(self, error: NonFiniteError) -> NonFiniteError:
        """The error with its layer, and with what is left of the run.

        A GPU is asked for the loss only now and then, and by then the weights are not what they were. So the way from
        the last checkpoint is gone once more, to the same bits, with a look at every step.
        """
        if active_backend() != "numpy":
            parts = self._made()
            trainer = _make_trainer(self.config, self.options, parts, show_progress=False)
            epoch = self.trainer.progress.epoch
            trainer.callbacks, trainer.look_always = [], True  # those of the user have seen it all, and remember it
            try:
                self._restore(trainer, with_callbacks=False)
                for _ in trainer.fit(parts.train_loader, parts.test_loader, epoch):
                    pass
            except NonFiniteError as precise:
                error = precise
            except GpunetError:
                pass  # such as no memory for a second network: then what is known is told
        positions = self.checkpoints.positions()
        if not positions:
            return error
        better = NonFiniteError(f"{error}; {self.checkpoints.path_of(positions[-1])} is from before it")
        return better.everywhere() if error.is_everywhere else better

    def _summary(self, evaluation: Evaluation, seconds: float) -> dict[str, Any]:
        trainer, results = self.trainer, self.trainer.progress.results
        speeds = [result.images_per_second for result in results]
        return {
            "test_accuracy": evaluation.accuracy,
            "test_loss": evaluation.loss,
            "parameters": self.parameters,
            "seconds": seconds,
            "images_per_second": float(np.median(speeds)) if speeds else None,
            "backend": active_backend(),
            **asdict(self.config),
            "epochs_done": len(results),
            "steps_done": trainer.progress.step,
            "steps_skipped": int(trainer.progress.skipped_steps),
            "world_size": communicator().size,
            "interrupted": trainer.stop_requested,
            "stopped_early": len(results) < self.epochs and not trainer.stop_requested,
            "classes": list(self.classes),
            "precision": _defined(evaluation.precision),
            "recall": _defined(evaluation.recall),
            "confusion": evaluation.confusion.tolist(),
            "gpunet": __version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "environment": environment(),
        }


def _defined(shares: np.ndarray) -> list[float | None]:
    """Shares as JSON can hold them: None stands for one that is undefined."""
    return [None if np.isnan(share) else float(share) for share in shares]


class _Parts(NamedTuple):
    model: Module
    train_loader: DataLoader
    test_loader: DataLoader
    classes: tuple[str, ...]
    recipe: DatasetRecipe
    remarks: list[str]


def _make(config: TrainConfig, options: RunOptions, by_order: bool) -> _Parts:
    """What is to be trained on what, as it is before the first step; each rank makes it for itself."""
    if options.graph:
        check_graphs()
    manual_seed(config.seed)
    recipe = find_dataset(
        config.data,
        options.data_dir,
        size=config.image_size,
        on_unreadable=options.on_unreadable,
        by_order=by_order,
    )
    recipe = normalised(recipe, config.preprocessing)
    size = _image_size(config.model, recipe)
    check_image_size(config.model, size, size)
    train_set = recipe.train_set(size, config.augment)
    classes = train_set.classes
    ranks = communicator()
    batch_size = min(config.batch_size, len(train_set))
    if batch_size < ranks.size:
        raise ArgumentError(f"train: a batch of {batch_size} images has none for some of the {ranks.size} ranks")
    model = create_model(config.model, len(classes), recipe.channels)
    if ranks.size > 1:
        model = SyncBatchNorm.convert_sync_batchnorm(model)
    remarks = [] if config.weights is None else [begin_with(model, config.weights, classes)]
    remarks += [freeze(model, config.freeze)] if config.freeze else []
    # A last batch of one image would have no variance for batch norm, so incomplete batches are left out, unless there
    # is no other.
    train_loader = DataLoader(
        train_set,
        batch_size,
        shuffle=True,
        drop_last=True,
        seed=config.seed,
        workers=options.workers,
        batch_transform=None if config.mixup is None else Mixup(len(classes), config.mixup),
        shard=(ranks.rank, ranks.size) if ranks.size > 1 else None,
    )
    test_loader = DataLoader(recipe.test_set(size), TEST_BATCH_SIZE, workers=options.workers)
    return _Parts(model, train_loader, test_loader, classes, recipe, remarks)


def _make_trainer(config: TrainConfig, options: RunOptions, parts: _Parts, show_progress: bool) -> Trainer:
    """What trains it; all ranks make theirs together."""
    optimizer = make_optimizer(config, parts.model)
    steps_per_epoch = -(-len(parts.train_loader) // config.accumulate)
    return Trainer(
        parts.model,
        optimizer,
        len(parts.classes),
        schedule=make_schedule(config, optimizer, int(config.epochs or 0) * steps_per_epoch),
        loss_function=functools.partial(cross_entropy, label_smoothing=config.label_smoothing),
        show_progress=show_progress,
        clip=config.clip,
        ema=config.ema,
        accumulate=config.accumulate,
        callbacks=[] if config.early_stop is None else [EarlyStopping(config.early_stop)],
        amp=config.amp,
        graph=options.graph,
    )


def _image_size(model: str, recipe: DatasetRecipe) -> int:
    """Of the images that the network gets."""
    return IMAGE_SIZES.get(model, recipe.size)


def _numbers(value: float | Sequence[float]) -> list[float]:
    return [float(each) for each in (value if isinstance(value, Sequence) else [value])]


def saved_config(folder: RunFolder) -> TrainConfig:
    """The configuration of the run in a folder.

    Raises:
        FileError: if there is none, or it is damaged.
    """
    return _saved(folder, TrainConfig)


def saved_options(folder: RunFolder) -> RunOptions:
    """How the run in a folder is carried out; runs of before have noted little of it, and get what is usual.

    Raises:
        FileError: if there is no run, or its configuration is damaged.
    """
    return _saved(folder, RunOptions)


def _saved(folder: RunFolder, kind: type[_Settings]) -> _Settings:
    saved = folder.read_config()
    try:
        return kind(**{name: saved[name] for name in (each.name for each in fields(kind)) if name in saved})
    except ArgumentError as error:
        raise FileError(f"{folder.config_path} is damaged: {error.message}") from error


class _Before(NamedTuple):
    """What a run that goes on was until now."""

    written: dict[str, Any]
    config: TrainConfig
    options: RunOptions

    def remarks(self, config: TrainConfig, options: RunOptions) -> list[str]:
        """What is not as it was."""
        return [*_changes(self.config, config), *_changes(self.options, options), *_other_bits(self.written)]


def _before(folder: RunFolder, config: TrainConfig) -> _Before:
    """What the run in a folder was, which goes on with the settings that it was begun with, or with more epochs."""
    saved = saved_config(folder)
    longer = int(config.epochs or 0) >= int(saved.epochs or 0)
    if replace(config, epochs=saved.epochs) != saved or not longer:
        raise ArgumentError(
            f"the run in {folder.path} was begun with other settings, and goes on with those it was begun with, or "
            f"with more epochs: {', '.join(_changes(saved, config))}"
        )
    return _Before(folder.read_config(), saved, saved_options(folder))


def _changes(before: TrainConfig | RunOptions, now: TrainConfig | RunOptions) -> list[str]:
    """The settings that are not the same."""
    old, new = asdict(before), asdict(now)
    return [f"{name} was {old[name]!r}, not {new[name]!r}" for name in new if old[name] != new[name]]


def _other_bits(saved: dict[str, Any]) -> list[str]:
    before = saved.get("backend"), saved.get("kernels", "of an older version")
    now = active_backend(), kernels_in_use()
    if before == now:
        return []
    described = [f"backend {backend}, kernels {kernels}" for backend, kernels in (before, now)]
    return [f"begun with {described[0]}, going on with {described[1]}: results differ in their last bits"]


def evaluate_run(
    folder: Path | str, data: str | None = None, data_dir: Path | str | None = None, whole: bool = False
) -> tuple[Evaluation, tuple[str, ...]]:
    """Build the model of a run again, load its weights and evaluate it on the active backend.

    Where files of a folder are not what they were in training, the log says which.

    Args:
        data: the name of other data than the run's own; see `gpunet.data.find_dataset`. Of both it is the images held
            out that are classified.
        data_dir: where the files of other data are.
        whole: of other data all images, for what the network has not learned from.

    Returns:
        The evaluation, and the names of the classes.

    Raises:
        FileError: if the folder holds no complete run, or a file of it is damaged.
        ArgumentError: if it was made with data or a model that this version does not know.
        DataError: if the data have other classes by now, or other data some that the network does not know.
        StateDictError: if the weights do not fit the model.
    """
    run = RunFolder(folder)
    config = run.read_config()
    if data is None:
        recipe = find_run_data(config, run.config_path)
        images = recipe.test_set(_image_size(config["model"], recipe))
        if changed := changed_data(config, recipe, images.classes):
            _log.warning("%s", "\n".join(filter(None, (changed, recipe.left_out))))
    else:
        _, recipe, _ = read_input(config, run.config_path)
        images = find_other_data(data, data_dir, config, run.config_path, whole)
    model = create_model(config["model"], len(images.classes), recipe.channels)
    load_weights(run.weights_path, model)
    return evaluate(model, DataLoader(images, TEST_BATCH_SIZE), len(images.classes)), images.classes
