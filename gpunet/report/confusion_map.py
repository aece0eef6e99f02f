"""A confusion matrix of many classes: a square for each pair that occurs, in three sizes, with the names beside it.

The size is chosen by buttons of the page's style alone: they set `--cell`, which everything here is a multiple of. What
a cell means is told where one points at it, by its title and by the page's script.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gpunet.markup import Markup, tag
from gpunet.report.confusion_table import strength_of
from gpunet.words import Words

__all__ = ["confusion_map"]

SIZES = ("whole", "medium", "large")
NAME_HEIGHT = 15  # pixels that a name takes
WIDTHS = {"wide": 600, "narrow": 250}  # pixels that the cells of the whole matrix have on a desktop, and on a phone
MEDIUM, LARGE = 9, 24  # pixels of a cell; the style has the same


def confusion_map(names: Sequence[str], confusion: np.ndarray, texts: Words) -> Markup:
    """Rows: the right class. Columns: the class that was predicted. The stronger the colour the larger the share."""
    count = len(names)
    squares = [_square(names, confusion, int(row), int(column), texts) for row, column in np.argwhere(confusion)]
    told = texts("confusion.alt", count=count)
    picture = tag(
        "svg", tag("title", told), *squares, viewBox=f"0 0 {count} {count}", role="img", aria_label=told, id="matrix"
    )
    rows = [
        tag("span", name, class_=_shown_at(place, count), style=f"--at:{place}") for place, name in enumerate(names)
    ]
    matrix = tag(
        "div",
        tag("div", class_="corner"),
        tag("div", *rows, class_="names across", aria_hidden="true"),
        tag("div", *rows, class_="names down", aria_hidden="true"),
        picture,
        class_="matrix",
        style=f"--count:{count}",
    )
    sizes = [
        tag(
            "label",
            tag("input", type="radio", name_="size", class_=f"to-{size}", checked="" if size == "whole" else None),
            texts[f"confusion.{size}"],
        )
        for size in SIZES
    ]
    return tag(
        "div",
        tag("fieldset", tag("legend", texts["confusion.size"]), *sizes, class_="sizes"),
        tag("p", texts["confusion.point"], class_="pointed soft", aria_live="polite"),
        tag("div", matrix, class_="scroll", tabindex=0, role="region", aria_label=texts["confusion.matrix"]),
        class_="zoom",
        data_none=texts["confusion.no_cell"],
    )


def _square(names: Sequence[str], confusion: np.ndarray, row: int, column: int, texts: Words) -> Markup:
    count, images = int(confusion[row, column]), int(confusion[row].sum())
    is_right = row == column
    told = texts("confusion.cell", right=names[row], predicted=names[column], count=count, images=images)
    return tag(
        "rect",
        tag("title", told),
        x=column,
        y=row,
        width=1,
        height=1,
        class_="one" if is_right else "two",
        style=f"fill-opacity:{strength_of(count, images, is_right):.2f}",
    )


def _shown_at(place: int, count: int) -> str | None:
    """The sizes at which there is room for the name of a class: for every so many a name."""
    cells = {name: width / count for name, width in WIDTHS.items()} | {"medium": MEDIUM}
    steps = {name: math.ceil(NAME_HEIGHT / cell) for name, cell in cells.items()}
    return " ".join(name for name, step in steps.items() if place % step == step // 2) or None
