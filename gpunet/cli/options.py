"""Options that several commands share, and the numbers that options take."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias, TypeVar

from gpunet.backend import BACKENDS
from gpunet.cli.parser import Parser
from gpunet.data import DATASETS, FOLDER, dataset_names
from gpunet.suggestions import suggestion

__all__ = [
    "Commands",
    "Options",
    "absolute_data",
    "absolute_path",
    "add_backend",
    "add_json",
    "dataset",
    "number_within",
    "positive_number",
    "whole_number_from",
]

Commands: TypeAlias = "argparse._SubParsersAction[Parser]"
"""Where a command adds its parser."""

Options: TypeAlias = "argparse._ActionsContainer"
"""Where options are added: a parser, or a group of its options."""

_Number = TypeVar("_Number", int, float)


def add_backend(parser: Options) -> None:
    """Add --backend."""
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        default=None,
        metavar="NAME",
        help="where to compute: %(choices)s; auto takes a GPU if one works (default: $GPUNET_BACKEND, else auto)",
    )


def add_json(parser: Options) -> None:
    """Add --json."""
    parser.add_argument("--json", action="store_true", help="print the result as JSON and nothing else")


def dataset(text: str) -> str:
    """The type of an option that takes the name of a dataset; the path of a folder is made absolute.

    So the run can go on from anywhere.
    """
    if not text.startswith(FOLDER) and text not in DATASETS:
        meant = f"did you mean {FOLDER}{text}?" if os.path.isdir(text) else suggestion(text, dataset_names())
        raise argparse.ArgumentTypeError(f"unknown data {text!r}; {meant}")
    return absolute_data(text, Path())


def absolute_data(data: str, base: Path) -> str:
    """The name of a dataset, in which the path of a folder is seen from `base`."""
    path = data.removeprefix(FOLDER)
    return FOLDER + os.path.abspath(base / path) if data.startswith(FOLDER) and path else data


def absolute_path(text: str) -> str:
    """The type of an option that takes a file or a folder, whose path is made absolute for the same reason."""
    return os.path.abspath(text) if text else text


def whole_number_from(minimum: int) -> Callable[[str], int]:
    """The type of an option that takes a whole number of at least `minimum`."""

    def whole_number(text: str) -> int:
        number = _read(int, text, "a whole number")
        if number < minimum:
            raise argparse.ArgumentTypeError(f"must be {minimum} or more, got {text}")
        return number

    return whole_number


def number_within(least: float, most: float, without_most: bool = False) -> Callable[[str], float]:
    """The type of an option that takes a number from `least` to `most`, which itself may be left out."""

    def number_within(text: str) -> float:
        number = _read(float, text, "a number")
        if not (least <= number < most or (number == most and not without_most)):
            side = "below" if without_most else "at most"
            raise argparse.ArgumentTypeError(f"must be at least {least:g} and {side} {most:g}, got {text}")
        return number

    return number_within


def positive_number(text: str) -> float:
    """The type of an option that takes a finite number above 0."""
    number = _read(float, text, "a number")
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text}")
    return number


def _read(kind: Callable[[str], _Number], text: str, expected: str) -> _Number:
    try:
        return kind(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be {expected}, got {text!r}") from None
