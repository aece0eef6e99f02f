"""Options that several commands share, and the numbers that options take."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import TypeAlias

from gpunet.backend import BACKENDS

__all__ = ["Commands", "add_backend", "add_json", "positive_number", "whole_number_from"]

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""Where a command adds its parser."""


def add_backend(parser: argparse.ArgumentParser) -> None:
    """Add --backend."""
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        default=None,
        help="where to compute; auto takes a GPU if one works (default: $GPUNET_BACKEND, else auto)",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add --json."""
    parser.add_argument("--json", action="store_true", help="print the result as JSON and nothing else")


def whole_number_from(minimum: int) -> Callable[[str], int]:
    """The type of an option that takes a whole number of at least `minimum`."""

    def whole_number(text: str) -> int:
        number = int(text)
        if number < minimum:
            raise argparse.ArgumentTypeError(f"must be {minimum} or more, got {text}")
        return number

    return whole_number


def positive_number(text: str) -> float:
    """The type of an option that takes a finite number above 0."""
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text}")
    return number
