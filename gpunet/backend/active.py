"""The active backend: `xp` is CuPy or NumPy (or CuPy's stand-in, the emulator), whichever is in use at the moment.

Everything numerical in gpunet is written once against `xp`. The backend is chosen at the first use of `xp`, from the
environment variable GPUNET_BACKEND (default: auto), or at any time with `use_backend`.
"""

from __future__ import annotations

import functools
import importlib
import logging
import os
from collections.abc import Callable
from types import ModuleType, TracebackType
from typing import Any, TypeAlias

import numpy as np

from gpunet.backend.allocator import keep_large_arrays
from gpunet.backend.probe import probe_cupy
from gpunet.errors import BackendError
from gpunet.suggestions import suggestion

__all__ = [
    "BACKENDS",
    "Array",
    "active_backend",
    "asarray",
    "backend_of",
    "before_switching",
    "check_active",
    "resolve",
    "switch",
    "to_cpu",
    "use_backend",
    "xp",
]

Array: TypeAlias = Any
"""An array of the active backend: `numpy.ndarray`, `cupy.ndarray` or the emulator's. They share no base class."""

_MODULES = {"numpy": "numpy", "cupy": "cupy", "emulated": "gpunet.emulated"}

BACKENDS = ("auto", *_MODULES)
"""The names that `use_backend` and GPUNET_BACKEND take."""

before_switching: list[Callable[[], object]] = []
"""Called while the backend that is about to be left is still active: whoever has put off work on its arrays does it."""

_log = logging.getLogger("gpunet")


class _ActiveModule:
    """Stands for the active array module: `xp.exp` is `numpy.exp` or `cupy.exp`, or the emulator's.

    A name is looked up once and then kept in the instance, so that it costs what a module attribute costs. Switching
    puts new names in the place of all others at once: another thread, or an interrupt, finds the old ones or the new.
    """

    _name: str | None
    _module: ModuleType

    def __init__(self) -> None:
        self._activate(None)

    def _activate(self, name: str | None) -> None:
        if name == "numpy":
            keep_large_arrays()
        chosen = {} if name is None else {"_module": importlib.import_module(_MODULES[name])}
        self.__dict__ = {"_name": name, **chosen}

    def _choose(self) -> str:
        """The name of the active backend; chooses one if nothing has done so yet."""
        if self._name is None:
            self._activate(_resolve_and_tell(os.environ.get("GPUNET_BACKEND") or "auto"))
        return str(self._name)

    def __getattr__(self, name: str) -> Any:
        while "_module" not in (names := self.__dict__):  # another thread may take back the choice
            self._choose()
        value = getattr(names["_module"], name)
        names[name] = value
        return value

    def __repr__(self) -> str:
        return f"<xp: {self._name or 'not chosen yet'}>"


xp: Any = _ActiveModule()


def resolve(name: str) -> str:
    """The backend that a name stands for, having made sure that it works.

    Raises:
        BackendError: for an unknown name, or a backend that cannot work here (with the reason and its mend).
    """
    if name not in BACKENDS:
        raise BackendError(f"unknown backend {name!r}; {suggestion(name, BACKENDS)}")
    if name == "emulated":
        importlib.import_module("gpunet.emulator").compiler_command()  # raises where there is none
    if name not in ("auto", "cupy"):
        return name
    probe = probe_cupy()
    if probe.ok:
        return "cupy"
    if name == "cupy":
        raise BackendError(f"the cupy backend cannot be used: {probe.reason}. To mend it: {probe.mend}")
    return "numpy"


def _resolve_and_tell(name: str) -> str:
    resolved = resolve(name)
    if name == "auto" and resolved == "numpy":
        _log_fallback_once()
    return resolved


@functools.cache
def _log_fallback_once() -> None:
    _log.info("no GPU in use (%s); running on NumPy", probe_cupy().reason)


class use_backend:
    """Make a backend the active one: as a function for good, as a context manager for a block.

    `auto` takes CuPy where it works and NumPy elsewhere. Arrays made before a switch stay where they were; using them
    afterwards is an error that says so.

    Raises:
        BackendError: for an unknown name, for `cupy` where CuPy cannot work or `emulated` where there is no C++
            compiler (with the reason and its mend).

    Example:
        >>> with use_backend("numpy"):
        ...     active_backend()
        'numpy'
    """

    def __init__(self, name: str = "auto") -> None:
        resolved = _resolve_and_tell(name)  # before anything changes, so that a failure leaves the old backend active
        self._previous = xp._name
        if resolved != xp._name:
            switch(resolved)

    def __enter__(self) -> use_backend:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        switch(self._previous)


def switch(name: str | None) -> None:
    """Make a backend the active one without asking whether it works; None leaves the choice to the next use."""
    try:
        for prepare in before_switching:
            prepare()
    finally:
        xp._activate(name)


def active_backend() -> str:
    """The name of the active backend: `numpy`, `cupy` or `emulated`."""
    return xp._name or xp._choose()


def backend_of(array: Array) -> str:
    """The name of the backend that an array belongs to."""
    module = type(array).__module__
    return "emulated" if module.startswith("gpunet.emulated") else module.partition(".")[0]


def check_active(array: Array, what: str) -> None:
    """Make sure that an array belongs to the active backend.

    Raises:
        BackendError: if it belongs to another; `what` names the array in the message.
    """
    if not isinstance(array, xp.ndarray):
        raise BackendError(
            f"{what} is an array of {backend_of(array)}, but the active backend is {active_backend()}; "
            f"move it with gpunet.backend.asarray (a whole model with model.to_backend())"
        )


def to_cpu(array: Array) -> np.ndarray[Any, Any]:
    """The same values as a NumPy array: a copy from the GPU, or the array itself where it is one already."""
    return array.get() if backend_of(array) in ("cupy", "emulated") else np.asarray(array)


def asarray(data: Any, dtype: Any = None) -> Array:
    """An array of the active backend with the given values, copied from the other backend where need be."""
    if backend_of(data) != active_backend():
        data = to_cpu(data)
    return xp.asarray(data, dtype=dtype)
