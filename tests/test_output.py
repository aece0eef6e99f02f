"""Whatever happens to the output, a run goes on and saves; and no name does anything but be seen."""

import errno
import io
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from gpunet.cli import main
from gpunet.cli.output import PrintableFormatter, SteadyStream
from gpunet.markup import tag
from gpunet.printable import printable
from gpunet.train import Evaluation
from gpunet.visualize import encode_png
from tests.runs import NO_KERNELS

posix_only = pytest.mark.skipif(os.name != "posix", reason="signals, pipes and terminals as on POSIX")
TRAIN = ("train", "--model", "lenet5", "--batch-size", "64", "--backend", "numpy")
CONTROLS = ["\x1b[31m", "\n", "\r", "\t", "\x00", "\x7f", "\x9b31m", "\u2028", "\u202e", "\udcff"]
RAW = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e\ud800-\udfff]")  # but for the ends of lines

pytestmark = pytest.mark.usefixtures("numpy_backend")


@pytest.fixture
def start(processes):
    """Starts the command with arguments."""
    return lambda *arguments, **settings: processes([sys.executable, "-m", "gpunet", *arguments], **settings)


def without_reader():
    """A pipe from which nobody reads any more."""
    read, write = os.pipe()
    os.close(read)
    return write


def full_disk():
    return os.open("/dev/full", os.O_WRONLY)


def vanished_terminal():
    """What a window that has been closed leaves to those who still write into it."""
    leader, terminal = os.openpty()
    os.close(leader)
    return terminal


GONE = {"pipe": without_reader, "disk": full_disk, "terminal": vanished_terminal, "closed": lambda: None}


def wait_for_epoch(folder):
    deadline = time.monotonic() + 60
    while not (folder / "metrics.jsonl").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def close(stream):
    """Runs in the new process, before the program."""
    return lambda: os.close(stream)


# ----------------------------------------------------------------------------------------------------------- signals


@posix_only
@pytest.mark.parametrize("gone", GONE)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_where_errors_cannot_be_written(start, tmp_path, gone, number, code):
    stream = GONE[gone]()
    settings = {"stderr": stream} if stream is not None else {"preexec_fn": close(2)}
    process = start(*TRAIN, "--epochs", "10000", "--out", tmp_path, stdout=subprocess.DEVNULL, **settings)
    wait_for_epoch(tmp_path)
    process.send_signal(number)
    assert process.wait(timeout=60) == code
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["interrupted"] is True
    assert (tmp_path / "model.safetensors").exists()
    for path in tmp_path.rglob("*"):  # where errors were closed, a file of the run may have their number
        assert path.is_dir() or b"finishing the batch" not in path.read_bytes()


@posix_only
@pytest.mark.parametrize(
    ("answer", "epochs", "code", "figure", "value"),
    [(signal.SIG_DFL, 10000, 129, "interrupted", True), (signal.SIG_IGN, 3, 0, "epochs_done", 3)],
    ids=["saves", "goes on under nohup"],
)
def test_a_terminal_that_hangs_up(start, tmp_path, answer, epochs, code, figure, value):
    null = subprocess.DEVNULL
    settings = {"stdout": null, "stderr": null}
    settings["preexec_fn"] = lambda: signal.signal(signal.SIGHUP, answer)  # whatever whoever began the tests has chosen
    process = start(*TRAIN, "--epochs", epochs, "--out", tmp_path, **settings)
    wait_for_epoch(tmp_path)
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=60) == code
    assert repr(json.loads((tmp_path / "summary.json").read_text())[figure]) == repr(value)


# ------------------------------------------------------------------------------------------------------------ output


@posix_only
@pytest.mark.parametrize(("gone", "code"), [("pipe", 0), ("disk", 1), ("terminal", 1), ("closed", 0)])
def test_a_run_goes_on_where_its_output_cannot_be_written(start, tmp_path, gone, code):
    stream = GONE[gone]()
    settings = {"stdout": stream} if stream is not None else {"preexec_fn": close(1)}
    process = start(*TRAIN, "--epochs", "2", "--out", tmp_path, stderr=subprocess.PIPE, text=True, **settings)
    with process.stderr:
        told = process.stderr.read()
    assert process.wait(timeout=60) == code
    assert json.loads((tmp_path / "summary.json").read_text())["epochs_done"] == 2
    if code:
        reason = {"disk": errno.ENOSPC, "terminal": errno.EIO}[gone]
        assert (
            told
            == NO_KERNELS + f"gpunet: error: the output could not be written: [Errno {reason}] {os.strerror(reason)}\n"
        )
    else:
        assert told == NO_KERNELS


@posix_only
@pytest.mark.parametrize("arguments", [["explain", "sigmoid"], ["--help"], ["train", "--help"], ["--version"]])
def test_an_answer_that_does_not_arrive_is_an_error(start, arguments):
    process = start(*arguments, stdout=full_disk(), stderr=subprocess.PIPE, text=True)
    with process.stderr:
        assert "could not be written" in process.stderr.read()
    assert process.wait(timeout=60) == 1


@posix_only
def test_without_any_stream(start, tmp_path):
    def close_all():
        for stream in range(3):
            os.close(stream)

    process = start(*TRAIN, "--epochs", "1", "--out", tmp_path, preexec_fn=close_all)
    assert process.wait(timeout=60) == 0
    assert json.loads((tmp_path / "summary.json").read_text())["epochs_done"] == 1


