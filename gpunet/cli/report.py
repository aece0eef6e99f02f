"""`gpunet report`: what a training run came to, as one HTML file."""

from __future__ import annotations

import argparse
from pathlib import Path

from gpunet.backend import use_backend
from gpunet.cli.options import Commands, add_backend
from gpunet.cli.output import say
from gpunet.printable import printable
from gpunet.report import write_report

__all__ = ["add_command"]


def add_command(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "report",
        help="write a page about a trained network",
        description="Write one HTML file about a training run: curves, confusion matrix, calibration, mistakes, "
        "filters and the command to do it again. It opens from disk and needs nothing beside itself.",
        examples=("gpunet report runs/digits", "gpunet report runs/digits --out digits.html"),
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="the folder that `gpunet train` wrote into")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where to write (default: report.html in DIR)")
    add_backend(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if options.backend:
        use_backend(options.backend)
    say(f"written to {printable(write_report(options.folder, options.out))}")
    return 0
