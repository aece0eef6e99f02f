"""How many operations a step asks of a GPU, counted without one: the stand-in for CuPy sees them all.

On a small network a GPU waits for Python: each operation takes it some microseconds to start, whatever there is to do.
So a step is as lean as these counts. They depend on the network and not on the size of the images or of the batch, as
long as the rows of a convolution fit into one tile (256 MB).
"""

from __future__ import annotations

from dataclasses import dataclass

from gpunet.backend import use_backend
from gpunet.bench.workloads import Workload, prepare
from gpunet.emulated import counters

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
        workload = Workload(model, "inference" if step == "inference" else "train", 2, image or COUNTED[model])
        run = prepare(workload, amp=step == "train_amp")
        run()
        counters.reset()
        run()
        functions = counters.functions
        copies = functions["copy"] + functions["fill"]
        others = functions.total() - functions["matmul"] - copies
        moved = counters.host_to_device, counters.device_to_host
        return LaunchCount(counters.launches, functions["matmul"], copies, others, *moved)
