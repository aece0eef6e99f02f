"""Arrays from outside: of NumPy with the bytes of each number the other way round, of PyTorch, JAX, TensorFlow, pandas.

None of these libraries is imported for it. What they hand out through the host is taken; on which device it lay, and
what it was computed from, is forgotten.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.backend.active import Array, backend_of
from gpunet.errors import DTypeError

__all__ = ["from_outside", "is_array", "is_real", "native"]


def is_array(value: Any) -> bool:
    """Whether it is an array of NumPy or of a backend (a single number of NumPy counts as one)."""
    return isinstance(value, np.ndarray) or (
        backend_of(value) in ("numpy", "cupy", "emulated") and hasattr(value, "strides")
    )


def is_real(dtype: Any) -> bool:
    """Whether gpunet computes with numbers of this type: booleans, whole numbers, floats of at most 64 bits."""
    return dtype.kind in "biuf" and dtype.itemsize <= 8


def native(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The same type in this machine's order of bytes, as the one object that NumPy has for it."""
    return np.dtype(dtype.type)


def from_outside(value: Any, what: str) -> Array:
    """An array, whatever library it is of, as one of NumPy or of a backend; those come back as they are.

    bfloat16, which NumPy does not have, becomes float32, which holds each of its numbers. Numbers whose bytes lie the
    other way round, as in files of other machines (">f4"), are turned.

    Args:
        what: names the value in the message.

    Raises:
        DTypeError: if its library does not give it out as an array.
    """
    array = value if is_array(value) else _through_numpy(value, what)
    if not array.dtype.isnative:
        array = array.astype(native(array.dtype))
    return array


def _through_numpy(value: Any, what: str) -> np.ndarray[Any, Any]:
    try:
        if hasattr(value, "detach"):  # PyTorch: away from its tape and its GPU
            value = value.detach().cpu()
            value = (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()
        array = np.asarray(value)
    except Exception as error:  # whatever its library raises
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        raise DTypeError(f"{what}: a {kind} cannot be read as an array: {error}") from error
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array  # of JAX
