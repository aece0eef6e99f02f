"""What Python costs: the time of a tape operation whose arithmetic is next to nothing."""

from __future__ import annotations

import time

import numpy as np

from gpunet.backend import xp
from gpunet.bench.timing import Clock, quickest, time_call
from gpunet.bench.workloads import synchronize
from gpunet.tensor import Tensor

__all__ = ["time_tape_operation"]


def time_tape_operation(length: int = 1000, repeats: int = 7, clock: Clock = time.perf_counter) -> dict[str, float]:
    """Seconds for one operation on one number, out of a chain of `length` negations.

    Returns:
        `array`: on a plain array; `no_tape`: on a Tensor that needs no gradient; `forward`: recorded; `backward`: the
        walk back over it.
    """
    plain = xp.ones((1,), dtype=np.float32)
    ends: list[Tensor] = []

    def chain(start: Tensor) -> Tensor:
        for _ in range(length):
            start = -start
        return start

    def arrays() -> None:
        value = plain
        for _ in range(length):
            value = -value
        synchronize()

    def untaped() -> None:
        chain(Tensor(plain))
        synchronize()

    def record() -> None:
        ends[:] = [chain(Tensor(plain, requires_grad=True))]
        synchronize()

    def walk_back() -> None:
        ends.pop().backward()
        synchronize()

    def record_and_walk_back() -> float:
        record()
        return time_call(walk_back, clock)

    return {
        "array": quickest(arrays, repeats, clock) / length,
        "no_tape": quickest(untaped, repeats, clock) / length,
        "forward": quickest(record, repeats, clock) / length,
        "backward": min(record_and_walk_back() for _ in range(repeats)) / length,
    }
