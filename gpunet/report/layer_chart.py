"""Layers over epochs: a row for each layer, a column for each epoch, and the scale of their colours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from gpunet.markup import Markup, tag
from gpunet.report.axes import BOTTOM, RIGHT, TOP, horizontal_axis, svg
from gpunet.visualize import spread
from gpunet.words import Words

__all__ = ["layer_chart", "layer_scale"]

WIDTH = 480
LEFT = 160  # for the names of layers
ROW = 16
SCALE_WIDTH, MARGIN = 270, 6  # of the scale of colours, around it
STEPS = 24  # of colour in the scale
MOST_COLUMNS = 60
LONGEST = 21  # letters of a name
WEAKEST = 0.08  # as much of the colour has the smallest value


def layer_chart(
    title: str, epochs: Sequence[int], layers: Mapping[str, Sequence[float | None]], texts: Words
) -> Markup:
    """The stronger the colour the larger the value, by its logarithm."""
    chosen = spread(len(epochs), MOST_COLUMNS)
    low, high = _ends(layers)
    width = (WIDTH - LEFT - RIGHT) / len(chosen)
    marks = []
    for row, (name, values) in enumerate(layers.items()):
        top = TOP + ROW * row
        short = name if len(name) <= LONGEST + 1 else f"…{name[-LONGEST:]}"
        marks.append(tag("text", tag("title", name), short, x=LEFT - 6, y=top + 12, class_="label end"))
        for column, index in enumerate(chosen):
            value = values[index]
            if value is not None:
                told = texts("chart.point", name=name, epoch=epochs[index], value=f"{value:.3g}")
                place = {"x": f"{LEFT + column * width:.1f}", "y": top, "width": f"{width + 0.2:.1f}"}
                strength = _strength(value, low, high)
                marks.append(
                    tag("rect", tag("title", told), **place, height=ROW - 1, class_="cell one", style=strength)
                )
    ends = sorted({0, len(chosen) - 1})
    places = [(LEFT + (column + 0.5) * width, str(epochs[chosen[column]])) for column in ends]
    bottom = TOP + ROW * len(layers) + BOTTOM
    marks.append(horizontal_axis(places, texts["chart.epoch"], bottom, LEFT, WIDTH))
    return svg(title, marks, (WIDTH, bottom))


def layer_scale(title: str, layers: Mapping[str, Sequence[float | None]]) -> Markup:
    """Which colour is which value: the smallest, the largest, and what lies half way between by its logarithm."""
    low, high = _ends(layers)
    width = (SCALE_WIDTH - 2 * MARGIN) / STEPS
    marks = []
    for step in range(STEPS):
        place = {"x": f"{MARGIN + step * width:.1f}", "width": f"{width + 0.2:.1f}"}
        strength = _strength(low * (high / low) ** (step / (STEPS - 1)), low, high)
        marks.append(tag("rect", **place, y=0, height=12, class_="cell one", style=strength))
    ends = [
        (MARGIN, low, "start"),
        (SCALE_WIDTH / 2, math.sqrt(low * high), "middle"),
        (SCALE_WIDTH - MARGIN, high, "end"),
    ]
    for x, value, place_of_text in ends if high > low else ends[:1]:
        marks.append(tag("text", f"{value:.2g}", x=f"{x:g}", y=27, class_=f"label {place_of_text}"))
    return svg(title, marks, (SCALE_WIDTH, 32), width=SCALE_WIDTH, height=32, class_="colours")


def _ends(layers: Mapping[str, Sequence[float | None]]) -> tuple[float, float]:
    """The smallest value that has a logarithm, and the largest."""
    positive = [value for values in layers.values() for value in values if value]
    return min(positive, default=1.0), max(positive, default=1.0)


def _strength(value: float, low: float, high: float) -> str:
    """How much of the colour stands for a value, as the style of its cell; 0 has no logarithm."""
    if value <= 0:
        return "fill-opacity:0.00"
    share = math.log(value / low) / math.log(high / low) if high > low else 1.0
    return f"fill-opacity:{WEAKEST + (1 - WEAKEST) * share:.2f}"
