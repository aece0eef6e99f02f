"""A confusion matrix of few classes: a table with a number in each cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gpunet.markup import Markup, tag
from gpunet.report.elements import scrolling
from gpunet.words import Words

__all__ = ["confusion_table", "strength_of"]

STRONGEST = 50  # per cent of colour behind a number, so that it stays readable
LONGEST_UPRIGHT = 3  # letters of a class that stand in a row above a column; longer names are turned


def confusion_table(names: Sequence[str], confusion: np.ndarray, texts: Words) -> Markup:
    """Rows: the right class. Columns: the class that was predicted. The stronger the colour the larger the share."""
    turned = "turned" if max(map(len, names)) > LONGEST_UPRIGHT else None
    head = [tag("td"), *(tag("th", tag("span", name), scope="col", class_=turned) for name in names)]
    rows = []
    for index, name in enumerate(names):
        images = int(confusion[index].sum())
        cells = []
        for column, count in enumerate(map(int, confusion[index])):
            told = texts("confusion.cell", right=name, predicted=names[column], count=count, images=images)
            if count:
                share = f"--share:{STRONGEST * strength_of(count, images, column == index):.0f}%"
                cells.append(tag("td", count, class_="right" if column == index else "wrong", style=share, title=told))
            else:
                cells.append(tag("td", count, class_="none", title=told))
        rows.append(tag("tr", tag("th", name, scope="row"), *cells))
    named = {"class_": "confusion", "id": "matrix", "style": f"--count:{len(names)}"}
    matrix = tag("table", tag("thead", tag("tr", *head)), tag("tbody", *rows), **named)
    return scrolling(texts["confusion.matrix"], matrix)


def strength_of(count: int, images: int, is_right: bool) -> float:
    """How strong the colour of a cell is, from 0 to 1.

    A mistake is rare: it gets a quarter of the colour at once, so that one of a hundred is seen.
    """
    share = count / max(images, 1)
    return share if is_right else 0.25 + 0.75 * share
