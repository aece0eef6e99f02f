"""All of it: the networks one after the other, what was measured, and the files that it becomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gpunet.errors import ArgumentError, FileError
from gpunet.files import remove, write_bytes, write_json
from gpunet.functional.checks import whole_number
from gpunet.gradients.claims import Claim, check_claims
from gpunet.gradients.degradation import TrainingCurve, train_curve
from gpunet.gradients.network import ACTIVATIONS, Design
from gpunet.gradients.pictures import plot_curves, plot_gradient_norms, plot_gradients_during_training
from gpunet.gradients.trace import DTYPES, GradientTrace, trace_gradients
from gpunet.gradients.training import Budget
from gpunet.progress_bar import progress_bar
from gpunet.visualize.figure import figure_png, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["DEPTHS", "Experiment", "Findings"]

DEPTHS = (8, 20, 56)
"""The depths that are compared unless others are asked for."""


@dataclass
class Findings:
    """What has been measured so far.

    Attributes:
        traces: the gradients of each network, at the start and during training.
        curves: the training losses of a shallower and of a deeper network of each kind.
    """

    traces: list[GradientTrace] = field(default_factory=list)
    curves: list[TrainingCurve] = field(default_factory=list)

    def claims(self) -> list[Claim]:
        """The three claims, and whether they hold."""
        return check_claims(self.traces, self.curves)


@dataclass(frozen=True)
class Experiment:
    """What is to be measured: plain and residual networks, with and without batch norm, in float32 and float16.

    Attributes:
        depths: of the networks; the two largest are compared in training.
        steps: for how many steps of training the gradients are followed.
        degradation_steps: how long the networks that are compared in training train; 0 leaves that out.
        budget: the images and the seed.
        pre_activation: see `Design`.

    Raises:
        ArgumentError: if there is no depth, one is not 6n + 2, or a number makes no sense.
    """

    depths: Sequence[int] = DEPTHS
    steps: int = 5
    degradation_steps: int = 240
    budget: Budget = field(default_factory=Budget)
    pre_activation: bool = True

    def __post_init__(self) -> None:
        whole_number(self.steps, "steps", "Experiment", 0)
        whole_number(self.degradation_steps, "degradation_steps", "Experiment", 0)
        if not self.designs():
            raise ArgumentError("Experiment: depths must have at least one depth, got none")

    def designs(self) -> list[Design]:
        """The networks whose gradients are measured."""
        return [
            Design(depth, residual, batch_norm, activation, self.pre_activation)
            for activation in ACTIVATIONS
            for batch_norm in (False, True)
            for depth in sorted(set(self.depths))
            for residual in (False, True)
        ]

    def compared(self) -> list[Design]:
        """The networks that are compared in training: those with batch norm and ReLU, as in the paper."""
        depths = sorted(set(self.depths))[-2:]
        if len(depths) < 2 or not self.degradation_steps:
            return []
        return [
            Design(depth, residual, True, "relu", self.pre_activation) for residual in (False, True) for depth in depths
        ]

    def run(self, folder: Path | str, show_progress: bool = True) -> Findings:
        """Measure everything and write it into a folder, over what an earlier run has left there.

        The folder has gradients.json, a list of `GradientTrace.as_dict()`; degradation.json, a list of
        `TrainingCurve.as_dict()`; and the pictures gradients.png, training.png and degradation.png. However the run
        ends, by Ctrl-C for example, what has been measured until then is in the two lists.

        Raises:
            GpunetError: if matplotlib, which draws the pictures, is not installed.
            FileError: if the folder cannot be made or written into.
        """
        folder = Path(folder)
        new_figure("", 1, 1)  # so that matplotlib is not missed after minutes of measuring
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"cannot use the folder {folder}: {error.strerror or error}") from error
        findings = Findings()
        try:
            self._measure(findings, show_progress)
        finally:
            _write_numbers(findings, folder)
        _write_pictures(findings, folder)
        return findings

    def _measure(self, findings: Findings, show_progress: bool) -> None:
        jobs = [(design, dtype) for design in self.designs() for dtype in DTYPES]
        with progress_bar(jobs, "gradients", "networks", len(jobs), shown=show_progress) as progress:
            for design, dtype in progress:
                findings.traces.append(trace_gradients(design, dtype, self.steps, self.budget))
        designs = self.compared()
        total = len(designs) * self.degradation_steps
        with progress_bar(desc="training", unit="steps", total=total, shown=show_progress) as progress:
            for design in designs:
                progress.set_description(design.name)
                findings.curves.append(train_curve(design, self.degradation_steps, self.budget, progress.update))


def _write_numbers(findings: Findings, folder: Path) -> None:
    """Write the lists, and remove what an earlier run has left there and this one does not replace."""
    if not findings.traces:
        return
    for name in ("gradients.png", "training.png", "degradation.png", "degradation.json"):
        remove(folder / name)
    write_json(folder / "gradients.json", [trace.as_dict() for trace in findings.traces])
    if findings.curves:
        write_json(folder / "degradation.json", [curve.as_dict() for curve in findings.curves])


def _write_pictures(findings: Findings, folder: Path) -> None:
    """The titles say what is drawn. What it shows is another question, which the claims answer in words."""
    traces, curves = findings.traces, findings.curves
    title = "The gradient that reaches each layer, at the start"
    _write_figure(plot_gradient_norms(traces, title), folder / "gradients.png")
    if steps := len(traces[0].steps) - 1:
        during = f"during {steps} steps of training" if steps > 1 else "after one step of training"
        title = f"How much of the gradient reaches the first layer, at the start and {during}"
        _write_figure(plot_gradients_during_training(traces, title), folder / "training.png")
    if curves:
        title = "The training losses of plain and of residual networks"
        _write_figure(plot_curves(curves, title), folder / "degradation.png")


def _write_figure(figure: Figure, path: Path) -> None:
    write_bytes(path, figure_png(figure))
