"""Callbacks that write into the folder of a run: figures, checkpoints, and events for TensorBoard."""

from __future__ import annotations

import importlib
import time
from pathlib import Path
from typing import Any

from gpunet.errors import FileError
from gpunet.train.checkpoint import CheckpointFolder
from gpunet.train.progress import EpochResult
from gpunet.train.run_folder import RunFolder
from gpunet.train.snapshot import take
from gpunet.train.trainer import Callback, Trainer

__all__ = ["CheckpointWriter", "MetricsWriter", "TensorBoardWriter"]


class MetricsWriter(Callback):
    """Adds a line to metrics.jsonl after each epoch.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Make the file hold just the epochs that are done: a killed run may have left more, or half a line."""
        self.folder.set_metrics([result.as_dict() for result in trainer.progress.results])

    def on_epoch_end(self, trainer: Trainer, result: EpochResult) -> None:
        """Add the line."""
        self.folder.add_metrics(result.as_dict())


class CheckpointWriter(Callback):
    """Takes a checkpoint after each epoch, when the run is stopped, and in between if asked to.

    The best checkpoint, which is kept, is that of the epoch with the best accuracy on the test images.

    Args:
        folder: where to.
        keep: how many of the last are kept.
        steps: take one every so many steps.
        seconds: take one when the last is that old.
    """

    def __init__(
        self, folder: CheckpointFolder, keep: int, steps: int | None = None, seconds: float | None = None
    ) -> None:
        self.folder, self.keep, self.steps, self.seconds = folder, keep, steps, seconds
        self._saved: tuple[int, int] | None = None
        self._saved_at = time.monotonic()

    def on_fit_begin(self, trainer: Trainer) -> None:
        """The clock starts; the checkpoint that the run goes on from need not be taken again."""
        self._saved_at = time.monotonic()
        self._saved = trainer.progress.position if trainer.progress.position in self.folder.positions() else None
        self.folder.prune(self.keep, _best(trainer))

    def on_step_end(self, trainer: Trainer) -> None:
        """Take a checkpoint if it is time."""
        is_step = self.steps is not None and trainer.progress.step % self.steps == 0
        if is_step or (self.seconds is not None and time.monotonic() - self._saved_at >= self.seconds):
            self._save(trainer)

    def on_epoch_end(self, trainer: Trainer, result: EpochResult) -> None:
        """Take a checkpoint."""
        self._save(trainer)

    def on_fit_end(self, trainer: Trainer) -> None:
        """Take a checkpoint of a run that was stopped within an epoch."""
        self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        progress = trainer.progress
        if self._saved == progress.position:
            return
        self.folder.save(take(trainer), self.keep, _best(trainer))
        self._saved, self._saved_at = progress.position, time.monotonic()


def _best(trainer: Trainer) -> tuple[int, int] | None:
    """The position of the end of the best epoch."""
    best = max(trainer.progress.results, key=lambda each: (each.test_accuracy, -each.test_loss), default=None)
    return (best.epoch, 0) if best else None


class TensorBoardWriter(Callback):
    """Writes the figures of each epoch as events that TensorBoard shows, with tensorboardX.

    Args:
        path: the folder of the events.

    Raises:
        FileError: if tensorboardX is not installed.
    """

    def __init__(self, path: Path | str) -> None:
        try:
            library = importlib.import_module("tensorboardX")
        except ImportError as error:
            raise FileError(
                "events for TensorBoard are written with tensorboardX, which is not installed: "
                "pip install 'gpunet[tensorboard]'"
            ) from error
        self.path = Path(path)
        self._library: Any = library
        self._writer: Any = None

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Begin a file of events; it takes the place of what an earlier file says about later steps."""
        self._writer = self._library.SummaryWriter(str(self.path), purge_step=len(trainer.progress.results) + 1)

    def on_epoch_end(self, trainer: Trainer, result: EpochResult) -> None:
        """Write the figures of the epoch."""
        for name, value in result.as_dict().items():
            if name == "gradient_norms":
                for parameter, norm in value.items():
                    self._writer.add_scalar(f"gradient_norm/{parameter}", norm, result.epoch)
            elif name != "epoch":
                self._writer.add_scalar(name, value, result.epoch)
        self._writer.flush()

    def on_fit_end(self, trainer: Trainer) -> None:
        """Close the file."""
        self._writer.close()
