"""What stands on a terminal: read from a pty of a given width, as a screen would show it."""

import os
import re
import shlex
import subprocess
import sys

import pytest

from gpunet.cli import main
from gpunet.progress_bar import _TerminalBar
from gpunet.suggestions import closest, suggestion
from gpunet.terminal import columns, command_line, fitted, flowed, quoted, table
from tests.runs import learned_digits

posix_only = pytest.mark.skipif(os.name != "posix", reason="terminals as on POSIX")
WIDTHS = [200, 80, 60, 40]
COLOURS = re.compile(r"\x1b\[\d*m")

pytestmark = pytest.mark.usefixtures("numpy_backend")


@pytest.fixture
def screen(processes, tmp_path):
    """Runs the command in a terminal: its exit code, and every line that stood there at some time, without colours."""
    import fcntl
    import struct
    import termios

    def run(width, *arguments):
        leader, terminal = os.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
        env = {**os.environ, "GPUNET_BACKEND": "numpy", "TERM": "xterm"}
        env.pop("COLUMNS", None)
        streams = {"stdin": terminal, "stdout": terminal, "stderr": terminal}
        process = processes([sys.executable, "-m", "gpunet", *arguments], env=env, cwd=tmp_path, **streams)
        os.close(terminal)
        shown = b""
        while chunk := _read(leader):
            shown += chunk
        os.close(leader)
        return process.wait(timeout=60), re.split(r"[\r\n]+", COLOURS.sub("", shown.decode()))

    return run


def _read(leader):
    try:
        return os.read(leader, 1 << 16)
    except OSError:  # how Linux says that nobody writes any more
        return b""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return learned_digits(tmp_path_factory.mktemp("runs") / "digits")


def too_long(lines, width):
    """Lines that a terminal breaks within a word, though there was a space at which they could have been broken."""
    return [line for line in lines if len(line) > width and len(line.split()) > 1]


@posix_only
@pytest.mark.parametrize("width", [80, 40])
@pytest.mark.parametrize(
    "arguments", [["doctor"], ["train", "--model", "zebra"], ["evaluate", "nowhere"]], ids=" ".join
)
def test_what_is_printed_fits(screen, width, arguments):
    _, lines = screen(width, *arguments)
    assert len(lines) > 1
    assert too_long(lines, width) == []


@posix_only
@pytest.mark.parametrize("width", WIDTHS)
def test_training_fits(screen, width):
    code, lines = screen(width, "train", "--model", "lenet5", "--epochs", "2", "--out", "run")
    assert code == 0
    assert too_long(lines, width) == []
    moving = [line for line in lines if re.search(r", [\d,]+ images/s", line)]
    assert moving
    for line in moving:  # both are whole, whatever else there is room for
        assert re.search(r"accuracy \d+\.\d%, [\d,]+ images/s", line), line
    whole = " ".join(" ".join(lines).split())
    assert re.search(r"epoch 2/2 loss \d\.\d{4} accuracy \d+\.\d+% test accuracy \d+\.\d+% [\d,]+ images/s", whole)
    assert "what next: gpunet report run gpunet predict run IMAGE.png" in whole


@posix_only
@pytest.mark.parametrize("width", WIDTHS)
def test_a_table_is_paragraphs_where_it_does_not_fit(screen, width, trained):
    code, lines = screen(width, "evaluate", trained)
    assert code == 0
    assert too_long(lines, width) == []
    text = "\n".join(lines)
    if width >= 60:
        assert re.search(r"^class +images +precision +recall +most often mistaken for$", text, re.MULTILINE)
    else:
        found = re.findall(r"^class (\d)\n  images 36, precision [\d.]+%,\n  recall [\d.]+%,", text, re.MULTILINE)
        assert found == list("0123456789")


@posix_only
def test_json_is_one_line_however_narrow_the_terminal_is(screen, trained):
    code, lines = screen(40, "evaluate", trained, "--json")
    assert code == 0
    assert [line[:1] for line in lines] == ["{", ""]


