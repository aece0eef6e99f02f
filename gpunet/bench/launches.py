"""How many operations a step asks of a GPU, counted without one: the stand-in for CuPy sees them all.

On a small network a GPU waits for Python: each operation takes it some microseconds to start, whatever there is to do.
So a step is as lean as these counts. They depend on the network and not on the size of the images or of the batch, as
long as the rows of a convolution fit into one tile (256 MB).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gpunet.amp import GradScaler
from gpunet.autocast import autocast
from gpunet.backend import use_backend
from gpunet.bench.workloads import LR, MOMENTUM, WEIGHT_DECAY, Workload, build, draw_batch
from gpunet.emulated import counters
from gpunet.functional import cross_entropy
from gpunet.optim import SGD
from gpunet.tape import no_grad
from gpunet.tensor import tensor

__all__ = ["COUNTED", "STEPS", "LaunchCount", "count_launches"]

COUNTED = {"resnet20": (3, 32, 32), "resnet18": (3, 32, 32), "small_cnn": (1, 28, 28)}
"""The networks, and the (C, H, W) of their images."""

STEPS = {"train": "a training step", "train_amp": "the same with autocast", "inference": "inference"}


@dataclass(frozen=True)
class LaunchCount:
    """What one step asks of the device.

    Attributes:
        kernels: launches of gpunet's own CUDA kernels.
        products: of matrices.
        copies: that CuPy makes of operands and results, and memory that it fills.
        others: what else CuPy launches, element by element or summing.
        uploads: arrays copied to the device.
        reads: arrays copied back, for each of which the host waits.
    """

    kernels: int
    products: int
    copies: int
    others: int
    uploads: int
    reads: int

    @property
    def operations(self) -> int:
        """All that the device has to start."""
        return self.kernels + self.products + self.copies + self.others


def count_launches(model: str, step: str, image: tuple[int, int, int] | None = None) -> LaunchCount:
    """Count what one step of a network asks of a GPU, after a first one that makes what lasts.

    Args:
        step: one of `STEPS`.

    Raises:
        BackendError: where there is no C++ compiler, which the emulated backend needs.
    """
    with use_backend("emulated"):
        run = _prepare(
            Workload(model, "inference" if step == "inference" else "train", 2, image or COUNTED[model]), step
        )
        run()
        counters.reset()
        run()
        functions = counters.functions
        copies = functions["copy"] + functions["fill"]
        others = functions.total() - functions["matmul"] - copies
        moved = counters.host_to_device, counters.device_to_host
        return LaunchCount(counters.launches, functions["matmul"], copies, others, *moved)


def _prepare(workload: Workload, step: str) -> Callable[[], None]:
    model = build(workload)
    images, labels = map(tensor, draw_batch(workload))
    optimizer = SGD(model.parameters(), LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    # A scale at which nothing overflows: a step that is left out would leave to the next what the first one makes.
    scaler = GradScaler(init_scale=2.0**10, enabled=step == "train_amp")

    def train() -> None:
        optimizer.zero_grad()
        with autocast(enabled=step == "train_amp"):
            loss = cross_entropy(model(images), labels)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    def infer() -> None:
        with no_grad():
            _ = model(images).array

    return infer if step == "inference" else train
