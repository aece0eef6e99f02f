"""Datasets, transforms, the loader and the digits that come with gpunet."""

import gc
import hashlib
import importlib.resources
import itertools
import threading

import numpy as np
import pytest
from safetensors import safe_open

import gpunet.data.digits
from gpunet.backend import manual_seed, use_backend
from gpunet.data import (
    DataLoader,
    Dataset,
    Digits,
    ImageDataset,
    IterableDataset,
    Subset,
    TensorDataset,
    dataset_statistics,
    random_split,
)
from gpunet.data.transforms import Compose, Normalize, RandomCrop, RandomHorizontalFlip, ToFloat
from gpunet.errors import ArgumentError, DataError, DTypeError, FileError, GpunetError, LabelError, ShapeError
from gpunet.tensor import Tensor, tensor

RNG = np.random.default_rng


@pytest.fixture(autouse=True)
def _on_numpy():
    with use_backend("numpy"):
        yield


def numbers(count):
    """A dataset whose item i is (i, i)."""
    return TensorDataset(np.arange(count, dtype=np.float32), np.arange(count))


def random_images(count, channels=3, height=6, width=5):
    return RNG(0).integers(0, 256, (count, channels, height, width), dtype=np.uint8)


def loader_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("gpunet-data")]


# ---------------------------------------------------------------------------------------------------------- digits


def sha256(array):
    return hashlib.sha256(array.tobytes()).hexdigest()


def test_digits_are_the_recorded_images_and_the_recorded_split():
    train, test = Digits(train=True), Digits(train=False)  # hashes: printed when tools/make_digits.py ran
    with safe_open(importlib.resources.files("gpunet.data") / "digits.safetensors", framework="numpy") as file:
        held_out = file.get_tensor("test") == 1
    images, labels = np.empty((1797, 1, 8, 8), np.uint8), np.empty(1797, np.uint8)
    images[~held_out], images[held_out] = train.images, test.images
    labels[~held_out], labels[held_out] = train.labels, test.labels
    assert sha256(images) == "8f26b2bd9d135c256808f68f14fdabddde6d9c7f869ae419704b051f0f14b3b3"
    assert sha256(labels) == "8ba4f891220f5e4c9c819638d1602d74b83618f167043c6da52a2a247841ddf0"
    assert sha256(held_out.astype(np.uint8)) == "c149dba043153f392131f76435a6b6e4760f55e5bc47e8e3eca718e5c38d77fc"


def test_digits_counts_are_those_of_the_source():
    train, test = Digits(train=True), Digits(train=False)
    per_class = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]  # of optdigits.names in the UCI repository
    assert (len(train), len(test)) == (1437, 360)
    assert np.bincount(test.labels).tolist() == [36] * 10
    assert (np.bincount(train.labels) + np.bincount(test.labels)).tolist() == per_class
    assert train.classes == test.classes == tuple("0123456789")


def test_digits_no_image_is_in_both_sets():
    train, test = ({image.tobytes() for image in Digits(train=train).images} for train in (True, False))
    assert not train & test
    assert len(train) + len(test) == 1797  # no image comes twice


def test_digits_pixels_and_items():
    images = np.concatenate([Digits(train=True).images, Digits(train=False).images])
    assert images.dtype == np.uint8
    assert (images.min(), images.max()) == (0, 16)
    image, label = Digits()[0]
    assert (image.shape, image.dtype, type(label)) == ((1, 8, 8), np.uint8, int)


def test_digits_are_real_digits():
    """An image is most like the average image of its own class: nearest centroids get about 90 % right."""
    train, test = Digits(train=True), Digits(train=False)
    centroids = np.stack([train.images[train.labels == digit].mean(axis=0) for digit in range(10)])
    distance = ((test.images[:, None] - centroids) ** 2).sum(axis=(2, 3, 4))
    assert (distance.argmin(axis=1) == test.labels).mean() > 0.85


def test_digits_file_names_source_and_licence():
    with safe_open(importlib.resources.files("gpunet.data") / "digits.safetensors", framework="numpy") as file:
        metadata = file.metadata()
    assert "CC BY 4.0" in metadata["license"]
    assert all(word in metadata["source"] for word in ("Alpaydin", "Kaynak", "1998", "10.24432/C50P49"))
    assert "tools/make_digits.py" in metadata["made"]


