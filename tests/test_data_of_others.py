"""Datasets, samplers and loops of other libraries, PyTorch's above all, in gpunet's loader."""

import time
from collections import Counter, namedtuple

import numpy as np
import pytest

import gpunet
from gpunet.backend import manual_seed
from gpunet.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    ImageDataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    random_split,
)
from gpunet.data.transforms import RandomHorizontalFlip
from gpunet.errors import ArgumentError, DTypeError


def values(batch):
    """A batch in plain Python, wherever its arrays are."""
    if isinstance(batch, dict):
        return {name: values(part) for name, part in batch.items()}
    if isinstance(batch, list | tuple):
        return [values(part) for part in batch]
    return batch.tolist() if hasattr(batch, "tolist") else batch


def torch_data():
    return pytest.importorskip("torch.utils.data")


PAIRS = [(np.full((1, 2, 2), i, np.float32), i % 3) for i in range(7)]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_a_list_of_pairs(backend, workers):
    batches = list(DataLoader(PAIRS, batch_size=3, num_workers=workers))
    assert [len(labels) for _, labels in batches] == [3, 3, 1]
    images, labels = batches[1]
    assert (images.shape, str(images.dtype), str(labels.dtype)) == ((3, 1, 2, 2), "float32", "int64")
    assert (images[:, 0, 0, 0].tolist(), labels.tolist()) == ([3, 4, 5], [0, 1, 2])


def test_datasets_of_torch_come_as_from_its_own_loader(backend):
    torch, data = pytest.importorskip("torch"), torch_data()
    dataset = data.TensorDataset(torch.arange(24.0).reshape(6, 1, 2, 2), torch.arange(6))
    subset = data.Subset(dataset, [5, 3, 1, 0])
    both = data.ConcatDataset([dataset, subset])
    for each in (dataset, subset, both):
        ours, theirs = DataLoader(each, batch_size=4), data.DataLoader(each, batch_size=4)
        assert list(map(values, ours)) == list(map(values, theirs))
        assert len(ours) == len(theirs)
    shuffled = [label for _, labels in DataLoader(both, 3, shuffle=True) for label in values(labels)]
    assert sorted(shuffled) == sorted([*range(6), 5, 3, 1, 0])


def test_iterable_datasets(backend):
    torch, data = pytest.importorskip("torch"), torch_data()

    class Numbers(data.IterableDataset):
        def __iter__(self):
            return iter([(torch.tensor([float(i)]), i) for i in range(7)])

    for drop_last in (False, True):
        ours = DataLoader(Numbers(), batch_size=3, drop_last=drop_last)
        theirs = list(map(values, data.DataLoader(Numbers(), batch_size=3, drop_last=drop_last)))
        assert list(map(values, ours)) == theirs
        assert list(map(values, ours)) == theirs  # the second epoch, too


