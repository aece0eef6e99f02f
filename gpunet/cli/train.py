"""`gpunet train`: train a network and write the result into a folder."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import FrameType
from typing import Any

from gpunet.backend import active_backend, use_backend
from gpunet.cli.options import (
    Commands,
    absolute_data,
    absolute_path,
    add_backend,
    add_json,
    dataset,
    number_within,
    positive_number,
    whole_number_from,
)
from gpunet.cli.output import complain, say, tell
from gpunet.cli.parser import UsageError
from gpunet.data import AUGMENTATIONS, dataset_names
from gpunet.distributed import communicator, session, together
from gpunet.errors import BackendError
from gpunet.models import MODELS
from gpunet.printable import printable
from gpunet.terminal import columns, command_line, flowed, quoted
from gpunet.train import (
    OPTIMIZERS,
    PREPROCESSING,
    SCHEDULES,
    EpochResult,
    RunFolder,
    RunOptions,
    TrainConfig,
    Trainer,
    TrainingRun,
    new_run_path,
    read_toml,
    saved_config,
    saved_options,
)

__all__ = ["add_command"]

_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
_EXIT_CODES = {number: 128 + number for number in _SIGNALS}  # as a shell has it


def add_command(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "train",
        help="train a network",
        description="Train a network, evaluate it on images held out, and write weights and figures into a folder. "
        "Ctrl-C and SIGTERM finish the step and save; --resume goes on from there, or from the last checkpoint of a "
        "run that was killed, to the same bits as if it had never been interrupted, with all options that it had.",
        examples=(
            "gpunet train",
            "gpunet train --data shapes --model resnet20 --out runs/shapes",
            "gpunet train --resume --out runs/shapes",
            "gpunet train --data folder:photos --model resnet18 --image-size 224 --weights resnet18.pth "
            "--preprocessing imagenet --lr 0.01 --head-lr 0.1",
        ),
        argument_default=argparse.SUPPRESS,  # so that options that were given can be told from those that were not
    )
    _add_what_to_train(parser)
    _add_what_to_begin_with(parser)
    _add_how_to_train(parser)
    _add_how_to_run(parser)


def _add_what_to_train(parser: argparse.ArgumentParser) -> None:
    defaults = TrainConfig()
    group = parser.add_argument_group("what to train")
    group.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="a TOML file with settings by the names of these options; what is on the command line wins",
    )
    group.add_argument(
        "--data", type=dataset, metavar="NAME", help=f"{', '.join(dataset_names())} (default: {defaults.data})"
    )
    group.add_argument("--model", choices=MODELS, metavar="NAME", help=f"%(choices)s (default: {defaults.model})")
    whole, positive = whole_number_from, positive_number
    for option, kind, metavar, text in (
        ("--epochs", whole(1), "N", "passes over the images (default: what the data needs)"),
        ("--batch-size", whole(2), "N", f"images in a batch (default: {defaults.batch_size})"),
        ("--lr", positive, "X", f"the highest learning rate of the run (default: {_by_optimizer('lr')})"),
        ("--seed", whole(0), "N", f"same seed, same bits (default: {defaults.seed})"),
        ("--image-size", whole(1), "N", "height and width to which the images of a folder are brought (default: 32)"),
    ):
        group.add_argument(option, type=kind, metavar=metavar, help=text)


def _add_what_to_begin_with(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("fine-tuning: what to begin with")
    group.add_argument(
        "--weights",
        type=absolute_path,
        metavar="FILE",
        help="a .safetensors, .pth or .pt file of the same network; the head is new unless the classes are the same",
    )
    group.add_argument(
        "--freeze",
        action="append",
        metavar="PATTERN",
        help='parameters with such names stay as they are, such as "layer1.*"; may be given several times',
    )
    group.add_argument("--head-lr", type=positive_number, metavar="X", help="the highest learning rate of the head")
    group.add_argument(
        "--preprocessing",
        choices=PREPROCESSING,
        metavar="NAME",
        help="normalise images by their own mean and deviation (data), or as ImageNet's are (imagenet; default: data)",
    )


def _add_how_to_train(parser: argparse.ArgumentParser) -> None:
    defaults = TrainConfig()
    group = parser.add_argument_group("how to train")
    for option, choices, default in (
        ("--optimizer", tuple(OPTIMIZERS), defaults.optimizer),
        ("--schedule", SCHEDULES, defaults.schedule),
        ("--augment", AUGMENTATIONS, defaults.augment),
    ):
        group.add_argument(option, choices=choices, metavar="NAME", help=f"%(choices)s (default: {default})")
    not_negative, share = number_within(0, sys.float_info.max), number_within(0, 1)
    for name, kind, metavar, text in (
        ("--weight-decay", not_negative, "X", f"pull weights towards 0 (default: {_by_optimizer('weight_decay')})"),
        ("--label-smoothing", share, "X", "that much of the target goes evenly to all classes (default: 0)"),
        ("--mixup", positive_number, "X", "mix pairs of images, in shares from Beta(X, X)"),
        ("--clip", positive_number, "X", "scale gradients down to a common norm of X"),
        ("--ema", number_within(0, 1, True), "X", "evaluate and save a running average of the weights, of decay X"),
        ("--accumulate", whole_number_from(1), "N", "average the gradients of N batches for a step (default: 1)"),
        ("--early-stop", whole_number_from(1), "N", "end after N epochs without a smaller loss on the test images"),
    ):
        group.add_argument(name, type=kind, metavar=metavar, help=text)
    group.add_argument("--amp", action="store_true", help="mixed precision: float16 for tensor cores; slower on a CPU")


def _add_how_to_run(parser: argparse.ArgumentParser) -> None:
    defaults = RunOptions()
    group = parser.add_argument_group("how to run, to the same result")
    group.add_argument("--out", type=Path, metavar="DIR", help="where to write (default: a new folder in runs/)")
    either = group.add_mutually_exclusive_group()
    either.add_argument("--resume", action="store_true", help="go on with the run in --out, or begin it", default=False)
    either.add_argument("--overwrite", action="store_true", help="replace the run that is in --out", default=False)
    whole = whole_number_from
    for option, kind, metavar, text in (
        ("--data-dir", absolute_path, "DIR", "where the files of the dataset are, or go (default: a cache folder)"),
        ("--workers", whole(0), "N", f"threads that make batches (default: {defaults.workers})"),
        ("--keep", whole(1), "K", f"checkpoints to keep besides the best (default: {defaults.keep})"),
        ("--checkpoint-steps", whole(1), "N", "take one every N steps, not only after each epoch"),
        ("--checkpoint-seconds", positive_number, "X", "take one every X seconds, not only after each epoch"),
    ):
        group.add_argument(option, type=kind, metavar=metavar, help=text)
    group.add_argument(
        "--on-unreadable",
        choices=("skip", "error"),
        metavar="NAME",
        help="what becomes of files that are no images: %(choices)s (default: skip)",
    )
    group.add_argument(
        "--tensorboard", action=argparse.BooleanOptionalAction, help="write events, with tensorboardX (default: no)"
    )
    group.add_argument(
        "--graph",
        action=argparse.BooleanOptionalAction,
        help="replay the training step as a CUDA graph: same bits, sooner if a GPU waits for Python (default: no)",
    )
    group.add_argument(
        "--check-ranks",
        action=argparse.BooleanOptionalAction,
        help="under mpiexec, compare the weights of all processes after every step (default: no)",
    )
    group.add_argument("--quiet", action="store_true", help="no progress, only the result", default=False)
    add_backend(group)
    add_json(group)
    parser.set_defaults(run=_run, json=False, notices=True)


def _by_optimizer(name: str) -> str:
    return ", ".join(f"{getattr(recipe, name):g} for {optimizer}" for optimizer, recipe in OPTIMIZERS.items())


def _run(options: argparse.Namespace) -> int:
    if options.backend:
        use_backend(options.backend)
    with session():
        return _train(options)


def _train(options: argparse.Namespace) -> int:
    out: Path | None = getattr(options, "out", None)
    with together():
        config, run_options = _chosen(options, out)
    folder = out or new_run_path(config.data, config.model)
    writes = communicator().rank == 0
    quiet = options.quiet or options.json or not writes
    run = TrainingRun(config, folder, options.overwrite, not quiet, run_options, options.resume)

    def report(text: str) -> None:
        if not quiet:
            tell(text, indent="  ")

    report(
        f"{config.model} ({run.parameters:,} parameters) on {printable(config.data)}: "
        f"{len(run.train_loader.dataset):,} images to learn from, {len(run.test_loader.dataset):,} held out, "
        f"backend {active_backend()}{_on_ranks()}"
    )
    if options.resume:
        epochs, batches = run.resumed_from or (0, 0)
        report(f"going on after {epochs} epochs and {batches} batches" if run.resumed_from else "from the beginning")
    for remark in run.remarks:
        report(printable(remark))
    with _finish_step_on_signals(run.trainer) as stopped:
        evaluation, summary = run.run(lambda result: None if quiet else say(_line(result, run.epochs)))
    if options.json and writes:
        say(json.dumps(summary))
    elif writes:
        if not quiet:
            say("\n" + evaluation.table(run.classes) + "\n")
        tell(f"test accuracy {evaluation.accuracy:.2%} ({summary['seconds']:.1f} s), written to {printable(folder)}/")
    signals = [number for number in communicator().gather(run.trainer.stop_requested and stopped.by) if number]
    if signals:
        if writes:
            complain(f"stopped after {summary['epochs_done']} whole epochs; what was learned is saved")
            command = f"gpunet: to go on: {_launcher()}gpunet train --resume --out {quoted(folder)}"
            print(command_line(command, stream=sys.stderr), file=sys.stderr)
        return _EXIT_CODES[signal.Signals(max(signals))]
    if not quiet:
        say("\nwhat next:\n" + "\n".join(command_line(each, indent="  ") for each in _next_commands(folder)))
    return 0


def _on_ranks() -> str:
    size = communicator().size
    return f", {size} ranks" if size > 1 else ""


def _launcher() -> str:
    size = communicator().size
    return f"mpiexec -n {size} " if size > 1 else ""


def _chosen(options: argparse.Namespace, out: Path | None) -> tuple[TrainConfig, RunOptions]:
    """The settings that were given, and for those that were not, where a run goes on, those that it had."""
    given = _settings(options)
    if options.resume:
        if out is None:
            raise UsageError("--resume needs --out, the folder of the run to go on with")
        if RunFolder(out).holds_run():
            given = _saved_settings(RunFolder(out)) | given
            if not options.backend and not os.environ.get("GPUNET_BACKEND"):
                _use_backend_of(RunFolder(out))
    config = TrainConfig(**{name: given[name] for name in _names(TrainConfig) if name in given})
    return config, RunOptions(**{name: given[name] for name in _names(RunOptions) if name in given})


def _next_commands(folder: Path) -> list[str]:
    """What to do with a network that is trained."""
    run = quoted(folder)
    return [f"gpunet report {run}", f"gpunet predict {run} IMAGE.png"]


def _names(settings: type[TrainConfig] | type[RunOptions]) -> list[str]:
    return [each.name for each in fields(settings)]


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """The settings that were given, in a file or, which wins, on the command line."""
    names = {*_names(TrainConfig), *_names(RunOptions)}
    file = read_toml(options.config) if hasattr(options, "config") else {}
    if isinstance(file.get("data"), str):
        file["data"] = absolute_data(file["data"], options.config.parent)
    for name in ("data_dir", "weights"):
        if isinstance(file.get(name), str) and file[name]:
            file[name] = absolute_path(os.path.join(options.config.parent, file[name]))
    return file | {name: value for name, value in vars(options).items() if name in names}


def _saved_settings(folder: RunFolder) -> dict[str, Any]:
    """Those of a run that goes on."""
    return {**asdict(saved_config(folder)), **asdict(saved_options(folder))}


def _use_backend_of(folder: RunFolder) -> None:
    """Compute where the run that goes on was begun."""
    backend = folder.read_config().get("backend", "auto")
    try:
        use_backend(backend)
    except BackendError as error:
        raise BackendError(
            f"{error.message}. The run was begun with it; to go on elsewhere, with other last bits, give --backend"
        ) from error


def _line(result: EpochResult, epochs: int) -> str:
    figures = [
        f"epoch {result.epoch:{len(str(epochs))}d}/{epochs}",
        f"loss {result.train_loss:.4f}",
        f"accuracy {result.train_accuracy:6.2%}",
        f"test accuracy {result.test_accuracy:6.2%}",
        f"{result.images_per_second:,.0f} images/s",
    ]
    if result.loss_scale is not None:
        figures.append(f"loss scale {result.loss_scale:,.0f}")
    return flowed(figures, "  ", indent="  ", limit=columns())


@dataclass
class _Stopped:
    """Which signal has ended the run, if one has come here."""

    by: signal.Signals | None = None


@contextlib.contextmanager
def _finish_step_on_signals(trainer: Trainer) -> Iterator[_Stopped]:
    """The first Ctrl-C or SIGTERM ends the run after the step in work, so that it can be saved; the second at once.

    So does SIGHUP, which says that the terminal has gone.
    """
    stopped = _Stopped()

    def stop(number: int, frame: FrameType | None) -> None:
        trainer.stop_requested = True
        stopped.by = signal.Signals(number)
        put_back()
        if communicator().rank:
            return
        with contextlib.suppress(OSError):  # nobody may be there to be told: what matters is that it is saved
            # Not with print: the signal may have come while the progress bar was being written, and print would refuse.
            os.write(sys.stderr.fileno(), b"\ngpunet: finishing the batch and saving; Ctrl-C again to stop at once\n")

    def put_back() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    # What is ignored stays so, such as SIGHUP under nohup.
    before = {number: now for number in _EXIT_CODES if (now := signal.getsignal(number)) != signal.SIG_IGN}
    try:
        for number in before:
            signal.signal(number, stop)
        yield stopped
    finally:
        put_back()
