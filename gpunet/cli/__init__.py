"""The commands: `gpunet train`, `evaluate`, `report`, `predict`, `explain`, `gradients`, `weights`, `doctor`, ...

Exit codes: 0 done, 1 an error that the message explains, 2 a command that was not understood, 130 stopped by Ctrl-C,
143 by SIGTERM.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from typing import Any

from gpunet.backend import active_backend
from gpunet.backend.kernels import kernels_in_use
from gpunet.cli import bench, doctor, evaluate, explain, export, gradients, kernels, predict, report, train, weights
from gpunet.cli.output import PrintableFormatter, SteadyStream, complain, complain_of, say, steady_output
from gpunet.cli.parser import Parser, UsageError
from gpunet.errors import BackendError, GpunetError
from gpunet.version import __version__

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Raises:
        SystemExit: with code 2 for a command that was not understood, 0 after --help or --version.
    """
    with steady_output() as output:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(PrintableFormatter("%(message)s"))
        handler.setLevel(logging.WARNING)
        logging.basicConfig(level=logging.INFO, handlers=[handler])
        try:
            return _when_printed(output, _run(arguments, handler))
        except SystemExit as leaving:  # argparse has printed what was asked for, or what it did not understand
            sys.exit(_when_printed(output, int(leaving.code or 0)))


def _when_printed(output: SteadyStream, code: int) -> int:
    """The exit code, unless all went well but for what was to be printed, which has not arrived."""
    output.flush()
    if code == 0 and output.error is not None and not isinstance(output.error, BrokenPipeError):
        complain(f"error: the output could not be written: {output.error}")
        return 1
    return code


def _run(arguments: Sequence[str] | None, handler: logging.Handler) -> int:
    try:
        parsed = _parser().parse_args(arguments)
        if getattr(parsed, "notices", False):  # of what the machine lacks: long work says so, and `gpunet doctor`
            handler.setLevel(logging.INFO)
        try:
            code: int = parsed.run(parsed)
        except UsageError as error:
            parsed.parser.error(error.message)
        return code
    except GpunetError as error:
        complain_of(error)
        return 1
    except KeyboardInterrupt:
        complain("stopped")
        return 130


class _Version(argparse.Action):
    """Looks at the machine only when it is asked to."""

    def __call__(self, parser: argparse.ArgumentParser, *rest: Any) -> None:
        try:
            used = f"backend {active_backend()}, kernels {kernels_in_use()}"
        except BackendError as error:
            used = str(error)
        say(f"gpunet {__version__} ({used})")
        parser.exit()


def _parser() -> Parser:
    parser = Parser(
        prog="gpunet",
        description="Train and evaluate convolutional and residual image classifiers.",
        examples=("gpunet train", "gpunet train --help", "gpunet explain conv2d", "gpunet doctor"),
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version, the backend and the kernels")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    for each in (train, evaluate, report, predict, explain, gradients, export, weights, doctor, kernels, bench):
        each.add_command(commands)
    return parser