@pytest.mark.parametrize("content", [None, b"not safetensors"])
def test_digits_file_missing_or_damaged(tmp_path, monkeypatch, content):
    if content is not None:
        (tmp_path / "digits.safetensors").write_bytes(content)
    monkeypatch.setattr(gpunet.data.digits.importlib.resources, "files", lambda package: tmp_path)
    with pytest.raises(FileError, match="install gpunet again"):
        Digits()


# ---------------------------------------------------------------------------------------------------------- transforms


def test_to_float():
    images = random_images(2)
    result = ToFloat()(images, RNG(0))
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, (images.astype(np.float64) / 255).astype(np.float32))
    np.testing.assert_array_equal(ToFloat(scale=16)(np.full((1, 1, 1, 1), 16), RNG(0)), 1)


@pytest.mark.parametrize(("mean", "std"), [([0.1, 0.2, 0.3], [1.0, 2.0, 4.0]), (0.5, 0.25), ([0.5], [2.0])])
def test_normalize(mean, std):
    images = RNG(0).random((2, 3, 4, 5), dtype=np.float32)
    result = Normalize(mean, std)(images, RNG(0))
    assert result.dtype == np.float32
    for channel in range(3):
        m, s = (values[channel % len(values)] if isinstance(values, list) else values for values in (mean, std))
        np.testing.assert_allclose(result[:, channel], (images[:, channel] - m) / s, rtol=1e-6, atol=1e-7)
    assert Normalize(mean, std)(images.astype(np.float64), RNG(0)).dtype == np.float64


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize(("size", "padding"), [(4, 0), (6, 2), ((3, 7), 1), ((6, 5), 0), ((10, 9), 2)])
def test_random_crop_against_a_loop(size, padding, dtype):
    images = random_images(20).astype(dtype)
    result = RandomCrop(size, padding)(images, RNG(1))
    h, w = (size, size) if isinstance(size, int) else size
    rng = RNG(1)
    top = rng.integers(0, 6 + 2 * padding - h + 1, size=20)
    left = rng.integers(0, 5 + 2 * padding - w + 1, size=20)
    assert (result.shape, result.dtype) == ((20, 3, h, w), dtype)
    for n, i, j in itertools.product(range(20), range(h), range(w)):
        y, x = top[n] + i - padding, left[n] + j - padding
        inside = 0 <= y < 6 and 0 <= x < 5
        np.testing.assert_array_equal(result[n, :, i, j], images[n, :, y, x] if inside else 0)


def test_random_crop_reaches_every_place_evenly():
    images = np.arange(9, dtype=np.uint8).reshape(1, 1, 3, 3).repeat(9000, axis=0)
    counts = np.bincount(RandomCrop(1)(images, RNG(0)).ravel(), minlength=9)
    assert (abs(counts - 1000) < 5 * np.sqrt(1000)).all()


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
def test_random_horizontal_flip_against_a_loop(p):
    images = random_images(50)
    before = images.copy()
    result = RandomHorizontalFlip(p)(images, RNG(2))
    draws = RNG(2).random(50)
    for n in range(50):
        np.testing.assert_array_equal(result[n], np.flip(images[n], axis=2) if draws[n] < p else images[n])
    np.testing.assert_array_equal(images, before)


def test_compose_runs_in_order_with_one_generator():
    images = random_images(8)
    steps = [RandomCrop(4, 1), RandomHorizontalFlip(), ToFloat(), Normalize(0.5, 0.5)]
    result = Compose(steps)(images, RNG(3))
    rng, expected = RNG(3), images
    for step in steps:
        expected = step(expected, rng)
    np.testing.assert_array_equal(result, expected)


