"""The progress bar of long work: on a terminal as much as there is room for, in a notebook a widget."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from tqdm import tqdm
from tqdm.notebook import tqdm as tqdm_notebook
from tqdm.utils import disp_len

__all__ = ["progress_bar"]

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


def progress_bar(
    iterable: Iterable[Any] | None = None,
    desc: str = "",
    unit: str = "",
    total: int | None = None,
    initial: int = 0,
    shown: bool = True,
) -> _TerminalBar | _NotebookBar:
    """A tqdm that is shown on a terminal or in a notebook, and nowhere else, and is gone when it is done.

    Its `show(*figures)` says how the work goes, the most important last.

    Args:
        iterable: what is gone through; without one `total` says how much there is, and `update` what is done.
        desc: what is being done.
        unit: what is counted.
        shown: False for no bar at all.
    """
    notebook = _in_notebook()
    kind = _NotebookBar if notebook and importlib.util.find_spec("ipywidgets") else _TerminalBar
    hidden = True if not shown or not sys.stderr else False if notebook else None  # None: unless it is a terminal
    settings = {"dynamic_ncols": True} if kind is _TerminalBar else {}
    return kind(
        iterable, desc, total, initial=initial, unit=unit, leave=False, disable=hidden, file=sys.stderr, **settings
    )


def _in_notebook() -> bool:
    """Whether this is a program of IPython's whose output a notebook, or another page, shows."""
    ipython = sys.modules.get("IPython")
    return getattr(ipython and ipython.get_ipython(), "kernel", None) is not None


class _NotebookBar(tqdm_notebook):
    """The widget that Jupyter shows."""

    def show(self, *figures: str) -> None:
        """Say how the work goes."""
        self.set_postfix_str(", ".join(figures))


class _TerminalBar(tqdm):
    """A line that fits the window: where there is no room for all figures, the first are left out."""

    figures: Sequence[str] = ()

    def show(self, *figures: str) -> None:
        """Say how the work goes."""
        self.figures = figures
        self.refresh()

    def __str__(self) -> str:
        """The line, in the first form that there is room for."""
        facts = {"ncols": _USUAL, "prefix": "", **self.format_dict}
        width = facts["ncols"] or _USUAL
        facts["prefix"] = facts["prefix"].removesuffix(": ")  # which tqdm adds to some
        figures = self.figures or [f"{facts['n']}/{facts['total']} {facts['unit']}"]
        facts |= {"figures": ", ".join(figures), "vital": ", ".join(figures[-2:])}
        for form in _FORMS:
            without_bar = self.format_meter(**{**facts, "bar_format": form.replace("{bar}", ""), "ncols": None})
            if disp_len(without_bar) + _SHORTEST * ("{bar}" in form) <= width:
                break
        return str(self.format_meter(**{**facts, "bar_format": form, "ncols": width}))
