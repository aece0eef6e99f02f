"""The guides in docs/ keep their word: their code runs, to the last line, and prints what stands there.

Blocks of a page run one after the other in one folder: ```python runs, ```pycon is a doctest, ```console has commands
of gpunet with what they print (`...` is anything). ```sh is for what would change the machine, and does not run.
"""

import contextlib
import doctest
import io
import re
from pathlib import Path

import numpy as np
import pytest

from gpunet.backend import probe_cupy, use_backend
from gpunet.cli import main
from gpunet.errors import BackendError

DOCS = Path(__file__).parent.parent / "docs"
PAGES = {path.relative_to(DOCS).with_suffix("").as_posix(): path for path in sorted(DOCS.rglob("*.md"))}
BLOCK = re.compile(r"^```(python|pycon|console)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
FLAGS = doctest.ELLIPSIS
ELSEWHERE = {"from_pytorch", "loggers"}  # by tests of their own: beside PyTorch, and with stand-ins for the services
FLOWERS = ("daisy", "rose", "tulip")
EMULATED = {"own_operation", "kernels"}
SLOW = {"start", "es/start", "resume"}


def blocks(page):
    """Language, text and line of each block that runs."""
    text = PAGES[page].read_text(encoding="utf-8")
    return [(match[1], match[2], text.count("\n", 0, match.start(2))) for match in BLOCK.finditer(text)]


def marked(page):
    return pytest.param(page, marks=[pytest.mark.slow] if page in SLOW else [])


def run_command(words):
    """What `gpunet ...` prints, on both streams."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed), contextlib.suppress(SystemExit):
        main(words)
    return printed.getvalue()


def without_figures(text):
    """Fractions and speeds, which differ from machine to machine, and the columns that they stand in, left out."""
    return re.sub(
        r" +",
        " ",
        re.sub(r"\d[\d,]*\.\d+(e[+-]\d+)?|\d[\d,]*(?= images/s)| \d+ \(\d+\)$", "#", text, flags=re.MULTILINE),
    )


def check_commands(text, line):
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        words = command.split()
        assert words.pop(0) == "gpunet", command
        printed = run_command(words)
        # Only complaints of a driver that is not there depend on the machine that long.
        printed = re.sub(r"^no GPU in use.*\n", "", printed, flags=re.MULTILINE)
        matches = doctest.OutputChecker().check_output(without_figures(expected), without_figures(printed), FLAGS)
        assert matches, f"line {line}: {command}\nexpected:\n{expected}\nprinted:\n{printed}"


def make_flowers():
    """A folder of images in three classes, which even a short run tells apart."""
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    for number, name in enumerate(FLOWERS):
        folder = Path("flowers", name)
        folder.mkdir(parents=True)
        for which in range(1, 21):
            pixels = rng.integers(0, 100, (40, 48, 3)) + 70 * number
            image.fromarray(pixels.astype("uint8")).save(folder / f"{which}.png")


@pytest.mark.parametrize("page", [marked(page) for page in PAGES if page not in ELSEWHERE and blocks(page)])
def test_the_code_of_a_page(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if page in EMULATED:
        try:
            use_backend("emulated").__exit__(None, None, None)
        except BackendError as error:
            pytest.skip(str(error))
    if page == "gpu" and probe_cupy().ok:
        pytest.skip("the page was written on a machine without a GPU")
    if page == "own_images":
        make_flowers()
    names = {"__name__": "page"}
    with use_backend("numpy"):
        for language, text, line in blocks(page):
            if language == "python":
                exec(compile("\n" * line + text, str(PAGES[page]), "exec"), names)
            elif language == "pycon":
                example = doctest.DocTestParser().get_doctest(text, {}, page, str(PAGES[page]), line)
                example.globs = names  # not a copy: what a function finds later is there, too
                report = io.StringIO()
                failed, _ = doctest.DocTestRunner(optionflags=FLAGS).run(example, out=report.write, clear_globs=False)
                assert not failed, report.getvalue()
            else:
                check_commands(text, line)
