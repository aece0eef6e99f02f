"""Image files to arrays, whatever they hold: one size, three channels, bytes."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.data.checks import HostArray, checked_count
from gpunet.errors import DataError, FileError

__all__ = ["FORMATS", "MAX_PIXELS", "is_picture", "read_image"]

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""The formats that are read. Others that Pillow knows are left out: some start programs to decode a file."""

MAX_PIXELS = 64 << 20
"""An image of more pixels than this is refused before it is decoded: a small file can claim to be enormous."""


def is_picture(value: Any) -> bool:
    """Whether it is an image of Pillow, which need not be installed for the question."""
    return any(each.__module__.startswith("PIL.") for each in type(value).__mro__)


def read_image(path: Path | str | Any, size: int) -> HostArray:
    """Read an image file as three channels of bytes, of one size.

    What is done to it, in this order: the first picture of an animation is taken; 16 bits a channel become 8 (divided
    by 257); it is turned the way its EXIF data say; what is transparent is laid over white; grey, palette, CMYK and
    other colours become RGB; it is scaled, keeping its proportions and averaging over the pixels that become one, until
    it covers the square; the middle is cut out.

    Args:
        path: of the file, or an image that Pillow has opened.
        size: height and width of the result.

    Shape:
        result: (3, size, size), uint8

    Raises:
        ArgumentError: if the size is not positive.
        DataError: if Pillow, which decodes the files, is not installed.
        FileError: if the file is missing, no image of a known format, damaged, cut off or too large, or holds numbers
            of which nobody knows what is white, such as floats.
    """
    checked_count(size, 1, "read_image: size")
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise DataError("to read images takes Pillow: pip install 'gpunet[full]'") from error
    try:
        given = is_picture(path)
        opened: Any = contextlib.nullcontext(path) if given else Image.open(path, formats=FORMATS)
        with opened as image:
            if image.width * image.height > MAX_PIXELS:
                raise FileError(
                    f"{path}: {image.width} x {image.height} pixels are more than the {MAX_PIXELS:,} allowed"
                )
            if not given:
                image.draft(None, (2 * size, 2 * size))  # large JPEGs are decoded at a fraction of their size
            upright = ImageOps.exif_transpose(_eight_bits(image, Image))
            fitted = ImageOps.fit(_rgb(upright, Image), (size, size), Image.Resampling.BILINEAR)
            return np.ascontiguousarray(np.asarray(fitted).transpose(2, 0, 1))
    except FileError:
        raise
    except FileNotFoundError as error:
        raise FileError(f"{path}: there is no such file") from error
    # The decoders meet hostile bytes, and raise whatever comes of them: struct.error, KeyError, SyntaxError, ...
    except Exception as error:
        raise FileError(f"{path}: cannot be read as an image ({_reason(error)})") from error


def _eight_bits(image: Any, library: Any) -> Any:
    """Images of 16 bits a pixel as grey ones of 8; all others as they are."""
    if image.mode == "F":
        raise ValueError("it holds floats")
    if not image.mode.startswith("I"):
        return image
    numbers = np.asarray(image).astype(np.int32)  # 16 bits, in a mode that may hold 32
    if numbers.min(initial=0) < 0 or numbers.max(initial=0) > 65535:
        raise ValueError("it holds numbers of 32 bits")
    grey = library.fromarray(((numbers + 128) // 257).astype(np.uint8))
    grey.info["exif"] = image.getexif().tobytes()  # it may say that the image is to be turned
    return grey


def _rgb(image: Any, library: Any) -> Any:
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        return library.alpha_composite(library.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _reason(error: Exception) -> str:
    name = type(error).__name__
    if name == "UnidentifiedImageError":
        return "not in one of the formats " + ", ".join(FORMATS)
    return str(error) or name
