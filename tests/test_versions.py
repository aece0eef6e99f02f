"""Other Pythons and NumPys than those of this environment, the oldest that setup.cfg allows first: a part of the tests.

The CPU kernels belong to no version of Python, so those that were built here serve all of them.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAIRS = [("3.10", "2.0"), ("3.12", "2.2"), ("3.13", "2.5"), ("3.14", "2.5")]
PACKAGES = ("pytest", "safetensors", "threadpoolctl", "tqdm", "tomli")
PART = ("batchnorm", "conv", "data", "in_place", "module", "optim", "passes", "tensor")
ON_NUMPY = "not emulated and not cupy and not cuda"


def interpreter(version):
    """Of pyenv, too, whose commands on the PATH may stand for nothing."""
    installed = (Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python")
    for found in (*installed, *filter(None, [shutil.which(f"python{version}")])):
        said = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
        if said.startswith(f"Python {version}."):
            return found
    pytest.skip(f"there is no Python {version} here")


@pytest.mark.slow
@pytest.mark.parametrize(("python", "numpy"), PAIRS)
def test_a_part_of_the_tests(tmp_path, python, numpy):
    base = interpreter(python)
    shutil.copytree(ROOT / "gpunet", tmp_path / "gpunet")
    shutil.copytree(ROOT / "raw_kernels", tmp_path / "gpunet" / "raw_kernels")
    shutil.copytree(ROOT / "tests", tmp_path / "tests")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)

    def run(*command):
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": ""}
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(base, "-m", "venv", "--without-pip", "venv")
    inside = tmp_path / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", inside, "install", "--quiet", "--only-binary", ":all:"]
    run(*pip, f"numpy=={numpy}.*", *PACKAGES, "--no-compile")
    assert run(inside, "-c", "import numpy; print(numpy.__version__)").startswith(f"{numpy}.")
    assert " passed" in run(inside, "-m", "pytest", "-q", "-k", ON_NUMPY, *(f"tests/test_{name}.py" for name in PART))
