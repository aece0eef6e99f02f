"""Bars for long work: text on a terminal, a widget in a notebook, nothing in a pipe."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable
from typing import Any

import tqdm
import tqdm.notebook

__all__ = ["progress_bar"]


def progress_bar(items: Iterable[Any] | None = None, *, show: bool = True, **settings: Any) -> Any:
    """A bar of tqdm, which goes away when the work is done.

    Args:
        items: what the work goes through; without it the caller moves the bar on.
        show: whether to draw it at all.
        settings: of tqdm, such as `desc`, `unit`, `total`, `initial`.
    """
    shown = show and bool(sys.stderr)
    if shown and _in_notebook():
        kind = tqdm.notebook.tqdm if importlib.util.find_spec("ipywidgets") else tqdm.tqdm
        return kind(items, leave=False, file=sys.stderr, **settings)
    # None: hidden unless stderr is a terminal
    return tqdm.tqdm(items, leave=False, disable=None if shown else True, file=sys.stderr, **settings)


def _in_notebook() -> bool:
    """Whether this is a program of IPython's whose output a notebook, or another page, shows."""
    ipython = sys.modules.get("IPython")
    return getattr(ipython and ipython.get_ipython(), "kernel", None) is not None
