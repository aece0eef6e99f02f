"""Checkpoints on the disk: whole or not seen, checked before anything of them is believed."""

import hashlib
import json
import os
import random
import struct
from dataclasses import replace

import numpy as np
import pytest

from gpunet import nn, optim
from gpunet.backend import manual_seed, use_backend
from gpunet.data import DataLoader, TensorDataset
from gpunet.errors import FileError, GpunetError, NonFiniteError, StateDictError
from gpunet.files import LARGEST_JSON, digest_of
from gpunet.optim.lr_scheduler import OneCycleLR
from gpunet.train import (
    Checkpoint,
    CheckpointFolder,
    EarlyStopping,
    RunFolder,
    RunOptions,
    Trainer,
    TrainingRun,
    evaluate_run,
    load_weights,
    read_toml,
    restore,
    save_weights,
    saved_config,
    take,
)
from gpunet.train.progress import EpochResult
from gpunet.train.snapshot import largest_checkpoint
from gpunet.weights.tensor_file import LARGEST_HEADER
from tests.runs import TINY, StopAfter

pytestmark = pytest.mark.usefixtures("tiny_runs")


def small_trainer():
    manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))
    optimizer = optim.AdamW(model.parameters(), lr=0.01)
    schedule = OneCycleLR(optimizer, 0.01, total_steps=15)
    return Trainer(model, optimizer, 3, schedule=schedule, show_progress=False, ema=0.5, callbacks=[EarlyStopping(5)])


def fit(trainer, stop=None):
    rng = np.random.default_rng(0)
    data = TensorDataset(rng.standard_normal((40, 4)).astype(np.float32), rng.integers(0, 3, 40))
    if stop is not None:
        trainer.callbacks.append(StopAfter(stop))
    list(trainer.fit(DataLoader(data, 8, seed=0), DataLoader(data, 40), epochs=3))
    return trainer


@pytest.fixture(scope="module")
def taken():
    with use_backend("numpy"):
        return take(fit(small_trainer(), stop=7))


@pytest.fixture
def folder(tmp_path, taken):
    checkpoints = CheckpointFolder(tmp_path)
    checkpoints.save(taken, keep=1)
    return checkpoints


def load(folder, trainer=None):
    trainer = trainer or small_trainer()
    restore(trainer, folder.load((1, 2), largest_checkpoint(trainer, 1)))
    return trainer


def names_in(folder):
    return sorted(path.name for path in folder.path.iterdir())


def change(folder, function, honest=True):
    """Change the JSON of a checkpoint, with a checksum that fits if `honest`."""
    path = folder.path_of((1, 2))
    described = json.loads(path.read_text())
    function(described)
    if honest:
        described.pop("sha256")
        described["sha256"] = digest_of(described, path)
    path.write_text(json.dumps(described))


# What is there


def test_a_checkpoint_comes_back(folder, taken):
    loaded = folder.load((1, 2), 10**6)
    np.testing.assert_equal(loaded.tensors, taken.tensors)
    assert loaded.state == json.loads(json.dumps(taken.state))
    assert names_in(folder) == ["epoch-00001-batch-0000002.json", "epoch-00001-batch-0000002.safetensors"]
    np.testing.assert_equal(take(load(folder)).tensors, taken.tensors)


def test_filters_that_lie_otherwise_in_memory_come_back(tmp_path):
    """safetensors writes the memory of an array as it lies."""
    model, other = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)
    model.weight.data = np.asfortranarray(model.weight.array)
    save_weights(tmp_path / "weights", model)
    load_weights(tmp_path / "weights", other)
    np.testing.assert_array_equal(other.weight.array, model.weight.array)


def test_the_last_and_the_best_are_kept(tmp_path, taken):
    folder = CheckpointFolder(tmp_path)
    for epoch in range(1, 7):
        folder.save(replace(taken, position=(epoch, 0)), keep=2, best=(2, 0))
    assert folder.positions() == [(2, 0), (5, 0), (6, 0)]


