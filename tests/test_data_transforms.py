"""Resizing, cropping, turning, colours, erasing and mixup: each against a loop over single images and pixels."""

import itertools
import math

import numpy as np
import pytest

from gpunet.data import DataLoader, Mixup, TensorDataset, dataset_statistics
from gpunet.data.transforms import CenterCrop, ColorJitter, Cutout, RandomErasing, RandomRotation, Resize
from gpunet.errors import ArgumentError, DataError, DTypeError, LabelError, ShapeError

RNG = np.random.default_rng


def images(count=6, channels=3, height=7, width=5, dtype=np.float32):
    values = RNG(0).random((count, channels, height, width))
    return values.astype(dtype) if np.dtype(dtype).kind == "f" else (values * 256).astype(dtype)


def resized_row(row, new):
    """A row of pixels at another length, by the formula: triangles as wide as two old or two new pixels."""
    old, result = len(row), []
    for i in range(new):
        centre, reach = (i + 0.5) * old / new - 0.5, max(old / new, 1.0)
        weights = [max(0.0, 1 - abs(j - centre) / reach) for j in range(old)]
        result.append(sum(w * x for w, x in zip(weights, row, strict=True)) / sum(weights))
    return result


@pytest.mark.parametrize("size", [3, 7, (14, 10), (9, 4), 1])
def test_resize_against_a_loop(size):
    batch = images(2)
    result = Resize(size)(batch, RNG(0))
    height, width = size if isinstance(size, tuple) else (size, size)
    assert (result.shape, result.dtype) == ((2, 3, height, width), np.float32)
    for n, c in itertools.product(range(2), range(3)):
        rows = np.array([resized_row(row, width) for row in batch[n, c].astype(np.float64)])
        expected = np.array([resized_row(column, height) for column in rows.T]).T
        np.testing.assert_allclose(result[n, c], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [(3, 2), (14, 20), (9, 4)])
def test_resize_like_pytorch(size, torch):
    batch = images()
    expected = torch.nn.functional.interpolate(torch.from_numpy(batch), size, mode="bilinear", antialias=True)
    np.testing.assert_allclose(Resize(size)(batch, RNG(0)), expected.numpy(), rtol=1e-5, atol=1e-6)


def test_resize_keeps_bytes_and_leaves_the_same_size_alone():
    batch = images(dtype=np.uint8)
    assert Resize((7, 5))(batch, RNG(0)) is batch
    exact = Resize(3)(batch.astype(np.float64), RNG(0))
    result = Resize(3)(batch, RNG(0))
    assert result.dtype == np.uint8
    assert abs(result - exact).max() <= 0.5 + 1e-4
    np.testing.assert_array_equal(Resize(50)(np.full((1, 1, 3, 3), 255, np.uint8), RNG(0)), 255)


@pytest.mark.parametrize(("size", "top", "left"), [(3, 2, 1), ((7, 5), 0, 0), ((4, 2), 1, 1)])
def test_center_crop(size, top, left):
    height, width = size if isinstance(size, tuple) else (size, size)
    result = CenterCrop(size)(images(), RNG(0))
    np.testing.assert_array_equal(result, images()[:, :, top : top + height, left : left + width])


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_random_rotation_against_a_loop(dtype):
    batch = images(4, 2, dtype=dtype)
    result = RandomRotation(120)(batch, RNG(1))
    angles = np.radians(RNG(1).uniform(-120, 120, 4))
    assert result.dtype == dtype
    for n, c, i, j in itertools.product(range(4), range(2), range(7), range(5)):
        y, x = i - 3, j - 2
        from_y = math.cos(angles[n]) * y + math.sin(angles[n]) * x + 3
        from_x = math.cos(angles[n]) * x - math.sin(angles[n]) * y + 2
        expected = 0.0
        for p, q in itertools.product(
            (math.floor(from_y), math.floor(from_y) + 1), (math.floor(from_x), math.floor(from_x) + 1)
        ):
            if 0 <= p < 7 and 0 <= q < 5:
                expected += float(batch[n, c, p, q]) * (1 - abs(from_y - p)) * (1 - abs(from_x - q))
        np.testing.assert_allclose(result[n, c, i, j], expected, atol=1e-5 if dtype == np.float32 else 0.501)


