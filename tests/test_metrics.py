"""What follows from a confusion matrix, and how `evaluate` makes one."""

import math

import numpy as np
import pytest

import gpunet
from gpunet import nn
from gpunet.data import DataLoader, TensorDataset
from gpunet.errors import ShapeError
from gpunet.train import Evaluation, evaluate

# Worked by hand. Row: the right class; column: the class that was predicted. Nothing was predicted to be "fox", and
# there was no "owl".
CLASSES = ["cat", "dog", "fox", "owl"]
CONFUSION = np.array(
    [
        [5, 1, 0, 2],
        [3, 6, 0, 0],
        [2, 1, 0, 0],
        [0, 0, 0, 0],
    ]
)


@pytest.fixture(autouse=True)
def _on_a_backend(backend):
    """Every test runs on each backend."""


def test_figures():
    result = Evaluation(loss=0.5, confusion=CONFUSION)
    assert result.accuracy == 11 / 20
    np.testing.assert_allclose(result.precision, [5 / 10, 6 / 8, math.nan, 0 / 2])  # of no fox, a share is undefined
    np.testing.assert_allclose(result.recall, [5 / 8, 6 / 9, 0 / 3, math.nan])


def test_table():
    assert Evaluation(0.5, CONFUSION).table(CLASSES).splitlines() == [
        "class  images  precision  recall  most often mistaken for",
        "cat         8      50.0%   62.5%  owl (2)",
        "dog         9      75.0%   66.7%  cat (3)",
        "fox         3          -    0.0%  cat (2)",
        "owl         0       0.0%       -  -",
    ]


def test_table_is_as_wide_as_the_longest_class():
    header, *rows = Evaluation(0.5, CONFUSION).table(["cat", "a long name", "c", "d"]).splitlines()
    assert header.startswith("class        images")
    assert rows[1].startswith("a long name       9")
    end = header.index("precision") + len("precision")
    assert [row[:end].split()[-1] for row in rows] == ["50.0%", "75.0%", "-", "0.0%"]
    assert len({len(row[:end].rstrip()) for row in rows}) == 1


class Scores(nn.Module):
    """Takes images that hold their own logits; tells in which mode it was called and whether on the tape."""

    def __init__(self, tell=lambda training, recorded: None):
        super().__init__()
        self.tell = tell
        self.scale = nn.Parameter(gpunet.tensor([1.0]))

    def forward(self, x):
        logits = x.flatten(1) * self.scale
        self.tell(self.training, logits.requires_grad)
        return logits


def loader(logits, labels, batch_size=4):
    images = logits.reshape(len(logits), 1, 1, -1)
    return DataLoader(TensorDataset(images, labels), batch_size)


def test_evaluate_against_a_loop(rng):
    logits = rng.standard_normal((11, 3)).astype(np.float32)
    labels = rng.integers(0, 3, 11)
    result = evaluate(Scores(), loader(logits, labels), classes=3)

    confusion = [[0] * 3 for _ in range(3)]
    loss = 0.0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        confusion[label][row.index(max(row))] += 1
        loss -= math.log(math.exp(row[label]) / sum(map(math.exp, row)))
    np.testing.assert_array_equal(result.confusion, confusion)
    assert type(result.confusion) is np.ndarray
    assert result.loss == pytest.approx(loss / 11, rel=1e-5)
    assert isinstance(result.loss, float)


def test_batches_of_different_sizes_count_by_their_images(rng):
    logits = rng.standard_normal((9, 3)).astype(np.float32)
    labels = rng.integers(0, 3, 9)
    whole, parts = (evaluate(Scores(), loader(logits, labels, size), 3) for size in (9, 4))
    np.testing.assert_array_equal(whole.confusion, parts.confusion)
    assert whole.loss == pytest.approx(parts.loss, rel=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_evaluates_in_evaluation_mode_and_leaves_the_model_as_it_is(training):
    calls = []

    def tell(*call):  # a function is shared by the copy that is evaluated; a list would be copied
        calls.append(call)

    model = Scores(tell)
    model.train(training)
    evaluate(model, loader(np.eye(3, dtype=np.float32), np.arange(3), 2), 3)
    assert calls == [(False, False)] * 2
    assert model.training is training


def test_the_model_is_as_it_was_after_an_error():
    model = Scores()
    with pytest.raises(ShapeError):
        evaluate(model, loader(np.eye(3, dtype=np.float32), np.arange(3)), 4)
    assert model.training
    assert gpunet.is_grad_enabled()


@pytest.mark.parametrize("classes", [2, 4])
def test_logits_of_a_wrong_shape(classes):
    data = loader(np.eye(3, dtype=np.float32), np.array([0, 1, 1]))
    with pytest.raises(ShapeError, match=rf"must return logits of shape \(3, {classes}\), got \(3, 3\)"):
        evaluate(Scores(), data, classes)


def test_a_label_without_a_class():
    with pytest.raises(gpunet.errors.LabelError):
        evaluate(Scores(), loader(np.eye(3, dtype=np.float32), np.array([0, 1, 3])), 3)