@posix_only
@pytest.mark.parametrize("folder", ["a run", "it's", "-run", "$HOME", "new\nline", "\x1b[31m"])
def test_what_to_do_next_can_be_copied(folder, tmp_path, monkeypatch, capsys):
    """The shell hands the program the folder as it is called."""
    monkeypatch.chdir(tmp_path)
    arguments = ["--model", "lenet5", "--epochs", "1", "--batch-size", "64", f"--out={folder}"]
    assert main(["train", *arguments]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    report, predict = out.partition("what next:\n")[2].splitlines()
    for command, rest in ((report, []), (predict, ["IMAGE.png"])):
        shown = subprocess.run(
            ["bash", "-c", f"gpunet() {{ printf '%s\\0' \"$@\"; }}\n{command}"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split("\0")[:-1]
        assert os.path.normpath(shown[1]) == folder
        assert shown[2:] == rest


# ------------------------------------------------------------------------------------------------------------- parts


@pytest.fixture
def window(monkeypatch):
    """Makes stdout a terminal of some width."""

    def set_width(width):
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)

    return set_width


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "prog", ["", "train", "evaluate", "predict", "weights compare", "bench", "gradients", "kernels"]
)
def test_help_fits(window, width, prog, capsys):
    window(width)
    with pytest.raises(SystemExit):
        main([*prog.split(), "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"usage: gpunet {prog}".rstrip())
    assert too_long(lines, width) == []
    assert [line for line in lines if re.search(r"\w-$", line)] == []  # nor is a word broken at its hyphen


@pytest.mark.parametrize("width", WIDTHS)
def test_kernels_fit(window, width, capsys):
    window(width)
    assert main(["kernels"]) == 0
    assert [line for line in too_long(capsys.readouterr().out.splitlines(), width) if "unsigned char" not in line] == []


def test_elsewhere_than_on_a_terminal_lines_stay_whole(monkeypatch):
    monkeypatch.setenv("COLUMNS", "10")
    assert columns() is None
    assert fitted("word " * 50) == "word " * 50
    assert command_line("gpunet " + "word " * 50) == "gpunet " + "word " * 49 + "word"
    assert table([["a" * 50, "b" * 50], ["c", "d"]]).splitlines()[0] == "a" * 50 + "  " + "b" * 50


@pytest.mark.parametrize("told", ["", "none", "0"])
def test_a_terminal_that_does_not_say_how_wide_it_is(monkeypatch, told):
    monkeypatch.setenv("COLUMNS", told)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert columns() == 80


@pytest.mark.parametrize("width", [1, 7, 20, 33, 80])
def test_fitted_keeps_every_word(window, width, rng):
    window(width)
    words = ["x" * int(length) for length in rng.integers(1, 12, 200)]
    lines = fitted("  " + " ".join(words), indent=" ").split("\n")
    assert " ".join(lines).split() == words
    assert lines[0].startswith("  x")
    assert all(line.startswith("   x") for line in lines[1:])
    assert [line for line in lines if len(line) > width and len(line.split()) > 1] == []


def test_lines_that_fit_are_left_as_they_are(window):
    window(30)
    text = "class   images\n  a  b\n\n    deep"
    assert fitted(text, indent="  ") == text


def test_letters_that_are_two_columns_wide(window):
    assert table([["", "n"], ["\u6f22\u5b57", "1"], ["cat", "22"]]) == "       n\n\u6f22\u5b57   1\ncat   22"
    window(8)
    assert fitted("\u6f22\u5b57 \u6f22\u5b57 a") == "\u6f22\u5b57\n\u6f22\u5b57 a"


def test_a_title_in_a_table():
    assert table([["", "n"], ["below it"], ["cat", "36"]]) == "      n\nbelow it\ncat  36"


def test_a_paragraph_names_its_figures(window):
    window(30)
    rows = [
        ["run", "images/s", "against"],
        ["of resnet20", "1,234", "2.00 x as fast"],
        ["a title"],
        ["of vgg11", "5", ""],
    ]
    assert table(rows).splitlines() == [
        "run of resnet20", "  images/s 1,234,", "  against 2.00 x as fast", "a title", "run of vgg11", "  images/s 5",
    ]  # fmt: skip


@pytest.mark.parametrize("width", [20, 40, 60, 100])
def test_a_command_goes_on_behind_a_backslash(window, width):
    window(width)
    command = f"gpunet train --data {quoted('folder:my photos')} --model resnet18 --image-size 224 --lr 0.01"
    shown = command_line(command, indent="  ")
    assert shlex.split(shown.replace("\\\n", "")) == shlex.split(command)
    assert [line for line in shown.split("\n") if len(line) > width and len(shlex.split(line.rstrip("\\"))) > 1] == []


def test_flowed_never_breaks_a_part():
    assert flowed(["a long part", "b"], ", ", " ", limit=5) == "a long part,\n b"
    assert flowed([], ", ") == ""


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("resnet9", ["lenet5", "resnet8", "resnet110"], "resnet8"),
        ("ResNet-18", ["resnet18", "resnet34"], "resnet18"),
        ("preact", ["resnet20", "preact_resnet20"], "preact_resnet20"),  # what begins so goes first
        ("label-smoting", ["label_smoothing", "lr"], "label_smoothing"),
        ("zebra", ["resnet8"], None),
        ("", ["resnet8"], None),
        (None, ["numpy"], None),
    ],
)
def test_closest(word, known, meant):
    assert closest(word, known) == meant


def test_few_names_are_listed_and_many_only_where_there_is_no_guess():
    many = [f"resnet{number}" for number in range(11)]
    assert suggestion("resnet99", many) == "did you mean resnet9?"
    assert suggestion("zebra", many) == "choose one of " + ", ".join(many)
    assert suggestion("resnet99", many[:10]) == "choose one of " + ", ".join(many[:10]) + "; did you mean resnet9?"


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (120, r"epoch 3/15  50% \|█+.? +\| loss 1\.234, accuracy 56\.7%, 8,901 images/s, \S+ left"),
        (60, r"epoch 3/15  50% loss 1\.234, accuracy 56\.7%, 8,901 images/s"),
        (50, r"epoch 3/15  50% accuracy 56\.7%, 8,901 images/s"),
        (40, r" 50% accuracy 56\.7%, 8,901 images/s"),
        (31, r"accuracy 56\.7%, 8,901 images/s"),
    ],
)
def test_a_progress_bar_keeps_what_matters(width, line, monkeypatch):
    bar = _TerminalBar(total=44, disable=True)
    bar.figures = ["loss 1.234", "accuracy 56.7%", "8,901 images/s"]
    facts = {
        "n": 22,
        "total": 44,
        "elapsed": 9.0,
        "ncols": width,
        "prefix": "epoch 3/15",
        "rate": 2.0,
        "unit": "batches",
    }
    monkeypatch.setattr(_TerminalBar, "format_dict", facts)
    shown = str(bar)
    assert re.fullmatch(line, shown), shown
    assert len(shown) <= width


FACTS = {"n": 2, "total": 4, "elapsed": 1.0, "ncols": 60, "unit": "steps"}


def test_a_progress_bar_of_braces(monkeypatch):
    """What is in a name is no format."""
    bar = _TerminalBar(total=4, disable=True)
    monkeypatch.setattr(_TerminalBar, "format_dict", {**FACTS, "prefix": "{n}"})
    assert str(bar).startswith("{n}  50% |")
