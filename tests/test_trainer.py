"""What the Trainer and `TrainConfig` offer beside the bare loop: each against a formula, or a loop written out here."""

import math
import sys
import types
from dataclasses import replace

import numpy as np
import pytest

from gpunet import functional as F
from gpunet import nn, optim
from gpunet.backend import active_backend, manual_seed, use_backend
from gpunet.data import DataLoader, Mixup, TensorDataset
from gpunet.errors import (
    ArgumentError,
    BackendError,
    FileError,
    NonFiniteError,
    OutOfMemoryError,
    StateDictError,
)
from gpunet.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau
from gpunet.tensor import tensor
from gpunet.train import (
    AveragedWeights,
    Callback,
    CheckpointFolder,
    EarlyStopping,
    RunOptions,
    Trainer,
    TrainingRun,
    evaluate_run,
    read_toml,
    saved_config,
)
from gpunet.train.config import TrainConfig, make_optimizer, make_schedule
from tests.runs import TINY, few_digits


@pytest.fixture(autouse=True)
def _few_digits():
    with use_backend("numpy"), few_digits():
        yield


def points(count=40):
    rng = np.random.default_rng(0)
    return TensorDataset(rng.standard_normal((count, 4)).astype(np.float32), rng.integers(0, 3, count))


def make_trainer(lr=0.1, **settings):
    manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    return Trainer(model, optim.SGD(model.parameters(), lr), classes=3, show_progress=False, **settings)


def fit(trainer, epochs=1, batch=8, **settings):
    return list(trainer.fit(DataLoader(points(), batch, seed=0, **settings), DataLoader(points(), 40), epochs))


def values(model):
    return [parameter.numpy().copy() for parameter in model.parameters()]


def step_by_hand(model, batches, lr, change=lambda grads: grads):
    """One step of SGD with the mean of the gradients of some batches."""
    sums = [np.zeros(parameter.shape) for parameter in model.parameters()]
    for images, labels in batches:
        model.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        sums = [total + parameter.grad.numpy() for total, parameter in zip(sums, model.parameters(), strict=True)]
    grads = change([total / len(batches) for total in sums])
    return [value - lr * grad for value, grad in zip(values(model), grads, strict=True)]


# Accumulation, clipping, averages, schedules


def test_accumulated_gradients_are_averaged():
    trainer = make_trainer(accumulate=3)
    batches = list(DataLoader(points(), 8))[:3]
    expected = step_by_hand(make_trainer().model, batches, 0.1)
    for part, batch in enumerate(batches):
        trainer.train_step(*batch, part, 3)
    for value, right in zip(values(trainer.model), expected, strict=True):
        np.testing.assert_allclose(value, right, rtol=1e-5, atol=1e-7)


def test_accumulation_of_equal_batches_is_one_large_batch():
    small, large = make_trainer(accumulate=5), make_trainer()
    fit(small, batch=8)
    fit(large, batch=40)
    assert small.progress.step == large.progress.step == 1
    for value, right in zip(values(small.model), values(large.model), strict=True):
        np.testing.assert_allclose(value, right, rtol=1e-5, atol=1e-7)


def test_an_epoch_ends_with_a_step():
    trainer = make_trainer(accumulate=3)
    fit(trainer, epochs=2)  # 5 batches: steps of 3 and of 2
    assert trainer.progress.step == 4


def test_clipping():
    def clip(grads):
        norm = math.sqrt(sum(float((grad**2).sum()) for grad in grads))
        assert norm > 0.05
        return [grad * 0.05 / (norm + 1e-6) for grad in grads]

    trainer, batch = make_trainer(clip=0.05), next(iter(DataLoader(points(), 8)))
    expected = step_by_hand(make_trainer().model, [batch], 0.1, clip)
    trainer.train_step(*batch)
    for value, right in zip(values(trainer.model), expected, strict=True):
        np.testing.assert_allclose(value, right, rtol=1e-5, atol=1e-7)


def test_gradient_norms_are_those_of_the_last_step():
    trainer = make_trainer()
    (result,) = fit(trainer)
    expected = {name: np.linalg.norm(each.grad.numpy()) for name, each in trainer.model.named_parameters()}
    assert result.gradient_norms == pytest.approx(expected, rel=1e-5)