def test_a_run_keeps_the_epoch_of_the_best_accuracy(tmp_path):
    run = TrainingRun(replace(TINY, epochs=6), tmp_path, options=RunOptions(keep=1))
    run.run()
    results = run.trainer.progress.results
    best = max(results, key=lambda result: (result.test_accuracy, -result.test_loss)).epoch
    assert run.checkpoints.positions() == sorted({(best, 0), (6, 0)})


@pytest.mark.parametrize(("options", "expected"), [({"checkpoint_steps": 3}, 5), ({"checkpoint_seconds": 1e-9}, 16)])
def test_checkpoints_between_epochs(tmp_path, options, expected):
    """The second takes one at each of 16 steps; that at the end of an epoch is another before and after the test."""
    run = TrainingRun(TINY, tmp_path, options=RunOptions(keep=99, **options))
    run.run()
    within = [batch for _, batch in run.checkpoints.positions() if batch]
    assert len(within) == expected


def test_half_a_checkpoint_is_not_seen_and_cleared_away(folder, taken):
    for name in (".epoch-00002-batch-0000000.json.abc", "epoch-00002-batch-0000000.safetensors"):
        (folder.path / name).write_bytes(b"half")
    (folder.path / "notes.txt").write_text("precious")
    assert folder.positions() == [(1, 2)]
    folder.save(replace(taken, position=(1, 3)), keep=1)
    assert names_in(folder) == [
        "epoch-00001-batch-0000003.json",
        "epoch-00001-batch-0000003.safetensors",
        "notes.txt",
    ]


def test_weights_that_are_not_finite_are_not_saved(folder):
    trainer = load(folder)
    trainer.model[0].weight.data[0, 0] = np.nan
    with pytest.raises(NonFiniteError, match=r"0\.weight is not finite after step 7"):
        take(trainer)


def test_the_folder_of_no_checkpoints(tmp_path):
    assert CheckpointFolder(tmp_path / "missing").positions() == []
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="cannot read the folder"):
        CheckpointFolder(tmp_path / "file").positions()


# Damage


@pytest.mark.parametrize(
    ("kind", "damage", "message"),
    [
        (".json", lambda c: c[:-9], "is not a JSON file"),
        (".json", lambda c: b"", "is not a JSON file"),
        (".json", lambda c: b"[]", "is damaged, or no checkpoint of this version"),
        (".json", lambda c: c.replace(b'"step": 7', b'"step": 8'), "its checksum is not that of its content"),
        (".json", lambda c: c.replace(b'"step": 7', b'"step": ' + b"9" * 5000), "is too large"),
        (".json", lambda c: c.replace(b"gpunet checkpoint 2", b"gpunet checkpoint 9"), "no checkpoint of this version"),
        (".json", lambda c: b" " * (LARGEST_JSON + 1), "bytes; at most"),
        (".safetensors", lambda c: c[:-1], "is damaged: it has .* bytes, of which .* are expected"),
        (".safetensors", lambda c: b"", "is damaged"),
        (".safetensors", lambda c: c[:-1] + bytes([c[-1] ^ 1]), "another checksum"),
        (".safetensors", lambda c: c + bytes(LARGEST_HEADER + 10_000), "bytes; at most"),
    ],
)
def test_damage(folder, kind, damage, message):
    path = folder.path_of((1, 2), kind)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(FileError, match=message) as caught:
        load(folder)
    assert path.name in str(caught.value)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (LARGEST_HEADER + 1, "a header of 16,777,217, which may have 16,777,216 at most"),
        (2**63, "a header of"),
        (3, "is not a whole safetensors file"),
    ],
)
def test_a_header_that_is_too_long(folder, header, message):
    """With a checksum that fits: somebody means harm."""
    path = folder.path_of((1, 2), ".safetensors")
    content = struct.pack("<Q", header) + path.read_bytes()[8:]
    path.write_bytes(content)
    change(folder, lambda described: described.update(tensors_sha256=hashlib.sha256(content).hexdigest()))
    with pytest.raises(FileError, match=message):
        load(folder)


def test_damage_says_which_checkpoint_is_left(folder, taken):
    folder.save(replace(taken, position=(2, 0)), keep=2)
    folder.path_of((2, 0), ".safetensors").write_bytes(b"")
    with pytest.raises(FileError, match=r"from the checkpoint before it, after 1 epochs and 2 batches, remove .*00002"):
        folder.load((2, 0), 10**6)


