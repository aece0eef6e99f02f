"""How fast a GPU is: networks against PyTorch, what they launch, the graph, and what the kernels move a second."""

from __future__ import annotations

import functools
import gc
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import gpunet
from gpunet.backend import allow_tf32, to_cpu, use_backend, xp
from gpunet.bench import count_launches
from gpunet.bench.against_torch import build_torch
from gpunet.bench.bandwidth import time_kernels
from gpunet.bench.workloads import LR, MOMENTUM, WEIGHT_DECAY, Workload, build, default_image, draw_batch, prepare
from tools.first_light.processes import emit
from tools.first_light.settings import Settings

__all__ = ["bandwidth", "graph", "launches", "networks"]

Step = Callable[[], None]
TURNS = 5


def _torch() -> Any | None:
    try:
        import torch
    except ImportError as error:
        emit("PyTorch", says=f"not here: {error}; there is nothing to compare with")
        return None
    return torch


def _workload(settings: Settings, model: str, mode: str, batch: int) -> Workload:
    if settings.rehearse:
        return Workload(model, mode, 2, (3, 8, 8) if model == "resnet20" else (3, 32, 32))
    return Workload(model, mode, batch, default_image(model))


# ------------------------------------------------------------------------------------------------------------- a clock


class Clock:
    """Times what a GPU does, by events in its stream; in a rehearsal by the clock on the wall.

    Args:
        torch: PyTorch, if that is what runs, else None.
    """

    def __init__(self, settings: Settings, torch: Any | None) -> None:
        self._real, self._torch = not settings.rehearse, torch

    def mark(self) -> Any:
        """Put a mark behind all that was asked for so far."""
        if not self._real:
            return time.perf_counter()
        if self._torch is None:
            return xp.cuda.get_current_stream().record()
        event = self._torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def seconds(self, start: Any, end: Any) -> float:
        """The time between two marks; waits for the second."""
        if not self._real:
            return float(end - start)
        end.synchronize()
        return float(start.elapsed_time(end) if self._torch is not None else xp.cuda.get_elapsed_time(start, end)) / 1e3

    def time(self, step: Step, least: float = 0.15) -> tuple[float, float]:
        """Seconds for a step among others of its kind, and for the host alone, which need not wait for them.

        Args:
            least: seconds that a turn should take.
        """
        turns, count = (TURNS, self._steps_of_a_turn(step, least)) if self._real else (1, 1)
        whole, host = [], []
        for _ in range(turns):
            start = self.mark()
            began = time.perf_counter()
            step()
            host.append(time.perf_counter() - began)
            self.seconds(start, self.mark())  # waits: the queue is empty
            start = self.mark()
            for _ in range(count):
                step()
            whole.append(self.seconds(start, self.mark()) / count)
        return statistics.median(whole), statistics.median(host)

    def _steps_of_a_turn(self, step: Step, least: float) -> int:
        """How many steps take so many seconds, after a few that compile and choose whatever they need."""
        for _ in range(3):
            step()
        start = self.mark()
        step()
        return max(1, min(100, int(least / max(1e-6, self.seconds(start, self.mark())))))


# ------------------------------------------------------------------------------------------------------------ networks


def networks(settings: Settings, model: str, batch: str) -> None:
    """A network in training and inference, in gpunet and in PyTorch; times are those of the device."""
    torch = _torch()
    if torch is not None:
        torch.backends.cudnn.benchmark = True  # the first steps try all algorithms
        if settings.rehearse:
            torch.set_num_threads(1)
    use_backend(settings.backend)
    takes_long = settings.rehearse and model != "resnet20"  # training, on the emulated backend
    for mode in ("inference",) if takes_long else ("train", "inference"):
        workload = _workload(settings, model, mode, int(batch))
        reference = 0.0
        for system, library, tf32, make in _systems(settings, workload, torch):
            name = f"{model} {mode}, {workload.batch}: {system}"
            try:
                _set_tf32(settings, torch, tf32)
                step = make()
                seconds, host = Clock(settings, library).time(step)
                figures = {"ms": 1e3 * seconds, "host_ms": 1e3 * host, "memory_mb": _memory(settings, library)}
                reference = reference or (seconds if library is not None else 0.0)
                if library is None and reference:
                    figures["of_pytorch"] = seconds / reference
                emit(name, **figures)
            except Exception as error:  # out of memory, say: the others go on
                emit(name, ok=False, error=f"{type(error).__name__}: {error}"[:300])
            step = None  # type: ignore[assignment]
            _free(settings, torch)


