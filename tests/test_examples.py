"""Every example runs, in a shortened form, and enforces what it claims."""

from __future__ import annotations

import functools
import importlib.util
import re
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from gpunet import nn
from gpunet.backend import use_backend
from gpunet.data import Shapes, find_dataset
from gpunet.gradients import Experiment
from gpunet.models import resnet18
from gpunet.weights import save_weights

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


def test_a_shortened_example_learns():
    assert load("digits_cnn").main(epochs=3, target=0.93) >= 0.93


@pytest.mark.parametrize("name", ["digits_cnn", "digits_resnet"])
def test_an_example_that_misses_its_target_fails(name):
    with pytest.raises(SystemExit, match="expected at least"):
        load(name).main(epochs=1, target=1.1)


def test_where_nothing_degrades_the_example_fails(tmp_path):
    pytest.importorskip("matplotlib")
    with pytest.raises(SystemExit, match="not what was expected"):  # of one depth, there is no deeper network
        load("vanishing_gradient").main(Experiment((8,), steps=0), str(tmp_path))


PICTURES = {
    "digits_feature_maps.png",
    "digits_filters.png",
    "digits_grad_cam.png",
    "digits_loss_surface.png",
    "shapes_feature_maps.png",
    "shapes_filters.png",
    "shapes_filters_before.png",
    "shapes_grad_cam.png",
}


@pytest.mark.slow  # half a minute
def test_a_shortened_example_sees_the_figures_and_the_bowl(tmp_path):
    pytest.importorskip("matplotlib")
    load("what_a_cnn_sees").main(tmp_path, epochs=(3, 2), depth=20, steps=5, target=0.7)
    assert {path.name for path in tmp_path.iterdir()} == PICTURES


@pytest.mark.parametrize(
    ("heat", "share", "failure"), [(1.0, 0.1, "figures get 1.00 times"), (2.0, 0.5, "50% of the plain surface")]
)
def test_what_is_not_seen_fails_the_example(heat, share, failure, tmp_path, monkeypatch):
    """Heat that is the same everywhere; a plain surface that bends no more than the residual one."""
    pytest.importorskip("matplotlib")
    module = load("what_a_cnn_sees")
    surfaces = iter([0.5, share])
    monkeypatch.setattr(module, "train", lambda *_: 1.0)
    monkeypatch.setattr(module, "draw", lambda *_: None)
    monkeypatch.setattr(module, "heat_on_figures", lambda *_: heat)
    monkeypatch.setattr(module, "plot_loss_surface", lambda _: module.plot_filters(module.small_cnn()))
    monkeypatch.setattr(module, "loss_surface", lambda *_, **__: SimpleNamespace(nonconvexity=next(surfaces)))
    with pytest.raises(SystemExit, match=f"not as expected: {failure}"):
        module.main(tmp_path)


def test_heat_is_weighed_by_the_figures(monkeypatch):
    """All heat on the figures counts as often as they go into the area; heat everywhere counts 1."""
    module = load("what_a_cnn_sees")
    shapes = replace(find_dataset("shapes"), load=functools.partial(Shapes, count=60))
    pixels = shapes.test_set(32).images / 255
    exact = abs(pixels - np.median(pixels, axis=(2, 3), keepdims=True)).mean(axis=1) > 0.2
    monkeypatch.setattr(module, "grad_cam", lambda model, images: np.ones((len(images), 32, 32)))
    assert module.heat_on_figures(nn.Sequential(), shapes) == pytest.approx(1)
    monkeypatch.setattr(module, "grad_cam", lambda model, images: exact[: len(images)])
    assert module.heat_on_figures(nn.Sequential(), shapes) == pytest.approx(1 / exact.mean(), rel=0.1)


NAMES = {"digits_cnn", "digits_resnet", "vanishing_gradient", "what_a_cnn_sees", "finetune_resnet18"}


def test_every_example_is_tested_here():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == NAMES


README = (EXAMPLES / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_what_was_learned_before_helps():
    assert load("finetune_resnet18").main(SimpleNamespace(weights=None, images=None, epochs=3)) == 0


def test_pictures_and_weights_of_ones_own(tmp_path, capsys):
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    for name in ("rose", "tulip"):
        (tmp_path / "flowers" / name).mkdir(parents=True)
        for number in range(16):
            pixels = rng.integers(0, 256, (40, 30, 3), dtype=np.uint8)
            image.fromarray(pixels).save(tmp_path / "flowers" / name / f"{number}.png")
    save_weights(tmp_path / "x.pth", resnet18(num_classes=7))
    given = SimpleNamespace(weights=tmp_path / "x.pth", images=tmp_path / "flowers", epochs=1)
    assert load("finetune_resnet18").main(given) == 0
    assert "new: fc.weight, fc.bias" in capsys.readouterr().out


def test_the_readme_of_the_examples_names_each_and_nothing_else():
    assert set(re.findall(r"\[(\w+)\.py\]\(\1\.py\)", README)) == NAMES
    assert set(re.findall(r"(\w+)\.py", README)) == NAMES
    links = re.findall(r"\]\(([^)]+)\)", README)
    assert [link for link in links if not (EXAMPLES / link).is_file()] == []


def test_the_readme_of_the_examples_covers_the_objectives_of_the_lecture():
    assert re.findall(r"^\| (\d)\.", README, flags=re.MULTILINE) == ["1", "2", "3", "4"]


def test_the_readme_of_the_examples_names_the_pictures():
    assert {
        name.replace("*", data) for name in re.findall(r"`([\w*]+\.png)`", README) for data in ("shapes", "digits")
    } >= PICTURES


def test_the_cnn_is_short_enough_to_read_at_a_glance():
    assert len((EXAMPLES / "digits_cnn.py").read_text(encoding="utf-8").splitlines()) < 60


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits_cnn", "digits_resnet"])
def test_an_example_reaches_its_target(name):
    module = load(name)
    assert module.main() >= module.TARGET_ACCURACY


@pytest.mark.slow
def test_gradients_vanish_in_the_example(tmp_path):
    pytest.importorskip("matplotlib")
    load("vanishing_gradient").main(Experiment(), str(tmp_path))
    assert (tmp_path / "gradients.json").is_file()
    assert (tmp_path / "gradients.png").is_file()


@pytest.mark.slow
def test_the_example_sees_the_figures_and_the_bowl(tmp_path):
    pytest.importorskip("matplotlib")
    load("what_a_cnn_sees").main(tmp_path)
