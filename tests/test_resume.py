"""A run that was interrupted, whenever and however, goes on to the same bits as one that never was."""

import errno
import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

import gpunet
from gpunet import nn, optim
from gpunet.backend import manual_seed, use_backend
from gpunet.cli import main
from gpunet.data import DataLoader, TensorDataset
from gpunet.errors import ArgumentError, BackendError, FileError, GpunetError, StateDictError
from gpunet.optim.lr_scheduler import OneCycleLR
from gpunet.train import (
    OPTIMIZERS,
    SCHEDULES,
    Callback,
    CheckpointFolder,
    RunFolder,
    RunOptions,
    Trainer,
    TrainingRun,
    restore,
    saved_config,
    saved_options,
    take,
)
from tests.runs import TINY, StopAfter, change, figures, weights

pytestmark = pytest.mark.usefixtures("tiny_runs")


def run(config, folder, steps=None, **settings):
    """Carry out a run, to its end or for so many steps."""
    callbacks = [] if steps is None else [StopAfter(steps)]
    TrainingRun(config, folder, show_progress=False, callbacks=callbacks, **settings).run()


def check_resumed(config, tmp_path, *stops):
    run(config, tmp_path / "whole")
    for stop in stops:
        run(config, tmp_path / "parts", stop, resume=True)
    run(config, tmp_path / "parts", resume=True)
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")
    assert figures(tmp_path / "parts") == figures(tmp_path / "whole")


# The same bits, whatever the settings


@pytest.mark.parametrize(
    ("optimizer", "schedule", "ema", "accumulate"), list(itertools.product(OPTIMIZERS, SCHEDULES, [None, 0.9], [1, 3]))
)
def test_every_combination(tmp_path, optimizer, schedule, ema, accumulate):
    lr = 0.05 if optimizer == "sgd" else 1e-3
    check_resumed(
        replace(TINY, optimizer=optimizer, schedule=schedule, ema=ema, accumulate=accumulate, lr=lr),
        tmp_path,
        4 if accumulate == 1 else 2,  # within the first epoch
    )


@pytest.mark.parametrize("stop", range(1, 17))
def test_every_step(tmp_path, stop):
    """The last steps of both epochs are among them: the epoch is over then, but not evaluated."""
    check_resumed(TINY, tmp_path, stop)


def test_many_interruptions(tmp_path):
    config = replace(TINY, epochs=3, clip=0.5, label_smoothing=0.1, mixup=0.2, early_stop=2, augment="strong")
    check_resumed(config, tmp_path, 1, 5, 6, 8, 9, 16, 17, 23)


def test_options_that_change_nothing(tmp_path):
    run(TINY, tmp_path / "whole")
    run(TINY, tmp_path / "parts", 5, options=RunOptions(workers=0, keep=1, checkpoint_steps=2))
    run(TINY, tmp_path / "parts", resume=True, options=RunOptions(workers=4, keep=5, checkpoint_seconds=1e-9))
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")
    assert len(CheckpointFolder(tmp_path / "parts" / "checkpoints").positions()) == 5


def test_a_run_that_is_over_is_evaluated_again(tmp_path):
    run(TINY, tmp_path)
    before = {
        path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name != "summary.json" and path.is_file()
    }
    run(TINY, tmp_path, resume=True)
    assert {name: (tmp_path / name).read_bytes() for name in before} == before


def test_early_stopping_stays_stopped(tmp_path):
    config = replace(TINY, epochs=9, early_stop=1, lr=1e-30, schedule="constant", weight_decay=0)
    run(config, tmp_path)
    done = len(figures(tmp_path))
    assert done < 9
    run(config, tmp_path, resume=True)
    assert len(figures(tmp_path)) == done


def test_where_nothing_was_begun_the_run_begins(tmp_path):
    run(TINY, tmp_path / "whole")
    run(TINY, tmp_path / "other", resume=True)
    assert weights(tmp_path / "other") == weights(tmp_path / "whole")


