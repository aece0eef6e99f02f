"""The training loop, the folder of a run and its files, and the main job."""

import errno
import inspect
import json
import os
import stat
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import gpunet
from gpunet import explain, gradients, nn, visualize
from gpunet.backend import active_backend
from gpunet.backend.kernels import kernels_in_use
from gpunet.data import DATASETS, DataLoader, Digits, ImageDataset, TensorDataset
from gpunet.errors import ArgumentError, DTypeError, FileError, GpunetError, NonFiniteError, StateDictError
from gpunet.explain import page
from gpunet.files import append_json_line, read_json, write_bytes, write_json
from gpunet.models import create_model
from gpunet.optim import SGD
from gpunet.train import (
    RunFolder,
    RunOptions,
    TrainConfig,
    Trainer,
    TrainingRun,
    evaluate_run,
    load_weights,
    new_run_path,
    save_weights,
)
from gpunet.train.environment import environment
from tests.runs import plain

FILES = ["config.json", "metrics.jsonl", "model.safetensors", "summary.json"]
ENTRIES = ["checkpoints", *FILES]
TINY = TrainConfig(epochs=1, batch_size=16, seed=3)


@pytest.fixture(autouse=True)
def _on_a_backend(backend):
    """Every test runs on each backend."""


@pytest.fixture(scope="module", autouse=True)
def _few_digits():
    """Replaces the digits by the first few of them: enough for a run, which then takes hundredths of a second."""

    def load(train, transform):
        whole = Digits(train)
        count = 32 if train else 40
        return ImageDataset(whole.images[:count], whole.labels[:count], transform, whole.classes)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATASETS, "digits", replace(DATASETS["digits"], load=load))
        yield


def files_in(folder):
    return sorted(path.name for path in folder.iterdir())


# The loop


