"""The most that this machine's matrix product gives: what the speed of convolutions is measured against."""

from __future__ import annotations

import time

from gpunet.backend import active_backend, get_num_threads, run_tiles, xp
from gpunet.bench.timing import Clock, quickest
from gpunet.bench.workloads import synchronize

__all__ = ["sgemm_peak"]

SIZES = {"numpy": 1024, "cupy": 4096, "emulated": 32}  # of a matrix: large enough for the machine, small enough to wait
PRODUCTS_A_THREAD = 4


def sgemm_peak(size: int | None = None, repeats: int = 7, clock: Clock = time.perf_counter) -> float:
    """The floating-point operations a second of large float32 matrix products, the best of several runs.

    As convolutions do, each of gpunet's threads works on products of its own, with BLAS at one thread.

    Args:
        size: of a matrix, size x size; by default one that suits the backend.
    """
    n = size or SIZES[active_backend()]
    products = PRODUCTS_A_THREAD * (get_num_threads() if active_backend() == "numpy" else 1)
    left, right = (xp.full((rows, n), 0.5, dtype=xp.float32) for rows in (products * n, n))
    out = xp.empty((products * n, n), dtype=xp.float32)
    slices = [slice(i * n, (i + 1) * n) for i in range(products)]

    def multiply() -> None:
        run_tiles(lambda rows: xp.matmul(left[rows], right, out=out[rows]), slices)
        synchronize()

    return 2 * products * n**3 / quickest(multiply, repeats, clock)
