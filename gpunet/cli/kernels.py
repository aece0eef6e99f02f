"""`gpunet kernels`: the CUDA kernels, and what a compiler makes of them; no GPU is needed."""

from __future__ import annotations

import argparse
import itertools
import json
import re
from collections.abc import Sequence
from typing import Any

from gpunet.backend.kernel_table import KERNELS, Instance, Kernel
from gpunet.backend.kernels import BLOCK
from gpunet.cli.options import Commands, add_json
from gpunet.cli.output import say, tell
from gpunet.cli.parser import UsageError
from gpunet.doctor.nvrtc import Compiled, compile_instances, nvrtc_version
from gpunet.doctor.occupancy import occupancy
from gpunet.doctor.traffic import DEFAULT_SHAPE, Case, traffic
from gpunet.emulator import ArrayTraffic, Traffic
from gpunet.terminal import WIDEST, columns, flowed, table

__all__ = ["add_command"]

_INTRODUCTION = f"""\
{len(KERNELS)} kernels, launched with {BLOCK} threads a block and as many blocks as there is work for.
T is the type of the values, W that of the places of maxima; a pack is V neighbouring channels: 16 bytes, or one."""
_TRAFFIC = """\
What the kernels ask of memory, counted on the emulator for float32 images (N, C, H, W) = {shape}:
  idle      threads that touch no array, mostly in the last block
  asked     bytes of all requests of warps; least: each byte that is read once, and each that is written once
  sectors   of 32 bytes that the requests touch; fewest: if the bytes of each request lay side by side
  lost      cycles that shared memory takes longer, as lanes of a warp need different words of one bank
What is asked for again counts again: of caches nothing is known here. The comments of the kernels say why."""
_TRAFFIC_HEADINGS = ["", "threads", "idle", "asked", "least", "times", "sectors", "fewest", "times", "lost"]
_HEADINGS = ["    instance", "arch", "registers", "shared", "spills", "occupancy"]


def add_command(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "kernels",
        help="list the CUDA kernels",
        description="List the CUDA kernels, their sources and what one of their threads does; with --compile also what "
        "they take of a GPU, with --traffic what they ask of its memory. No GPU needs to be there.",
        examples=(
            "gpunet kernels",
            "gpunet kernels --traffic --shape 2x16x8x8",
            "gpunet kernels --compile sm_75,sm_90",
        ),
    )
    measure = parser.add_mutually_exclusive_group()
    measure.add_argument(
        "--compile",
        type=_architectures,
        default=[],
        metavar="ARCHS",
        help="compile them for these architectures, such as sm_75,sm_90: registers of a thread, shared memory of a "
        "block and spills in bytes, theoretical occupancy",
    )
    measure.add_argument(
        "--traffic",
        action="store_true",
        help="run them on the emulator, which counts what they ask of memory: bytes, sectors, bank conflicts, idle "
        "threads",
    )
    parser.add_argument(
        "--shape",
        type=_shape,
        metavar="NxCxHxW",
        help=f"of the images for --traffic (default: {'x'.join(map(str, DEFAULT_SHAPE))})",
    )
    add_json(parser)
    parser.set_defaults(run=_run)


def _architectures(text: str) -> list[str]:
    names = list(dict.fromkeys(text.split(",")))
    for name in names:
        if not re.fullmatch(r"sm_\d+[af]?", name):
            raise argparse.ArgumentTypeError(f"expected architectures such as sm_75,sm_90, got {text!r}")
    return names


def _shape(text: str) -> tuple[int, int, int, int]:
    if not re.fullmatch(r"\d+(x\d+){3}", text):
        raise argparse.ArgumentTypeError(
            f"expected images, channels, height and width such as 4x64x14x14, got {text!r}"
        )
    images, channels, height, width = map(int, text.split("x"))
    return images, channels, height, width


def _run(options: argparse.Namespace) -> int:
    if options.shape and not options.traffic:
        raise UsageError("--shape is for --traffic")
    if options.traffic:
        _show_traffic(options.shape or DEFAULT_SHAPE, options.json)
        return 0
    instances = [instance for kernel in KERNELS for instance in kernel.instances()]
    compiled = {
        (each.expression, arch): each for arch in options.compile for each in compile_instances(instances, arch)
    }
    if options.json:
        say(json.dumps([_as_json(kernel, options.compile, compiled) for kernel in KERNELS]))
        return 0
    tell(_INTRODUCTION)
    if options.compile:
        tell("Compiled by NVRTC {}.{}; shared memory and spills are in bytes.".format(*nvrtc_version()))
    for kernel in KERNELS:
        template = f"<{', '.join(kernel.template)}>" if kernel.template else ""
        tell(f"\n{kernel.name}{template}  {_source(kernel)}\n    a thread {kernel.thread}", indent="    ")
        if options.compile:
            say(table([_HEADINGS, *_rows(kernel, options.compile, compiled)], left=(0, 1)))
        else:
            say(_instances(kernel))
    return 0


