"""The emulated backend: stands for `cupy` where there is no GPU.

It has the names of CuPy that gpunet uses, and no others: one that is missing here must first be looked up in CuPy. It
computes with NumPy and runs raw kernels in `gpunet.emulator`. Where NumPy is more lenient than CuPy, it is as
strict as CuPy: what works here has the best chance to work on a GPU. It is for tests and for learning, not for speed.
"""

from typing import NoReturn

from numpy import bool_, float16, float32, float64, int32, int64, promote_types, uint8

from gpunet.emulated import cuda
from gpunet.emulated.array import ndarray
from gpunet.emulated.counters import counters
from gpunet.emulated.functions import *  # noqa: F403  (the table of names is functions.__all__)
from gpunet.emulated.functions import __all__ as _functions
from gpunet.emulated.functions import absolute as abs
from gpunet.emulated.memory import MemoryPool, pool
from gpunet.emulated.raw import RawKernel, RawModule

__all__ = [
    *_functions,
    "RawKernel",
    "RawModule",
    "abs",
    "bool_",
    "counters",
    "cuda",
    "float16",
    "float32",
    "float64",
    "get_default_memory_pool",
    "int32",
    "int64",
    "ndarray",
    "promote_types",
    "uint8",
]


def get_default_memory_pool() -> MemoryPool:
    """The pool that all arrays come from."""
    return pool


def __getattr__(name: str) -> NoReturn:
    raise AttributeError(
        f"the emulated backend does not offer {name!r}: it has the names of CuPy that gpunet uses; "
        f"one that CuPy has, too, is added in gpunet/emulated/functions.py"
    )
