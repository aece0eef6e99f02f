"""The report: the summary's figures, HTML that is whole, nothing from elsewhere, and how a browser shows it."""

import base64
import contextlib
import hashlib
import html
import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import gpunet
from gpunet.cli import main
from gpunet.errors import ArgumentError, FileError, GpunetError, ShapeError
from gpunet.markup import Markup, joined, lines, tag
from gpunet.report import read_record, reliability
from gpunet.report import report as report_on
from gpunet.report.axes import linear, logarithmic, ticks, towards_one
from gpunet.report.document import _asset, document
from gpunet.report.layer_chart import layer_chart
from gpunet.report.line_chart import Series, line_chart
from gpunet.report.record import RunRecord
from gpunet.report.sections.again import command
from gpunet.report.sections.classes import classes
from gpunet.report.sections.confusion import MANY_CLASSES, confused_pairs, confusion
from gpunet.report.sections.learning import learning
from gpunet.report.style import STYLE
from gpunet.train import TrainConfig, TrainingRun
from gpunet.visualize import spread
from gpunet.words import LANGUAGES, Words, places_in, words
from tests.browser import Page, browser, contrast, read_png
from tests.runs import change, learned_digits

ENGLISH = words("en", "gpunet.report")
EXACT = ["test_accuracy", "test_loss", "epochs_done", "parameters", "seconds", "images_per_second"]


pytestmark = pytest.mark.usefixtures("numpy_backend")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return learned_digits(tmp_path_factory.mktemp("run") / "digits")


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy", ignore=shutil.ignore_patterns("report.html"))


def report(*folders, language="en"):
    made = report_on(*folders, language=language)
    made.save()
    return Page(made.page)


def html_of(part):
    """The HTML of a part of a page."""
    return joined(part.content)


def summary_of(folder):
    return json.loads((folder / "summary.json").read_text())


# The page


def test_the_numbers_are_those_of_the_summary(folder):
    page, summary = report(folder), summary_of(folder)
    assert {name: float(page.with_id(name)["value"]) for name in EXACT} == {name: summary[name] for name in EXACT}
    assert page.texts["test_accuracy"] == f"{summary['test_accuracy']:.2%}"
    counts = [
        int(word)
        for word in re.findall(r"(?<=>)\d+(?=</td>)", re.search(r'id="matrix".*?</table>', text_of(folder))[0])
    ]
    np.testing.assert_array_equal(np.reshape(counts, (10, 10)), summary["confusion"])
    shares = [float(each["value"]) for each in page.all("data") if "id" not in each]
    np.testing.assert_array_equal(np.reshape(shares, (10, 2)).T, [summary["precision"], summary["recall"]])


def test_shares_of_nothing_are_undefined(copy):
    """Those of a class that was never predicted, and of one without images; also where an older version wrote 0."""
    confusion = np.array([[3, 0, 1], [2, 0, 0], [0, 0, 0]])
    for undefined in (None, 0.0):
        figures = {"precision": [3 / 5, undefined, 0.0], "recall": [3 / 4, 0.0, undefined]}
        change(copy / "summary.json", classes=["cat", "dog", "owl"], confusion=confusion.tolist(), **figures)
        text = html_of(classes(read_record(copy), ENGLISH))
        rows = re.findall(r'<th scope="row">(\w+)</th><td>\d</td><td>(.*?)</td><td>(.*?)</td>', text)
        shown = {name: [re.sub("<.*?>", "", cell) for cell in cells] for name, *cells in rows}
        assert shown == {"cat": ["60.0%", "75.0%"], "dog": ["-", "0.0%"], "owl": ["0.0%", "-"]}


def text_of(folder):
    return (folder / "report.html").read_text(encoding="utf-8")


def test_the_calibration_error_is_that_of_the_network(folder):
    classifier, digits = gpunet.load(folder), gpunet.data.Digits(train=False)
    probabilities = classifier.probabilities(classifier.prepare(digits.images))
    expected = reliability(probabilities, digits.labels).expected_calibration_error
    assert float(report(folder).with_id("calibration_error")["value"]) == expected


