"""Transforms: from stored images to what a network reads, and random augmentation.

A transform is a function of a whole batch of images and a generator that returns a batch of images:

    images (N, C, H, W), numpy.random.Generator -> images (N, C, H', W')

The generator is handed in, so that a batch is augmented the same way whichever thread happens to make it. Everything
here runs on the host, with NumPy, on every backend. One image is a batch of one: `transform(image[None], rng)[0]`.
Wherever a transform is asked for, one of albumentations or torchvision may be given, see `as_transform`.
"""

from gpunet.data.transforms.colour import ColorJitter
from gpunet.data.transforms.compose import Compose
from gpunet.data.transforms.convert import Normalize, ToFloat
from gpunet.data.transforms.erasing import Cutout, RandomErasing
from gpunet.data.transforms.geometry import (
    CenterCrop,
    Enlarge,
    RandomCrop,
    RandomHorizontalFlip,
    RandomRotation,
    Resize,
)
from gpunet.data.transforms.transform import Transform, as_transform

__all__ = [
    "CenterCrop",
    "ColorJitter",
    "Compose",
    "Cutout",
    "Enlarge",
    "Normalize",
    "RandomCrop",
    "RandomErasing",
    "RandomHorizontalFlip",
    "RandomRotation",
    "Resize",
    "ToFloat",
    "Transform",
    "as_transform",
]
