"""Degradation: beyond some depth plain networks train worse the deeper they are, and residual networks do not."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gpunet.functional.checks import whole_number
from gpunet.gradients.network import Design
from gpunet.gradients.training import Budget, training

__all__ = ["TrainingCurve", "train_curve"]


@dataclass(frozen=True)
class TrainingCurve:
    """How a network trained.

    Attributes:
        losses: of the batch of each step.
    """

    design: Design
    losses: tuple[float, ...]

    @property
    def window(self) -> int:
        """A tenth of the steps: losses of single batches differ too much to be compared."""
        return math.ceil(len(self.losses) / 10)

    @property
    def train_loss(self) -> float:
        """The mean over the last tenth of the steps.

        Example:
            >>> TrainingCurve(Design(8, residual=True), (3.0,) * 18 + (2.0, 1.0)).train_loss
            1.5
        """
        return sum(self.losses[-self.window :]) / self.window

    def as_dict(self) -> dict[str, Any]:
        """The figures by name: an entry of degradation.json. None stands for a loss that is not finite."""
        losses = [loss if math.isfinite(loss) else None for loss in (self.train_loss, *self.losses)]
        return {
            "depth": self.design.depth,
            "residual": self.design.residual,
            "batch_norm": self.design.batch_norm,
            "activation": self.design.activation,
            "dtype": "float32",
            "pre_activation": self.design.pre_activation,
            "train_loss": losses[0],
            "losses": losses[1:],
        }


def train_curve(
    design: Design, steps: int, budget: Budget | None = None, on_step: Callable[[], object] | None = None
) -> TrainingCurve:
    """Train a network in float32 and keep the loss of every step.

    Args:
        design: of the network.
        steps: how many.
        budget: the images and the seed; `Budget()` if left out.
        on_step: called after each step.

    Raises:
        ArgumentError: if there is not at least one step.

    Reference:
        He et al., "Deep residual learning for image recognition", 2016, figures 1 and 6.
    """
    steps = whole_number(steps, "steps", "train_curve", 1)
    losses = []
    for _, loss in itertools.islice(training(design, "float32", budget or Budget()), steps):
        losses.append(loss)
        if on_step is not None:
            on_step()
    return TrainingCurve(design, tuple(losses))
