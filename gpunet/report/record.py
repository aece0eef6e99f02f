"""What a run has written down: its configuration, the figures of each epoch and, if it came to its end, the summary.

Nothing that is read is taken on trust: files may have been cut off, or come from elsewhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.errors import FileError
from gpunet.train import RunFolder

__all__ = ["RunRecord", "number", "read_record"]

NOT_TOLD = ("gpunet", "kernels")  # of the configuration: what gpunet itself has added
ENVIRONMENT = (
    "date", "gpunet", "commit", "python", "numpy", "backend", "kernels", "device", "processor", "cores", "threads",
    "system",
)  # fmt: skip


@dataclass(frozen=True)
class RunRecord:
    """The records of one run.

    Attributes:
        name: of its folder.
        config: what was trained on what, and how.
        epochs: the figures of each epoch; may be empty.
        summary: the result; None where the run did not come to an end.
    """

    name: str
    config: dict[str, Any]
    epochs: list[dict[str, Any]]
    summary: dict[str, Any] | None

    @property
    def numbers(self) -> list[int]:
        """The numbers of the epochs."""
        return [int(number(epoch.get("epoch")) or place) for place, epoch in enumerate(self.epochs, start=1)]

    @property
    def settings(self) -> dict[str, str | int | float | list[str]]:
        """What the run was told: the values of its configuration that an option can hold, and lists of texts."""
        told = {name: value for name, value in self.config.items() if name not in (*NOT_TOLD, "classes")}
        return {
            name: value
            for name, value in told.items()
            if isinstance(value, str | int | float)
            or (isinstance(value, list) and value and all(isinstance(each, str) for each in value))
        }

    @property
    def environment(self) -> dict[str, Any]:
        """When, where and with what the run was made; None is what it has not written down."""
        noted: dict[str, Any] = {}
        for source in (self.config, self.summary or {}):
            inner = source.get("environment")
            noted.update({name: source[name] for name in ENVIRONMENT if name in source})
            noted.update(inner if isinstance(inner, dict) else {})
        return {name: _plain(noted.get(name)) for name in ENVIRONMENT}

    def series(self, name: str) -> list[float | None]:
        """One figure over the epochs; None where an epoch lacks it."""
        return [number(epoch.get(name)) for epoch in self.epochs]


def read_record(folder: Path | str) -> RunRecord:
    """Read the records of a run. A run without metrics or summary was stopped before it had any: that is no error.

    Raises:
        FileError: if the folder holds no run, or a file of it is damaged.
    """
    run = RunFolder(folder)
    config = run.read_config()
    summary, epochs = run.read_summary(), run.read_metrics()
    if summary is not None:
        _check_summary(summary, run.summary_path)
        if len(epochs) < (number(summary.get("epochs_done")) or 0):
            raise FileError(f"{run.metrics_path} is damaged: it holds {len(epochs)} of {summary['epochs_done']} epochs")
    return RunRecord(run.path.resolve().name, config, epochs, summary)


def number(value: Any) -> float | None:
    """The value if it is a finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _plain(value: Any) -> str | int | None:
    return value if isinstance(value, str | int) and not isinstance(value, bool) else None


def _check_summary(summary: dict[str, Any], path: Path) -> None:
    for name in ("test_accuracy", "test_loss"):
        if number(summary.get(name)) is None:
            raise FileError(f"{path} is damaged: {name!r} must be a number, got {summary.get(name)!r}")
    classes = summary.get("classes")
    if not isinstance(classes, list) or not classes or not all(isinstance(each, str) for each in classes):
        raise FileError(f"{path} is damaged: 'classes' must be a list of texts")
    for name, shape in (
        ("precision", (len(classes),)),
        ("recall", (len(classes),)),
        ("confusion", (len(classes),) * 2),
    ):
        try:
            array = np.array(summary.get(name), dtype=np.float64)
        except (TypeError, ValueError):
            array = np.zeros(0)
        undefined = np.isnan(array) if name != "confusion" else np.zeros(array.shape, bool)  # None, in the file
        if array.shape != shape or not (undefined | (np.isfinite(array) & (array >= 0))).all():
            raise FileError(f"{path} is damaged: {name!r} must hold numbers of shape {shape}, 0 or more")