FLOATS = np.zeros((2, 3, 4, 4), dtype=np.float32)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: ToFloat(0), ArgumentError, "positive scale"),
        (lambda: ToFloat()(FLOATS, RNG(0)), DTypeError, "whole numbers such as uint8, got images of float32"),
        (lambda: Normalize(0.5, 0.0), ArgumentError, "positive standard deviations"),
        (lambda: Normalize(float("nan"), 1.0), ArgumentError, "finite means"),
        (lambda: Normalize([1.0, 2.0], [1.0]), ArgumentError, "as many means"),
        (lambda: Normalize([], []), ArgumentError, "as many means"),
        (lambda: Normalize(0.5, 0.5)(FLOATS.astype(np.uint8), RNG(0)), DTypeError, "put ToFloat before"),
        (lambda: Normalize([0.0] * 2, [1.0] * 2)(FLOATS, RNG(0)), ShapeError, "has 2 means"),
        (lambda: RandomCrop(0), ArgumentError, "size"),
        (lambda: RandomCrop((3, 4, 5)), ArgumentError, "size"),
        (lambda: RandomCrop(2, -1), ArgumentError, "padding"),
        (lambda: RandomCrop(7, 1)(FLOATS, RNG(0)), ShapeError, r"cannot cut \(7, 7\) out of .*\(2, 3, 4, 4\)"),
        (lambda: RandomHorizontalFlip(1.5), ArgumentError, "probability"),
        (lambda: RandomHorizontalFlip(float("nan")), ArgumentError, "probability"),
        (lambda: RandomHorizontalFlip()(FLOATS[0], RNG(0)), ShapeError, r"batch of one: images\[None\]"),
        (lambda: ToFloat()([[1]], RNG(0)), DTypeError, "NumPy array of images, got list"),
    ],
)
def test_transform_errors(call, error, words):
    with pytest.raises(error, match=words):
        call()


# ---------------------------------------------------------------------------------------------------------- datasets


def test_tensor_dataset_items_and_types():
    dataset = TensorDataset(np.eye(3), tensor([4, 5, 6]), np.array([0.5, 1.5, 2.5], dtype=np.float32))
    row, label, target = dataset[-1]
    np.testing.assert_array_equal(row, [0, 0, 1])
    assert (label, target, type(label)) == (6, 2.5, int)
    assert [part.dtype for part in dataset.batch(np.array([0, 2]), RNG(0))] == [np.float64, np.int64, np.float32]
    assert len(list(dataset)) == len(dataset) == 3


@pytest.mark.parametrize("dtype", [">f4", ">i8", ">i2"])
def test_numbers_in_another_order_of_bytes(dtype):
    class Items(Dataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            return (np.array([index, 300], dtype),)

    class Batches(Items):
        def batch(self, indices, rng):
            return (np.stack([indices, indices * 0 + 300], axis=1).astype(dtype),)

    for dataset in (TensorDataset(np.array([[0, 300], [1, 300], [2, 300]], dtype)), Items(), Batches()):
        ((batch,),) = DataLoader(dataset, batch_size=3)
        assert batch.dtype.isnative
        assert batch.tolist() == [[0, 300], [1, 300], [2, 300]]
    labels = ImageDataset(np.zeros((2, 1, 1, 1), dtype), np.array([0, 1], ">i4")).labels
    assert labels.tolist() == [0, 1]


def test_datasets_of_arrays_of_pytorch():
    torch = pytest.importorskip("torch")
    images, labels = torch.arange(8.0).reshape(2, 1, 2, 2).bfloat16(), torch.tensor([1, 0])

    class Items(Dataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return images[index], labels[index]

    for dataset in (TensorDataset(images, labels), ImageDataset(images, labels), Items()):
        ((x, y),) = DataLoader(dataset, batch_size=2)
        assert (x.tolist(), y.tolist()) == (images.float().tolist(), [1, 0])
        assert (x.dtype, y.dtype) == (np.float32, np.int64)


def test_an_item_that_is_a_picture_is_refused():
    """Its channels come last: as an array it would be taken for one of (C, H, W) that it is not."""
    image = pytest.importorskip("PIL.Image").new("RGB", (3, 3))

    class Pictures(Dataset):
        def __len__(self):
            return 1

        def __getitem__(self, index):
            return image, 0

    with pytest.raises(DTypeError, match=r"picture of Pillow.*transpose"):
        list(DataLoader(Pictures(), batch_size=1))


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda data: DataLoader(data, shuffle="no"), ArgumentError),
        (lambda data: DataLoader(data, drop_last=1), ArgumentError),
        (lambda data: random_split(data, 1), ArgumentError),
        (lambda data: random_split(data, [1.0, "a"]), ArgumentError),
        (lambda data: dataset_statistics(np.ones((2, 1, 1, 1))), DTypeError),
        (lambda data: Normalize("a", "b"), ArgumentError),
        (lambda data: TensorDataset(np.ones(2, np.longdouble)), DTypeError),
    ],
)
def test_what_would_be_taken_for_something_else(call, error):
    with pytest.raises(error):
        call(TensorDataset(np.zeros((2, 3))))


