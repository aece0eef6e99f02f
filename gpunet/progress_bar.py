"""The progress bar of long work: as much as there is room for, what matters most at every width."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm
from tqdm.utils import disp_len

__all__ = ["ProgressBar"]

_USUAL = 80  # columns of a terminal that does not say how wide it is
_SHORTEST = 5  # columns of the bar itself; where there is no room for them it is left out
_FORMS = (  # from the widest; {vital} are the last two figures
    "{desc} {percentage:3.0f}% |{bar}| {figures}, {remaining} left",
    "{desc} {percentage:3.0f}% |{bar}| {figures}",
    "{desc} {percentage:3.0f}% {figures}",
    "{desc} {percentage:3.0f}% {vital}",
    "{percentage:3.0f}% {vital}",
    "{vital}",
)


class ProgressBar(tqdm):
    """A tqdm on stderr, shown only where that is a terminal, and gone when it is done.

    Args:
        iterable: what is gone through; without one `total` says how much there is, and `update` what is done.
        desc: what is being done.
        unit: what is counted.
        shown: False for no bar at all.

    Attributes:
        figures: how the work goes, the most important last: where there is no room for all, the first are left out.
    """

    def __init__(
        self,
        iterable: Iterable[Any] | None = None,
        desc: str = "",
        unit: str = "",
        total: int | None = None,
        initial: int = 0,
        shown: bool = True,
    ) -> None:
        self.figures: list[str] = []
        super().__init__(
            iterable,
            desc,
            total,
            initial=initial,
            unit=unit,
            leave=False,
            disable=None if shown and sys.stderr else True,  # None: unless stderr is a terminal
            file=sys.stderr,
            dynamic_ncols=True,
        )

    def show(self, *figures: str) -> None:
        """Say how the work goes, the most important last."""
        self.figures = list(figures)
        self.refresh()

    def __str__(self) -> str:
        """The line, in the first form that there is room for."""
        facts = {**self.format_dict, "prefix": self.desc.removesuffix(": ")}
        width = facts["ncols"] or _USUAL
        figures = self.figures or [f"{self.n}/{self.total} {self.unit}"]
        facts |= {"figures": ", ".join(figures), "vital": ", ".join(figures[-2:])}
        for form in _FORMS:
            without_bar = self.format_meter(**{**facts, "bar_format": form.replace("{bar}", ""), "ncols": None})
            if disp_len(without_bar) + _SHORTEST * ("{bar}" in form) <= width:
                break
        return str(self.format_meter(**{**facts, "bar_format": form, "ncols": width}))
