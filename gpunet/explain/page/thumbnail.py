"""A small picture of an operation for the list of pages: its numbers before and after, the darker the larger."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.explain.explanation import Explanation
from gpunet.markup import Markup, tag

__all__ = ["thumbnail"]

Values = np.ndarray[Any, np.dtype[Any]]

SIDE = 16  # of a cell
GAP = 28  # between before and after
HEIGHT = 4 * SIDE


def thumbnail(explanation: Explanation) -> Markup:
    """The first channel of an image as cells, or numbers as bars; an arrow; the same of the output.

    A loss shows the right distribution in place of its one number.
    """
    exercise = explanation.exercise
    before, after = exercise.input, explanation.output
    if exercise.target is not None:
        after = exercise.target
    left, width = _drawn(before, 0, "fill-one")
    right, end = _drawn(after, width + GAP, "fill-two" if exercise.target is not None else "fill-three")
    arrow = tag("text", "→", x=width + GAP / 2, y=HEIGHT / 2 + 5, class_="label middle")
    return tag("svg", *left, arrow, *right, viewBox=f"0 0 {end} {HEIGHT}", aria_hidden="true")


def _drawn(numbers: Values, start: float, style: str) -> tuple[list[Markup], float]:
    return _cells(numbers, start, style) if numbers.ndim == 3 else _bars(numbers, start, style)


def _cells(image: Values, start: float, style: str) -> tuple[list[Markup], float]:
    """A square for each pixel of the first channel, and where they end."""
    plane = image[0]
    side = min(SIDE, HEIGHT / len(plane))
    shares = _shares(plane)
    top = (HEIGHT - side * len(plane)) / 2
    marks = [
        tag(
            "rect",
            x=f"{start + side * column:g}",
            y=f"{top + side * row:g}",
            width=f"{side - 1:g}",
            height=f"{side - 1:g}",
            fill_opacity=f"{0.1 + 0.9 * shares[row, column]:.2f}",
            class_=style,
        )
        for row, column in np.ndindex(*plane.shape)
    ]
    return marks, start + side * plane.shape[1]


def _bars(numbers: Values, start: float, style: str) -> tuple[list[Markup], float]:
    """A bar for each number, and where they end."""
    marks = []
    for place, share in enumerate(_shares(numbers)):
        height = 2 + (HEIGHT - 2) * share
        box = {
            "x": f"{start + SIDE * place:g}",
            "y": f"{HEIGHT - height:g}",
            "width": SIDE - 2,
            "height": f"{height:g}",
        }
        marks.append(tag("rect", **box, class_=style))
    return marks, start + SIDE * len(numbers)


def _shares(values: Values) -> Values:
    """Each value as a share of the way from the smallest, or 0, to the largest."""
    low, high = min(values.min(), 0.0), values.max()
    return (values - low) / (high - low or 1.0)
