"""The measurements: which workers take turns at what, and what comes out."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunet.bench.against_torch import check_torch
from gpunet.bench.bandwidth import KernelSpeed
from gpunet.bench.layers import LayerTime, convolution_speed
from gpunet.bench.processes import SYSTEMS, Worker, rank_lines
from gpunet.bench.timing import Sample, take_turns
from gpunet.bench.workloads import TINY, Workload
from gpunet.errors import ArgumentError
from gpunet.progress_bar import progress_bar
from gpunet.train.environment import processor_name
from gpunet.version import __version__

__all__ = [
    "SCALING_BATCHES",
    "Measured",
    "Overhead",
    "RanksResult",
    "Result",
    "ScalingPoint",
    "Settings",
    "kernels",
    "machine",
    "measure",
    "overhead",
    "ranks",
    "scaling",
]

PAUSE = 0.02  # seconds between two turns: threads of the one before may spin for a while before they sleep
WARMUPS = 2
LAYER_REPEATS = 5
SCALING_BATCHES = (16, 32, 64, 128, 256, 512)


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Attributes:
        threads: for each system.
        repeats: how many steps of each system count.
        backend: of gpunet; None leaves the choice to the environment.
        against_torch: whether PyTorch takes turns with gpunet.
        kernels: whether gpunet may use its kernels, or shows what NumPy or CuPy do alone.
        avx2: hold both systems to AVX2, on a processor that has AVX-512, too.
        show_progress: whether to draw a progress bar, where the output is a terminal.

    Raises:
        BackendError: if PyTorch is wanted and not installed.
    """

    threads: int
    repeats: int = 10
    backend: str | None = None
    against_torch: bool = False
    kernels: bool = True
    avx2: bool = False
    show_progress: bool = True

    def __post_init__(self) -> None:
        if self.against_torch:
            check_torch()

    @property
    def systems(self) -> tuple[str, ...]:
        """Which systems are measured: keys of SYSTEMS."""
        return tuple(SYSTEMS) if self.against_torch else ("gpunet",)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that the processes of both systems get."""
        narrow = {"GPUNET_CPU_BUILD": "v3", "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
        return (narrow if self.avx2 else {}) | ({} if self.kernels else {"GPUNET_RAW_KERNELS": "0"})


@dataclass(frozen=True)
class Measured:
    """What one system did at a workload.

    Attributes:
        seconds: of each step.
        peak_rss: the most bytes that its process had in memory; None where the system does not say.
        rss_before: the same before the first step.
    """

    version: str
    seconds: Sample
    peak_rss: int | None
    rss_before: int | None

    def as_dict(self) -> dict[str, Any]:
        """The figures by name."""
        return {
            "version": self.version,
            "seconds": self.seconds.as_dict(),
            "peak_rss_bytes": self.peak_rss,
            "rss_before_first_step_bytes": self.rss_before,
        }


@dataclass(frozen=True)
class Result:
    """What was measured at one workload.

    Attributes:
        flops: of the matrix products of one step.
        kernels: which of gpunet's kernels ran: `cpu v3`, `cuda`, `none`.
        peak: the most floating-point operations a second in gpunet's process; see `arithmetic_peak`.
        layers: the forward pass of gpunet, layer by layer.
    """

    workload: Workload
    backend: str
    kernels: str
    threads: int
    flops: int
    peak: float
    layers: tuple[LayerTime, ...]
    systems: Mapping[str, Measured]

    def images_per_second(self, system: str) -> float:
        """At the median time of a step."""
        return self.workload.batch / self.systems[system].seconds.median

    def flops_per_second(self, system: str) -> float:
        """Of the matrix products of convolutions and fully connected layers, counted over the whole step."""
        return self.flops / self.systems[system].seconds.median

    def speed_against(self, system: str) -> float:
        """How many times as fast as another system gpunet is, by the medians: what the comparison goes by."""
        return self.systems[system].seconds.median / self.systems["gpunet"].seconds.median

    def speed_sample(self, system: str) -> Sample:
        """The same, round by round."""
        pairs = zip(self.systems[system].seconds.values, self.systems["gpunet"].seconds.values, strict=True)
        return Sample(tuple(theirs / ours for theirs, ours in pairs))

    def quickest_against(self, system: str) -> float:
        """The same by the quickest step of each: what is left where other programs keep the machine busy."""
        return min(self.systems[system].seconds.values) / min(self.systems["gpunet"].seconds.values)

    def memory_against(self, system: str) -> float | None:
        """The peak memory of gpunet as a share of another system's."""
        ours, theirs = self.systems["gpunet"].peak_rss, self.systems[system].peak_rss
        return ours / theirs if ours and theirs else None

    @property
    def others(self) -> list[str]:
        """The systems that gpunet took turns with."""
        return [system for system in self.systems if system != "gpunet"]

    def as_dict(self) -> dict[str, Any]:
        """The figures by name; what is derived from others, too."""
        convolutions = convolution_speed(self.layers)
        return {
            "workload": self.workload.as_dict(),
            "backend": self.backend,
            "kernels": self.kernels,
            "threads": self.threads,
            "flops": self.flops,
            "peak_flops_per_second": self.peak,
            "convolutions_forward_flops_per_second": convolutions,
            "convolutions_forward_share_of_peak": None if convolutions is None else convolutions / self.peak,
            "systems": {
                name: {
                    **measured.as_dict(),
                    "images_per_second": self.images_per_second(name),
                    "flops_per_second": self.flops_per_second(name),
                }
                for name, measured in self.systems.items()
            },
            "against": {
                name: {
                    "speed": self.speed_against(name),
                    "speed_by_round": self.speed_sample(name).as_dict(),
                    "speed_by_quickest": self.quickest_against(name),
                    "memory": self.memory_against(name),
                }
                for name in self.others
            },
            "layers": [layer.as_dict() for layer in self.layers],
        }


