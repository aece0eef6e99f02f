"""How Tensors, networks and results look in a notebook: HTML with no style but the notebook's own.

Jupyter asks an object for `_repr_html_`, and each of those methods asks this module.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from gpunet.markup import Markup, joined, lines, tag
from gpunet.png import data_uri

__all__ = ["as_pictures", "framed", "numbers", "table", "titled"]

PICTURES = 8  # of a batch, at most
PICTURE = "height: 96px; min-width: 32px; margin: 0 4px 4px 0; image-rendering: pixelated; display: inline-block"


def titled(title: str, more: str, *content: Markup) -> str:
    """What something is, in bold, more about it, and below it what is in it."""
    return str(tag("div", tag("div", tag("b", title), f" {more}"), *content))


def framed(title: str, page: str) -> str:
    """A whole page in a frame of its own, where its style and the notebook's leave each other alone."""
    style = "width: 100%; height: 44rem; border: 1px solid #8888; border-radius: .4rem"
    named = f'title="{html.escape(title)}" style="{style}" sandbox="allow-scripts"'
    return f'<iframe {named} srcdoc="{html.escape(page)}"></iframe>'


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], text: int = 1) -> Markup:
    """A table; the first columns are text, the others numbers, which end at the right."""
    sides = ["text-align: left" if place < text else "text-align: right" for place in range(len(columns))]

    def row(kind: str, cells: Sequence[object]) -> Markup:
        return tag("tr", *(tag(kind, cell, style=side) for cell, side in zip(cells, sides, strict=True)))

    return tag("table", tag("thead", row("th", columns)), tag("tbody", *(row("td", cells) for cells in rows)))


def numbers(values: np.ndarray[Any, Any]) -> Markup:
    """Numbers as NumPy writes them: of many those at the edges."""
    written = np.array2string(values, separator=", ", precision=4, threshold=100, edgeitems=2)
    return tag("pre", lines(written), style="margin: 4px 0")


def as_pictures(images: np.ndarray[Any, Any]) -> Markup:
    """The first images of a batch, side by side: the smallest of their numbers black, the largest white.

    Shape:
        images: (N, C, H, W) with one channel, grey, or three, red, green and blue.
    """
    shown = images[:PICTURES].astype(np.float64)
    finite = np.isfinite(shown)
    low, high = (shown[finite].min(), shown[finite].max()) if finite.any() else (0.0, 0.0)
    scaled = np.where(finite, shown - low, 0) * (255 / (high - low) if high > low else 0)
    pixels = np.clip(np.rint(scaled), 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)  # (N, H, W, C)
    pictures = [tag("img", src=data_uri(each), alt=f"image {n}", style=PICTURE) for n, each in enumerate(pixels)]
    which = f"the first {len(shown)}" if len(images) > len(shown) else "all"
    return joined([tag("div", *pictures), tag("small", f"{which}; black is {low:.4g}, white {high:.4g}")])
