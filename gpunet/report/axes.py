"""What charts share: their size, their axes, and the scales on which values get their places."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gpunet.markup import Markup, joined, tag

__all__ = [
    "BOTTOM",
    "HEIGHT",
    "LEFT",
    "RIGHT",
    "TOP",
    "WIDTH",
    "Scale",
    "horizontal_axis",
    "linear",
    "logarithmic",
    "svg",
    "ticks",
    "towards_one",
    "vertical_axis",
]

WIDTH, HEIGHT = 360, 230
LEFT, RIGHT, TOP, BOTTOM = 48, 20, 14, 40
FEW_DECADES = 2  # on a logarithmic axis; where there are more only powers of ten get a mark, ...
MOST_DECADES = 6  # ... and where there are even more not each of them
LARGEST_POWER = 250  # of ten, and smallest: beyond it floats come to their ends
NINES = (0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999)
FINER = (0.0, 0.2, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9998, 0.9999, 0.99999, 0.999999)
FEW = 4  # marks; where there are fewer there is room for more


@dataclass(frozen=True)
class Scale:
    """Where values are between the lower end of an axis and the upper one.

    Attributes:
        marks: the values that are written beside the axis, the lowest and the highest of them at its ends.
        warp: what is drawn evenly: the value itself, or its logarithm.
    """

    marks: Sequence[float]
    warp: Callable[[float], float] = float

    def share(self, value: float) -> float:
        """0 at the lower end, 1 at the upper one, and never outside."""
        low, high = self.warp(self.marks[0]), self.warp(self.marks[-1])
        return min(max((self.warp(value) - low) / (high - low), 0.0), 1.0)

    def y(self, value: float) -> float:
        """The height of a value in a chart."""
        return TOP + (1 - self.share(value)) * (HEIGHT - TOP - BOTTOM)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers from at or below `low` to at or above `high`, about `count` of them, 1, 2 or 5 times 10^k apart."""
    span = high - low if high > low else abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / count))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power * count >= span * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    digits = 12 - math.floor(math.log10(step))
    return [round(index * step, digits) for index in range(first, max(last, first + 1) + 1)]


def linear(values: Sequence[float], low: float | None = 0.0, high: float | None = None) -> Scale:
    """Even steps over the values; `low` and `high` are the ends where they are given."""
    return Scale(ticks(min(values) if low is None else low, max(values) if high is None else high))


def logarithmic(values: Sequence[float]) -> Scale:
    """Each step up is a multiplication. What is 0 or less has no logarithm, and lies at the lower end."""
    positive = [value for value in values if value > 0] or [1.0]
    low, high = min(positive), max(positive)
    ends = math.floor(math.log10(low)), math.ceil(math.log10(high))
    first, last = (min(max(power, -LARGEST_POWER), LARGEST_POWER) for power in ends)
    steps = (1, 2, 5) if last - first <= FEW_DECADES else (1,)
    apart = max(1, -(-(last - first) // MOST_DECADES))
    powers = range(first, last + apart + 1, apart)
    marks = _around([step * 10.0**power for power in powers for step in steps], low, high)
    return Scale(marks, lambda value: math.log10(max(value, marks[0])))


def towards_one(values: Sequence[float]) -> Scale:
    """Shares, by the logarithm of what is missing to 1: the last percents get as much room as the first ones.

    1 itself would be infinitely far away. Where it occurs it lies at half of the smallest error, at the upper end.
    """
    values = [min(max(value, 0.0), 1.0) for value in values]
    below = [value for value in values if value < 1] or [0.0]
    marks = _around(NINES, min(below), max(below))
    if len(marks) < FEW:
        marks = _around(FINER, min(below), max(below))
    if max(values) < 1:
        return Scale(marks, lambda share: -math.log10(1 - min(share, marks[-1])))
    marks = [*(mark for mark in marks if mark <= max(below)), 1.0]
    least = (1 - max(below)) / 2
    return Scale(marks, lambda share: -math.log10(max(1 - share, least)))


def _around(marks: Sequence[float], low: float, high: float) -> list[float]:
    """Of rising marks those from the last at or below `low` to the first at or above `high`; at least two."""
    first = max((place for place, mark in enumerate(marks) if mark <= low * (1 + 1e-9)), default=0)
    last = min((place for place, mark in enumerate(marks) if mark >= high * (1 - 1e-9)), default=len(marks) - 1)
    return list(marks[min(first, len(marks) - 2) : max(last, first + 1) + 1])


def svg(
    title: str, marks: Sequence[Markup], size: tuple[float, float] = (WIDTH, HEIGHT), **attributes: object
) -> Markup:
    """A drawing, with a title for those who cannot see it."""
    label = {"viewBox": f"0 0 {size[0]:g} {size[1]:g}", "role": "img", "aria_label": title}
    return tag("svg", tag("title", title), *marks, **label, **attributes)


def vertical_axis(scale: Scale, write: Callable[[float], str]) -> Markup:
    """Lines across the chart at the marks of a scale."""
    parts = []
    for mark in scale.marks:
        place = f"{scale.y(mark):.1f}"
        parts.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=place, y2=place, class_="grid"))
        parts.append(tag("text", write(mark), x=LEFT - 6, y=f"{scale.y(mark) + 4:.1f}", class_="label end"))
    return joined(parts)


def horizontal_axis(
    places: Sequence[tuple[float, str]], name: str, height: float = HEIGHT, left: float = LEFT, width: float = WIDTH
) -> Markup:
    """The line below a chart, with texts at some places."""
    bottom = height - BOTTOM
    parts = [tag("line", x1=left, x2=width - RIGHT, y1=bottom, y2=bottom, class_="axis")]
    parts += [tag("text", text, x=f"{x:.1f}", y=bottom + 16, class_="label middle") for x, text in places]
    parts.append(tag("text", name, x=f"{(left + width - RIGHT) / 2:g}", y=bottom + 33, class_="label middle"))
    return joined(parts)
