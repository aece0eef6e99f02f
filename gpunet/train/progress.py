"""How far a training run has come, and what its epochs gave."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from gpunet.backend import Array, xp
from gpunet.errors import StateDictError
from gpunet.markup import Markup
from gpunet.notebook import table

__all__ = ["EpochResult", "Progress", "as_table", "from_table", "results_table"]

_NORMS = "gradient_norms."


@dataclass(frozen=True)
class EpochResult:
    """What one pass over the training set gave; a line of metrics.jsonl.

    Attributes:
        learning_rate: at the end of the epoch.
        images_per_second: while training.
        seconds: of training and test together.
        gradient_norms: the L2 norm of each parameter's gradient at the last step of the epoch; none if it was skipped.
        loss_scale: of mixed precision, at the end of the epoch; None without.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    learning_rate: float
    images_per_second: float
    seconds: float
    gradient_norms: dict[str, float] = field(default_factory=dict, repr=False)  # one for each parameter: too many
    loss_scale: float | None = None

    def _repr_html_(self) -> str:
        """How a notebook shows it."""
        return results_table([self])

    def as_dict(self) -> dict[str, Any]:
        """The figures by name, without those that there are none of."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_dict(cls, figures: Any) -> EpochResult:
        """The result whose `as_dict` gave these figures.

        Raises:
            StateDictError: if there are others, or one is not a number.
        """
        names = {each.name for each in fields(cls)}
        if isinstance(figures, Mapping) and "loss_scale" not in figures:
            names.remove("loss_scale")
        if not isinstance(figures, Mapping) or set(figures) != names:
            raise StateDictError(f"the figures of an epoch must be {', '.join(sorted(names))}, got {figures!r:.200}")
        norms = figures["gradient_norms"]
        numbers = [figures[name] for name in names - {"gradient_norms", "epoch"}]
        if not isinstance(norms, dict) or any(type(number) is not float for number in [*numbers, *norms.values()]):
            raise StateDictError(f"the figures of an epoch must be numbers, got {figures!r:.200}")
        if type(figures["epoch"]) is not int or not all(map(math.isfinite, numbers)):
            raise StateDictError(f"the figures of an epoch must be finite numbers, got {figures!r:.200}")
        return cls(**figures)


def results_table(results: Sequence[EpochResult]) -> Markup:
    """The figures of epochs, as a notebook shows them."""
    columns = ("epoch", "training loss", "accuracy", "test loss", "accuracy", "learning rate", "images/s", "seconds")
    rows = (
        (
            each.epoch,
            f"{each.train_loss:.4f}",
            f"{each.train_accuracy:.2%}",
            f"{each.test_loss:.4f}",
            f"{each.test_accuracy:.2%}",
            f"{each.learning_rate:.3g}",
            f"{each.images_per_second:,.0f}",
            f"{each.seconds:.1f}",
        )
        for each in results
    )
    return table(columns, rows)


def as_table(results: Sequence[EpochResult]) -> tuple[list[str], np.ndarray]:
    """The figures of epochs as a table, and the names of its columns: eight bytes a figure, however many epochs.

    NaN stands for what an epoch has not; no figure is NaN itself. "gradient_norms.NAME" is the norm of one parameter.

    Shape:
        table: (epochs, figures), float64
    """
    rows = [{**result.as_dict(), **_norms(result)} for result in results]
    names = list({name: None for row in rows for name in row if name not in ("epoch", "gradient_norms")})  # in order
    values = [[row.get(name, math.nan) for name in names] for row in rows]
    return names, np.array(values, dtype=np.float64).reshape(len(rows), len(names))


def _norms(result: EpochResult) -> dict[str, float]:
    return {f"{_NORMS}{name}": norm for name, norm in result.gradient_norms.items()}


def from_table(names: Sequence[Any], table: np.ndarray, epochs: int) -> list[EpochResult]:
    """The results that `as_table` was given.

    Raises:
        StateDictError: if the table is of another shape or type, or figures are missing.
    """
    if table.shape != (epochs, len(names)) or table.dtype != np.float64 or not all(isinstance(n, str) for n in names):
        raise StateDictError(
            f"the figures of {epochs} epochs must be float64 of shape {(epochs, len(names))}, got {table.dtype} of "
            f"{table.shape}"
        )
    results = []
    for epoch, row in enumerate(table.tolist(), start=1):
        there = {name: value for name, value in zip(names, row, strict=True) if not math.isnan(value)}
        norms = {name.removeprefix(_NORMS): there.pop(name) for name in list(there) if name.startswith(_NORMS)}
        results.append(EpochResult.from_dict({"epoch": epoch, **there, "gradient_norms": norms}))
    return results


@dataclass
class Progress:
    """Where a run is: everything that the training loop itself has to remember.

    Attributes:
        step: how many steps the optimizer was to make, in all epochs.
        skipped_steps: how many of them it left out, because gradients had overflowed in mixed precision; on the device.
        results: of the epochs that are over; their number is that of whole epochs.
        batch: how many batches of the epoch in work are done.
        images: how many images of the epoch in work have been seen.
        seconds: how long the epoch in work has trained.
        loss_sum: of the images of the epoch in work, on the device.
        right: how many of them were classified right, on the device.
        gradient_norms: of the epoch in work, once its last step is done.
    """

    step: int = 0
    skipped_steps: Array = None
    results: list[EpochResult] = field(default_factory=list)
    batch: int = 0
    images: int = 0
    seconds: float = 0.0
    loss_sum: Array = None
    right: Array = None
    gradient_norms: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.skipped_steps is None:
            self.skipped_steps = xp.zeros((), dtype=xp.int64)
        if self.loss_sum is None:
            self.start_epoch()

    @property
    def epoch(self) -> int:
        """The number of the epoch in work, counted from 1."""
        return len(self.results) + 1

    @property
    def position(self) -> tuple[int, int]:
        """Whole epochs, and batches of the next: no two moments at which a run can be saved have the same."""
        return len(self.results), self.batch

    def start_epoch(self) -> None:
        """Forget about the epoch that is over."""
        self.batch, self.images, self.seconds, self.gradient_norms = 0, 0, 0.0, {}
        self.loss_sum, self.right = xp.zeros((), dtype=xp.float32), xp.zeros((), dtype=xp.int64)
