"""Images of your own: a folder with a folder of image files for each class.

Files come and go, so what was read has an identity: how many files each class has in each set, and a digest of their
names and contents. A run writes it down, and whoever comes back to the folder can say what is not as it was.
"""

from __future__ import annotations

import hashlib
import logging
import os
import unicodedata
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.data.checks import HostArray, checked_count
from gpunet.data.dataset import ImageDataset
from gpunet.data.images import read_image
from gpunet.data.transforms import Transform
from gpunet.errors import ArgumentError, DataError, FileError
from gpunet.printable import printable

__all__ = ["FolderSet", "ImageFolder", "changed_files", "left_out", "read_folder"]

HELD_OUT = 0.2
MAX_BYTES = 8 << 30
TRAINING_NAMES = ("train", "training")
HELD_OUT_NAMES = ("test", "testing", "val", "valid", "validation")
"""What the two folders of a dataset that is split already may be called, in capitals or not; the first wins."""
SYSTEM_FILES = ("thumbs.db", "desktop.ini")  # which Windows leaves in folders of pictures
LISTED = 10  # so many files or classes are named in a message
_EXPECTED = (
    f"a folder of images for each of two or more classes, or two folders with such folders in them: one called "
    f"{' or '.join(TRAINING_NAMES)}, the other {', '.join(HELD_OUT_NAMES[:-1])} or {HELD_OUT_NAMES[-1]}"
)
_CHUNK = 1 << 20  # bytes of a file that are read at once for its digest

_log = logging.getLogger("gpunet")


class ImageFolder(ImageDataset):
    """The image files in PATH/CLASS/, for each class a folder, all read into memory at one size: (N, 3, size, size).

    The classes are the folders in the order of their names. If PATH holds folders called train and test, those hold the
    classes, and they are the two sets; others beside them are left alone. Train may also be called training, and test
    testing, val, valid or validation, in capitals or not. Otherwise about 20 % of the files of each class, at least
    one, are the test set: those of which a hash of the name is below 0.2. So a file stays in its set whatever is added,
    removed or renamed around it, in every run, on every machine. Files and folders whose name begins with a dot are
    left alone, and so are Thumbs.db, desktop.ini and folders inside those of the classes. `gpunet.data.read_image` says
    what becomes of each file.

    Args:
        path: of the folder.
        train: the training set, or else the test set.
        transform: applied to every batch of images, see `gpunet.data.transforms`.
        size: height and width of the images. 32, the default, is that of CIFAR, for which networks are trained in
            minutes without a GPU; take 64 or more where classes differ in detail.
        on_unreadable: "skip" leaves out files that cannot be read as images, and logs which; "error" raises.
        seed: of the hash, and so which files are held out.

    Shape:
        images (N, 3, size, size), labels (N,)

    Attributes:
        unreadable: why each of the files that were left out could not be read, each reason beginning with the path.

    Raises:
        ArgumentError: if size or seed makes no sense, or on_unreadable is neither of its values.
        DataError: if there are fewer than two classes, a class without images to learn from or of one image where some
            are to be held out, train and test of different classes, more images than fit into memory, or no Pillow.
        FileError: if there is no such folder, or it or, with on_unreadable="error", a file cannot be read.
    """

    def __init__(
        self,
        path: Path | str,
        train: bool = True,
        transform: Transform | None = None,
        size: int = 32,
        on_unreadable: str = "skip",
        seed: int = 0,
    ) -> None:
        found = read_folder(path, train, size, on_unreadable, seed)
        self.unreadable = found.unreadable
        if found.unreadable:
            _log.warning("%s", left_out(path, found))
        super().__init__(found.images, found.labels, transform, found.classes, found.names)


@dataclass(frozen=True)
class FolderSet:
    """One of the two sets of a folder, as it was read.

    Attributes:
        images: (N, 3, size, size), uint8.
        labels: (N,)
        classes: their names.
        unreadable: why each of the files that were left out could not be read.
        files: for each class how many files it has in this set, and the SHA-256 of their names and contents.
        names: of the files of the images, below the folder of both sets, such as "rose/1.png".
    """

    images: HostArray
    labels: HostArray
    classes: tuple[str, ...]
    unreadable: tuple[str, ...]
    files: dict[str, list[Any]]
    names: tuple[str, ...]