def measure(workload: Workload, settings: Settings) -> Result:
    """Let the systems take turns at a workload.

    Raises:
        BackendError: if a system cannot be measured.
    """
    with _workers([(system, workload) for system in settings.systems], settings) as workers:
        return _measure(workload, dict(zip(settings.systems, workers, strict=True)), settings)


def _measure(workload: Workload, workers: Mapping[str, Worker], settings: Settings) -> Result:
    before = {name: worker.ask("peak_rss") for name, worker in workers.items()}
    times = _take_turns({name: worker.step for name, worker in workers.items()}, settings, str(workload))
    # The peak is asked for before anything else is measured in the same process.
    after = {name: worker.ask("peak_rss") for name, worker in workers.items()}
    ours = workers["gpunet"]
    return Result(
        workload,
        ours.about["backend"],
        ours.about["kernels"],
        settings.threads,
        ours.ask("cost")["flops"],
        ours.ask("peak"),
        tuple(LayerTime.from_dict(layer) for layer in ours.ask("layers", repeats=min(LAYER_REPEATS, settings.repeats))),
        {
            name: Measured(worker.about["version"], times[name], after[name], before[name])
            for name, worker in workers.items()
        },
    )


@contextlib.contextmanager
def _workers(jobs: Sequence[tuple[str, Workload]], settings: Settings) -> Iterator[list[Worker]]:
    """A worker for each (system, workload), all ready; they end with the block."""
    with contextlib.ExitStack() as stack:
        workers: list[Worker] = []
        for system, workload in jobs:
            backend = settings.backend if system == "gpunet" else None
            workers.append(
                stack.enter_context(Worker(system, workload, settings.threads, backend, settings.environment))
            )
            if settings.against_torch and workers[0].about["backend"] != "numpy":
                raise ArgumentError(
                    f"--against torch compares on the CPU, but the backend is {workers[0].about['backend']}; "
                    f"choose --backend numpy"
                )
        yield workers


def _take_turns(steps: Mapping[str, Callable[[], float]], settings: Settings, title: str) -> dict[str, Sample]:
    total = len(steps) * (settings.repeats + WARMUPS)
    with progress_bar(desc=title, unit="steps", total=total, shown=settings.show_progress) as progress:

        def between() -> None:
            progress.update()
            time.sleep(PAUSE)

        return take_turns(steps, settings.repeats, WARMUPS, between)


@dataclass(frozen=True)
class ScalingPoint:
    """A workload at one size of batch.

    Attributes:
        activation_bytes: of the outputs of all layers: what training has to keep.
    """

    system: str
    workload: Workload
    seconds: Sample
    peak_rss: int | None
    activation_bytes: int

    @property
    def seconds_per_image(self) -> float:
        """At the median time of a step."""
        return self.seconds.median / self.workload.batch

    def as_dict(self) -> dict[str, Any]:
        """The figures by name."""
        return {
            "system": self.system,
            "workload": self.workload.as_dict(),
            "seconds": self.seconds.as_dict(),
            "seconds_per_image": self.seconds_per_image,
            "peak_rss_bytes": self.peak_rss,
            "activation_bytes": self.activation_bytes,
        }


