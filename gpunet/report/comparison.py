"""The report on several runs: their results side by side, what they were told differently, their curves overlaid."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gpunet.markup import Markup, tag
from gpunet.report.axes import Scale, linear, logarithmic, towards_one
from gpunet.report.document import document
from gpunet.report.elements import Part, key, note, percent, table
from gpunet.report.line_chart import Series
from gpunet.report.page import figures_of
from gpunet.report.record import RunRecord, number, read_record
from gpunet.report.result import Report
from gpunet.report.sections.again import shown
from gpunet.report.sections.headline import FIGURES
from gpunet.report.sections.learning import figure_of_lines, short_percent, whole_share
from gpunet.words import Words

__all__ = ["differences", "report_on_runs"]

COLOURS = ("one", "two", "three", "four", "five", "six")
BETTER: dict[str, Callable[..., float]] = {"test_accuracy": max, "test_loss": min}
"""Which of several values of a figure is the best; of the others it is a matter of taste."""
UNKNOWN = "-"
CURVES: dict[str, tuple[str, Callable[[Sequence[float]], Scale], Callable[[float], str]]] = {
    "test_loss": ("test_loss", linear, "{:g}".format),
    "log_test_loss": ("test_loss", logarithmic, "{:g}".format),
    "log_train_loss": ("train_loss", logarithmic, "{:g}".format),
    "test_accuracy": ("test_accuracy", whole_share, short_percent),
    "log_test_accuracy": ("test_accuracy", towards_one, short_percent),
    "log_train_accuracy": ("train_accuracy", towards_one, short_percent),
}
"""The charts: which figure of the epochs, on which scale, how its values are written."""


def report_on_runs(folders: Sequence[Path], texts: Words) -> Report:
    """Compare runs by what they have written down."""
    records = [read_record(folder) for folder in folders]
    names = _names([folder.resolve() for folder in folders])
    styles = [_style(place) for place in range(len(records))]
    heads = [tag("span", key(style), name, class_="entry") for style, name in zip(styles, names, strict=True)]
    same_data = len({record.config["data"] for record in records}) == 1
    told = differences([record.settings for record in records])
    around = differences([record.environment for record in records])
    parts = [
        _results(records, heads, texts, same_data),
        _different("settings", told, heads, texts),
        _curves(records, names, styles, texts),
        _recall(records, heads, texts),
        _different("environment", around, heads, texts),
    ]
    notices = []
    if unfinished := [name for name, record in zip(names, records, strict=True) if record.summary is None]:
        notices.append(texts("compare.unfinished", names=", ".join(unfinished)))
    if not same_data:
        notices.append(texts["compare.data"])
    title = texts("compare.title", count=len(records))
    page = document(title, ", ".join(names), notices, [part for part in parts if part is not None], texts)
    figures = {"runs": [figures_of(record) for record in records], "differences": {**told, **around}}
    return Report(title, page, figures, folders[0].resolve().parent / "comparison.html")


def differences(settings: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """What is not the same in all of them, with the value in each; None where one has none."""
    every = dict.fromkeys(name for each in settings for name in each)
    values = {name: [each.get(name) for each in settings] for name in every}
    return {name: found for name, found in values.items() if any(value != found[0] for value in found)}


def _names(folders: Sequence[Path]) -> list[str]:
    """As much of the end of each path as it takes to tell them apart."""
    names, longest = [], max(len(folder.parts) for folder in folders)
    for count in range(1, longest + 1):
        names = ["/".join(folder.parts[-count:]) for folder in folders]
        if len(set(names)) == len(set(folders)):
            break
    return names


def _style(place: int) -> str:
    """A colour for each run; where there are more runs than colours, another kind of line."""
    dash = place // len(COLOURS)
    return COLOURS[place % len(COLOURS)] + (f" dash{min(dash, 2)}" if dash else "")


def _results(records: Sequence[RunRecord], heads: Sequence[Markup], texts: Words, same_data: bool) -> Part:
    rows = []
    for name, write in FIGURES.items():
        values = [number((record.summary or {}).get(name)) for record in records]
        known = [value for value in values if value is not None]
        best = BETTER[name](known) if name in BETTER and same_data and len(set(known)) > 1 else None
        cells = [
            UNKNOWN if value is None else tag("b" if value == best else "span", _data(value, write)) for value in values
        ]
        rows.append([texts[f"figure.{name}"], *cells])
    listing = table(texts["compare.result"], ["", *heads], rows)
    return Part(
        "result", texts["compare.result"], [note(texts["compare.best"]), tag("div", listing, class_="filled headed")]
    )


def _data(value: float, write: Callable[[float], str]) -> Markup:
    return tag("data", write(value), value=repr(value))


def _different(kind: str, found: Mapping[str, Sequence[Any]], heads: Sequence[Markup], texts: Words) -> Part:
    heading = texts[f"compare.{kind}"]
    if not found:
        return Part(kind, heading, [tag("p", texts[f"compare.same_{kind}"])])
    rows = [
        [
            texts[f"environment.{name}"] if kind == "environment" else name,
            *(UNKNOWN if value is None else shown(name, value) for value in values),
        ]
        for name, values in found.items()
    ]
    columns = [texts["again.setting" if kind == "settings" else "again.what"], *heads]
    return Part(kind, heading, [tag("div", table(heading, columns, rows, text=True), class_="filled headed")])


def _curves(records: Sequence[RunRecord], names: Sequence[str], styles: Sequence[str], texts: Words) -> Part | None:
    """A line for each run in every chart."""
    longest = max(len(record.epochs) for record in records)
    if not longest:
        return None

    def lines(figure: str) -> list[Series]:
        values = [record.series(figure) for record in records]
        padded = [[*each, *[None] * (longest - len(each))] for each in values]
        return [Series(*each) for each in zip(names, padded, styles, strict=True)]

    figures = [
        figure_of_lines(texts[f"compare.{name}"], range(1, longest + 1), lines(figure), scale, write, texts)
        for name, (figure, scale, write) in CURVES.items()
    ]
    return Part(
        "curves",
        texts["compare.curves"],
        [tag("div", *figures, class_="grid"), note(texts["learning.training"], " ", texts["learning.last_percents"])],
    )


def _recall(records: Sequence[RunRecord], heads: Sequence[Markup], texts: Words) -> Part | None:
    """The recall of each class, where all runs have been tested on the same classes."""
    summaries = [record.summary for record in records if record.summary is not None]
    if len(summaries) < len(records) or any(each["classes"] != summaries[0]["classes"] for each in summaries):
        return None
    rows = []
    for index, name in enumerate(summaries[0]["classes"]):
        shares = [number(each["recall"][index]) for each in summaries]
        known = [share for share in shares if share is not None]
        best = max(known) if len(set(known)) > 1 else None
        cells = [
            UNKNOWN if share is None else tag("b" if share == best else "span", _data(share, percent))
            for share in shares
        ]
        rows.append([name, *cells])
    heading = texts["compare.recall"]
    listing = table(heading, [texts["classes.class"], *heads], rows)
    return Part("recall", heading, [tag("div", listing, class_="filled limited headed")])