def test_datasets_of_torchvision(torchvision, tmp_path, rng, backend):
    """Made-up images, and a folder of files, with transforms of its own; beside PyTorch's loader."""
    from PIL import Image
    from torchvision import datasets
    from torchvision.transforms import v2

    to_floats = v2.Compose([v2.PILToTensor(), v2.ToDtype(pytest.importorskip("torch").float32, scale=True)])
    for name in ("cat/1.png", "cat/2.png", "dog/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (6, 5, 3), dtype=np.uint8)).save(tmp_path / name)
    made_up = datasets.FakeData(size=5, image_size=(3, 6, 5), num_classes=4, transform=to_floats)
    for dataset in (made_up, datasets.ImageFolder(tmp_path, transform=to_floats)):
        ours, theirs = DataLoader(dataset, batch_size=2, num_workers=2), torch_data().DataLoader(dataset, batch_size=2)
        assert list(map(values, ours)) == list(map(values, theirs))
    with pytest.raises(DTypeError, match="got a picture of Pillow"):
        next(iter(DataLoader(datasets.ImageFolder(tmp_path))))


def test_datasets_of_hugging_face(torch, rng, backend):
    hugging_face = pytest.importorskip("datasets")
    pixels = rng.integers(0, 256, (7, 3, 4, 5), dtype=np.uint8)
    table = hugging_face.Dataset.from_dict({"image": pixels.tolist(), "label": [0, 1, 2, 0, 1, 2, 0]})
    for form in ("numpy", "torch"):
        batches = list(DataLoader(table.with_format(form), batch_size=3))
        assert [batch["label"].tolist() for batch in batches] == [[0, 1, 2], [0, 1, 2], [0]]
        np.testing.assert_array_equal(np.concatenate([batch["image"].numpy() for batch in batches]), pixels)
    shuffled = DataLoader(table.with_format("numpy"), batch_size=2, shuffle=True, seed=1)
    assert sorted(label for batch in shuffled for label in batch["label"].tolist()) == [0, 0, 0, 1, 1, 2, 2]
    stream = table.with_format("numpy").to_iterable_dataset()
    for _ in range(2):  # epochs
        assert [batch["label"].tolist() for batch in DataLoader(stream, batch_size=4)] == [[0, 1, 2, 0], [1, 2, 0]]


def test_pictures_of_hugging_face(rng, backend):
    """Its images are Pillow's; a transform of the dataset's own makes arrays of them."""
    hugging_face, image = pytest.importorskip("datasets"), pytest.importorskip("PIL.Image")
    pixels = rng.integers(0, 256, (3, 4, 5, 3), dtype=np.uint8)
    features = hugging_face.Features({"image": hugging_face.Image(), "label": hugging_face.Value("int64")})
    rows = {"image": [image.fromarray(each) for each in pixels], "label": [2, 0, 1]}
    table = hugging_face.Dataset.from_dict(rows, features=features)
    with pytest.raises(DTypeError, match="got a picture of Pillow"):
        next(iter(DataLoader(table)))

    def as_arrays(batch):
        return {**batch, "image": [np.asarray(each).transpose(2, 0, 1) for each in batch["image"]]}

    (batch,) = DataLoader(table.with_transform(as_arrays), batch_size=3)
    np.testing.assert_array_equal(batch["image"].numpy(), pixels.transpose(0, 3, 1, 2))
    assert batch["label"].tolist() == [2, 0, 1]


class Endless(IterableDataset):
    def __init__(self):
        self.given = 0

    def __iter__(self):
        for i in range(10**9):
            self.given = i + 1
            yield i


@pytest.mark.parametrize("workers", [0, 1])
def test_a_stream_is_read_no_further_than_needed(workers):
    stream = Endless()
    batches = iter(DataLoader(stream, batch_size=2, workers=workers))
    assert [next(batches).tolist() for _ in range(3)] == [[0, 1], [2, 3], [4, 5]]
    batches.close()
    assert stream.given <= 2 * (3 + 3)


Point = namedtuple("Point", "x label")

NESTED = [
    [
        {"image": np.zeros(2, np.float32), "label": 1, "name": "a"},
        {"image": np.ones(2, np.float32), "label": 0, "name": "b"},
    ],
    [(1, (2.5, "x")), (3, (4.5, "y"))],
    [[np.int8(1), np.float64(2)], [np.int8(3), np.float64(4)]],
    [Point(np.zeros(2, np.uint8), 1), Point(np.ones(2, np.uint8), 2)],
    [True, False],
    ["a", "b"],
]


@pytest.mark.parametrize("items", NESTED, ids=lambda items: type(items[0]).__name__)
def test_items_of_any_form(items, backend):
    """As PyTorch's default_collate, whose lists are tuples here."""
    torch_collate = torch_data().default_collate
    (batch,) = DataLoader(items, batch_size=2)
    assert values(batch) == values(torch_collate(items)) == values(default_collate(items))
    assert getattr(batch, "_fields", None) == getattr(items[0], "_fields", None)


def test_a_collate_fn_of_torch(backend):
    torch, data = pytest.importorskip("torch"), torch_data()

    def collate(items):
        lengths = [len(each) for each in items]
        return {"padded": torch.nn.utils.rnn.pad_sequence(items, batch_first=True), "lengths": lengths, "ids": None}

    sequences = [torch.arange(n) for n in (3, 1, 2)]
    ours, theirs = DataLoader(sequences, 3, collate_fn=collate), data.DataLoader(sequences, 3, collate_fn=collate)
    assert list(map(values, ours)) == list(map(values, theirs))
    assert isinstance(next(iter(ours))["padded"], gpunet.Tensor)


def test_one_that_fetches_several_at_once():
    class Together:
        def __len__(self):
            return 5

        def __getitem__(self, index):
            raise AssertionError("one by one")

        def __getitems__(self, indices):
            return [index * 10 for index in indices]

    assert list(map(values, DataLoader(Together(), 2))) == [[0, 10], [20, 30], [40]]


def test_samplers():
    data = list(range(10))
    assert list(map(values, DataLoader(data, 4, sampler=[3, 1, 1, 7, 0]))) == [[3, 1, 1, 7], [0]]
    assert list(map(values, DataLoader(data, batch_sampler=[[1, 2], [9], [0, 0, 3]]))) == [[1, 2], [9], [0, 0, 3]]
    loader = DataLoader(data, 3, sampler=SubsetRandomSampler([2, 4, 6, 8]), drop_last=True)
    assert len(loader) == 1
    assert set(next(iter(loader)).tolist()) < {2, 4, 6, 8}
    batches = BatchSampler(SequentialSampler(data), 4, drop_last=False)
    assert (len(batches), [len(each) for each in batches]) == (3, [4, 4, 2])
    assert len(BatchSampler(SequentialSampler(data), 4, drop_last=True)) == 2
    torch_sampler = torch_data().SubsetRandomSampler([1, 2, 3])
    drawn = [number for batch in DataLoader(data, 2, sampler=torch_sampler) for number in batch.tolist()]
    assert sorted(drawn) == [1, 2, 3]


def test_random_samplers_draw_what_they_say():
    data = range(50)
    manual_seed(0)
    once = list(RandomSampler(data))
    assert sorted(once) == list(data) != once
    assert once != list(RandomSampler(data))
    manual_seed(0)
    assert list(RandomSampler(data)) == once
    assert Counter(RandomSampler(data, num_samples=125)).most_common()[-1][1] == 2
    assert max(Counter(RandomSampler(data, replacement=True)).values()) > 1
    drawn = Counter(WeightedRandomSampler([0.0, 1.0, 3.0], 4000))
    assert drawn[0] == 0
    assert 2.5 < drawn[2] / drawn[1] < 3.5
    assert sorted(WeightedRandomSampler([1, 0, 2], 2, replacement=False)) == [0, 2]
    for weights, count in (([1, -1], 1), ([0, 0], 1), ([1.0, float("nan")], 1), ([[1.0]], 1)):
        with pytest.raises(ArgumentError, match="WeightedRandomSampler"):
            WeightedRandomSampler(weights, count)
    with pytest.raises(ArgumentError, match="cannot draw 3 items: 2 have a weight"):
        WeightedRandomSampler([1, 0, 2], 3, replacement=False)


def test_datasets_in_a_row():
    rng = np.random.default_rng(0)
    parts = [rng.standard_normal((n, 2)).astype(np.float32) for n in (3, 1, 4)]
    both = ConcatDataset([TensorDataset(part) for part in parts])
    assert len(both) == 8
    ((all_of_them,),) = DataLoader(both, batch_size=8)
    np.testing.assert_array_equal(all_of_them.numpy(), np.concatenate(parts))
    np.testing.assert_array_equal(both[-1][0], parts[2][-1])


@pytest.mark.parametrize("collate", [None, default_collate], ids=["plain", "collate_fn"])
@pytest.mark.parametrize("in_a_row", [False, True])
def test_random_transforms_repeat_with_the_loader_s_seed(collate, in_a_row):
    images = np.random.default_rng(0).standard_normal((40, 1, 2, 2)).astype(np.float32)

    def batches(workers):
        dataset = ImageDataset(images, np.arange(40), RandomHorizontalFlip())
        dataset = ConcatDataset([dataset, dataset]) if in_a_row else dataset
        return list(map(values, DataLoader(dataset, 16, seed=4, workers=workers, collate_fn=collate)))

    assert batches(0) == batches(0) == batches(3)


def test_samplers_of_one_s_own():
    data = TensorDataset(np.arange(6, dtype=np.float32))

    def of(sampler, **settings):
        return [batch[0].tolist() for batch in DataLoader(data, 2, sampler=sampler, **settings)]

    assert of(iter([3, 1, 4])) == [[3, 1], [4]]  # which has no length
    assert of([3, 1, 4], drop_last=True) == [[3, 1]]
    assert of([]) == []
    with pytest.raises(DTypeError, match="a sampler gives whole numbers"):
        of([0.5, 1.0])


def test_epochs_go_on_where_they_stopped():
    loader = DataLoader(list(range(9)), 2, shuffle=True, seed=3, workers=2)
    whole = [list(map(values, loader)) for _ in range(2)]
    loader.set_epoch(1, start=2)
    assert list(map(values, loader)) == whole[1][2:]
    assert whole[0] != whole[1]


def test_what_a_dataset_draws_from_pytorch_follows_from_the_seed(torch):
    """With any number of workers; and PyTorch's own generator stays where it was."""

    class Noise:
        def __len__(self):
            return 30

        def __getitem__(self, index):
            return torch.rand(2)

    class Stream(IterableDataset):
        def __iter__(self):
            return (torch.rand(2) for _ in range(30))

    before = torch.get_rng_state()
    for dataset in (Noise(), Stream()):
        runs = [list(map(values, DataLoader(dataset, 4, seed=1, workers=workers))) for workers in (0, 1, 3)]
        assert runs[0] == runs[1] == runs[2]
        assert len({tuple(row) for batch in runs[0] for row in batch}) == 30
        assert list(map(values, DataLoader(dataset, 4, seed=2))) != runs[0]
    assert torch.equal(torch.get_rng_state(), before)


def test_one_thread_at_a_time_is_in_code_of_others():
    class Careless:
        inside = 0

        def __len__(self):
            return 40

        def __getitem__(self, index):
            Careless.inside += 1
            time.sleep(1e-3)
            alone = Careless.inside == 1
            Careless.inside -= 1
            return float(alone)

    assert all(all(batch.tolist()) for batch in DataLoader(Careless(), 4, workers=4))


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_loader_within_a_dataset(workers):
    inner = DataLoader([float(i) for i in range(12)], 2, workers=workers)

    class Pairs(IterableDataset):
        def __iter__(self):
            return iter(inner)

    class Numbered:
        def __len__(self):
            return 3

        def __getitem__(self, index):
            return sum(batch.sum().item() for batch in inner) + index

    assert next(iter(DataLoader(Pairs(), 3, workers=1))).tolist() == [[0, 1], [2, 3], [4, 5]]
    assert [batch.tolist() for batch in DataLoader(Numbered(), 2, workers=2)] == [[66, 67], [68]]


def test_a_part_of_a_dataset_of_torch(torch):
    whole = torch_data().TensorDataset(torch.arange(24.0).reshape(8, 3), torch.arange(8))
    (images, labels), *_ = DataLoader(Subset(whole, [6, 1, 1]), batch_size=3)
    assert (labels.tolist(), images[:, 0].tolist()) == ([6, 1, 1], [18, 3, 3])
    parts = [DataLoader(part, 8, workers=3) for part in random_split(whole, [5, 3], seed=0)]
    assert sorted(label for part in parts for _, labels in part for label in labels.tolist()) == list(range(8))
