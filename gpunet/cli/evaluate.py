"""`gpunet evaluate`: repeat the test of a trained network."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from gpunet.backend import active_backend, use_backend
from gpunet.cli.options import Commands, add_backend, add_json
from gpunet.cli.output import say
from gpunet.train import evaluate_run

__all__ = ["add_command"]


def add_command(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "evaluate",
        help="test a trained network",
        description="Load the network that `gpunet train` wrote into a folder and test it on the images held out.",
        examples=("gpunet evaluate runs/digits",),
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="the folder that `gpunet train` wrote into")
    add_backend(parser)
    add_json(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if options.backend:
        use_backend(options.backend)
    evaluation, classes = evaluate_run(options.folder)
    if options.json:
        result = {
            "test_accuracy": evaluation.accuracy,
            "test_loss": evaluation.loss,
            "backend": active_backend(),
            "classes": list(classes),
            "confusion": evaluation.confusion.tolist(),
        }
        say(json.dumps(result))
    else:
        say(f"{evaluation.table(classes)}\n\ntest accuracy {evaluation.accuracy:.2%}")
    return 0