def test_image_dataset_item_is_a_batch_of_one():
    dataset = ImageDataset(random_images(10), np.arange(10) % 3, Compose([RandomCrop(4), ToFloat()]))
    manual_seed(5)
    image, label = dataset[7]
    manual_seed(5)
    again, _ = dataset[7]
    np.testing.assert_array_equal(image, again)
    assert (image.shape, image.dtype, label, type(label)) == ((3, 4, 4), np.float32, 1, int)
    assert dataset.classes == ("0", "1", "2")


class Squares(Dataset):
    """A dataset as a user writes it: two methods."""

    def __len__(self):
        return 5

    def __getitem__(self, index):
        return np.full((2, 2), index, dtype=np.uint8), index**2, index / 2


def test_dataset_stacks_its_items():
    images, labels, targets = Squares().batch(np.array([3, 1]), RNG(0))
    np.testing.assert_array_equal(images, [[[3, 3], [3, 3]], [[1, 1], [1, 1]]])
    np.testing.assert_array_equal(labels, [9, 1])
    np.testing.assert_array_equal(targets, [1.5, 0.5])
    assert (images.dtype, labels.dtype, targets.dtype) == (np.uint8, np.int64, np.float32)


def test_subset_picks_items_and_passes_batches_on():
    subset = Subset(Subset(numbers(10), [9, 7, 5, 3]), np.array([3, 0, 0]))
    assert [label for _, label in subset] == [3, 9, 9]
    np.testing.assert_array_equal(subset.batch(np.array([1, 0]), RNG(0))[1], [9, 3])
    assert len(Subset(numbers(10), [])) == 0


@pytest.mark.parametrize(
    ("lengths", "sizes"),
    [([7, 3], [7, 3]), ([0.8, 0.2], [8, 2]), ([1 / 3, 1 / 3, 1 / 3], [4, 3, 3]), ([10, 0], [10, 0]), ([1.0], [10])],
)
def test_random_split(lengths, sizes):
    parts = random_split(numbers(10), lengths, seed=1)
    assert [len(part) for part in parts] == sizes
    assert sorted(label for part in parts for _, label in part) == list(range(10))
    again = random_split(numbers(10), lengths, seed=1)
    assert [part.indices.tolist() for part in parts] == [part.indices.tolist() for part in again]


def test_random_split_follows_manual_seed():
    def split():
        return random_split(numbers(100), [0.5, 0.5])[0].indices.tolist()

    manual_seed(0)
    first, second = split(), split()
    manual_seed(0)
    assert split() == first != second


@pytest.mark.parametrize(("count", "fractions"), [(10, [0.25, 0.25, 0.5]), (101, [0.29, 0.7, 0.01]), (7, [0.5, 0.5])])
def test_random_split_sizes_like_pytorch(count, fractions):
    torch_data = pytest.importorskip("torch.utils.data")
    expected = [len(part) for part in torch_data.random_split(range(count), fractions)]
    assert [len(part) for part in random_split(numbers(count), fractions)] == expected


