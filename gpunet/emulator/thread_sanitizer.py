"""Looks for races with ThreadSanitizer: every CUDA thread becomes a thread of the operating system, all at once.

The emulator proper runs one block at a time, so two blocks that write the same element never meet there. Here they do.
It takes a program of its own, because the sanitizer must be in charge of the whole process, and it is for small grids.
"""

from __future__ import annotations

import ctypes
import itertools
import math
import os
import platform
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gpunet.emulator.compiler import Flavour, build
from gpunet.emulator.module import ByValue, Module
from gpunet.errors import ArgumentError, BackendError, KernelError

__all__ = ["find_races"]

_MOST_THREADS = 4096  # the sanitizer takes up to 8000
_RACES, _FAULT = 66, 3  # exit codes: the sanitizer's, and os_threads.cpp's


def find_races(
    module: Module,
    name: str,
    grid: tuple[int, int, int],
    block: tuple[int, int, int],
    arguments: Sequence[Any],
    shared_mem: int = 0,
) -> str:
    """Launch a kernel once under ThreadSanitizer; returns its report, which is empty where it has found no race.

    Takes what `Module.launch` takes. The arrays are written, too.

    Raises:
        ArgumentError: if the grid has more than 4096 threads.
        BackendError: if the sanitizer does not work here.
        KernelError: if the arguments do not fit, or threads wait for one another for ever.
    """
    if math.prod(grid) * math.prod(block) > _MOST_THREADS:
        raise ArgumentError(f"find_races: a grid of at most {_MOST_THREADS} threads, got {grid} blocks of {block}")
    module.check(name, arguments)
    program = build(module.text, module.options, Flavour.THREAD)
    with tempfile.TemporaryDirectory(prefix="gpunet-races-") as folder:
        path = os.path.join(folder, "launch")
        with open(path, "wb") as file:
            reached = [piece for each in arguments if isinstance(each, ByValue) for piece in each.reached]
            count = len(arguments) + len(reached)
            file.write(struct.pack("<9Q", module.names.index(name), *grid, *block, shared_mem, count))
            for argument in arguments:
                data = b"" if argument is None else argument.tobytes()
                file.write(struct.pack("<2Q", isinstance(argument, np.ndarray), len(data)) + data)
            for begin, size in reached:
                file.write(struct.pack("<2Q", True, size) + ctypes.string_at(begin, size))
            moved = list(_moved(arguments, reached))
            file.write(struct.pack(f"<{1 + 4 * len(moved)}Q", len(moved), *itertools.chain(*moved)))
        done = _run([str(program), path])
        if done.returncode == _FAULT:
            raise KernelError(f"kernel {name}, {done.stderr.strip()}")
        if done.returncode not in (0, _RACES):
            raise BackendError(f"ThreadSanitizer does not work here: {done.stderr.strip()[-2000:]}")
        with open(path, "rb") as file:
            for argument in arguments:
                if isinstance(argument, np.ndarray):
                    values = np.frombuffer(file.read(argument.nbytes), argument.dtype)
                    argument[...] = values.reshape(argument.shape)
            for begin, size in reached:
                ctypes.memmove(begin, file.read(size), size)
    return done.stderr if done.returncode == _RACES else ""


def _moved(arguments: Sequence[Any], reached: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, int, int]]:
    """Each address in a struct: the struct's number and the place in it, the array's number and the place in that."""
    for number, argument in enumerate(arguments):
        if not isinstance(argument, ByValue):
            continue
        words = np.frombuffer(argument.data[: len(argument.data) // 8 * 8], np.uint64).tolist()
        for place, word in enumerate(words):
            for other, (begin, size) in enumerate(reached):
                if 0 <= word - begin < size:
                    yield number, 8 * place, len(arguments) + other, word - begin


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TSAN_OPTIONS": f"exitcode={_RACES} halt_on_error=0", "LD_PRELOAD": ""}

    def run(command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, capture_output=True, text=True, errors="replace", env=environment, check=False)

    done = run(command)
    fixed_layout = shutil.which("setarch")
    if fixed_layout and "unexpected memory mapping" in done.stderr:  # of new kernels, which scatter memory more widely
        done = run([fixed_layout, platform.machine(), "-R", *command])
    return done
