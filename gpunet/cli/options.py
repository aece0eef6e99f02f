"""Options that several commands share, and the numbers that options take."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import TypeAlias

from gpunet.backend import BACKENDS

__all__ = ["Commands", "Options", "add_backend", "add_json", "number_within", "positive_number", "whole_number_from"]

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""Where a command adds its parser."""

Options: TypeAlias = "argparse._ActionsContainer"
"""Where options are added: a parser, or a group of its options."""


def add_backend(parser: Options) -> None:
    """Add --backend."""
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        default=None,
        help="where to compute; auto takes a GPU if one works (default: $GPUNET_BACKEND, else auto)",
    )


def add_json(parser: Options) -> None:
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


def number_within(least: float, most: float, without_most: bool = False) -> Callable[[str], float]:
    """The type of an option that takes a number from `least` to `most`, which itself may be left out."""

    def number_within(text: str) -> float:
        number = float(text)
        if not (least <= number < most or (number == most and not without_most)):
            side = "below" if without_most else "at most"
            raise argparse.ArgumentTypeError(f"must be at least {least:g} and {side} {most:g}, got {text}")
        return number

    return number_within


def positive_number(text: str) -> float:
    """The type of an option that takes a finite number above 0."""
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text}")
    return number