class Broken(Dataset):
    """Gives whatever it was told to as its items."""

    def __init__(self, *items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


IMAGES = np.zeros((4, 1, 2, 2), dtype=np.uint8)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: TensorDataset(), ArgumentError, "at least one"),
        (lambda: TensorDataset(np.zeros(3), np.zeros(4)), DataError, r"equal length, got shapes \(3,\), \(4,\)"),
        (lambda: TensorDataset([1, 2]), DTypeError, "array 0 is expected to be an array or a Tensor, got list"),
        (lambda: TensorDataset(np.array("text")), DTypeError, "numbers"),
        (lambda: TensorDataset(np.array(1.0)), ShapeError, "single number"),
        (lambda: numbers(3)[3], DataError, "item 3 .* has 3 items"),
        (lambda: numbers(3)[-4], DataError, "item -4"),
        (lambda: numbers(3)[0:2], DTypeError, "use Subset"),
        (lambda: numbers(3).batch(np.array([-1]), RNG(0)), DataError, "-1"),
        (lambda: ImageDataset(IMAGES[0], np.zeros(1, int)), ShapeError, r"images \(N, C, H, W\)"),
        (lambda: ImageDataset(IMAGES, np.zeros((4, 1), int)), ShapeError, r"labels \(N,\)"),
        (lambda: ImageDataset(IMAGES, np.zeros(4)), DTypeError, "labels that are whole numbers, got float64"),
        (lambda: ImageDataset(IMAGES, np.zeros(3, int)), DataError, "got 4 and 3"),
        (lambda: ImageDataset(IMAGES, np.array([0, 1, 2, 3]), classes=["a", "b"]), LabelError, "0 to 1, got 0 to 3"),
        (lambda: ImageDataset(IMAGES, np.array([0, 1, -1, 0])), LabelError, "got -1"),
        (lambda: Subset(numbers(3), [0, 3]), DataError, "items 0 to 3"),
        (lambda: Subset(numbers(3), [0.5]), DTypeError, "float64"),
        (lambda: Subset(numbers(3), np.array([True, False, True])), DTypeError, "np.flatnonzero"),
        (lambda: Subset(numbers(3), [[0]]), ShapeError, r"\(1, 1\)"),
        (lambda: random_split(numbers(10), [5, 4]), DataError, "add up to 9 and not to 10"),
        (lambda: random_split(numbers(10), [0.5, 0.4]), ArgumentError, "add up to 0.9, not to 1"),
        (lambda: random_split(numbers(10), [11, -1]), ArgumentError, "0 or more"),
        (lambda: random_split(numbers(10), [float("nan")]), ArgumentError, "0 or more"),
        (lambda: random_split(numbers(10), []), ArgumentError, "0 or more"),
        (lambda: random_split(numbers(10), [10], seed=-1), ArgumentError, "seed"),
        (lambda: Broken(1).batch(np.array([0]), RNG(0)), DataError, "a tuple such as .*, got int"),
        (lambda: Broken((1, 2), (1,)).batch(np.array([0, 1]), RNG(0)), DataError, "got one of 1 parts"),
        (
            lambda: Broken((np.zeros(2), 0), (np.zeros(3), 1)).batch(np.array([0, 1]), RNG(0)),
            ShapeError,
            r"part 0 of them has shapes \(2,\), \(3,\)",
        ),
        (lambda: Broken(("text",)).batch(np.array([0]), RNG(0)), DTypeError, "part 0 .* numbers"),
    ],
)
def test_dataset_errors(call, error, words):
    with pytest.raises(error, match=words):
        call()


# ---------------------------------------------------------------------------------------------------------- loader


def labels_of(loader):
    return [labels.tolist() for _, labels in loader]


def flat(batches):
    return list(itertools.chain.from_iterable(batches))


@pytest.mark.parametrize("prefetch", [0, 1, 2, 50])
@pytest.mark.parametrize(
    ("drop_last", "sizes"), [(False, [4, 4, 2]), (True, [4, 4])], ids=["keep the last batch", "drop_last"]
)
def test_loader_gives_every_item_once_and_in_order(prefetch, drop_last, sizes):
    loader = DataLoader(numbers(10), batch_size=4, drop_last=drop_last, prefetch=prefetch)
    batches = labels_of(loader)
    assert [len(batch) for batch in batches] == sizes
    assert len(loader) == len(sizes)
    assert flat(batches) == list(range(sum(sizes)))


