"""`gpunet train`: train a network and write the result into a folder."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from gpunet.backend import active_backend, use_backend
from gpunet.cli.options import Commands, add_backend, add_json, positive_number, whole_number_from
from gpunet.cli.output import say
from gpunet.data import DATASETS
from gpunet.models import MODELS
from gpunet.train import EpochResult, TrainConfig, Trainer, TrainingRun, new_run_path

__all__ = ["add_command"]


def add_command(commands: Commands) -> None:
    """Add the command to the command line."""
    defaults = TrainConfig()
    parser = commands.add_parser(
        "train",
        help="train a network",
        description="Train a network, evaluate it on images held out, and write weights and figures into a folder.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--data", choices=DATASETS, default=defaults.data, help="what to learn")
    parser.add_argument("--model", choices=MODELS, default=defaults.model, metavar="NAME", help=", ".join(MODELS))
    parser.add_argument(
        "--epochs", type=whole_number_from(1), default=defaults.epochs, metavar="N", help="passes over the images"
    )
    parser.add_argument(
        "--batch-size", type=whole_number_from(2), default=defaults.batch_size, metavar="N", help="images in a step"
    )
    parser.add_argument(
        "--lr", type=positive_number, default=defaults.lr, metavar="X", help="the highest learning rate of the run"
    )
    parser.add_argument(
        "--seed", type=whole_number_from(0), default=defaults.seed, metavar="N", help="same seed, same bits"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where to write (default: a new folder in runs/)",
        default=argparse.SUPPRESS,
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the run that is in --out")
    parser.add_argument("--quiet", action="store_true", help="no progress, only the result")
    add_backend(parser)
    add_json(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if options.backend:
        use_backend(options.backend)
    config = TrainConfig(options.data, options.model, options.epochs, options.batch_size, options.lr, options.seed)
    folder: Path = getattr(options, "out", None) or new_run_path(options.data, options.model)
    quiet = options.quiet or options.json
    run = TrainingRun(config, folder, options.overwrite, show_progress=not quiet)

    def report(text: str) -> None:
        if not quiet:
            say(text)

    report(
        f"{config.model} ({run.parameters:,} parameters) on {config.data}: {len(run.train_loader.dataset):,} images to "
        f"learn from, {len(run.test_loader.dataset):,} held out, backend {active_backend()}"
    )
    with _finish_batch_on_interrupt(run.trainer):
        evaluation, summary = run.run(lambda result: report(_line(result, config.epochs)))
    if options.json:
        say(json.dumps(summary))
    else:
        report("\n" + evaluation.table(run.classes) + "\n")
        say(f"test accuracy {evaluation.accuracy:.2%} ({summary['seconds']:.1f} s), written to {folder}/")
    if run.trainer.stop_requested:
        print(
            f"gpunet: stopped after {summary['epochs_done']} whole epochs; what was learned is saved", file=sys.stderr
        )
        return 130
    return 0


def _line(result: EpochResult, epochs: int) -> str:
    return (
        f"epoch {result.epoch:{len(str(epochs))}d}/{epochs}  loss {result.train_loss:.4f}  "
        f"accuracy {result.train_accuracy:6.2%}  test accuracy {result.test_accuracy:6.2%}  "
        f"{result.images_per_second:,.0f} images/s"
    )


@contextlib.contextmanager
def _finish_batch_on_interrupt(trainer: Trainer) -> Iterator[None]:
    """The first Ctrl-C ends the run after the batch in work, so that it can be saved; the second ends it at once."""

    def stop(number: int, frame: FrameType | None) -> None:
        trainer.stop_requested = True
        signal.signal(signal.SIGINT, before)
        # Not with print: the signal may have come while the progress bar was being written, and print would refuse.
        os.write(2, b"\ngpunet: finishing the batch and saving; Ctrl-C again to stop at once\n")

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
