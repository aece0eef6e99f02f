"""`gpunet export`: a trained network as a file that other programs run."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from gpunet.backend import use_backend
from gpunet.classifier import load
from gpunet.cli.options import Commands, add_backend, add_json
from gpunet.cli.output import say, tell
from gpunet.onnx import export
from gpunet.printable import printable
from gpunet.train import RunFolder

__all__ = ["add_command"]


def add_command(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "export",
        help="write a trained network as an ONNX file",
        description="Write the network of a run as an ONNX file, which onnxruntime and others run. It takes any number "
        "of images as the network was trained on them, and gives logits; the classes, and what is done to images "
        "before, stand in its metadata. Needs the package onnx: pip install 'gpunet[onnx]'.",
        examples=("gpunet export runs/digits digits.onnx",),
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="the folder that `gpunet train` wrote into")
    parser.add_argument("out", type=Path, metavar="OUT.onnx", help="the file to be written")
    parser.add_argument(
        "--keep-batch-norm", action="store_true", help="as layers of their own, not within the convolutions before"
    )
    add_backend(parser)
    add_json(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if options.backend:
        use_backend(options.backend)
    classifier = load(options.folder)
    example = classifier.prepare(np.zeros((1, classifier.channels, classifier.size, classifier.size), np.uint8))
    about = RunFolder(options.folder).about()
    export(classifier.model, example, options.out, fold=not options.keep_batch_norm, about=about)
    size = options.out.stat().st_size
    if options.json:
        say(json.dumps({"out": str(options.out), "bytes": size, "input": ["N", *example.shape[1:]]}))
    else:
        shape = ", ".join(map(str, example.shape[1:]))
        tell(f"{about['model']}, which takes (N, {shape}): {size:,} bytes, written to {printable(options.out)}")
    return 0