def test_other_settings_are_refused(tmp_path):
    run(TINY, tmp_path, 3)
    with pytest.raises(ArgumentError, match=r"begun with other settings.*: epochs was 2, not 3, lr was 0\.1, not 0\.2"):
        run(replace(TINY, epochs=3, lr=0.2), tmp_path, resume=True)


# More epochs than before


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_run_is_extended(tmp_path, schedule):
    """What is done stays; from there on the learning rates are those of a run of so many epochs."""
    long = replace(TINY, epochs=5, schedule=schedule)
    run(long, tmp_path / "long")
    run(replace(long, epochs=2), tmp_path / "run")
    first = figures(tmp_path / "run")
    run(long, tmp_path / "run", resume=True)
    assert figures(tmp_path / "run")[:2] == first
    rates = [[line["learning_rate"] for line in figures(tmp_path / name)] for name in ("run", "long")]
    if schedule == "plateau":  # it goes by the losses, which differ
        assert len(rates[0]) == 5
    else:
        assert rates[0][2:] == rates[1][2:]
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["epochs"], config["extended"]) == (5, [{"epochs": 2, "after": [2, 0]}])


@pytest.mark.parametrize("stop", [3, 16])  # before the end, and at it
def test_an_extended_run_that_is_interrupted_goes_on_to_the_same_bits(tmp_path, stop):
    for name in ("whole", "parts", "killed"):
        run(TINY, tmp_path / name, stop)
        if name == "parts":
            run(replace(TINY, epochs=4), tmp_path / name, 20, resume=True)
        if name == "killed":  # when it had just been told of more epochs
            TrainingRun(replace(TINY, epochs=4), tmp_path / name, show_progress=False, resume=True)
        run(replace(TINY, epochs=4), tmp_path / name, resume=True)
    assert weights(tmp_path / "whole") == weights(tmp_path / "parts") == weights(tmp_path / "killed")
    assert len(figures(tmp_path / "whole")) == 4


def test_extending_is_said_and_kept_to(tmp_path, capsys):
    run(TINY, tmp_path)
    assert main(["train", "--resume", "--epochs", "3", "--out", str(tmp_path)]) == 0
    assert "\nepochs was 2, not 3\n" in capsys.readouterr().out
    assert main(["train", "--resume", "--epochs", "4", "--quiet", "--out", str(tmp_path)]) == 0
    assert saved_config(RunFolder(tmp_path)).epochs == 4
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["extended"] == [{"epochs": 2, "after": [2, 0]}, {"epochs": 3, "after": [3, 0]}]
    assert len(figures(tmp_path)) == 4
    with pytest.raises(ArgumentError, match="or with more epochs: epochs was 4, not 3"):
        run(replace(TINY, epochs=3), tmp_path, resume=True)


# Randomness on the device, and other backends


def dropout_trainer(seed=0):
    manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3))
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    schedule = OneCycleLR(optimizer, 0.1, total_steps=20)
    return Trainer(model, optimizer, 3, schedule=schedule, show_progress=False, ema=0.8)


def labelled():
    rng = np.random.default_rng(0)
    data = TensorDataset(rng.standard_normal((40, 1, 3, 4)).astype(np.float32), rng.integers(0, 3, 40))
    return DataLoader(data, batch_size=8, shuffle=True, seed=1), DataLoader(data, batch_size=40)


def arrays_of(trainer):
    """All but the figures, some of which depend on the clock."""
    return {name: array.copy() for name, array in take(trainer).tensors.items() if name != "results.table"}


def through_the_disk(trainer, folder):
    CheckpointFolder(folder).save(take(trainer), keep=1)
    return CheckpointFolder(folder).load(trainer.progress.position, 10**6)


def test_dropout_goes_on_with_its_stream(backend, tmp_path):
    whole = dropout_trainer()
    list(whole.fit(*labelled(), epochs=3))

    first = dropout_trainer()
    first.callbacks = [StopAfter(7)]
    list(first.fit(*labelled(), epochs=3))
    checkpoint = through_the_disk(first, tmp_path)
    second = dropout_trainer(seed=99)
    restore(second, checkpoint)
    list(second.fit(*labelled(), epochs=3))
    np.testing.assert_equal(arrays_of(second), arrays_of(whole))


