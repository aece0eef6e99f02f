"""`gpunet doctor`: what of this machine gpunet can use, and how to mend the rest."""

from __future__ import annotations

import argparse
import json

from gpunet.cli.options import Commands, add_backend, add_json
from gpunet.cli.output import in_colour, say, tell
from gpunet.doctor import examine
from gpunet.terminal import WIDEST, columns

__all__ = ["add_command"]

ROOMY = 60  # columns of a terminal in which details may stand beside what they are about

_COLOURS = {"ok": "green", "missing": "yellow", "broken": "red", "none": "dim"}


def add_command(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "doctor",
        help="say what works on this machine",
        description="Look at Python, NumPy, compilers, optional packages, CuPy and the GPU, say how to mend what is "
        "not in order, and which backend is used. The exit code is 0 if that one works, otherwise 1.",
        examples=("gpunet doctor", "gpunet doctor --backend cupy"),
    )
    add_backend(parser)
    add_json(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    report = examine(options.backend)
    works = not report.problem
    if options.json:
        result = {
            "asked": report.asked,
            "backend": report.backend,
            "works": works,
            "problem": report.problem,
            "parts": [finding._asdict() for finding in report.findings],
        }
        say(json.dumps(result))
        return 0 if works else 1
    indent = " " * (23 if (columns() or WIDEST) >= ROOMY else 4)
    for finding in report.that_matter():
        state = in_colour(f"{finding.state:9}", _COLOURS[finding.state])
        first, *others = finding.detail.split("\n")  # a compiler's words may be many lines
        tell(f"{state}{finding.part:14}{first}", indent)
        for line in others:
            tell(indent + line)
        if finding.mend:
            tell(f"{indent}to mend it: {finding.mend}", indent="  ")
    asked = "" if report.asked == report.backend else f" ({report.asked})"
    verdict = in_colour("works", "green") if works else in_colour(f"does not work: {report.problem}", "red")
    tell(f"\nbackend {report.backend}{asked} {verdict}")
    return 0 if works else 1
