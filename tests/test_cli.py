"""The command line: through `main`, and in processes of its own where signals, pipes or the installed script matter."""

import argparse
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

import gpunet
from gpunet.backend.kernels import kernels_in_use
from gpunet.cli import _parser, main
from gpunet.models import MODELS
from gpunet.train import RunOptions, TrainConfig
from tests.runs import NO_KERNELS

QUICK = ["--model", "lenet5", "--epochs", "1", "--batch-size", "64", "--backend", "numpy"]
FILES = ["checkpoints", "config.json", "metrics.jsonl", "model.safetensors", "summary.json"]
posix_only = pytest.mark.skipif(os.name != "posix", reason="signals and pipes as on POSIX")


pytestmark = pytest.mark.usefixtures("numpy_backend")


def refused(arguments, capsys):
    """What `main` says about a command that it does not understand."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    out, err = capsys.readouterr()
    assert caught.value.code == 2
    assert out == ""
    return err


@pytest.fixture
def start(processes):
    """Starts processes whose output can be read while they run."""

    def start_process(*arguments, command=(sys.executable, "-m", "gpunet"), stdin=None, **settings):
        variables = {**os.environ, "GPUNET_BACKEND": "numpy", "PYTHONUNBUFFERED": "", **settings}
        pipe = subprocess.PIPE
        streams = {"stdin": pipe if stdin else None, "stdout": pipe, "stderr": pipe}
        return processes([*command, *arguments], **streams, text=True, env=variables)

    return start_process


@pytest.fixture
def run(start):
    """Runs a process to its end: its exit code, what it wrote to stdout and to stderr."""

    def run_process(*arguments, **settings):
        process = start(*arguments, **settings)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    return run_process


# What works


def test_train_and_evaluate(tmp_path, capsys):
    folder = tmp_path / "run"
    assert main(["train", *QUICK, "--out", str(folder)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert sorted(path.name for path in folder.iterdir()) == FILES
    lines = out.splitlines()
    assert lines[0] == ("lenet5 (61,706 parameters) on digits: 1,437 images to learn from, 360 held out, backend numpy")
    assert re.fullmatch(
        r"epoch 1/1  loss \d\.\d{4}  accuracy +\d+\.\d\d%  test accuracy +\d+\.\d\d%  [\d,]+ images/s", lines[1]
    )
    table = lines[3:14]
    assert len(table) == 11
    assert table[0].startswith("class  images  precision  recall")
    summary = json.loads((folder / "summary.json").read_text())
    assert re.fullmatch(
        rf"test accuracy {summary['test_accuracy']:.2%} \(\d+\.\d s\), written to {re.escape(str(folder))}/", lines[15]
    )
    assert lines[16:] == ["", "what next:", f"  gpunet report {folder}", f"  gpunet predict {folder} IMAGE.png"]

    assert main(["evaluate", str(folder)]) == 0
    assert capsys.readouterr().out.splitlines() == [*table, "", f"test accuracy {summary['test_accuracy']:.2%}"]

    assert main(["evaluate", str(folder), "--json", "--backend", "numpy"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    result = json.loads(out)
    assert result.pop("run") == str(folder)
    assert {name: result[name] for name in result} == {name: summary[name] for name in result}  # repeated exactly
    assert set(result) == {"data", "test_accuracy", "test_loss", "backend", "classes", "confusion"}


def test_json_is_all_that_is_printed(tmp_path, capsys):
    assert main(["train", *QUICK, "--json", "--out", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == json.loads((tmp_path / "summary.json").read_text())
    assert out.count("\n") == 1
    assert err == ""


def test_quiet_prints_the_result_alone(tmp_path, capsys):
    assert main(["train", *QUICK, "--quiet", "--out", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert re.fullmatch(r"test accuracy \d+\.\d\d% \(.* s\), written to .*/", out.strip())
    assert err == ""


def test_options_reach_the_run(tmp_path, capsys):
    options = ["--model", "lenet5", "--epochs", "2", "--batch-size", "256", "--lr", "0.03", "--seed", "11"]
    assert main(["train", *options, "--out", str(tmp_path), "--quiet"]) == 0
    config = json.loads((tmp_path / "config.json").read_text())
    assert [config[name] for name in ("model", "epochs", "batch_size", "lr", "seed")] == ["lenet5", 2, 256, 0.03, 11]
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2


def test_every_option_reaches_the_run(tmp_path, capsys):
    options = "--optimizer adamw --schedule cosine --weight-decay 0.2 --label-smoothing 0.1 --augment none --mixup 0.3 "
    options += "--clip 2 --ema 0.99 --accumulate 2 --early-stop 4 --image-size 16 --workers 2 --keep 1 --data-dir here "
    options += "--checkpoint-steps 3 --checkpoint-seconds 9 --on-unreadable error"
    assert main(["train", *QUICK, *options.split(), "--quiet", "--out", str(tmp_path)]) == 0
    config = json.loads((tmp_path / "config.json").read_text())
    expected = {
        "optimizer": "adamw",
        "schedule": "cosine",
        "lr": 0.003,
        "weight_decay": 0.2,
        "label_smoothing": 0.1,
        "augment": "none",
        "mixup": 0.3,
        "clip": 2.0,
        "ema": 0.99,
        "accumulate": 2,
        "early_stop": 4,
        "image_size": 16,
        "data_dir": os.path.abspath("here"),  # so that the run can go on from anywhere
    }
    assert {name: config[name] for name in expected} == expected
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2  # one checkpoint, two files


def test_the_command_line_wins_over_the_file(tmp_path, capsys):
    file = tmp_path / "run.toml"
    file.write_text('model = "lenet5"\nepochs = 7\nbatch-size = 256\nlr = 0.03\nkeep = 1\n')
    assert main(["train", "--config", str(file), "--epochs", "1", "--quiet", "--out", str(tmp_path / "run")]) == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert [config[name] for name in ("model", "epochs", "batch_size", "lr")] == ["lenet5", 1, 256, 0.03]


@pytest.mark.parametrize(
    ("written", "meant"),
    [("epoch", "epochs"), ("label-smoothin", "label_smoothing"), ("batch", "batch_size"), ("out", "known are data")],
)
def test_settings_in_a_file_are_not_abbreviated(written, meant, tmp_path, capsys):
    (tmp_path / "run.toml").write_text(f"{written} = 1\n")
    assert main(["train", "--config", str(tmp_path / "run.toml"), "--out", str(tmp_path / "run")]) == 1
    err = capsys.readouterr().err
    assert f"settings that are not known: {written.replace('-', '_')}; " in err
    assert meant in err
    assert not (tmp_path / "run").exists()


def test_a_folder_in_a_file_is_found_from_the_file(tmp_path, capsys):
    (tmp_path / "run.toml").write_text('data = "folder:pictures"\n')
    assert main(["train", "--config", str(tmp_path / "run.toml"), "--out", str(tmp_path / "run")]) == 1
    assert str(tmp_path / "pictures") in capsys.readouterr().err


def test_a_data_folder_in_a_file_is_found_from_the_file(tmp_path, capsys):
    (tmp_path / "run.toml").write_text('data-dir = "files"\nmodel = "lenet5"\nepochs = 1\n')
    assert main(["train", "--config", str(tmp_path / "run.toml"), "--quiet", "--out", str(tmp_path / "run")]) == 0
    assert json.loads((tmp_path / "run" / "config.json").read_text())["data_dir"] == str(tmp_path / "files")


def test_resume_begins_where_nothing_was_begun_and_refuses_other_settings(tmp_path, capsys):
    assert main(["train", *QUICK, "--resume", "--out", str(tmp_path / "run")]) == 0
    assert "\nfrom the beginning\n" in capsys.readouterr().out
    before = (tmp_path / "run" / "model.safetensors").read_bytes()
    assert main(["train", "--resume", "--seed", "2", "--out", str(tmp_path / "run")]) == 1
    assert "was begun with other settings" in capsys.readouterr().err
    assert main(["train", "--resume", "--quiet", "--out", str(tmp_path / "run")]) == 0
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before


def test_a_new_folder_is_made_where_none_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *QUICK, "--quiet"]) == 0
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("digits-lenet5-")
    assert f"written to {Path('runs', folder.name)}/" in capsys.readouterr().out


def test_overwrite(tmp_path, capsys):
    arguments = ["train", *QUICK, "--quiet", "--out", str(tmp_path)]
    assert main(arguments) == 0
    before = (tmp_path / "model.safetensors").read_bytes()
    assert main([*arguments, "--seed", "1"]) == 1
    assert (tmp_path / "model.safetensors").read_bytes() == before
    capsys.readouterr()
    assert main([*arguments, "--seed", "1", "--overwrite"]) == 0
    assert (tmp_path / "model.safetensors").read_bytes() != before


@pytest.mark.parametrize(
    "arguments",
    [["--version"], ["--help"], *([each, "--help"] for each in ("train", "evaluate", "doctor", "kernels"))],
)
def test_help_and_version(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    out, err = capsys.readouterr()
    assert caught.value.code == 0
    assert err == ""
    if arguments == ["--version"]:
        assert out == f"gpunet {gpunet.__version__} (backend numpy, kernels {kernels_in_use()})\n"
    else:
        assert out.startswith("usage: gpunet")


@pytest.mark.parametrize("command", [[], ["weights"]])
def test_a_command_that_needs_another_shows_its_help(command, capsys):
    assert main(command) == 0
    bare = capsys.readouterr()
    with pytest.raises(SystemExit):
        main([*command, "--help"])
    assert bare == (capsys.readouterr().out, "")
    assert bare.out.startswith(" ".join(["usage: gpunet", *command, "[options]"]))


def parsers(parser):
    """The parser and those of its commands, and of theirs."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from parsers(each)