def two_blobs(count=64):
    """Points around (-1, -1) and around (1, 1): any classifier can tell them apart."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, count)
    points = (2 * labels - 1)[:, None] + 0.3 * rng.standard_normal((count, 2))
    return TensorDataset(points.astype(np.float32), labels)


def make_trainer(lr=0.5, **settings):
    model = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 2))
    return Trainer(model, SGD(model.parameters(), lr), classes=2, **settings)


class Recorder:
    """A schedule that counts its steps, and can do something at one of them."""

    def __init__(self, at=None, action=lambda: None):
        self.steps, self.at, self.action = 0, at, action

    def step(self):
        self.steps += 1
        if self.steps == self.at:
            self.action()


def test_trainer_learns():
    train, test = DataLoader(two_blobs(), 8, shuffle=True), DataLoader(two_blobs(), 50)
    results = list(make_trainer().fit(train, test, epochs=4))
    assert [result.epoch for result in results] == [1, 2, 3, 4]
    assert results[-1].train_loss < 0.2 * results[0].train_loss
    assert results[-1].test_loss < results[0].test_loss
    assert results[-1].train_accuracy == results[-1].test_accuracy == 1
    assert all(result.seconds > 0 and result.images_per_second > 0 for result in results)
    assert results[0].as_dict()["learning_rate"] == 0.5


def test_figures_of_an_epoch_are_means_over_its_images():
    """With a learning rate too small to change anything, they must equal those of one large batch."""
    data = two_blobs(50)
    trainer = make_trainer(lr=1e-30)
    (result,) = trainer.fit(DataLoader(data, 8), DataLoader(data, 50), epochs=1)  # the last batch has 2 images
    assert result.train_loss == pytest.approx(result.test_loss, rel=1e-5)
    assert result.train_accuracy == result.test_accuracy


def test_train_step_is_one_step_of_the_optimizer():
    trainer = make_trainer(lr=0.1)
    images, labels = next(iter(DataLoader(two_blobs(), 8)))
    weights = [parameter.numpy().copy() for parameter in trainer.model.parameters()]
    loss = gpunet.functional.cross_entropy(trainer.model(images), labels)
    loss.backward()
    expected = [
        w - np.float32(0.1) * p.grad.numpy() for w, p in zip(weights, trainer.model.parameters(), strict=True)
    ]  # gradients of before must not be added
    step_loss, right = trainer.train_step(images, labels)
    assert float(step_loss) == loss.item()
    assert 0 <= int(right) <= 8
    for parameter, value in zip(trainer.model.parameters(), expected, strict=True):
        np.testing.assert_allclose(parameter.numpy(), value, rtol=1e-6)


def test_the_loss_function_can_be_replaced():
    seen = []

    def half(logits, labels):
        seen.append(logits.shape)
        return gpunet.functional.cross_entropy(logits, labels) / 2

    data = two_blobs(50)
    trainer = make_trainer(lr=1e-30, loss_function=half)
    (result,) = trainer.fit(DataLoader(data, 25), DataLoader(data, 50), epochs=1)
    assert seen == [(25, 2)] * 2
    assert result.train_loss == pytest.approx(result.test_loss / 2, rel=1e-5)


def test_schedule_is_stepped_once_a_batch():
    schedule = Recorder()
    loader = DataLoader(two_blobs(), 8)
    list(make_trainer(schedule=schedule).fit(loader, loader, epochs=2))
    assert schedule.steps == 16


def test_model_is_in_training_mode_while_it_learns():
    modes = []
    schedule = Recorder(action=None)
    trainer = make_trainer(schedule=schedule)
    schedule.step = lambda: modes.append(trainer.model.training)
    loader = DataLoader(two_blobs(), 32)
    for _ in trainer.fit(loader, loader, epochs=2):
        trainer.model.eval()  # a careless user between the epochs
    assert modes == [True] * 4


def test_a_stop_ends_the_run_after_the_batch():
    schedule = Recorder(at=11, action=lambda: setattr(trainer, "stop_requested", True))
    trainer = make_trainer(schedule=schedule)
    loader = DataLoader(two_blobs(), 8)
    results = list(trainer.fit(loader, loader, epochs=5))
    assert schedule.steps == 11  # in the second epoch of 8 batches
    assert [result.epoch for result in results] == [1]


def test_a_stop_between_epochs_ends_the_run():
    schedule = Recorder()
    trainer = make_trainer(schedule=schedule)
    loader = DataLoader(two_blobs(), 8)
    for _ in trainer.fit(loader, loader, epochs=5):
        trainer.stop_requested = True
    assert schedule.steps <= 9


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy says that numbers overflow
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_ends_the_run(bad):
    trainer = make_trainer(lr=0.25)
    calls = []

    def breaks_at_the_third_batch(logits, labels):
        calls.append(1)
        loss = gpunet.functional.cross_entropy(logits, labels)
        return loss * float(bad) if len(calls) == 3 else loss

    trainer.loss_function = breaks_at_the_third_batch
    loader = DataLoader(two_blobs(), 8)
    where = r"in step 3, with batch 3 of epoch 1 \(learning rate 0.25\): .*; try a smaller"
    with pytest.raises(NonFiniteError, match=where):
        list(trainer.fit(loader, loader, epochs=1))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_weights_that_break_at_the_last_step_end_the_run():
    """The loss of the last batch is from before the last step: only the test shows what that step has done."""
    trainer = make_trainer(lr=1e38)
    loader = DataLoader(two_blobs(), 64)  # one batch, one step
    with pytest.raises(NonFiniteError, match=r"on the test images \(learning rate 1e\+38\)"):
        list(trainer.fit(loader, loader, epochs=1))


def test_no_progress_bar_where_stderr_is_no_terminal(capsys):
    loader = DataLoader(two_blobs(), 8)
    list(make_trainer(show_progress=True).fit(loader, loader, epochs=1))
    assert capsys.readouterr() == ("", "")


# The main job


def test_a_run_writes_its_files(tmp_path):
    folder = tmp_path / "not there yet" / "run"
    evaluation, summary = TrainingRun(replace(TINY, epochs=2), folder).run()
    assert files_in(folder) == ENTRIES

    config = json.loads((folder / "config.json").read_text())
    assert set(config.pop("environment")) == set(environment())
    assert plain(config) == {
        "gpunet": gpunet.__version__,
        "data": "digits",
        "model": "resnet8",
        "epochs": 2,
        "batch_size": 16,
        "lr": 0.1,
        "seed": 3,
        "optimizer": "sgd",
        "schedule": "onecycle",
        "weight_decay": 5e-4,
        "label_smoothing": 0.0,
        "augment": "standard",
        "clip": None,
        "ema": None,
        "accumulate": 1,
        "early_stop": None,
        "mixup": None,
        "image_size": None,
        "amp": False,
        "weights": None,
        "freeze": [],
        "head_lr": None,
        "preprocessing": "data",
        "backend": active_backend(),
        "kernels": kernels_in_use(),
        "data_dir": None,
        "on_unreadable": "skip",
        "workers": 1,
        "keep": 2,
        "checkpoint_steps": None,
        "checkpoint_seconds": None,
        "tensorboard": False,
        "graph": False,
        "check_ranks": False,
        "classes": list("0123456789"),
        "input": {"channels": 1, "stored_size": 8, "size": 8, "scale": 16, "mean": [0.305], "std": [0.376]},
    }

    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert lines[-1]["test_accuracy"] == evaluation.accuracy
    assert lines[-1]["test_loss"] == evaluation.loss
    model = create_model("resnet8", 10, 1)
    assert set(lines[0]["gradient_norms"]) == {name for name, _ in model.named_parameters()}
    assert all(norm > 0 for norm in lines[0]["gradient_norms"].values())
    assert lines[0]["learning_rate"] > lines[1]["learning_rate"] > 0

    assert json.loads((folder / "summary.json").read_text()) == summary
    confusion = evaluation.confusion
    expected = {
        "test_accuracy": evaluation.accuracy,
        "test_loss": evaluation.loss,
        "parameters": sum(p.numel() for p in create_model("resnet8", 10, 1).parameters()),
        "backend": active_backend(),
        "epochs_done": 2,
        "steps_done": 4,
        "interrupted": False,
        "stopped_early": False,
        "classes": list("0123456789"),
        "confusion": evaluation.confusion.tolist(),
        "precision": [row[i] / sum(row) if sum(row) else None for i, row in enumerate(confusion.T.tolist())],
        "recall": [row[i] / sum(row) if sum(row) else None for i, row in enumerate(confusion.tolist())],
        "numpy": np.__version__,
    }
    assert {name: summary[name] for name in expected} == expected
    assert summary["seconds"] > 0
    assert summary["images_per_second"] > 0
    assert np.sum(summary["confusion"]) == 40

    weights = load_file(folder / "model.safetensors")
    assert set(weights) == set(create_model("resnet8", 10, 1).state_dict())
    assert {str(array.dtype) for array in weights.values()} == {"float32", "int64"}


def test_summary_is_the_same_whether_read_or_returned_and_says_what_was_asked_for(tmp_path):
    heard = []
    run = TrainingRun(replace(TINY, model="lenet5", epochs=2, lr=0.05), tmp_path)
    _, summary = run.run(heard.append)
    assert [result.epoch for result in heard] == [1, 2]
    assert (summary["model"], summary["lr"], summary["seed"]) == ("lenet5", 0.05, 3)


def test_lenet5_gets_images_of_32_pixels(tmp_path):
    run = TrainingRun(replace(TINY, model="lenet5"), tmp_path)
    assert next(iter(run.train_loader))[0].shape == (16, 1, 32, 32)
    assert next(iter(run.test_loader))[0].shape == (40, 1, 32, 32)


def test_images_are_normalised(tmp_path):
    run = TrainingRun(TINY, tmp_path)
    images = next(iter(run.test_loader))[0].numpy()
    assert images.shape == (40, 1, 8, 8)
    assert images.dtype == np.float32
    assert abs(images.mean()) < 0.1
    assert abs(images.std() - 1) < 0.1


def trained_bytes(folder, config=TINY):
    TrainingRun(config, folder).run()
    return (folder / "model.safetensors").read_bytes()


def test_the_same_seed_gives_the_same_bits(tmp_path, threads):
    weights = set()
    for count in (1, 3):
        threads(count)
        weights.add(trained_bytes(tmp_path / f"{count} threads"))
    gpunet.backend.host_generator().random(3)  # what was drawn before must not matter
    weights.add(trained_bytes(tmp_path / "again"))
    assert len(weights) == 1
    assert trained_bytes(tmp_path / "other", replace(TINY, seed=4)) not in weights


@pytest.mark.parametrize("model", ["resnet8", "lenet5"])
def test_evaluate_run_repeats_the_test_exactly(tmp_path, model):
    evaluation, _ = TrainingRun(replace(TINY, model=model), tmp_path).run()
    again, classes = evaluate_run(tmp_path)
    assert again.loss == evaluation.loss
    assert again.accuracy == evaluation.accuracy
    np.testing.assert_array_equal(again.confusion, evaluation.confusion)
    assert classes == tuple("0123456789")


def test_a_stopped_run_is_saved(tmp_path):
    run = TrainingRun(replace(TINY, epochs=3), tmp_path)
    run.trainer.stop_requested = True
    evaluation, summary = run.run()
    assert files_in(tmp_path) == ["checkpoints", "config.json", "model.safetensors", "summary.json"]  # no whole epoch
    assert summary["interrupted"] is True
    assert summary["epochs_done"] == 0
    assert summary["images_per_second"] is None
    assert evaluate_run(tmp_path)[0].loss == evaluation.loss


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_run_that_breaks_leaves_no_result(tmp_path):
    run = TrainingRun(replace(TINY, lr=1e30), tmp_path)
    with pytest.raises(NonFiniteError):
        run.run()
    assert "summary.json" not in files_in(tmp_path)
    assert "model.safetensors" not in files_in(tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs must be 1 or more, got 0"),
        ({"epochs": 1.5}, "epochs must be a whole number, got 1.5"),
        ({"epochs": True}, "epochs"),
        ({"batch_size": 1}, "batch_size must be 2 or more, got 1"),
        ({"batch_size": "32"}, "batch_size must be a whole number"),
        ({"seed": -1}, "seed must be 0 or more, got -1"),
        ({"lr": 0}, "lr must be a finite number above 0, got 0"),
        ({"lr": -0.1}, "lr"),
        ({"lr": float("nan")}, "lr"),
        ({"lr": float("inf")}, "lr"),
        ({"lr": "fast"}, "lr"),
    ],
)
def test_config_refuses(settings, message):
    with pytest.raises(ArgumentError, match=message):
        TrainConfig(**settings)


def test_config_takes_numbers_of_numpy(tmp_path):
    """They come out of `numpy.arange` and the like, but JSON does not know them."""
    config = TrainConfig(epochs=np.int64(1), batch_size=np.int32(16), seed=np.uint8(3), lr=np.float32(0.5))
    TrainingRun(config, tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    assert (written["epochs"], written["batch_size"], written["seed"], written["lr"]) == (1, 16, 3, 0.5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "resnet9"}, "unknown model 'resnet9'; did you mean resnet8?"),
        ({"data": "imagenet"}, "unknown data 'imagenet'; choose one of digits"),
    ],
)
def test_a_run_that_cannot_begin_makes_no_folder(tmp_path, settings, message):
    with pytest.raises(ArgumentError, match=message):
        TrainingRun(replace(TINY, **settings), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_there_are_never_more_images_in_a_batch_than_there_are(tmp_path):
    run = TrainingRun(replace(TINY, batch_size=33), tmp_path)
    assert [images.shape[0] for images, _ in run.train_loader] == [32]
    assert run.remarks == ["batches of 32 images, not 33: there are no more"]
    assert TrainingRun(replace(TINY, batch_size=32), tmp_path / "all", options=RunOptions(keep=6)).remarks == []


# The folder


@pytest.mark.parametrize("name", ENTRIES)
def test_a_folder_that_holds_a_run_is_refused(tmp_path, name):
    (tmp_path / name).write_text("precious")
    with pytest.raises(FileError, match=r"holds a run already; .*--resume .*--overwrite"):
        TrainingRun(TINY, tmp_path)
    assert (tmp_path / name).read_text() == "precious"
    assert files_in(tmp_path) == [name]


def test_overwrite_replaces_a_run_and_nothing_else(tmp_path):
    TrainingRun(replace(TINY, epochs=2), tmp_path).run()
    (tmp_path / "notes.txt").write_text("precious")
    run = TrainingRun(TINY, tmp_path, overwrite=True)
    assert files_in(tmp_path) == ["config.json", "notes.txt"]  # no old result beside the new configuration
    run.run()
    assert (tmp_path / "notes.txt").read_text() == "precious"
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 1


def content_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("failing", "last"), [*(("replace", call) for call in range(1, 7)), ("fsync", 1), ("chmod", 1), ("mkdir", 2)]
)
def test_a_run_that_cannot_be_replaced_is_still_there(tmp_path, trained, monkeypatch, failing, last):
    """Whichever call of the system fails: the old run goes when the new one is begun, and not before."""
    put(tmp_path, trained)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "one").write_text("precious")
    before, real, calls = content_of(tmp_path), getattr(os, failing), []

    def fails_at_last(*args, **kwargs):
        calls.append(args)
        if len(calls) == last:
            raise OSError(errno.EIO, "Input/output error")
        return real(*args, **kwargs)

    monkeypatch.setattr(os, failing, fails_at_last)
    with pytest.raises(FileError, match="Input/output error"):
        TrainingRun(replace(TINY, seed=9), tmp_path, overwrite=True)
    assert content_of(tmp_path) == before
    assert files_in(tmp_path) == ENTRIES
    TrainingRun(replace(TINY, seed=9), tmp_path, overwrite=True)
    assert files_in(tmp_path) == ["config.json"]


def test_what_a_killed_replacement_has_left_goes(tmp_path):
    (tmp_path / ".replaced-abc").mkdir()
    (tmp_path / ".replaced-abc" / "config.json").write_text("old")
    TrainingRun(TINY, tmp_path)
    assert files_in(tmp_path) == ["config.json"]


@pytest.mark.parametrize("setting", ["epochs", "batch_size", "seed", "accumulate", "early_stop", "image_size"])
def test_numbers_that_could_not_be_read_again_are_refused(setting):
    for value in (2**63, 2**64, 10**5000, np.uint64(2**63)):
        with pytest.raises(ArgumentError, match=rf"{setting} must be at most 9223372036854775807"):
            TrainConfig(**{setting: value})
    assert getattr(TrainConfig(**{setting: 2**63 - 1}), setting) == 2**63 - 1


@pytest.mark.parametrize("setting", ["lr", "weight_decay", "clip", "ema", "mixup", "label_smoothing"])
def test_whole_numbers_that_are_no_float_are_refused(setting):
    with pytest.raises(ArgumentError, match=setting):
        TrainConfig(**{setting: 10**400})


@pytest.mark.parametrize("setting", ["workers", "keep", "checkpoint_steps", "checkpoint_seconds"])
def test_options_that_could_not_be_read_again_are_refused(setting):
    with pytest.raises(ArgumentError, match=rf"{setting} must be at most"):
        RunOptions(**{setting: 2**64})


def test_names_that_are_no_utf8_can_be_written_and_read(tmp_path):
    """A file system may hold names of any bytes; Python reads those that are not UTF-8 as halves of surrogate pairs."""
    name = os.fsdecode(b"caf\xe9") + " 漢字"
    write_json(tmp_path / "a", {name: [name]})
    append_json_line(tmp_path / "b", {name: name})
    assert read_json(tmp_path / "a") == {name: [name]}
    assert read_json(tmp_path / "b") == {name: name}
    assert "漢字" in (tmp_path / "a").read_text("utf-8")


def test_other_files_do_not_matter(tmp_path):
    (tmp_path / "notes.txt").write_text("precious")
    TrainingRun(TINY, tmp_path)
    assert files_in(tmp_path) == ["config.json", "notes.txt"]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("where", ["file", "file/run", "x" * 300])
def test_a_folder_that_cannot_be_made(tmp_path, where, overwrite):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FileError, match="cannot use the folder"):
        TrainingRun(TINY, tmp_path / where, overwrite)
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_folder_that_may_not_be_written_to(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)  # for root, no folder is read-only
    with pytest.raises(FileError, match=r"cannot use the folder .*run: Permission denied"):
        TrainingRun(TINY, tmp_path / "run")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(FileError, match="Permission denied"):
        TrainingRun(TINY, tmp_path)
    with pytest.raises(FileError, match="Permission denied"):
        TrainingRun(TINY, tmp_path / "run")


def test_new_run_paths_do_not_collide(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = [new_run_path("digits", "resnet8")]
    for _ in range(3):
        paths[-1].mkdir(parents=True)
        paths.append(new_run_path("digits", "resnet8"))
    assert len(set(paths)) == 4
    assert all(str(path).startswith(os.path.join("runs", "digits-resnet8-")) for path in paths)


# Damage


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The files of a run, as bytes."""
    folder = tmp_path_factory.mktemp("trained")
    with gpunet.use_backend("numpy"):
        TrainingRun(TINY, folder).run()
    return {name: (folder / name).read_bytes() for name in FILES}


