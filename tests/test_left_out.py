"""The line at the end of a test run: what was left out, why, and what would run it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.left_out import left_out

REASONS = {
    "a GPU": "the cupy backend cannot be used: CuPy is not installed. To mend it: pip install 'gpunet[cuda13]'",
    "NVRTC": "NVRTC is not installed: pip install nvidia-cuda-nvrtc",
    "g++": "the emulated backend cannot be used: there is no C++ compiler",
    "PyTorch": "could not import 'torch': No module named 'torch'",
    "packages": "could not import 'matplotlib.text': No module named 'matplotlib'",
    "Chromium": "there is no Chromium to be found",
}


def test_nothing_is_said_where_nothing_was_left_out():
    assert left_out([]) == ""


@pytest.mark.parametrize("need", REASONS)
def test_each_reason_names_its_need_and_what_would_run_it(need):
    line = left_out([REASONS[need]] * 1200 + ["it has one Tensor"] * 3, slow=45)
    assert line.startswith(f"left out: 1,200 need {need} (")
    assert re.search(r"(pip|apt) install ", line)
    assert line.endswith("; 3 for other reasons (pytest -rs names them); 45 are slow (pytest -m slow)")


OUTCOMES = """
import pytest

def test_runs(): pass

@pytest.mark.parametrize("number", range(3))
def test_skips(number): pytest.importorskip("nowhere")

@pytest.mark.slow
def test_is_slow(): pass
"""


def test_it_stands_at_the_end_of_a_run(tmp_path):
    """Also below the list of what has failed, and with -q; where somebody chose among the tests, those are his."""
    root = Path(__file__).parent.parent
    (tmp_path / "test_outcomes.py").write_text(OUTCOMES + "\n\ndef test_fails(): assert False\n")
    settings = ["-p", "tests.conftest", "-c", root / "pyproject.toml", "--rootdir", tmp_path, tmp_path, "-q"]

    def last_lines(*options):
        command = [sys.executable, "-m", "pytest", *settings, *options, "-p", "no:cacheprovider"]
        done = subprocess.run(list(map(str, command)), cwd=root, capture_output=True, text=True)
        return done.stdout.splitlines()[-2:]

    line, counts = last_lines()
    assert line == "left out: 3 need packages (pip install -e '.[test,full]'); 1 are slow (pytest -m slow)"
    assert counts.startswith("1 failed, 1 passed, 3 skipped, 1 deselected")
    assert not any("slow" in each for each in last_lines("-k", "runs"))
    assert not any("left out" in each for each in last_lines("-m", "slow"))
