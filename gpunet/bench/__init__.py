"""Measuring: how fast gpunet is here, how close to what the machine can do, and against PyTorch.

Nothing in here decides whether gpunet is right, and no test asserts a time.
"""

from gpunet.bench.bandwidth import KernelSpeed
from gpunet.bench.launches import COUNTED, STEPS, LaunchCount, count_launches
from gpunet.bench.layers import LayerTime
from gpunet.bench.networks import BENCH_MODELS
from gpunet.bench.runner import (
    SCALING_BATCHES,
    Measured,
    Overhead,
    RanksResult,
    Result,
    ScalingPoint,
    Settings,
    kernels,
    machine,
    measure,
    overhead,
    ranks,
    scaling,
)
from gpunet.bench.timing import Sample
from gpunet.bench.workloads import MODES, TABLE, TableRow, Workload, default_image

__all__ = [
    "BENCH_MODELS",
    "COUNTED",
    "MODES",
    "SCALING_BATCHES",
    "STEPS",
    "TABLE",
    "KernelSpeed",
    "LaunchCount",
    "LayerTime",
    "Measured",
    "Overhead",
    "RanksResult",
    "Result",
    "Sample",
    "ScalingPoint",
    "Settings",
    "TableRow",
    "Workload",
    "count_launches",
    "default_image",
    "kernels",
    "machine",
    "measure",
    "overhead",
    "ranks",
    "scaling",
]
