"""The measurement: how large the gradient is that reaches each layer, at the start and after a few steps."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gpunet.backend import xp
from gpunet.errors import GradientError
from gpunet.functional.checks import check_choice, whole_number
from gpunet.gradients.network import Design
from gpunet.gradients.training import Budget, training
from gpunet.tensor import Tensor

__all__ = ["DTYPES", "GradientTrace", "LayerNorms", "gradient_norms", "trace_gradients"]

DTYPES = ("float32", "float16")
"""The types of number in which networks are measured."""


@dataclass(frozen=True)
class LayerNorms:
    """The gradients of a network at one step.

    Attributes:
        step: how often the weights had been changed before.
        loss: of the batch.
        norms: the L2 norm of the gradient of each layer's weight, from the first layer to the last.
    """

    step: int
    loss: float
    norms: tuple[float, ...]

    @property
    def first_over_last(self) -> float | None:
        """How much of the gradient reaches the first layer, as a share of the last one's; None where that is no number.

        Example:
            >>> LayerNorms(step=0, loss=2.3, norms=(0.25, 0.5, 1.0)).first_over_last
            0.25
        """
        return None if self.explanation else self.norms[0] / self.norms[-1]

    @property
    def explanation(self) -> str | None:
        """Why there is no `first_over_last`; None where there is one."""
        first, last = self.norms[0], self.norms[-1]
        if not (math.isfinite(first) and math.isfinite(last)):
            return f"the gradient has overflowed: its norm is {first} in the first layer and {last} in the last"
        return "the gradient of the last layer is 0" if last == 0 else None

    @property
    def zeros(self) -> int:
        """How many layers have a gradient that is 0 in every element: they do not learn at all."""
        return self.norms.count(0.0)

    def as_dict(self) -> dict[str, Any]:
        """The figures by name, as JSON can hold them: None stands for what is not finite."""
        return {
            "loss": _finite(self.loss),
            "layer_norms": [_finite(norm) for norm in self.norms],
            "first_over_last": self.first_over_last,
            "explanation": self.explanation,
        }


@dataclass(frozen=True)
class GradientTrace:
    """What was measured in one network.

    Attributes:
        dtype: the type of weights, activations and gradients.
        steps: the gradients at the start and after each step, one more than there were steps.
    """

    design: Design
    dtype: str
    steps: tuple[LayerNorms, ...]

    @property
    def start(self) -> LayerNorms:
        """The gradients at the initial weights."""
        return self.steps[0]

    def as_dict(self) -> dict[str, Any]:
        """The figures by name: an entry of gradients.json."""
        return {
            "depth": self.design.depth,
            "residual": self.design.residual,
            "batch_norm": self.design.batch_norm,
            "activation": self.design.activation,
            "dtype": self.dtype,
            "pre_activation": self.design.pre_activation,
            **self.start.as_dict(),
            "during_training": [{"step": each.step, **each.as_dict()} for each in self.steps[1:]],
        }


def trace_gradients(
    design: Design, dtype: str = "float32", steps: int = 0, budget: Budget | None = None
) -> GradientTrace:
    """Measure the gradients of a network at the start, and after each of some steps of training.

    Args:
        design: of the network.
        dtype: "float32" or "float16".
        steps: how often the weights are changed; 0 measures the start alone.
        budget: the images and the seed; `Budget()` if left out.

    Raises:
        ArgumentError: if the type is another one, or there is a negative number of steps.

    Example:
        >>> few = Budget(images=16)
        >>> plain = trace_gradients(Design(20, residual=False, batch_norm=False, activation="sigmoid"), budget=few)
        >>> residual = trace_gradients(Design(20, residual=True, batch_norm=False, activation="sigmoid"), budget=few)
        >>> plain.start.first_over_last < 1e-12, residual.start.first_over_last > 1e-2
        (True, True)
    """
    check_choice(dtype, DTYPES, "dtype", "trace_gradients")
    steps = whole_number(steps, "steps", "trace_gradients", 0)
    moments = itertools.islice(training(design, dtype, budget or Budget()), steps + 1)
    return GradientTrace(
        design,
        dtype,
        tuple(
            LayerNorms(step, loss, tuple(gradient_norms(model.weights()))) for step, (model, loss) in enumerate(moments)
        ),
    )


def gradient_norms(weights: Sequence[Tensor]) -> list[float]:
    """The L2 norm of each weight's gradient: `sqrt(sum of g^2)` over all its elements.

    The squares are summed in float64, since in float16 those of all gradients below 2e-4 are 0, and those of more than
    256 infinite: a norm of 0 says that every element is.

    Shape:
        any.

    Raises:
        GradientError: if a weight has no gradient.
    """
    norms = []
    for weight in weights:
        if weight.grad is None:
            raise GradientError("gradient_norms: a weight has no gradient; run backward() first")
        gradient = weight.grad.array.astype(xp.float64)
        norms.append(float(xp.sqrt((gradient * gradient).sum())))
    return norms


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