def put(folder, trained, **changes):
    """Write the files of a run with some of them changed; None leaves a file out."""
    for name, content in {**trained, **{name.replace("_", "."): content for name, content in changes.items()}}.items():
        if content is not None:
            (folder / name).write_bytes(content)


def test_undamaged_files_are_read(tmp_path, trained):
    put(tmp_path, trained)
    assert evaluate_run(tmp_path)[0].accuracy == json.loads(trained["summary.json"])["test_accuracy"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (b"", "is not a JSON file"),
        (b'{"data": "digits", "model": "res', "is not a JSON file"),
        (b"\xff\xfe\x00", "is not a JSON file"),
        (b"[" * 100_000, "is not a JSON file"),
        (b"[1, 2]", "must hold a JSON object"),
        (b"null", "must hold a JSON object"),
        (b'"digits"', "must hold a JSON object"),
        (b"{}", "'data' must be a text, got None"),
        (b'{"data": "digits"}', "'model' must be a text, got None"),
        (b'{"data": ["digits"], "model": "resnet8"}', r"'data' must be a text, got \['digits'\]"),
        (b'{"data": "digits", "model": 8}', "'model' must be a text, got 8"),
        (None, "holds no training run"),
    ],
)
def test_damaged_config(tmp_path, trained, config, message):
    put(tmp_path, trained, config_json=config)
    with pytest.raises(FileError, match=message):
        evaluate_run(tmp_path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (b'{"data": "faces", "model": "resnet8"}', "unknown data 'faces'; choose one of digits"),
        (b'{"data": "digits", "model": "vgg"}', "unknown model 'vgg'; did you mean vgg11?"),
        (b'{"data": "digits", "model": "__class__"}', "unknown model"),
    ],
)
def test_config_of_something_unknown(tmp_path, trained, config, message):
    put(tmp_path, trained, config_json=config)
    with pytest.raises(GpunetError, match=message):
        evaluate_run(tmp_path)