def test_loader_shuffles_every_epoch_anew():
    loader = DataLoader(numbers(100), batch_size=7, shuffle=True, seed=3)
    first, second = flat(labels_of(loader)), flat(labels_of(loader))
    assert sorted(first) == sorted(second) == list(range(100))
    assert first != second
    assert first != list(range(100))


def augmented_loader(**options):
    transform = Compose([RandomCrop(6, 2), RandomHorizontalFlip(), ToFloat(), Normalize(0.5, 0.25)])
    dataset = ImageDataset(random_images(50), np.arange(50) % 7, transform)
    return DataLoader(dataset, batch_size=8, **{"shuffle": True, "seed": 4, **options})


def bytes_of(loader):
    return [(images.numpy().tobytes(), labels.numpy().tobytes()) for images, labels in loader]


def test_loader_batches_depend_on_seed_and_epoch_alone():
    loader = augmented_loader(prefetch=0)
    epochs = [bytes_of(loader) for _ in range(3)]
    assert len({batch for epoch in epochs for batch in epoch}) == 3 * len(loader)

    in_background = augmented_loader(prefetch=2)
    assert [bytes_of(in_background) for _ in range(3)] == epochs

    resumed = augmented_loader()
    resumed.set_epoch(2)
    assert bytes_of(resumed) == epochs[2]
    assert resumed.epoch == 3

    assert bytes_of(augmented_loader(seed=5)) != epochs[0]


@pytest.mark.parametrize("workers", [0, 1, 2, 4, 9])
@pytest.mark.parametrize("prefetch", [0, 1, 5])
def test_loader_batches_are_the_same_for_every_worker_count(workers, prefetch):
    alone, together = augmented_loader(prefetch=0), augmented_loader(workers=workers, prefetch=prefetch)
    assert [bytes_of(together) for _ in range(2)] == [bytes_of(alone) for _ in range(2)]
    assert not loader_threads()


def test_loader_workers_work_at_the_same_time():
    class Meeting(Failing):
        def batch(self, indices, rng):
            barrier.wait(20)  # passes only if three threads are in here at once
            return (indices,)

    barrier = threading.Barrier(3)
    loader = DataLoader(Subset(Meeting(), np.arange(90)), batch_size=10, workers=3)
    assert flat(batch.tolist() for (batch,) in loader) == list(range(90))


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("start", [0, 1, 4, 6, 7])
def test_loader_starts_in_mid_epoch(start, workers):
    whole = augmented_loader()  # of 7 batches
    epochs = [bytes_of(whole) for _ in range(3)]
    resumed = augmented_loader(workers=workers)
    resumed.set_epoch(1, start)
    assert bytes_of(resumed) == epochs[1][start:]
    assert (resumed.epoch, resumed.start) == (2, 0)
    assert bytes_of(resumed) == epochs[2]


def test_loader_does_not_make_the_batches_before_the_start():
    dataset = Failing()
    loader = DataLoader(dataset, batch_size=10)
    loader.set_epoch(0, start=8)  # item 6 would fail
    assert [batch.tolist()[0] for (batch,) in loader] == [80, 90]
    assert dataset.made == 2


def test_loader_batch_transform_gets_the_parts_and_the_generator_of_the_batch():
    def reverse(parts, rng):
        drawn.append(rng.integers(2**62))
        return tuple(part[::-1].copy() for part in parts)

    drawn = []
    loader = DataLoader(numbers(6), batch_size=3, batch_transform=reverse, seed=0, workers=0)
    assert labels_of(loader) == [[2, 1, 0], [5, 4, 3]]
    assert labels_of(loader) == [[2, 1, 0], [5, 4, 3]]
    assert len(set(drawn)) == 4


def test_loader_seed_comes_from_manual_seed():
    manual_seed(1)
    first = bytes_of(augmented_loader(seed=None))
    second = bytes_of(augmented_loader(seed=None))
    manual_seed(1)
    assert bytes_of(augmented_loader(seed=None)) == first != second


