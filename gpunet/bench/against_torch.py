"""The same workloads in PyTorch, to measure gpunet against.

PyTorch is imported when a function of this file first needs it, never with the package: it takes seconds and a quarter
of a gigabyte.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import time
from collections.abc import Callable
from typing import Any

from gpunet.bench.networks import define
from gpunet.bench.timing import Clock, quickest, time_call
from gpunet.bench.workloads import LR, MOMENTUM, WEIGHT_DECAY, Workload, draw_batch
from gpunet.errors import ArgumentError, BackendError
from gpunet.models import LARGE_MODELS

__all__ = ["build_torch", "check_torch", "prepare_torch", "time_torch_operation", "torch_version"]


def check_torch() -> None:
    """Make sure that PyTorch is there, without importing it.

    Raises:
        BackendError: if it is not.
    """
    if importlib.util.find_spec("torch") is None:
        raise BackendError("--against torch needs PyTorch, which is not installed: pip install torch")


@functools.cache
def _torch() -> Any:
    check_torch()
    try:
        import torch
    except Exception as error:  # a missing shared library, a NumPy of another ABI, ...
        raise BackendError(f"PyTorch cannot be imported: {type(error).__name__}: {error}; reinstall torch") from error
    return torch


def torch_version() -> str:
    """The version of PyTorch."""
    return str(_torch().__version__)


def build_torch(workload: Workload) -> Any:
    """The network of a workload as a torch.nn.Module, in the right mode.

    Raises:
        BackendError: if PyTorch is not installed, or torchvision where it alone has the network.
        ArgumentError: if neither has it, or torchvision's takes other images.
    """
    torch = _torch()
    torch.manual_seed(0)
    written = define(torch.nn, torch.nn.functional)
    if workload.model in written:
        network = written[workload.model](workload.num_classes, workload.image)
    else:
        network = _of_torchvision(workload)
    return network.train(workload.mode == "train")


def _of_torchvision(workload: Workload) -> Any:
    model, channels = workload.model, workload.image[0]
    if model not in LARGE_MODELS:
        raise ArgumentError(f"{model} is not among torchvision's models: leave out --against torch")
    if channels != 3:
        raise ArgumentError(f"torchvision's {model} takes images of 3 channels, got {channels}")
    try:
        models = importlib.import_module("torchvision.models")
    except Exception as error:  # not installed, or made for another PyTorch
        problem = f"{type(error).__name__}: {error}"
        raise BackendError(
            f"--against torch takes {model} from torchvision, which cannot be imported: {problem}"
        ) from error
    return getattr(models, model)(num_classes=workload.num_classes)


def prepare_torch(workload: Workload, channels_last: bool, threads: int) -> Callable[[], None]:
    """Set a workload up in PyTorch on the CPU; what is returned takes one step of it.

    Raises:
        BackendError: if PyTorch is not installed.
    """
    torch = _torch()
    torch.set_num_threads(threads)
    model = build_torch(workload)
    x, target = (torch.from_numpy(array) for array in draw_batch(workload))
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
        x = x.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    cross_entropy = torch.nn.functional.cross_entropy

    def train() -> None:
        optimizer.zero_grad()
        cross_entropy(model(x), target).backward()
        optimizer.step()

    def infer() -> None:
        with torch.no_grad():
            model(x)

    return train if workload.mode == "train" else infer


def time_torch_operation(length: int = 1000, repeats: int = 7, clock: Clock = time.perf_counter) -> dict[str, float]:
    """What `time_tape_operation` measures, of PyTorch: seconds for one recorded negation, and for its way back.

    Raises:
        BackendError: if PyTorch is not installed.
    """
    torch = _torch()

    def chain(recorded: bool = True) -> Any:
        value = torch.ones(1, requires_grad=recorded)
        for _ in range(length):
            value = -value
        return value

    return {
        "no_tape": quickest(lambda: chain(recorded=False), repeats, clock) / length,
        "forward": quickest(chain, repeats, clock) / length,
        "backward": min(time_call(chain().backward, clock) for _ in range(repeats)) / length,
    }
