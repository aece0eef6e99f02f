"""The notebooks run from the first cell to the last and show what they say; objects show themselves in a notebook."""

import base64
import io
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import gpunet
from gpunet import explain
from gpunet.data import DataLoader, TensorDataset
from gpunet.errors import ArgumentError
from gpunet.explain.page.build import operation_page
from gpunet.explain.terminal import terminal_text
from gpunet.explain.words import LANGUAGES, words
from gpunet.models import lenet5, resnet8, summary
from gpunet.nn import Parameter
from gpunet.notebook import as_pictures, numbers
from gpunet.optim import SGD
from gpunet.progress_bar import progress_bar
from gpunet.train import Trainer

FOLDER = Path(__file__).parent.parent / "examples"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


class Cells(HTMLParser):
    """The texts of the cells of a table, row by row, and all tags that are open at the end."""

    def __init__(self, html):
        super().__init__()
        self.rows, self.open, self.images, self.frames = [], [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            self.images.append(dict(attributes)["src"])
            return
        self.open.append(tag)
        if tag == "iframe":
            self.frames.append(attributes)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] in (["td"], ["th"]):
            self.rows[-1][-1] += data


# ---------------------------------------------------------------------------------------------- the notebooks


def outputs(notebook):
    """What the cells of code show, as one text for each cell."""
    return [
        "".join(
            each.get("text", "") or each.data.get("text/html", "") + each.data.get("text/plain", "")
            for each in cell.outputs
        )
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def check_classifier(shown):
    accuracies = [float(share) for share in re.findall(r"epoch \d: ([\d.]+)%", shown)]
    assert len(accuracies) == 6
    assert accuracies[-1] > 93
    assert "layer3.0.conv2" in shown  # of the summary
    assert "data:image/png" in shown
    assert shown.endswith("True")  # the weights that were saved give the same numbers


def check_shortcuts(shown):
    plain, residual = (float(number) for number in re.findall(r"20 sigmoids.*?([\d.e-]+)\n", shown))
    assert plain < 4.0**-20 < 1 < residual
    gradients = re.findall(r"(plain|residual) +first layer (\S+)  last layer (\S+)", shown)
    shares = {name: float(first) / float(last) for name, first, last in gradients}
    assert shares["plain"] < 1e-12 < 1e-3 < shares["residual"]


def check_kernel(shown):
    assert "kernel swish, kernel.cu:5: out of bounds: thread 232 reads" in shown  # 4 * 256 threads, 1000 numbers
    assert "array([256.], dtype=float32)" in shown
    assert "kernel sum, kernel.cu:8: race: thread" in shown
    mine, theirs = (
        re.search(pattern, shown)[1]
        for pattern in (r">\[([^\]<]*)\]</pre>(?!.*</pre>)", r"array\(\[([^\]]*)\]\)(?!.*array)")
    )
    np.testing.assert_allclose(*(np.array(text.split(","), float) for text in (mine, theirs)), atol=1e-4)


CHECKS = {"train_a_classifier": check_classifier, "why_shortcuts": check_shortcuts, "write_a_kernel": check_kernel}


def test_every_notebook_has_a_check():
    assert [path.stem for path in NOTEBOOKS] == sorted(CHECKS)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_a_notebook_holds(path):
    """It was run before it was committed; nothing of a machine is in it."""
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert all(each.output_type != "error" for cell in code for each in cell.outputs)
    CHECKS[path.stem]("".join(outputs(notebook)))
    assert not re.search(r"/(tmp|work|home|root|Users)/", path.read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("default")  # of Jupyter's own
def test_a_notebook_runs(path, tmp_path):
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    pytest.importorskip("matplotlib")
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
    CHECKS[path.stem]("".join(outputs(notebook)))
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------- how objects show themselves


def pixels(uri):
    pillow = pytest.importorskip("PIL.Image")
    return np.asarray(pillow.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))))


def test_images_are_pictures(backend, rng):
    images = rng.uniform(-1, 3, (10, 3, 4, 5)).astype(np.float32)
    shown = Cells(gpunet.tensor(images)._repr_html_())
    assert shown.open == []
    assert len(shown.images) == 8
    low, high = images[:8].min(), images[:8].max()
    expected = np.rint((images[2].transpose(1, 2, 0) - low) / (high - low) * 255)
    np.testing.assert_allclose(pixels(shown.images[2]), expected, atol=1)


def test_pictures_of_anything():
    for values in ([0, 0], [np.nan, 1], [np.inf, -np.inf], [3, 200]):
        html = Cells(as_pictures(np.array(values, np.float32).reshape(1, 1, 1, 2)))
        assert pixels(html.images[0]).shape == (1, 2)
    assert pixels(html.images[0]).tolist() == [[0, 255]]