def test_loader_random_streams_are_all_different():
    """The order, the batches and the next epoch draw from streams of their own, whatever zeros the key ends in."""
    streams = [
        gpunet.data.loader._generator(0, epoch, purpose).integers(2**62) for epoch in (0, 1) for purpose in range(3)
    ]
    streams += [generator.integers(2**62) for generator in map(RNG, np.random.SeedSequence(0).spawn(3))]
    assert len(set(streams)) == len(streams)


def test_loader_batches_are_channels_last_tensors():
    for images, labels in augmented_loader():
        assert isinstance(images, Tensor)
        assert (images.shape[1:], images.dtype, labels.dtype) == ((3, 6, 6), np.float32, np.int64)
        assert images.array.transpose(0, 2, 3, 1).flags.c_contiguous


def test_loader_layout_changes_no_value():
    images = random_images(6)
    (result, labels), *_ = DataLoader(TensorDataset(images, np.arange(6, dtype=np.uint8)), batch_size=6)
    np.testing.assert_array_equal(result.numpy(), images)
    assert (result.dtype, labels.dtype) == (np.uint8, np.int64)


def test_loader_keeps_regression_targets():
    dataset = TensorDataset(np.zeros((4, 2), np.float32), np.ones(4, np.float32), np.zeros((4, 2), np.int32))
    (batch,) = DataLoader(dataset, batch_size=4)
    assert [part.dtype for part in batch] == [np.float32, np.float32, np.int32]


def test_loader_takes_a_dataset_of_single_items():
    images, labels, targets = next(iter(DataLoader(Squares(), batch_size=5)))
    assert (images.shape, labels.tolist(), targets.dtype) == ((5, 2, 2), [0, 1, 4, 9, 16], np.float32)


def test_loader_iterators_are_independent():
    loader = DataLoader(numbers(30), batch_size=10, shuffle=True, seed=0)
    both = list(zip(loader, loader, strict=True))
    loader.set_epoch(0)
    assert [labels.tolist() for (_, labels), _ in both] == labels_of(loader)
    assert [labels.tolist() for _, (_, labels) in both] == labels_of(loader)


class Failing(Dataset):
    """Counts the batches that it makes, and fails at item 6."""

    made = 0

    def __len__(self):
        return 100

    def __getitem__(self, index):
        if index == 6:
            raise FileNotFoundError("image 6 is gone")
        return (index,)

    def batch(self, indices, rng):
        self.made += 1
        return super().batch(indices, rng)


@pytest.mark.parametrize(("prefetch", "workers"), [(0, 1), (2, 1), (2, 0), (2, 4), (9, 3)])
def test_loader_passes_an_exception_on_at_its_place(prefetch, workers):
    batches = iter(DataLoader(Failing(), batch_size=2, prefetch=prefetch, workers=workers))
    assert [next(batches)[0].tolist() for _ in range(3)] == [[0, 1], [2, 3], [4, 5]]
    with pytest.raises(FileNotFoundError, match="image 6 is gone"):
        next(batches)
    assert not loader_threads()


def leave_by_break(loader):
    for _ in loader:
        assert len(loader_threads()) == 1
        break


def leave_by_exception(loader):
    def fail():
        for _ in loader:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()


def leave_by_deletion(loader):
    iterator = iter(loader)
    next(iterator)
    del iterator


def leave_by_never_starting(loader):
    iter(loader)


def leave_by_finishing(loader):
    list(loader)


def test_loader_of_several_workers_leaves_no_thread():
    batches = iter(DataLoader(numbers(100), batch_size=2, workers=4))
    next(batches)
    assert 1 <= len(loader_threads()) <= 4
    batches.close()
    assert not loader_threads()


@pytest.mark.parametrize(
    "leave", [leave_by_break, leave_by_exception, leave_by_deletion, leave_by_never_starting, leave_by_finishing]
)
def test_loader_leaves_no_thread(leave):
    leave(DataLoader(numbers(100), batch_size=2, prefetch=3))
    assert not loader_threads()


def test_loader_can_be_collected_inside_its_own_thread():
    class Collecting(Failing):
        def __getitem__(self, index):
            if index > 0 and (gate.wait(5) or True):
                gc.collect()
            return (index,)

    gate = threading.Event()
    cycle = [iter(DataLoader(Collecting(), prefetch=1))]
    cycle.append(cycle)
    next(cycle[0])
    (thread,) = loader_threads()
    del cycle
    gate.set()
    thread.join(5)
    assert not thread.is_alive()


