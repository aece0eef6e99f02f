"""Steps that stand on their own: each in processes of its own, ended at its limit, its results written down at once.

A first minute on an unknown machine brings crashes, hangs and kills. So a step prints what it finds as it finds it, a
line each (`emit`), and whoever runs the steps gathers those lines, whatever became of the process. All output goes into
one log. The results are one file of JSON, replaced as a whole before and after every step.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

__all__ = ["Finding", "Results", "Step", "emit", "run_steps"]

_MARK = "FOUND "  # how a line of findings begins
_LEAST_SECONDS = 2.0  # with less left, nothing is begun
_LAST_WORDS = 12  # lines of the log that are kept of a step that went wrong

Finding = dict[str, Any]
"""What a step found: a name, figures by their names, and "ok" where it was put to the test."""


def emit(name: str, **figures: Any) -> None:
    """Print a finding of the step that this process runs; infinity and NaN become texts, which JSON does not have."""
    known = {key: str(it) if isinstance(it, float) and not math.isfinite(it) else it for key, it in figures.items()}
    print(_MARK + json.dumps({"name": name, **known}), flush=True)


@dataclass(frozen=True)
class Step:
    """A step, as its processes are started.

    Attributes:
        limit: in seconds.
        commands: one a process; they run at the same time.
        missing: why it cannot run here, if so.
    """

    name: str
    limit: float
    commands: Sequence[Sequence[str]]
    missing: str = ""


class Results:
    """All that was found so far, in a file that is whole at any moment."""

    def __init__(self, path: Path, **about: Any) -> None:
        self.path = path
        self.content: dict[str, Any] = {**about, "steps": {}}
        self._write()

    def note(self, step: str, **what: Any) -> dict[str, Any]:
        """Put down what is known of a step, in place of what was."""
        self.content["steps"][step] = what
        self._write()
        return what

    def _write(self) -> None:
        fresh = self.path.with_suffix(".new")
        fresh.write_text(json.dumps(self.content, indent=1), encoding="utf-8")
        fresh.replace(self.path)


def run_steps(
    steps: Sequence[Step],
    results: Results,
    log: Path,
    seconds: float,
    environment: Mapping[str, str],
    tell: Callable[[str, dict[str, Any]], None],
) -> None:
    """Run steps one after the other, all of them within so many seconds; none keeps the next from running.

    Args:
        environment: variables of the processes.
        tell: called after each step with its name and what is known of it.
    """
    end = time.monotonic() + seconds
    for step in steps:
        left = end - time.monotonic()
        if step.missing:
            what = results.note(step.name, state="left out", why=step.missing)
        elif left < _LEAST_SECONDS:
            what = results.note(step.name, state="left out", why="no time was left")
        else:
            results.note(step.name, state="running")
            what = results.note(step.name, **_run(step, min(step.limit, left), log, environment))
        tell(step.name, what)


def _run(step: Step, limit: float, log: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    began = time.monotonic()
    with log.open("ab") as output:
        output.write(f"==== {step.name}\n".encode())
        output.flush()
        start = output.tell()
        try:
            codes = _run_processes(step.commands, began + limit, output, environment)
        except OSError as error:
            return {"state": "failed", "seconds": 0.0, "found": [], "said": [str(error)]}
    with log.open("rb") as written:
        written.seek(start)
        lines = written.read().decode(errors="replace").splitlines()
    found, said = _findings(lines)
    if None in codes:
        state = "ended at its limit"
    elif any(codes) or any(each.get("ok") is False for each in found):
        state = "failed"
    else:
        state = "ok"
    what = {"state": state, "seconds": round(time.monotonic() - began, 1), "limit": round(limit, 1), "found": found}
    return {**what, "exit codes": codes, "said": said[-_LAST_WORDS:]} if state != "ok" else what


def _run_processes(
    commands: Sequence[Sequence[str]], end: float, output: IO[bytes], environment: Mapping[str, str]
) -> list[int | None]:
    """Run commands side by side; returns their exit codes, None for those that had to be ended."""
    with contextlib.ExitStack() as ended:
        running = [ended.enter_context(_process(command, output, environment)) for command in commands]
        while any(process.poll() is None for process in running) and time.monotonic() < end:
            time.sleep(0.05)
        return [process.poll() for process in running]


@contextlib.contextmanager
def _process(
    command: Sequence[str], output: IO[bytes], environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with the block, and with it those that it has started."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env={**os.environ, **environment},
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _findings(lines: Sequence[str]) -> tuple[list[Finding], list[str]]:
    """What was found, and what else was said. A line that a kill has cut short is no finding."""
    found, said = [], []
    for line in lines:
        if line.startswith(_MARK):
            with contextlib.suppress(json.JSONDecodeError):
                found.append(json.loads(line[len(_MARK) :]))
        else:
            said.append(line)
    return found, said
