"""The main job: from the name of a dataset and of a network to a trained classifier in a folder."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.backend import active_backend, manual_seed
from gpunet.data import DataLoader, find_dataset
from gpunet.functional.checks import whole_number
from gpunet.models import IMAGE_SIZES, create_model
from gpunet.optim import SGD
from gpunet.optim.checks import positive
from gpunet.optim.lr_scheduler import OneCycleLR
from gpunet.train import files
from gpunet.train.metrics import Evaluation, evaluate
from gpunet.train.run_folder import RunFolder
from gpunet.train.trainer import EpochResult, Trainer
from gpunet.version import __version__

__all__ = ["TrainConfig", "TrainingRun", "evaluate_run"]

TEST_BATCH_SIZE = 256  # the same in training and in `evaluate_run`, so that both give the same bits
MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4


@dataclass(frozen=True)
class TrainConfig:
    """What to train on what, and how. The learning rate is the highest of a one-cycle schedule of SGD with momentum.

    Raises:
        ArgumentError: if a number makes no sense.
    """

    data: str = "digits"
    model: str = "resnet8"
    epochs: int = 15
    batch_size: int = 32
    lr: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        for name, minimum in (("epochs", 1), ("batch_size", 2), ("seed", 0)):
            # Stored as Python's own numbers: those of NumPy cannot be written as JSON.
            object.__setattr__(self, name, whole_number(getattr(self, name), name, "train", minimum))
        object.__setattr__(self, "lr", positive(self.lr, "lr", "train"))


class TrainingRun:
    """One training run on the active backend: made ready here, carried out by `run`.

    Args:
        config: what to train.
        folder: where to write; see `gpunet.train.run_folder`.
        overwrite: whether a run that is already there may be replaced.
        show_progress: whether to draw a progress bar, where the output is a terminal.

    Attributes:
        trainer: set its `stop_requested` to end the run early; what has been learned by then is saved.
        classes: the names of the classes.
        parameters: how many numbers the model learns.

    Raises:
        ArgumentError: if there is no such dataset or model.
        FileError: if the folder holds a run, or cannot be written to.

    Reference:
        Smith and Topin, "Super-convergence: very fast training of neural networks using large learning rates", 2017.
    """

    def __init__(self, config: TrainConfig, folder: Path, overwrite: bool = False, show_progress: bool = True) -> None:
        self.config = config
        self.folder = RunFolder(folder)
        manual_seed(config.seed)
        recipe = find_dataset(config.data)
        size = IMAGE_SIZES.get(config.model, recipe.size)
        train_set = recipe.train_set(size)
        self.classes = train_set.classes
        self.model = create_model(config.model, len(self.classes), recipe.channels)
        self.parameters = sum(parameter.numel() for parameter in self.model.parameters())
        # A last batch of one image would have no variance for batch norm, so incomplete batches are left out.
        self.train_loader = DataLoader(train_set, config.batch_size, shuffle=True, drop_last=True, seed=config.seed)
        self.test_loader = DataLoader(recipe.test_set(size), TEST_BATCH_SIZE)
        optimizer = SGD(self.model.parameters(), config.lr, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, nesterov=True)
        schedule = OneCycleLR(optimizer, config.lr, total_steps=config.epochs * len(self.train_loader))
        self.trainer = Trainer(self.model, optimizer, len(self.classes), schedule=schedule, show_progress=show_progress)
        described = {"gpunet": __version__, **asdict(config), "backend": active_backend()}
        self.folder.create(described, overwrite)

    def run(self, on_epoch: Callable[[EpochResult], None] = lambda result: None) -> tuple[Evaluation, dict[str, Any]]:
        """Train, evaluate on the test set and write everything; returns the evaluation and the summary written.

        Raises:
            NonFiniteError: if the loss becomes NaN or infinite.
            FileError: if the folder cannot be written to.
        """
        started = time.perf_counter()
        results: list[EpochResult] = []
        for result in self.trainer.fit(self.train_loader, self.test_loader, self.config.epochs):
            results.append(result)
            self.folder.add_metrics(result.as_dict())
            on_epoch(result)
        evaluation = self.trainer.evaluate(self.test_loader)
        summary = self._summary(evaluation, results, time.perf_counter() - started)
        self.folder.save(self.model, summary)
        return evaluation, summary

    def _summary(self, evaluation: Evaluation, results: Sequence[EpochResult], seconds: float) -> dict[str, Any]:
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
            "interrupted": self.trainer.stop_requested,
            "classes": list(self.classes),
            "precision": evaluation.precision.tolist(),
            "recall": evaluation.recall.tolist(),
            "confusion": evaluation.confusion.tolist(),
            "gpunet": __version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
        }


def evaluate_run(folder: Path) -> tuple[Evaluation, tuple[str, ...]]:
    """Build the model of a run again, load its weights and evaluate it on the test set, on the active backend.

    Returns:
        The evaluation, and the names of the classes.

    Raises:
        FileError: if the folder holds no complete run, or a file of it is damaged.
        ArgumentError: if it was made with data or a model that this version does not know.
        StateDictError: if the weights do not fit the model.
    """
    run = RunFolder(folder)
    config = run.read_config()
    recipe = find_dataset(config["data"])
    test_set = recipe.test_set(IMAGE_SIZES.get(config["model"], recipe.size))
    model = create_model(config["model"], len(test_set.classes), recipe.channels)
    files.load_weights(run.weights_path, model)
    evaluation = evaluate(model, DataLoader(test_set, TEST_BATCH_SIZE), len(test_set.classes))
    return evaluation, test_set.classes
