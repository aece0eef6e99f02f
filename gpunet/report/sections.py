"""The parts of the report, each made of what the run has written down or of what its network does with the test set."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpunet.markup import Markup, joined, tag
from gpunet.report.calibration import reliability
from gpunet.report.charts import Series, layer_chart, line_chart, reliability_chart
from gpunet.report.elements import details, exact, key, percent, scrolling, section, table
from gpunet.report.examine import Examination
from gpunet.report.record import RunRecord, number
from gpunet.visualize import data_uri, grey_picture, mosaic, spread

__all__ = ["calibration", "classes", "command", "curves", "environment", "filters_and_maps", "headline", "mistakes"]

MOST_CLASSES = 30  # a larger confusion matrix is shown as a picture
MOST_CONFUSIONS = 15
MOST_CHANNELS = 16
RIGHT, WRONG = (42, 120, 214), (217, 85, 31)  # the colours of a large one, as the style has them
STRONGEST = 50  # per cent of colour behind a number, so that it stays readable


def headline(record: RunRecord) -> Markup | None:
    """The result in a few large numbers."""
    if record.summary is None:
        return None
    tiles: list[tuple[str, str, Callable[[float], str]]] = [
        ("test_accuracy", "test accuracy", percent),
        ("test_loss", "test loss", _four),
        ("epochs_done", "epochs", "{:,.0f}".format),
        ("parameters", "parameters", "{:,.0f}".format),
        ("seconds", "seconds", "{:,.1f}".format),
        ("images_per_second", "images a second (median)", "{:,.0f}".format),
    ]
    cells = [
        tag("div", tag("dt", label), tag("dd", exact(name, record.summary[name], write)))
        for name, label, write in tiles
        if number(record.summary.get(name)) is not None
    ]
    return section("Result", tag("dl", *cells, class_="tiles"))


def curves(record: RunRecord) -> Markup:
    """Loss, accuracy, learning rate, throughput and gradients over the epochs, and all of it as a table."""
    if not record.epochs:
        return section("Learning", tag("p", "The run did not complete an epoch, so there are no curves."))
    epochs = [int(number(epoch.get("epoch")) or place) for place, epoch in enumerate(record.epochs, start=1)]
    both = [("training", "train", "one"), ("test", "test", "two")]
    figures = [
        _lines(
            "Loss", epochs, [Series(s, record.series(f"{key}_loss"), style) for s, key, style in both], "{:g}".format
        ),
        _lines(
            "Accuracy",
            epochs,
            [Series(s, record.series(f"{key}_accuracy"), style) for s, key, style in both],
            lambda share: f"{share * 100:g}%",
            high=1.0,
        ),
        _lines(
            "Learning rate at the end of each epoch", epochs, [Series("rate", record.series("learning_rate"))], _short
        ),
        _lines("Images a second while training", epochs, [Series("speed", record.series("images_per_second"))], _short),
        _gradients(record, epochs),
    ]
    return section("Learning", tag("div", *figures, class_="grid"), _epoch_table(record, epochs))


def classes(record: RunRecord) -> Markup | None:
    """The confusion matrix, and precision and recall of each class."""
    if record.summary is None:
        return None
    names, confusion = record.summary["classes"], np.array(record.summary["confusion"], dtype=np.int64)
    matrix = _confusion_table(names, confusion) if len(names) <= MOST_CLASSES else _confusion_picture(confusion)
    return joined(
        [
            section(
                "Which class is taken for which",
                tag("p", "Rows: the right class. Columns: the class that was predicted. ", class_="soft"),
                matrix,
                _confusions(names, confusion),
            ),
            section(
                "Each class",
                tag(
                    "p",
                    "Precision: how many of those predicted to be of the class are. Recall: how many of the class "
                    "were found. A dash: none was predicted to be of it, or there is none of it.",
                    class_="soft",
                ),
                _class_table(record.summary, confusion),
            ),
        ]
    )


def calibration(examined: Examination) -> Markup:
    """The reliability diagram and the expected calibration error."""
    result = reliability(examined.probabilities, examined.labels)
    error = result.expected_calibration_error
    bins = len(result.counts)
    rows = [
        [f"{index / bins:.0%} to {(index + 1) / bins:.0%}", int(count), percent(confidence), percent(accuracy)]
        for index, (count, confidence, accuracy) in enumerate(
            zip(result.counts, result.confidence, result.accuracy, strict=True)
        )
        if count
    ]
    caption = tag(
        "figcaption", tag("b", "Reliability"), key("one block"), "right", key("two"), "mean confidence of the bin"
    )
    title = f"Reliability diagram: the expected calibration error is {percent(error)}"
    return section(
        "Is it as often right as it is sure?",
        tag(
            "p",
            "Images sorted by the probability of the class that was predicted. Bars that end below their line: too "
            "sure; above it: not sure enough. Expected calibration error ",
            exact("calibration_error", error, percent),
            ".",
        ),
        tag("div", tag("figure", caption, reliability_chart(title, result)), class_="grid"),
        details("The bins as a table", table("Bins of confidence", ["confidence", "images", "mean", "right"], rows)),
    )


def mistakes(examined: Examination) -> Markup:
    """The images that the network was most confidently wrong about."""
    heading = "Most confident mistakes"
    if not examined.mistakes:
        return section(heading, tag("p", "There are none: every test image was classified right."))
    figures = []
    for each in examined.mistakes:
        told = f"{each.predicted}, {percent(each.confidence)}; it is {each.right}"
        pair = [
            tag("img", src=data_uri(_upright(each.picture)), alt=f"A test image taken for {told}"),
            tag("img", src=data_uri(each.heat), alt=f"Where in it Grad-CAM finds {each.predicted}"),
        ]
        words = ["taken for ", tag("b", each.predicted), f", {percent(each.confidence)}", tag("br"), "is "]
        caption = tag("figcaption", *words, tag("b", each.right))
        figures.append(tag("figure", tag("div", *pair, class_="pair"), caption))
    return section(
        heading,
        tag(
            "p",
            "Beside each image Grad-CAM paints orange what spoke for the class that was predicted, as finely as the "
            "last feature map of the network resolves.",
            class_="soft",
        ),
        tag("div", *figures, class_="pictures"),
    )


def filters_and_maps(examined: Examination) -> Markup:
    """What the first convolution looks for, and what the layers make of one image."""
    filters = examined.filters
    largest = float(np.abs(filters).max(initial=0.0))
    shown = filters.transpose(0, 2, 3, 1) if filters.shape[1] == 3 else filters.mean(axis=1)  # (O, h, w[, 3])
    picture = mosaic(grey_picture(shown, -largest, largest), columns=16)
    figures = [
        tag(
            "figure",
            tag("figcaption", tag("b", "The image"), f" {examined.sample_class}"),
            tag(
                "img",
                src=data_uri(_upright(examined.sample)),
                alt=f"The first test image, of class {examined.sample_class}",
                class_="sample",
            ),
        )
    ]
    for name, kind, values in examined.maps:
        channels = values[spread(len(values), MOST_CHANNELS)]
        tiles = mosaic(grey_picture(channels, float(channels.min()), float(channels.max())), columns=8)
        size = " x ".join(map(str, values.shape))
        caption = tag("figcaption", tag("b", name), f" {kind}, {size}")
        alt = f"{len(channels)} of the channels that {name} makes of the image"
        figures.append(tag("figure", caption, tag("img", src=data_uri(tiles), alt=alt)))
    return joined(
        [
            section(
                "First-layer filters",
                tag(
                    "p",
                    f"The {len(filters)} filters of the first convolution, {filters.shape[2]} x {filters.shape[3]}; "
                    f"grey is 0, white {largest:.2f}, black {-largest:.2f}.",
                    class_="soft",
                ),
                tag("img", src=data_uri(picture), alt="The filters of the first convolution", class_="filters"),
            ),
            section(
                "An image on its way through the network",
                tag(
                    "p",
                    f"Up to {MOST_CHANNELS} channels of a layer, from its first to its last; black is the smallest "
                    "value in them, white the largest.",
                    class_="soft",
                ),
                tag("div", *figures, class_="grid maps"),
            ),
        ]
    )


def environment(record: RunRecord) -> Markup:
    """With what the run was made, and how to make it again."""
    source = {**record.config, **(record.summary or {})}
    rows = [
        [name, str(source[name])]
        for name in ("gpunet", "python", "numpy", "cupy", "device", "backend", "kernels")
        if name in source
    ]
    simple = {name: value for name, value in record.config.items() if isinstance(value, str | int | float)}
    settings = [[name, str(value)] for name, value in simple.items() if name not in dict(rows)]
    return section(
        "To do it again",
        tag("pre", tag("code", command(record.config), id="command")),
        tag("p", "The same seed gives the same bits on the same backend with the same versions.", class_="soft"),
        tag(
            "div",
            table("Environment", ["what", "version or name"], rows, text=True),
            table("Settings", ["setting", "value"], settings, text=True),
            class_="grid",
        ),
    )


def command(config: dict[str, Any]) -> str:
    """The command that starts the same run."""
    words = ["gpunet", "train"]
    for name, value in config.items():
        option = "--" + name.replace("_", "-")
        if value is True:
            words.append(option)
        elif isinstance(value, str | int | float) and value is not False and name not in ("gpunet", "kernels"):
            words += [option, str(value)]
    return shlex.join(words)


# What they are made of


def _lines(
    title: str,
    epochs: Sequence[int],
    series: Sequence[Series],
    write: Callable[[float], str],
    high: float | None = None,
) -> Markup | None:
    """A chart with its title and legend; nothing where there is nothing to draw."""
    drawn = [each for each in series if any(value is not None for value in each.values)]
    if not drawn:
        return None
    legend = [part for each in drawn for part in (key(each.style), each.name)] if len(drawn) > 1 else []
    caption = tag("figcaption", tag("b", title), *legend)
    return tag("figure", caption, line_chart(f"{title} by epoch", epochs, drawn, write, high=high))


def _gradients(record: RunRecord, epochs: Sequence[int]) -> Markup | None:
    """The size of the gradient of each layer; runs of versions that did not note it have none."""
    noted = [_by_layer(epoch.get("gradient_norms")) for epoch in record.epochs]
    layers = {
        name: [each.get(name) for each in noted] for name in dict.fromkeys(name for each in noted for name in each)
    }
    if not layers:
        return None
    caption = tag(
        "figcaption", tag("b", "Size of the gradient by layer"), "; the stronger the larger, by its logarithm"
    )
    rows = [[name, *("" if value is None else f"{value:.3g}" for value in values)] for name, values in layers.items()]
    numbers = table("Norm of the gradient", ["layer", *(f"epoch {epoch}" for epoch in epochs)], rows)
    chart = layer_chart("Size of the gradient by layer and epoch", epochs, layers)
    return tag("figure", caption, chart, details("The gradients as a table", numbers))


def _by_layer(norms: Any) -> dict[str, float]:
    """The norms of the gradients of a layer's parameters as one: `conv1.weight` and `conv1.bias` are `conv1`."""
    layers: dict[str, float] = {}
    for name, norm in norms.items() if isinstance(norms, dict) else ():
        if (size := number(norm)) is not None:
            layer = name.rpartition(".")[0] or name
            layers[layer] = math.hypot(layers.get(layer, 0.0), size)
    return layers