def scaling(workload: Workload, settings: Settings, batches: Sequence[int] = SCALING_BATCHES) -> list[ScalingPoint]:
    """Measure a workload at batches of several sizes, which take turns; one system after the other.

    Raises:
        BackendError: if a system cannot be measured.
    """
    points = []
    sizes = [workload.with_batch(batch) for batch in batches]
    with _workers([("gpunet", workload.with_batch(1))], settings) as (counter,):
        activations = counter.ask("cost")["activation_bytes"]
    for system in settings.systems:
        with _workers([(system, size) for size in sizes], settings) as workers:
            steps = {str(worker.workload.batch): worker.step for worker in workers}
            times = _take_turns(steps, settings, f"{SYSTEMS[system]}, {workload.model} {workload.mode}")
            points += [
                ScalingPoint(
                    system,
                    worker.workload,
                    times[str(worker.workload.batch)],
                    worker.ask("peak_rss"),
                    worker.workload.batch * activations,
                )
                for worker in workers
            ]
    return points


@dataclass(frozen=True)
class Overhead:
    """What a step costs whose arithmetic is next to nothing, and what one operation of the tape costs.

    Attributes:
        operations: for each system the seconds of one operation by kind; see `time_tape_operation`.
    """

    step: Result
    operations: Mapping[str, Mapping[str, float]]

    def as_dict(self) -> dict[str, Any]:
        """The figures by name."""
        return {
            "step": self.step.as_dict(),
            "operation_seconds": {n: dict(each) for n, each in self.operations.items()},
        }


def overhead(settings: Settings) -> Overhead:
    """Measure a training step on tiny images, and one operation of the tape.

    Raises:
        BackendError: if a system cannot be measured.
    """
    with _workers([(system, TINY) for system in settings.systems], settings) as ready:
        workers = dict(zip(settings.systems, ready, strict=True))
        operations = {name: worker.ask("operation") for name, worker in workers.items()}
        return Overhead(_measure(TINY, workers, settings), operations)


def kernels(settings: Settings) -> list[KernelSpeed]:
    """Measure the CUDA kernels against a copy.

    Raises:
        BackendError: where no kernels run.
    """
    with _workers([("gpunet", TINY)], settings) as (worker,):
        return [KernelSpeed.from_dict(kernel) for kernel in worker.ask("kernels")]


@dataclass(frozen=True)
class RanksResult:
    """Training steps of one rank alone, and of several that average their gradients; each has a batch of that size.

    Attributes:
        threads: of each rank.
        alone, together: seconds of a step.
    """

    workload: Workload
    ranks: int
    backend: str
    kernels: str
    threads: int
    alone: Sample
    together: Sample

    @property
    def images_per_second(self) -> tuple[float, float]:
        """Of one rank alone, and of all together, at the median time of a step."""
        return self.workload.batch / self.alone.median, self.ranks * self.workload.batch / self.together.median

    @property
    def speedup(self) -> float:
        """How many times as many images a second all ranks learn from, by the medians."""
        one, several = self.images_per_second
        return several / one

    @property
    def speedup_by_round(self) -> Sample:
        """The same, round by round."""
        pairs = zip(self.alone.values, self.together.values, strict=True)
        return Sample(tuple(self.ranks * alone / together for alone, together in pairs))

    def as_dict(self) -> dict[str, Any]:
        """The figures by name."""
        one, several = self.images_per_second
        return {
            "workload": self.workload.as_dict(),
            "ranks": self.ranks,
            "backend": self.backend,
            "kernels": self.kernels,
            "threads": self.threads,
            "alone": {"seconds": self.alone.as_dict(), "images_per_second": one},
            "together": {"seconds": self.together.as_dict(), "images_per_second": several},
            "speedup": self.speedup,
            "speedup_by_round": self.speedup_by_round.as_dict(),
        }


def ranks(workload: Workload, count: int, settings: Settings) -> RanksResult:
    """Let one rank alone and several together take turns at a workload, within one job of mpiexec.

    Raises:
        ProcessError: if they cannot be started, or fail.
    """
    job = {
        "workload": workload.as_dict(),
        "threads": settings.threads,
        "backend": settings.backend,
        "turns": WARMUPS + settings.repeats,
    }
    turns: dict[str, list[float]] = {"alone": [], "together": []}
    lines = rank_lines(count, job, settings.environment)
    total, title = 2 * (WARMUPS + settings.repeats), f"{workload}, {count} ranks"
    with (
        contextlib.closing(lines),
        progress_bar(desc=title, unit="turns", total=total, shown=settings.show_progress) as progress,
    ):
        about = next(lines)
        for line in lines:
            for name, seconds in line.items():
                turns[name].append(seconds)
            progress.update()
    alone, together = (Sample(tuple(seconds[WARMUPS:])) for seconds in turns.values())
    return RanksResult(workload, count, about["backend"], about["kernels"], settings.threads, alone, together)


def machine() -> dict[str, Any]:
    """What the measurements are made on, and with; `load` says how many programs want a core at this moment."""
    return {
        "gpunet": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "cpu": processor_name(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }
