"""`gpunet evaluate`: repeat the test of trained networks, or test them on other data."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from gpunet.backend import active_backend, use_backend
from gpunet.cli.options import Commands, absolute_path, add_backend, dataset
from gpunet.cli.output import complain_of, say, tell
from gpunet.cli.parser import UsageError
from gpunet.data import dataset_names
from gpunet.errors import GpunetError
from gpunet.printable import printable
from gpunet.terminal import table
from gpunet.train import Evaluation, RunFolder, evaluate_run

__all__ = ["add_command"]


def add_command(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "evaluate",
        help="test a trained network",
        description="Load the network that `gpunet train` wrote into a folder and test it on the images held out, or "
        "on other data with the same classes. Of several runs it makes a table.",
        examples=(
            "gpunet evaluate runs/digits",
            "gpunet evaluate runs/resnet8 runs/resnet20",
            "gpunet evaluate runs/flowers --data folder:more-flowers --all-images",
        ),
    )
    parser.add_argument(
        "folders", type=Path, nargs="+", metavar="DIR", help="the folder that `gpunet train` wrote into, or several"
    )
    parser.add_argument(
        "--data",
        type=dataset,
        metavar="NAME",
        help=f"other images: {', '.join(dataset_names())} (default: what the network was trained on)",
    )
    parser.add_argument(
        "--data-dir",
        type=absolute_path,
        metavar="DIR",
        help="where the files of --data are, or go (default: a cache folder)",
    )
    parser.add_argument(
        "--all-images", action="store_true", help="of --data all images, not only those that `gpunet train` holds out"
    )
    add_backend(parser)
    parser.add_argument("--json", action="store_true", help="print a JSON object a line for each run, and nothing else")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if options.data is None and (options.all_images or options.data_dir):
        raise UsageError("--data-dir and --all-images are for --data")
    if options.backend:
        use_backend(options.backend)
    rows = [["run", "model", "data", "images", "accuracy", "loss"]]
    for folder in options.folders:
        try:
            evaluation, classes = evaluate_run(folder, options.data, options.data_dir, options.all_images)
            config = RunFolder(folder).read_config()
        except GpunetError as error:
            if len(options.folders) == 1:
                raise
            complain_of(error)
            continue
        data = options.data or config["data"]
        rows.append([str(folder), config["model"], data, *_figures(evaluation)])
        if options.json:
            say(json.dumps(_as_json(folder, data, evaluation, classes)))
        elif len(options.folders) == 1:
            say(f"{evaluation.table(classes)}\n")
            where = f" on {printable(data)}, {rows[-1][3]} images" if options.data else ""
            tell(f"test accuracy {evaluation.accuracy:.2%}{where}")
    if len(options.folders) > 1 and not options.json:
        say(table([[*map(printable, row)] for row in rows], left=(0, 1, 2)))
    return 0 if len(rows) > len(options.folders) else 1


def _figures(evaluation: Evaluation) -> list[str]:
    return [f"{evaluation.confusion.sum():,}", f"{evaluation.accuracy:.2%}", f"{evaluation.loss:.4f}"]


def _as_json(folder: Path, data: str, evaluation: Evaluation, classes: Sequence[str]) -> dict[str, object]:
    return {
        "run": str(folder),
        "data": data,
        "test_accuracy": evaluation.accuracy,
        "test_loss": evaluation.loss,
        "backend": active_backend(),
        "classes": list(classes),
        "confusion": evaluation.confusion.tolist(),
    }
