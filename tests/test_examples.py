"""Every example runs, in a shortened form, and enforces what it claims."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from gpunet.backend import use_backend

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture(autouse=True)
def _on_numpy():
    with use_backend("numpy"):
        yield


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("name", "epochs", "target"), [("digits_cnn", 3, 0.93), ("digits_resnet", 5, 0.9)])
def test_a_shortened_example_learns(name, epochs, target):
    assert load(name).main(epochs=epochs, target=target) >= target


@pytest.mark.parametrize("name", ["digits_cnn", "digits_resnet"])
def test_an_example_that_misses_its_target_fails(name):
    with pytest.raises(SystemExit, match="expected at least"):
        load(name).main(epochs=1, target=1.1)


def test_every_example_is_tested_here():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {"digits_cnn", "digits_resnet"}


def test_the_cnn_is_short_enough_to_read_at_a_glance():
    assert len((EXAMPLES / "digits_cnn.py").read_text(encoding="utf-8").splitlines()) < 60


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits_cnn", "digits_resnet"])
def test_an_example_reaches_its_target(name):
    module = load(name)
    assert module.main() >= module.TARGET_ACCURACY
