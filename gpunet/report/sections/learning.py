"""Curves over the epochs: loss, accuracy, learning rate, throughput, gradients; and all of it as a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from gpunet.markup import Markup, tag
from gpunet.report.axes import Scale, linear, logarithmic, towards_one
from gpunet.report.elements import Part, details, legend, note, percent, scrolling, table
from gpunet.report.layer_chart import layer_chart, layer_scale
from gpunet.report.line_chart import Series, line_chart
from gpunet.report.record import RunRecord, number
from gpunet.words import Words

__all__ = ["figure_of_lines", "learning", "short_percent", "whole_share"]

_Write = Callable[[float], str]

BOTH = (("train", "one"), ("test", "two"))
COLUMNS: dict[str, _Write] = {
    "train_loss": "{:.4f}".format,
    "test_loss": "{:.4f}".format,
    "train_accuracy": percent,
    "test_accuracy": percent,
    "learning_rate": "{:.3g}".format,
    "images_per_second": "{:,.0f}".format,
    "seconds": "{:.1f}".format,
}


def learning(record: RunRecord, texts: Words) -> Part:
    """The curves of a run."""
    heading = texts["learning.heading"]
    if not record.epochs:
        return Part("learning", heading, [tag("p", texts["learning.none"])])
    epochs = record.numbers
    loss, accuracy = (
        [Series(texts[f"learning.{part}"], record.series(f"{part}_{name}"), style) for part, style in BOTH]
        for name in ("loss", "accuracy")
    )
    rate = [Series(texts["learning.rate"], record.series("learning_rate"))]
    speed = [Series(texts["learning.speed"], record.series("images_per_second"))]
    figures = [
        figure_of_lines(texts["learning.loss"], epochs, loss, linear, "{:g}".format, texts),
        figure_of_lines(texts["learning.log_loss"], epochs, loss, logarithmic, "{:g}".format, texts),
        figure_of_lines(texts["learning.accuracy"], epochs, accuracy, whole_share, short_percent, texts),
        figure_of_lines(texts["learning.log_accuracy"], epochs, accuracy, towards_one, short_percent, texts),
        figure_of_lines(texts["learning.rate"], epochs, rate, linear, _short, texts),
        figure_of_lines(texts["learning.speed"], epochs, speed, linear, _short, texts),
    ]
    return Part(
        "learning",
        heading,
        [
            tag("div", *figures, class_="grid"),
            note(texts[_how_trained(record)], " ", texts["learning.last_percents"]),
            tag("div", _gradients(record, epochs, texts), _epochs(record, epochs, texts), class_="beside"),
        ],
    )


def _how_trained(record: RunRecord) -> str:
    """What to say of the figures of the training set."""
    as_they_are = record.config.get("augment") == "none" and record.config.get("mixup") is None
    return "learning.training_plain" if as_they_are else "learning.training"


def whole_share(values: Sequence[float]) -> Scale:
    """A scale of shares from 0 to 1, whatever the values."""
    return linear(values, 0.0, 1.0)


def figure_of_lines(
    title: str,
    epochs: Sequence[int],
    series: Sequence[Series],
    scale: Callable[[Sequence[float]], Scale],
    write: _Write,
    texts: Words,
) -> Markup | None:
    """A chart with its title and legend; nothing where there is nothing to draw."""
    drawn = [each for each in series if any(value is not None for value in each.values)]
    if not drawn:
        return None
    chosen = scale([value for each in drawn for value in each.values if value is not None])
    caption = [tag("b", title), legend((each.style, each.name) for each in drawn) if len(drawn) > 1 else None]
    return tag("figure", tag("figcaption", *caption), line_chart(title, epochs, drawn, chosen, write, texts))


def short_percent(share: float) -> str:
    """A share in per cent, with as many digits as it takes."""
    return f"{share * 100:.6g}%"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _gradients(record: RunRecord, epochs: Sequence[int], texts: Words) -> Markup | None:
    """The size of the gradient of each layer; runs of versions that did not note it have none."""
    noted = [_by_layer(epoch.get("gradient_norms")) for epoch in record.epochs]
    layers = {
        name: [each.get(name) for each in noted] for name in dict.fromkeys(name for each in noted for name in each)
    }
    if not layers:
        return None
    title = texts["learning.gradients"]
    scale = layer_scale(texts["learning.gradients_scale"], layers)
    caption = tag("figcaption", tag("b", title), " ", texts["learning.gradients_scale"], scale)
    rows = [[name, *("" if value is None else f"{value:.3g}" for value in values)] for name, values in layers.items()]
    heads = [texts["learning.layer"], *(texts("learning.epoch", epoch=epoch) for epoch in epochs)]
    chart = scrolling(title, layer_chart(title, epochs, layers, texts), tall=True)
    return tag(
        "figure",
        caption,
        tag("div", chart, class_="layers"),
        details(texts["learning.gradients_table"], table(title, heads, rows)),
    )


def _by_layer(norms: Any) -> dict[str, float]:
    """The norms of the gradients of a layer's parameters as one: `conv1.weight` and `conv1.bias` are `conv1`."""
    layers: dict[str, float] = {}
    for name, norm in norms.items() if isinstance(norms, dict) else ():
        if (size := number(norm)) is not None:
            layer = name.rpartition(".")[0] or name
            layers[layer] = math.hypot(layers.get(layer, 0.0), size)
    return layers


def _epochs(record: RunRecord, epochs: Sequence[int], texts: Words) -> Markup:
    kept = {name: record.series(name) for name in COLUMNS if set(record.series(name)) != {None}}
    rows = [
        [epoch, *("" if (value := values[place]) is None else COLUMNS[name](value) for name, values in kept.items())]
        for place, epoch in enumerate(epochs)
    ]
    heads = [texts["chart.epoch"], *(texts[f"epoch.{name}"] for name in kept)]
    return tag("div", table(texts["learning.table"], heads, rows), class_="limited")
