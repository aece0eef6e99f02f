"""Images of your own: a folder with a folder of image files for each class."""

from __future__ import annotations

import os
import warnings
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from gpunet.data.checks import HostArray, checked_count
from gpunet.data.dataset import ImageDataset
from gpunet.data.images import read_image
from gpunet.data.transforms import Transform
from gpunet.errors import ArgumentError, DataError, FileError

__all__ = ["ImageFolder"]

HELD_OUT = 0.2
MAX_BYTES = 8 << 30
LISTED = 10  # so many unreadable files are named in a message


class ImageFolder(ImageDataset):
    """The image files in PATH/CLASS/, for each class a folder, all read into memory at one size: (N, 3, size, size).

    The classes are the folders in the order of their names. If PATH holds folders called train and test, those hold the
    classes, and they are the two sets; others beside them are left alone. Otherwise 20 % of the files of each class, at
    least one, are the test set. Which ones is drawn from `seed`, for the files in the order of their names, so that
    both sets are the same in every run, on every machine. Files and folders whose name begins with a dot are left
    alone, and so are folders inside those of the classes. `gpunet.data.read_image` says what becomes of each file.

    Args:
        path: of the folder.
        train: the training set, or else the test set.
        transform: applied to every batch of images, see `gpunet.data.transforms`.
        size: height and width of the images. 32, the default, is that of CIFAR, for which networks are trained in
            minutes without a GPU; take 64 or more where classes differ in detail.
        on_unreadable: "skip" leaves out files that cannot be read as images, and warns of them; "error" raises.
        seed: which files are held out.

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
        size = checked_count(size, 1, "ImageFolder: size")
        if on_unreadable not in ("skip", "error"):
            raise ArgumentError(
                f'ImageFolder: on_unreadable is expected to be "skip" or "error", got {on_unreadable!r}'
            )
        files = _chosen_files(Path(path), train, checked_count(seed, 0, "ImageFolder: seed"))
        paths = [each for listed in files.values() for each in listed]
        labels = np.repeat(np.arange(len(files)), [len(listed) for listed in files.values()])
        needed = len(paths) * 3 * size * size
        if needed > MAX_BYTES:
            raise DataError(
                f"{path}: {len(paths):,} images of {size}x{size} take {needed / 2**30:.1f} GiB, more than the "
                f"{MAX_BYTES >> 30} allowed; choose a smaller size"
            )
        images, failures = _read_all(paths, size, stop=on_unreadable == "error")
        readable = np.array([failure is None for failure in failures])
        self.unreadable = tuple(failure for failure in failures if failure is not None)
        without = [name for label, name in enumerate(files) if not readable[labels == label].any()]
        reasons = _listing(self.unreadable, separator="\n")
        if without and (train or not readable.any()):
            raise DataError(f"{path}: no file of {_listing(without)} can be read as an image\n{reasons}")
        if self.unreadable:
            warnings.warn(f"{path}: {len(self.unreadable)} of {len(paths)} files left out:\n{reasons}", stacklevel=2)
        super().__init__(images[readable], labels[readable], transform, tuple(files))


def _chosen_files(path: Path, train: bool, seed: int) -> dict[str, list[Path]]:
    """The files of each class that are to be read."""
    if not path.is_dir():
        raise FileError(f"{path}: there is no such folder")
    parts = {part.name: part for part in _visible(path) if part.is_dir()}
    if {"train", "test"} <= set(parts):
        both = {name: _class_files(parts[name]) for name in ("train", "test")}
        if list(both["train"]) != list(both["test"]):
            different = sorted(set(both["train"]) ^ set(both["test"]))
            raise DataError(f"{path}: train and test need the same classes; only one has {_listing(different)}")
        return both["train" if train else "test"]
    files = _class_files(path)
    single = [name for name, listed in files.items() if len(listed) == 1]
    if single:
        raise DataError(f"{path}: of one image none can be held out, and {_listing(single)} has no more")
    return {name: _side(listed, name, train, seed) for name, listed in files.items()}


def _class_files(path: Path) -> dict[str, list[Path]]:
    """All files of each class, both in the order of their names."""
    folders = [folder for folder in _visible(path) if folder.is_dir()]
    if len(folders) < 2:
        raise DataError(
            f"{path}: expected a folder of images for each of two or more classes, or train and test with such folders "
            f"in them, found {f'only {folders[0].name!r}' if folders else 'no folder'}"
        )
    files = {folder.name: [file for file in _visible(folder) if file.is_file()] for folder in folders}
    empty = [name for name, listed in files.items() if not listed]
    if empty:
        raise DataError(f"{path}: no files in the folder of {_listing(empty)}; folders inside it do not count")
    return files


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(each for each in folder.iterdir() if not each.name.startswith("."))
    except OSError as error:
        raise FileError(f"cannot read the folder {folder}: {error.strerror or error}") from error


def _side(files: list[Path], name: str, train: bool, seed: int) -> list[Path]:
    """Of the files of a class, those to learn from or those held out; both in the order of their names."""
    held_out = max(1, round(HELD_OUT * len(files)))
    # Each class has a stream of its own, found by its name: a class more or less changes nothing for the others.
    key = zlib.crc32(name.encode("utf-8", "surrogateescape"))
    order = np.random.default_rng([seed, key]).permutation(len(files))
    return [files[i] for i in sorted(order[held_out:] if train else order[:held_out])]


def _read_all(paths: Sequence[Path], size: int, stop: bool) -> tuple[HostArray, list[str | None]]:
    """Read files on all cores; for each that cannot be read, the reason."""
    images = np.zeros((len(paths), 3, size, size), np.uint8)

    def read(number: int) -> str | None:
        try:
            images[number] = read_image(paths[number], size)
        except FileError as error:
            if stop:
                raise
            return error.message
        return None

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            return images, list(pool.map(read, range(len(paths))))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _listing(names: Sequence[str], separator: str = ", ") -> str:
    more = [f"and {len(names) - LISTED} more"] if len(names) > LISTED else []
    return separator.join([*names[:LISTED], *more])