def _source(kernel: Kernel) -> str:
    return f"raw_kernels/{kernel.source}.cu"


def _instances(kernel: Kernel) -> str:
    """The template arguments of each instance, in a few lines."""
    expressions = (instance.expression.replace(", ", ",") for instance in kernel.instances())
    arguments = (expression.removeprefix(kernel.name) or "one" for expression in expressions)
    return flowed(["    instances:", *arguments], " ", " " * 8, min(columns() or WIDEST, WIDEST))


def _occupancy(compiled: Compiled) -> float | None:
    return occupancy(compiled.arch, BLOCK, compiled.registers, compiled.shared_bytes)


def _rows(kernel: Kernel, archs: Sequence[str], compiled: dict[tuple[str, str], Compiled]) -> list[list[str]]:
    rows = []
    for instance in kernel.instances():
        for arch in archs:
            made = compiled[instance.expression, arch]
            share = _occupancy(made)
            figures = map(str, (made.registers, made.shared_bytes, made.spill_bytes))
            rows.append([f"    {instance.expression}", arch, *figures, "unknown" if share is None else f"{share:.0%}"])
    return rows


def _as_json(kernel: Kernel, archs: Sequence[str], compiled: dict[tuple[str, str], Compiled]) -> dict[str, Any]:
    instances = [
        _instance_as_json(instance, compiled.get((instance.expression, arch)))
        for instance in kernel.instances()
        for arch in archs or [""]
    ]
    return {"kernel": kernel.name, "source": _source(kernel), "instances": instances}


def _instance_as_json(instance: Instance, compiled: Compiled | None) -> dict[str, Any]:
    return {
        "instance": instance.expression,
        "dtype": str(instance.dtype),
        "arch": compiled and compiled.arch,
        "registers": compiled and compiled.registers,
        "shared_bytes": compiled and compiled.shared_bytes,
        "spill_bytes": compiled and compiled.spill_bytes,
        "occupancy": compiled and _occupancy(compiled),
    }


def _show_traffic(shape: tuple[int, int, int, int], as_json: bool) -> None:
    cases = traffic(shape)
    if as_json:
        say(json.dumps([_case_as_json(case) for case in cases]))
        return
    for line in _TRAFFIC.format(shape=shape).split("\n"):
        tell(line, indent=" " * 10 if line.startswith(" ") else "")
    say("")
    rows = [[[case.operation], *map(_traffic_row, case.launches)] for case in cases]
    say(table([_TRAFFIC_HEADINGS, *itertools.chain.from_iterable(rows)]))


def _traffic_row(launch: Traffic) -> list[str]:
    return [
        f"  {launch.kernel}",
        str(launch.threads),
        f"{launch.idle / launch.threads:.0%}",
        str(launch.asked),
        str(launch.minimum),
        f"{launch.asked / launch.minimum:.2f}",
        str(launch.sectors),
        str(launch.fewest_sectors),
        f"{launch.sectors / launch.fewest_sectors:.2f}",
        str(launch.shared_cycles - launch.fewest_shared_cycles),
    ]


def _case_as_json(case: Case) -> dict[str, Any]:
    return {"operation": case.operation, "launches": [_launch_as_json(launch) for launch in case.launches]}


def _launch_as_json(launch: Traffic) -> dict[str, Any]:
    """The counts, and those of each array by its name in the source."""
    [parameters] = [each.parameters for each in KERNELS if each.name == launch.kernel.partition("<")[0]]
    arrays = [{"name": parameters[each.argument].name, **_counts(each)} for each in launch.arrays]
    return {
        "instance": launch.kernel,
        "threads": launch.threads,
        "idle": launch.idle,
        **_counts(launch),
        "shared_cycles": launch.shared_cycles,
        "fewest_shared_cycles": launch.fewest_shared_cycles,
        "arrays": arrays,
    }


def _counts(of: Traffic | ArrayTraffic) -> dict[str, int]:
    return {name: getattr(of, name) for name in ("asked", "minimum", "sectors", "fewest_sectors")}
