"""The commands: `gpunet train`, `evaluate`, `report`, `predict`, `explain`, `gradients`, `doctor`, `kernels`, `bench`.

Exit codes: 0 done, 1 an error that the message explains, 2 a command that was not understood, 130 stopped by Ctrl-C,
143 by SIGTERM.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from gpunet.cli import bench, doctor, evaluate, explain, gradients, kernels, predict, report, train
from gpunet.cli.output import ignore_closed_pipe
from gpunet.errors import GpunetError
from gpunet.version import __version__

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Raises:
        SystemExit: with code 2 for a command that was not understood, 0 after --help or --version.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        return _run(arguments)
    except GpunetError as error:
        print(f"gpunet: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("gpunet: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        ignore_closed_pipe()
        return 0


def _run(arguments: Sequence[str] | None) -> int:
    try:
        parsed = _parser().parse_args(arguments)
        code: int = parsed.run(parsed)
        return code
    finally:
        sys.stdout.flush()  # a closed pipe must show here, also after --help, not when the interpreter ends


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
    doctor.add_command(commands)
    kernels.add_command(commands)
    bench.add_command(commands)
    return parser
