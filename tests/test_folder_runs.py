"""Runs on folders of images that change: what was learned from is never tested on, and every change is said."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import gpunet
from gpunet.backend import use_backend
from gpunet.cli import main
from gpunet.data import find_dataset
from gpunet.errors import DataError
from gpunet.report import report
from gpunet.train import RunFolder, TrainConfig, TrainingRun, evaluate_run
from tests.runs import NO_KERNELS, TINY, change, few_digits, plain

Image = pytest.importorskip("PIL.Image")

pytestmark = pytest.mark.usefixtures("numpy_backend")

COLOURS = {"apple": (200, 40, 40), "lime": (40, 200, 40), "plum": (90, 40, 160)}


def add_images(folder, names, colour, seed=0):
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        pixels = np.clip(np.array(colour) + rng.normal(0, 30, (8, 8, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / name)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Pictures of three classes, and a run that tells them apart."""
    place = tmp_path_factory.mktemp("made")
    for number, (name, colour) in enumerate(COLOURS.items()):
        add_images(place / "pictures" / name, [f"{i}.png" for i in range(24)], colour, number)
    config = TrainConfig(data=f"folder:{place / 'pictures'}", image_size=8, epochs=4, batch_size=8, lr=0.05)
    TrainingRun(config, place / "run", show_progress=False).run()
    return place


@pytest.fixture
def place(made, tmp_path):
    """A copy of both that may be changed."""
    shutil.copytree(made, tmp_path / "copy")
    change(tmp_path / "copy" / "run" / "config.json", data=f"folder:{tmp_path / 'copy' / 'pictures'}")
    return tmp_path / "copy"


def resume(place):
    return main(["train", "--resume", "--quiet", "--out", str(place / "run")])


def test_mistakes_are_called_by_the_names_of_their_files(place):
    """Apples in the folder of limes are taken for apples, surely."""
    held_out = gpunet.data.ImageFolder(place / "pictures", train=False, size=8).names
    swapped = [name for name in held_out if name.startswith("lime/")]
    for name in swapped:
        add_images(place / "pictures" / "lime", [name.partition("/")[2]], COLOURS["apple"])
    made = report(place / "run")
    mistakes = [(each["file"], each["right"], each["predicted"]) for each in made.figures["runs"][0]["mistakes"]]
    assert {(name, "lime", "apple") for name in swapped} <= set(mistakes)
    for name in swapped:
        folder, file = name.split("/")
        assert f"<figcaption>{folder}/<wbr>{file}<br>is <b>lime</b>, taken for <b>apple</b>" in made.page
        assert f'<th scope="row">{name}</th><td>lime</td><td>apple</td>' in made.page


def test_nothing_is_said_of_data_that_are_the_same(place, capsys):
    assert main(["evaluate", str(place / "run")]) == 0
    assert capsys.readouterr().err == ""
    assert "has changed" not in report(place / "run").page
    assert resume(place) == 0


def test_the_configuration_knows_the_data(place):
    config = RunFolder(place / "run").read_config()
    assert config["classes"] == list(COLOURS)
    assert config["files"] == find_dataset(config["data"]).files
    assert {sum(config["files"][part][name][0] for part in ("train", "test")) for name in COLOURS} == {24}


def test_other_classes_are_refused(place, capsys):
    """The network's outputs go by number: with a class renamed, what it says would mean something else."""
    (place / "pictures" / "apple").rename(place / "pictures" / "quince")
    for command in (["evaluate"], ["report"], ["train", "--resume", "--quiet", "--out"]):
        assert main([*command, str(place / "run")]) == 1
        assert "gone are apple, new are quince" in capsys.readouterr().err


def test_reversed_classes_are_refused(tmp_path):
    """Also of data that never change: then it is the configuration that has."""
    with use_backend("numpy"), few_digits():
        TrainingRun(replace(TINY, epochs=1), tmp_path, show_progress=False).run()
        change(tmp_path / "config.json", classes=[str(digit) for digit in reversed(range(10))])
        with pytest.raises(DataError, match="they are in another order"):
            evaluate_run(tmp_path)


def test_files_that_were_added_are_said(place, caplog):
    evaluation, _ = evaluate_run(place / "run")
    add_images(place / "pictures" / "lime", ["new 1.png", "new 2.png", "new 3.png"], COLOURS["lime"])
    caplog.clear()
    again, _ = evaluate_run(place / "run")
    assert "has changed since the run was begun: lime, " in caplog.text
    held_out = find_dataset(f"folder:{place / 'pictures'}").files["test"]["lime"][0]
    assert again.confusion.sum() - evaluation.confusion.sum() == held_out - evaluation.confusion[1].sum()
    np.testing.assert_array_equal(again.confusion[[0, 2]], evaluation.confusion[[0, 2]])
    assert "has changed since the run was begun: lime, " in report(place / "run").page


