"""The first minutes on a GPU: everything that could not be known without one, the most valuable first.

    python -m tools.first_light               at most 8 minutes; needs CuPy, and for the comparisons PyTorch
    python -m tools.first_light --rehearse    the same without a GPU: small sizes, on the emulated backend

Nothing is downloaded. Every step runs in processes of its own with a limit of its own, so that none stops the next.
Results are in results.json, whole at any moment, all output in log.txt, both in the folder --out.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from tools.first_light.processes import Results, Step, run_steps
from tools.first_light.settings import ROOT, Settings

SECONDS = 480.0
WIDTH, ROWS, WORDS = 160, 60, 4  # of the table, and of what is shown of a step: its findings, its last words
CORES = os.cpu_count() or 1

MODULES = {
    "checks": ("environment", "operations", "digits", "kernels", "tests"),
    "speed": ("networks", "launches", "graph", "bandwidth"),
}
"""Where the functions are that processes run, imported there alone: whatever is broken, the table gets made."""

BRIEF = ("operations", "gpu tests")  # steps of which only what went wrong is shown


def plan(rehearse: bool) -> list[Step]:
    """The steps, the most valuable first, with their limits in seconds."""

    def command(step: str, *arguments: object, under: tuple[str, ...] = ()) -> list[str]:
        flags = ["--rehearse"] if rehearse else []
        return [*under, sys.executable, "-m", "tools.first_light", *flags, "--step", step, *map(str, arguments)]

    def in_parts(step: str, most: int) -> list[list[str]]:
        parts = 2 if rehearse else min(most, CORES)
        return [command(step, part, parts) for part in range(parts)]

    sanitizer = find_sanitizer()
    missing = "" if sanitizer else "compute-sanitizer is not here; it is part of the CUDA toolkit"

    def sanitized(tool: str, *names: str) -> list[list[str]]:
        under = () if rehearse else (sanitizer, "--tool", tool, "--error-exitcode", "9", "--print-limit", "5")
        return [command("kernels", *names, under=under)]

    def networks(model: str, batch: int) -> list[list[str]]:
        return [command("networks", model, batch)]

    steps = [
        Step("environment", 40, [command("environment")]),
        Step("operations", 90, in_parts("operations", 8)),
        Step("digits", 60, [command("digits")]),
        Step("resnet20, batch 128", 50, networks("resnet20", 128)),
        Step("launches", 40, [command("launches")]),
        Step("graph", 40, [command("graph")]),
        Step("resnet50, batch 64", 60, networks("resnet50", 64)),
        Step("bandwidth", 40, [command("bandwidth")]),
        Step("memcheck", 60, sanitized("memcheck"), "" if rehearse else missing),
        Step("racecheck", 40, sanitized("racecheck", "BatchNorm"), "" if rehearse else missing),
        Step("gpu tests", 120, in_parts("tests", 12)),
        Step("resnet18, batch 64", 50, networks("resnet18", 64)),
        Step("resnet20, batch 512", 50, networks("resnet20", 512)),
    ]
    return (
        [replace(step, limit=step.limit * 4) for step in steps] if rehearse else steps
    )  # by a processor, and a busy one


def find_sanitizer() -> str:
    """Where compute-sanitizer is, or nothing."""
    homes = [os.environ.get("CUDA_PATH"), os.environ.get("CUDA_HOME"), "/usr/local/cuda"]
    folders = [os.environ.get("PATH", ""), *(f"{home}/bin" for home in homes if home)]
    return shutil.which("compute-sanitizer", path=os.pathsep.join(folders)) or ""


def show(name: str, what: dict[str, Any]) -> None:
    """A row of the table for a step, and one for each finding."""
    found = what.get("found", [])
    tried = [each["ok"] for each in found if each.get("ok") is not None]
    score = f"{sum(tried)} of {len(tried)} are right" if tried else what.get("why", "")
    took = f"{what['seconds']:.1f} s" if "seconds" in what else ""
    print(f"{name:22}{what['state']:20}{took:>8}  {score}")
    shown = [each for each in found if name not in BRIEF or each.get("ok") is False]
    for each in shown[:ROWS]:
        figures = " ".join(_figure(key, value) for key, value in each.items() if key != "name")
        print(f"    {each['name']:44} {figures}"[:WIDTH])
    if len(shown) > ROWS:
        print(f"    and {len(shown) - ROWS} more, in results.json")
    for line in what.get("said", [])[-WORDS:]:
        print(f"    | {line}"[:WIDTH])
    sys.stdout.flush()


def _figure(key: str, value: Any) -> str:
    if key == "ok":
        return "right" if value else "WRONG"
    return f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"


def main() -> int:
    """Run the steps, or in one of its processes a step; the exit code is 0 if all of them are ok."""
    parser = argparse.ArgumentParser(prog="python -m tools.first_light", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("first_light"), help="a folder (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for all together (default: %(default)g)")
    parser.add_argument("--rehearse", action="store_true", help="without a GPU, small, on the emulated backend")
    parser.add_argument("--step", nargs="+", metavar=("NAME", "ARGUMENT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        name, *arguments = options.step
        [module] = [module for module, names in MODULES.items() if name in names]
        step = getattr(importlib.import_module(f"tools.first_light.{module}"), name)
        step(Settings(options.rehearse), *arguments)
        return 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the running step is ended, then
    options.out.mkdir(parents=True, exist_ok=True)
    began = time.strftime("%Y-%m-%d %H:%M:%S")
    results = Results(options.out / "results.json", began=began, rehearsal=options.rehearse, seconds=options.seconds)
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
    steps = plan(options.rehearse)
    run_steps(steps, results, options.out / "log.txt", options.seconds, environment, show)
    return 0 if all(each["state"] == "ok" for each in results.content["steps"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
