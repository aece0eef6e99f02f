"""`gpunet predict`: what a trained network takes images for."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from gpunet.backend import use_backend
from gpunet.classifier import Classifier, load
from gpunet.cli.options import Commands, add_backend, whole_number_from
from gpunet.cli.output import complain, say
from gpunet.errors import ArgumentError, FileError
from gpunet.files import write_bytes
from gpunet.printable import printable
from gpunet.terminal import columns, flowed
from gpunet.visualize import deepest_map, grad_cam, plot_explanation
from gpunet.visualize.figure import figure_png, new_figure

__all__ = ["add_command"]

BATCH_SIZE = 64

_DESCRIPTION = """\
Say what a trained network takes images for, with the probability of each class.

Each image is turned upright, laid over white where it is transparent, scaled until it covers the square that the
network was trained on, and cut to its middle; it becomes grey where the training images were. Handwritten digits are
light on dark there (digits, mnist): for dark ink on paper, give --invert.

Needs Pillow: pip install 'gpunet[full]'. Exit code 1 where a file could not be read; the others are predicted."""


def add_command(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "predict",
        help="say what a trained network takes images for",
        description=_DESCRIPTION,
        examples=(
            "gpunet predict runs/digits photo.png --invert",
            "gpunet predict runs/flowers pictures --top 1 --json",
            "gpunet predict runs/flowers rose.jpg --explain rose-explained.png",
        ),
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="the folder that `gpunet train` wrote into")
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="a file, a folder for all files in it and below, or - for a list on stdin, a path a line",
    )
    parser.add_argument("--top", type=whole_number_from(1), default=3, metavar="K", help="classes to name")
    parser.add_argument("--invert", action="store_true", help="swap light and dark first")
    parser.add_argument(
        "--explain",
        type=Path,
        metavar="OUT.png",
        help="for one image: draw it beside what Grad-CAM finds in it that speaks for the likeliest class; takes "
        "matplotlib",
    )
    parser.add_argument(
        "--layer", metavar="NAME", help="the layer that --explain looks at (default: the deepest with a map of 4 x 4)"
    )
    parser.add_argument(
        "--json", action="store_true", help="print a JSON object a line for each image, and nothing else"
    )
    add_backend(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if options.backend:
        use_backend(options.backend)
    classifier = load(options.folder)
    paths = list(_files(options.images))
    if not paths:
        raise FileError("no images were given: the folder or the list is empty")
    if options.explain and len(paths) != 1:
        raise ArgumentError(f"--explain takes one image, got {len(paths)}")
    if options.explain:
        new_figure("", 1, 1)  # so that matplotlib is missed before there is anything to draw
    failures = 0
    batch: list[tuple[str, np.ndarray]] = []
    for path in paths:
        try:
            batch.append((path, classifier.read(path, options.invert)))
        except FileError as error:
            failures += 1
            complain(printable(error))
        if len(batch) == BATCH_SIZE:
            _predict(classifier, batch, options)
            batch = []
    if batch:
        _predict(classifier, batch, options)
    if failures:
        complain(f"{failures} {'file' if failures == 1 else 'files'} could not be read")
    return 1 if failures else 0


def _files(arguments: Sequence[str]) -> Iterator[str]:
    """The files that are meant, in the order given; those of a folder in the order of their names."""
    for argument in arguments:
        for name in filter(None, _listed() if argument == "-" else [argument]):
            yield from _below(name) if os.path.isdir(name) else [name]


def _listed() -> list[str]:
    """The paths on stdin, one a line."""
    content = sys.stdin.buffer.read()
    if b"\0" in content:
        raise ArgumentError("- takes a list of paths on stdin, one a line; what came is binary, maybe an image itself")
    return [os.fsdecode(line.rstrip(b"\r")) for line in content.split(b"\n")]


def _below(folder: str) -> Iterator[str]:
    """All files in a folder and below, but for hidden ones; and folders that cannot be read, so that they are named."""
    closed: list[str] = []
    for place, folders, names in os.walk(folder, onerror=lambda error: closed.append(str(error.filename))):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (os.path.join(place, name) for name in sorted(names) if not name.startswith("."))
    yield from closed


def _predict(classifier: Classifier, batch: Sequence[tuple[str, np.ndarray]], options: argparse.Namespace) -> None:
    images = np.stack([image for _, image in batch])  # (N, channels, size, size)
    if options.explain:
        _explain(classifier, images, options.explain, options.layer, options.top)
    for (path, _), ranked in zip(batch, classifier.predict(images, options.top), strict=True):
        if options.json:
            line = {"image": path, "top": [{"class": name, "probability": share} for name, share in ranked]}
            say(json.dumps({**line, "explanation": str(options.explain)} if options.explain else line))
        else:
            named = [f"{printable(name)} {share:.1%}" for name, share in ranked]
            say(flowed([printable(path), *named], "  ", indent="  ", limit=columns()))
    if options.explain and not options.json:
        say(f"written to {printable(options.explain)}")


def _explain(classifier: Classifier, images: np.ndarray, out: Path, layer: str | None, top: int) -> None:
    prepared = classifier.prepare(images)
    layer = layer or deepest_map(classifier.model, prepared)[0]
    (heat,) = grad_cam(classifier.model, prepared, layer=layer)
    (picture,) = classifier.pictures(prepared.numpy())
    (answers,) = classifier.predict(images, top)
    write_bytes(out, figure_png(plot_explanation(picture, heat, answers, layer)))
