"""The result in a few large numbers."""

from __future__ import annotations

from collections.abc import Callable

from gpunet.markup import tag
from gpunet.report.elements import Part, exact, percent
from gpunet.report.record import RunRecord, number
from gpunet.words import Words

__all__ = ["FIGURES", "headline"]

FIGURES: dict[str, Callable[[float], str]] = {
    "test_accuracy": percent,
    "test_loss": "{:.4f}".format,
    "epochs_done": "{:,.0f}".format,
    "parameters": "{:,.0f}".format,
    "seconds": "{:,.1f}".format,
    "images_per_second": "{:,.0f}".format,
}
"""The figures of a summary that come first, and how they are written."""


def headline(record: RunRecord, texts: Words) -> Part | None:
    """The figures that the run has come to."""
    if record.summary is None:
        return None
    cells = [
        tag("div", tag("dt", texts[f"figure.{name}"]), tag("dd", exact(name, record.summary[name], write)))
        for name, write in FIGURES.items()
        if number(record.summary.get(name)) is not None
    ]
    return Part("result", texts["result.heading"], [tag("dl", *cells, class_="tiles")])
