"""Printing to a reader who may leave, such as `head`: the work goes on in silence."""

from __future__ import annotations

import os
import sys

__all__ = ["ignore_closed_pipe", "in_colour", "say"]

_CODES = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "cyan": 36}


def say(text: str) -> None:
    """Print a line at once; where nobody reads any more, do nothing."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        ignore_closed_pipe()


def in_colour(text: str, colour: str) -> str:
    """The text in a colour or style where it goes to a terminal; as it is where NO_COLOR is set (no-color.org).

    The colours are red, green, yellow and cyan, the styles bold and dim.
    """
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not sys.stdout.isatty():
        return text
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m"


def ignore_closed_pipe() -> None:
    """Send what is still to be printed nowhere, so that the interpreter does not complain at its end either."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
