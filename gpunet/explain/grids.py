"""Numbers as text: grids of cells, some of them marked, side by side. All lines of a block are of the same width."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Container, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, NamedTuple, TypeAlias

import numpy as np

__all__ = ["Block", "Paint", "beside", "bracketed", "grid", "matrix", "number", "padded", "shades", "titled"]

Paint: TypeAlias = Callable[[str, str], str]
"""Gives a text a colour, by its name; a text keeps its width."""

DIGITS = 4
SMALLEST, LARGEST, LARGEST_WHOLE = 1e-3, 1e6, 1e9  # beyond these a number is written with its power of ten
SHADES = " ░▒▓█"
MOST_ROWS = 20  # of a matrix that is shown
MOST_COLUMNS = 8


class Block(NamedTuple):
    """Some lines, and how wide each of them looks; colours take no width."""

    lines: list[str]
    width: int


def number(value: float) -> str:
    """A number as people read it, on a terminal and on a page (page/elements.js): whole, or of four digits.

    Example:
        >>> number(3.0), number(12345.0), number(-1.23456), number(0.00001)
        ('3', '12345', '-1.235', '1.00e-5')
    """
    value = float(value) + 0.0
    size = abs(value)
    if value == round(value) and size < LARGEST_WHOLE:
        return f"{value:.0f}"
    if not SMALLEST <= size < LARGEST:
        digits, exponent = f"{value:.2e}".split("e")
        return f"{digits}e{int(exponent)}"
    decimals = max(DIGITS - 1 - math.floor(math.log10(size)), 0)
    text = f"{Decimal(value).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def bracketed(value: float) -> str:
    """A number as it stands in a sum or product: in brackets if it is negative."""
    return f"({number(value)})" if value < 0 else number(value)


def padded(text: str, width: int) -> str:
    """The text with spaces after it, so that it looks so wide; an accent over the letter before takes no place."""
    looks = sum(not unicodedata.combining(letter) for letter in text)
    return text + " " * (width - looks)


def grid(
    rows: Sequence[Sequence[float | None]],
    paint: Paint,
    marked: Container[tuple[int, ...]] = (),
    colour: str = "yellow",
) -> Block:
    """A block of numbers in columns; marked cells stand in brackets and in colour, and None is a dot."""
    texts = [["·" if value is None else number(value) for value in row] for row in rows]
    cell = max(len(text) for row in texts for text in row)
    lines = []
    for i, row in enumerate(texts):
        line = ""
        for j, text in enumerate(row):
            if (i, j) in marked:
                line += paint(f"[{text:>{cell}}]", colour)
            else:
                line += paint(f" {text:>{cell}} ", "dim") if text == "·" else f" {text:>{cell}} "
        lines.append(line)
    return Block(lines, len(texts[0]) * (cell + 2))


def shades(rows: Sequence[Sequence[float]], paint: Paint) -> Block:
    """Numbers as a picture, two letters each: the larger, the darker; of negative ones nothing but a dot is seen."""
    largest = max(max(abs(value) for value in row) for row in rows) or 1.0
    lines = []
    for row in rows:
        steps = [math.ceil(value / largest * (len(SHADES) - 1)) for value in row]
        lines.append("".join(2 * SHADES[step] if step >= 0 else paint(" ·", "dim") for step in steps))
    return Block(lines, 2 * len(rows[0]))


def matrix(values: np.ndarray[Any, Any], paint: Paint, marked_row: int = -1) -> Block:
    """A matrix, perhaps with one row marked. Of a large one the first rows and the marked one are shown."""
    shown = list(range(min(len(values), MOST_ROWS)))
    if marked_row >= len(shown):
        shown[-1] = marked_row
    columns = range(min(values.shape[1], MOST_COLUMNS))
    marked = {(shown.index(marked_row), j) for j in columns} if marked_row in shown else ()
    lines, width = grid(values[shown][:, columns].tolist(), paint, marked)
    if len(columns) < values.shape[1]:
        lines, width = [f"{line} ..." for line in lines], width + 4
    if len(shown) < len(values):
        lines.insert(len(lines) - (marked_row == shown[-1]), padded(" ...", width))
    return Block(lines, width)


def titled(title: str, block: Block, paint: Paint) -> Block:
    """The block with a title over it."""
    width = max(block.width, len(title) + 1)
    head = paint(" " + padded(title, width - 1), "bold")
    return Block([head, *(line + " " * (width - block.width) for line in block.lines)], width)


def beside(blocks: Sequence[Block], width: int, gap: int = 3) -> list[str]:
    """Blocks side by side, as many as fit into the width, and the others below, after an empty line."""
    lines: list[str] = []
    row: list[Block] = []
    for block in [*blocks, None]:
        if block is None or (row and sum(each.width + gap for each in row) + block.width > width):
            lines += ([""] if lines else []) + _joined(row, gap)
            row = []
        if block is not None:
            row.append(block)
    return lines


def _joined(row: Sequence[Block], gap: int) -> list[str]:
    height = max((len(block.lines) for block in row), default=0)
    padded = [[*block.lines, *[" " * block.width] * (height - len(block.lines))] for block in row]
    return [(" " * gap).join(parts).rstrip() for parts in zip(*padded, strict=True)]
