"""Methods that give the values as another type of number, and that say what a Tensor is, under PyTorch's many names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpunet.arguments import DType, number_type
from gpunet.errors import DTypeError, ShapeError
from gpunet.functional.shaping import where
from gpunet.functions.shaping import diagonal
from gpunet.tensor import Tensor

__all__: list[str] = []


def _as(name: str, dtype: str) -> Callable[[Tensor], Tensor]:
    wanted = number_type(dtype)

    def method(input: Tensor) -> Tensor:
        return input.to(wanted)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"The values as {dtype}."
    return method


def type(input: Tensor, dtype: DType) -> Tensor:
    """`to` another type of number."""
    return input.to(number_type(dtype))


def type_as(input: Tensor, other: Tensor) -> Tensor:
    """The values as the type of number that another Tensor holds."""
    return input.to(other.dtype)


def bfloat16(input: Tensor) -> Tensor:
    """There is no bfloat16 here.

    Raises:
        DTypeError: always.
    """
    raise DTypeError("there is no bfloat16 here; see half(), float() and autocast()")


def pin_memory(input: Tensor, device: Any = None) -> Tensor:
    """The Tensor itself: what goes to a GPU is pinned in any case."""
    return input


def get_device(input: Tensor) -> int:
    """The number of the GPU; -1 on the NumPy backend."""
    return 0 if input.is_cuda else -1


def is_nonzero(input: Tensor) -> bool:
    """Whether the one value is not 0."""
    return bool(input)


def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether another Tensor has the same shape."""
    return input.shape == other.shape


def where_(input: Tensor, condition: Tensor, other: Any) -> Tensor:
    """The values where the condition holds, `other` elsewhere."""
    return where(condition, input, other)


def fill_diagonal_(input: Tensor, fill_value: float) -> Tensor:
    """One value all along the diagonal of a matrix, in place.

    Raises:
        ShapeError: if it is no matrix.
    """
    if input.ndim != 2:
        raise ShapeError(f"fill_diagonal_ expects a matrix, got shape {input.shape}")
    diagonal(input).fill_(fill_value)
    return input


def _no(input: Tensor) -> bool:
    """False: Tensors hold real numbers, all of them, on this machine."""
    return False


def H(input: Tensor) -> Tensor:  # noqa: N802  (the name that PyTorch uses)
    """The matrix with its dimensions exchanged.

    Raises:
        ShapeError: if it is no matrix, nor a single number.
    """
    if input.ndim not in (0, 2):
        raise ShapeError(f"H is of a matrix, got shape {input.shape}")
    return input.T


def is_cpu(input: Tensor) -> bool:
    """Whether the values lie in the memory of the host."""
    return not input.is_cuda


def is_quantized(input: Tensor) -> bool:
    """False: nothing is quantized."""
    return False


def is_sparse(input: Tensor) -> bool:
    """False: all values are held."""
    return False


def itemsize(input: Tensor) -> int:
    """The bytes that an element takes up."""
    return input.element_size()


_TYPES = {
    "bool": "bool",
    "byte": "uint8",
    "char": "int8",
    "double": "float64",
    "float": "float32",
    "half": "float16",
    "int": "int32",
    "long": "int64",
    "short": "int16",
}
METHODS: dict[str, Any] = {name: _as(name, dtype) for name, dtype in _TYPES.items()}
METHODS |= {
    each.__name__: each
    for each in (bfloat16, fill_diagonal_, get_device, is_nonzero, is_same_size, pin_memory, type, type_as)
}
METHODS |= {"is_complex": _no, "is_pinned": _no, "is_shared": _no, "ndimension": Tensor.dim, "where": where_}
METHODS |= {each.__name__: property(each) for each in (H, is_cpu, is_quantized, is_sparse, itemsize)}
"""What Tensors have of these, by name."""