def test_averages_follow_their_formula():
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.BatchNorm1d(2))
    averages = AveragedWeights(model, 0.3)
    expected = model[0].weight.numpy().astype(np.float64)
    for step in (1, 2, 3, 4):
        model[0].weight.data += 1.0
        model[1].num_batches_tracked.data += 1
        decay = min(0.3, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * model[0].weight.numpy()
        averages.update(step)
    np.testing.assert_allclose(averages.averages["0.weight"], expected, rtol=1e-6)
    assert averages.averages["1.num_batches_tracked"] == 4
    before = model[0].weight.numpy().copy()
    with averages.in_use():
        np.testing.assert_allclose(model[0].weight.numpy(), expected, rtol=1e-6)
    np.testing.assert_array_equal(model[0].weight.numpy(), before)


def test_the_averages_are_evaluated_and_saved(tmp_path):
    run = TrainingRun(replace(TINY, ema=0.9), tmp_path)
    evaluation, _ = run.run()
    assert evaluate_run(tmp_path)[0].loss == evaluation.loss
    run.trainer.averages = None
    assert run.trainer.evaluate(run.test_loader).loss != evaluation.loss


def test_averages_of_another_model():
    averages = AveragedWeights(nn.Linear(2, 2), 0.9)
    with pytest.raises(StateDictError, match="do not fit the model: bias, extra"):
        averages.load_state_dict({"weight": np.zeros((2, 2), np.float32), "extra": np.zeros(1, np.float32)})


def test_plateau_goes_by_the_loss_on_the_test_images():
    trainer = make_trainer(lr=1e-30)  # nothing changes, so nothing becomes better
    trainer.schedule = ReduceLROnPlateau(trainer.optimizer, factor=0.5, patience=0, eps=0)
    results = fit(trainer, epochs=4)
    assert [result.learning_rate for result in results] == pytest.approx([1e-30, 1e-30, 0.5e-30, 0.25e-30])


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("onecycle", {0: 0.004, 29: 0.1, 99: 0.1 / 25 / 1e4}),
        ("cosine", {0: 0.1 / 6, 5: 0.1, 52: 0.1 * (1 + math.cos(math.pi * 47 / 95)) / 2, 100: 0.0}),
        ("step", {0: 0.1, 49: 0.1, 50: 0.01, 74: 0.01, 75: 0.001}),
    ],
)
def test_schedules(schedule, expected):
    config = TrainConfig(schedule=schedule)
    optimizer = make_optimizer(config, nn.Linear(1, 1))
    made, found = make_schedule(config, optimizer, 100), {}
    for step in range(101):
        found[step] = optimizer.param_groups[0]["lr"]
        made.step() if step < 100 else None
    assert {step: found[step] for step in expected} == pytest.approx(expected, abs=1e-12)


def test_a_constant_learning_rate_has_no_schedule():
    config = TrainConfig(schedule="constant")
    assert make_schedule(config, make_optimizer(config, nn.Linear(1, 1)), 10) is None


@pytest.mark.parametrize(("optimizer", "kind"), [("sgd", optim.SGD), ("adam", optim.Adam), ("adamw", optim.AdamW)])
def test_optimizers(optimizer, kind):
    made = make_optimizer(TrainConfig(optimizer=optimizer, lr=0.02, weight_decay=0.3), nn.Linear(1, 1))
    assert type(made) is kind
    assert made.param_groups[0]["lr"] == 0.02
    assert made.param_groups[0]["weight_decay"] == 0.3


def test_schedules_of_any_length():
    for schedule in ("onecycle", "cosine", "step", "plateau", "constant"):
        for steps in (1, 2, 3, 21):
            config = TrainConfig(schedule=schedule)
            made = make_schedule(config, make_optimizer(config, nn.Linear(1, 1)), steps)
            for _ in range(steps if schedule not in ("plateau", "constant") else 0):
                made.step()


# What settings of a run reach


def test_label_smoothing_reaches_the_loss(tmp_path):
    run = TrainingRun(replace(TINY, label_smoothing=0.25), tmp_path)
    logits, labels = tensor(np.array([[2.0, 1.0, 0.0]], np.float32)), tensor(np.array([0]))
    log = np.log(np.exp([2, 1, 0]) / np.exp([2, 1, 0]).sum())
    expected = -(0.75 * log[0] + 0.25 * log.mean())
    assert run.trainer.loss_function(logits, labels).item() == pytest.approx(expected, rel=1e-6)


