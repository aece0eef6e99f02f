"""Precision and recall of each class, and what it is taken for."""

from __future__ import annotations

import numpy as np

from gpunet.markup import Markup, joined, tag
from gpunet.report.elements import Part, note, table
from gpunet.report.record import RunRecord
from gpunet.words import Words

__all__ = ["classes"]

MANY_CLASSES = 30  # more of them scroll by themselves
UNDEFINED = "-"


def classes(record: RunRecord, texts: Words) -> Part | None:
    """The figures of each class."""
    if record.summary is None:
        return None
    names, counts = record.summary["classes"], np.array(record.summary["confusion"], dtype=np.int64)
    rows = []
    for index, name in enumerate(names):
        # A run of an older version has 0 for what is undefined: the share of no images.
        of = {"precision": counts[:, index].sum(), "recall": counts[index].sum()}
        shares = [record.summary[figure][index] if count else None for figure, count in of.items()]
        meters = [UNDEFINED if share is None else joined([_meter(share), _exact_share(share)]) for share in shares]
        rows.append([name, int(counts[index].sum()), *meters, _taken_for(counts[index], index, names)])
    heads = ("class", "images", "precision", "recall", "taken_for")
    listing = table(texts["classes.table"], [texts[f"classes.{head}"] for head in heads], rows)
    style = "filled limited" if len(names) > MANY_CLASSES else "filled"
    return Part("classes", texts["classes.heading"], [note(texts["classes.how"]), tag("div", listing, class_=style)])


def _taken_for(counts: np.ndarray, index: int, names: list[str]) -> str:
    """The class that it was most often mistaken for."""
    others = counts.copy()
    others[index] = 0
    worst = int(others.argmax())
    return f"{names[worst]} ({others[worst]})" if others[worst] else UNDEFINED


def _meter(share: float) -> Markup:
    return tag("span", tag("i", style=f"width:{share * 100:.1f}%"), class_="meter", aria_hidden="true")


def _exact_share(share: float) -> Markup:
    return tag("data", f"{share:.1%}", value=repr(share))
