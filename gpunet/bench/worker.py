"""A process that runs one system, gpunet or PyTorch, at one workload: `python -m gpunet.bench.worker`.

It reads requests from stdin, a line of JSON each, and answers each with a line of JSON on stdout. The first request
says what to run. It ends at once, even in the middle of a step, when stdin does: when the process that started it is
gone.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any

from gpunet.backend import active_backend, set_num_threads, use_backend
from gpunet.backend.kernels import kernels_in_use
from gpunet.bench.against_torch import prepare_torch, time_torch_operation, torch_version
from gpunet.bench.bandwidth import time_kernels
from gpunet.bench.layers import time_layers
from gpunet.bench.memory import peak_rss
from gpunet.bench.peak import arithmetic_peak
from gpunet.bench.tape_overhead import time_tape_operation
from gpunet.bench.timing import time_step
from gpunet.bench.workloads import Workload, cost, prepare
from gpunet.errors import GpunetError
from gpunet.version import __version__

__all__ = ["main", "serve"]

Answer = Callable[..., Any]


def _gpunet(workload: Workload, threads: int, backend: str | None) -> dict[str, Answer]:
    """What a worker that runs gpunet can be asked."""
    set_num_threads(threads)
    if backend:
        use_backend(backend)
    step = prepare(workload)

    def count_cost() -> dict[str, int]:
        counted = cost(workload)
        return {"flops": counted.flops, "activation_bytes": counted.activation_bytes}

    return {
        "about": lambda: {"backend": active_backend(), "kernels": kernels_in_use(), "version": __version__},
        "step": lambda: time_step(step),
        "peak_rss": peak_rss,
        "cost": count_cost,
        "peak": arithmetic_peak,
        "layers": lambda repeats: [layer.as_dict() for layer in time_layers(workload, repeats)],
        "operation": time_tape_operation,
        "kernels": lambda: [kernel.as_dict() for kernel in time_kernels()],
    }


def _torch(workload: Workload, threads: int, channels_last: bool) -> dict[str, Answer]:
    """What a worker that runs PyTorch can be asked."""
    step = prepare_torch(workload, channels_last, threads)
    return {
        "about": lambda: {"backend": "torch", "kernels": "", "version": torch_version()},
        "step": lambda: time_step(step),
        "peak_rss": peak_rss,
        "operation": time_torch_operation,
    }


def _set_up(job: dict[str, Any]) -> dict[str, Answer]:
    workload = Workload.from_dict(job["workload"])
    if job["system"] == "gpunet":
        return _gpunet(workload, job["threads"], job["backend"])
    return _torch(workload, job["threads"], job["system"] == "torch_channels_last")


def serve(requests: Iterable[str], replies: IO[str]) -> None:
    """Answer requests until there are no more.

    A request is {"ask": what, ...arguments}, the first one {"ask": "set_up", "job": {...}}; a reply is {"answer": ...}
    or, where gpunet has refused, {"error": its message}.
    """
    answers: dict[str, Answer] = {}

    def set_up(job: dict[str, Any]) -> None:
        answers.update(_set_up(job))

    answers["set_up"] = set_up
    for line in requests:
        request = json.loads(line)
        try:
            reply = {"answer": answers[request.pop("ask")](**request)}
        except GpunetError as error:
            reply = {"error": str(error)}
        print(json.dumps(reply), file=replies, flush=True)


def _lines_until_the_end(stream: IO[str]) -> Iterator[str]:
    """The lines of a stream, watched by a thread that ends the process when the stream ends."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def watch() -> None:
        for line in stream:
            lines.put(line)
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()
    while True:
        yield lines.get()


def main() -> None:
    """Serve on stdin and stdout; whatever a library prints goes to stderr instead."""
    with os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8") as replies:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        try:
            serve(_lines_until_the_end(sys.stdin), replies)
        except BrokenPipeError:  # nobody waits for the answer any more
            os._exit(0)


if __name__ == "__main__":
    main()
