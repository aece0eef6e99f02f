"""`gpunet report`: what a training run came to, or how several compare, as one HTML file."""

from __future__ import annotations

import argparse
import json
import sys
import webbrowser
from pathlib import Path

from gpunet.backend import use_backend
from gpunet.cli.options import Commands, add_backend, add_json
from gpunet.cli.output import say
from gpunet.printable import printable
from gpunet.report import report
from gpunet.words import LANGUAGES

__all__ = ["add_command"]


def add_command(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "report",
        help="write a page about a trained network, or one that compares several",
        description="Write one HTML file about a training run: curves, confusion matrix, samples, calibration, "
        "mistakes, the network as a graph, filters and the command to do it again. For several runs it compares them: "
        "results side by side, settings that differ, curves overlaid. The file opens from disk and needs nothing "
        "beside itself.",
        examples=(
            "gpunet report runs/digits --open",
            "gpunet report runs/digits --lang es --out digits.html",
            "gpunet report runs/a runs/b --out comparison.html",
        ),
    )
    parser.add_argument(
        "folders", type=Path, nargs="+", metavar="DIR", help="the folder that `gpunet train` wrote into, or several"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="where to write (default: report.html in DIR, or comparison.html beside the first of several)",
    )
    parser.add_argument("--lang", choices=LANGUAGES, default="en", help="the language of the page (default: en)")
    parser.add_argument("--open", action="store_true", help="show the page in the browser")
    add_json(parser)
    add_backend(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if options.backend:
        use_backend(options.backend)
    made = report(*options.folders, language=options.lang)
    path = made.save(options.out)
    if options.json:
        say(json.dumps({"written": str(path), **made.figures}))
    else:
        say(f"written to {printable(path)}")
    if options.open and not webbrowser.open(path.resolve().as_uri()):
        print("gpunet: no browser was found to show it in", file=sys.stderr)
    return 0
