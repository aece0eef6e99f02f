"""The measurements as text."""

from __future__ import annotations

from collections.abc import Sequence

from gpunet.gradients.claims import Claim, number
from gpunet.gradients.trace import GradientTrace
from gpunet.terminal import table

__all__ = ["claims_text", "table_text"]

_VERDICTS = {True: "holds", False: "does not hold", None: "not measured"}


def table_text(traces: Sequence[GradientTrace]) -> str:
    """First over last of every network, at the start: a row for each depth, a column for each kind and type.

    In brackets: how many layers have a gradient of exactly 0.
    """
    columns = list(dict.fromkeys((trace.design.residual, trace.dtype) for trace in traces))
    rows = [
        ["first / last", "depth", *(f"{'residual' if residual else 'plain'} {dtype}" for residual, dtype in columns)]
    ]
    cells = {
        (trace.design.setting, trace.design.depth, trace.design.residual, trace.dtype): _cell(trace) for trace in traces
    }
    for setting, depth in dict.fromkeys((trace.design.setting, trace.design.depth) for trace in traces):
        rows.append([setting, str(depth), *(cells.get((setting, depth, *column), "") for column in columns)])
    return table(rows)


def _cell(trace: GradientTrace) -> str:
    zeros = f" ({trace.start.zeros})" if trace.start.zeros else ""
    return number(trace.start.first_over_last) + zeros


def claims_text(claims: Sequence[Claim]) -> str:
    """Each claim, whether it holds, and the numbers that say so."""
    return "\n".join(f"{_VERDICTS[claim.holds]}: {claim.text}\n  {claim.evidence}" for claim in claims)
