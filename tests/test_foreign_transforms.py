"""Transforms of albumentations and torchvision where gpunet asks for a transform."""

import random

import numpy as np
import pytest

from gpunet.data import DataLoader, ImageDataset
from gpunet.data.transforms import Compose, Normalize, ToFloat, as_transform
from gpunet.errors import ArgumentError, DTypeError, ShapeError

SHAPES = ((5, 3, 6, 8), (5, 1, 6, 8))


@pytest.fixture
def v2(torchvision):
    return pytest.importorskip("torchvision.transforms.v2")


@pytest.fixture
def albumentations(monkeypatch):
    monkeypatch.setenv("NO_ALBUMENTATIONS_UPDATE", "1")  # which looks for newer versions in the network
    return pytest.importorskip("albumentations")


def pictures(rng, shape):
    return rng.integers(0, 256, shape, dtype=np.uint8)


def loaded(images, transform, **settings):
    """All images as the loader gives them."""
    labels = np.arange(len(images)) % 2
    loader = DataLoader(ImageDataset(images, labels, transform), batch_size=2, seed=3, **settings)
    return np.concatenate([batch.numpy() for batch, _ in loader])


@pytest.mark.parametrize("shape", SHAPES)
def test_albumentations(albumentations, rng, shape, backend):
    images = pictures(rng, shape)
    flipped = albumentations.Compose([albumentations.HorizontalFlip(p=1), albumentations.CenterCrop(4, 6)])
    np.testing.assert_array_equal(loaded(images, flipped), images[..., ::-1][..., 1:5, 1:7])
    np.testing.assert_array_equal(loaded(images, albumentations.VerticalFlip(p=1)), images[..., ::-1, :])


@pytest.mark.parametrize("shape", SHAPES)
def test_to_tensors_of_albumentations(albumentations, torch, rng, shape):
    pytest.importorskip("albumentations.pytorch")
    images = pictures(rng, shape)
    steps = [albumentations.Normalize(mean=0.5, std=0.25), albumentations.pytorch.ToTensorV2()]
    got = loaded(images, albumentations.Compose(steps))
    np.testing.assert_allclose(got, (images / 255 - 0.5) / 0.25, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_torchvision(v2, torch, rng, shape, backend):
    images = pictures(rng, shape)
    flip, floats = v2.RandomHorizontalFlip(p=1), v2.ToDtype(torch.float32, scale=True)
    expected = images[..., ::-1] / 255
    for steps in ([flip, floats], [flip, v2.ToImage(), floats], [v2.PILToTensor(), flip, floats]):
        np.testing.assert_allclose(loaded(images, v2.Compose(steps)), expected, atol=1e-6)
    np.testing.assert_allclose(loaded(images, torch.nn.Sequential(flip, floats)), expected, atol=1e-6)
    np.testing.assert_array_equal(loaded(images, v2.Compose([v2.ToPILImage(), flip])), images[..., ::-1])


def test_the_older_interface_of_torchvision(v2, rng):
    from torchvision import transforms

    images = pictures(rng, SHAPES[0])
    steps = [transforms.RandomHorizontalFlip(p=1), transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.25] * 3)]
    expected = (images[..., ::-1] / 255 - 0.5) / 0.25
    np.testing.assert_allclose(loaded(images, transforms.Compose(steps)), expected, atol=1e-6)


def test_a_class_of_one_s_own(v2, rng):
    class Inverted(v2.Transform):
        def transform(self, inpt, params):
            return 255 - inpt

    images = pictures(rng, SHAPES[0])
    np.testing.assert_array_equal(loaded(images, Inverted()), 255 - images)


def test_among_our_own(v2, albumentations, rng):
    images = pictures(rng, SHAPES[0])
    steps = [v2.RandomHorizontalFlip(p=1), ToFloat(), albumentations.VerticalFlip(p=1), Normalize(0.5, 0.25)]
    expected = (images[..., ::-1, ::-1] / 255 - 0.5) / 0.25
    np.testing.assert_allclose(loaded(images, Compose(steps)), expected, atol=1e-5)


@pytest.mark.parametrize("library", ["albumentations", "v2"])
def test_a_run_is_repeated(library, request, torch, rng):
    """The same bits for any number of workers; each image by itself; no generator of the program's is moved."""
    module = request.getfixturevalue(library)
    crop = module.RandomCrop(8, 8) if library == "albumentations" else module.RandomCrop((8, 8))
    images = np.repeat(pictures(rng, (1, 3, 32, 32)), 12, axis=0)
    states = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    first = loaded(images, crop, workers=0)
    for workers in (0, 1, 3):
        np.testing.assert_array_equal(loaded(images, crop, workers=workers), first)
    assert len({each.tobytes() for each in first}) > 9
    assert random.getstate() == states[0]
    np.testing.assert_array_equal(np.random.get_state()[1], states[1])
    assert torch.equal(torch.get_rng_state(), states[2])
    loader = DataLoader(ImageDataset(images, np.zeros(12, int), crop), 12, seed=3)
    (one, _), (other, _) = next(iter(loader)), next(iter(loader))
    assert (one.numpy() != other.numpy()).any()  # another epoch


def test_refusals(v2, rng):
    from torchvision import transforms

    with pytest.raises(ArgumentError, match=r"batch of images .* and a generator"):
        ImageDataset(pictures(rng, SHAPES[0]), np.zeros(5, int), lambda image: image)
    with pytest.raises(ArgumentError, match="generator of random numbers, got 'flip'"):
        Compose(["flip"])
    generator = np.random.default_rng(0)
    with pytest.raises(DTypeError, match="got 2 channels of uint8"):
        as_transform(transforms.ToTensor())(pictures(rng, (1, 2, 4, 4)), generator)
    with pytest.raises(DTypeError, match="channels of float32"):
        as_transform(transforms.ToTensor())(np.zeros((1, 3, 4, 4), np.float32), generator)
    with pytest.raises(ShapeError, match="what RandomResize gives has shapes"):
        as_transform(v2.RandomResize(4, 30))(pictures(rng, (9, 3, 8, 8)), generator)


def test_an_albumentations_without_seeds():
    old = type("Flip", (), {"__module__": "albumentations.transforms", "__call__": lambda self, image: {}})()
    with pytest.raises(ArgumentError, match="Flip: an albumentations as old as this cannot repeat a run"):
        as_transform(old)


def test_no_images(v2):
    nothing = np.zeros((0, 3, 4, 4), np.uint8)
    assert as_transform(v2.RandomHorizontalFlip())(nothing, np.random.default_rng(0)) is nothing
