"""Whether the classifier is as often right as it is sure."""

from __future__ import annotations

from gpunet.markup import tag
from gpunet.report.calibration import reliability
from gpunet.report.elements import Part, exact, legend, percent, table
from gpunet.report.examine import Examination
from gpunet.report.reliability_chart import reliability_chart
from gpunet.words import Words

__all__ = ["calibration"]


def calibration(examined: Examination, texts: Words) -> Part:
    """The reliability diagram and the expected calibration error."""
    result = reliability(examined.probabilities, examined.labels)
    error = result.expected_calibration_error
    bins = len(result.counts)
    rows = [
        [
            texts("calibration.bin", low=f"{index / bins:.0%}", high=f"{(index + 1) / bins:.0%}"),
            int(count),
            percent(confidence),
            percent(accuracy),
        ]
        for index, (count, confidence, accuracy) in enumerate(
            zip(result.counts, result.confidence, result.accuracy, strict=True)
        )
        if count
    ]
    signs = legend([("one block", texts["calibration.right"]), ("two", texts["calibration.mean"])])
    chart = reliability_chart(texts("calibration.title", error=percent(error)), result, texts)
    heads = ("confidence", "images", "mean", "right")
    return Part(
        "calibration",
        texts["calibration.heading"],
        [
            tag("p", texts["calibration.how"], " ", exact("calibration_error", error, percent), "."),
            tag(
                "div",
                tag("figure", tag("figcaption", tag("b", texts["calibration.reliability"]), signs), chart),
                table(texts["calibration.table"], [texts[f"calibration.{head}"] for head in heads], rows),
                class_="beside",
            ),
        ],
    )
