"""The commands: `gpunet train`, `evaluate`, `report`, `predict`, `explain`, `gradients`, `weights`, `doctor`, ...

Exit codes: 0 done, 1 an error that the message explains, 2 a command that was not understood, 130 stopped by Ctrl-C,
143 by SIGTERM.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from gpunet.cli import bench, doctor, evaluate, explain, export, gradients, kernels, predict, report, train, weights
from gpunet.cli.output import PrintableFormatter, SteadyStream, steady_output
from gpunet.errors import ArgumentError, FileError, GpunetError
from gpunet.printable import printable
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
        logging.basicConfig(level=logging.INFO, handlers=[handler])
        try:
            return _when_printed(output, _run(arguments))
        except SystemExit as leaving:  # argparse has printed what was asked for, or what it did not understand
            sys.exit(_when_printed(output, int(leaving.code or 0)))


def _when_printed(output: SteadyStream, code: int) -> int:
    """The exit code, unless all went well but for what was to be printed, which has not arrived."""
    output.flush()
    if code == 0 and output.error is not None and not isinstance(output.error, BrokenPipeError):
        print(f"gpunet: error: the output could not be written: {output.error}", file=sys.stderr)
        return 1
    return code


def _run(arguments: Sequence[str] | None) -> int:
    try:
        parsed = _parser().parse_args(arguments)
        code: int = parsed.run(parsed)
        return code
    except GpunetError as error:
        # A newline stands in the name of a file; or, in other errors, in the words of a compiler.
        newline = "" if isinstance(error, ArgumentError | FileError) else "\n"
        print(f"gpunet: error: {printable(error, keep=newline)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("gpunet: stopped", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gpunet", description="Train and evaluate convolutional and residual image classifiers."
    )
    parser.add_argument("--version", action="version", version=f"gpunet {__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    train.add_command(commands)
    evaluate.add_command(commands)
    report.add_command(commands)
    predict.add_command(commands)
    explain.add_command(commands)
    gradients.add_command(commands)
    export.add_command(commands)
    weights.add_command(commands)
    doctor.add_command(commands)
    kernels.add_command(commands)
    bench.add_command(commands)
    return parser
