"""A parameter: a Tensor that a layer learns."""

from __future__ import annotations

from typing import Any

from gpunet.tensor import Tensor, as_tensor

__all__ = ["Parameter"]


class Parameter(Tensor):
    """A Tensor that is learned: a Module that has it as an attribute lists it among its parameters.

    Raises:
        DTypeError: if it does not hold floats.
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        shared = as_tensor(data)
        self._array = shared.array
        self.host_range = self._node = self._sharing = None
        self.share_with(shared)
        self.requires_grad = requires_grad

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"
