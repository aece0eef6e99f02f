"""The datasets that can be trained on by name, each with what is right for its images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gpunet.data.dataset import ImageDataset
from gpunet.data.digits import Digits
from gpunet.data.transforms import Compose, Enlarge, Normalize, RandomCrop, RandomHorizontalFlip, ToFloat, Transform
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

    def test_set(self, image_size: int) -> ImageDataset:
        """The held-out images as the network needs them: floats of mean 0 and variance 1, of that size."""
        return self.load(False, self._prepare(image_size))

    def train_set(self, image_size: int) -> ImageDataset:
        """The training images, with random changes that leave the class what it is."""
        augment: list[Transform] = [RandomCrop(self.size, self.crop_padding)]
        if self.flip:
            augment.append(RandomHorizontalFlip())
        return self.load(True, Compose([*augment, self._prepare(image_size)]))

    def _prepare(self, image_size: int) -> Compose:
        if image_size % self.size:
            raise ArgumentError(
                f"the model needs images of {image_size}x{image_size}, "
                f"to which those of {self.size}x{self.size} cannot be enlarged"
            )
        return Compose([ToFloat(self.scale), Normalize(self.mean, self.std), Enlarge(image_size // self.size)])


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
