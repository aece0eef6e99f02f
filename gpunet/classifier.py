"""A trained network, ready to use: `gpunet.load(DIR)` gives the model of a run with all that belongs to it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.backend import asarray, from_outside, host_generator, to_cpu
from gpunet.data import is_picture, read_image
from gpunet.data.transforms import Compose, Normalize
from gpunet.data.transforms.colour import GREY
from gpunet.errors import ArgumentError, ShapeError
from gpunet.functional import softmax
from gpunet.models import create_model
from gpunet.nn import Module, evaluation_mode
from gpunet.tape import no_grad
from gpunet.tensor import Tensor
from gpunet.train import RunFolder, load_weights, read_input
from gpunet.train.objects import load_object

__all__ = ["Classifier", "load"]

BATCH_SIZE = 256  # the same as in the test that training ends with, so that the probabilities are the same bits


@dataclass(frozen=True)
class Classifier:
    """A network with its transform and the names of its classes.

    Attributes:
        model: takes what the transform gives and returns (N, classes) logits.
        classes: the names of the classes, in the order of the logits.
        transform: from images as the dataset stores them to what the model takes; it changes nothing at random.
        channels, size: of images as the dataset stores them; they are square.
        scale: the largest value of a pixel that the dataset stores.
    """

    model: Module
    classes: tuple[str, ...]
    transform: Compose
    channels: int
    size: int
    scale: float

    def read(self, path: str | os.PathLike[str] | Any, invert: bool = False) -> np.ndarray:
        """An image file, or an image of Pillow, as the dataset would store it.

        `gpunet.data.read_image` turns it upright, lays it over white, scales it and cuts the middle out; then colours
        become grey where the dataset is grey, and 255 becomes `scale`.

        Args:
            path: of the file, or an image that Pillow has opened.
            invert: whether light and dark change places. Digits are light ink on dark ground, so a picture of dark ink
                on paper has to be inverted.

        Shape:
            result: uint8 (channels, size, size)

        Raises:
            FileError: if the file cannot be read as an image.
            DataError: if Pillow, which reads it, is not installed.
        """
        pixels = read_image(path, self.size).astype(np.float32)  # (3, size, size)
        if self.channels == 1:
            pixels = (GREY * pixels).sum(axis=0, keepdims=True)  # (1, size, size)
        if invert:
            pixels = 255 - pixels
        return (pixels * (self.scale / 255)).round().astype(np.uint8)

    def prepare(self, images: Any) -> Tensor:
        """What the model takes, on the active backend.

        Args:
            images: an array, or images of Pillow or the paths of files, one or a list, which `read` brings there.

        Shape:
            images: (N, channels, size, size) whole numbers from 0 to `scale`; result: (N, channels, H, W).

        Raises:
            ShapeError: if the images have another shape.
            DTypeError: if they are not whole numbers.
            FileError: if a file cannot be read as an image.
        """
        expected = (self.channels, self.size, self.size)
        if _is_to_be_read(images):
            images = [images]
        if isinstance(images, list | tuple) and all(map(_is_to_be_read, images)):
            images = np.array([self.read(each) for each in images], np.uint8).reshape(-1, *expected)
        images = to_cpu(images.array if isinstance(images, Tensor) else from_outside(images, "the classifier's images"))
        if images.ndim != 4 or images.shape[1:] != expected:
            raise ShapeError(f"the classifier expects images of shape {('N', *expected)}, got {images.shape}")
        return Tensor(asarray(self.transform(images, host_generator())))

    def probabilities(self, prepared: Tensor) -> np.ndarray:
        """How likely each class is for each image; the model itself is left as it is.

        Shape:
            prepared: (N, channels, H, W), what `prepare` gives; result: float32 (N, classes) on the host.
        """
        found = [np.zeros((0, len(self.classes)), np.float32)]
        with no_grad(), evaluation_mode(self.model):
            for start in range(0, len(prepared), BATCH_SIZE):
                logits = self.model(prepared[start : start + BATCH_SIZE])
                found.append(to_cpu(softmax(logits, dim=1).array))
        return np.concatenate(found)

    def predict(self, images: Any, top: int = 1) -> list[list[tuple[str, float]]]:
        """The likeliest classes of each image with their probabilities, the likeliest first.

        Args:
            images: an array; or images of Pillow or the paths of files, one or a list. Of ink on paper, where the
                dataset has light on dark, `read` with `invert` makes an array.
            top: how many classes for each image; no more than there are.

        Shape:
            images: (N, channels, size, size) whole numbers from 0 to `scale`; `gpunet.data` stores them like that.

        Raises:
            ArgumentError: if `top` is not positive.
            ShapeError: if the images have another shape.
            DTypeError: if they are not whole numbers.
            FileError: if a file cannot be read as an image.
        """
        if top < 1:
            raise ArgumentError(f"predict: top must be 1 or more, got {top}")
        return [self.ranked(row, top) for row in self.probabilities(self.prepare(images))]

    def ranked(self, probabilities: np.ndarray, top: int) -> list[tuple[str, float]]:
        """The likeliest classes of one image; of two that are equally likely the first comes first.

        Shape:
            probabilities: (classes,)
        """
        order = np.argsort(-probabilities, kind="stable")[:top]
        return [(self.classes[index], float(probabilities[index])) for index in order]

    def pictures(self, prepared: np.ndarray) -> np.ndarray:
        """The way back from what the model takes to pixels that can be shown: `x std + mean`, from 0 to 255.

        Shape:
            prepared: (N, channels, H, W) on the host; result: uint8 of the same shape.
        """
        for step in reversed(self.transform.transforms):
            if isinstance(step, Normalize):
                prepared = prepared * step.std + step.mean
        return (prepared.clip(0, 1) * 255).round().astype(np.uint8)


def _is_to_be_read(image: Any) -> bool:
    return isinstance(image, str | os.PathLike) or is_picture(image)


def load(folder: str | os.PathLike[str] | Any, map_location: Any = None, weights_only: bool = True) -> Any:
    """Build the model of a run again and load its weights, on the active backend; it is in evaluation mode.

    The dataset that it was trained on is not needed. Given a file instead of a folder, or one that is open, it is the
    opposite of `gpunet.save`, and gives what is in there.

    Example, after `gpunet train --out runs/digits`:

        classifier = gpunet.load("runs/digits")
        classifier.predict(gpunet.data.Digits(train=False).images[:5])

    Args:
        folder: what `gpunet train` wrote into; or a file.
        map_location: of a file, the device, which is that of the active backend.
        weights_only: of a file: nothing in it can run in any case.

    Raises:
        FileError: if the folder holds no run, or a file is damaged.
        ArgumentError: if it was made with a model that this version does not know.
        StateDictError: if the weights do not fit the model.
    """
    if hasattr(folder, "read") or (isinstance(folder, str | os.PathLike) and Path(folder).is_file()):
        return load_object(folder, map_location)
    run = RunFolder(folder)
    config = run.read_config()
    classes, recipe, size = read_input(config, run.config_path)
    model = create_model(config["model"], len(classes), recipe.channels)
    load_weights(run.weights_path, model)
    return Classifier(model.eval(), classes, recipe.test_transform(size), recipe.channels, recipe.size, recipe.scale)
