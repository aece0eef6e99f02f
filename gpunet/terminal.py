"""Text as a terminal shows it: no wider than its window, and broken between words. Elsewhere lines stay whole."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Collection, Sequence
from typing import TextIO

from tqdm.utils import disp_len

from gpunet.printable import printable

__all__ = ["WIDEST", "columns", "command_line", "fitted", "flowed", "quoted", "table"]

WIDEST = 120
"""Columns of a text that is read line by line: longer lines are hard to read, however wide the window."""

_SHELL_WORD = re.compile(r"""(?:[^\s'"]|'[^']*'|"[^"]*"|['"])+""")
_USUAL = 80  # columns of a terminal that does not say how wide it is


def columns(stream: TextIO | None = None) -> int | None:
    """How wide the terminal is that a stream, by default stdout, goes to; None if it goes elsewhere."""
    stream = sys.stdout if stream is None else stream
    if stream is None or not stream.isatty():
        return None
    told = os.environ.get("COLUMNS", "")
    try:
        number = int(told) if told.isdecimal() else os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        number = 0
    return number or _USUAL


def flowed(
    parts: Sequence[str], separator: str = " ", indent: str = "", limit: int | None = None, goes_on: str = ""
) -> str:
    """The parts one after the other, on as many lines as they need. None is broken, however long.

    Args:
        separator: between two parts; at the end of a line without its spaces.
        indent: of all lines but the first.
        limit: the longest line; None for one line.
        goes_on: what stands at the end of all lines but the last.

    Example:
        >>> print(flowed(["loss 0.1863", "accuracy 94.18%", "2,602 images/s"], "  ", indent="  ", limit=30))
        loss 0.1863  accuracy 94.18%
          2,602 images/s
    """
    end = separator.rstrip() + goes_on
    lines = list(parts[:1])
    for number, part in enumerate(parts[1:], start=2):
        longer = f"{lines[-1]}{separator}{part}"
        if limit is None or disp_len(longer + end * (number < len(parts))) <= limit:
            lines[-1] = longer
        else:
            lines[-1] = lines[-1].rstrip() + end
            lines.append(indent + part)
    return "\n".join(lines)


def fitted(text: str, indent: str = "", stream: TextIO | None = None, limit: int | None = None) -> str:
    """The text with its lines broken between words where the terminal that a stream, by default stdout, goes to ends.

    Args:
        indent: of what goes on on another line, beside that of the line itself.
        limit: the longest line, whatever the terminal is.
    """
    width = columns(stream) if limit is None else limit
    if width is None:
        return text
    return "\n".join(_broken(line, indent, min(width, WIDEST)) for line in text.split("\n"))


def command_line(command: str, indent: str = "", stream: TextIO | None = None) -> str:
    """A command for a shell, which can be copied from the terminal however narrow that is.

    It goes on behind a backslash where the terminal that a stream, by default stdout, goes to ends; never in quotes.
    """
    first, *others = _SHELL_WORD.findall(command)
    return flowed([indent + first, *others], " ", indent + "  ", columns(stream), goes_on=" \\")


def _broken(line: str, indent: str, limit: int) -> str:
    words = line.lstrip(" ")
    own = " " * (len(line) - len(words))
    first, *others = words.split(" ")
    return flowed([own + first, *others], " ", own + indent, limit)


def quoted(path: object) -> str:
    """A path as a shell takes it, and as a command does not take it for an option."""
    text = f"./{path}" if str(path).startswith("-") else str(path)
    if printable(text) == text:
        return shlex.quote(text)
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"$'{printable(escaped)}'"


def table(rows: Sequence[Sequence[str]], left: Collection[int] = (0,)) -> str:
    """Rows of cells, the first row of headings, with each column in its place.

    Where the terminal that stdout goes to is too narrow, every row becomes a paragraph that names its figures.

    Args:
        rows: each of as many cells as there are columns, or of one: a title for the rows below it.
        left: the columns whose cells begin at the same place; those of the others end there.

    Example:
        >>> print(table([["", "images", "recall"], ["cat", "36", "97.2%"], ["dog", "4", "100.0%"]]))
             images  recall
        cat      36   97.2%
        dog       4  100.0%
    """
    headings = rows[0]
    whole = [row for row in rows if len(row) == len(headings)]
    widths = [max(map(disp_len, cells)) for cells in zip(*whole, strict=True)]
    lines = []
    for row in rows:
        if len(row) == 1:
            lines.append(row[0])
            continue
        gaps = [" " * (width - disp_len(cell)) for width, cell in zip(widths, row, strict=True)]
        cells = [
            cell + gap if place in left else gap + cell for place, (cell, gap) in enumerate(zip(row, gaps, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    limit = columns()
    if limit is None or max(map(disp_len, lines)) <= limit:
        return "\n".join(lines)
    return "\n".join(_paragraph(headings if len(row) > 1 else [""], row, limit) for row in rows[1:])


def _paragraph(headings: Sequence[str], row: Sequence[str], limit: int) -> str:
    """The first cell, and below it the others, each behind its heading."""
    named = zip(map(str.strip, headings), map(str.strip, row), strict=True)
    title, *figures = (f"{heading} {cell}".strip() for heading, cell in named if cell)
    below = flowed(["  " + figure for figure in figures[:1]] + figures[1:], ", ", "  ", limit)
    return "\n".join(_broken(line, "  ", limit) for line in [title, *below.split("\n")] if line)