@pytest.mark.parametrize(("before", "after"), [("emulated", "numpy"), ("numpy", "emulated")])
def test_a_checkpoint_of_another_backend(tmp_path, before, after):
    try:
        switch = use_backend(before), use_backend(after)
    except BackendError as error:
        pytest.skip(str(error))
    del switch
    with use_backend(before):
        first = dropout_trainer()
        first.callbacks = [StopAfter(7)]
        list(first.fit(*labelled(), epochs=3))
        checkpoint, expected = through_the_disk(first, tmp_path), arrays_of(first)
    with use_backend(after):
        second = dropout_trainer()
        restore(second, checkpoint)
        np.testing.assert_equal(arrays_of(second), expected)
        results = list(second.fit(*labelled(), epochs=3))
        assert [result.epoch for result in results] == [2, 3]
        assert second.progress.step == 15
        assert second.model[1].weight.array.__class__.__module__.startswith(("numpy", "gpunet"))


def test_a_run_goes_on_on_another_backend(tmp_path):
    try:
        with use_backend("emulated"):
            run(TINY, tmp_path, 5)
    except BackendError as error:
        pytest.skip(str(error))
    run(TINY, tmp_path, resume=True)
    assert len(figures(tmp_path)) == 2


# What users' callbacks remember


class Counter(Callback):
    def __init__(self):
        self.steps = 0

    def on_step_end(self, trainer):
        self.steps += 1

    def state_dict(self):
        return {"steps": self.steps}

    def load_state_dict(self, state):
        self.steps = state["steps"]


def test_callbacks_remember(tmp_path):
    first, second = Counter(), Counter()
    TrainingRun(TINY, tmp_path, show_progress=False, callbacks=[first, StopAfter(5)]).run()
    TrainingRun(TINY, tmp_path, show_progress=False, callbacks=[second], resume=True).run()
    assert (first.steps, second.steps) == (5, 16)


def test_a_callback_that_was_not_there(tmp_path):
    run(TINY, tmp_path, 5)
    with pytest.raises(StateDictError, match=r"taken with the callbacks \[\], the run has \['Counter'\]"):
        TrainingRun(TINY, tmp_path, show_progress=False, callbacks=[Counter()], resume=True)


# Killed


class KilledError(BaseException):
    """Stands for a kill that comes within a call of the system."""