def changed_header(weights, change):
    """The same safetensors file with another header; `change` takes it as a dict."""
    (length,) = struct.unpack("<Q", weights[:8])
    header = json.loads(weights[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + weights[8 + length :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda w: b"",
        lambda w: w[:7],
        lambda w: w[:100],
        lambda w: w[:-1],
        lambda w: w + b"\0",
        lambda w: b"\xff" * 8 + w[8:],
        lambda w: struct.pack("<Q", 10**9) + w[8:],
        lambda w: b"PK\x03\x04" + w[4:],
        lambda w: w[:8] + b"[" + w[9:],
        lambda w: changed_header(w, lambda h: h["fc.bias"].update(dtype="F1")),
        lambda w: changed_header(w, lambda h: h["fc.bias"].update(shape=[-10])),
        lambda w: changed_header(w, lambda h: h["fc.bias"].update(data_offsets=[0, 10**12])),
        lambda w: changed_header(w, lambda h: h["fc.bias"].pop("shape")),
        lambda w: changed_header(w, lambda h: h.update({"fc.bias": None})),
    ],
)
def test_damaged_weights(tmp_path, trained, damage):
    put(tmp_path, trained, model_safetensors=damage(trained["model.safetensors"]))
    with pytest.raises(FileError, match=r"model\.safetensors is not a whole (safetensors file|file of torch\.save)"):
        evaluate_run(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda h: h.update({"head.bias": h.pop("fc.bias")}),
        lambda h: h["fc.bias"].update(shape=[5, 2]),
        lambda h: h["fc.bias"].update(dtype="BF16", shape=[20]),
        lambda h: h["fc.bias"].update(shape=[1, 10]),
    ],
)
def test_weights_of_another_model(tmp_path, trained, change):
    put(tmp_path, trained, model_safetensors=changed_header(trained["model.safetensors"], change))
    with pytest.raises(StateDictError):
        evaluate_run(tmp_path)