def test_settings_reach_their_places(tmp_path):
    config = replace(TINY, clip=2.0, ema=0.5, accumulate=4, early_stop=3, mixup=0.3, augment="none")
    run = TrainingRun(config, tmp_path, options=RunOptions(workers=3))
    trainer = run.trainer
    assert (trainer.clip, trainer.averages.decay, trainer.accumulate) == (2.0, 0.5, 4)
    assert trainer.callbacks[0].patience == 3
    assert (run.train_loader.workers, run.test_loader.workers) == (3, 3)
    assert isinstance(run.train_loader.batch_transform, Mixup)
    assert trainer.schedule.total_steps == 4
    assert saved_config(run.folder) == config


def test_labels_that_are_probabilities_are_counted_by_the_likeliest():
    trainer = make_trainer(lr=1e-30)
    images, labels = next(iter(DataLoader(points(), 40)))
    soft = tensor((0.9 * np.eye(3)[labels.numpy()] + 0.1 / 3).astype(np.float32))
    assert int(trainer.train_step(images, soft)[1]) == int(trainer.train_step(images, labels)[1])


# Callbacks


class Recorder(Callback):
    def __init__(self):
        self.calls = []

    def on_fit_begin(self, trainer):
        self.calls.append("fit begin")

    def on_step_end(self, trainer):
        assert all(parameter.grad is not None for parameter in trainer.model.parameters())
        self.calls.append(trainer.progress.step)

    def on_epoch_end(self, trainer, result):
        assert trainer.progress.results[-1] is result
        self.calls.append(f"epoch {result.epoch}")

    def on_fit_end(self, trainer):
        self.calls.append("fit end")


def test_callbacks_are_called_in_turn():
    recorder = Recorder()
    trainer = make_trainer(callbacks=[recorder], accumulate=3)
    fit(trainer, epochs=2)
    assert recorder.calls == ["fit begin", 1, 2, "epoch 1", 3, 4, "epoch 2", "fit end"]


def test_a_callback_can_make_an_epoch_the_last():
    class Enough(Callback):
        def on_epoch_end(self, trainer, result):
            trainer.finished = result.epoch == 2

    assert len(fit(make_trainer(callbacks=[Enough()]), epochs=9)) == 2


@pytest.mark.parametrize(
    ("losses", "epochs"),
    [([3, 2, 1, 1, 1, 1], 5), ([3, 3, 2, 2, 2], 5), ([1, 2, 3], 3), ([5, 4, 3, 2, 1], 5)],
)
def test_early_stopping(losses, epochs):
    stopping, trainer = EarlyStopping(2), make_trainer()
    template = fit(make_trainer())[0]
    done = 0
    while not trainer.finished and done < len(losses):
        stopping.on_epoch_end(trainer, replace(template, test_loss=float(losses[done])))
        done += 1
    assert done == epochs


def test_a_second_fit_goes_on():
    trainer = make_trainer()
    assert [result.epoch for result in fit(trainer, epochs=2)] == [1, 2]
    assert [result.epoch for result in fit(trainer, epochs=3)] == [3]


def test_a_place_that_the_training_set_does_not_have():
    trainer = make_trainer(accumulate=2)
    for batch in (3, 6):
        trainer.progress.batch = batch
        with pytest.raises(StateDictError, match=f"cannot go on at batch {batch} of an epoch of 5"):
            fit(trainer)


@pytest.mark.parametrize(
    "settings", [{"clip": 0}, {"clip": math.nan}, {"ema": 1.0}, {"ema": -0.1}, {"accumulate": 0}, {"accumulate": 1.5}]
)
def test_settings_that_are_refused(settings):
    with pytest.raises(ArgumentError, match=next(iter(settings))):
        make_trainer(**settings)


def test_a_patience_that_is_refused():
    with pytest.raises(ArgumentError, match="patience must be 1 or more"):
        EarlyStopping(0)


# NaN


class BreaksAt(nn.Module):
    """A layer that gives NaN at one of its calls, and ever after for the same images."""

    def __init__(self, call):
        super().__init__()
        self.call, self.calls, self.bad = call, 0, None

    def forward(self, x):
        self.calls += 1
        if self.calls == self.call:
            self.bad = x.numpy().copy()
        broken = self.bad is not None and np.array_equal(x.numpy(), self.bad)
        return x * math.nan if broken else x


