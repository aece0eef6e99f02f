"""Safetensors files: arrays by their names, and texts beside them. Nothing in one can run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

from gpunet.backend import native
from gpunet.errors import FileError

__all__ = ["LARGEST_HEADER", "metadata_of", "parse_tensors", "tensor_bytes"]

LARGEST_HEADER = 16 * 2**20
"""The longest header of a safetensors file, in bytes, that is read."""

_TYPES = {  # of safetensors, as they lie in the file
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "u1",
    "BOOL": "?",
}


def tensor_bytes(arrays: Mapping[str, np.ndarray], metadata: dict[str, str] | None = None) -> bytes:
    """The bytes of a safetensors file that holds these arrays."""
    # The library writes memory as it lies, and filters lie there in the order in which the GEMM reads them.
    in_order = {name: array if array.flags.c_contiguous else array.copy(order="C") for name, array in arrays.items()}
    return save(in_order, metadata)


def parse_tensors(content: bytes, path: Path) -> dict[str, np.ndarray]:
    """The arrays that the bytes of a safetensors file stand for; bfloat16, which NumPy does not have, as float32.

    Raises:
        FileError: if the file is not whole, or holds other numbers than real ones of 8 to 64 bits.
    """
    header = int.from_bytes(content[:8], "little")
    if header > min(LARGEST_HEADER, len(content)):
        raise FileError(
            f"{path} is not a whole safetensors file: it has {len(content):,} bytes and a header of {header:,}, "
            f"which may have {LARGEST_HEADER:,} at most"
        )
    try:
        found = deserialize(content)  # type: ignore[no-untyped-call]
        if unknown := sorted({each["dtype"] for _, each in found} - set(_TYPES)):
            raise FileError(
                f"{path} holds numbers of the type {', '.join(unknown)}; what can be read is {', '.join(_TYPES)}"
            )
        return {name: _array_of(**each) for name, each in found}
    except (SafetensorError, OverflowError, TypeError, ValueError) as error:
        raise FileError(f"{path} is not a whole safetensors file: {error}") from error


def _array_of(dtype: str, shape: list[int], data: bytes) -> np.ndarray:
    array = np.frombuffer(data, _TYPES[dtype])
    if dtype == "BF16":  # the upper half of the bits of a float32
        array = (array.astype("<u4") << 16).view("<f4")
    return array.reshape(shape).astype(native(array.dtype), copy=False)


def metadata_of(content: bytes) -> dict[str, Any]:
    """What stands beside the arrays of a safetensors file, which `parse_tensors` has found whole."""
    length = int.from_bytes(content[:8], "little")
    found = json.loads(content[8 : 8 + length]).get("__metadata__")
    return found if isinstance(found, dict) else {}