def test_weights_and_config_of_different_models(tmp_path, trained):
    put(tmp_path, trained, config_json=b'{"data": "digits", "model": "lenet5"}')
    with pytest.raises(StateDictError, match="features"):
        evaluate_run(tmp_path)


def test_no_flipped_bit_of_the_header_escapes(tmp_path, trained):
    """A flipped bit is reported as an error of gpunet, or does not matter; no other exception comes out."""
    model = nn.Sequential(nn.Linear(2, 3))
    save_weights(tmp_path / "weights", model)
    whole = (tmp_path / "weights").read_bytes()
    damaged, refused = tmp_path / "damaged", 0
    (length,) = struct.unpack("<Q", whole[:8])
    for position in range(8 + length):
        for bit in (0, 3, 6):
            content = bytearray(whole)
            content[position] ^= 1 << bit
            damaged.write_bytes(content)
            try:
                load_weights(damaged, nn.Sequential(nn.Linear(2, 3)))
            except GpunetError:
                refused += 1
    assert refused > 2 * (8 + length)  # most of them; a flipped bit in the metadata, say, does no harm


def test_weights_that_are_refused_load_nothing(tmp_path):
    save_weights(tmp_path / "weights", nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4)))
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 5))
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    with pytest.raises(StateDictError):
        load_weights(tmp_path / "weights", model)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])


