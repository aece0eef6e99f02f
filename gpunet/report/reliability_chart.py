"""The reliability diagram: bars of how often a classifier was right, by how sure it was."""

from __future__ import annotations

from gpunet.markup import Markup, tag
from gpunet.report.axes import BOTTOM, HEIGHT, LEFT, RIGHT, WIDTH, Scale, horizontal_axis, svg, vertical_axis
from gpunet.report.calibration import Reliability
from gpunet.words import Words

__all__ = ["reliability_chart"]

AXIS = Scale([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])


def reliability_chart(title: str, result: Reliability, texts: Words) -> Markup:
    """A bar for each bin of confidence, as high as the share that was right, and a line at its mean confidence.

    A calibrated classifier's bars end at their lines, on the diagonal. Each bar says of how many images it is.
    """

    def x(share: float) -> float:
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def percent(share: float) -> str:
        return f"{share:.0%}"

    bins = len(result.counts)
    marks = [
        vertical_axis(AXIS, percent),
        horizontal_axis([(x(share), percent(share)) for share in AXIS.marks], texts["calibration.confidence"]),
        tag("line", x1=x(0), y1=AXIS.y(0), x2=x(1), y2=AXIS.y(1), class_="diagonal"),
    ]
    for index, count in enumerate(result.counts):
        if count:
            left, right = x(index / bins) + 1, x((index + 1) / bins) - 1
            accuracy, confidence = float(result.accuracy[index]), float(result.confidence[index])
            told = texts("calibration.bar", count=count, confidence=f"{confidence:.1%}", accuracy=f"{accuracy:.1%}")
            place = {"x": f"{left:.1f}", "width": f"{right - left:.1f}"}
            top, bottom = AXIS.y(accuracy), HEIGHT - BOTTOM
            marks.append(
                tag("rect", tag("title", told), **place, y=f"{top:.1f}", height=f"{bottom - top:.1f}", class_="bar one")
            )
            level = f"{AXIS.y(confidence):.1f}"
            marks.append(tag("line", x1=f"{left:.1f}", x2=f"{right:.1f}", y1=level, y2=level, class_="line two"))
            over = min(top, AXIS.y(confidence)) - 3  # above the bar and its line
            marks.append(
                tag("text", _short(int(count)), x=f"{(left + right) / 2:.1f}", y=f"{over:.1f}", class_="count middle")
            )
    return svg(title, marks)


def _short(count: int) -> str:
    """A number that fits into the width of a bar."""
    return str(count) if count < 10000 else f"{count / 1000:.0f}k"