def read_folder(
    path: Path | str, train: bool, size: int, on_unreadable: str = "skip", seed: int = 0, by_order: bool = False
) -> FolderSet:
    """Read one of the two sets of a folder; what `ImageFolder` says holds, but nothing is logged.

    Args:
        by_order: hold out files as gpunet did before it went by their names: drawn from all of them in their order,
            which changes with every file that is added. Only for runs that were begun so.

    Raises:
        ArgumentError, DataError, FileError: as `ImageFolder` does.
    """
    size = checked_count(size, 1, "ImageFolder: size")
    if on_unreadable not in ("skip", "error"):
        raise ArgumentError(f'ImageFolder: on_unreadable is expected to be "skip" or "error", got {on_unreadable!r}')
    files = _chosen_files(Path(path), train, checked_count(seed, 0, "ImageFolder: seed"), by_order)
    paths = [each for listed in files.values() for each in listed]
    labels = np.repeat(np.arange(len(files)), [len(listed) for listed in files.values()])
    needed = len(paths) * 3 * size * size
    if needed > MAX_BYTES:
        raise DataError(
            f"{printable(path)}: {len(paths):,} images of {size}x{size} take {needed / 2**30:.1f} GiB, more than the "
            f"{MAX_BYTES >> 30} allowed; choose a smaller size"
        )
    images, results = _read_all(paths, size, stop=on_unreadable == "error")
    readable = np.array([result.failure is None for result in results])
    unreadable = tuple(result.failure for result in results if result.failure is not None)
    without = [name for label, name in enumerate(files) if not readable[labels == label].any()]
    if without and (train or not readable.any()):
        reasons = _listing(unreadable, separator="\n")
        raise DataError(f"{printable(path)}: no file of {_listing(without)} can be read as an image\n{reasons}")
    digests = dict(zip(paths, (result.sha256 for result in results), strict=True))
    identity = {name: [len(listed), _digest(listed, digests)] for name, listed in files.items()}
    names = tuple(file.relative_to(path).as_posix() for file, kept in zip(paths, readable, strict=True) if kept)
    return FolderSet(images[readable], labels[readable], tuple(files), unreadable, identity, names)


def left_out(path: Path | str, *sets: FolderSet) -> str:
    """What to say of files that could not be read; empty where there are none."""
    reasons = [reason for each in sets for reason in each.unreadable]
    if not reasons:
        return ""
    count = sum(number for each in sets for number, _ in each.files.values())
    listing = _listing(reasons, separator="\n")
    text = f"{printable(path)}: {len(reasons)} of {count} files left out:\n{listing}"
    untested = [name for each in sets for label, name in enumerate(each.classes) if not (each.labels == label).any()]
    return f"{text}\nso there is no image to test {_listing(untested)} with" if untested else text


def changed_files(before: Mapping[str, Any], now: Mapping[str, dict[str, list[Any]]]) -> list[str]:
    """What is not as it was, for each set and class.

    Args:
        before, now: by "train" and "test" the `FolderSet.files` of the two sets.
    """
    found = []
    for part, purpose in (("train", "to learn from"), ("test", "held out")):
        old = before.get(part)
        for name, entry in now[part].items():
            previous = old.get(name) if isinstance(old, dict) else None
            if previous == entry:
                continue
            counts = [each[0] if isinstance(each, list) and each else 0 for each in (previous, entry)]
            change = (
                f"{counts[0]} files, now {counts[1]}" if counts[0] != counts[1] else f"{counts[1]} files, not the same"
            )
            found.append(f"{printable(name)}, {purpose}: {change}")
    return found if len(found) <= LISTED else [*found[:LISTED], f"and {len(found) - LISTED} more"]


def _chosen_files(path: Path, train: bool, seed: int, by_order: bool) -> dict[str, list[Path]]:
    """The files of each class that are to be read."""
    if not path.is_dir():
        raise FileError(f"{printable(path)}: there is no such folder")
    parts = [_part(path, names) for names in (TRAINING_NAMES, HELD_OUT_NAMES)]
    if parts[0] and parts[1]:
        both = [_class_files(part) for part in parts if part]
        if list(both[0]) != list(both[1]):
            different = sorted(set(both[0]) ^ set(both[1]))
            raise DataError(
                f"{printable(path)}: {parts[0].name} and {parts[1].name} need the same classes; only one has "
                f"{_listing(different)}"
            )
        return both[0 if train else 1]
    files = _class_files(path)
    single = [name for name, listed in files.items() if len(listed) == 1]
    if single:
        raise DataError(f"{printable(path)}: of one image none can be held out, and {_listing(single)} has no more")
    if by_order:
        return {name: _side_by_order(listed, name, train, seed) for name, listed in files.items()}
    return {name: _side(listed, train, seed) for name, listed in files.items()}


