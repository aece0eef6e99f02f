"""What the theory says, held against what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gpunet.gradients.degradation import TrainingCurve
from gpunet.gradients.trace import GradientTrace, LayerNorms

__all__ = ["Claim", "check_claims", "is_kept", "number"]

TWO_ORDERS = 100.0
SIGMOIDS = "sigmoid, without batch norm"
SAME_LOSS = 0.02  # training losses that are closer than this are the same: as much depends on the seed


@dataclass(frozen=True)
class Claim:
    """A claim, and what the measurements say to it.

    Attributes:
        text: the claim.
        holds: whether it does; None where it was not measured.
        evidence: the numbers.
    """

    text: str
    holds: bool | None
    evidence: str


def check_claims(traces: Sequence[GradientTrace], curves: Sequence[TrainingCurve]) -> list[Claim]:
    """Hold the three claims against the measurements: vanishing, the way around it, and degradation.

    Args:
        traces: of plain and of residual networks, in float32 and in float16.
        curves: of a shallower and of a deeper network of both kinds; none where that was left out.
    """
    return [_vanishing(traces), _residual(traces), _degradation(curves)]


def is_kept(step: LayerNorms) -> bool:
    """Whether the first layer's gradient is within two orders of magnitude of the last one's."""
    return step.first_over_last is not None and 1 / TWO_ORDERS <= step.first_over_last <= TWO_ORDERS


def number(value: float | None) -> str:
    """A ratio with two digits, such as "0.024" or "1.4e-14"; "none" where there is none."""
    if value is None:
        return "none"
    return f"{value:.1e}" if 0 < value < 1e-2 or value >= 1e4 else f"{value:.2g}"


def _vanishing(traces: Sequence[GradientTrace]) -> Claim:
    text = (
        "In deep plain networks of sigmoids the first layer's gradient is orders of magnitude below the last one's, "
        "in float16 exactly 0."
    )
    chosen = [trace for trace in traces if not trace.design.residual and trace.design.setting == SIGMOIDS]
    exact = [trace for trace in chosen if trace.dtype == "float32"]
    half = [trace for trace in chosen if trace.dtype == "float16"]
    if not exact or not half:
        return Claim(text, None, "no such networks were measured")
    deepest = max(exact, key=lambda trace: trace.design.depth).start.first_over_last
    holds = deepest is not None and deepest < 1 / TWO_ORDERS and any(trace.start.norms[0] == 0 for trace in half)
    ratios = ", ".join(f"{number(trace.start.first_over_last)} at depth {trace.design.depth}" for trace in exact)
    zeros = ", ".join(f"{trace.start.zeros} of {trace.design.depth}" for trace in half)
    return Claim(text, holds, f"float32: {ratios}; float16: {zeros} layers get exactly 0")


def _residual(traces: Sequence[GradientTrace]) -> Claim:
    text = "Residual networks keep it within two orders of magnitude, at every depth."
    chosen = [trace for trace in traces if trace.design.residual]
    if not chosen:
        return Claim(text, None, "no such networks were measured")
    outside = [trace for trace in chosen if not is_kept(trace.start)]
    evidence = f"{len(chosen) - len(outside)} of {len(chosen)} do, {_extent([trace.start for trace in chosen])}"
    later = [step for trace in chosen for step in trace.steps[1:]]
    if later:
        evidence += f"; during training {sum(map(is_kept, later))} of {len(later)}, {_extent(later)}"
    exceptions = [
        f"{trace.design}, {trace.dtype}: {trace.start.explanation or number(trace.start.first_over_last)}"
        for trace in outside
    ]
    return Claim(text, not outside, "\n  not: ".join([evidence, *exceptions]))


def _extent(steps: Sequence[LayerNorms]) -> str:
    ratios = [step.first_over_last for step in steps if step.first_over_last is not None]
    return f"from {number(min(ratios))} to {number(max(ratios))}" if ratios else "none of them finite"


def _degradation(curves: Sequence[TrainingCurve]) -> Claim:
    plain = sorted((curve for curve in curves if not curve.design.residual), key=lambda curve: curve.design.depth)
    residual = sorted((curve for curve in curves if curve.design.residual), key=lambda curve: curve.design.depth)
    if len(plain) < 2 or len(residual) < 2:
        return Claim(
            "A deeper plain network trains worse than a shallower one, and a deeper residual network does not.",
            None,
            "that takes two depths, and steps of training to compare them",
        )
    names = [curve.design.name for curve in (plain[0], plain[-1], residual[0], residual[-1])]
    losses = [curve.train_loss for curve in (plain[0], plain[-1], residual[0], residual[-1])]
    text = f"Degradation: {names[1]} trains worse than {names[0]}, and {names[3]} not worse than {names[2]}."
    holds = losses[1] > losses[0] + SAME_LOSS and losses[3] <= losses[2] + SAME_LOSS
    figures = ", ".join(f"{name} {loss:.4f}" for name, loss in zip(names, losses, strict=True))
    evidence = f"training loss after {len(plain[0].losses)} steps: {figures}; up to {SAME_LOSS} counts as the same"
    return Claim(text, holds, evidence)
