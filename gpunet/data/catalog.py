"""The datasets that can be trained on by name, each with what is right for its images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gpunet.data.dataset import ImageDataset
from gpunet.data.digits import Digits
from gpunet.data.transforms import Compose, Normalize, RandomCrop, RandomHorizontalFlip, ToFloat, Transform
from gpunet.errors import ArgumentError

__all__ = ["DATASETS", "DatasetRecipe", "find_dataset"]


@dataclass(frozen=True)
class DatasetRecipe:
    """How a dataset is loaded, normalised and augmented.

    Attributes:
        load: makes the dataset from (train, transform).
        channels, size: of the images, which are square.
        scale: the largest value a stored pixel can have.
        mean, std: of the training images after division by the scale.
        crop_padding: how far random crops reach beyond the image while training.
        flip: whether a mirrored image is still of its class.
    """

    load: Callable[[bool, Transform], ImageDataset]
    channels: int
    size: int
    scale: float
    mean: float
    std: float
    crop_padding: int
    flip: bool

    def test_transform(self) -> Compose:
        """What the network needs: floats of mean 0 and variance 1."""
        return Compose([ToFloat(self.scale), Normalize(self.mean, self.std)])

    def train_transform(self) -> Compose:
        """The same after random changes that leave the class what it is."""
        augment: list[Transform] = [RandomCrop(self.size, self.crop_padding)]
        if self.flip:
            augment.append(RandomHorizontalFlip())
        return Compose([*augment, self.test_transform()])

    def train_set(self) -> ImageDataset:
        """The training images, augmented and normalised."""
        return self.load(True, self.train_transform())

    def test_set(self) -> ImageDataset:
        """The held-out images, normalised."""
        return self.load(False, self.test_transform())


DATASETS = {
    "digits": DatasetRecipe(
        load=Digits, channels=1, size=8, scale=16, mean=0.305, std=0.376, crop_padding=1, flip=False
    ),
}
"""Every dataset by the name that the command line takes."""


def find_dataset(name: str) -> DatasetRecipe:
    """Look a dataset up by its name.

    Raises:
        ArgumentError: if there is none of that name; the message lists those there are.
    """
    if name not in DATASETS:
        raise ArgumentError(f"unknown data {name!r}; choose one of {', '.join(DATASETS)}")
    return DATASETS[name]
