"""`gpunet evaluate`: several runs, and data that a network was not trained on."""

import json
from dataclasses import replace

import numpy as np
import pytest

import gpunet
from gpunet.backend import use_backend
from gpunet.cli import main
from gpunet.data import DATASETS, Digits, ImageDataset
from gpunet.errors import DataError
from gpunet.train import TrainConfig, TrainingRun, evaluate_run
from gpunet.visualize import encode_png
from tests.runs import learned_digits

pytestmark = pytest.mark.usefixtures("numpy_backend")


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory):
    """Of grey images of 8x8 that hold 0 to 16."""
    return learned_digits(tmp_path_factory.mktemp("runs") / "digits")


@pytest.fixture
def pictures(tmp_path):
    """Half of the digits held out as image files, so that their numbers of the classes are others: 5 to 9 alone."""
    pytest.importorskip("PIL")
    held_out = Digits(train=False)
    folder = tmp_path / "pictures"
    for number, (image, label) in enumerate(zip(held_out.images, held_out.labels, strict=True)):
        if label >= 5:
            (folder / str(label)).mkdir(parents=True, exist_ok=True)
            enlarged = (image * (255 / 16)).round().astype(np.uint8).repeat(4, axis=1).repeat(4, axis=2)
            (folder / str(label) / f"{number}.png").write_bytes(encode_png(enlarged[0]))
    return folder


def figures(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_the_own_data_by_their_name(digits_run):
    expected, classes = evaluate_run(digits_run)
    again, same = evaluate_run(digits_run, "digits")
    assert (again.loss, same) == (expected.loss, classes)
    np.testing.assert_array_equal(again.confusion, expected.confusion)


def test_a_folder_of_some_classes_is_judged_as_predict_judges_its_files(digits_run, pictures, capsys):
    assert main(["evaluate", str(digits_run), "--data", f"folder:{pictures}", "--all-images", "--json"]) == 0
    (found,) = figures(capsys)
    assert found["data"] == f"folder:{pictures}"
    classifier = gpunet.load(digits_run)
    expected = np.zeros((10, 10), int)
    for path in pictures.rglob("*.png"):
        [[(guess, _)]] = classifier.predict([path])
        expected[int(path.parent.name), int(guess)] += 1
    assert expected.sum() > 150
    np.testing.assert_array_equal(found["confusion"], expected)
    assert found["test_accuracy"] == np.trace(expected) / expected.sum()


def test_without_all_images_it_is_those_that_training_holds_out(digits_run, pictures, capsys):
    assert main(["evaluate", str(digits_run), "--data", f"folder:{pictures}"]) == 0
    held_out = len(gpunet.data.ImageFolder(pictures, train=False))
    assert f" on folder:{pictures}, {held_out} images" in capsys.readouterr().out
    assert 0 < held_out < 60


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("other_channels", [1, 3])
def test_colours_sizes_and_ranges_of_pixels_are_brought_to_those_of_the_run(
    tiny_runs, channels, other_channels, tmp_path
):
    """The same images once more, grey and in colours that have that grey, half as bright in twice the range."""
    digits = DATASETS["digits"]

    def load_as(of_channels, factor):
        def load(train, transform):
            whole = digits.load(train, None)
            images = whole.images.repeat(of_channels, axis=1) * np.uint8(factor)
            return ImageDataset(images, whole.labels, transform, whole.classes)

        return load

    others = replace(digits, load=load_as(other_channels, 2), channels=other_channels, scale=32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATASETS, "digits", replace(digits, load=load_as(channels, 1), channels=channels))
        patch.setitem(DATASETS, "others", others)
        TrainingRun(TrainConfig(model="tiny", epochs=2, batch_size=8), tmp_path / "run", show_progress=False).run()
        expected, _ = evaluate_run(tmp_path / "run")
        found, _ = evaluate_run(tmp_path / "run", "others")
    assert found.loss == pytest.approx(expected.loss, rel=1e-5)
    np.testing.assert_array_equal(found.confusion, expected.confusion)


def test_classes_that_the_network_does_not_know(digits_run, capsys):
    with pytest.raises(DataError, match=r"classes that the network does not know: triangle, .*it tells apart 0, 1, 2"):
        evaluate_run(digits_run, "shapes")
    assert main(["evaluate", str(digits_run), "--data", "shapes"]) == 1
    assert capsys.readouterr().err.startswith("gpunet: error: shapes has classes that")


def test_several_runs_are_a_table(digits_run, tmp_path, capsys):
    with use_backend("numpy"):
        TrainingRun(TrainConfig(model="lenet5", epochs=1), tmp_path / "lenet", show_progress=False).run()
    runs = [str(digits_run), str(tmp_path / "lenet")]
    assert main(["evaluate", *runs, "--json"]) == 0
    found = figures(capsys)
    assert [each["run"] for each in found] == runs
    assert [each["test_loss"] for each in found] == [evaluate_run(each)[0].loss for each in runs]
    assert main(["evaluate", *runs]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["run", "model", "data", "images", "accuracy", "loss"]
    assert [row.split() for row in rows] == [
        [each["run"], model, "digits", "360", f"{each['test_accuracy']:.2%}", f"{each['test_loss']:.4f}"]
        for each, model in zip(found, ("resnet8", "lenet5"), strict=True)
    ]


def test_a_broken_run_does_not_keep_others_from_being_tested(digits_run, tmp_path, capsys):
    assert main(["evaluate", str(tmp_path / "none"), str(digits_run)]) == 1
    out, err = capsys.readouterr()
    assert err == f"gpunet: error: {tmp_path / 'none'} holds no training run: there is no config.json in it\n"
    assert [line.split()[0] for line in out.splitlines()] == ["run", str(digits_run)]


@pytest.mark.parametrize("option", [["--all-images"], ["--data-dir", "files"]])
def test_options_that_are_for_other_data(option, digits_run, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["evaluate", str(digits_run), *option])
    assert caught.value.code == 2
    assert "are for --data" in capsys.readouterr().err