def test_nothing_comes_from_elsewhere_and_nothing_runs_but_its_own_script(folder):
    page, text = report(folder), text_of(folder)
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert script == _asset("page.js")
    assert "//" not in re.sub(r"base64,[\w+/=]+|sha256-[\w+/=]+", "", text.replace(script, ""))
    for name, attributes in page.tags:
        assert name not in ("link", "iframe", "object", "embed", "base", "form")
        assert not {key for key in attributes if key.startswith("on") or key in ("srcset", "xlink:href")}
        assert attributes.get("src", "data:image/png;base64,").startswith("data:image/png;base64,")
    assert not re.search(r"url\(|@import|expression", STYLE + _asset("page.css"))
    assert not re.search(r"fetch|XMLHttp|import|eval|innerHTML|http", script)
    (policy,) = [each["content"] for each in page.all("meta") if "http-equiv" in each]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == (f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'")


def test_the_contents_lead_to_every_part(folder):
    page = report(folder)
    parts = [attributes["id"] for name, attributes in page.tags if name == "section"]
    assert [each["href"] for each in page.all("a")] == [f"#{part}" for part in parts]
    assert parts == [
        "result", "learning", "confusion", "classes", "samples", "calibration", "mistakes", "network", "filters",
        "maps", "again",
    ]  # fmt: skip


def test_everything_has_words_too(folder):
    page = report(folder)
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("h1")) == 1
    assert len(page.all("svg")) == 10  # loss and accuracy twice, rate, speed, gradients and scale, reliability, network
    assert all(each["aria-label"] and each["role"] == "img" for each in page.all("svg"))
    assert all(each["alt"] for each in page.all("img"))
    assert all(each.get("scope") in ("row", "col") for each in page.all("th"))
    assert all(each["aria-label"] for each in page.all("div") if each.get("class") == "scroll")
    identities = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(set(identities)) == len(identities)


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_contrast(mode):
    """WCAG 2.2: 4.5 for text, 3 for what carries meaning in a graphic."""
    sheets = [STYLE, _asset("page.css")]
    blocks = [re.findall(r":root \{(.*?)\}", sheet, re.DOTALL)[mode] for sheet in sheets]
    colours = dict(re.findall(r"--(\w+): (#\w{6});", "".join(blocks)))
    for text in ("ink", "soft"):
        for ground in ("page", "card", "notice", "cell", "join"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    assert contrast(colours["link"], colours["page"]) >= 4.5
    for mark in ("one", "two", "three", "four", "five", "six"):
        assert contrast(colours[mark], colours["card"]) >= 3, mark


def test_the_command_starts_the_same_run(folder, tmp_path, capsys):
    told = report(folder).texts["command"].split()
    assert told[:2] == ["gpunet", "train"]
    assert main([*told[1:], "--epochs", "3", "--quiet", "--out", str(tmp_path / "again")]) == 0
    weights = [(path / "model.safetensors").read_bytes() for path in (folder, tmp_path / "again")]
    assert weights[0] == weights[1]


def test_the_command_is_safe_to_paste():
    config = {
        "gpunet": "1",
        "data": "folder:my pictures; rm",
        "epochs": 2,
        "lr": 0.1,
        "clip": None,
        "a_b": True,
        "c": False,
    }
    pieces = command(RunRecord("run", {**config, "freeze": ["layer1.*", "bn1"], "classes": ["a"]}, [], None).settings)
    assert pieces == [
        "gpunet", "train", "--data 'folder:my pictures; rm'", "--epochs 2", "--lr 0.1", "--a-b",
        "--freeze 'layer1.*'", "--freeze bn1",
    ]  # fmt: skip


def test_in_every_language_the_same_is_said():
    spanish = words("es", "gpunet.report")
    assert set(spanish) == set(ENGLISH)
    assert {key: places_in(text) for key, text in spanish.items()} == {
        key: places_in(text) for key, text in ENGLISH.items()
    }
    same = {key for key in ENGLISH if ENGLISH[key] == spanish[key]}
    assert {key.partition(".")[0] for key in same} <= {"environment", "chart", "page", "network"}


class Heard(Words):
    """Words that know which of them were asked for."""

    def __init__(self, texts):
        super().__init__(texts.language, texts)
        self.keys_heard = set()

    def __getitem__(self, key):
        self.keys_heard.add(key)
        return super().__getitem__(key)

    def __call__(self, key, **places):
        return self[key].format(**places)


def test_every_text_is_used(folder, copy, monkeypatch):
    """In one page or the other; what is said of runs that are not as they should be has tests of its own."""
    heard = Heard(ENGLISH)
    monkeypatch.setattr("gpunet.report.reporting.words", lambda *_: heard)
    report_on(folder)
    change(copy / "config.json", lr=0.5)
    report_on(folder, copy)
    counts = np.ones((40, 40), int)
    shares = {"precision": [1.0] * 40, "recall": [1.0] * 40}
    change(copy / "summary.json", classes=[str(index) for index in range(40)], confusion=counts.tolist(), **shares)
    confusion(read_record(copy), heard)
    rare = {
        "page.changed", "page.unfinished", "page.interrupted", "page.stopped_early", "page.otherwise", "learning.none",
        "learning.training_plain", "confusion.no_pairs", "mistakes.none", "mistakes.first", "samples.none",
        "network.Concatenate", "environment.device",
        "environment.unknown", "compare.unfinished", "compare.data", "compare.same_settings",
        "compare.same_environment",
    }  # fmt: skip
    assert set(ENGLISH) - heard.keys_heard - rare == set()
    assert rare <= set(ENGLISH)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_page_is_in_the_language_that_was_asked_for(folder, language):
    page = report(folder, language=language)
    texts = words(language, "gpunet.report")
    assert page.all("html") == [{"lang": language}]
    assert text_of(folder).count(texts["learning.training"]) == 1
    other = words("en" if language == "es" else "es", "gpunet.report")
    shown = re.sub(r"<script>.*?</script>|<style>.*?</style>", "", text_of(folder), flags=re.DOTALL)
    assert other["confusion.how"] not in shown
    assert other["mistakes.heading"] not in shown


def test_the_training_figures_say_what_they_are_averages_of(copy):
    assert "augmented images" in html_of(learning(read_record(copy), ENGLISH))
    change(copy / "config.json", augment="none")
    assert "did not augment" in html_of(learning(read_record(copy), ENGLISH))


def test_each_class_has_samples_of_itself(folder):
    digits, page = gpunet.data.Digits(train=False), report(folder)
    for name in digits.classes:
        own = np.flatnonzero(digits.labels == int(name))[:8]
        shown = [each for each in page.all("img") if each["alt"].startswith(f"A test image of class {name}: ")]
        assert [each["title"] for each in shown if "title" in each] == [f"test image {index}" for index in own]
        pixels = read_png(base64.b64decode(shown[0]["src"].partition(",")[2]))[:, :, 0]
        np.testing.assert_array_equal(pixels, np.round(digits.images[own[0], 0] / 16 * 255))


def test_mistakes_are_listed_by_how_sure_the_network_was(folder):
    classifier, digits = gpunet.load(folder), gpunet.data.Digits(train=False)
    probabilities = classifier.probabilities(classifier.prepare(digits.images))
    expected = [
        (-probabilities[index].max(), index, digits.labels[index], probabilities[index].argmax())
        for index in range(len(digits))
        if probabilities[index].argmax() != digits.labels[index]
    ]
    expected = [(f"test image {index}", str(right), str(taken)) for _, index, right, taken in sorted(expected)]
    report(folder)
    listed = re.findall(r'<th scope="row">(test image \d+)</th><td>(\d)</td><td>(\d)</td>', text_of(folder))
    assert listed == expected
    pictured = re.findall(r"<figcaption>(test image \d+)<br>is <b>(\d)</b>, taken for <b>(\d)</b>", text_of(folder))
    assert pictured == expected[:24]


def test_the_network_is_a_table_and_a_drawing(folder):
    report(folder)
    model, text = gpunet.load(folder).model, text_of(folder)
    convolutions = [name for name, each in model.named_modules() if isinstance(each, gpunet.nn.Conv2d)]
    for name in convolutions:
        assert f'<tr><th scope="row">{name}</th><td>Conv2d</td>' in text
        assert f"{name} Conv2d 3x3" in text  # the title of its box
    parameters = sum(each.numel() for each in model.parameters())
    assert re.search(rf'<th scope="row">total</th><td></td><td></td><td>{parameters:,}</td>', text)
    assert text.count('class="box join"') == 3


def test_when_and_where_a_run_was_made(folder, copy):
    noted = summary_of(folder)["environment"]
    report(folder)
    text = text_of(folder)
    assert f'<th scope="row">date</th><td class="text">{noted["date"][:16].replace("T", " ")}</td>' in text
    for name in ("processor", "threads", "system", "commit"):
        shown = "unknown" if noted[name] is None else html.escape(str(noted[name]))
        assert f'<th scope="row">{ENGLISH[f"environment.{name}"]}</th><td class="text">{shown}</td>' in text
    for path in ("config.json", "summary.json"):  # as of an older gpunet
        content = json.loads((copy / path).read_text())
        change(copy / path, **{name: value for name, value in content.items() if name == "gpunet"}, environment=[1])
    report(copy)
    for name in ("date", "processor", "cores", "threads", "system", "commit of gpunet"):
        assert f'<th scope="row">{name}</th><td class="text">unknown</td>' in text_of(copy)


def test_the_command_has_no_break_within_an_option(folder):
    report(folder)
    (code,) = re.findall(r'<code id="command">(.*?)</code>', text_of(folder))
    pieces = re.findall(r"<span>(.*?)</span>", code)
    assert code == " ".join(f"<span>{piece}</span>" for piece in pieces)
    assert "--batch-size 32" in pieces
    assert re.search(r"\.command span \{[^}]*inline-block", _asset("page.css"))


def test_a_notebook_shows_the_page_in_a_frame(folder):
    made = report_on(folder)
    page = Page(made._repr_html_())
    (frame,) = page.all("iframe")
    assert frame["srcdoc"] == made.page
    assert frame["sandbox"] == "allow-scripts"
    assert [name for name, _ in page.tags] == ["iframe"]
    assert len(repr(made)) < 200


def test_a_report_is_saved_where_one_says(copy, tmp_path):
    made = report_on(str(copy))
    assert made.save() == copy / "report.html"
    assert made.save(tmp_path / "other.html") == tmp_path / "other.html"
    assert (tmp_path / "other.html").read_text(encoding="utf-8") == made.page == text_of(copy)
    assert made.figures["runs"][0]["test_accuracy"] == summary_of(copy)["test_accuracy"]
    with pytest.raises(FileError, match="there is no folder"):
        made.save(tmp_path / "nowhere" / "page.html")
    with pytest.raises(ArgumentError, match="expects the folder of a run"):
        report_on()
    with pytest.raises(ArgumentError, match="there is no language 'fr'"):
        report_on(copy, language="fr")


def test_a_run_of_before_there_was_all_this(tmp_path):
    """A folder that gpunet wrote long ago, see test_old_runs."""
    run = shutil.copytree(Path(__file__).parent / "recorded" / "old_runs" / "finished", tmp_path / "run")
    page = report(run)
    assert float(page.with_id("test_accuracy")["value"]) == summary_of(run)["test_accuracy"]
    assert '<th scope="row">processor</th><td class="text">unknown</td>' in text_of(run)


# Runs that are not as they should be


def test_one_epoch(tmp_path):
    TrainingRun(TrainConfig(model="lenet5", epochs=1), tmp_path, show_progress=False).run()
    assert len(report(tmp_path).all("svg")) == 10


def test_a_run_that_was_stopped_before_its_first_epoch_ended(copy):
    (copy / "metrics.jsonl").unlink()
    change(copy / "summary.json", interrupted=True, epochs_done=0, images_per_second=None)
    page = report(copy)
    text = text_of(copy)
    assert "was stopped before its end" in text
    assert "did not complete an epoch" in text
    assert page.with_id("epochs_done")["value"] == "0"


def test_a_run_without_an_end(copy):
    (copy / "summary.json").unlink()
    (copy / "model.safetensors").unlink()
    lines = (copy / "metrics.jsonl").read_text()
    (copy / "metrics.jsonl").write_text(lines[:-20])  # killed while it wrote the last line
    page = report(copy)
    assert "has not come to its end" in text_of(copy)
    assert len(read_record(copy).epochs) == 2
    assert len(page.all("svg")) == 8


def test_figures_that_are_not_finite_leave_gaps(copy):
    lines = (copy / "metrics.jsonl").read_text().splitlines()
    lines[1] = json.dumps(
        {"epoch": 2, "train_loss": float("nan"), "test_loss": None, "gradient_norms": {"fc": float("inf")}}
    )
    (copy / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    assert read_record(copy).series("train_loss")[1] is None
    report(copy)
    assert "nan" not in re.sub(r"base64,\S+", "", text_of(copy)).lower().replace("finance", "")


def test_when_another_backend_decides_otherwise_the_page_says_so(copy):
    change(copy / "summary.json", test_accuracy=0.5)
    report(copy)
    assert "Run again for this report" in text_of(copy)


def test_names_cannot_become_markup(copy):
    evil = "<script>alert('1')</script>\"&"
    change(copy / "summary.json", classes=[evil] * 10)
    change(copy / "config.json", note=evil)
    page = report(copy)
    assert len(page.all("script")) == 1  # its own
    assert evil in page.texts["matrix"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", None, "holds no training run"),
        ("config.json", b"[]", "must hold a JSON object"),
        ("config.json", {"classes": 10}, "'classes' must be a list of texts"),
        ("metrics.jsonl", b"{}\nno json\n{}\n", "not a JSON file"),
        ("metrics.jsonl", b"[1]\n", "line 1, is damaged: it must hold a JSON object"),
        ("metrics.jsonl", b"\xff\n", "not a JSON file"),
        ("summary.json", b"", "not a JSON file"),
        ("summary.json", b"[]", "must hold a JSON object"),
        ("summary.json", {"test_accuracy": "high"}, "'test_accuracy' must be a number"),
        ("summary.json", {"classes": []}, "'classes' must be a list of texts"),
        ("summary.json", {"confusion": [[1, 2]]}, r"'confusion' must hold numbers of shape \(10, 10\)"),
        ("summary.json", {"confusion": [[1], [1, 2]]}, "'confusion' must hold"),
        ("summary.json", {"recall": [-1] * 10}, "'recall' must hold"),
        ("summary.json", {"recall": [math.inf] * 10}, "'recall' must hold"),
        ("summary.json", {"confusion": [[None] * 10] * 10}, "'confusion' must hold"),
        ("model.safetensors", None, "cannot read"),
        ("model.safetensors", b"", "safetensors"),
    ],
)
def test_damaged_runs(name, content, message, copy):
    path = copy / name
    if content is None:
        path.unlink()
    elif isinstance(content, dict):
        change(path, **content)
    else:
        path.write_bytes(content)
    with pytest.raises(FileError, match=message):
        report(copy)
    assert not (copy / "report.html").exists()


def test_lines_that_are_lost_are_missed(copy):
    lines = (copy / "metrics.jsonl").read_bytes()
    for content in (lines[:-1], b"".join(lines.splitlines(keepends=True)[:2]), None):
        if content is None:
            (copy / "metrics.jsonl").unlink()
        else:
            (copy / "metrics.jsonl").write_bytes(content)
        with pytest.raises(FileError, match=r"metrics.jsonl is damaged: it holds [02] of 3 epochs"):
            report(copy)


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "summary.json"])
def test_no_flipped_bit_goes_unnoticed(copy, name):
    """It is an error, or it has changed nothing: a space, or a digit beyond what a number holds."""
    path, whole = copy / name, read_record(copy)
    content = path.read_bytes()
    refused, bits = 0, range(0, 8 * len(content), 5 if name == "config.json" else 29)
    for bit in bits:
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            found = read_record(copy)
        except FileError:
            refused += 1
        else:
            assert found == whole
    assert refused > 0.97 * len(bits)


