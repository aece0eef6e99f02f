"""The shared library of the CPU kernels: which build suits this processor, and whether it belongs to these sources."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib.resources
import logging
import os
import platform
import struct
import sys
from pathlib import Path

from gpunet.errors import BackendError

__all__ = ["BUILDS", "REBUILD", "UNTRIED", "build_name", "built", "library", "on_tried_platform", "source_hash"]

BUILDS = {"v4": 4, "v3": 3}
"""Every build, the best first, and the level of x86-64 that it needs: v4 has AVX-512, v3 AVX2 and FMA."""

REBUILD = "install gpunet again, or in a checkout: python setup.py build_ext --inplace (takes g++: apt install g++)"

UNTRIED = (
    "CPU kernels were tried on Linux with x86-64 alone; elsewhere they need clang++ or g++, a build in "
    "setup.py, and somebody who tries them (MSVC lacks vector extensions)"
)

_log = logging.getLogger("gpunet")


def _folder() -> Path:
    """Of the sources and the libraries; GPUNET_CPU_FOLDER names another, for tests with libraries of their own."""
    if os.environ.get("GPUNET_CPU_FOLDER"):
        return Path(os.environ["GPUNET_CPU_FOLDER"])
    try:
        return Path(str(importlib.resources.files("gpunet.raw_kernels"))) / "cpu"
    except ModuleNotFoundError:  # a checkout that is not installed has the folder beside the package
        return Path(__file__).parents[2] / "raw_kernels" / "cpu"


def on_tried_platform() -> bool:
    """Whether setup.py builds the kernels here."""
    return sys.platform == "linux" and platform.machine() == "x86_64"


def built() -> list[str]:
    """The builds that are there, the best first."""
    return [name for name in BUILDS if _file(name).exists()]


def _file(name: str) -> Path:
    return _folder() / f"kernels_{name}.so"


@functools.cache
def library() -> ctypes.CDLL | None:
    """The kernels built for this processor, opened; None where there are none.

    Raises:
        BackendError: if a file is damaged, or was built from other sources than those beside it.
    """
    name = build_name()
    if name is None:
        _log.info("no CPU kernels for this machine; NumPy does their work, more slowly (gpunet doctor says more)")
        return None
    opened = _open(_file(name))
    opened.source_hash.restype = ctypes.c_char_p
    if opened.source_hash().decode() != source_hash():
        raise BackendError(f"{_file(name)} was built from other sources than those beside it; {REBUILD}")
    return opened


@functools.cache
def build_name() -> str | None:
    """The best build that this processor and its operating system can run; None where none was built.

    The environment variable GPUNET_CPU_BUILD names another one, for tests.

    Raises:
        BackendError: if that one is not there, or a file is damaged.
    """
    wanted = os.environ.get("GPUNET_CPU_BUILD")
    detect = _folder() / "detect.so"
    level: int = _open(detect).instruction_set() if detect.exists() else 0
    names = [name for name in built() if BUILDS[name] <= level]
    if not wanted:
        return names[0] if names else None
    if wanted not in names:
        there = ", ".join(names) or "none"
        raise BackendError(f"GPUNET_CPU_BUILD asks for {wanted!r}; the builds that this machine can run are: {there}")
    return wanted


def _open(path: Path) -> ctypes.CDLL:
    try:
        if not _is_whole(path):
            raise BackendError(f"{path} is damaged: it is no whole library; {REBUILD}")
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise BackendError(f"{path} cannot be opened: {error}; {REBUILD}") from error


def _is_whole(path: Path) -> bool:
    """Whether an ELF file goes on to the end of its section headers: opening one that was cut off kills the process."""
    with path.open("rb") as file:
        header = file.read(64)
    if len(header) < 64 or header[:4] != b"\x7fELF":
        return False
    (sections,) = struct.unpack_from("<Q", header, 0x28)
    size, number = struct.unpack_from("<HH", header, 0x3A)
    return bool(path.stat().st_size >= sections + size * number)


def source_hash() -> str:
    """The hash of the kernels' sources, as setup.py computes it."""
    digest = hashlib.sha256()
    for path in sorted([*_folder().glob("*.h"), *_folder().glob("*.cpp")]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