def test_the_layer_is_named():
    trainer = make_trainer()
    trainer.model = nn.Sequential(BreaksAt(3), *trainer.model.children())
    where = r"in step 3, with batch 3 of epoch 1 .*: layer 0 \(BreaksAt\) is the first whose output is not finite; try"
    with pytest.raises(NonFiniteError, match=where):
        fit(trainer)
    assert all(np.isfinite(value).all() for value in values(trainer.model))  # the bad batch was not learned from


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_images_that_are_not_finite_are_named(bad):
    data = points()
    images, labels = (part.copy() for part in data.batch(np.arange(40), np.random.default_rng(0)))
    images[9, 2] = bad
    loader = DataLoader(TensorDataset(images, labels), 8)
    with pytest.raises(NonFiniteError, match=r"with batch 2 of epoch 1 .*: the images of the batch are not finite"):
        list(make_trainer().fit(loader, loader, epochs=1))


class BadGradient(nn.Module):
    """The square root of 0 has the slope infinity."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(np.zeros(1, np.float32))

    def forward(self, x):
        return x + (self.scale * self.scale).sqrt()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    ("clip", "message"),
    [
        (None, r"the loss became nan in step 2, .*: 0\.scale is not finite since the step before"),
        (1.0, r"the norm of the gradients became nan in step 1, .*: the gradient of 0\.scale is not finite"),
    ],
)
def test_a_gradient_that_is_not_finite_is_named(clip, message):
    layers = BadGradient(), nn.Linear(4, 3)
    model = nn.Sequential(*layers)
    trainer = Trainer(model, optim.SGD(model.parameters(), 0.1), classes=3, show_progress=False, clip=clip)
    with pytest.raises(NonFiniteError, match=message):
        fit(trainer)


def test_a_loss_function_that_is_not_finite_is_named():
    trainer = make_trainer(loss_function=lambda logits, labels: logits.mean() * math.nan)
    with pytest.raises(NonFiniteError, match="the outputs of all layers are finite, that of the loss function is not"):
        fit(trainer)


@pytest.fixture
def _on_the_emulator():
    try:
        switch = use_backend("emulated")
    except BackendError as error:
        pytest.skip(str(error))
    with switch:
        yield


class Counter(Callback):
    """Counts steps, and remembers how often somebody made it go back."""

    def __init__(self):
        self.steps, self.loaded = 0, []

    def on_step_end(self, trainer):
        self.steps += 1

    def state_dict(self):
        return {"steps": self.steps}

    def load_state_dict(self, state):
        self.loaded.append(state)
        self.steps = state["steps"]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.usefixtures("_on_the_emulator")
@pytest.mark.parametrize("obstacle", [None, OutOfMemoryError("too much"), FileError("damaged")], ids=repr)
def test_going_the_way_again_leaves_callbacks_of_the_user_as_they_are(tmp_path, monkeypatch, obstacle):
    """Nor does it hide the error, if it cannot be gone: with no memory for a second network, for example."""
    lr_at = OneCycleLR.lr_at
    monkeypatch.setattr(OneCycleLR, "lr_at", lambda self, step, lr: 1e30 if step == 11 else lr_at(self, step, lr))
    counter = Counter()
    run = TrainingRun(
        replace(TINY, early_stop=5), tmp_path, options=RunOptions(checkpoint_steps=3), callbacks=[counter]
    )
    if obstacle is not None:
        monkeypatch.setattr(run, "_restore", lambda *arguments, **settings: (_ for _ in ()).throw(obstacle))
    with pytest.raises(NonFiniteError, match=r"became nan in step 13|is not finite after step 15"):
        run.run()
    assert counter.steps == run.trainer.progress.step > 12
    assert counter.loaded == []


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("emulated", [False, True])
def test_a_run_keeps_its_last_good_checkpoint(tmp_path, monkeypatch, request, emulated):
    """A GPU is asked for the loss now and then; the steps since the checkpoint are then gone through once more."""
    if emulated:
        request.getfixturevalue("_on_the_emulator")
    assert active_backend() == ("emulated" if emulated else "numpy")

    lr_at = OneCycleLR.lr_at
    monkeypatch.setattr(OneCycleLR, "lr_at", lambda self, step, lr: 1e30 if step == 11 else lr_at(self, step, lr))
    run = TrainingRun(TINY, tmp_path, options=RunOptions(checkpoint_steps=3))
    where = r"in step 13, with batch 5 of epoch 2 .*: layer \d \(\w+\) is the first.*batch-0000004\.json is from before"
    with pytest.raises(NonFiniteError, match=where):
        run.run()
    assert CheckpointFolder(tmp_path / "checkpoints").positions()[-1] == (1, 4)
    assert not (tmp_path / "summary.json").exists()


# TOML


def test_toml(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('model = "lenet5"\nlabel-smoothing = 0.1\nbatch_size = 64\nkeep = 3\ntensorboard = true\n')
    assert read_toml(path) == {
        "model": "lenet5",
        "label_smoothing": 0.1,
        "batch_size": 64,
        "keep": 3,
        "tensorboard": True,
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"epochs = 3\nspeed = 11\n[deep]\nx = 1\n", "settings that are not known: speed, deep; did you mean seed"),
        (b"xyzzy = 1\n", "settings that are not known: xyzzy; known are data, model"),
        (b"epochs = = 3", "is not a TOML file"),
        (b"\xff\xfe", "is not a TOML file"),
        (b"x = " + b"[" * 100_000, "is not a TOML file"),
        (None, "cannot read"),
    ],
)
def test_toml_that_is_refused(tmp_path, content, message):
    path = tmp_path / "run.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises((ArgumentError, FileError), match=message):
        read_toml(path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "lion"}, "optimizer must be one of 'sgd', 'adam', 'adamw', got 'lion'"),
        ({"schedule": 3}, "schedule must be a text"),
        ({"augment": "wild"}, "augment must be one of"),
        ({"data": ""}, "data must be a text"),
        ({"label_smoothing": 1.5}, "label_smoothing must lie within"),
        ({"weight_decay": -1}, "weight_decay must be a finite number of 0 or more"),
        ({"clip": 0}, "clip must be a finite number above 0"),
        ({"ema": 1}, "ema must be a number of at least 0 and below 1"),
        ({"accumulate": 0}, "accumulate must be 1 or more"),
        ({"early_stop": 0}, "early_stop must be 1 or more"),
        ({"mixup": -1}, "mixup must be"),
        ({"image_size": 0}, "image_size must be 1 or more"),
    ],
)
def test_configurations_that_are_refused(settings, message):
    with pytest.raises(ArgumentError, match=message):
        TrainConfig(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"workers": -1}, "workers must be 0 or more"),
        ({"keep": 0}, "keep must be 1 or more"),
        ({"checkpoint_steps": 0}, "checkpoint_steps must be 1 or more"),
        ({"checkpoint_seconds": 0}, "checkpoint_seconds must be"),
        ({"tensorboard": "yes"}, "tensorboard must be true or false"),
        ({"data_dir": 3}, "data_dir must be a text"),
        ({"on_unreadable": "guess"}, "on_unreadable must be one of 'skip', 'error'"),
    ],
)
def test_run_options_that_are_refused(settings, message):
    with pytest.raises(ArgumentError, match=message):
        RunOptions(**settings)


def test_what_is_right_for_the_optimizer():
    assert [TrainConfig(optimizer=name).lr for name in ("sgd", "adam", "adamw")] == [0.1, 3e-3, 3e-3]
    assert [TrainConfig(optimizer=name).weight_decay for name in ("sgd", "adam", "adamw")] == [5e-4, 0.0, 0.05]
    assert TrainConfig(optimizer="adamw", weight_decay=0.0).weight_decay == 0


# TensorBoard


def test_events_need_a_library(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(FileError, match=r"pip install 'gpunet\[tensorboard\]'"):
        TrainingRun(TINY, tmp_path / "run", options=RunOptions(tensorboard=True))
    assert not (tmp_path / "run").exists()


def test_events(tmp_path, monkeypatch):
    events = []

    class SummaryWriter:
        def __init__(self, folder, purge_step):
            events.append((folder, purge_step))

        def add_scalar(self, *event):
            events.append(event)

        def flush(self): ...

        def close(self):
            events.append("closed")

    monkeypatch.setitem(sys.modules, "tensorboardX", types.SimpleNamespace(SummaryWriter=SummaryWriter))
    run = TrainingRun(TINY, tmp_path, options=RunOptions(tensorboard=True))
    run.run()
    first = run.trainer.progress.results[0]
    assert events[0] == (str(tmp_path / "tensorboard"), 1)
    assert ("test_accuracy", first.test_accuracy, 1) in events
    assert ("gradient_norm/0.weight", first.gradient_norms["0.weight"], 1) in events
    assert events[-1] == "closed"