@pytest.mark.parametrize("missing", [".json", ".safetensors"])
def test_a_file_that_is_missing_or_a_pipe(folder, missing):
    path = folder.path_of((1, 2), missing)
    path.unlink()
    with pytest.raises(FileError, match="cannot read"):
        load(folder)
    if hasattr(os, "mkfifo"):
        os.mkfifo(path)
        with pytest.raises(FileError, match="it is not an ordinary file"):
            load(folder)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Linear(4, 3), "state_dict does not fit|differ"),
        (lambda: nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3)), "misshapen: 0.weight"),
    ],
)
def test_another_model(folder, make, message):
    model = make()
    optimizer = optim.AdamW(model.parameters(), lr=0.01)
    schedule = OneCycleLR(optimizer, 0.01, total_steps=15)
    trainer = Trainer(model, optimizer, 3, schedule=schedule, ema=0.5, callbacks=[EarlyStopping(5)])
    with pytest.raises(StateDictError, match=message):
        load(folder, trainer)


def test_a_run_of_another_model(tmp_path):
    """Somebody has put the checkpoints of one run into the folder of another."""
    for name, model in (("one", "tiny"), ("other", "resnet8")):
        TrainingRun(replace(TINY, model=model, epochs=1), tmp_path / name).run()
    for path in (tmp_path / "other" / "checkpoints").iterdir():
        path.unlink()
    for path in (tmp_path / "one" / "checkpoints").iterdir():
        path.rename(tmp_path / "other" / "checkpoints" / path.name)
    with pytest.raises(StateDictError, match=r"(?s)epoch-00001-batch-0000000\.json: .*missing: conv1\.weight"):
        TrainingRun(replace(TINY, model="resnet8", epochs=1), tmp_path / "other", resume=True)


def setting(path, value):
    def set_it(described):
        target = described["state"]
        for name in path[:-1]:
            target = target[name]
        target[path[-1]] = value

    return set_it


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("step",), -1),
        (("step",), True),
        (("images",), 0),
        (("seconds",), "long"),
        (("results",), []),
        (("figures",), None),
        (("figures",), ["test_loss"]),
        (("figures", 0), 1),
        (("figures", 0), "surprise"),
        (("figures", 0), "gradient_norms.surprise"),
        (("results",), [{}]),
        (("results",), [{"epoch": 1}]),
        (("results",), None),
        (("gradient_norms",), {"a": "b"}),
        (("optimizer",), None),
        (("optimizer", "counts"), {"x": {}}),
        (("optimizer", "counts"), {}),
        (("optimizer", "counts", "0", "step"), -5),
        (("optimizer", "param_groups", 0, "lr"), -1.0),
        (("optimizer", "param_groups", 0, "betas"), 3),
        (("schedule",), None),
        (("schedule", "schedule"), "StepLR"),
        (("schedule", "last_epoch"), "soon"),
        (("random",), {}),
        (("random", "host", "state"), {}),
        (("random", "host", "bit_generator"), "MT19937"),
        (("random", "host", "state", "inc"), "9" * 99),
        (("random", "host", "uinteger"), -1),
        (("random", "device_seed"), "-1"),
        (("random", "drawn"), {"cupy": {"0": 1}}),
        (("callbacks",), [["EarlyStopping", {"best": 1.0}]]),
        (("callbacks",), [1]),
        (("callbacks", 0, 1, "bad_epochs"), -1),
    ],
)
def test_states_that_make_no_sense(folder, path, value):
    change(folder, setting(path, value))
    with pytest.raises(StateDictError):
        load(folder)


@pytest.mark.parametrize(
    "broken",
    [
        lambda table: None,
        lambda table: table * np.nan,
        lambda table: table * np.inf,
        lambda table: table.repeat(2, axis=0),
        lambda table: table.repeat(2, axis=1),
        lambda table: table[0],
        lambda table: table.astype(np.float32),
        lambda table: table.astype(np.int64),
    ],
)
def test_figures_that_make_no_sense(taken, broken):
    tensors = {name: array for name, array in taken.tensors.items() if name != "results.table"}
    table = broken(taken.tensors["results.table"])
    if table is not None:
        tensors["results.table"] = table
    with pytest.raises(StateDictError, match="figures"), np.errstate(all="ignore"):
        restore(small_trainer(), replace(taken, tensors=tensors))


