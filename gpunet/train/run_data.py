"""The data of a run: found again by what config.json says of them, and compared with what they were then."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.data import FOLDER, DatasetRecipe, ImageDataset, find_dataset
from gpunet.data.folder import changed_files
from gpunet.data.transforms import Compose, Resize, Transform
from gpunet.data.transforms.colour import GREY
from gpunet.errors import DataError, FileError
from gpunet.functional.checks import whole_number
from gpunet.printable import printable

__all__ = ["changed_data", "find_other_data", "find_run_data", "holds_out_by_order", "read_input"]

LARGEST_SIZE = 8192  # pixels on a side: what a configuration that lies may make us reserve

_log = logging.getLogger("gpunet")


def find_run_data(config: dict[str, Any], path: Path | str) -> DatasetRecipe:
    """The dataset of a run, normalised as it was in training, whatever its images are by now.

    Args:
        config: what config.json holds.
        path: of that file, for messages.

    Raises:
        ArgumentError, DataError, FileError: as `find_dataset` does, or if the configuration makes no sense.
    """
    size = config.get("image_size")
    if size is not None:
        size = whole_number(size, "image_size", "the run", 1)
    recipe = find_dataset(
        config["data"],
        config.get("data_dir"),
        size=size,
        on_unreadable=config.get("on_unreadable", "skip"),
        by_order=holds_out_by_order(config),
    )
    if (recipe.files is not None or config.get("preprocessing", "data") != "data") and "input" in config:
        _, saved, _ = read_input(config, path)
        recipe = replace(recipe, mean=saved.mean, std=saved.std)
    return recipe


def holds_out_by_order(config: dict[str, Any]) -> bool:
    """Whether the run is of a gpunet that noted no files of a folder, and drew those to hold out by their order."""
    by_order = config["data"].startswith(FOLDER) and "files" not in config
    if by_order:
        _log.warning("the run is of an older gpunet, which noted no files: whether they are the same cannot be told")
    return by_order


def changed_data(config: dict[str, Any], recipe: DatasetRecipe, classes: tuple[str, ...]) -> str:
    """What has changed in the data of a run since it was begun; empty if nothing has.

    Raises:
        DataError: if there are other classes: what the network says would have another meaning.
    """
    data, saved = printable(config["data"]), config.get("classes")
    if isinstance(saved, list) and tuple(saved) != classes:
        gone = ", ".join(printable(each) for each in saved if each not in classes) or "none"
        new = ", ".join(printable(each) for each in classes if each not in saved) or "none"
        other = "they are in another order" if gone == new == "none" else f"gone are {gone}, new are {new}"
        raise DataError(f"{data} no longer has the classes that the run was trained on: {other}")
    files = config.get("files")
    if recipe.files is None or not isinstance(files, dict) or files == recipe.files:
        return ""
    return f"{data} has changed since the run was begun: {'; '.join(changed_files(files, recipe.files))}"


def read_input(config: dict[str, Any], path: Path | str) -> tuple[tuple[str, ...], DatasetRecipe, int]:
    """What a configuration says about the images: the classes, how they are stored, and the size that the model takes.

    It is all there, so that a model can be used where its dataset is not.

    Args:
        config: what config.json holds.
        path: of that file, for messages.

    Raises:
        FileError: if it does not say so.
    """
    classes, given = config.get("classes"), config.get("input")
    if not isinstance(classes, list) or not classes or not all(isinstance(each, str) for each in classes):
        raise FileError(f"{path} is damaged: 'classes' must be a list of texts")
    if not isinstance(given, dict):
        raise FileError(f"{path} is damaged: 'input' must be a JSON object")

    def checked(name: str, right: Callable[[Any], bool]) -> Any:
        if not right(given.get(name)):
            raise FileError(f"{path} is damaged: 'input' has {name!r} {given.get(name)!r:.100}")
        return given[name]

    channels = checked("channels", lambda value: value in (1, 3))

    def is_size(value: Any) -> bool:
        return type(value) is int and 1 <= value <= LARGEST_SIZE

    def are_numbers(value: Any) -> bool:
        return isinstance(value, list) and len(value) in (1, channels) and all(map(_is_number, value))

    recipe = DatasetRecipe(
        load=_no_images,
        channels=channels,
        size=checked("stored_size", is_size),
        scale=checked("scale", lambda value: _is_number(value) and 0 < value <= 255),
        mean=checked("mean", are_numbers),
        std=checked("std", lambda value: are_numbers(value) and min(value) > 0),
        crop_padding=0,
        flip=False,
    )
    return tuple(classes), recipe, checked("size", is_size)


def find_other_data(
    name: str, data_dir: Path | str | None, config: dict[str, Any], path: Path | str, whole: bool = False
) -> ImageDataset:
    """Other labelled images for the network of a run: at its size, in its colours, with its numbers of the classes.

    They are first brought to what the dataset of the run stores, as `gpunet.Classifier.read` does with a file, so that
    the network says of them what `gpunet predict` says.

    Args:
        name, data_dir: of the dataset; see `gpunet.data.find_dataset`.
        config: what config.json of the run holds.
        path: of that file, for messages.
        whole: all images, and not only those held out.

    Raises:
        ArgumentError, FileError: as `find_dataset` and `read_input` do.
        DataError: as `find_dataset` does, or if there are classes that the network does not know.
    """
    classes, like, size = read_input(config, path)
    other = find_dataset(name, data_dir, size=like.size)
    if other.left_out:
        _log.warning("%s", other.left_out)
    sets = [other.load(train, None) for train in ([True, False] if whole else [False])]
    unknown = [each for each in sets[0].classes if each not in classes]
    if unknown:
        raise DataError(
            f"{printable(name)} has classes that the network does not know: {', '.join(map(printable, unknown))}; "
            f"it tells apart {', '.join(map(printable, classes))}"
        )
    numbers = np.array([classes.index(each) for each in sets[0].classes])
    return ImageDataset(
        np.concatenate([each.images for each in sets]),
        numbers[np.concatenate([each.labels for each in sets])],
        Compose([_stored_as(like, other.scale), like.test_transform(size)]),
        classes,
    )


def _stored_as(like: DatasetRecipe, scale: float) -> Transform:
    """From pixels of 0 to `scale`, of any size and colours, to those that a dataset stores."""

    def bring(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        pixels = images.astype(np.float32)
        if like.channels == 1 and images.shape[1] == 3:
            pixels = (GREY * pixels).sum(axis=1, keepdims=True)
        elif like.channels == 3 and images.shape[1] == 1:
            pixels = pixels.repeat(3, axis=1)
        return (Resize(like.size)(pixels, rng) * (like.scale / scale)).round().astype(np.uint8)

    return bring


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _no_images(train: bool, transform: Transform) -> ImageDataset:
    raise DataError("the images that a run was trained on are not kept with it")
