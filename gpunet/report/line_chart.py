"""Lines over the epochs of a run, or of several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from gpunet.markup import Markup, tag
from gpunet.report.axes import LEFT, RIGHT, WIDTH, Scale, horizontal_axis, svg, ticks, vertical_axis
from gpunet.words import Words

__all__ = ["Series", "line_chart"]

MOST_MARKERS = 40  # more of them would hide the line


class Series(NamedTuple):
    """One line of a chart.

    Attributes:
        name: for the legend.
        values: one for each epoch; None leaves a gap.
        style: the class that gives the colour: "one", "two", ...
    """

    name: str
    values: Sequence[float | None]
    style: str = "one"


def line_chart(
    title: str,
    epochs: Sequence[int],
    series: Sequence[Series],
    scale: Scale,
    write: Callable[[float], str],
    texts: Words,
) -> Markup:
    """Lines over epochs, with a marker for each epoch where there are few.

    Args:
        title: what is drawn, also for those who cannot see it.
        epochs: the horizontal places.
        write: a value as text.
    """
    first, last = min(epochs), max(epochs)

    def x(epoch: float) -> float:
        middle = LEFT + (WIDTH - LEFT - RIGHT) / 2
        return middle if first == last else LEFT + (epoch - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    whole = [each for each in ticks(first, last) if each == int(each) and first <= each <= last]
    marks = [
        vertical_axis(scale, write),
        horizontal_axis([(x(each), f"{each:.0f}") for each in whole], texts["chart.epoch"]),
    ]
    for each in series:
        points = list(zip(epochs, each.values, strict=True))
        marks.append(tag("path", d=_path(points, x, scale.y), class_=f"line {each.style}"))
        for epoch, value in points if len(points) <= MOST_MARKERS else []:
            if value is not None:
                told = tag("title", texts("chart.point", name=each.name, epoch=epoch, value=write(value)))
                place = {"cx": f"{x(epoch):.1f}", "cy": f"{scale.y(value):.1f}"}
                marks.append(tag("circle", told, **place, r=3.5, class_=f"marker {each.style}"))
    ends = ", ".join(f"{each.name} {write(end)}" for each in series if (end := _last(each.values)) is not None)
    return svg(texts("chart.ends", title=title, ends=ends), marks)


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
