"""The report as a whole: one HTML file with its style and pictures in it, without scripts and without addresses."""

from __future__ import annotations

from pathlib import Path

from gpunet.backend import active_backend
from gpunet.classifier import load
from gpunet.errors import FileError
from gpunet.files import write_bytes
from gpunet.markup import Markup, html_document, tag
from gpunet.report import sections
from gpunet.report.examine import Examination, examine
from gpunet.report.record import RunRecord, read_record
from gpunet.report.style import STYLE
from gpunet.train import changed_data, find_run_data

__all__ = ["write_report"]

# Nothing may be loaded and nothing may run, whatever the names of classes hold.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def write_report(folder: Path | str, out: Path | str | None = None) -> Path:
    """Write the report of a run; the network is run over the test set on the active backend.

    A run that was stopped is reported as far as it came.

    Args:
        folder: what `gpunet train` wrote into.
        out: the file to write; `report.html` in the folder if left out.

    Returns:
        the file that was written.

    Raises:
        FileError: if the folder holds no run, a file of it is damaged, or the report cannot be written.
        DataError: if the dataset has other classes by now.
        ArgumentError: if the run was made with data or a model that this version does not know.
        StateDictError: if the weights do not fit the model.
    """
    folder = Path(folder)
    record = read_record(folder)
    examined, changed = _examine(folder, record) if record.summary is not None else (None, "")
    target = folder / "report.html" if out is None else Path(out)
    if not target.parent.is_dir():
        raise FileError(f"cannot write {target}: there is no folder {target.parent}")
    write_bytes(target, _page(record, examined, changed).encode())
    return target


def _examine(folder: Path, record: RunRecord) -> tuple[Examination, str]:
    """What the network makes of the test set, and what has changed in the data since it was trained."""
    classifier = load(folder)
    recipe = find_run_data(record.config, folder / "config.json")
    test_set = recipe.load(False, classifier.transform)
    changed = changed_data(record.config, recipe, test_set.classes)
    return examine(classifier, test_set), changed


def _page(record: RunRecord, examined: Examination | None, changed: str) -> str:
    title = f"{record.config['model']} on {record.config['data']}"
    parts: list[Markup | None] = [
        *_notices(record, examined, changed),
        sections.headline(record),
        sections.curves(record),
    ]
    parts.append(sections.classes(record))
    if examined is not None:
        parts += [sections.calibration(examined), sections.mistakes(examined), sections.filters_and_maps(examined)]
    parts.append(sections.environment(record))
    header = tag("header", tag("h1", title), tag("p", f"A training run of gpunet, {record.name}", class_="soft"))
    body = tag("body", header, tag("main", *parts))
    return html_document(f"{title} - gpunet report", POLICY, STYLE, body, "en")


def _notices(record: RunRecord, examined: Examination | None, changed: str) -> list[Markup]:
    texts = [f"{changed}. Calibration and mistakes below are of the images as they are now."] if changed else []
    if record.summary is None:
        texts.append(
            "This run has not come to its end: there is no summary.json. What follows is what it has noted so far."
        )
    elif record.summary.get("interrupted"):
        texts.append("This run was stopped before its end. The result is that of the weights it had by then.")
    elif record.summary.get("stopped_early"):
        texts.append("This run ended early, as it was told to when the loss on the test images stopped falling.")
    if examined is not None and record.summary is not None:
        accuracy = float((examined.probabilities.argmax(axis=1) == examined.labels).mean())
        if accuracy != record.summary["test_accuracy"]:
            texts.append(
                f"Run again for this report, on the backend {active_backend()}, the network reached {accuracy:.2%}; "
                f"calibration and mistakes below are of that."
            )
    return [tag("p", text, class_="notice", role="note") for text in texts]