def _systems(
    settings: Settings, workload: Workload, torch: Any | None
) -> Iterator[tuple[str, Any | None, bool, Callable[[], Step]]]:
    """Name, PyTorch if it is that, whether TF32 is allowed, what makes a step; the first is what is compared with."""
    if torch is not None:
        for name, tf32, amp, last in (
            ("PyTorch", False, False, False),
            ("PyTorch, TF32", True, False, False),
            ("PyTorch, TF32, channels_last", True, False, True),
            ("PyTorch, AMP, channels_last", True, True, True),
        ):
            yield name, torch, tf32, functools.partial(_torch_step, settings, torch, workload, amp, last)
    yield "gpunet", None, False, lambda: prepare(workload, wait=False)
    yield "gpunet, TF32", None, True, lambda: prepare(workload, wait=False)
    yield "gpunet, AMP", None, True, lambda: prepare(workload, amp=True, wait=False)


def _torch_step(settings: Settings, torch: Any, workload: Workload, amp: bool, channels_last: bool) -> Step:
    device = "cpu" if settings.rehearse else "cuda"
    model = build_torch(workload).to(device)
    x, target = (torch.from_numpy(array).to(device) for array in draw_batch(workload))
    if channels_last:
        model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    scaler = torch.amp.GradScaler(device, enabled=amp and not settings.rehearse)
    half = torch.bfloat16 if settings.rehearse else torch.float16

    def train() -> None:
        optimizer.zero_grad()
        with torch.autocast(device, half, enabled=amp):
            loss = torch.nn.functional.cross_entropy(model(x), target)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    def infer() -> None:
        with torch.no_grad(), torch.autocast(device, half, enabled=amp):
            model(x)

    return train if workload.mode == "train" else infer


def _set_tf32(settings: Settings, torch: Any | None, allowed: bool) -> None:
    if torch is not None:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
    if not settings.rehearse:
        allow_tf32(allowed)


def _memory(settings: Settings, library: Any | None) -> float:
    """What the library has taken of the device's memory, in MB."""
    if library is None:
        return float(xp.get_default_memory_pool().total_bytes()) / 1e6
    return 0.0 if settings.rehearse else float(library.cuda.max_memory_reserved()) / 1e6


def _free(settings: Settings, torch: Any | None) -> None:
    gc.collect()
    xp.get_default_memory_pool().free_all_blocks()
    if torch is not None and not settings.rehearse:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


# ----------------------------------------------------------------------------------------- launches, graph and kernels


def launches(settings: Settings) -> None:
    """What a ResNet-20 step launches, as PyTorch's profiler sees it on the device; in a rehearsal what is counted."""
    torch = _torch()
    for name, amp, mode in (("train", False, "train"), ("train_amp", True, "train"), ("inference", False, "inference")):
        if settings.rehearse:
            counted = count_launches("resnet20", name, (3, 8, 8))
            emit(f"gpunet {name}: counted", operations=counted.operations, reads=counted.reads)
        elif torch is not None:
            use_backend(settings.backend)
            workload = _workload(settings, "resnet20", mode, 128)
            _profile(torch, f"gpunet {name}", prepare(workload, amp))
            _profile(torch, f"PyTorch {name}", _torch_step(settings, torch, workload, amp, amp))


def _profile(torch: Any, name: str, step: Step) -> None:
    """Everything that runs on the device in a step, whoever has launched it, and what takes longest."""
    for _ in range(3):
        step()
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiler:
        step()
        torch.cuda.synchronize()
    events = [each for each in profiler.events() if "CUDA" in str(each.device_type)]
    took, times = Counter[str](), Counter[str]()
    for each in events:
        took[each.name] += each.time_range.elapsed_us()
        times[each.name] += 1
    emit(f"{name}: seen", operations=len(events), device_ms=sum(took.values()) / 1e3)
    for kernel, microseconds in took.most_common(8):
        emit(f"{name}: {kernel[:60]}", times=times[kernel], ms=microseconds / 1e3)


def graph(settings: Settings) -> None:
    """Training steps of ResNet-20 as they are, and recorded and replayed: their times, and whether bits are equal."""
    workload, steps = _workload(settings, "resnet20", "train", 128), 6 if settings.rehearse else 20
    with use_backend(settings.backend):
        for kind, amp in (("a step", False), ("a step, AMP", True)):
            weights = set()
            for name, wrap in ((kind, lambda step: step), (f"{kind}, recorded", gpunet.cuda_graph)):
                model = build(workload)
                step = wrap(prepare(workload, amp, wait=False, model=model))
                for _ in range(steps):  # the first two are made as they are
                    step()
                weights.add(b"".join(to_cpu(value.array).tobytes() for value in model.state_dict().values()))
                seconds, host = Clock(settings, None).time(step)
                emit(name, ms=1e3 * seconds, host_ms=1e3 * host)
            emit(f"{kind}: the same bits after {steps} of them", ok=len(weights) == 1)


def bandwidth(settings: Settings) -> None:
    """What each kernel moves a second, against a copy within the device."""
    with use_backend(settings.backend):
        copy, *others = time_kernels(repeats=1 if settings.rehearse else 5)
        for each in (copy, *others):
            share = each.bytes_per_second / copy.bytes_per_second
            emit(each.name, gb_per_second=each.bytes_per_second / 1e9, of_a_copy=share)
