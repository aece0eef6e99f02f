"""Which class is taken for which: the confusion matrix, and the pairs that are confused most."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gpunet.markup import Markup, tag
from gpunet.report.confusion_map import confusion_map
from gpunet.report.confusion_table import confusion_table
from gpunet.report.elements import Part, legend, note, table
from gpunet.report.record import RunRecord
from gpunet.words import Words

__all__ = ["MANY_CLASSES", "confused_pairs", "confusion"]

MANY_CLASSES = 30  # from so many on the matrix has no numbers in it
FEW_CLASSES = 12  # up to so many there is room for something beside it
MOST_PAIRS = 20


def confusion(record: RunRecord, texts: Words) -> Part | None:
    """The confusion matrix of the test set."""
    if record.summary is None:
        return None
    names, counts = record.summary["classes"], np.array(record.summary["confusion"], dtype=np.int64)
    is_large = len(names) >= MANY_CLASSES
    draw = confusion_map if is_large else confusion_table
    signs = legend([("one block", texts["confusion.right"]), ("two block", texts["confusion.wrong"])])
    matrix = tag("figure", tag("figcaption", signs), draw(names, counts, texts))
    pairs = _pairs(names, counts, texts)
    layout = "beside large" if is_large else "stacked" if len(names) > FEW_CLASSES else "grid halves"
    return Part(
        "confusion",
        texts["confusion.heading"],
        [note(texts["confusion.how"]), tag("div", matrix, pairs, class_=layout)],
    )


def confused_pairs(counts: np.ndarray) -> list[tuple[int, int, int]]:
    """Each pair of classes of which one was taken for the other, with how often; the most frequent first."""
    off = counts - np.diag(np.diag(counts))
    order = np.argsort(-off, axis=None, kind="stable")[: np.count_nonzero(off)]
    pairs = [divmod(int(place), len(off)) for place in order]
    return [(right, predicted, int(off[right, predicted])) for right, predicted in pairs]


def _pairs(names: Sequence[str], counts: np.ndarray, texts: Words) -> Markup:
    pairs = confused_pairs(counts)
    if not pairs:
        return tag("p", texts["confusion.no_pairs"])
    rows = [
        [names[right], names[predicted], count, f"{count / counts[right].sum():.1%}"]
        for right, predicted, count in pairs[:MOST_PAIRS]
    ]
    caption = texts["confusion.pairs"]
    if len(pairs) > MOST_PAIRS:
        caption = texts("confusion.first_pairs", shown=MOST_PAIRS, count=len(pairs))
    heads = ("right", "predicted", "images", "share")
    return tag("div", table(caption, [texts[f"pair.{head}"] for head in heads], rows), class_="limited")
