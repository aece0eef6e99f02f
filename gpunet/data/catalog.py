"""The datasets that can be trained on by name, each with what is right for its images."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gpunet.data.cifar import CIFAR10, CIFAR100
from gpunet.data.dataset import ImageDataset
from gpunet.data.digits import Digits
from gpunet.data.folder import FolderSet, left_out, read_folder
from gpunet.data.mnist import MNIST, FashionMNIST
from gpunet.data.shapes import Shapes
from gpunet.data.statistics import dataset_statistics
from gpunet.data.transforms import (
    ColorJitter,
    Compose,
    Cutout,
    Enlarge,
    Normalize,
    RandomCrop,
    RandomHorizontalFlip,
    Resize,
    ToFloat,
    Transform,
)
from gpunet.errors import ArgumentError
from gpunet.suggestions import suggestion

__all__ = ["AUGMENTATIONS", "DATASETS", "FOLDER", "DatasetRecipe", "dataset_names", "find_dataset"]

AUGMENTATIONS = ("none", "standard", "strong")
"""How much the training images are changed at random.

standard: cropped from a border of zeros and, where a mirrored image is still of its class, flipped. strong: their
colours, if they have any, changed as well, and a square of half their size blotted out.
"""

FOLDER = "folder:"
"""What the names of datasets that are folders of image files begin with: `folder:PATH`."""


@dataclass(frozen=True)
class DatasetRecipe:
    """How a dataset is loaded, normalised and augmented.

    Attributes:
        load: makes the dataset from (train, transform).
        channels, size: of the images, which are square.
        scale: the largest value a stored pixel can have.
        mean, std: of the training images after division by the scale; one number, or one for each channel.
        crop_padding: how far random crops reach beyond the image while training.
        flip: whether a mirrored image is still of its class.
        downloaded: whether `load` takes a `data_dir`, too.
        epochs: passes over the training images that a small residual network needs.
        files: of a folder, by "train" and "test" what `gpunet.data.folder` notes of its files; else None.
        left_out: what to say of files of a folder that could not be read; empty where there is nothing to say.
    """

    load: Callable[..., ImageDataset]
    channels: int
    size: int
    scale: float
    mean: float | Sequence[float]
    std: float | Sequence[float]
    crop_padding: int
    flip: bool
    downloaded: bool = False
    epochs: int = 15
    files: dict[str, dict[str, list[Any]]] | None = None
    left_out: str = ""

    def test_set(self, image_size: int) -> ImageDataset:
        """The held-out images as the network needs them: floats of mean 0 and variance 1, of that size."""
        return self.load(False, self.test_transform(image_size))

    def train_set(self, image_size: int, augment: str = "standard") -> ImageDataset:
        """The training images, with random changes that leave the class what it is; see `AUGMENTATIONS`.

        Raises:
            ArgumentError: if there is no such augmentation.
        """
        if augment not in AUGMENTATIONS:
            raise ArgumentError(f"unknown augmentation {augment!r}; {suggestion(augment, AUGMENTATIONS)}")
        steps: list[Transform] = []
        if augment != "none":
            steps.append(RandomCrop(self.size, self.crop_padding))
            if self.flip:
                steps.append(RandomHorizontalFlip())
        steps.append(ToFloat(self.scale))
        if augment == "strong" and self.channels == 3:
            steps.append(ColorJitter(0.3, 0.3, 0.3))
        steps.append(Normalize(self.mean, self.std))
        if augment == "strong":
            steps.append(Cutout(self.size // 2))
        return self.load(True, Compose([*steps, *self._to_size(image_size)]))

    def test_transform(self, image_size: int) -> Compose:
        """What turns stored images into those that the network reads, without changing anything at random."""
        return Compose([ToFloat(self.scale), Normalize(self.mean, self.std), *self._to_size(image_size)])

    def _to_size(self, image_size: int) -> list[Transform]:
        if image_size == self.size:
            return []
        return [Resize(image_size) if image_size % self.size else Enlarge(image_size // self.size)]


DATASETS = {
    "digits": DatasetRecipe(
        load=Digits, channels=1, size=8, scale=16, mean=0.305, std=0.376, crop_padding=1, flip=False
    ),
    "shapes": DatasetRecipe(
        load=Shapes,
        channels=3,
        size=32,
        scale=255,
        mean=(0.502, 0.501, 0.493),
        std=(0.284, 0.286, 0.287),
        crop_padding=2,
        flip=True,
        epochs=5,
    ),
    "mnist": DatasetRecipe(
        load=MNIST,
        channels=1,
        size=28,
        scale=255,
        mean=0.1307,
        std=0.3081,
        crop_padding=2,
        flip=False,
        downloaded=True,
    ),
    "fashion-mnist": DatasetRecipe(
        load=FashionMNIST,
        channels=1,
        size=28,
        scale=255,
        mean=0.2860,
        std=0.3530,
        crop_padding=2,
        flip=True,
        downloaded=True,
    ),
    "cifar10": DatasetRecipe(
        load=CIFAR10,
        channels=3,
        size=32,
        scale=255,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
        crop_padding=4,
        flip=True,
        downloaded=True,
    ),
    "cifar100": DatasetRecipe(
        load=CIFAR100,
        channels=3,
        size=32,
        scale=255,
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
        crop_padding=4,
        flip=True,
        downloaded=True,
    ),
}
"""Every dataset by the name that the command line takes; besides these, it takes folders, see `find_dataset`."""


def dataset_names() -> tuple[str, ...]:
    """The names that `find_dataset` takes, for help and messages; the last stands for any folder."""
    return (*DATASETS, f"{FOLDER}PATH")


def find_dataset(
    name: str,
    data_dir: Path | str | None = None,
    *,
    size: int | None = None,
    on_unreadable: str = "skip",
    by_order: bool = False,
) -> DatasetRecipe:
    """Look a dataset up by its name. `folder:PATH` is a folder with a folder of image files for each class.

    Args:
        name: one of `dataset_names()`.
        data_dir: where the files of datasets that are downloaded are or go; a cache folder of the user if left out.
        size: of the images of a folder, 32 if left out; other datasets have theirs, whatever is asked for here.
        on_unreadable: what becomes of files in a folder that are no images: "skip" or "error", see `ImageFolder`. Those
            that were skipped are in the recipe's `left_out`.
        by_order: hold out files of a folder as older runs did, see `gpunet.data.folder.read_folder`.

    Raises:
        ArgumentError: if there is none of that name; the message lists those there are.
        DataError: if a folder does not hold what it should; see `ImageFolder`.
        FileError: if a folder or, with on_unreadable="error", a file in it cannot be read.
    """
    if name.startswith(FOLDER):
        return _folder_recipe(name[len(FOLDER) :], 32 if size is None else size, on_unreadable, by_order)
    if name not in DATASETS:
        raise ArgumentError(f"unknown data {name!r}; {suggestion(name, dataset_names())}")
    recipe = DATASETS[name]
    return replace(recipe, load=functools.partial(recipe.load, data_dir=data_dir)) if recipe.downloaded else recipe


def _folder_recipe(path: str, size: int, on_unreadable: str, by_order: bool) -> DatasetRecipe:
    """The recipe of a folder; its files are read once, however often the sets are made."""
    if not path:
        raise ArgumentError(f"{FOLDER} is to be followed by the path of a folder, as in {FOLDER}photos")
    train_set, test_set = (read_folder(path, train, size, on_unreadable, by_order=by_order) for train in (True, False))

    def load(train: bool, transform: Transform) -> ImageDataset:
        chosen: FolderSet = train_set if train else test_set
        return ImageDataset(chosen.images, chosen.labels, transform, chosen.classes, chosen.names)

    mean, std = dataset_statistics(load(True, ToFloat()))
    return DatasetRecipe(
        load=load,
        channels=3,
        size=size,
        scale=255,
        mean=mean,
        std=tuple(each or 1.0 for each in std),  # a channel that is the same everywhere stays at 0
        crop_padding=size // 8,
        flip=True,
        files={"train": train_set.files, "test": test_set.files},
        left_out=left_out(path, train_set, test_set),
    )