def test_weights_come_back_bit_by_bit(tmp_path):
    model, other = create_model("resnet8", 10, 1), create_model("resnet8", 10, 1)
    save_weights(tmp_path / "weights", model)
    load_weights(tmp_path / "weights", other)
    for (name, saved), (_, loaded) in zip(model.state_dict().items(), other.state_dict().items(), strict=True):
        assert saved.numpy().tobytes() == loaded.numpy().tobytes(), name


def test_a_path_may_be_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, other = nn.Linear(2, 3), nn.Linear(2, 3)
    save_weights("weights", model)
    load_weights("weights", other)
    assert other.weight.tolist() == model.weight.tolist()
    for function in (save_weights, load_weights):
        with pytest.raises(
            DTypeError, match=f"{function.__name__} expects the path .* then a model, got Linear and str"
        ):
            function(model, "weights")


def test_wherever_there_is_a_path_it_may_be_text():
    """Of what is public, and called with the path of something."""
    packages = [gpunet.data, gpunet.train, gpunet.report, explain, gradients, visualize, page.lecture]
    shown = [getattr(package, name) for package in packages for name in package.__all__]
    functions = [*shown, *(method for each in shown if inspect.isclass(each) for method in vars(each).values())]
    wrong = [
        f"{function.__qualname__}: {name}"
        for function in functions
        if callable(function) and not getattr(function, "__name__", "").startswith("_")
        for name, parameter in inspect.signature(function).parameters.items()
        if "Path" in str(parameter.annotation) and "str" not in str(parameter.annotation)
    ]
    assert wrong == []