def test_checkpoints_of_the_first_format_go_on(taken):
    """They held the figures of all epochs in their JSON."""
    tensors = {name: array for name, array in taken.tensors.items() if name != "results.table"}
    state = {name: value for name, value in taken.state.items() if name != "figures"}
    trainer, before = small_trainer(), small_trainer()
    restore(before, taken)
    state["results"] = [each.as_dict() for each in before.progress.results]
    restore(trainer, replace(taken, tensors=tensors, state=state))
    assert trainer.progress.results == before.progress.results


# Many epochs


def test_the_figures_of_many_epochs_come_back(tmp_path):
    """Exactly, with what an epoch has not: no loss scale, no norm where the last step was skipped."""
    trainer, rng = small_trainer(), np.random.default_rng(0)
    names = [name for name, _ in trainer.model.named_parameters()]
    for epoch in range(1, 6):
        figures = rng.standard_normal(7).tolist()
        norms = {} if epoch == 3 else dict(zip(names, rng.random(len(names)).tolist(), strict=True))
        trainer.progress.results.append(EpochResult(epoch, *figures, norms, 2.0**epoch if epoch > 1 else None))
    CheckpointFolder(tmp_path).save(take(trainer), keep=1)
    other = small_trainer()
    restore(other, CheckpointFolder(tmp_path).load((5, 0), largest_checkpoint(other, 5)))
    assert other.progress.results == trainer.progress.results


def test_a_checkpoint_of_many_epochs_is_as_easy_to_read(tmp_path):
    """The JSON does not grow with them, and the arrays grow by eight bytes a figure."""
    trainer = small_trainer()
    norms = {f"layer{number}.conv.weight": 1 / 3 for number in range(65)}
    sizes = []
    for epochs in (10, 2_000):
        trainer.progress.results = [EpochResult(epoch, *[1 / 3] * 7, norms) for epoch in range(1, epochs + 1)]
        folder = CheckpointFolder(tmp_path / f"{epochs}")
        folder.save(take(trainer), keep=1)
        sizes.append([folder.path_of((epochs, 0), kind).stat().st_size for kind in (".json", ".safetensors")])
        restore(small_trainer(), folder.load((epochs, 0), 2**24))
    assert sizes[1][0] < sizes[0][0] + 100
    assert sizes[1][1] - sizes[0][1] < 8 * (65 + 7) * 2_000 + 10_000


# Thousands of files


