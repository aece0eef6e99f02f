"""Printing to a reader who may leave, such as `head`: the work goes on in silence."""

from __future__ import annotations

import os
import sys

__all__ = ["ignore_closed_pipe", "say"]


def say(text: str) -> None:
    """Print a line at once; where nobody reads any more, do nothing."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        ignore_closed_pipe()


def ignore_closed_pipe() -> None:
    """Send what is still to be printed nowhere, so that the interpreter does not complain at its end either."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
