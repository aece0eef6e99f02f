"""Charts as SVG: lines over epochs, the reliability diagram, layers over epochs. Colours come from the page's style."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from gpunet.markup import Markup, joined, tag
from gpunet.report.calibration import Reliability
from gpunet.visualize import spread

__all__ = ["Series", "layer_chart", "line_chart", "reliability_chart", "ticks"]

WIDTH, HEIGHT = 420, 240
LEFT, RIGHT, TOP, BOTTOM = 50, 24, 12, 40
MOST_MARKERS = 40  # more of them would hide the line
MOST_COLUMNS = 60
ROW = 16  # height of a layer in `layer_chart`


class Series(NamedTuple):
    """One line of a chart.

    Attributes:
        name: for the legend.
        values: one for each epoch; None leaves a gap.
        style: the class that gives the colour: "one" or "two".
    """

    name: str
    values: Sequence[float | None]
    style: str = "one"


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers from at or below `low` to at or above `high`, about `count` of them, 1, 2 or 5 times 10^k apart."""
    span = high - low if high > low else abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / count))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power * count >= span * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, max(last, first + 1) + 1)]


def line_chart(
    title: str,
    epochs: Sequence[int],
    series: Sequence[Series],
    write: Callable[[float], str],
    low: float | None = 0.0,
    high: float | None = None,
) -> Markup:
    """Lines over epochs, with a marker for each epoch where there are few.

    Args:
        title: what is drawn, also for those who cannot see it.
        epochs: the horizontal places.
        write: a value as text.
        low, high: where the vertical axis begins and ends; None lets the values decide.
    """
    values = [value for each in series for value in each.values if value is not None]
    axis = ticks(min(values) if low is None else low, max(values) if high is None else high)
    first, last = min(epochs), max(epochs)

    def x(epoch: float) -> float:
        middle = LEFT + (WIDTH - LEFT - RIGHT) / 2
        return middle if first == last else LEFT + (epoch - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return TOP + (axis[-1] - value) / (axis[-1] - axis[0]) * (HEIGHT - TOP - BOTTOM)

    whole = [each for each in ticks(first, last) if each == int(each) and first <= each <= last]
    marks = [_vertical_axis(axis, y, write), _horizontal_axis([(x(each), f"{each:.0f}") for each in whole], "epoch")]
    for each in series:
        points = list(zip(epochs, each.values, strict=True))
        marks.append(tag("path", d=_path(points, x, y), class_=f"line {each.style}"))
        for epoch, value in points if len(points) <= MOST_MARKERS else []:
            if value is not None:
                told = tag("title", f"{each.name}, epoch {epoch}: {write(value)}")
                place = {"cx": f"{x(epoch):.1f}", "cy": f"{y(value):.1f}"}
                marks.append(tag("circle", told, **place, r=4, class_=f"marker {each.style}"))
    ends = ", ".join(f"{each.name} {write(end)}" for each in series if (end := _last(each.values)) is not None)
    return _svg(f"{title}; in the last epoch: {ends}", HEIGHT, marks)


def reliability_chart(title: str, result: Reliability) -> Markup:
    """A bar for each bin of confidence, as high as the share that was right, and a line at its mean confidence.

    A calibrated classifier's bars end at their lines, on the diagonal.
    """

    def x(share: float) -> float:
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(share: float) -> float:
        return TOP + (1 - share) * (HEIGHT - TOP - BOTTOM)

    bins = len(result.counts)
    axis = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    marks = [
        _vertical_axis(axis, y, lambda share: f"{share:.0%}"),
        _horizontal_axis([(x(share), f"{share:.0%}") for share in axis], "confidence"),
        tag("line", x1=x(0), y1=y(0), x2=x(1), y2=y(1), class_="diagonal"),
    ]
    for index, count in enumerate(result.counts):
        if count:
            left, right = x(index / bins) + 1, x((index + 1) / bins) - 1
            accuracy, confidence = float(result.accuracy[index]), float(result.confidence[index])
            told = tag("title", f"{count} images: confidence {confidence:.1%}, right {accuracy:.1%}")
            height = f"{y(0) - y(accuracy):.1f}"
            bar = {"x": f"{left:.1f}", "y": f"{y(accuracy):.1f}", "width": f"{right - left:.1f}", "height": height}
            marks.append(tag("rect", told, **bar, class_="bar one"))
            level = f"{y(confidence):.1f}"
            marks.append(tag("line", x1=f"{left:.1f}", x2=f"{right:.1f}", y1=level, y2=level, class_="line two"))
    return _svg(title, HEIGHT, marks)


def layer_chart(title: str, epochs: Sequence[int], layers: dict[str, list[float | None]]) -> Markup:
    """A row for each layer, a column for each epoch; the stronger the colour the larger the value, by its logarithm."""
    chosen = spread(len(epochs), MOST_COLUMNS)
    logs = [math.log10(value) for values in layers.values() for value in values if value]
    low, high = min(logs, default=0.0), max(logs, default=1.0)
    left, height = 150, TOP + ROW * len(layers) + BOTTOM
    width = (WIDTH - left - RIGHT) / len(chosen)
    marks = []
    for row, (name, values) in enumerate(layers.items()):
        top = TOP + ROW * row
        short = name if len(name) <= 22 else f"…{name[-21:]}"
        marks.append(tag("text", short, x=left - 6, y=top + 12, class_="label end"))
        for column, index in enumerate(chosen):
            value = values[index]
            if value is not None:
                share = (math.log10(value) - low) / (high - low) if value and high > low else float(bool(value))
                told = tag("title", f"{name}, epoch {epochs[index]}: {value:.3g}")
                cell = {"x": f"{left + column * width:.1f}", "y": top, "width": f"{width + 0.2:.1f}", "height": ROW - 1}
                marks.append(
                    tag("rect", told, **cell, class_="cell one", style=f"fill-opacity:{0.08 + 0.92 * share:.2f}")
                )
    ends = sorted({0, len(chosen) - 1})
    places = [(left + (column + 0.5) * width, str(epochs[chosen[column]])) for column in ends]
    marks.append(_horizontal_axis(places, "epoch", height, left))
    return _svg(title, height, marks)


def _svg(title: str, height: float, marks: Sequence[Markup]) -> Markup:
    return tag("svg", tag("title", title), *marks, viewBox=f"0 0 {WIDTH} {height}", role="img", aria_label=title)


def _vertical_axis(axis: Sequence[float], y: Callable[[float], float], write: Callable[[float], str]) -> Markup:
    parts = []
    for value in axis:
        place = f"{y(value):.1f}"
        parts.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=place, y2=place, class_="grid"))
        parts.append(tag("text", write(value), x=LEFT - 6, y=f"{y(value) + 4:.1f}", class_="label end"))
    return joined(parts)


def _horizontal_axis(
    places: Sequence[tuple[float, str]], name: str, height: float = HEIGHT, left: float = LEFT
) -> Markup:
    bottom = height - BOTTOM
    parts = [tag("line", x1=left, x2=WIDTH - RIGHT, y1=bottom, y2=bottom, class_="axis")]
    parts += [tag("text", text, x=f"{x:.1f}", y=bottom + 16, class_="label middle") for x, text in places]
    parts.append(tag("text", name, x=(left + WIDTH - RIGHT) / 2, y=bottom + 33, class_="label middle"))
    return joined(parts)


def _path(points: Sequence[tuple[int, float | None]], x: Callable[[float], float], y: Callable[[float], float]) -> str:
    """The line through the points; it is broken where a value is missing."""
    parts, pen_down = [], False
    for epoch, value in points:
        if value is not None:
            parts.append(f"{'L' if pen_down else 'M'}{x(epoch):.1f} {y(value):.1f}")
        pen_down = value is not None
    return "".join(parts)


def _last(values: Sequence[float | None]) -> float | None:
    return next((value for value in reversed(values) if value is not None), None)
