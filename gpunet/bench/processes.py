"""Workers: each system that is measured runs in a process of its own, with its own memory, threads and libraries."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Generator, Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

from gpunet.bench.workloads import Workload
from gpunet.errors import BackendError, ProcessError

__all__ = ["SYSTEMS", "Worker", "mpiexec", "rank_lines"]

SYSTEMS = {"gpunet": "gpunet", "torch": "PyTorch", "torch_channels_last": "PyTorch, channels_last"}
"""What can be measured, and how reports call it."""


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Of a process of ours: gpunet may run from a checkout that is not installed."""
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, **variables, "PYTHONPATH": path}


def mpiexec() -> str:
    """The program that starts ranks: that of the environment that Python runs in, or else the system's.

    Raises:
        ProcessError: if there is none.
    """
    path = shutil.which("mpiexec", path=os.path.dirname(sys.executable)) or shutil.which("mpiexec")
    if path is None:
        raise ProcessError("there is no mpiexec to start ranks with: pip install 'gpunet[mpi]'")
    return path


def rank_lines(
    ranks: int, job: Mapping[str, Any], environment: Mapping[str, str]
) -> Generator[dict[str, Any], None, None]:
    """What `gpunet.bench.ranks` writes, line by line, on so many ranks.

    Raises:
        ProcessError: if there is no mpiexec, or the ranks fail.
    """
    command = [mpiexec(), "-n", str(ranks), sys.executable, "-m", "gpunet.bench.ranks", json.dumps(job)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, encoding="utf-8", env=_environment(environment)
    )
    try:
        yield from map(json.loads, process.stdout or ())
        if process.wait():
            raise ProcessError(f"mpiexec ended with code {process.returncode}: the ranks cannot be measured")
    finally:
        process.terminate()  # which it hands on to them
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


class Worker:
    """One worker process, set up for a workload and waiting for questions; `gpunet.bench.worker` is its other side.

    As a context manager it ends with its block, whatever happens there.

    Args:
        system: one of SYSTEMS.
        threads: for its arithmetic.
        backend: of gpunet; None leaves the choice to the environment.
        environment: variables to be set for the process.

    Raises:
        BackendError: if it cannot be set up; the message says why.
    """

    def __init__(
        self,
        system: str,
        workload: Workload,
        threads: int,
        backend: str | None = None,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.system, self.workload = system, workload
        self._process = subprocess.Popen(
            [sys.executable, "-m", "gpunet.bench.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=_environment(environment),
            start_new_session=True,  # Ctrl-C is for the command alone, which then ends its workers
        )
        try:
            job = {"system": system, "workload": workload.as_dict(), "threads": threads, "backend": backend}
            self.ask("set_up", job=job)
            self.about: dict[str, str] = self.ask("about")
        except BaseException:
            self.close()
            raise

    def ask(self, what: str, **arguments: Any) -> Any:
        """Put a question and wait for the answer.

        Raises:
            BackendError: if the worker refuses, or has ended; the message says why.
        """
        requests, replies = self._process.stdin, self._process.stdout
        line = ""
        if requests is not None and replies is not None:
            try:
                print(json.dumps({"ask": what, **arguments}), file=requests, flush=True)
                line = replies.readline()
            except BrokenPipeError:
                line = ""
        if not line:
            code = self._process.wait()
            how = f"was killed by signal {-code}; did memory run out?" if code < 0 else f"ended with code {code}"
            raise BackendError(f"the process that measures {SYSTEMS[self.system]} {how}")
        reply = json.loads(line)
        if "error" in reply:
            raise BackendError(f"{SYSTEMS[self.system]} cannot be measured: {reply['error']}")
        return reply["answer"]

    def step(self) -> float:
        """Let it take one step; returns the seconds."""
        return float(self.ask("step"))

    def close(self) -> None:
        """End the process, at once."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):  # a question was still on its way
                    pipe.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
