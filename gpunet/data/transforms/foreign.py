"""Transforms of albumentations and torchvision, which change one image at a time and draw from a state of their own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np

from gpunet.data.checks import HostArray, check_images
from gpunet.data.collate import array_of, stacked
from gpunet.data.images import is_picture
from gpunet.data.outside import outside_code
from gpunet.errors import ArgumentError, DTypeError, ShapeError

__all__ = ["OfAlbumentations", "OfTorchvision"]


class _OneByOne(ABC):
    """A transform of another library, applied to each image of a batch."""

    def __init__(self, given: Any) -> None:
        self.given = given
        self.name = type(given).__name__

    def __call__(self, images: HostArray, rng: np.random.Generator) -> HostArray:
        check_images(images, self.name)
        with outside_code(rng) as seed:
            self._begin(seed)
            changed = [self._changed(image) for image in images]
        return stacked(changed, f"what {self.name} gives") if changed else images

    def _begin(self, seed: int) -> None:  # noqa: B027  PyTorch's generator, which most draw from, has its seed already
        """Let what is drawn for a batch follow from the seed."""

    @abstractmethod
    def _changed(self, image: HostArray) -> HostArray:
        """What becomes of one image (C, H, W)."""

    def _channels_first(self, image: HostArray) -> HostArray:
        """From the layout (H, W, C), or (H, W) of one channel, to ours."""
        if image.ndim not in (2, 3):
            raise ShapeError(f"{self.name} is expected to give images, got shape {image.shape}")
        return image[None] if image.ndim == 2 else image.transpose(2, 0, 1)


class OfAlbumentations(_OneByOne):
    """A transform of albumentations, which gets an array (H, W, C).

    Raises:
        ArgumentError: if it is too old to be given a seed.
    """

    def __init__(self, given: Any) -> None:
        super().__init__(given)
        if not hasattr(given, "set_random_seed"):
            raise ArgumentError(f"{self.name}: an albumentations as old as this cannot repeat a run; version 2 can")

    def _begin(self, seed: int) -> None:
        self.given.set_random_seed(seed)

    def _changed(self, image: HostArray) -> HostArray:
        got = self.given(image=np.ascontiguousarray(image.transpose(1, 2, 0)))["image"]
        return self._channels_first(got) if isinstance(got, np.ndarray) else array_of(got)  # ToTensorV2's is (C, H, W)


class OfTorchvision(_OneByOne):
    """A transform of torchvision, v2 or older: it gets a tensor of PyTorch, or, to make tensors of, a picture."""

    def __init__(self, given: Any) -> None:
        super().__init__(given)
        self.of_pictures = any(type(each).__name__ in ("ToTensor", "PILToTensor") for each in _parts(given))

    def _changed(self, image: HostArray) -> HostArray:
        got = self.given(self._picture(image) if self.of_pictures else _tensor(image))
        return self._channels_first(np.asarray(got)) if is_picture(got) else array_of(got)

    def _picture(self, image: HostArray) -> Any:
        if image.dtype != np.uint8 or len(image) not in (1, 3):
            raise DTypeError(
                f"{self.name} makes tensors of pictures, which have 1 or 3 channels of uint8, got {len(image)} "
                f"channels of {image.dtype}; v2.ToImage() in its place takes those"
            )
        from PIL import Image

        return Image.fromarray(image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0)))


def _parts(given: Any) -> Iterator[Any]:
    """A transform and all that it consists of."""
    yield given
    inner = getattr(given, "transforms", None)
    if inner is None:
        inner = given.children() if hasattr(given, "children") else ()
    for each in inner:
        yield from _parts(each)


def _tensor(image: HostArray) -> Any:
    import torch

    return torch.from_numpy(np.ascontiguousarray(image))