def as_file(path, dtype, shape, data):
    """A safetensors file of one Tensor, "weight"."""
    header = json.dumps({"weight": {"dtype": dtype, "shape": shape, "data_offsets": [0, len(data)]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)
    return path


def test_bfloat16_is_loaded_exactly(tmp_path):
    """Recorded from PyTorch 2.13: the bytes of torch.tensor([1.0, 3.140625, -1e-30, inf]).bfloat16()."""
    path = as_file(tmp_path / "weights", "BF16", [1, 4], bytes.fromhex("803f4940a28d807f"))
    model = nn.Linear(4, 1, bias=False)
    load_weights(path, model)
    assert model.weight.tolist() == [[1.0, 3.140625, -9.98402083170343e-31, float("inf")]]


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2"])
def test_numbers_that_cannot_be_read_are_named(tmp_path, dtype):
    path = as_file(tmp_path / "weights", dtype, [1, 4], bytes(4))
    with pytest.raises(FileError, match=f"numbers of the type {dtype}; what can be read is F64, F32, F16, BF16"):
        load_weights(path, nn.Linear(4, 1, bias=False))


@pytest.mark.parametrize("path", ["missing", "folder", "x" * 300])
def test_files_that_cannot_be_read(tmp_path, path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileError, match="cannot read"):
        load_weights(tmp_path / path, nn.Linear(1, 1))
    with pytest.raises(FileError, match="cannot read"):
        read_json(tmp_path / path)


@pytest.mark.parametrize("path", ["missing", "file", "empty", "x" * 300])
def test_no_run_to_evaluate(tmp_path, path):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileError, match="holds no training run"):
        evaluate_run(tmp_path / path)


def test_a_run_without_weights(tmp_path, trained):
    put(tmp_path, trained, model_safetensors=None)
    with pytest.raises(FileError, match=r"cannot read .*model\.safetensors: No such file"):
        evaluate_run(tmp_path)


# Whole or not there


def test_write_and_read(tmp_path):
    write_bytes(tmp_path / "a", b"old")
    write_bytes(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"
    write_json(tmp_path / "b", {"name": "Grün", "values": [1, None]})
    assert read_json(tmp_path / "b") == {"name": "Grün", "values": [1, None]}
    append_json_line(tmp_path / "c", {"epoch": 1})
    append_json_line(tmp_path / "c", {"epoch": 2})
    assert [json.loads(line) for line in (tmp_path / "c").read_text().splitlines()] == [{"epoch": 1}, {"epoch": 2}]
    assert files_in(tmp_path) == ["a", "b", "c"]


@pytest.mark.parametrize("failing", ["replace", "fsync", "chmod"])
def test_a_disk_that_is_full_leaves_the_old_file(tmp_path, monkeypatch, failing):
    (tmp_path / "file").write_bytes(b"old")

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, failing, full)
    for path in (tmp_path / "file", tmp_path / "new"):
        with pytest.raises(FileError, match=rf"cannot write .*{path.name}: No space left on device"):
            write_bytes(path, b"new")
    assert files_in(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


@pytest.mark.parametrize("failing", ["replace", "fsync", "chmod"])
def test_what_went_wrong_is_said_though_cleaning_up_fails_too(tmp_path, monkeypatch, failing):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    def read_only(*args, **kwargs):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, failing, full)
    monkeypatch.setattr(Path, "unlink", read_only)
    with pytest.raises(FileError, match=r"cannot write .*file: No space left on device"):
        write_bytes(tmp_path / "file", b"new")


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch, error):
    (tmp_path / "file").write_bytes(b"old")

    def interrupt(*args):
        raise error

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(error):
        write_bytes(tmp_path / "file", b"new")
    assert files_in(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_folder_that_cannot_be_flushed_does_no_harm(tmp_path, monkeypatch):
    """Some file systems flush files but not folders; the file has its place by then."""
    flush = os.fsync

    def only_files(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", only_files)
    write_bytes(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"


def test_the_content_is_flushed_before_the_file_takes_its_place(tmp_path, monkeypatch):
    order = []
    flush, rename = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (order.append("flush"), flush(descriptor)))
    monkeypatch.setattr(os, "replace", lambda source, target: (order.append("rename"), rename(source, target)))
    write_bytes(tmp_path / "file", b"new")
    assert order[:2] == ["flush", "rename"]


@pytest.mark.parametrize("target", ["missing/file", "folder"])
def test_a_place_that_cannot_be_written_to(tmp_path, target):
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileError, match="cannot write"):
        write_bytes(tmp_path / target, b"new")
    with pytest.raises(FileError, match="cannot write"):
        append_json_line(tmp_path / target, {})
    assert files_in(tmp_path) == ["folder"]


@pytest.mark.skipif(os.name != "posix", reason="file modes are those of POSIX")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_file_modes_follow_the_umask(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_bytes(tmp_path / "file", b"")
        append_json_line(tmp_path / "lines", {})
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode
    assert stat.S_IMODE((tmp_path / "lines").stat().st_mode) == mode


def test_saving_fails_with_a_gpunet_error(tmp_path, monkeypatch):
    run = TrainingRun(TINY, tmp_path)
    folder = RunFolder(tmp_path)

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(FileError, match=r"No space left on device: .* MB are needed, .* MB are free"):
        run.run()
    assert not folder.summary_path.exists()
    assert files_in(tmp_path) == ["checkpoints", "config.json", "metrics.jsonl"]
    assert files_in(tmp_path / "checkpoints") == []


@pytest.mark.parametrize(
    ("settings", "epochs"),
    [({}, 15), ({"data": "shapes"}, 5), ({"data": "folder:pictures"}, 15), ({"data": "shapes", "epochs": 2}, 2)],
)
def test_epochs_are_those_that_the_data_needs_unless_told(settings, epochs):
    assert TrainConfig(**settings).epochs == epochs
