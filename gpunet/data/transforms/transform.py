"""What a transform is, whatever library it is of."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from gpunet.data.checks import HostArray
from gpunet.data.transforms.foreign import OfAlbumentations, OfTorchvision
from gpunet.errors import ArgumentError

__all__ = ["Transform", "as_transform"]

Transform: TypeAlias = Callable[[HostArray, np.random.Generator], HostArray]
"""What counts as a transform: the classes of this module, or a function of the same form."""


def as_transform(given: Any) -> Transform:
    """A transform of ours, or of albumentations or torchvision, as one that changes a batch.

    Those of others get each image by itself, and a seed that comes from the batch's generator: runs are repeatable, and
    the same for any number of workers.

    Raises:
        ArgumentError: if it is none of them.
    """
    libraries = {each.__module__.partition(".")[0] for each in type(given).__mro__}
    if "albumentations" in libraries:
        return OfAlbumentations(given)
    if libraries & {"torchvision", "torch"}:
        return OfTorchvision(given)
    try:
        inspect.signature(given).bind(None, None)
    except ValueError:  # a function of C does not say what it takes
        return given
    except TypeError as error:
        raise ArgumentError(
            "a transform is called with a batch of images (N, C, H, W) and a generator of random numbers, "
            f"got {given!r}, which cannot be ({error})"
        ) from None
    return given
