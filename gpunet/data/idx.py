"""The IDX format of MNIST: a header of sizes, then bytes."""

from __future__ import annotations

import math
import struct

import numpy as np

from gpunet.data.checks import HostArray
from gpunet.errors import DataError

__all__ = ["read_idx"]

_UNSIGNED_BYTES = 8


def read_idx(content: bytes, what: str) -> HostArray:
    """Read an array of unsigned bytes in the IDX format.

    The format: two zero bytes, the type of the numbers (8: unsigned bytes, the only one read here), the number n of
    dimensions, n sizes of four bytes each with the highest first, then the numbers, the last dimension running fastest.

    Args:
        content: the bytes of the file, decompressed.
        what: the name of the file, for messages.

    Raises:
        DataError: if the header is not one, or says anything else than what follows it.

    Example:
        >>> read_idx(bytes([0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 3, 7, 8, 9]), "a file")
        array([[7, 8, 9]], dtype=uint8)
    """
    if len(content) < 4 or content[:2] != b"\0\0":
        raise DataError(f"{what} is no IDX file: it begins with {content[:4].hex(' ') or 'nothing'}, not with 00 00")
    kind, dimensions = content[2], content[3]
    if kind != _UNSIGNED_BYTES:
        raise DataError(f"{what} holds numbers of type {kind:#04x}; only unsigned bytes (0x08) are read")
    begin = 4 + 4 * dimensions
    if not dimensions or len(content) < begin:
        raise DataError(f"{what} claims {dimensions} dimensions, but has only {len(content)} bytes")
    shape = struct.unpack(f">{dimensions}I", content[4:begin])
    if math.prod(shape) != len(content) - begin:
        raise DataError(
            f"{what}: its header claims {' x '.join(map(str, shape))} = {math.prod(shape):,} bytes, "
            f"but {len(content) - begin:,} follow"
        )
    if 0 in shape:
        raise DataError(f"{what} holds nothing: its header says {' x '.join(map(str, shape))}")
    if dimensions > 4:
        raise DataError(f"{what} claims {dimensions} dimensions; images have 3 and labels 1")
    return np.frombuffer(content, np.uint8, offset=begin).reshape(shape)
