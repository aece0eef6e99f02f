"""The measurements as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gpunet.bench.bandwidth import KernelSpeed
from gpunet.bench.launches import STEPS, LaunchCount
from gpunet.bench.layers import LayerTime, convolution_speed
from gpunet.bench.processes import SYSTEMS
from gpunet.bench.runner import Overhead, RanksResult, Result, ScalingPoint
from gpunet.bench.workloads import TableRow
from gpunet.terminal import table

__all__ = [
    "kernels_text",
    "launches_text",
    "layers_text",
    "machine_text",
    "overhead_text",
    "ranks_text",
    "result_text",
    "scaling_text",
    "table_text",
]

NOT_KNOWN = "-"
BUSY = 0.5  # programs a core, before the measurements begin
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"))


def machine_text(machine: dict[str, Any], threads: int) -> str:
    """The machine, the versions and the number of threads; and a warning where other programs kept the machine busy."""
    text = (
        f"{machine['cpu'] or 'unknown processor'}, {machine['cores']} cores, {machine['system']}; "
        f"gpunet {machine['gpunet']}, Python {machine['python']}, NumPy {machine['numpy']}; {threads} thread(s) each"
    )
    load = machine["load"]
    if load is not None and load > BUSY * (machine["cores"] or 1):
        text += f"\nthe machine was busy already (load {load:.1f}): repeat this when it is quiet"
    return text


def result_text(result: Result) -> str:
    """A row for each system, and how fast the convolutions are against the machine's matrix product.

    "before" is the memory that the process had taken before its first step: for the libraries, weights and images.
    """
    rows = [
        ["", "images/s", "step", "quartiles", "quickest", "peak memory", "before", "GFLOPS", "gpunet is", "with memory"]
    ]
    for name, measured in result.systems.items():
        other = name != "gpunet"
        low, high = measured.seconds.quartiles
        memory = result.memory_against(name) if other else None
        rows.append(
            [
                f"{SYSTEMS[name]} {measured.version}",
                f"{result.images_per_second(name):,.0f}",
                _seconds(measured.seconds.median),
                f"{_seconds(low)} .. {_seconds(high)}",
                _seconds(min(measured.seconds.values)),
                _megabytes(measured.peak_rss),
                _megabytes(measured.rss_before),
                _giga(result.flops_per_second(name)),
                f"{result.speed_against(name):.2f} x as fast" if other else "",
                "" if memory is None else f"{memory:.2f} of it",
            ]
        )
    if not result.others:
        rows = [row[:-2] for row in rows]
    lines = [f"{result.workload}, backend {result.backend}, kernels: {result.kernels}", table(rows)]
    convolutions = convolution_speed(result.layers)
    if convolutions is not None:
        lines.append(
            f"convolutions, forward: {_giga(convolutions)} GFLOPS, {convolutions / result.peak:.0%} of the "
            f"{_giga(result.peak)} GFLOPS that the cores can do"
        )
    return "\n".join(lines)


def layers_text(layers: Sequence[LayerTime], peak: float) -> str:
    """The forward pass layer by layer, with each layer's share of the time and of the peak, and a note."""
    total = sum(layer.seconds for layer in layers)
    rows = [["layer", "type", "output shape", "time", "share", "GFLOPS", "of peak"]]
    for layer in layers:
        speed = layer.flops / layer.seconds if layer.seconds else 0.0
        rows.append(
            [
                layer.name,
                layer.kind,
                str(layer.output_shape),
                _seconds(layer.seconds),
                f"{layer.seconds / total:.1%}" if total else NOT_KNOWN,
                _giga(speed) if layer.flops else "",
                f"{speed / peak:.0%}" if layer.flops else "",
            ]
        )
    rows.append(["total", "", "", _seconds(total), "", "", ""])
    note = "each layer is computed before the next begins: passes that a network joins are done one by one here"
    return f"{table(rows, left=(0, 1, 2))}\n{note}"


def table_text(rows: Sequence[tuple[TableRow, Result]]) -> str:
    """The standard comparison: a line for each workload, with what is meant to be reached in brackets."""
    cells = [["", "gpunet", *("against " + SYSTEMS[name] for name in rows[0][1].others), "memory, against PyTorch"]]
    for wanted, result in rows:
        line = [str(result.workload), f"{result.images_per_second('gpunet'):,.0f} images/s"]
        for name, least in (("torch", wanted.default), ("torch_channels_last", wanted.channels_last)):
            if name in result.systems:
                target = "" if least is None else f" (>= {least})"
                line.append(f"{result.speed_against(name):.2f}{target}")
        memory = result.memory_against("torch") if "torch" in result.systems else None
        target = "" if wanted.memory is None else f" (<= {wanted.memory})"
        line.append(NOT_KNOWN if memory is None else f"{memory:.2f}{target}")
        cells.append(line)
    return table(cells)


