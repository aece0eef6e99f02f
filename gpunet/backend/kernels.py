"""The CUDA sources in raw_kernels/, which are installed as the package `gpunet.raw_kernels`."""

from __future__ import annotations

import importlib.resources
from pathlib import Path
from typing import TYPE_CHECKING

from gpunet.errors import FileError

if TYPE_CHECKING:
    from importlib.abc import Traversable  # moves to importlib.resources.abc with Python 3.14

__all__ = ["kernel_names", "kernel_source"]

_SHARED = "common.cuh"


def kernel_names() -> list[str]:
    """The names of the kernel files, without their ending."""
    return sorted(file.name.removesuffix(".cu") for file in _folder().iterdir() if file.name.endswith(".cu"))


def kernel_source(name: str) -> str:
    """The text of one kernel file, with the shared helpers in front, as the compiler gets it.

    Raises:
        FileError: if there is no such file.
    """
    if name not in kernel_names():
        raise FileError(f"there is no kernel file {name!r}; there are {', '.join(kernel_names())}")
    return "\n".join((_folder() / file).read_text(encoding="utf-8") for file in (_SHARED, f"{name}.cu"))


def _folder() -> Traversable:
    try:
        return importlib.resources.files("gpunet.raw_kernels")
    except ModuleNotFoundError:  # a checkout that is not installed has the folder beside the package
        return Path(__file__).parents[2] / "raw_kernels"