def test_the_checksum_is_the_sha256_of_the_rest(folder):
    """Whoever wants to check or to write such a file without gpunet can."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    texts = [(folder / name).read_text() for name in ("config.json", "summary.json")]
    for text in [*texts, *lines]:
        content = json.loads(text)
        claimed = content.pop("sha256")
        assert hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest() == claimed


def test_a_file_changed_by_hand_says_how_it_can_be_read(copy):
    path = copy / "config.json"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    with pytest.raises(FileError, match="if you have changed it yourself, take its 'format' and 'sha256' out"):
        read_record(copy)
    change(path)
    assert read_record(copy).config["seed"] == 1


def test_another_format_is_refused(copy):
    text = (copy / "config.json").read_text()
    (copy / "config.json").write_text(text.replace("gpunet run 2", "gpunet run 3"))
    with pytest.raises(FileError, match=r"config.json is damaged, or of another version of gpunet"):
        read_record(copy)


@pytest.mark.parametrize(
    ("version", "newer"),
    [("99.0.0", True), ("0.1.1", True), ("0.10.0rc1", True), (gpunet.__version__, False), ("0.0.9", False), (7, True)],
)
def test_a_run_of_a_newer_gpunet_says_so(copy, caplog, version, newer):
    change(copy / "config.json", gpunet=version)
    read_record(copy)
    read_record(copy)
    assert caplog.text.count(f"is of gpunet {version}, this is {gpunet.__version__}") == newer


def test_random_damage_gives_errors_that_are_ours(folder, tmp_path, rng):
    for number in range(60):
        copy = shutil.copytree(folder, tmp_path / str(number))
        path = copy / ("config.json", "metrics.jsonl", "summary.json")[number % 3]
        content = bytearray(path.read_bytes())
        for place in rng.integers(0, len(content), 3):
            content[place] = rng.integers(0, 256)
        path.write_bytes(content[: rng.integers(1, len(content))] if number % 2 else content)
        with contextlib.suppress(GpunetError):
            report(copy)


def test_the_command_line(copy, tmp_path, capsys):
    out = tmp_path / "page.html"
    assert main(["report", str(copy), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"written to {out}\n"
    assert out.read_text().startswith("<!DOCTYPE html>")
    assert main(["report", str(copy), "--lang", "es", "--json", "--out", str(out)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["written"] == str(out)
    (run,) = printed["runs"]
    assert {name: run[name] for name in EXACT} == {name: summary_of(copy)[name] for name in EXACT}
    assert len(run["mistakes"]) == np.sum(summary_of(copy)["confusion"]) - np.trace(summary_of(copy)["confusion"])
    assert '<html lang="es">' in out.read_text()
    assert main(["report", str(copy), "--out", str(tmp_path / "nowhere" / "page.html")]) == 1
    assert main(["report", str(tmp_path)]) == 1
    assert "holds no training run" in capsys.readouterr().err


def test_open_shows_the_page(copy, capsys, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or len(opened) < 2)
    assert main(["report", str(copy), "--open"]) == 0
    assert opened == [(copy / "report.html").as_uri()]
    assert capsys.readouterr().err.count("browser") == 0
    assert main(["report", str(copy), "--open"]) == 0
    assert "no browser was found" in capsys.readouterr().err


# What it is made of


def test_reliability_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.05, 0.95], [0.6, 0.4]])
    result = reliability(probabilities, np.array([0, 1, 1, 0]), bins=5)
    np.testing.assert_array_equal(result.counts, [0, 0, 1, 1, 2])  # 0.6 and 0.8 lie in the bins that they close
    np.testing.assert_allclose(result.confidence, [0, 0, 0.6, 0.8, 0.925])
    np.testing.assert_allclose(result.accuracy, [0, 0, 1, 0, 1])
    assert result.expected_calibration_error == pytest.approx((0.4 + 0.8 + 2 * 0.075) / 4)


def test_reliability_of_a_slow_loop(rng):
    probabilities = rng.dirichlet(np.ones(4), 200)
    labels = rng.integers(0, 4, 200)
    gap = 0.0
    for index in range(10):
        inside = [i for i in range(200) if index / 10 < max(probabilities[i]) <= (index + 1) / 10]
        right = sum(probabilities[i].argmax() == labels[i] for i in inside)
        gap += abs(right - sum(max(probabilities[i]) for i in inside)) / 200
    assert reliability(probabilities, labels).expected_calibration_error == pytest.approx(gap)


def test_reliability_of_nothing_and_of_nonsense():
    assert reliability(np.zeros((0, 3)), np.zeros(0, int)).expected_calibration_error == 0
    with pytest.raises(ShapeError, match="labels"):
        reliability(np.zeros((2, 3)), np.zeros(3, int))
    with pytest.raises(ArgumentError, match="bins"):
        reliability(np.zeros((2, 3)), np.zeros(2, int), bins=0)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 1.86, [0, 0.5, 1, 1.5, 2]),
        (1, 5, [1, 2, 3, 4, 5]),
        (0, 0, [0, 0.2]),
        (7, 7, [6, 8]),
        (0, 3e-7, [0, 1e-7, 2e-7, 3e-7]),
        (0, 12345, [0, 5000, 10000, 15000]),
    ],
)
def test_ticks(low, high, expected):
    found = ticks(low, high)
    assert found[0] <= low <= high <= found[-1]
    assert len(set(np.round(np.diff(found), 12))) <= 1
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("scale", [linear, logarithmic, towards_one])
@pytest.mark.parametrize(
    "values", [[0.3, 0.97, 0.9917], [0.92, 0.97], [0.5, 1.0], [1.0], [0.0], [0.0, 0.25], [0.9999999, 1.0], [2e-9]]
)
def test_scales_keep_the_order_and_hold_all_values(scale, values):
    made = scale(values)
    assert list(made.marks) == sorted(set(made.marks))
    assert len(made.marks) >= 2
    shares = [made.share(value) for value in values]
    assert all(0 <= share <= 1 for share in shares)
    assert shares == sorted(shares)
    assert len(set(shares)) == len(set(values)) or scale is logarithmic or max(values) - min(values) < 1e-6
    assert [made.share(made.marks[0]), made.share(made.marks[-1])] == [0, 1]


@pytest.mark.parametrize("scale", [linear, logarithmic, towards_one])
@pytest.mark.parametrize("values", [[5e-324, 1.7e308], [1e300], [1e-300], [1.5, -2.0], [3.0], [-1.0]])
def test_what_a_damaged_run_may_hold_has_a_place_too(scale, values):
    made = scale(values)
    assert 2 <= len(made.marks) <= 12
    assert all(0 <= made.share(value) <= 1 for value in values)


def test_from_90_to_99_is_as_far_as_from_99_to_99_9():
    scale = towards_one([0.2, 0.9, 0.99, 0.9985])
    assert list(scale.marks) == [0.0, 0.5, 0.9, 0.99, 0.999]
    assert scale.share(0.99) - scale.share(0.9) == pytest.approx(scale.share(0.999) - scale.share(0.99))
    assert logarithmic([0.02, 2.0]).share(0.1) == pytest.approx(1 / 3)  # from 0.01 to 10


def test_lines_are_where_the_values_are_and_break_where_one_is_missing():
    series = [Series("train", [0.0, 1.0, None, 1.0])]
    chart = line_chart("Loss", [1, 2, 3, 4], series, linear([0.0, 1.0]), "{:g}".format, ENGLISH)
    (path,) = re.findall(r' d="([^"]+)"', chart)
    assert re.findall(r"[ML]", path) == ["M", "L", "M"]
    assert re.findall(r"<title>(train[^<]*)", chart) == ["train, epoch 1: 0", "train, epoch 2: 1", "train, epoch 4: 1"]
    points = np.array([list(map(float, each.split())) for each in re.split("[ML]", path)[1:]])
    assert points[1, 0] - points[0, 0] == pytest.approx((points[2, 0] - points[1, 0]) / 2, abs=0.2)
    assert points[0, 1] > points[1, 1] == points[2, 1]  # up is less


def test_layers_of_long_runs_fit():
    chart = layer_chart("Gradients", range(1, 501), {"a": [1.0] * 500, "b": [None] * 499 + [0.0]}, ENGLISH)
    assert chart.count("<rect") == 61
    assert spread(500, 60)[[0, -1]].tolist() == [0, 499]
    assert spread(3, 60).tolist() == [0, 1, 2]
    assert spread(0, 60).tolist() == []


def test_gradients_of_a_layer_are_one(copy):
    line = {"epoch": 1, "gradient_norms": {"fc.weight": 3.0, "fc.bias": 4.0, "scale": 2, "odd": "text"}}
    (copy / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    change(copy / "summary.json", epochs_done=1)
    text = html_of(learning(read_record(copy), ENGLISH))
    assert "fc, epoch 1: 5<" in text
    assert "scale, epoch 1: 2<" in text
    assert "odd" not in text


@pytest.mark.parametrize("count", [2, 10, 29, 30, 40, 100])
def test_the_confusion_matrix_of_any_number_of_classes(copy, count):
    """Numbers in a table up to a size; from there on a square for each pair that occurs. Both say what they count."""
    counts = np.diag(np.full(count, 5))
    counts[1, 0] = 2
    names = [f"class {index}" for index in range(count)]
    change(
        copy / "summary.json", classes=names, confusion=counts.tolist(), precision=[1.0] * count, recall=[1.0] * count
    )
    text = html_of(confusion(read_record(copy), ENGLISH))
    page = Page(text)
    assert '<tr><th scope="row">class 1</th><td>class 0</td><td>2</td><td>28.6%</td></tr>' in text
    if count < MANY_CLASSES:
        cells = [each for each in page.all("td") if "title" in each]
        assert len(cells) == count * count
        assert cells[count]["title"] == "class 1 taken for class 0: 2 of 7"
        assert [each["class"] for each in cells].count("wrong") == 1
        return
    squares = page.all("rect")
    places = {(int(each["y"]), int(each["x"])): each for each in squares}
    assert set(places) == {tuple(map(int, each)) for each in np.argwhere(counts)}
    told = re.findall(r"<rect [^>]*><title>(.*?)</title>", text)
    assert told[[*places].index((1, 0))] == "class 1 taken for class 0: 2 of 7"
    assert (places[1, 0]["class"], places[1, 1]["class"]) == ("two", "one")
    strength = {place: float(each["style"].partition(":")[2]) for place, each in places.items()}
    assert strength[0, 0] == 1  # all of its images
    assert 0.25 <= strength[1, 0] < strength[1, 1] < 1  # also a rare mistake is seen
    for axis in ("across", "down"):
        (listed,) = re.findall(rf'<div class="names {axis}".*?</div>', text)
        assert re.findall(r">(class \d+)<", listed) == names
        for size in ("wide", "medium"):  # at least every tenth has its name
            assert len(re.findall(rf'class="[^"]*{size}', listed)) >= count / 10
    assert [each["type"] for each in page.all("input")] == ["radio"] * 3


def test_pairs_are_sorted_by_how_often_they_are_confused(rng):
    counts = rng.integers(0, 4, (7, 7))
    slow = [(-counts[i, j], i, j) for i in range(7) for j in range(7) if i != j and counts[i, j]]
    assert confused_pairs(counts) == [(i, j, -count) for count, i, j in sorted(slow)]


def test_markup_escapes():
    assert tag("p", "a < b & 'c'", tag("br"), None, 3, title='"<') == (
        '<p title="&quot;&lt;">a &lt; b &amp; &#x27;c&#x27;<br>3</p>'
    )
    assert tag("td", class_=None, aria_label="x") == '<td aria-label="x"></td>'
    assert isinstance(joined(["<", Markup("<b>")]), Markup)
    assert joined(["<", Markup("<b>"), None]) == "&lt;<b>"
    assert tag("td", "a\nb\x1b[31m\u202e", title="a\nb") == r'<td title="a\nb">a\nb\x1b[31m\u202e</td>'  # names
    assert lines("if (a < b)\n\x1b") == "if (a &lt; b)\n\\x1b"  # a program


# In a browser

MEASURE = """<script>onload = () => {
const wide = [...document.querySelectorAll("main *")].filter(e => !e.closest(".scroll") &&
  e.getBoundingClientRect().right > innerWidth + 0.5).map(e => e.tagName + "." + e.className);
const broken = [...document.images].filter(e => !e.complete || !e.naturalWidth).length;
const cells = Math.min(...[...document.querySelectorAll(".cells img")].map(e => e.getBoundingClientRect().width));
const small = [...document.querySelectorAll("main p, td, dd, svg text")].filter(e => {
  const svg = e.ownerSVGElement, scale = svg ? svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : 1;
  return parseFloat(getComputedStyle(e).fontSize) * scale < 11.5; }).length;
const style = getComputedStyle(document.body);
const report = {wide, cells, broken, small, width: innerWidth, scroll: document.documentElement.scrollWidth,
  page: style.backgroundColor, ink: style.color, height: document.body.scrollHeight,
  empty: [...document.querySelectorAll("svg")].filter(e => e.getBoundingClientRect().height < 25).length};
parent.document.documentElement.setAttribute("data-measured", JSON.stringify(report));
}</script>"""


@pytest.fixture(scope="module")
def browse(tmp_path_factory):
    return browser(tmp_path_factory.mktemp)


@pytest.mark.slow
def test_a_browser_shows_the_numbers_and_has_nothing_to_complain_of(browse, folder):
    report(folder)
    text, console = browse(folder / "report.html")
    assert console == []
    page, summary = Page(text), summary_of(folder)
    assert {name: float(page.with_id(name)["value"]) for name in EXACT} == {name: summary[name] for name in EXACT}
    assert page.texts["test_accuracy"] == f"{summary['test_accuracy']:.2%}"


def measured(browse, text, tmp_path, width, dark):
    """What a browser makes of a page in a window of that width."""
    # The page itself forbids scripts: this copy allows the one that measures. It is in a frame: no window can be made
    # as narrow as a phone.
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    text = html.escape(text.replace("</body>", f"{MEASURE}</body>"))
    frame = f'<iframe style="border:0; width:{width}px; height:900px" srcdoc="{text}"></iframe>'
    watched = tmp_path / "watched.html"
    head = '<!DOCTYPE html><html style="color-scheme:light dark"><meta charset="utf-8">'
    watched.write_text(f"{head}<body>{frame}</body></html>", "utf-8")
    shown, console = browse(watched, dark)
    assert console == []
    return json.loads(Page(shown).all("html")[0]["data-measured"])


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390], ids=["desktop", "phone"])
@pytest.mark.parametrize(
    "page", ["digits", "Spanish", "comparison", "2 classes", "29 classes", "40 classes", "100 classes"]
)
def test_a_browser_lays_it_out(browse, folder, copy, tmp_path, page, width, dark):
    if page.endswith("classes"):
        count = int(page.split()[0])
        counts = np.diag(np.full(count, 5)) + (np.arange(count * count).reshape(count, count) % 7 == 0)
        names = [f"a class called {index}" for index in range(count)]
        shares = {"precision": [0.5] * count, "recall": [0.5] * count}
        change(copy / "summary.json", classes=names, confusion=counts.tolist(), **shares)
        parts = [confusion(read_record(copy), ENGLISH), classes(read_record(copy), ENGLISH)]
        text = document(page, "a run", [], parts, ENGLISH)
    elif page == "comparison":
        text = report_on(folder, copy, folder).page
    else:
        text = report_on(folder, language="es" if page == "Spanish" else "en").page
    found = measured(browse, text, tmp_path, width, dark)
    assert found["width"] == found["scroll"] == width
    assert found["wide"] == []
    assert (found["broken"], found["small"], found["empty"]) == (0, 0, 0)
    assert found["cells"] is None or found["cells"] >= 48  # of filters and maps
    brightness = sum(map(int, re.findall(r"\d+", found["page"])[:3]))
    assert (brightness < 100) if dark else (brightness > 600)
