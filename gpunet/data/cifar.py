"""CIFAR-10 and CIFAR-100: colour images of 32 x 32 pixels, in their binary format.

The binary version of the archives, not the one "for Python": that is made of pickles, which run code when they are
read.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gpunet.data.checks import HostArray
from gpunet.data.dataset import ImageDataset
from gpunet.data.downloads import RemoteFile, get_file
from gpunet.data.transforms import Transform
from gpunet.data.unpack import gunzip, tar_members
from gpunet.errors import DataError

__all__ = ["CIFAR10", "CIFAR100", "read_cifar"]

_PIXELS = 3 * 32 * 32
_LIMIT = 256 << 20  # bytes in an archive, decompressed: both have about 185 million
_NAMES_LIMIT = 64 << 10
_MIRRORS = (
    "https://www.cs.toronto.edu/~kriz/",
    "https://mindspore-website.obs.cn-north-4.myhuaweicloud.com/notebook/datasets/",
)


def read_cifar(content: bytes, labels: int, what: str) -> tuple[HostArray, HostArray]:
    """Read images and labels in the binary format of CIFAR.

    The format: for each image its labels, a byte each, and 3 x 32 x 32 bytes, red first, row by row. CIFAR-10 has one
    label; CIFAR-100 has two, of which the second, the finer one, is returned.

    Args:
        content: the bytes of the file.
        labels: how many labels an image has.
        what: the name of the file, for messages.

    Shape:
        images (N, 3, 32, 32) and labels (N,), both uint8

    Raises:
        DataError: if the file is not made of whole images, or is empty.
    """
    size = labels + _PIXELS
    if not content or len(content) % size:
        raise DataError(
            f"{what} has {len(content):,} bytes, which are not images of {size:,} bytes each: it is cut off, or no "
            f"CIFAR file of {labels} label{'s' if labels > 1 else ''} an image"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, size)
    return records[:, labels:].reshape(-1, 3, 32, 32), records[:, labels - 1]


class CIFAR10(ImageDataset):
    """Photographs of ten kinds of things: 50,000 to learn from and 10,000 held out, (N, 3, 32, 32) uint8.

    The archive cifar-10-binary.tar.gz (170 MB) is downloaded unless it is there, see `gpunet.data.downloads`, and read
    in memory.

    Args:
        train: the training set, or else the test set.
        transform: applied to every batch of images, see `gpunet.data.transforms`.
        data_dir: where the archive is or goes; a cache folder of the user if left out.

    Shape:
        images (N, 3, 32, 32), labels (N,)

    Raises:
        DataError: if pooch is needed and not installed, or the archive does not hold images and the names of classes.
        FileError: if the archive is damaged, or cannot be downloaded, read or written.
        LabelError: if a label has no class.

    Reference:
        Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
    """

    NAME = "cifar10"
    ARCHIVE = RemoteFile(
        "cifar-10-binary.tar.gz",
        170_052_171,
        "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        _MIRRORS,
    )
    LABELS = 1  # bytes before each image
    CLASS_COUNT = 10
    CLASS_FILE = "batches.meta.txt"
    TRAIN_FILES: tuple[str, ...] = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
    TEST_FILES: tuple[str, ...] = ("test_batch.bin",)
    IMAGES_PER_FILE = 10_000  # at most

    def __init__(
        self, train: bool = True, transform: Transform | None = None, data_dir: Path | str | None = None
    ) -> None:
        archive = self.ARCHIVE.name
        names = self.TRAIN_FILES if train else self.TEST_FILES
        sizes = dict.fromkeys(names, self.IMAGES_PER_FILE * (self.LABELS + _PIXELS))
        tar = gunzip(get_file(self.ARCHIVE, self.NAME, data_dir), _LIMIT, archive)
        members = tar_members(tar, {self.CLASS_FILE: _NAMES_LIMIT, **sizes}, archive)
        classes = members[self.CLASS_FILE].decode("utf-8", "replace").split()
        if len(classes) != self.CLASS_COUNT:
            raise DataError(f"{archive}: {self.CLASS_FILE} names {len(classes)} classes instead of {self.CLASS_COUNT}")
        parts = [read_cifar(members[name], self.LABELS, f"{archive}: {name}") for name in names]
        images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        super().__init__(images, labels, transform, classes)


class CIFAR100(CIFAR10):
    """Photographs of a hundred kinds of things, 500 of each to learn from and 100 held out, (N, 3, 32, 32) uint8.

    The archive is cifar-100-binary.tar.gz (169 MB); of its two labels an image, the finer one counts.

    Shape:
        images (N, 3, 32, 32), labels (N,)

    Reference:
        Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
    """

    NAME = "cifar100"
    ARCHIVE = RemoteFile(
        "cifar-100-binary.tar.gz",
        168_513_733,
        "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
        _MIRRORS,
    )
    LABELS = 2
    CLASS_COUNT = 100
    CLASS_FILE = "fine_label_names.txt"
    TRAIN_FILES = ("train.bin",)
    TEST_FILES = ("test.bin",)
    IMAGES_PER_FILE = 50_000