def test_random_rotation_by_nothing_and_of_a_quarter_turn():
    batch = images(3, height=5)
    np.testing.assert_array_equal(RandomRotation(0)(batch, RNG(0)), batch)

    class QuarterTurns:
        def uniform(self, low, high, count):
            return np.full(count, high)

    turned = RandomRotation(90)(batch, QuarterTurns())
    np.testing.assert_allclose(turned, np.rot90(batch, k=1, axes=(2, 3)), atol=1e-5)


def test_color_jitter_against_a_loop():
    batch = images(5)
    result = ColorJitter(0.4, 0.5, 2.0)(batch, RNG(3))
    rng = RNG(3)
    brightness, contrast, saturation = rng.uniform(0.6, 1.4, 5), rng.uniform(0.5, 1.5, 5), rng.uniform(0, 3, 5)

    def cut(x):
        return min(max(x, 0.0), 1.0)

    def grey(pixel):
        return 0.299 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2]

    assert result.dtype == np.float32
    for n in range(5):
        pixels = [[cut(x * brightness[n]) for x in batch[n, :, i, j]] for i in range(7) for j in range(5)]
        mean = sum(grey(pixel) for pixel in pixels) / 35
        pixels = [[cut(mean + contrast[n] * (x - mean)) for x in pixel] for pixel in pixels]
        pixels = [[cut(grey(pixel) + saturation[n] * (x - grey(pixel))) for x in pixel] for pixel in pixels]
        np.testing.assert_allclose(result[n].reshape(3, 35).T, pixels, rtol=1e-4, atol=1e-5)


def test_color_jitter_of_strength_zero_and_of_grey_images():
    np.testing.assert_array_equal(ColorJitter()(images(), RNG(0)), images())
    grey = images(channels=1)
    assert ColorJitter(brightness=0.5, contrast=0.5)(grey, RNG(0)).shape == grey.shape


@pytest.mark.parametrize("size", [1, 2, 3, 4, 20])
def test_cutout_against_a_loop(size):
    batch = images(30) + 1
    result = Cutout(size)(batch, RNG(5))
    rng = RNG(5)
    top, left = rng.integers(7, size=30) - size // 2, rng.integers(5, size=30) - size // 2
    for n, i, j in itertools.product(range(30), range(7), range(5)):
        inside = top[n] <= i < top[n] + size and left[n] <= j < left[n] + size
        np.testing.assert_array_equal(result[n, :, i, j], 0 if inside else batch[n, :, i, j])


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_random_erasing(dtype):
    batch = np.full((400, 2, 20, 30), 7, dtype)
    result = RandomErasing(p=0.5, scale=(0.1, 0.3), ratio=(0.5, 2.0), value=3)(batch, RNG(6))
    assert (batch == 7).all()
    assert result.dtype == dtype
    changed = 0
    for image in result:
        assert (image[0] == image[1]).all()
        rows, columns = np.nonzero(image[0] == 3)
        if len(rows):
            changed += 1
            height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
            assert len(rows) == height * width  # a rectangle, filled
            assert 0.08 < height * width / 600 < 0.33
            assert 0.4 < height / width < 2.4
    assert abs(changed - 200) < 5 * math.sqrt(100)
    assert set(np.unique(result)) == {3, 7}


def test_random_erasing_reaches_everywhere_and_fits_thin_images():
    batch = np.ones((3000, 1, 6, 4), np.float32)
    erased = (RandomErasing(p=1.0)(batch, RNG(0)) == 0).mean(axis=(0, 1))
    assert erased.min() > 0.02
    assert (RandomErasing(p=1.0, scale=(1, 1), ratio=(3, 3))(batch[..., :1], RNG(0)) == 0).any(axis=(1, 2, 3)).all()
    np.testing.assert_array_equal(RandomErasing(p=0.0)(batch, RNG(0)), batch)


# ---------------------------------------------------------------------------------------------------------- mixup