def test_numbers_are_text(backend):
    html = gpunet.tensor([[1.5, -2.0]], requires_grad=True)._repr_html_()
    device = gpunet.ones(1).device
    assert html.startswith(f"<div><div><b>Tensor</b> (1, 2), float32, {device}, requires_grad</div><pre")
    assert "[[ 1.5, -2. ]]" in html
    assert "(0, 3, 4, 4)" in gpunet.zeros(0, 3, 4, 4)._repr_html_()
    assert len(gpunet.zeros(64, 5, 9, 9)._repr_html_()) < 2000  # those at the edges
    assert numbers(np.array(2.5)) == '<pre style="margin: 4px 0">2.5</pre>'


def test_looking_changes_nothing(backend):
    """A layer that waits to be fused is computed, and its gradient is the same."""
    weight = Parameter(gpunet.ones(2, 3))
    y = (gpunet.tensor([[1.0, 2.0, 3.0]]) @ weight.T).relu()
    y._repr_html_()
    y.sum().backward()
    assert weight.grad.tolist() == [[1, 2, 3], [1, 2, 3]]


def test_a_summary_is_a_table():
    result = summary(lenet5(num_classes=10), (1, 32, 32))
    rows = Cells(result._repr_html_()).rows
    assert rows[0] == ["layer", "type", "output shape", "parameters", "multiply-adds"]
    assert rows[-1][3] == f"{sum(each.parameters for each in result.layers):,}"
    assert [row[0] for row in rows[1:-1]] == [layer.name for layer in result.layers]


def test_results_and_trainer(numpy_backend, rng):
    images = rng.standard_normal((8, 1, 8, 8)).astype(np.float32)
    loader = DataLoader(TensorDataset(images, np.arange(8) % 2), batch_size=4)
    model = resnet8(num_classes=2, in_channels=1)
    trainer = Trainer(model, SGD(model.parameters(), lr=0.01), classes=2)
    assert repr(trainer) == "Trainer(CifarResNet, SGD, after 0 epochs and 0 steps)"
    assert len(Cells(trainer._repr_html_()).rows) == 1
    first, second = trainer.fit(loader, loader, epochs=2)
    assert "gradient_norms" not in repr(first)  # which are as many as there are parameters
    (_, row) = Cells(second._repr_html_()).rows
    assert row[:3] == ["2", f"{second.train_loss:.4f}", f"{second.train_accuracy:.2%}"]
    shown = Cells(trainer._repr_html_())
    assert [each[0] for each in shown.rows] == ["epoch", "1", "2"]
    assert shown.open == []
    assert repr(trainer) == "Trainer(CifarResNet, SGD, after 2 epochs and 4 steps)"


def test_a_bar_in_a_notebook(monkeypatch, capsys):
    """Jupyter's stderr is no terminal; a bar is shown there all the same, as a widget where it can be."""
    assert list(progress_bar(range(3), "work")) == [0, 1, 2]
    assert capsys.readouterr().err == ""
    shell = type("Shell", (), {"kernel": object()})()
    monkeypatch.setitem(sys.modules, "IPython", type("IPython", (), {"get_ipython": lambda: shell}))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # no ipywidgets
    assert list(progress_bar(range(3), "work")) == [0, 1, 2]
    assert "work" in capsys.readouterr().err
    assert list(progress_bar(range(3), "work", shown=False)) == [0, 1, 2]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_explanation_is_its_page(language):
    made = explain.explain("max_pool2d", language, kernel_size=3, stride=1)
    frame = Cells(made._repr_html_())
    assert frame.open == []
    page = dict(frame.frames[0])["srcdoc"]
    assert page == operation_page(explain.exercise("max_pool2d", kernel_size=3, stride=1), language)
    assert str(made) == terminal_text(made, words(language), lambda text, style: text)
    assert repr(made) == "<Explanation of max_pool2d; print it, or look at it in a notebook>"
    same = explain.explain(explain.exercise("max_pool2d", kernel_size=3, stride=1), language)
    assert same.output.tolist() == made.output.tolist()


def test_what_cannot_be_explained():
    with pytest.raises(ArgumentError, match="no operation 'pool'"):
        explain.explain("pool")
    with pytest.raises(ArgumentError, match="no language 'fr'"):
        explain.explain("relu", "fr")
    with pytest.raises(ArgumentError, match="leave out stride"):
        explain.explain(explain.exercise("max_pool2d"), stride=1)