def ranks_text(result: RanksResult) -> str:
    """A row for one rank alone and one for all, and how many times as many images these learn from."""
    one, several = result.images_per_second
    low, high = result.speedup_by_round.quartiles
    rows = [
        ["ranks", "step", "images/s"],
        ["1", _seconds(result.alone.median), f"{one:,.1f}"],
        [str(result.ranks), _seconds(result.together.median), f"{several:,.1f}"],
    ]
    return (
        f"{result.workload}, on each rank; {result.threads} thread(s) each\n{table(rows)}\n"
        f"{result.speedup:.2f} times as many images/s ({low:.2f} to {high:.2f}), {result.speedup / result.ranks:.0%} "
        f"of {result.ranks}"
    )


def scaling_text(points: Sequence[ScalingPoint]) -> str:
    """Time per image and memory by size of batch, and how many bytes of memory an image adds."""
    rows = [["", "batch", "step", "an image", "quartiles", "peak memory", "an image adds", "outputs of its layers"]]
    before: ScalingPoint | None = None
    for point in points:
        batch = point.workload.batch
        low, high = (each / batch for each in point.seconds.quartiles)
        slope = None
        if before is not None and before.system == point.system and before.peak_rss and point.peak_rss:
            slope = (point.peak_rss - before.peak_rss) / (batch - before.workload.batch)
        rows.append(
            [
                SYSTEMS[point.system],
                str(batch),
                _seconds(point.seconds.median),
                _seconds(point.seconds_per_image),
                f"{_seconds(low)} .. {_seconds(high)}",
                _megabytes(point.peak_rss),
                "" if slope is None else f"{slope / 1e6:.2f} MB",
                f"{point.activation_bytes / batch / 1e6:.2f} MB",
            ]
        )
        before = point
    first = points[0].workload
    return f"{first.model} {first.mode}, {'x'.join(map(str, first.image))}\n{table(rows)}"


def overhead_text(measured: Overhead) -> str:
    """A step on tiny images, and one operation of the tape."""
    names = {
        "array": "on an array",
        "no_tape": "without a tape",
        "forward": "recorded",
        "backward": "walking back",
    }
    rows = [["one operation on one number", *(SYSTEMS[name] for name in measured.operations)]]
    for key, words in names.items():
        seconds = [each.get(key) for each in measured.operations.values()]
        rows.append([words, *(NOT_KNOWN if each is None else _seconds(each) for each in seconds)])
    return f"{result_text(measured.step)}\n\n{table(rows)}"


def kernels_text(kernels: Sequence[KernelSpeed]) -> str:
    """A row for each kernel, against the copy that is the first of them."""
    copy = kernels[0].bytes_per_second
    rows = [["kernel", "moves", "time", "GB/s", "of a copy"]]
    rows += [
        [
            kernel.name,
            _megabytes(kernel.bytes),
            _seconds(kernel.seconds),
            _giga(kernel.bytes_per_second),
            f"{kernel.bytes_per_second / copy:.0%}",
        ]
        for kernel in kernels
    ]
    return table(rows)


def launches_text(counts: Mapping[str, Mapping[str, LaunchCount]]) -> str:
    """What a step of each network asks of a GPU."""
    rows = [["", "", "operations", "kernels", "products", "copies", "others", "uploads", "reads"]]
    for model, steps in counts.items():
        for step, count in steps.items():
            figures = (count.operations, count.kernels, count.products, count.copies, count.others)
            rows.append([model, STEPS[step], *map(str, (*figures, count.uploads, count.reads))])
    return table(rows, left=(0, 1))


def _seconds(seconds: float) -> str:
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds >= size), _UNITS[-1])
    return f"{_three_digits(seconds / size)} {unit}"


def _megabytes(count: int | None) -> str:
    return NOT_KNOWN if count is None else f"{count / 1e6:,.0f} MB"


def _giga(count: float) -> str:
    return _three_digits(count / 1e9)


def _three_digits(number: float) -> str:
    return f"{number:,.{0 if number >= 100 else 1 if number >= 10 else 2}f}"