def test_mixup_against_a_loop():
    batch, labels = images(8), np.array([0, 1, 2, 3, 3, 2, 1, 0])
    mixed, targets = Mixup(4, alpha=0.4)((batch, labels), RNG(7))
    rng = RNG(7)
    share, other = rng.beta(0.4, 0.4), rng.permutation(8)
    assert (mixed.dtype, targets.dtype, targets.shape) == (np.float32, np.float32, (8, 4))
    for n in range(8):
        np.testing.assert_allclose(mixed[n], share * batch[n] + (1 - share) * batch[other[n]], rtol=1e-5, atol=1e-6)
        expected = [share * (labels[n] == c) + (1 - share) * (labels[other[n]] == c) for c in range(4)]
        np.testing.assert_allclose(targets[n], expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(targets.sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_mixup_in_the_loader_gives_the_same_bits_for_every_worker_count(workers):
    from gpunet.functional import cross_entropy
    from gpunet.tensor import tensor

    dataset = TensorDataset(images(20), np.arange(20) % 3)

    def run(count):
        options = {"batch_size": 6, "shuffle": True, "seed": 1, "batch_transform": Mixup(3)}
        return [(x.numpy(), y.numpy()) for x, y in DataLoader(dataset, workers=count, **options)]

    for (x, y), (again_x, again_y) in zip(run(0), run(workers), strict=True):
        np.testing.assert_array_equal(x, again_x)
        np.testing.assert_array_equal(y, again_y)
        assert math.isfinite(cross_entropy(tensor(np.zeros_like(y)), tensor(y)).item())


# ---------------------------------------------------------------------------------------------------------- statistics


@pytest.mark.parametrize("batch_size", [1, 7, 100])
def test_statistics_against_numpy(batch_size):
    batch = images(23) + np.float32(1000)  # far from zero, where sums of squares lose their digits
    mean, std = dataset_statistics(TensorDataset(batch, np.zeros(23, int)), batch_size)
    np.testing.assert_allclose(mean, batch.astype(np.float64).mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std, batch.astype(np.float64).std(axis=(0, 2, 3)), rtol=1e-9)
    assert all(type(value) is float for value in (*mean, *std))


# ---------------------------------------------------------------------------------------------------------- errors

BATCH = np.zeros((2, 3, 4, 4), np.float32)
LABELS = np.zeros(2, int)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: Resize(0), ArgumentError, "Resize: size"),
        (lambda: Resize((1, 2, 3)), ArgumentError, "Resize: size"),
        (lambda: Resize(2)(BATCH[0], RNG(0)), ShapeError, "batch of one"),
        (lambda: CenterCrop(-1), ArgumentError, "CenterCrop: size"),
        (lambda: CenterCrop(5)(BATCH, RNG(0)), ShapeError, r"\(5, 5\) out of"),
        (lambda: RandomRotation(181), ArgumentError, r"\[0, 180\]"),
        (lambda: RandomRotation(float("nan")), ArgumentError, r"\[0, 180\]"),
        (lambda: ColorJitter(contrast=-0.1), ArgumentError, "contrast"),
        (lambda: ColorJitter(saturation=float("inf")), ArgumentError, "saturation"),
        (lambda: ColorJitter(0.1)(BATCH.astype(np.uint8), RNG(0)), DTypeError, "put ToFloat before"),
        (lambda: ColorJitter(saturation=1)(BATCH[:, :1], RNG(0)), ShapeError, "3 channels"),
        (lambda: ColorJitter(1)(BATCH[:, :2], RNG(0)), ShapeError, "3 channels"),
        (lambda: Cutout(0), ArgumentError, "Cutout: size"),
        (lambda: RandomErasing(p=2), ArgumentError, "probability"),
        (lambda: RandomErasing(scale=(0.5, 0.1)), ArgumentError, "shares"),
        (lambda: RandomErasing(scale=(0.5, 1.1)), ArgumentError, "shares"),
        (lambda: RandomErasing(ratio=(0, 1)), ArgumentError, "ratios"),
        (lambda: Mixup(0), ArgumentError, "classes"),
        (lambda: Mixup(2, alpha=0), ArgumentError, "alpha"),
        (lambda: Mixup(2)((BATCH,), RNG(0)), ShapeError, "images and labels"),
        (lambda: Mixup(2)((BATCH, LABELS[:1]), RNG(0)), ShapeError, "images and labels"),
        (lambda: Mixup(2)((BATCH.astype(np.uint8), LABELS), RNG(0)), DTypeError, "floats"),
        (lambda: Mixup(2)((BATCH, LABELS * 1.0), RNG(0)), DTypeError, "whole numbers"),
        (lambda: Mixup(2)((BATCH, LABELS + 2), RNG(0)), LabelError, "0 to 1, got 2 to 2"),
        (lambda: dataset_statistics(TensorDataset(BATCH[:0])), DataError, "empty"),
        (lambda: dataset_statistics(TensorDataset(LABELS)), ShapeError, "begin with images"),
        (lambda: dataset_statistics(TensorDataset(BATCH), 0), ArgumentError, "batch_size"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call()
