"""Datasets, samplers and loops of other libraries, PyTorch's above all, in gpunet's loader."""

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
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
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
