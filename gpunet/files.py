"""Files that are whole or not there: written under a temporary name, flushed to the disk, then renamed.

What is read may be damaged, or made by somebody who means harm: its size is bounded before it is read, and nothing that
it says about itself is believed before it has been checked.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Any

from gpunet.errors import FileError

__all__ = [
    "FORMAT",
    "LARGEST_JSON",
    "LARGEST_NUMBER",
    "append_json_line",
    "digest_of",
    "json_bytes",
    "parse_json",
    "read_bytes",
    "read_json",
    "remove",
    "remove_temporary",
    "sealed",
    "unsealed",
    "write_bytes",
    "write_json",
]

LARGEST_JSON = 64 * 2**20
"""The largest JSON file, in bytes, that is read."""
LARGEST_NUMBER = 2**63 - 1
"""The largest whole number that is read from a JSON file: more than 64 bits overflow later on."""


FORMAT = "gpunet run 2"
"""What the JSON files of a run say of themselves; those of the first format said nothing."""
_SEAL = ("format", "sha256")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that at every moment either the old content or the new is there in full.

    Raises:
        FileError: if that fails; the old file, if there was one, is untouched. Of a full disk it says what is missing.
    """
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # temporary files are private; this one replaces an ordinary file
        os.replace(temporary, path)
    except OSError as error:
        _drop(temporary)  # first, so that what it takes up counts as free
        raise FileError(f"cannot write {path}: {_reason(error, path.parent, len(content))}") from error
    finally:
        _drop(temporary)  # still there only if something went wrong, or Ctrl-C was pressed
    _sync_folder(path.parent)


def _drop(temporary: Path | None) -> None:
    """Remove a temporary file; if that fails, too, what went wrong before is what has to be said."""
    if temporary is not None:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _reason(error: OSError, folder: Path, needed: int) -> str:
    """What went wrong; for a full disk with how much is needed, free and missing."""
    reason = error.strerror or str(error)
    if error.errno not in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return reason
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return reason
    text = f"{reason}: {needed / 1e6:,.3f} MB are needed, {free / 1e6:,.3f} MB are free"
    return f"{text}, {(needed - free) / 1e6:,.3f} MB are missing" if free < needed else text


def _umask() -> int:
    mask = os.umask(0)  # the only way to read it is to set it
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    """Make the renaming itself durable, where the system can do that: some file systems flush no folders."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file, where there is one.

    Raises:
        FileError: if that fails.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise FileError(f"cannot remove {path}: {error.strerror or error}") from error


def remove_temporary(path: Path) -> None:
    """Remove what a process that was killed while it wrote this file has left behind.

    Raises:
        FileError: if that fails.
    """
    for left in path.parent.glob(f".{path.name}.*"):
        remove(left)


def write_json(path: Path, content: Any) -> None:
    """Write a value as indented JSON.

    Raises:
        FileError: if that fails.
    """
    write_bytes(path, json_bytes(content, indent=2))


def json_bytes(content: Any, indent: int | None = None) -> bytes:
    """The bytes of a value as JSON, ending in a new line.

    Names of files, and so of classes, need not be UTF-8: Python keeps the bytes that are not as halves of surrogate
    pairs, which here become the escapes that JSON has for them.
    """
    return (json.dumps(content, indent=indent, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")


def append_json_line(path: Path, content: Any) -> None:
    """Add a value as one line of JSON.

    Raises:
        FileError: if it cannot be written; no part of the line is left then.
    """
    line = json_bytes(content)
    try:
        with path.open("ab", buffering=0) as file:
            before = file.tell()
            try:
                left = memoryview(line)
                while left:
                    left = left[file.write(left) :]
                os.fsync(file.fileno())
            except OSError:
                with contextlib.suppress(OSError):
                    file.truncate(before)
                raise
    except OSError as error:
        raise FileError(f"cannot write {path}: {_reason(error, path.parent, len(line))}") from error


def read_bytes(path: Path, largest: int | None) -> bytes:
    """Read a file of at most that many bytes; None for any number.

    Raises:
        FileError: if it cannot be read, is larger, or is no ordinary file.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a named pipe would wait for somebody to write
            raise FileError(f"cannot read {path}: it is not an ordinary file")
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if largest is None:
                return file.read()
            content = file.read(largest + 1) if size <= largest else b""
    except FileError:
        raise
    except (OSError, ValueError) as error:
        raise FileError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    if max(size, len(content)) > largest:
        raise FileError(f"{path} has {max(size, len(content)):,} bytes; at most {largest:,} are expected there")
    return content


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        FileError: if it cannot be read, is too large or is not JSON.
    """
    return parse_json(read_bytes(path, LARGEST_JSON), path)


def parse_json(content: bytes, path: Path) -> Any:
    """The value that the bytes of a JSON file stand for.

    Raises:
        FileError: if it is not JSON, or holds whole numbers of more than 64 bits, which overflow later on.
    """
    try:
        return json.loads(content.decode("utf-8"), parse_int=_bounded_int)
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path} is not a JSON file: {error}") from error


def _bounded_int(text: str) -> int:
    if len(text) > 20 or abs(int(text)) > LARGEST_NUMBER:
        raise ValueError(f"the number {text[:20]}... is too large")
    return int(text)


def digest_of(content: Any, where: Path | str) -> str:
    """The SHA-256 of a value that JSON can hold, whatever the order of its names and the space between them.

    Args:
        where: the file, for the message.

    Raises:
        FileError: if the value is nested too deeply.
    """
    try:
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    except (RecursionError, ValueError) as error:
        raise FileError(f"{where} is damaged: {error}") from error


def sealed(content: dict[str, Any], where: Path | str) -> dict[str, Any]:
    """A JSON object with the format that it is of, and its checksum; what an earlier seal says is replaced."""
    inside = {"format": FORMAT, **{name: value for name, value in content.items() if name not in _SEAL}}
    return {**inside, "sha256": digest_of(inside, where)}


def unsealed(value: Any, where: Path | str) -> dict[str, Any]:
    """What `sealed` was given, having made sure that no bit of it has changed.

    Objects with neither a format nor a checksum are taken as they are: so they were written before there were any.

    Raises:
        FileError: if it is no JSON object, is damaged, or is of another format.
    """
    if not isinstance(value, dict):
        raise FileError(f"{where} is damaged: it must hold a JSON object")
    content = {name: each for name, each in value.items() if name not in _SEAL}
    if len(content) == len(value):
        return value
    if value.get("format") != FORMAT:
        raise FileError(f"{where} is damaged, or of another version of gpunet: its format is not {FORMAT!r}")
    if value.get("sha256") != digest_of({"format": FORMAT, **content}, where):
        raise FileError(
            f"{where} is damaged: its checksum is not that of its content; if you have changed it yourself, take its "
            f"'format' and 'sha256' out"
        )
    return content