def test_a_run_does_not_go_on_with_other_data(place):
    add_images(place / "pictures" / "plum", ["3.png"], COLOURS["apple"], seed=9)  # in the place of another picture
    with pytest.raises(DataError, match=r"plum, .*: \d+ files, not the same; a run goes on with the data it was begun"):
        TrainingRun(evaluated_config(place), place / "run", resume=True)


def evaluated_config(place):
    config = json.loads((place / "run" / "config.json").read_text())
    return TrainConfig(data=config["data"], image_size=8, epochs=4, batch_size=8, lr=0.05)


def test_the_network_sees_images_as_in_training_whatever_is_added(place, caplog):
    """Mean and spread are those of the images it learned from, not of those that are there now."""
    before, _ = evaluate_run(place / "run")
    held_out = find_dataset(f"folder:{place / 'pictures'}").files["test"]
    for number in range(30):
        add_images(place / "pictures" / "apple", [f"white {number}.png"], (255, 255, 255))
        if find_dataset(f"folder:{place / 'pictures'}").files["test"] != held_out:
            (place / "pictures" / "apple" / f"white {number}.png").unlink()
    assert len(list((place / "pictures" / "apple").iterdir())) > 40
    again, _ = evaluate_run(place / "run")
    assert again.loss == before.loss


def test_a_run_of_before_keeps_its_own_held_out_images(place, caplog):
    """Its configuration says nothing of files, and it held out others: those it learned from are not tested on."""
    path = place / "run" / "config.json"
    config = plain(json.loads(path.read_text()))
    del config["files"]
    path.write_text(json.dumps(config))
    evaluation, _ = evaluate_run(place / "run")
    assert evaluation.confusion.sum(axis=1).tolist() == [5, 5, 5]  # 20 % of 24, drawn
    assert "whether they are the same cannot be told" in caplog.text
    assert resume(place) == 0


def test_a_class_whose_name_is_not_utf8(tmp_path):
    """It trains, and its configuration and summary can be read; on file systems that take any bytes."""
    name = os.fsdecode(b"caf\xe9")
    try:
        for each, colour in (("apple", COLOURS["apple"]), (name, COLOURS["lime"])):
            add_images(tmp_path / "pictures" / each, [f"{i}.png" for i in range(12)], colour)
    except OSError as error:
        pytest.skip(str(error))
    config = TrainConfig(data=f"folder:{tmp_path / 'pictures'}", image_size=8, epochs=1, batch_size=8)
    evaluation, _ = TrainingRun(config, tmp_path / "run", show_progress=False).run()
    again, classes = evaluate_run(tmp_path / "run")
    assert classes == ("apple", name)
    assert again.loss == evaluation.loss
    TrainingRun(config, tmp_path / "run", show_progress=False, resume=True).run()


def test_files_that_are_no_images_are_named_once(tmp_path):
    """In a line a file, without a word of Python's, when the run begins; not when it goes on or is evaluated."""
    for name in ("apple", "lime"):
        add_images(tmp_path / "pictures" / name, [f"{i}.png" for i in range(12)], COLOURS[name])
        (tmp_path / "pictures" / name / "Thumbs.db").write_bytes(b"x")
        (tmp_path / "pictures" / name / "notes.txt").write_text("red")

    def said(*arguments):
        command = [sys.executable, "-m", "gpunet", *arguments, str(tmp_path / "run")]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "GPUNET_BACKEND": "numpy"})
        assert done.returncode == 0, done.stderr
        return done.stderr

    pictures = tmp_path / "pictures"
    reason = "cannot be read as an image (not in one of the formats BMP, GIF, JPEG, PNG, PPM, TIFF, WEBP)"
    options = ["--data", f"folder:{pictures}", "--image-size", "8", "--epochs", "1", "--quiet"]
    assert said("train", *options, "--out").splitlines() == [
        f"{pictures}: 2 of 26 files left out:",
        f"{pictures / 'apple' / 'notes.txt'}: {reason}",
        f"{pictures / 'lime' / 'notes.txt'}: {reason}",
        *NO_KERNELS.splitlines(),
    ]
    for command in (["evaluate"], ["report"], ["train", "--resume", "--quiet", "--out"]):
        assert said(*command) == NO_KERNELS


def test_a_few_images_are_enough(tmp_path, capsys):
    """Fewer than there are in a batch, with all settings as they are by default."""
    for name, colour in COLOURS.items():
        add_images(tmp_path / "pictures" / name, [f"{i}.png" for i in range(5)], colour)
    options = ["--data", f"folder:{tmp_path / 'pictures'}", "--epochs", "1", "--model", "lenet5"]
    assert main(["train", *options, "--out", str(tmp_path / "run")]) == 0
    out, err = capsys.readouterr()
    assert re.search(r"\nbatches of \d+ images, not 32: there are no more\n", out)
    assert err == ""
    assert main(["train", "--resume", "--quiet", "--out", str(tmp_path / "run")]) == 0
