"""A rank of `gpunet bench --ranks`: `mpiexec -n N python -m gpunet.bench.ranks JOB`.

One rank alone and all ranks together take turns at training steps, within one job, so that both meet the same machine.
While rank 0 works alone the others sleep. Rank 0 writes a line of JSON for each turn.
"""

from __future__ import annotations

import functools
import json
import math
import sys
import time
from collections.abc import Callable
from typing import Any

from gpunet.backend import active_backend, set_num_threads, use_backend
from gpunet.backend.kernels import kernels_in_use
from gpunet.bench.timing import TURN, time_call
from gpunet.bench.workloads import Workload, build, prepare
from gpunet.distributed import Communicator, DataParallel, SyncBatchNorm, session
from gpunet.ranks import alone

__all__ = ["main"]

PAUSE = 0.02  # seconds between two turns


def main(job: dict[str, Any]) -> None:
    """Measure, and write what was measured to stdout."""
    if job["backend"]:
        use_backend(job["backend"])
    with session() as ranks:
        set_num_threads(job["threads"])
        workload = Workload.from_dict(job["workload"])
        single = prepare(workload)
        model = DataParallel(SyncBatchNorm.convert_sync_batchnorm(build(workload)))
        together = prepare(workload, model=model)
        if ranks.rank == 0:
            _say({"backend": active_backend(), "kernels": kernels_in_use()})
        steps = _steps(ranks, single)
        for _ in range(job["turns"]):
            for name, turn in (
                ("alone", _alone(ranks, single, steps)),
                ("together", _together(ranks, together, steps)),
            ):
                seconds = turn()
                if ranks.rank == 0:
                    _say({name: seconds / steps})
                time.sleep(PAUSE)


def _steps(ranks: Communicator, step: Callable[[], None]) -> int:
    """So many steps make a turn that is long enough to be measured: rank 0 finds out, for all."""
    return int(ranks.gather(math.ceil(TURN / _alone(ranks, step, 1)()))[0])


def _alone(ranks: Communicator, step: Callable[[], None], steps: int) -> Callable[[], float]:
    def turn() -> float:
        ranks.barrier()
        seconds = 1.0
        if ranks.rank == 0:
            with alone():
                seconds = time_call(functools.partial(_repeat, step, steps))
        ranks.barrier()
        return seconds

    return turn


def _together(ranks: Communicator, step: Callable[[], None], steps: int) -> Callable[[], float]:
    def turn() -> float:
        ranks.barrier()
        return max(ranks.gather(time_call(functools.partial(_repeat, step, steps))))

    return turn


def _repeat(step: Callable[[], None], steps: int) -> None:
    for _ in range(steps):
        step()


def _say(figures: dict[str, Any]) -> None:
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
