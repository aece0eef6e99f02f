"""The most that this machine's arithmetic gives: what the speed of convolutions is measured against.

With CPU kernels that is what the cores can multiply and add in registers; elsewhere, what large matrix products reach.
"""

from __future__ import annotations

import time

from gpunet.backend import active_backend, get_num_threads, run_tiles, xp
from gpunet.backend.cpu_kernels import CpuKernel, launch
from gpunet.backend.kernels import device
from gpunet.bench.timing import Clock, quickest
from gpunet.bench.workloads import synchronize

__all__ = ["arithmetic_peak"]

SIZES = {"numpy": 1024, "cupy": 4096, "emulated": 32}  # of a matrix: large enough for the machine, small enough to wait
PRODUCTS_A_THREAD = 4

MULTIPLY_ADD_PEAK = CpuKernel("multiply_add_peak", "float* sums")
ITEM = 192 << 20  # multiply-adds of an item of the kernel


def arithmetic_peak(size: int | None = None, repeats: int = 7, clock: Clock = time.perf_counter) -> float:
    """The floating-point operations a second in float32, all of gpunet's threads together, the best of several runs.

    Args:
        size: of a matrix, size x size, where products are measured; by default one that suits the backend.
    """
    return _in_registers(repeats, clock) if device() == "cpu" else _of_products(size, repeats, clock)


def _in_registers(repeats: int, clock: Clock) -> float:
    threads = get_num_threads()
    sums = xp.empty((threads, 16), dtype=xp.float32)
    prepared = MULTIPLY_ADD_PEAK.prepare(items=threads, work=threads * ITEM)
    seconds = quickest(lambda: launch(prepared, sums), repeats, clock)
    return 2 * threads * ITEM / seconds


def _of_products(size: int | None, repeats: int, clock: Clock) -> float:
    """As convolutions do, each of gpunet's threads works on products of its own, with BLAS at one thread."""
    n = size or SIZES[active_backend()]
    products = PRODUCTS_A_THREAD * (get_num_threads() if active_backend() == "numpy" else 1)
    left, right = (xp.full((rows, n), 0.5, dtype=xp.float32) for rows in (products * n, n))
    out = xp.empty((products * n, n), dtype=xp.float32)
    slices = [slice(i * n, (i + 1) * n) for i in range(products)]

    def multiply() -> None:
        run_tiles(lambda rows: xp.matmul(left[rows], right, out=out[rows]), slices)
        synchronize()

    return 2 * products * n**3 / quickest(multiply, repeats, clock)