PARSERS = {each.prog: each for each in parsers(_parser())}


@pytest.mark.parametrize("prog", PARSERS)
def test_every_help_ends_with_examples_that_are_understood(prog):
    parser = PARSERS[prog]
    listed = parser.format_help().partition("\nexamples:\n")[2].splitlines()
    assert listed == [f"  {each}" for each in parser.examples]
    assert listed
    for example in listed:
        name, *arguments = shlex.split(example)
        assert name == "gpunet"
        if arguments[-1:] != ["--help"]:
            assert callable(_parser().parse_args(arguments).run)


@pytest.mark.parametrize("prog", PARSERS)
def test_every_option_says_what_holds_without_it(prog):
    """All that have a default, but for switches, which are off."""
    silent = []
    for action in PARSERS[prog]._actions:
        has_one = action.default not in (None, argparse.SUPPRESS) and action.nargs != 0
        if action.option_strings and has_one and "(default: " not in _shown(PARSERS[prog], action):
            silent.append(action.option_strings)
    assert silent == []


def _shown(parser, action):
    return parser._get_formatter()._get_help_string(action) or ""


def test_defaults_are_those_that_are_used(capsys):
    """The defaults that the help of `train` writes out are those of the settings."""
    said = dict(
        re.findall(
            r"--([\w-]+) \w+ [^-]*?\(default: ([^)]*)\)", " ".join(PARSERS["gpunet train"].format_help().split())
        )
    )
    settings = {each.name.replace("_", "-"): each.default for each in (*fields(TrainConfig), *fields(RunOptions))}
    plain = {name: text for name, text in said.items() if settings.get(name) is not None}
    assert len(plain) >= 9
    assert plain == {
        name: f"{settings[name]:g}" if isinstance(settings[name], float) else str(settings[name]) for name in plain
    }


