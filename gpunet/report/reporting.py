"""Reports on training runs: `report(FOLDER)` and, to compare, `report(FOLDER, FOLDER, ...)`."""

from __future__ import annotations

from pathlib import Path

from gpunet.errors import ArgumentError
from gpunet.report.comparison import report_on_runs
from gpunet.report.page import report_on_run
from gpunet.report.result import Report
from gpunet.words import words

__all__ = ["report"]


def report(*folders: Path | str, language: str = "en") -> Report:
    """Report on a training run, or compare several. A notebook shows the result; `save` writes it into a file.

    For one run its network is run over the test set on the active backend: curves, confusion matrix, samples,
    calibration, mistakes, the network itself, filters. Several runs are compared by what they have written down:
    results side by side, settings that differ, curves overlaid. Runs that were stopped are reported as far as they
    came.

    Args:
        folders: what `gpunet train` wrote into.
        language: "en" or "es".

    Raises:
        ArgumentError: without a folder or in another language; or if the run was made with data or a model that this
            version does not know.
        FileError: if a folder holds no run, or a file of it is damaged.
        DataError: if the dataset has other classes by now.
        StateDictError: if the weights do not fit the model.
    """
    if not folders:
        raise ArgumentError("report expects the folder of a run, or several")
    texts = words(language, "gpunet.report")
    paths = [Path(folder) for folder in folders]
    return report_on_run(paths[0], texts) if len(paths) == 1 else report_on_runs(paths, texts)