def mutated(content, rng):
    """The bytes with a few of them flipped, replaced, left out or put in, or cut off."""
    content = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 8])):
        place = rng.randrange(len(content) + 1)
        kind = rng.randrange(5)
        if kind == 0 and place < len(content):
            content[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            content[place : place + rng.randrange(1, 9)] = rng.randbytes(rng.randrange(1, 9))
        elif kind == 2:
            del content[place : place + rng.randrange(1, 65)]
        elif kind == 3:
            content[place:place] = content[rng.randrange(len(content) + 1) :][: rng.randrange(1, 65)]
        else:
            del content[place:]
        if not content:
            break
    return bytes(content)


HOSTILE = [
    None,
    True,
    -1,
    0,
    1,
    2**62,
    -(2**63),
    0.0,
    -1.5,
    1e308,
    float("inf"),
    float("nan"),
    "",
    "x",
    "9" * 400,
    [],
    {},
]
HOSTILE += [[[]], {"": {}}, [1.0], {"0": 1}]


def places(value, path=()):
    """The path of everything within a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in items:
        yield (*path, name)
        yield from places(each, (*path, name))


def replaced(state, rng):
    """The state with something in it replaced, or left out."""
    state = json.loads(json.dumps(state))
    path = rng.choice(list(places(state)))
    target = state
    for name in path[:-1]:
        target = target[name]
    if rng.randrange(4):
        target[path[-1]] = rng.choice(HOSTILE)
    else:
        del target[path[-1]]
    return state


def attempt(function, *arguments):
    """Whether it worked; any exception that is not gpunet's own fails the test."""
    try:
        function(*arguments)
    except GpunetError:
        return False
    return True


def test_mutated_checkpoints(folder):
    rng, trainer = random.Random(0), small_trainer()
    worked = 0
    for kind, count in ((".json", 900), (".safetensors", 600)):
        path = folder.path_of((1, 2), kind)
        whole = path.read_bytes()
        for _ in range(count):
            content = mutated(whole, rng)
            path.write_bytes(content)
            worked += attempt(load, folder, trainer) and content != whole
        path.write_bytes(whole)
    assert worked < 15  # a space more or less in the JSON does no harm


def test_mutated_states_with_checksums_that_fit(folder, taken):
    """Who means harm computes the checksum anew. What is taken must also train."""
    rng, refused, count = random.Random(1), 0, 1000
    for _ in range(count):
        trainer = small_trainer()
        if attempt(restore, trainer, Checkpoint((1, 2), taken.tensors, replaced(taken.state, rng))):
            with np.errstate(all="ignore"):
                attempt(fit, trainer)
        else:
            refused += 1
    assert refused > 0.6 * count


def test_mutated_arrays_with_checksums_that_fit(taken):
    rng, generator = random.Random(2), np.random.default_rng(2)
    changes = [
        lambda array: array.astype(np.float64),
        lambda array: array.astype(np.int8),
        lambda array: array[None],
        lambda array: array.reshape(-1)[:1],
        lambda array: np.zeros((0,), np.float32),
        lambda array: generator.standard_normal(array.shape).astype(array.dtype),
        lambda array: np.full_like(array, np.nan) if array.dtype.kind == "f" else array,
        None,
    ]
    for _ in range(500):
        tensors = dict(taken.tensors)
        name, function = rng.choice(sorted(tensors)), rng.choice(changes)
        array = tensors.pop(name)
        if function is not None:
            tensors[rng.choice([name, name, name + "x", "x" + name])] = function(array)
        trainer = small_trainer()
        if attempt(restore, trainer, Checkpoint((1, 2), tensors, taken.state)):
            with np.errstate(all="ignore"):
                attempt(fit, trainer)


def test_mutated_weights(tmp_path):
    rng, model = random.Random(3), nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5))
    save_weights(tmp_path / "whole", model)
    whole = (tmp_path / "whole").read_bytes()
    worked = 0
    for _ in range(1000):
        content = mutated(whole, rng)
        (tmp_path / "weights").write_bytes(content)
        worked += attempt(load_weights, tmp_path / "weights", model) and content != whole
    assert worked < 10


def test_mutated_configurations(tmp_path):
    rng = random.Random(4)
    TrainingRun(replace(TINY, epochs=1), tmp_path / "run").run()
    path, folder = tmp_path / "run" / "config.json", RunFolder(tmp_path / "run")
    whole = path.read_bytes()
    for number in range(1000):
        content = json.dumps(replaced(json.loads(whole), rng)).encode() if number % 2 else mutated(whole, rng)
        path.write_bytes(content)
        attempt(saved_config, folder)
        if number % 20 == 1:
            attempt(evaluate_run, tmp_path / "run")


def test_mutated_toml(tmp_path):
    rng, path = random.Random(5), tmp_path / "config.toml"
    whole = b'data = "digits"\nepochs = 3\nlr = 0.1\n[extra]\nlist = [1, 2.5, "x"]\ntime = 1979-05-27T07:32:00Z\n'
    for _ in range(500):
        path.write_bytes(mutated(whole, rng))
        attempt(read_toml, path)


def test_mutated_metrics_do_not_matter(tmp_path):
    """They are written anew from the checkpoint."""
    rng = random.Random(6)
    TrainingRun(replace(TINY, epochs=1), tmp_path).run()
    path = tmp_path / "metrics.jsonl"
    whole = path.read_bytes()
    for _ in range(5):
        path.write_bytes(mutated(whole, rng))
        TrainingRun(replace(TINY, epochs=1), tmp_path, resume=True).run()
        assert path.read_bytes() == whole
