"""The report on one run: one HTML file with its style and pictures in it, and without addresses of anything else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.backend import active_backend
from gpunet.classifier import load
from gpunet.report.calibration import reliability
from gpunet.report.document import document
from gpunet.report.examine import Examination, examine
from gpunet.report.record import RunRecord, read_record
from gpunet.report.result import Report
from gpunet.report.sections.again import again, shown
from gpunet.report.sections.calibration import calibration
from gpunet.report.sections.classes import classes
from gpunet.report.sections.confusion import confused_pairs, confusion
from gpunet.report.sections.filters import filters
from gpunet.report.sections.headline import FIGURES, headline
from gpunet.report.sections.learning import learning
from gpunet.report.sections.maps import maps
from gpunet.report.sections.mistakes import mistakes
from gpunet.report.sections.network import network
from gpunet.report.sections.samples import samples
from gpunet.train import changed_data, find_run_data
from gpunet.words import Words

__all__ = ["figures_of", "report_on_run"]

EXAMINED = (samples, calibration, mistakes, network, filters, maps)
"""The parts that need the network and the test set, in the order of the page."""


def report_on_run(folder: Path, texts: Words) -> Report:
    """Report on a run, as far as it came; its network is run over the test set on the active backend."""
    record = read_record(folder)
    examined, changed = _examine(folder, record) if record.summary is not None else (None, "")
    seen = [] if examined is None else [part(examined, texts) for part in EXAMINED]
    parts = [
        headline(record, texts),
        learning(record, texts),
        confusion(record, texts),
        classes(record, texts),
        *seen,
        again(record, texts),
    ]
    title = texts("page.title", model=record.config["model"], data=record.config["data"])
    date = record.environment["date"]
    subtitle = ", ".join([texts["page.made"], record.name, *([shown("date", date)] if date else [])])
    notices = _notices(record, examined, changed, texts)
    page = document(title, subtitle, notices, [part for part in parts if part is not None], texts)
    return Report(title, page, {"runs": [figures_of(record, examined)]}, folder / "report.html")


def figures_of(record: RunRecord, examined: Examination | None = None) -> dict[str, Any]:
    """What a report says about a run in numbers."""
    summary = record.summary or {}
    figures: dict[str, Any] = {"name": record.name, "finished": record.summary is not None}
    figures |= {name: summary.get(name) for name in FIGURES}
    figures |= {"settings": record.settings, "environment": record.environment}
    if record.summary is not None:
        names, counts = summary["classes"], np.array(summary["confusion"], dtype=np.int64)
        figures["confused_pairs"] = [
            {"right": names[right], "predicted": names[predicted], "images": count}
            for right, predicted, count in confused_pairs(counts)
        ]
    if examined is not None:
        result = reliability(examined.probabilities, examined.labels)
        figures["calibration_error"] = result.expected_calibration_error
        figures["mistakes"] = [
            {
                "index": int(index),
                "file": examined.names[index] if examined.names else None,
                "right": examined.classes[int(examined.labels[index])],
                "predicted": examined.classes[int(examined.predicted[index])],
                "probability": float(examined.probabilities[index].max()),
            }
            for index in examined.mistakes
        ]
    return figures


def _examine(folder: Path, record: RunRecord) -> tuple[Examination, str]:
    """What the network makes of the test set, and what has changed in the data since it was trained."""
    classifier = load(folder)
    recipe = find_run_data(record.config, folder / "config.json")
    test_set = recipe.load(False, classifier.transform)
    changed = changed_data(record.config, recipe, test_set.classes)
    return examine(classifier, test_set), changed


def _notices(record: RunRecord, examined: Examination | None, changed: str, texts: Words) -> Sequence[str]:
    notices = [texts("page.changed", what=changed)] if changed else []
    if record.summary is None:
        notices.append(texts["page.unfinished"])
    elif record.summary.get("interrupted"):
        notices.append(texts["page.interrupted"])
    elif record.summary.get("stopped_early"):
        notices.append(texts["page.stopped_early"])
    if examined is not None and record.summary is not None and examined.accuracy != record.summary["test_accuracy"]:
        accuracy = f"{examined.accuracy:.2%}"
        notices.append(texts("page.otherwise", backend=active_backend(), accuracy=accuracy))
    return notices
