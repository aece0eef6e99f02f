"""The handwritten digits that come with gpunet: real data, no download."""

from __future__ import annotations

import hashlib
import importlib.resources

from safetensors.numpy import load

from gpunet.data.checks import HostArray
from gpunet.data.dataset import ImageDataset
from gpunet.data.transforms import Transform
from gpunet.errors import FileError

__all__ = ["Digits"]

_SHA256 = (
    "d7f87af5bf38dd22e46a9e24db02802a5335afe3cd043eb4376c9ea68f6ff240"  # of the file that tools/make_digits.py writes
)


class Digits(ImageDataset):
    """The UCI handwritten digits: 1,797 images of 8 x 8 pixels, written by 13 people.

    Images are uint8 with values from 0 to 16 (how many of the 4 x 4 dots of a finer bitmap are ink), so
    `transforms.ToFloat(scale=16)` brings them into [0, 1]; the training images then have mean 0.305 and standard
    deviation 0.376. Classes are "0" to "9".

    36 images of each class (360, 20 %) are the test set, the other 1,437 the training set. Which ones was drawn once at
    random and is stored with the images, so it is the same in every run, on every machine, for every seed. The source
    does not say who wrote which digit: both sets hold digits by the same people.

    Source: E. Alpaydin, C. Kaynak (1998), "Optical Recognition of Handwritten Digits" (its test set), UCI Machine
    Learning Repository, https://doi.org/10.24432/C50P49, licence CC BY 4.0; taken from scikit-learn's copy by
    tools/make_digits.py. The same is written into the file.

    Args:
        train: the training set, or else the test set.
        transform: applied to every batch of images, see `gpunet.data.transforms`.

    Shape:
        images (N, 1, 8, 8), labels (N,)

    Raises:
        FileError: if the file of the package is missing or damaged.
    """

    def __init__(self, train: bool = True, transform: Transform | None = None) -> None:
        arrays = _read("digits.safetensors")
        chosen = arrays["test"] == (0 if train else 1)
        classes = [str(digit) for digit in range(10)]
        super().__init__(arrays["images"][chosen], arrays["labels"][chosen], transform, classes)


def _read(name: str) -> dict[str, HostArray]:
    try:
        content = importlib.resources.files("gpunet.data").joinpath(name).read_bytes()
    except OSError as error:
        raise FileError(f"cannot read {name} of the installed package ({error}); install gpunet again") from error
    if hashlib.sha256(content).hexdigest() != _SHA256:
        raise FileError(f"{name} of the installed package is damaged; install gpunet again")
    return load(content)
