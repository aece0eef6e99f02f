"""`gpunet bench`: measure how fast gpunet is here, also against PyTorch."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpunet.backend import get_num_threads
from gpunet.bench import (
    BENCH_MODELS,
    COUNTED,
    MODES,
    STEPS,
    TABLE,
    Result,
    Settings,
    Workload,
    count_launches,
    default_image,
    kernels,
    machine,
    measure,
    overhead,
    ranks,
    report,
    scaling,
)
from gpunet.cli.options import Commands, add_backend, add_json, whole_number_from
from gpunet.cli.output import say, tell
from gpunet.cli.parser import UsageError
from gpunet.errors import FileError
from gpunet.files import write_json

__all__ = ["add_command"]

Tell = Callable[[str], None]
"""Shows the reader a piece of the report."""

SUITES = ("table", "overhead", "kernels", "launches")  # what has workloads of its own


def add_command(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "bench",
        help="measure speed and memory",
        description="Measure how fast a network trains and runs here: images/s, memory, and GFLOPS against those that "
        "the cores can do. Systems that are compared run in processes of their own and take turns.",
        examples=(
            "gpunet bench --model resnet20 --batch 32",
            "gpunet bench --table --against torch --out speed.json",
            "gpunet bench --launches",
        ),
    )
    parser.add_argument("--model", choices=BENCH_MODELS, metavar="NAME", help="%(choices)s (default: resnet20)")
    parser.add_argument("--batch", type=whole_number_from(1), metavar="N", help="images in a step (default: 128)")
    parser.add_argument("--image", type=_image, metavar="CxHxW", help="their size (default: what the model is for)")
    parser.add_argument("--mode", choices=(*MODES, "both"), metavar="NAME", help="%(choices)s (default: both)")
    parser.add_argument("--repeats", type=whole_number_from(1), default=10, metavar="N", help="steps that count")
    parser.add_argument("--threads", type=whole_number_from(1), metavar="N", help="of each system (default: all cores)")
    parser.add_argument(
        "--against", choices=("torch",), metavar="torch", help="compare with PyTorch on the CPU, in both its layouts"
    )
    parser.add_argument("--layers", action="store_true", help="list the layers with time, share and GFLOPS")
    parser.add_argument("--no-kernels", action="store_true", help="what NumPy or CuPy do alone, without our kernels")
    parser.add_argument(
        "--isa", choices=("avx2",), metavar="avx2", help="hold both systems to AVX2, where there is AVX-512, too"
    )
    suite = parser.add_mutually_exclusive_group()
    suite.add_argument("--table", action="store_true", help="the standard comparison, with what is meant to be reached")
    suite.add_argument("--scaling", action="store_true", help="time and memory for batches of 16 to 512")
    suite.add_argument(
        "--ranks",
        type=whole_number_from(2),
        metavar="N",
        help="N processes that train together, started with mpiexec, against one of them alone (1 thread each)",
    )
    suite.add_argument("--overhead", action="store_true", help="a step on tiny images, and one operation of the tape")
    suite.add_argument("--launches", action="store_true", help="count what a step asks of a GPU; needs none")
    suite.add_argument("--kernels", action="store_true", help="GB/s of the CUDA kernels against a copy, on a GPU")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the result there as JSON, too")
    add_backend(parser)
    add_json(parser)
    parser.set_defaults(run=_run)


def _image(text: str) -> tuple[int, int, int]:
    if not re.fullmatch(r"[1-9]\d*x[1-9]\d*x[1-9]\d*", text):
        raise argparse.ArgumentTypeError(f"must be channels, height and width, such as 3x32x32, got {text!r}")
    channels, height, width = map(int, text.split("x"))
    return channels, height, width


def _run(options: argparse.Namespace) -> int:
    _check(options)
    if options.launches:
        return _launches(options)
    threads = options.threads or (1 if options.ranks else get_num_threads())
    settings = Settings(
        threads,
        options.repeats,
        options.backend,
        against_torch=options.against == "torch",
        kernels=not options.no_kernels,
        avx2=options.isa == "avx2",
        show_progress=not options.json,
    )
    about = machine()
    show: Tell = (lambda text: None) if options.json else tell
    figures = _suite(options)(options, settings, show)
    show(report.machine_text(about, threads))
    document = {"machine": about, "threads": threads, "repeats": options.repeats, **figures}
    if options.out:
        write_json(options.out, document)
    if options.json:
        say(json.dumps(document))
    return 0


def _check(options: argparse.Namespace) -> None:
    """Refuse at once what would otherwise show after minutes of measuring, or not at all."""
    if options.out and not options.out.parent.is_dir():
        raise FileError(f"cannot write {options.out}: there is no folder {options.out.parent}")
    suite = next((name for name in SUITES if getattr(options, name)), None)
    given = [f"--{name}" for name in ("model", "batch", "image", "mode") if getattr(options, name) is not None]
    if suite and given:
        raise UsageError(f"--{suite} has workloads of its own: leave out {', '.join(given)}")
    if options.scaling and options.batch is not None:
        raise UsageError("--scaling goes through batches of several sizes: leave out --batch")
    if options.ranks and (options.mode == "inference" or options.against):
        raise UsageError("--ranks measures training steps of gpunet: leave out --mode and --against")
    if options.layers and (options.ranks or options.scaling or options.overhead or options.kernels or options.launches):
        raise UsageError("--layers goes with single workloads and --table")
    if options.kernels and options.no_kernels:
        raise UsageError("--kernels measures the kernels: leave out --no-kernels")
    if options.kernels and options.against:
        raise UsageError("--kernels measures gpunet's own kernels: leave out --against")


def _launches(options: argparse.Namespace) -> int:
    """Nothing is measured, so nothing is said of the machine."""
    counts = {model: {step: count_launches(model, step) for step in STEPS} for model in COUNTED}
    operations = {model: {step: count.operations for step, count in steps.items()} for model, steps in counts.items()}
    if options.out:
        write_json(options.out, operations)
    say(json.dumps(operations) if options.json else report.launches_text(counts))
    return 0


def _suite(options: argparse.Namespace) -> Callable[[argparse.Namespace, Settings, Tell], dict[str, Any]]:
    suites = {"table": _table, "scaling": _scaling, "ranks": _ranks, "overhead": _overhead, "kernels": _kernels}
    return next((suite for name, suite in suites.items() if getattr(options, name)), _single_workloads)


def _workloads(options: argparse.Namespace) -> list[Workload]:
    model = options.model or "resnet20"
    image = options.image or default_image(model)
    modes = MODES if options.mode in (None, "both") else (options.mode,)
    return [Workload(model, mode, options.batch or 128, image) for mode in modes]


def _single_workloads(options: argparse.Namespace, settings: Settings, show: Tell) -> dict[str, Any]:
    results = [_measure(workload, options, settings, show) for workload in _workloads(options)]
    return {"results": [result.as_dict() for result in results]}


def _measure(workload: Workload, options: argparse.Namespace, settings: Settings, show: Tell) -> Result:
    result = measure(workload, settings)
    show(report.result_text(result) + "\n")
    if options.layers:
        show(report.layers_text(result.layers, result.peak) + "\n")
    return result


def _table(options: argparse.Namespace, settings: Settings, show: Tell) -> dict[str, Any]:
    rows = [(row, _measure(row.workload, options, settings, show)) for row in TABLE]
    show(report.table_text(rows) + "\n")
    return {"results": [result.as_dict() for _, result in rows]}


def _scaling(options: argparse.Namespace, settings: Settings, show: Tell) -> dict[str, Any]:
    figures = []
    for workload in _workloads(options):
        points = scaling(workload, settings)
        show(report.scaling_text(points) + "\n")
        figures += [point.as_dict() for point in points]
    return {"scaling": figures}


def _ranks(options: argparse.Namespace, settings: Settings, show: Tell) -> dict[str, Any]:
    model = options.model or "resnet20"
    workload = Workload(model, "train", options.batch or 128, options.image or default_image(model))
    result = ranks(workload, options.ranks, settings)
    show(report.ranks_text(result) + "\n")
    return {"ranks": result.as_dict()}


def _overhead(options: argparse.Namespace, settings: Settings, show: Tell) -> dict[str, Any]:
    measured = overhead(settings)
    show(report.overhead_text(measured) + "\n")
    return {"overhead": measured.as_dict()}


def _kernels(options: argparse.Namespace, settings: Settings, show: Tell) -> dict[str, Any]:
    speeds = kernels(settings)
    show(report.kernels_text(speeds) + "\n")
    return {"kernels": [speed.as_dict() for speed in speeds]}