def _part(path: Path, names: Sequence[str]) -> Path | None:
    """The folder inside that has one of these names, the first that there is."""
    folders = [folder for folder in _visible(path) if folder.is_dir()]
    for name in names:
        found = [folder for folder in folders if folder.name.lower() == name]
        if len(found) > 1:
            either = " and ".join(each.name for each in found)
            raise DataError(f"{printable(path)}: {either} may be meant; rename one of them")
        if found:
            return found[0]
    return None


def _class_files(path: Path) -> dict[str, list[Path]]:
    """All files of each class, both in the order of their names."""
    folders = [folder for folder in _visible(path) if folder.is_dir()]
    if len(folders) < 2:
        found = f"only {folders[0].name!r}" if folders else "no folder"
        raise DataError(f"{printable(path)}: expected {_EXPECTED}, found {found}")
    files = {folder.name: [file for file in _visible(folder) if file.is_file()] for folder in folders}
    empty = [name for name, listed in files.items() if not listed]
    if empty:
        raise DataError(
            f"{printable(path)}: no files in the folder of {_listing(empty)}; folders inside it do not count. "
            f"Expected is {_EXPECTED}"
        )
    return files


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(each for each in folder.iterdir() if not _is_hidden(each.name))
    except OSError as error:
        raise FileError(f"cannot read the folder {printable(folder)}: {error.strerror or error}") from error


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in SYSTEM_FILES


def _side(files: list[Path], train: bool, seed: int) -> list[Path]:
    """Of the files of a class, those to learn from or those held out; both in the order of their names."""
    shares = {file: _share(file.name, seed) for file in files}
    held_out = {file for file in files if shares[file] < HELD_OUT}
    if not held_out:  # of a few files all may be on one side: the first, or the last, by their hashes changes over
        held_out.add(min(files, key=lambda file: shares[file]))
    elif len(held_out) == len(files):
        held_out.remove(max(files, key=lambda file: shares[file]))
    return [file for file in files if (file in held_out) != train]


def _share(name: str, seed: int) -> float:
    """A number from 0 to 1 that follows from a name, however the file system writes its accents."""
    text = f"{seed}/{unicodedata.normalize('NFC', name)}"
    digest = hashlib.sha256(text.encode("utf-8", "backslashreplace")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _side_by_order(files: list[Path], name: str, train: bool, seed: int) -> list[Path]:
    """The same as gpunet chose it before; see `read_folder`."""
    held_out = max(1, round(HELD_OUT * len(files)))
    key = zlib.crc32(name.encode("utf-8", "surrogateescape"))
    order = np.random.default_rng([seed, key]).permutation(len(files))
    return [files[i] for i in sorted(order[held_out:] if train else order[:held_out])]


@dataclass(frozen=True)
class _Result:
    """Of reading a file: its digest, and why it could not be read, if so."""

    sha256: str
    failure: str | None = None


def _read_all(paths: Sequence[Path], size: int, stop: bool) -> tuple[HostArray, list[_Result]]:
    """Read files on all cores."""
    images = np.zeros((len(paths), 3, size, size), np.uint8)

    def read(number: int) -> _Result:
        digest = ""
        try:
            digest = _file_digest(paths[number])
            images[number] = read_image(paths[number], size)
        except FileError as error:
            if stop:
                raise
            return _Result(digest, error.message)
        return _Result(digest)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            return images, list(pool.map(read, range(len(paths))))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _file_digest(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise FileError(f"{printable(path)}: cannot be read ({error.strerror or error})") from error
    return digest.hexdigest()


def _digest(files: Sequence[Path], digests: Mapping[Path, str]) -> str:
    """One digest for the files of a class: of their names and of what they hold."""
    lines = "".join(f"{digests[file]} {unicodedata.normalize('NFC', file.name)}\n" for file in files)
    return hashlib.sha256(lines.encode("utf-8", "backslashreplace")).hexdigest()


def _listing(names: Sequence[str], separator: str = ", ") -> str:
    more = [f"and {len(names) - LISTED} more"] if len(names) > LISTED else []
    return separator.join([*map(printable, names[:LISTED]), *more])
