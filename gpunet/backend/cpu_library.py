"""The shared library of the CPU kernels: which build suits this processor, and whether it belongs to these sources."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib.resources
import logging
import os
from pathlib import Path

from gpunet.errors import BackendError

__all__ = ["BUILDS", "build_name", "library", "source_hash"]

BUILDS = {4: "v4", 3: "v3"}
"""What `instruction_set()` of detect.cpp answers, and the build for it: x86-64-v4 (AVX-512), x86-64-v3 (AVX2, FMA)."""

_log = logging.getLogger("gpunet")


def _folder() -> Path:
    try:
        return Path(str(importlib.resources.files("gpunet.raw_kernels"))) / "cpu"
    except ModuleNotFoundError:  # a checkout that is not installed has the folder beside the package
        return Path(__file__).parents[2] / "raw_kernels" / "cpu"


def source_hash() -> str:
    """The hash of the kernels' sources, as setup.py computes it."""
    digest = hashlib.sha256()
    for path in sorted([*_folder().glob("*.h"), *_folder().glob("*.cpp")]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


@functools.cache
def library() -> ctypes.CDLL | None:
    """The kernels built for this processor, or None where there are none.

    Raises:
        BackendError: if they were built from other sources than those beside them.
    """
    name = build_name()
    if name is None:
        _log.info("no CPU kernels (built on install where there is a C++ compiler); NumPy does their work")
        return None
    opened = ctypes.CDLL(str(_folder() / f"kernels_{name}.so"))
    opened.source_hash.restype = ctypes.c_char_p
    if opened.source_hash().decode() != source_hash():
        raise BackendError(
            f"the CPU kernels in {_folder()} were built from other sources than those beside them; "
            f"build them again: python setup.py build_ext --inplace"
        )
    return opened


@functools.cache
def build_name() -> str | None:
    """The build that this processor and its operating system can run, `v4` or `v3`; None where none was built."""
    detect = _folder() / "detect.so"
    if not detect.exists():
        return None
    best: int = ctypes.CDLL(str(detect)).instruction_set()
    wanted = os.environ.get("GPUNET_CPU_BUILD")  # for tests: a smaller one than the best
    for level, name in BUILDS.items():
        if level <= best and wanted in (None, "", name) and (_folder() / f"kernels_{name}.so").exists():
            return name
    return None
