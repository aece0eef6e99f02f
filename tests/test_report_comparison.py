"""The report on several runs: results side by side, what differs, curves overlaid."""

import json
import re
import shutil

import numpy as np
import pytest

from gpunet.cli import main
from gpunet.errors import FileError
from gpunet.report import report
from gpunet.report.comparison import COLOURS, differences
from gpunet.train import TrainConfig, TrainingRun
from tests.browser import Page
from tests.runs import change, few_digits

pytestmark = pytest.mark.usefixtures("numpy_backend")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Three runs: one longer than the others, one with another optimizer."""
    folder = tmp_path_factory.mktemp("runs")
    settings = {"short": {"epochs": 2}, "long": {"epochs": 4}, "adam": {"epochs": 2, "optimizer": "adam"}}
    with few_digits():
        for name, told in settings.items():
            config = TrainConfig(model="tiny", batch_size=8, **told)
            TrainingRun(config, folder / name, show_progress=False).run()
    return [folder / name for name in settings]


def summaries(runs):
    return [json.loads((run / "summary.json").read_text()) for run in runs]


def row(page, name):
    """The cells of the row that begins with a name, as they are in the HTML."""
    (found,) = re.findall(rf'<tr><th scope="row">{re.escape(name)}</th>(.*?)</tr>', page)
    return re.findall(r"<td[^>]*>(.*?)</td>", found)


def test_results_stand_side_by_side_and_the_best_is_bold(runs):
    page = report(*runs).page
    for label, name, best in (("test accuracy", "test_accuracy", max), ("test loss", "test_loss", min)):
        cells, expected = row(page, label), [each[name] for each in summaries(runs)]
        assert [float(re.search(r'value="(.*?)"', cell)[1]) for cell in cells] == expected
        assert [cell.startswith("<b>") for cell in cells] == [value == best(expected) for value in expected]


def test_only_settings_that_differ_are_listed(runs):
    made = report(*runs)
    told = made.figures["differences"]
    assert told["epochs"] == [2, 4, 2]
    assert told["optimizer"] == ["sgd", "sgd", "adam"]
    assert "model" not in told
    assert row(made.page, "optimizer") == ["sgd", "sgd", "adam"]
    assert "All settings are the same." in report(runs[0], runs[0]).page


def test_what_one_of_them_lacks_differs():
    assert differences([{"a": 1, "b": 2}, {"a": 1}]) == {"b": [2, None]}
    assert differences([{}, {"freeze": ["bn1"]}]) == {"freeze": [None, ["bn1"]]}
    assert differences([{"a": 1}]) == {}


def test_curves_are_overlaid_and_each_is_as_long_as_its_run(runs):
    page = report(*runs).page
    charts = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(charts) == 6
    for chart in charts:
        lines = re.findall(r'<path d="(.*?)" class="line (\w+)">', chart)
        assert [style for _, style in lines] == list(COLOURS[:3])
        assert [len(re.findall("[ML]", path)) for path, _ in lines] == [2, 4, 2]


def test_recall_by_class_only_where_classes_are_the_same(runs, tmp_path):
    page = report(*runs).page
    recalls = [each["recall"][3] for each in summaries(runs)]
    found = [float(re.search(r'value="(.*?)"', cell)[1]) for cell in row(page, "3")]
    assert found == recalls
    other = shutil.copytree(runs[0], tmp_path / "other")
    change(other / "summary.json", classes=[f"class {index}" for index in range(10)])
    change(other / "config.json", data="mnist")
    page = report(runs[0], other).page
    assert 'id="recall"' not in page
    assert "not all tested on the same data" in page
    assert "<b><data" not in page  # none is the best


def test_more_runs_than_colours(runs):
    page = report(*runs * 5).page
    keys = {each["class"] for each in Page(page).all("span") if each.get("class", "").startswith("key")}
    assert len(keys) == 15


def test_runs_of_one_name_are_told_apart(runs, tmp_path):
    other = shutil.copytree(runs[0], tmp_path / "other" / runs[0].name)
    heads = re.findall(r'<span class="entry"><span class="key [^>]*></span>(.*?)</span>', report(runs[0], other).page)
    assert set(heads) == {f"{runs[0].parent.name}/short", "other/short"}


def test_runs_without_an_end(runs, tmp_path):
    stopped = shutil.copytree(runs[0], tmp_path / "stopped")
    (stopped / "summary.json").unlink()
    page = report(runs[0], stopped).page
    assert "Not at their end: stopped." in page
    assert row(page, "test accuracy")[1] == "-"
    (stopped / "metrics.jsonl").unlink()
    assert "<svg" not in report(stopped, stopped).page


def test_names_cannot_become_markup(runs, tmp_path):
    evil = shutil.copytree(runs[0], tmp_path / "<script>alert(1)<")
    change(evil / "config.json", note="<img src=x>")
    page = report(evil, runs[1]).page
    assert len(Page(page).all("script")) == 1
    assert Page(page).all("img") == []


def test_the_command_line(runs, capsys):
    assert main(["report", *map(str, runs), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["written"] == str(runs[0].parent / "comparison.html")
    assert [run["test_loss"] for run in printed["runs"]] == [each["test_loss"] for each in summaries(runs)]
    assert np.all([run["finished"] for run in printed["runs"]])
    assert main(["report", str(runs[0]), str(runs[0].parent)]) == 1
    assert "holds no training run" in capsys.readouterr().err
    with pytest.raises(FileError, match="holds no training run"):
        report(runs[0], runs[0].parent)