def _epoch_table(record: RunRecord, epochs: Sequence[int]) -> Markup:
    columns = [
        ("train_loss", "training loss", _four),
        ("test_loss", "test loss", _four),
        ("train_accuracy", "training accuracy", percent),
        ("test_accuracy", "test accuracy", percent),
        ("learning_rate", "learning rate", "{:.3g}".format),
        ("images_per_second", "images a second", "{:,.0f}".format),
        ("seconds", "seconds", "{:.1f}".format),
    ]
    kept = [(label, record.series(name), write) for name, label, write in columns if set(record.series(name)) != {None}]
    rows = [
        [epoch, *("" if (value := values[place]) is None else write(value) for _, values, write in kept)]
        for place, epoch in enumerate(epochs)
    ]
    return details("All figures as a table", table("By epoch", ["epoch", *(label for label, _, _ in kept)], rows))


def _confusion_table(names: Sequence[str], confusion: np.ndarray) -> Markup:
    head = [tag("td"), *(tag("th", name, scope="col") for name in names)]
    rows = []
    for index, name in enumerate(names):
        images = max(int(confusion[index].sum()), 1)
        cells = [
            _confusion_cell(int(count), count / images, column == index)
            for column, count in enumerate(confusion[index])
        ]
        rows.append(tag("tr", tag("th", name, scope="row"), *cells))
    matrix = tag("table", tag("thead", tag("tr", *head)), tag("tbody", *rows), class_="confusion", id="confusion")
    return scrolling("Confusion matrix", matrix)


