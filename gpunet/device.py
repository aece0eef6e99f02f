"""Devices, under PyTorch's names: "cpu" is the NumPy backend, "cuda" that of the GPU, or of its stand-in.

One backend is active at a time, and everything lies there. So a device is never chosen here: it says where things are,
and what asks for another one is told how to get there.
"""

from __future__ import annotations

from typing import Any

from gpunet.backend import active_backend
from gpunet.errors import ArgumentError, BackendError

__all__ = ["check_device", "device", "is_device", "of_backend"]


class device:
    """The place of a Tensor: `device("cpu")`, `device("cuda")`, `device("cuda", 0)` or `device("cuda:0")`.

    Raises:
        ArgumentError: for a device that gpunet does not know.

    Example:
        >>> device("cuda:0")
        device(type='cuda', index=0)
    """

    __slots__ = ("index", "type")

    type: str
    index: int | None

    def __init__(self, type: str | int | device, index: int | None = None) -> None:
        if isinstance(type, device):
            self.type, self.index = type.type, type.index
            return
        text = f"cuda:{type}" if isinstance(type, int) else str(type)
        name, _, number = text.partition(":")
        if name not in ("cpu", "cuda") or (number and not number.isdecimal()):
            raise ArgumentError(f"a device is 'cpu' or 'cuda', perhaps with a number as in 'cuda:0', got {type!r}")
        self.type = name
        self.index = int(number) if number else index

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device) and (self.type, self.index) == (other.type, other.index)

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __repr__(self) -> str:
        index = "" if self.index is None else f", index={self.index}"
        return f"device(type={self.type!r}{index})"


def of_backend(name: str) -> device:
    """The device of a backend."""
    return device("cpu") if name == "numpy" else device("cuda", 0)


def is_device(value: Any) -> bool:
    """Whether somebody means a device by it, and not, say, a type of number."""
    return isinstance(value, device) or (
        isinstance(value, str) and value.partition(":")[0] in ("cpu", "cuda", "mps", "xpu", "meta")
    )


def check_device(wanted: Any, what: str) -> None:
    """Make sure that a device, where one is named, is that of the active backend.

    Raises:
        ArgumentError: for a device that gpunet does not know.
        BackendError: if it is another one.
    """
    if wanted is None or wanted == "":
        return
    here = of_backend(active_backend())
    asked = device(wanted)
    if asked.type != here.type or (asked.index or 0) != (here.index or 0):
        backend = "numpy" if asked.type == "cpu" else "cupy"
        raise BackendError(
            f"{what}: the device {asked} was asked for, but the active backend is {active_backend()} ({here}); choose "
            f"it before anything is made, with gpunet.use_backend({backend!r})"
        )
