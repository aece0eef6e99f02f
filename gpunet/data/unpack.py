"""Compressed files and archives, read in memory and up to a limit: nothing is ever written to a disk."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from collections.abc import Mapping

from gpunet.errors import FileError

__all__ = ["gunzip", "tar_members"]

_CHUNK = 1 << 20


def gunzip(content: bytes, limit: int, what: str) -> bytes:
    """Decompress the content of a .gz file.

    Args:
        content: the compressed bytes.
        limit: how many bytes may come out; a small file can claim to hold terabytes.
        what: the name of the file, for messages.

    Raises:
        FileError: if it is no gzip, is damaged or cut off, or holds more than the limit.
    """
    parts, total = [], 0
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            while part := file.read(_CHUNK):
                total += len(part)
                if total > limit:
                    raise FileError(f"{what} holds more than the {limit:,} bytes that are expected in it")
                parts.append(part)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise FileError(f"{what} cannot be decompressed ({error}): it is damaged, cut off or no gzip file") from error
    return b"".join(parts)


def tar_members(content: bytes, sizes: Mapping[str, int], what: str) -> dict[str, bytes]:
    """Read some files out of an (uncompressed) tar archive.

    Args:
        content: the bytes of the archive.
        sizes: the names of the files, without their folders, and how many bytes each may have at most.
        what: the name of the archive, for messages.

    Raises:
        FileError: if it is no tar archive, or one of the files is missing, too large or cut off.
    """
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            for member in archive:
                name = member.name.rpartition("/")[2]
                if name not in sizes or not member.isreg():
                    continue
                if member.size > sizes[name]:
                    raise FileError(f"{what}: {name} has {member.size:,} bytes, at most {sizes[name]:,} are expected")
                file = archive.extractfile(member)
                found[name] = file.read() if file is not None else b""
                if len(found[name]) != member.size:
                    raise FileError(f"{what}: {name} is cut off")
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        raise FileError(f"{what} is no tar archive or a damaged one ({error})") from error
    missing = [name for name in sizes if name not in found]
    if missing:
        raise FileError(f"{what} does not hold {', '.join(missing)}")
    return found