@pytest.mark.parametrize("prefetch", [0, 1, 3])
def test_loader_makes_no_more_than_prefetch_batches_ahead(prefetch):
    dataset = Failing()
    batches = iter(DataLoader(Subset(dataset, np.arange(10, 100)), batch_size=2, prefetch=prefetch))
    next(batches)
    next(batches)
    batches.close()
    assert 2 <= dataset.made <= 2 + prefetch


class Endless(IterableDataset):
    def __iter__(self):
        return iter(range(10))


class WrongBatch(Failing):
    """Gives batches that are none."""

    def __init__(self, result):
        self.result = result

    def batch(self, indices, rng):
        return (self.result,)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: DataLoader(np.zeros(3)), DTypeError, "got ndarray; wrap arrays in TensorDataset"),
        (lambda: DataLoader(tensor([1.0, 2.0])), DTypeError, "got Tensor; wrap arrays in TensorDataset"),
        (lambda: DataLoader({"a": 1}), DTypeError, "got dict"),
        (lambda: DataLoader(3), DTypeError, "got int"),
        (lambda: DataLoader([]), DataError, "empty dataset"),
        (lambda: DataLoader(iter([1, 2])), DataError, "gone after one epoch"),
        (lambda: DataLoader([1], sampler=[0], shuffle=True), ArgumentError, "leave shuffle away"),
        (lambda: DataLoader([1], batch_sampler=[[0]], batch_size=2), ArgumentError, "decides on batch_size, too"),
        (lambda: DataLoader(Endless(), shuffle=True), ArgumentError, "come as they come; leave shuffle"),
        (lambda: DataLoader(Endless(), sampler=[0]), ArgumentError, "come as they come"),
        (lambda: len(DataLoader(Endless())), DTypeError, "Endless does not say how many items it has"),
        (lambda: list(DataLoader([(1, 2), (1,)], batch_size=2)), DataError, "the same number of parts"),
        (lambda: list(DataLoader([{"a": 1}, {"b": 1}], batch_size=2)), DataError, "the same names"),
        (lambda: list(DataLoader([np.zeros(2), np.zeros(3)], batch_size=2)), ShapeError, "equal shapes"),
        (lambda: list(DataLoader([object()])), DTypeError, "cannot be read as an array|real numbers"),
        (lambda: DataLoader(numbers(0)), DataError, "empty dataset"),
        (lambda: DataLoader(Subset(numbers(5), [])), DataError, "empty dataset"),
        (lambda: DataLoader(numbers(5), batch_size=0), ArgumentError, "batch_size .* 1 or more, got 0"),
        (lambda: DataLoader(numbers(5), batch_size=2.5), ArgumentError, "batch_size"),
        (lambda: DataLoader(numbers(5), batch_size=True), ArgumentError, "batch_size"),
        (lambda: DataLoader(numbers(5), batch_size=6, drop_last=True), ArgumentError, "leaves no batch of 5 items"),
        (lambda: DataLoader(numbers(5), prefetch=-1), ArgumentError, "prefetch"),
        (lambda: DataLoader(numbers(5), seed=-1), ArgumentError, "seed"),
        (lambda: DataLoader(numbers(5), workers=-1), ArgumentError, "workers"),
        (lambda: DataLoader(numbers(5)).set_epoch(0, start=-1), ArgumentError, "start"),
        (lambda: DataLoader(numbers(5)).set_epoch(0, start=6), ArgumentError, "has 5 batches"),
        (lambda: DataLoader(numbers(5)).set_epoch(-1), ArgumentError, "set_epoch"),
        (lambda: list(DataLoader(WrongBatch(np.zeros(3)))), DataError, r"asked for 1 items .*, got shape \(3,\)"),
        (lambda: list(DataLoader(WrongBatch(5))), DataError, "got int"),
    ],
)
def test_loader_errors(call, error, words):
    with pytest.raises(error, match=words) as raised:
        call()
    assert isinstance(raised.value, GpunetError)
