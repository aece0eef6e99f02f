"""`gpunet kernels`: the CUDA kernels, and what a compiler makes of them; no GPU is needed."""

from __future__ import annotations

import argparse
import json
import re
import textwrap
from collections.abc import Sequence
from typing import Any

from gpunet.backend.kernel_table import KERNELS, Instance, Kernel
from gpunet.backend.kernels import BLOCK
from gpunet.cli.options import Commands, add_json
from gpunet.cli.output import say
from gpunet.doctor.nvrtc import Compiled, compile_instances, nvrtc_version
from gpunet.doctor.occupancy import occupancy
from gpunet.doctor.traffic import DEFAULT_SHAPE, Case, traffic
from gpunet.emulator import ArrayTraffic, Traffic
from gpunet.errors import ArgumentError

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
_TRAFFIC_HEADER = (
    f"{'':46}{'threads':>8}{'idle':>5}{'asked':>10}{'least':>9}{'times':>6}"
    f"{'sectors':>9}{'fewest':>8}{'times':>6}{'lost':>6}"
)
_HEADER = f"    {'instance':56}{'arch':8}{'registers':>9}{'shared':>8}{'spills':>8}{'occupancy':>11}"


def add_command(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "kernels",
        help="list the CUDA kernels",
        description="List the CUDA kernels, their sources and what one of their threads does; with --compile also what "
        "they take of a GPU, with --traffic what they ask of its memory. No GPU needs to be there.",
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
        raise ArgumentError("kernels: --shape is for --traffic")
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
    say(_INTRODUCTION)
    if options.compile:
        say("Compiled by NVRTC {}.{}; shared memory and spills are in bytes.".format(*nvrtc_version()))
    for kernel in KERNELS:
        template = f"<{', '.join(kernel.template)}>" if kernel.template else ""
        say(f"\n{kernel.name}{template}  {_source(kernel)}\n    a thread {kernel.thread}")
        if options.compile:
            say("\n".join([_HEADER, *_rows(kernel, options.compile, compiled)]))
        else:
            say(_instances(kernel))
    return 0


def _source(kernel: Kernel) -> str:
    return f"raw_kernels/{kernel.source}.cu"


def _instances(kernel: Kernel) -> str:
    """The template arguments of each instance, in a few lines."""
    expressions = (instance.expression.replace(", ", ",").replace(" ", "_") for instance in kernel.instances())
    arguments = " ".join(expression.removeprefix(kernel.name) or "one" for expression in expressions)
    indent = " " * 4
    return textwrap.fill(f"instances: {arguments}", 120, initial_indent=indent, subsequent_indent=indent * 2).replace(
        "unsigned_char", "unsigned char"
    )


def _occupancy(compiled: Compiled) -> float | None:
    return occupancy(compiled.arch, BLOCK, compiled.registers, compiled.shared_bytes)


def _rows(kernel: Kernel, archs: Sequence[str], compiled: dict[tuple[str, str], Compiled]) -> list[str]:
    rows = []
    for instance in kernel.instances():
        for arch in archs:
            made = compiled[instance.expression, arch]
            share = _occupancy(made)
            rows.append(
                f"    {instance.expression:56}{arch:8}{made.registers:9}{made.shared_bytes:8}{made.spill_bytes:8}"
                f"{'unknown' if share is None else f'{share:.0%}':>11}"
            )
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
    say(_TRAFFIC.format(shape=shape))
    say(f"\n{_TRAFFIC_HEADER}")
    for case in cases:
        say("\n".join([case.operation, *map(_traffic_row, case.launches)]))


def _traffic_row(launch: Traffic) -> str:
    return (
        f"  {launch.kernel:44}{launch.threads:8}{launch.idle / launch.threads:5.0%}"
        f"{launch.asked:10}{launch.minimum:9}{launch.asked / launch.minimum:6.2f}"
        f"{launch.sectors:9}{launch.fewest_sectors:8}{launch.sectors / launch.fewest_sectors:6.2f}"
        f"{launch.shared_cycles - launch.fewest_shared_cycles:6}"
    )


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