def test_help_names_what_can_be_chosen(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    words = capsys.readouterr().out.replace(",", " ").split()
    assert set(MODELS) <= set(words)
    for option in ("--data", "--model", "--epochs", "--batch-size", "--lr", "--seed", "--out", "--backend", "--json"):
        assert option in words


# What is refused


@pytest.mark.parametrize(
    ("arguments", "listed"),
    [
        (["tarin"], ["'tarin'", "did you mean train?"]),
        (["unheard"], ["'unheard'", "choose one of train, evaluate"]),
        (["--verson"], ["unknown option --verson", "did you mean --version?"]),
        (["train", "--modl", "resnet8"], ["unknown option --modl", "did you mean --model?"]),
        (["train", "--opt", "sgd"], ["unknown option --opt", "did you mean --optimizer?"]),  # no abbreviations
        (["train", "-epochs=3"], ["unknown option -epochs", "did you mean --epochs?"]),
        (["explain", "--krnel", "2", "conv2d"], ["unknown option --krnel", "did you mean --kernel?"]),
        (["evaluate", "--jsno"], ["unknown option --jsno", "did you mean --json?"]),  # and not that DIR is missing
        (["evaluate", "run", "--Zebra"], ["unknown option --Zebra", "gpunet evaluate --help lists those there are"]),
        (["weights", "shwo", "f"], ["'shwo'", "choose one of show, convert, compare; did you mean show?"]),
        (["train", "--model", "resnet9"], ["'resnet9'", "did you mean resnet8?"]),
        (["train", "--model", "ResNet-18"], ["'ResNet-18'", "did you mean resnet18?"]),
        (["train", "--model", "zebra"], ["'zebra'", *MODELS]),
        (
            ["train", "--data", "mnits"],
            [
                "'mnits'",
                "choose one of digits, shapes, mnist",
                "; did you mean mnist?",
            ],
        ),
        (["train", "--data", "imagenet"], ["'imagenet'", "digits"]),
        (["train", "--data", "/"], ["unknown data '/'", "did you mean folder:/?"]),
        (["train", "--backend", "torch"], ["'torch'", "auto", "numpy", "cupy"]),
        (["evaluate", "run", "--backend", "torch"], ["'torch'", "auto", "numpy", "cupy"]),
        (["train", "--epochs", "0"], ["--epochs", "must be 1 or more, got 0"]),
        (["train", "--epochs", "many"], ["--epochs", "'many'"]),
        (["train", "--epochs", "1.5"], ["--epochs", "'1.5'"]),
        (["train", "--batch-size", "1"], ["--batch-size", "must be 2 or more, got 1"]),
        (["train", "--seed", "-1"], ["--seed", "must be 0 or more, got -1"]),
        (["train", "--lr", "0"], ["--lr", "must be a number above 0, got 0"]),
        (["train", "--lr", "nan"], ["--lr", "must be a number above 0, got nan"]),
        (["train", "--lr", "inf"], ["--lr", "must be a number above 0, got inf"]),
        (["train", "--lr", "fast"], ["--lr", "'fast'"]),
        (["train", "--speed", "11"], ["--speed"]),
        (["train", "digits"], ["digits"]),
        (["train", "--out"], ["--out"]),
        (["train", "--optimizer", "adm"], ["'adm'", "choose one of sgd, adam, adamw; did you mean adam?"]),
        (["train", "--optimizer", "lion"], ["'lion'", "sgd", "adam", "adamw"]),
        (["train", "--schedule", "wild"], ["'wild'", "onecycle", "cosine"]),
        (["train", "--ema", "1"], ["--ema", "must be at least 0 and below 1, got 1"]),
        (["train", "--label-smoothing", "2"], ["--label-smoothing", "must be at least 0 and at most 1, got 2"]),
        (["train", "--weight-decay", "nan"], ["--weight-decay", "got nan"]),
        (["train", "--resume", "--overwrite"], ["--overwrite", "not allowed with"]),
        (["train", "--resume"], ["--resume needs --out"]),
        (["evaluate"], ["DIR"]),
        (["train", "\x1b[31m"], ["\\x1b[31m"]),
    ],
)
def test_commands_that_are_not_understood(arguments, listed, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    err = refused(arguments, capsys)
    command = arguments[:1] if arguments[0] in ("train", "evaluate", "explain", "weights") else []
    usage, error = err.splitlines()
    assert usage.startswith(" ".join(["usage: gpunet", *command, "[options]"]))
    assert error.startswith(" ".join(["gpunet", *command]) + ": error: ")
    assert "\x1b" not in err
    assert [word for word in listed if word not in err] == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", *QUICK, "--out", "old"], "old holds a run already"),
        (["train", *QUICK, "--out", "file"], "cannot use the folder file"),
        (["train", *QUICK, "--out", "file/run"], "cannot use the folder file/run"),
        (["train", *QUICK, "--out", "x" * 300], "File name too long"),
        (["train", "--image-size", str(2**63), "--out", "new"], "image_size must be at most 9223372036854775807"),
        (["train", "--resume", "--out", "strange"], "unknown model 'vgg'"),
        (["train", "--config", "missing.toml"], "cannot read missing.toml"),
        (["train", "--config", "file"], "file is not a TOML file"),
        (["evaluate", "missing"], "missing holds no training run: there is no config.json in it"),
        (["evaluate", "file"], "file holds no training run"),
        (["evaluate", "old"], "config.json is not a JSON file"),
        (["evaluate", "x" * 300], "holds no training run"),
        (["evaluate", "strange"], "unknown model 'vgg'; did you mean vgg11?"),
    ],
)
def test_errors(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder, config in (("old", "damaged"), ("strange", '{"data": "digits", "model": "vgg"}')):
        Path(folder).mkdir()
        Path(folder, "config.json").write_text(config)
    Path("file").write_text("precious")
    assert main(arguments) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("gpunet: error: ")
    assert message in err
    assert err.count("\n") == 1
    assert Path("file").read_text() == "precious"
    assert not Path("new").exists()


def test_a_backend_that_cannot_work(capsys, tmp_path, monkeypatch):
    gpunet.backend.probe_cupy.cache_clear()
    monkeypatch.setitem(sys.modules, "cupy", None)
    try:
        assert main(["train", "--backend", "cupy", "--out", str(tmp_path / "run")]) == 1
    finally:
        gpunet.backend.probe_cupy.cache_clear()
    err = capsys.readouterr().err
    assert err.startswith("gpunet: error: the cupy backend cannot be used: CuPy is not installed")
    assert "pip install" in err
    assert not (tmp_path / "run").exists()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy says that numbers overflow
def test_a_learning_rate_that_is_too_large(capsys, tmp_path):
    assert main(["train", "--lr", "1e30", "--epochs", "1", "--quiet", "--out", str(tmp_path)]) == 1
    assert "try a smaller learning rate" in capsys.readouterr().err
    assert not (tmp_path / "summary.json").exists()


# In processes of its own


def test_as_a_module(run, tmp_path):
    code, out, err = run("train", *QUICK, "--json", "--out", tmp_path)
    assert code == 0, err
    assert json.loads(out)["epochs_done"] == 1
    assert err == NO_KERNELS


def test_the_installed_script(run):
    script = Path(sys.executable).with_name("gpunet")
    if not script.exists():
        pytest.skip("gpunet is not installed beside this Python")
    code, out, err = run("--version", command=[str(script)])
    assert (code, err) == (0, "")
    assert re.fullmatch(rf"gpunet {re.escape(gpunet.__version__)} \(backend numpy, kernels .+\)\n", out)


def test_the_version_is_said_where_the_backend_does_not_work(run):
    code, out, err = run("--version", GPUNET_BACKEND="nonsense")
    assert (code, err) == (0, "")
    assert out.startswith(f"gpunet {gpunet.__version__} (unknown backend 'nonsense'; choose one of auto, numpy")


@pytest.mark.parametrize(("arguments", "code"), [(["evaluate", "missing"], 1), (["train", "--model", "vgg"], 2)])
def test_no_traceback(run, arguments, code, tmp_path):
    got, out, err = run(*arguments, PWD=str(tmp_path))
    assert got == code
    assert out == ""
    assert "Traceback" not in err


def test_output_that_is_piped_has_no_progress_bar(run, tmp_path):
    code, out, err = run("train", *QUICK, "--out", tmp_path)
    assert code == 0, err
    assert err == NO_KERNELS
    assert out.isascii()
    assert not set(out) & set("\r\x1b\b")


def test_a_fallback_to_numpy_is_said_once(run, tmp_path):
    block = "import sys; sys.modules['cupy'] = None; from gpunet.cli import main; sys.exit(main())"
    code, out, err = run(
        "train", *QUICK[:-2], "--json", "--out", tmp_path, command=(sys.executable, "-c", block), GPUNET_BACKEND=""
    )
    assert code == 0, err
    assert json.loads(out)["backend"] == "numpy"
    assert err == "no GPU in use (CuPy is not installed); running on NumPy\n" + NO_KERNELS
    for arguments in (["evaluate", tmp_path, "--json"], ["--version"]):  # which train has said already
        code, out, err = run(*arguments, command=(sys.executable, "-c", block), GPUNET_BACKEND="")
        assert (code, err) == (0, "")
        assert "numpy" in out


@posix_only
def test_ctrl_c_saves_what_was_learned(start, run, tmp_path):
    process = start("train", "--model", "lenet5", "--epochs", "10000", "--out", tmp_path)
    lines = [process.stdout.readline() for _ in range(2)]
    assert lines[1].startswith("epoch     1/10000")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "gpunet: finishing the batch and saving; Ctrl-C again to stop at once" in err
    assert "whole epochs; what was learned is saved" in err
    assert "Traceback" not in err
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["interrupted"] is True
    assert 1 <= summary["epochs_done"] < 10000
    assert summary["epochs_done"] == len((tmp_path / "metrics.jsonl").read_text().splitlines())
    assert f"test accuracy {summary['test_accuracy']:.2%}" in out

    code, out, err = run("evaluate", tmp_path, "--json")
    assert code == 0, err
    assert json.loads(out)["test_loss"] == summary["test_loss"]


OPTIONS = ["--model", "lenet5", "--epochs", "3", "--batch-size", "64", "--ema", "0.9", "--backend", "numpy"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The weights of a run that nobody stopped."""
    folder = tmp_path_factory.mktemp("whole")
    assert main(["train", *OPTIONS, "--quiet", "--out", str(folder / "run")]) == 0
    return (folder / "run" / "model.safetensors").read_bytes()


@posix_only
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_goes_on_to_the_same_bits(start, run, tmp_path, whole, number, code):
    folder = tmp_path / "a run"
    process = start("train", *OPTIONS, "--out", folder)
    process.stdout.readline()
    assert process.stdout.readline().startswith("epoch 1/3")
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert f"gpunet: to go on: gpunet train --resume --out '{folder}'" in err
    assert (folder / "model.safetensors").read_bytes() != whole

    code, out, err = run("train", "--resume", "--out", folder)
    assert code == 0, err
    assert re.search(r"^going on after [12] epochs and \d+ batches$", out, re.MULTILINE)
    assert (folder / "model.safetensors").read_bytes() == whole


@posix_only
def test_a_second_ctrl_c_stops_at_once(start, tmp_path):
    endless_batch = """
import sys, time
from gpunet.cli import main
from gpunet.train import Trainer

def train_step(self, *batch):
    print("batch", file=sys.stderr, flush=True)
    time.sleep(60)

Trainer.train_step = train_step
sys.exit(main())
"""
    process = start("train", "--out", tmp_path, command=(sys.executable, "-c", endless_batch))
    for line in (NO_KERNELS + "batch\n").splitlines(keepends=True):
        assert process.stderr.readline() == line
    process.send_signal(signal.SIGINT)
    assert process.stderr.readline() == "\n"
    assert "Ctrl-C again to stop at once" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "gpunet: stopped\n"
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


@posix_only
def test_ctrl_c_while_a_command_waits(start, tmp_path):
    """For the list of images that `predict` reads from stdin."""
    assert main(["train", *QUICK, "--quiet", "--out", str(tmp_path)]) == 0
    waiting = """
import sys
from gpunet.cli import main, predict

class Waiting:
    def read(self):
        print("waiting", file=sys.stderr, flush=True)
        return sys.__stdin__.buffer.read()

predict.sys.stdin = type("Stdin", (), {"buffer": Waiting()})
sys.exit(main())
"""
    process = start("predict", tmp_path, "-", command=(sys.executable, "-c", waiting), stdin=True)
    assert process.stderr.readline() == "waiting\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "gpunet: stopped\n")


@posix_only
def test_a_reader_that_goes_away_does_not_stop_the_training(start, tmp_path):
    """`gpunet train | head -1`."""
    process = start("train", *QUICK, "--out", tmp_path)
    assert process.stdout.readline().startswith("lenet5")
    process.stdout.close()
    err = process.stderr.read()
    assert process.wait(timeout=60) == 0
    assert err == NO_KERNELS
    assert json.loads((tmp_path / "summary.json").read_text())["epochs_done"] == 1


@posix_only
@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["--version"]])
def test_a_reader_that_reads_nothing(start, arguments):
    """`gpunet --help | true`."""
    process = start(*arguments)
    process.stdout.close()
    err = process.stderr.read()
    assert process.wait(timeout=60) == 0
    assert err == ""
