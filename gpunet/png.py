"""Pixels to PNG files, in the few lines that the format asks for: no library is needed to write a report."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np

from gpunet.errors import DTypeError, ShapeError

__all__ = ["data_uri", "encode_png"]

_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by the number of channels: grey, grey and alpha, RGB, RGB and alpha


def encode_png(pixels: np.ndarray) -> bytes:
    """The content of a PNG file with these pixels.

    Shape:
        pixels: uint8 (H, W) or (H, W, channels) with 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha) channels.

    Raises:
        DTypeError: if the pixels are not uint8.
        ShapeError: if they have another shape, or there are none.

    Reference:
        Portable Network Graphics (PNG) Specification, ISO/IEC 15948, 2004.
    """
    if pixels.dtype != np.uint8:
        raise DTypeError(f"encode_png expects pixels of uint8, got {pixels.dtype}")
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.ndim != 3 or pixels.shape[2] not in _COLOUR_TYPES or not pixels.size:
        raise ShapeError(f"encode_png expects (H, W) or (H, W, 1 to 4) pixels, got shape {pixels.shape}")
    height, width, channels = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    rows = np.zeros((height, 1 + width * channels), np.uint8)  # each row begins with its filter: 0, none
    rows[:, 1:] = pixels.reshape(height, -1)
    chunks = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows.tobytes(), 9)) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def data_uri(pixels: np.ndarray) -> str:
    """The pixels as an address that holds the whole picture, for the `src` of an HTML image.

    Shape:
        pixels: as `encode_png` takes them.
    """
    return "data:image/png;base64," + base64.b64encode(encode_png(pixels)).decode("ascii")
