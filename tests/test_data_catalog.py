"""The datasets by name: what is listed, and the recipes."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from gpunet.data import AUGMENTATIONS, DATASETS, Shapes, dataset_names, find_dataset
from gpunet.data.transforms import ColorJitter, Cutout, RandomCrop, RandomHorizontalFlip
from gpunet.errors import ArgumentError

FEW_SHAPES = replace(find_dataset("shapes"), load=partial(Shapes, count=300))


def test_names():
    assert dataset_names() == ("digits", "shapes", "mnist", "fashion-mnist", "cifar10", "cifar100", "folder:PATH")
    for name in ("shape", "", "folder"):
        with pytest.raises(ArgumentError, match=r"choose one of digits, shapes, .*cifar100, folder:PATH"):
            find_dataset(name)


def test_cifar_is_augmented_as_in_the_paper():
    """He et al. (2016), section 4.2: padding of 4 and flips."""
    for name in ("cifar10", "cifar100"):
        assert (DATASETS[name].crop_padding, DATASETS[name].flip, DATASETS[name].size) == (4, True, 32)
    assert not DATASETS["mnist"].flip


@pytest.mark.parametrize("recipe", [find_dataset("digits", "not-used"), FEW_SHAPES], ids=["digits", "shapes"])
@pytest.mark.parametrize("factor", [1, 1.5, 2])
def test_sets_are_normalised_and_of_the_size_asked_for(recipe, factor):
    size = int(factor * recipe.size)
    for dataset in (recipe.train_set(size, augment="none"), recipe.test_set(size)):
        images, labels = dataset.batch(np.arange(300), np.random.default_rng(0))
        assert images.shape == (300, recipe.channels, size, size)
        assert images.dtype == np.float32
        assert abs(images.mean()) < 0.1
        assert abs(images.std() - 1) < 0.15
        assert labels.max() < len(dataset.classes)


STEPS = {
    "none": (),
    "standard": (RandomCrop, RandomHorizontalFlip),
    "strong": (RandomCrop, RandomHorizontalFlip, ColorJitter, Cutout),
}


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_augmentations(augment):
    dataset = FEW_SHAPES.train_set(32, augment)
    found = [type(step) for step in dataset.transform.transforms if isinstance(step, STEPS["strong"])]
    assert tuple(found) == STEPS[augment]
    images, _ = dataset.batch(np.arange(8), np.random.default_rng(0))
    assert (images.shape, images.dtype) == ((8, 3, 32, 32), np.float32)


def test_no_colours_are_changed_where_there_are_none_and_no_digit_is_mirrored():
    steps = find_dataset("digits").train_set(8, "strong").transform.transforms
    assert not any(isinstance(step, ColorJitter | RandomHorizontalFlip) for step in steps)


def test_unknown_augmentation():
    with pytest.raises(ArgumentError, match="choose one of none, standard, strong"):
        find_dataset("digits").train_set(8, "much")
