"""Layers over epochs: a row for each layer, a column for each epoch, and the scale of the colours below."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gpunet.report.axes import BOTTOM, RIGHT, TOP, horizontal_axis, svg
from gpunet.report.markup import Markup, tag
from gpunet.visualize import spread
from gpunet.words import Words

__all__ = ["layer_chart"]

WIDTH = 480
LEFT = 150  # for the names of layers
ROW = 16
SCALE = 44  # height of the scale of colours
STEPS = 24  # of colour in the scale
MOST_COLUMNS = 60
LONGEST = 21  # letters of a name
WEAKEST = 0.08  # as much of the colour has the smallest value


def layer_chart(title: str, epochs: Sequence[int], layers: dict[str, list[float | None]], texts: Words) -> Markup:
    """The stronger the colour the larger the value, by its logarithm."""
    chosen = spread(len(epochs), MOST_COLUMNS)
    positive = [value for values in layers.values() for value in values if value]
    low, high = min(positive, default=1.0), max(positive, default=1.0)
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
    return svg(title, [*marks, *_scale(bottom, low, high, texts)], (WIDTH, bottom + SCALE))


def _strength(value: float, low: float, high: float) -> str:
    """How much of the colour stands for a value, as the style of its cell; 0 has no logarithm."""
    if value <= 0:
        return "fill-opacity:0.00"
    share = math.log(value / low) / math.log(high / low) if high > low else 1.0
    return f"fill-opacity:{WEAKEST + (1 - WEAKEST) * share:.2f}"


def _scale(top: float, low: float, high: float, texts: Words) -> list[Markup]:
    """Which colour is which value: the smallest, the largest, and what lies half way between by its logarithm."""
    width = (WIDTH - LEFT - RIGHT) / STEPS
    values = [low * (high / low) ** (step / (STEPS - 1)) for step in range(STEPS)]
    marks = [
        tag(
            "rect",
            x=f"{LEFT + step * width:.1f}",
            y=top + 6,
            width=f"{width + 0.2:.1f}",
            height=12,
            class_="cell one",
            style=_strength(value, low, high),
        )
        for step, value in enumerate(values)
    ]
    middle = (LEFT + WIDTH - RIGHT) / 2
    ends = [(LEFT, low, ""), (middle, math.sqrt(low * high), " middle"), (WIDTH - RIGHT, high, " end")]
    written = [
        tag("text", f"{value:.2g}", x=f"{x:g}", y=top + 32, class_=f"label{place}")
        for x, value, place in (ends if high > low else ends[:1])
    ]
    return [*marks, *written, tag("text", texts["learning.norm"], x=LEFT - 6, y=top + 16, class_="label end")]
