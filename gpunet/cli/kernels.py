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

__all__ = ["add_command"]

_INTRODUCTION = f"""\
{len(KERNELS)} kernels, launched with {BLOCK} threads a block and as many blocks as there is work for.
T is the type of the values, W that of the places of maxima; a pack is V neighbouring channels: 16 bytes, or one."""
_HEADER = f"    {'instance':56}{'arch':8}{'registers':>9}{'shared':>8}{'spills':>8}{'occupancy':>11}"


def add_command(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "kernels",
        help="list the CUDA kernels",
        description="List the CUDA kernels, their sources and what one of their threads does; with --compile also what "
        "they take of a GPU, which need not be there.",
    )
    parser.add_argument(
        "--compile",
        type=_architectures,
        default=[],
        metavar="ARCHS",
        help="compile them for these architectures, such as sm_75,sm_90: registers of a thread, shared memory of a "
        "block and spills in bytes, theoretical occupancy",
    )
    add_json(parser)
    parser.set_defaults(run=_run)


def _architectures(text: str) -> list[str]:
    names = list(dict.fromkeys(text.split(",")))
    for name in names:
        if not re.fullmatch(r"sm_\d+[af]?", name):
            raise argparse.ArgumentTypeError(f"expected architectures such as sm_75,sm_90, got {text!r}")
    return names


def _run(options: argparse.Namespace) -> int:
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