def _confusion_cell(count: int, share: float, right: bool) -> Markup:
    if not count:
        return tag("td", count, class_="none")
    # A mistake is rare: it gets a quarter of the colour at once, so that one of a hundred is seen.
    strength = STRONGEST * (share if right else 0.25 + 0.75 * share)
    return tag("td", count, class_="right" if right else "wrong", style=f"--share:{strength:.0f}%")


def _confusion_picture(confusion: np.ndarray) -> Markup:
    """A pixel for each pair of classes, in the colours of the table; where there is no image, there is no colour."""
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    right = np.eye(len(confusion), dtype=bool)
    strength = np.where(right, shares, (confusion > 0) * (0.25 + 0.75 * shares))
    picture = np.empty((*confusion.shape, 4), np.uint8)  # red, green, blue, and how much of it
    picture[..., :3] = np.where(right[..., None], RIGHT, WRONG)
    picture[..., 3] = (255 * strength).round()
    alt = f"The confusion matrix of {len(confusion)} classes, a pixel for each pair; the stronger the more"
    caption = tag("figcaption", key("one block"), "right", key("two block"), "wrong; the stronger the more")
    return tag("figure", caption, tag("img", src=data_uri(picture), alt=alt, class_="matrix", id="confusion"))


def _confusions(names: Sequence[str], confusion: np.ndarray) -> Markup | None:
    off = confusion - np.diag(np.diag(confusion))
    order = np.argsort(-off, axis=None, kind="stable")[:MOST_CONFUSIONS]
    rows = [
        [names[right], names[predicted], int(off[right, predicted])]
        for right, predicted in (divmod(int(place), len(names)) for place in order)
        if off[right, predicted]
    ]
    if not rows:
        return None
    return details("The most frequent mistakes", table("Most frequent first", ["right", "predicted", "images"], rows))


def _class_table(summary: dict[str, Any], confusion: np.ndarray) -> Markup:
    rows = []
    for index, name in enumerate(summary["classes"]):
        # A run of an older version has 0 for what is undefined: the share of no images.
        counted = {"precision": confusion[:, index].sum(), "recall": confusion[index].sum()}
        shares = [summary[figure][index] if count else None for figure, count in counted.items()]
        meters = ["-" if share is None else joined([_meter(share), _exact_share(share)]) for share in shares]
        rows.append([name, int(confusion[index].sum()), *meters])
    return table("Test images by class", ["class", "images", "precision", "recall"], rows)


def _meter(share: float) -> Markup:
    return tag("span", tag("i", style=f"width:{share * 100:.1f}%"), class_="meter", aria_hidden="true")


def _exact_share(share: float) -> Markup:
    return tag("data", f"{share:.1%}", value=repr(share))


def _upright(picture: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(picture.transpose(1, 2, 0))  # (C, H, W) -> (H, W, C)


def _four(value: float) -> str:
    return f"{value:.4f}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
