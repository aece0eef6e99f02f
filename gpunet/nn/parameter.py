"""A parameter: a Tensor that a layer learns."""

from __future__ import annotations

from typing import Any

from gpunet.arguments import DType, number_type
from gpunet.device import check_device
from gpunet.errors import DTypeError
from gpunet.tensor import Tensor, as_tensor

__all__ = ["Parameter", "factory_type"]


class Parameter(Tensor):
    """A Tensor that is learned: a Module that has it as an attribute lists it among its parameters.

    Raises:
        DTypeError: if it does not hold floats.
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        shared = as_tensor(data)
        self._array = shared.array
        self.host_range = self._node = self._sharing = self._view = None
        self.share_with(shared)
        self.requires_grad = requires_grad

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"


def factory_type(device: Any, dtype: DType, layer: str) -> Any:
    """What `device=` and `dtype=` of a layer's constructor come to: the type of its parameters and buffers of floats.

    Args:
        device: that of the active backend, or None.
        dtype: float32 where it is None.

    Raises:
        BackendError: if it is another device.
        DTypeError: if it is no type of floats.
    """
    check_device(device, layer)
    named = number_type("float32" if dtype is None else dtype)
    if named.kind != "f":
        raise DTypeError(f"{layer}: dtype must be a type of floats, which parameters are, got {named}")
    return named
