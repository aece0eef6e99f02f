"""`gpunet.load` and `gpunet predict`: every kind of image file, what goes wrong, JSON, lists on stdin, Grad-CAM."""

import io
import json
import os
import shutil
import struct
import subprocess
import sys

import numpy as np
import pytest

import gpunet
from gpunet.classifier import Classifier
from gpunet.cli import main
from gpunet.data import Digits, find_dataset
from gpunet.errors import ArgumentError, DTypeError, FileError, GpunetError, ShapeError, StateDictError
from gpunet.models import resnet8
from gpunet.printable import printable
from gpunet.visualize import encode_png, plot_explanation
from gpunet.visualize.figure import figure_png
from tests.runs import change, learned_digits, plain

pytestmark = pytest.mark.usefixtures("numpy_backend")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run that has learned the digits well enough to be asked about them."""
    return learned_digits(tmp_path_factory.mktemp("run") / "digits")


@pytest.fixture(scope="module")
def digits():
    return Digits(train=False)


# gpunet.load


def test_load_gives_what_the_run_was_trained_with(folder, digits):
    classifier = gpunet.load(folder)
    summary = json.loads((folder / "summary.json").read_text())
    assert isinstance(classifier, gpunet.Classifier)
    assert classifier.classes == tuple("0123456789")
    assert (classifier.channels, classifier.size, classifier.scale) == (1, 8, 16)
    assert not classifier.model.training
    probabilities = classifier.probabilities(classifier.prepare(digits.images))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert (probabilities.argmax(axis=1) == digits.labels).mean() == summary["test_accuracy"]
    images = find_dataset("digits").test_set(8).batch(np.arange(5), np.random.default_rng(0))[0]
    np.testing.assert_array_equal(classifier.prepare(digits.images[:5]).numpy(), images)


def test_predict_ranks_the_classes(folder, digits):
    classifier = gpunet.load(folder)
    rows = classifier.probabilities(classifier.prepare(digits.images[:300]))  # more than a batch
    found = classifier.predict(digits.images[:300], top=3)
    assert [len(ranked) for ranked in found] == [3] * 300
    for row, ranked in zip(rows, found, strict=True):
        assert [share for _, share in ranked] == sorted(map(float, row), reverse=True)[:3]
        assert [row[int(name)] for name, _ in ranked] == [share for _, share in ranked]
    assert classifier.predict(digits.images[:1]) == [found[0][:1]]
    assert len(classifier.predict(digits.images[:1], top=99)[0]) == 10
    assert classifier.predict(digits.images[:0]) == []


def test_the_mode_of_the_model_is_put_back(folder, digits):
    classifier = gpunet.load(folder)
    before = classifier.predict(digits.images[:4])
    classifier.model.train()
    assert classifier.predict(digits.images[:4]) == before
    assert all(module.training for module in classifier.model.modules())


def test_pictures_undo_the_transform(folder, digits):
    classifier = gpunet.load(folder)
    shown = classifier.pictures(classifier.prepare(digits.images[:9]).numpy())
    np.testing.assert_array_equal(shown, np.round(digits.images[:9] / 16.0 * 255).astype(np.uint8))


@pytest.mark.parametrize(
    ("images", "settings", "error"),
    [
        (np.zeros((1, 3, 8, 8), np.uint8), {}, ShapeError),
        (np.zeros((8, 8), np.uint8), {}, ShapeError),
        (np.zeros((1, 1, 8, 8), np.float32), {}, DTypeError),
        (np.zeros((1, 1, 8, 8), np.uint8), {"top": 0}, ArgumentError),
        (3, {}, ShapeError),
        (None, {}, ShapeError),
        ([np.zeros((1, 8, 8), np.float32)], {}, DTypeError),
    ],
)
def test_what_predict_refuses(folder, images, settings, error):
    with pytest.raises(error):
        gpunet.load(folder).predict(images, **settings)


@pytest.mark.parametrize("given", [3, None])
def test_what_is_no_path_of_a_run(given):
    with pytest.raises(ArgumentError, match=f"path was expected, got {type(given).__name__}"):
        gpunet.load(given)


def test_runs_that_cannot_be_loaded(folder, tmp_path):
    with pytest.raises(FileError, match="holds no training run"):
        gpunet.load(tmp_path)

    def damaged(name, content):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        shutil.copytree(folder, path)
        (path / name).write_bytes(content)
        return path

    whole = (folder / "model.safetensors").read_bytes()
    whole_config = json.dumps(plain(json.loads((folder / "config.json").read_text()))).encode()
    for name, content in [
        ("config.json", b"{"),
        ("config.json", whole_config.replace(b"resnet8", b"resnet9")),
        ("config.json", whole_config.replace(b"classes", b"klasses")),
        ("config.json", whole_config.replace(b"input", b"output")),
        ("model.safetensors", b""),
        ("model.safetensors", whole[:-1]),
    ]:
        with pytest.raises(GpunetError):
            gpunet.load(damaged(name, content))
    with pytest.raises(StateDictError):
        gpunet.load(damaged("config.json", whole_config.replace(b"resnet8", b"resnet20")))


def test_neither_the_dataset_nor_the_summary_is_needed(folder, digits, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "summary.json").unlink()
    change(copy / "config.json", data="folder:/gone")
    assert gpunet.load(copy).predict(digits.images) == gpunet.load(folder).predict(digits.images)


@pytest.mark.parametrize(
    "lie",
    [
        *[{"channels": value} for value in (2, 0, "1", None)],
        *[{name: value} for name in ("size", "stored_size") for value in (0, -1, 1e9, 10**9, 8.0, True, "8", None)],
        *[{"scale": value} for value in (0, float("inf"), float("nan"), 65536, "16")],
        *[{"mean": value} for value in (0.3, [], [0.3] * 3, ["0"], [None])],
        *[{"std": value} for value in (0.3, [], [0.0], [-1.0], [float("nan")])],
    ],
    ids=str,
)
def test_a_configuration_that_lies_about_the_images(lie, folder, tmp_path):
    config = plain(json.loads((folder / "config.json").read_text()))
    config["input"].update(lie)
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(FileError, match=f"'input' has '{next(iter(lie))}'"):
        gpunet.load(tmp_path)


# Image files


@pytest.fixture
def picture(digits, tmp_path):
    """Writes a test digit as a file of its own size, light on dark unless it is changed: its path."""
    image_module = pytest.importorskip("PIL.Image")

    def write(name="digit.png", index=0, mode="L", change=lambda image: image, **settings):
        pixels = np.round(digits.images[index, 0] / 16.0 * 255).astype(np.uint8)
        image = change(image_module.fromarray(pixels).convert(mode))
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, **settings)
        return path

    return write


def test_a_file_becomes_what_the_dataset_stores(folder, digits, picture):
    classifier = gpunet.load(folder)
    np.testing.assert_array_equal(classifier.read(picture()), digits.images[0])
    dark = picture("dark.png", change=lambda image: image.point(lambda value: 255 - value))
    np.testing.assert_array_equal(classifier.read(dark, invert=True), digits.images[0])


def test_predict_takes_pictures_and_files(folder, digits, picture):
    from PIL import Image

    classifier = gpunet.load(folder)
    paths = [picture(), picture("wide.jpg", 1, change=lambda image: image.resize((64, 80)), quality=95)]
    with Image.open(paths[0]) as one, Image.open(paths[1]) as other:
        pictures = [one, other]
        assert classifier.predict(one) == classifier.predict(digits.images[:1])
        assert len(classifier.predict(pictures)) == 2
        assert classifier.predict(pictures)[:1] == classifier.predict(paths[0]) == classifier.predict(str(paths[0]))
        assert classifier.predict((paths[0], one)) == [*classifier.predict(one), *classifier.predict(one)]
        assert other.size == (64, 80)  # as it was given
        other.load()
    assert classifier.predict([]) == []
    assert classifier.predict(gpunet.tensor(digits.images[:2])) == classifier.predict(digits.images[:2])


def test_pictures_are_turned_and_laid_over_white_as_files_are(folder, picture):
    from PIL import Image

    classifier = gpunet.load(folder)
    exif = Image.Exif()
    exif[0x0112] = 6
    for path in (picture("clear.png", change=see_through), picture("turned.jpg", mode="RGB", exif=exif)):
        with Image.open(path) as image:
            np.testing.assert_array_equal(classifier.read(image), classifier.read(path))


def deep(image):
    from PIL import Image

    return Image.fromarray(np.asarray(image).astype(np.uint16) * 257)


def see_through(image):
    """The digit as dark ink on nothing."""
    from PIL import Image

    ink = Image.new("RGBA", image.size, (0, 0, 0, 0))
    ink.putalpha(image)
    return ink


KINDS = {
    "grey.png": {},
    "rgb.bmp": {"mode": "RGB"},
    "palette.gif": {"mode": "P"},
    "cmyk.tiff": {"mode": "CMYK"},
    "sixteen.png": {"change": deep},
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_file_is_the_same_image(name, folder, digits, picture):
    stored = gpunet.load(folder).read(picture(name, **KINDS[name]))
    assert stored.dtype == np.uint8
    np.testing.assert_allclose(stored.astype(int), digits.images[0], atol=1)


def test_transparent_files_are_laid_over_white(folder, digits, picture):
    stored = gpunet.load(folder).read(picture("ink.png", change=see_through), invert=True)
    np.testing.assert_allclose(stored.astype(int), digits.images[0], atol=1)


def test_turned_photographs_are_turned_back(folder, digits, picture):
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held so that the top of the scene is on the right of the file
    turned = picture("turned.png", change=lambda image: image.transpose(Image.Transpose.ROTATE_90), exif=exif)
    np.testing.assert_array_equal(gpunet.load(folder).read(turned), digits.images[0])


def test_the_middle_of_wide_images_is_taken(folder, digits, picture):
    from PIL import ImageOps

    wide = picture("wide.png", change=lambda image: ImageOps.expand(image, (10, 0), 255))
    np.testing.assert_array_equal(gpunet.load(folder).read(wide), digits.images[0])


# The command


def predict(folder, *arguments):
    return main(["predict", str(folder), *map(str, arguments)])


def test_files_and_folders_as_text(folder, picture, tmp_path, capsys):
    paths = [picture(f"many/{name}", index) for index, name in enumerate(["b.png", "a.png", "below/c.png"])]
    picture("many/.hidden.png")
    single = picture("single.png", 3)
    assert predict(folder, single, tmp_path / "many", "--top", 2) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert err == ""
    assert [line.split("  ")[0] for line in lines] == [str(path) for path in (single, paths[1], paths[0], paths[2])]
    expected = gpunet.load(folder).predict(Digits(train=False).images[[3, 1, 0, 2]], top=2)
    assert [line.split("  ")[1:] for line in lines] == [[f"{c} {p:.1%}" for c, p in ranked] for ranked in expected]


def test_json_lines(folder, picture, capsys):
    paths = [picture(f"{index}.png", index) for index in range(3)]
    assert predict(folder, *paths, "--json", "--top", 10) == 0
    out, err = capsys.readouterr()
    results = [json.loads(line) for line in out.splitlines()]
    assert err == ""
    assert [each["image"] for each in results] == list(map(str, paths))
    expected = gpunet.load(folder).predict(Digits(train=False).images[:3], top=10)
    for each, ranked in zip(results, expected, strict=True):
        assert [(one["class"], one["probability"]) for one in each["top"]] == ranked
        assert sum(one["probability"] for one in each["top"]) == pytest.approx(1)


def test_more_images_than_a_batch(folder, picture, capsys, monkeypatch):
    monkeypatch.setattr("gpunet.cli.predict.BATCH_SIZE", 2)
    paths = [picture(f"{index}.png", index) for index in range(5)]
    assert predict(folder, *paths, "--json") == 0
    assert [json.loads(line)["image"] for line in capsys.readouterr().out.splitlines()] == list(map(str, paths))


def test_a_list_on_stdin(folder, picture, capsys, monkeypatch):
    paths = [picture(f"{index} of two.png", index) for index in range(2)]
    listed = f"{paths[0]}\r\n\n{paths[1]}\n".encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(listed)))
    assert predict(folder, "-", "--json") == 0
    assert [json.loads(line)["image"] for line in capsys.readouterr().out.splitlines()] == list(map(str, paths))


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp"])
def test_an_image_on_stdin_is_no_list(folder, picture, capsys, monkeypatch, ending):
    """Its bytes are not taken for names of files, which would come back on the terminal."""
    content = picture(f"digit.{ending}").read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert predict(folder, "-") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "gpunet: error: - takes a list of paths on stdin, one a line; what came is binary, maybe an image itself\n"
    )


def test_what_cannot_be_read_is_named_and_the_rest_predicted(folder, picture, tmp_path, capsys):
    good = picture("good.png")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "half.png").write_bytes(good.read_bytes()[:90])
    bad = [tmp_path / name for name in ("empty.png", "text.png", "half.png", "missing.png")]
    assert predict(folder, *bad, good, "--json") == 1
    out, err = capsys.readouterr()
    assert [json.loads(line)["image"] for line in out.splitlines()] == [str(good)]
    lines = err.splitlines()
    assert [str(path) in line for path, line in zip(bad, lines, strict=False)] == [True] * 4
    assert lines[4:] == ["gpunet: 4 files could not be read"]


def test_names_that_are_not_text(folder, picture, tmp_path, capfdbinary):
    name = os.fsdecode(b"\xff.png")
    try:
        os.rename(picture(), tmp_path / name)
    except OSError:
        pytest.skip("this file system wants names in UTF-8")
    assert predict(folder, tmp_path / name) == 0
    assert rb"\xff.png" in capfdbinary.readouterr().out


def test_nothing_to_predict(folder, tmp_path, capsys):
    pytest.importorskip("PIL")
    (tmp_path / "empty").mkdir()
    assert predict(folder, tmp_path / "empty") == 1
    assert "no images were given" in capsys.readouterr().err


def test_explain_writes_where_it_looked(folder, digits, picture, tmp_path, capsys, monkeypatch):
    """The image beside its heat, with the answer, its probability and a scale; the path is said."""
    pytest.importorskip("matplotlib")
    figures = []
    monkeypatch.setattr("gpunet.cli.predict.figure_png", lambda figure: figures.append(figure) or figure_png(figure))
    out = tmp_path / "heat.png"
    assert predict(folder, picture(), "--explain", out) == 0
    answer, written = capsys.readouterr().out.splitlines()
    assert written == f"written to {out}"
    classifier = gpunet.load(folder)
    prepared = classifier.prepare(digits.images[:1])
    (heat,) = gpunet.visualize.grad_cam(classifier.model, prepared)
    large = np.round(digits.images[0] / 16.0 * 255).astype(np.uint8).repeat(32, 1).repeat(32, 2)
    image, heated, scale = figures[0].axes
    np.testing.assert_array_equal(image.images[0].get_array()[:, :, 0], large[0])
    np.testing.assert_array_equal(heated.images[0].get_array(), gpunet.visualize.overlay(large, heat))
    assert [label.get_text() for label in scale.get_yticklabels()] == ["nothing", "the most"]
    name, share = answer.split()[1:3]
    assert figures[0].get_suptitle() == f"{name}, {share}"
    assert read_png_size(out) == (760, 420)
    assert predict(folder, picture(), "--explain", out, "--layer", "layer1", "--json") == 0
    assert json.loads(capsys.readouterr().out)["explanation"] == str(out)
    assert not np.array_equal(figures[1].axes[1].images[0].get_array(), heated.images[0].get_array())


def test_names_in_an_explanation_are_no_formulas():
    pytest.importorskip("matplotlib")
    picture = np.zeros((3, 8, 8), np.uint8)
    for name in ("$\\frac{", "$x$", "\u732b", "a\nb"):
        figure = plot_explanation(picture, np.zeros((4, 4)), [(name, 0.5), (name, 0.25)])
        assert figure_png(figure).startswith(b"\x89PNG")
        assert figure.get_suptitle() == f"{printable(name)}, 50.0%"
    with pytest.raises(ArgumentError, match="at least one answer"):
        plot_explanation(picture, np.zeros((4, 4)), [])


def read_png_size(path):
    return struct.unpack(">II", path.read_bytes()[16:24])


def test_explain_refuses(folder, picture, tmp_path, capsys):
    for arguments, message in [
        ([picture(), picture("two.png"), "--explain", tmp_path / "heat.png"], "takes one image, got 2"),
        ([picture(), "--explain", tmp_path / "nowhere" / "heat.png"], "cannot write"),
        ([picture(), "--explain", tmp_path / "heat.png", "--layer", "conv9"], "'conv9' gives no feature map"),
    ]:
        assert predict(folder, *arguments) == 1
        assert message in capsys.readouterr().err


def test_without_pillow(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    path = tmp_path / "image.png"
    path.write_bytes(encode_png(np.zeros((8, 8), np.uint8)))
    assert predict(folder, path) == 1
    assert "pip install 'gpunet[full]'" in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="pipes as on POSIX")
def test_through_a_pipe(folder, picture):
    listed = f"{picture()}\n".encode()
    command = [sys.executable, "-m", "gpunet", "predict", str(folder), "-", "--json", "--backend", "numpy"]
    done = subprocess.run(command, input=listed, capture_output=True, timeout=120, check=True)
    assert json.loads(done.stdout)["top"][0]["class"] == str(Digits(train=False).labels[0])


def test_a_classifier_can_be_put_together_by_hand():
    recipe = find_dataset("digits")
    classifier = Classifier(resnet8(10, 1), tuple("abcdefghij"), recipe.test_transform(8), 1, 8, 16)
    ((name, _),) = classifier.predict(np.zeros((1, 1, 8, 8), np.uint8))[0]
    assert name in "abcdefghij"
    assert classifier.model.training
