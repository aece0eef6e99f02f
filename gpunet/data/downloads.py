"""Files of known content from the internet: looked for on the disk first, checked before they are used.

A file is used only if its size and its SHA-256 are those written down here, wherever it came from: a mirror may do
nothing worse than fail.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from gpunet.errors import DataError, FileError

__all__ = ["RemoteFile", "get_file"]


@dataclass(frozen=True)
class RemoteFile:
    """A file that can be downloaded.

    Attributes:
        name: of the file.
        size: in bytes.
        sha256: the SHA-256 of its content, in hexadecimal.
        mirrors: the addresses of folders that hold it, tried in this order; all HTTPS.
    """

    name: str
    size: int
    sha256: str
    mirrors: Sequence[str]


def get_file(file: RemoteFile, dataset: str, data_dir: Path | str | None = None) -> bytes:
    """Return the content of a file, which is downloaded unless it is there.

    It is looked for as data_dir/dataset/name, then as data_dir/name. A download goes to the former; one that was
    interrupted goes on where it stopped.

    Args:
        file: which.
        dataset: the name of the dataset that it belongs to.
        data_dir: where files are, or go; the user's cache folder, `pooch.os_cache("gpunet")`, if left out.

    Raises:
        DataError: if the file is not there, and pooch, which downloads it, is not installed.
        FileError: if the file that is there is not the right one, or cannot be read or written, or no mirror gave it.
    """
    folder = Path(data_dir) if data_dir is not None else Path(_pooch(file, dataset, None).os_cache("gpunet"))
    path = folder / dataset / file.name
    for candidate in (path, folder / file.name):
        if candidate.is_file():
            return _checked(candidate, file, dataset)
    _download(file, dataset, path, _pooch(file, dataset, folder))
    return _checked(path, file, dataset)


def _pooch(file: RemoteFile, dataset: str, folder: Path | None) -> Any:
    try:
        import pooch
    except ImportError as error:
        there = f" or put {file.name} into {folder / dataset}/" if folder else " or say in which folder its files are"
        raise DataError(
            f"{dataset} is not on this machine, and to download it takes pooch: pip install 'gpunet[full]',{there}"
        ) from error
    return pooch


def _checked(path: Path, file: RemoteFile, dataset: str) -> bytes:
    """Read a file, having made sure that it is the one that was meant."""
    advice = f"delete it to have {dataset} downloaded anew"
    try:
        size = path.stat().st_size
        if size != file.size:
            raise FileError(
                f"{path} has {size:,} bytes instead of {file.size:,}: it is cut off or another file; {advice}"
            )
        content = path.read_bytes()
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"cannot read {path}: {error.strerror or error}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != file.sha256:
        raise FileError(
            f"{path} is not the file that {dataset} needs: its SHA-256 is {found} instead of {file.sha256}; {advice}"
        )
    return content


def _download(file: RemoteFile, dataset: str, path: Path, pooch: Any) -> None:
    """Fetch a file from the first mirror that gives it; it appears at the path when it is whole and right."""
    partial = path.with_name(f"{path.name}.part")
    failures = []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for mirror in file.mirrors:
            # A second try from the start, should what was there of an earlier run, or the way it went on, be wrong.
            for _ in range(2):
                resumed = partial.exists()
                try:
                    _fetch(f"{mirror}{file.name}", partial, file, pooch)
                    _checked(partial, file, dataset)
                    os.replace(partial, path)
                    return
                except _Transfer as failure:  # what has arrived stays, for the next try to go on from
                    failures.append(f"{mirror}{file.name}: {failure}")
                    break
                except FileError:
                    failures.append(f"{mirror}{file.name}: what it sends is not the file that is expected")
                    partial.unlink(missing_ok=True)
                    if not resumed:
                        break
    except OSError as error:
        raise FileError(f"cannot write {partial}: {error.strerror or error}") from error
    listed = "\n  ".join(failures)
    raise FileError(
        f"{dataset} cannot be downloaded:\n  {listed}\nCheck the connection, or put {file.name} into {path.parent}/"
    )


class _Transfer(Exception):  # noqa: N818 - not an error of a user's; never leaves this module
    """A mirror did not answer, or the transfer broke."""


class _Bounded:
    """A file that takes no more bytes than are expected, whatever a server sends."""

    def __init__(self, file: BinaryIO, limit: int) -> None:
        self.file, self.left = file, limit
        self.failure: OSError | None = None

    def write(self, chunk: bytes) -> int:
        self.left -= len(chunk)
        if self.left < 0:
            self.failure = FileError("the server sends more bytes than the file has")
            raise self.failure
        try:
            return self.file.write(chunk)
        except OSError as error:  # the disk, not the network
            self.failure = error
            raise

    def flush(self) -> None:
        self.file.flush()


def _fetch(url: str, partial: Path, file: RemoteFile, pooch: Any) -> None:
    """Append to the partial file what it lacks."""
    there = partial.stat().st_size if partial.exists() else 0
    if there >= file.size:
        return
    headers = {"Accept-Encoding": "identity"}
    if there:
        headers["Range"] = f"bytes={there}-"
    with open(partial, "ab") as opened:
        bounded = _Bounded(opened, file.size - there)
        try:
            pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), headers=headers, timeout=30)(url, bounded, None)
        except (OSError, ValueError) as error:  # what the library for HTTP raises is an OSError
            if bounded.failure is not None:
                raise bounded.failure from error
            raise _Transfer(str(error)) from error
    if partial.stat().st_size < file.size:
        raise _Transfer(f"the transfer broke after {partial.stat().st_size:,} of {file.size:,} bytes")