class Failing(io.StringIO):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def write(self, text):
        raise self.error


@pytest.mark.parametrize("error", [OSError(errno.EIO, "gone"), BrokenPipeError(), ValueError("closed")], ids=repr)
def test_a_steady_stream_never_fails(error):
    steady = SteadyStream(Failing(error))
    assert steady.write("four") == 4
    assert steady.error is error
    assert SteadyStream(None).write("four") == 4
    assert not SteadyStream(None).isatty()


def test_a_steady_stream_goes_on_where_it_can_again():
    class Full(io.StringIO):
        full = True

        def write(self, text):
            if self.full:
                raise OSError(errno.ENOSPC, "full")
            return super().write(text)

    stream = Full()
    steady = SteadyStream(stream)
    print("lost", file=steady)
    stream.full = False
    print("kept", file=steady)
    assert stream.getvalue() == "kept\n"


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("ascii", "ch\\xefna \\u6f22\\u5b57 \\udcff"),
        ("cp1252", "ch\xefna \\u6f22\\u5b57 \\udcff"),
        ("utf-8", "ch\xefna \u6f22\u5b57 \\udcff"),
    ],
)
def test_letters_that_an_encoding_lacks_are_escaped(encoding, shown):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding, write_through=True)
    print("ch\xefna \u6f22\u5b57 \udcff", file=SteadyStream(stream))
    assert raw.getvalue().decode(encoding) == shown + os.linesep


# ------------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize("control", CONTROLS)
def test_printable_leaves_nothing_that_does_anything(control):
    shown = printable(f"cat{control}dog")
    assert not RAW.search(shown)
    assert "\n" not in shown
    assert shown.startswith("cat\\")
    assert "dog" in shown


@pytest.mark.parametrize("name", ["plain", "ch\xefna \u6f22\u5b57", "\u05e9\u05dc\u05d5\u05dd", "a\\b", "\U0001f408"])
def test_printable_leaves_letters_as_they_are(name):
    assert printable(name) == name


def test_tables_and_pages_show_names_as_escapes():
    names = [f"a{control}b" for control in CONTROLS]
    table = Evaluation(0.5, np.ones((len(names), len(names)), int)).table(names)
    assert len(table.splitlines()) == len(names) + 1
    assert not RAW.search(table)
    assert {len(line.split("  ")[0]) for line in table.splitlines()} <= set(range(1, 12))
    assert not RAW.search(tag("td", *names, title="".join(names)).replace("\t", ""))


@pytest.fixture
def named_classes(tmp_path, rng):
    """A folder of images whose classes have names that a terminal could take for something else."""
    pytest.importorskip("PIL")
    folder = tmp_path / "images\x1b[31m"
    for name in ("ch\xefna \u6f22\u5b57", "red\x1b[31m\nline"):
        (folder / name).mkdir(parents=True)
        for index in range(24):
            picture = rng.integers(0, 256, (8, 8, 3)).astype(np.uint8)
            (folder / name / f"{index}\x1b.png").write_bytes(encode_png(picture))
        (folder / name / "broken\x1b[2J\nrun.png").write_bytes(b"no image")
    return folder


def test_names_from_training_to_report(named_classes, tmp_path, capsys, caplog):
    out = tmp_path / "run\x1b[0m"
    settings = ["--epochs", "1", "--batch-size", "8", "--model", "lenet5"]
    assert main(["train", "--data", f"folder:{named_classes}", *settings, "--out", str(out)]) == 0
    assert main(["evaluate", str(out)]) == 0
    assert main(["predict", str(out), *map(str, sorted(tmp_path.rglob("*.png")))]) == 1
    assert main(["report", str(out)]) == 0
    shutil.rmtree(named_classes / "red\x1b[31m\nline")
    shutil.copytree(named_classes / "ch\xefna \u6f22\u5b57", named_classes / "new\nline\x1b")
    assert main(["evaluate", str(out)]) == 1
    assert main(["evaluate", str(out / "no\x1b\nrun")]) == 1
    printed = "".join([*capsys.readouterr(), *map(PrintableFormatter("%(message)s").format, caplog.records)])
    assert "red\\x1b[31m\\nline" in printed
    assert "ch\xefna \u6f22\u5b57" in printed
    assert not RAW.search(printed)
    assert not re.search("^(line|run)", printed, re.MULTILINE)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "red\\x1b[31m" in page
    assert not RAW.search(page.replace("\t", ""))


def test_what_is_logged_shows_names_as_escapes():
    record = logging.makeLogRecord({"msg": "%s: left out", "args": ("a\x1b[2Jb\nc",)})
    assert PrintableFormatter("%(message)s").format(record) == "a\\x1b[2Jb\nc: left out"


@posix_only
@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_run_goes_on_where_an_encoding_lacks_letters(named_classes, start, tmp_path, encoding):
    process = start(
        *("train", "--data", f"folder:{named_classes}", "--epochs", "1", "--batch-size", "8", "--model", "lenet5"),
        *("--out", tmp_path / "run"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONIOENCODING": encoding, "GPUNET_BACKEND": "numpy"},
    )
    printed = process.communicate(timeout=120)[0].decode(encoding)
    assert process.returncode == 0, printed
    assert "\\u6f22\\u5b57" in printed
    assert "Traceback" not in printed
