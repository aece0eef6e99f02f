"""The seam between what is computed and what makes it fast.

A pass is a step of an operation that goes over memory once: convolving, summing for a batch norm, pooling. It is
written down as a function in plain `xp`, the page, which runs on every backend. A device may have a kernel that does
the same, declared with its launcher:

    @Pass
    def moments(x): ...                       # ops/batchnorm.py: the page

    @moments.on("cpu", takes=is_float32)      # ops/cpu_batchnorm.py: the launcher of a CPU kernel
    def _(x): ...

A device may have several kernels of a pass, for different arguments (ordinary and depthwise convolutions). Calling the
pass runs the first, in the order of declaration, that takes the arguments, else the page. tests/test_passes.py compares
every kernel of every pass with its page.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gpunet.backend import kernels

__all__ = ["FLOAT32", "PASSES", "Pass", "is_float32"]

PASSES: dict[str, Pass] = {}
"""Every pass, by the name of its page."""


class _Kernel(NamedTuple):
    run: Callable[..., Any]
    takes: Callable[..., bool]


class Pass:
    """A pass: the page, and the kernels that do the same."""

    def __init__(self, page: Callable[..., Any]) -> None:
        self.page, self.name, self.__doc__ = page, page.__name__, page.__doc__
        self.kernels: dict[str, list[_Kernel]] = {}
        PASSES[self.name] = self

    def on(self, device: str, takes: Callable[..., bool] = lambda *args: True) -> Callable[..., Any]:
        """Declare a kernel of a device: a decorator of its launcher.

        Args:
            takes: whether the kernel is for these arguments; where none is, the page runs.
        """

        def declare(run: Callable[..., Any]) -> Callable[..., Any]:
            self.kernels.setdefault(device, []).append(_Kernel(run, takes))
            return run

        return declare

    def __call__(self, *args: Any) -> Any:
        for kernel in self.kernels.get(kernels.device() or "", ()):
            if kernel.takes(*args):
                return kernel.run(*args)
        return self.page(*args)


FLOAT32 = np.dtype(np.float32)
"""The one type of float that CPU kernels know."""


def is_float32(*args: Any) -> bool:
    """Whether all arrays of floats among the arguments are float32.

    And begin at a multiple of 4, where C++ expects floats: NumPy has arrays that do not.
    """
    for arg in args:
        if isinstance(arg, np.ndarray):
            dtype = arg.dtype  # the same object for nearly all; comparing takes longer
            if not (arg.flags.aligned if dtype is FLOAT32 or dtype == FLOAT32 else dtype.kind != "f"):
                return False
    return True