def test_a_kill_within_any_call_that_changes_files(tmp_path, monkeypatch):
    """Every seventh of them; a real kill, which also leaves temporary files behind, is below."""
    config = replace(TINY, batch_size=16)  # 4 steps an epoch
    options = RunOptions(keep=1, checkpoint_steps=1)
    run(config, tmp_path / "whole")
    calls, last = 0, None

    def counted(function):
        def call(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == last:
                raise KilledError
            return function(*args, **kwargs)

        return call

    for name in ("fsync", "replace", "mkdir", "unlink"):
        monkeypatch.setattr(os, name, counted(getattr(os, name)))
    for last in range(1, 10_000, 7):
        folder, calls = tmp_path / f"killed at {last}", 0
        try:
            run(config, folder, options=options)
        except KilledError:
            run(config, folder, options=options, resume=True)
            assert weights(folder) == weights(tmp_path / "whole")
            assert figures(folder) == figures(tmp_path / "whole")
            assert sorted(path.suffix for path in (folder / "checkpoints").iterdir()).count(".json") <= 2
            shutil.rmtree(folder)
        else:
            break
    assert last > 40


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fsync", "replace", "chmod"])
def test_any_call_that_fails_leaves_files_that_load(tmp_path, monkeypatch, name):
    """The run goes on, or ends with an error for people; what is on disk can be gone on with."""
    config = replace(TINY, batch_size=16)  # 4 steps an epoch
    options = RunOptions(keep=2, checkpoint_steps=1)
    run(config, tmp_path / "whole")
    calls, last, errors = 0, None, []
    function = getattr(os, name)

    def fails_at_last(*args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == last:
            raise OSError(errno.EIO, "Input/output error")
        return function(*args, **kwargs)

    monkeypatch.setattr(os, name, fails_at_last)
    for last in itertools.count(1):
        folder, calls = tmp_path / f"{last}", 0
        try:
            run(config, folder, options=options)
        except FileError as error:
            errors.append(str(error))
        if calls < last:
            break
        if folder.exists():
            assert [path.name for path in folder.rglob(".*") if path.name != ".lock"] == []
            kept = CheckpointFolder(folder / "checkpoints")
            for position in kept.positions():
                kept.load(position, largest=1 << 30)
        run(config, folder, options=options, resume=True)
        assert weights(folder) == weights(tmp_path / "whole")
        assert figures(folder) == figures(tmp_path / "whole")
        shutil.rmtree(folder)
    assert last > 10
    assert errors
    assert [error for error in errors if "Input/output error" not in error] == []


SCRIPT = """
import sys
from pathlib import Path
from gpunet.train import RunOptions, TrainingRun
from tests.runs import TINY, few_digits
from dataclasses import replace

with few_digits():
    run = TrainingRun(
        replace(TINY, epochs={epochs}), Path(sys.argv[1]), resume=True, options=RunOptions(checkpoint_steps=1, keep=2)
    )
    print("ready", flush=True)
    run.run()
"""


def start(folder, epochs):
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(epochs=epochs), str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(gpunet.__file__).parents[1],
        env={**os.environ, "GPUNET_BACKEND": "numpy"},
    )


def kill_and_resume(tmp_path, kills, epochs, longest):
    """A run that is killed again and again, and another when it is over, until there were enough kills."""
    run(replace(TINY, epochs=epochs), tmp_path / "whole")
    moments, number, done, finished = random.Random(0), 0, 0, False
    while done < kills or not finished:
        folder, finished = tmp_path / f"{number}", False
        process = start(folder, epochs)
        try:
            if done < kills:
                process.stdout.readline()
                time.sleep(moments.uniform(0, longest))
                process.send_signal(signal.SIGKILL)
            _, err = process.communicate(timeout=120)
        finally:
            process.kill()
        if process.returncode == -signal.SIGKILL:
            done += 1
        else:
            assert process.returncode == 0, err
            finished, number = True, number + 1
            assert weights(folder) == weights(tmp_path / "whole")
            assert figures(folder) == figures(tmp_path / "whole")
    return done


@pytest.mark.skipif(os.name != "posix", reason="signals as on POSIX")
def test_three_kills(tmp_path):
    assert kill_and_resume(tmp_path, kills=3, epochs=10, longest=0.3) == 3


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals as on POSIX")
def test_twenty_kills(tmp_path):
    assert kill_and_resume(tmp_path, kills=20, epochs=40, longest=0.6) == 20


# Two at once

HOLD = """
import sys, time
from pathlib import Path
from gpunet.train import RunFolder
with RunFolder(Path(sys.argv[1])).locked():
    print("ready", flush=True)
    time.sleep(600)
"""

AT_WORK = "another run is being written into"


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such locks")
def test_two_processes_do_not_write_into_one_folder(tmp_path):
    """Whatever the second wants; and when the first is killed the lock is gone at once."""
    run(TINY, tmp_path, 3)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    ready = TrainingRun(TINY, tmp_path, show_progress=False, resume=True)
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        process.stdout.readline()
        for settings in ({"resume": True}, {"overwrite": True}, {}):
            with pytest.raises(FileError, match=AT_WORK):
                TrainingRun(replace(TINY), tmp_path, show_progress=False, **settings)
        with pytest.raises(FileError, match=AT_WORK):
            ready.run()
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before
    finally:
        process.kill()
        process.communicate()
    run(TINY, tmp_path, resume=True)
    run(TINY, tmp_path / "whole")
    assert weights(tmp_path) == weights(tmp_path / "whole")


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such locks")
def test_a_run_at_work_keeps_others_out(tmp_path):
    class Intruder(Callback):
        def on_epoch_end(self, trainer, result):
            for settings in ({"resume": True}, {"overwrite": True}):
                with pytest.raises(FileError, match=AT_WORK):
                    TrainingRun(TINY, tmp_path, show_progress=False, **settings)

    TrainingRun(TINY, tmp_path, show_progress=False, callbacks=[Intruder()]).run()
    assert len(figures(tmp_path)) == 2
    run(TINY, tmp_path, resume=True)  # the lock is gone with the run


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the child does nothing that threads could disturb
def test_a_process_that_was_forked_does_not_keep_the_lock(tmp_path):
    with RunFolder(tmp_path).locked():
        child = os.fork()
        if not child:
            time.sleep(60)
            os._exit(0)
    try:
        with RunFolder(tmp_path).locked():
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_run_that_was_replaced_before_it_began(tmp_path):
    first = TrainingRun(TINY, tmp_path, show_progress=False)
    TrainingRun(replace(TINY, seed=4), tmp_path, show_progress=False, overwrite=True)
    with pytest.raises(FileError, match="holds another run by now"):
        first.run()


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def unsupported(*args):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    run(TINY, tmp_path)
    assert len(figures(tmp_path)) == 2


# A full disk


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1600k", "tmpfs", str(folder)]
    if sys.platform != "linux" or os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small file system can be mounted by root alone")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_full(tmp_path, small_disk):
    """There is room for two checkpoints of 0.6 MB."""
    config = replace(TINY, model="resnet8")
    run(config, tmp_path / "whole")
    with pytest.raises(FileError, match=r"No space left on device: 0\.\d+ MB are needed, .* MB are missing"):
        run(config, small_disk / "run", options=RunOptions(checkpoint_steps=3, keep=5))
    checkpoints = CheckpointFolder(small_disk / "run" / "checkpoints")
    assert checkpoints.positions() == [(0, 3), (0, 6)]
    assert [path.name for path in checkpoints.path.iterdir() if path.name.startswith(".")] == []
    shutil.copytree(small_disk / "run", tmp_path / "moved")
    run(config, tmp_path / "moved", resume=True)
    assert weights(tmp_path / "moved") == weights(tmp_path / "whole")


def test_a_full_disk_leaves_no_half_line(tmp_path, monkeypatch):
    run(TINY, tmp_path / "whole")
    run(TINY, tmp_path / "run", 9)

    def full(*args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(GpunetError, match="No space left on device"):
            run(TINY, tmp_path / "run", resume=True)
    assert len(figures(tmp_path / "run")) == 1
    run(TINY, tmp_path / "run", resume=True)
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")
    assert figures(tmp_path / "run") == figures(tmp_path / "whole")


def test_metrics_are_mended(tmp_path):
    """A run that was killed may have left a line of an epoch that has to be done again, and a half one."""
    run(TINY, tmp_path / "whole")
    run(TINY, tmp_path / "run", 9)
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 2, "train_loss": 1.0}\n{"epoch": 3, "tra')
    (tmp_path / "run" / ".metrics.jsonl.abcdefgh").write_text("left behind")
    run(TINY, tmp_path / "run", resume=True)
    assert figures(tmp_path / "run") == figures(tmp_path / "whole")
    assert not (tmp_path / "run" / ".metrics.jsonl.abcdefgh").exists()


def test_other_kernels_are_said(tmp_path, monkeypatch):
    """Their bits differ in the last places, so what goes on is not quite the run that was begun."""
    run(TINY, tmp_path / "run", 3)
    going_on = TrainingRun(TINY, tmp_path / "run", show_progress=False, resume=True)
    assert going_on.remarks == []
    monkeypatch.setattr("gpunet.train.job.kernels_in_use", lambda: "cpu v9")
    going_on = TrainingRun(TINY, tmp_path / "run", show_progress=False, resume=True)
    (remark,) = going_on.remarks
    assert re.fullmatch(
        r"begun with backend numpy, kernels (cpu v\d|none), going on with backend numpy, kernels cpu v9: "
        r"results differ in their last bits",
        remark,
    )


def test_the_largest_seed(tmp_path):
    config = replace(TINY, seed=2**63 - 1)
    check_resumed(config, tmp_path, 3)
    assert saved_config(RunFolder(tmp_path / "parts")) == config


# What a run keeps to

UNUSUAL = RunOptions(
    data_dir="elsewhere",
    on_unreadable="error",
    workers=3,
    keep=6,
    checkpoint_steps=2,
    checkpoint_seconds=1000.0,
    tensorboard=True,
    graph=True,
    check_ranks=True,
)


@pytest.fixture
def _events(monkeypatch):
    """Whether tensorboardX is there makes no difference."""
    monkeypatch.setattr("gpunet.train.job.TensorBoardWriter", lambda path: Callback())


@pytest.mark.usefixtures("_events")
@pytest.mark.parametrize("name", [each.name for each in fields(RunOptions)])
def test_no_option_is_forgotten(tmp_path, name, capsys, request):
    """Whichever there are, also those of the future."""
    if name == "graph":
        request.getfixturevalue("counters")  # the emulated backend
    assert getattr(UNUSUAL, name) != getattr(RunOptions(), name)
    run(TINY, tmp_path, 3, options=replace(RunOptions(), **{name: getattr(UNUSUAL, name)}))
    assert json.loads((tmp_path / "config.json").read_text())[name] == getattr(UNUSUAL, name)
    going_on = TrainingRun(TINY, tmp_path, show_progress=False, resume=True)
    assert going_on.options == replace(RunOptions(), **{name: getattr(UNUSUAL, name)})
    assert going_on.remarks == []
    assert main(["train", "--resume", "--out", str(tmp_path)]) == 0
    assert f"{name} was" not in capsys.readouterr().out
    assert saved_options(RunFolder(tmp_path)) == going_on.options


def test_no_checkpoint_is_lost_by_going_on(tmp_path):
    run(TINY, tmp_path, 9, options=RunOptions(keep=6, checkpoint_steps=1))
    kept = CheckpointFolder(tmp_path / "checkpoints")
    assert kept.positions() == [(0, 5), (0, 6), (0, 7), (0, 8), (1, 0), (1, 1)]
    assert main(["train", "--resume", "--quiet", "--out", str(tmp_path)]) == 0
    assert [each for each in kept.positions() if each != (1, 0)] == [(1, 4), (1, 5), (1, 6), (1, 7), (1, 8), (2, 0)]


def test_what_the_command_line_changes_is_said_and_kept_to(tmp_path, capsys):
    run(TINY, tmp_path, 3, options=RunOptions(keep=6, checkpoint_steps=1))
    assert main(["train", "--resume", "--keep", "4", "--workers", "0", "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "\nworkers was 1, not 0\nkeep was 6, not 4\n" in out
    assert saved_options(RunFolder(tmp_path)) == RunOptions(keep=4, workers=0, checkpoint_steps=1)
    assert main(["train", "--resume", "--out", str(tmp_path)]) == 0
    assert " was " not in capsys.readouterr().out


def test_a_run_goes_on_where_it_was_begun(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("GPUNET_BACKEND", raising=False)
    run(TINY, tmp_path, 3)
    try:
        switch = use_backend("emulated")
    except BackendError as error:
        pytest.skip(str(error))
    with switch:
        assert main(["train", "--resume", "--quiet", "--json", "--out", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out)["backend"] == "numpy"


def test_a_backend_that_is_not_there_any_more(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("GPUNET_BACKEND", raising=False)
    run(TINY, tmp_path, 3)
    change(tmp_path / "config.json", backend="abacus")
    assert main(["train", "--resume", "--out", str(tmp_path)]) == 1
    err = capsys.readouterr().err
    assert "unknown backend 'abacus'" in err
    assert "The run was begun with it; to go on elsewhere, with other last bits, give --backend" in err
    assert main(["train", "--resume", "--backend", "numpy", "--out", str(tmp_path)]) == 0
    assert "begun with backend abacus" in capsys.readouterr().out
