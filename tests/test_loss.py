"""Losses: against loops on Python numbers, finite differences, and the ends of what probabilities can be."""

import itertools
import math

import numpy as np
import pytest

import gpunet.functional as F
from gpunet.data import DataLoader, TensorDataset
from gpunet.errors import LabelError, ShapeError
from gpunet.tensor import tensor
from gpunet.testing import gradcheck
from tests import reference
from tests.reference import close, run, upstream

pytestmark = pytest.mark.usefixtures("backend")

ROWS, CLASSES = 6, 4
REDUCTIONS = ["mean", "sum", "none"]
LABELS = np.array([0, 3, 1, 1, 2, 0])
CLASS_WEIGHT = np.array([0.5, 2.0, 0.0, 1.5])


def maybe(weight):
    return None if weight is None else tensor(weight)


def distributions(rng, shape=(ROWS, CLASSES)):
    p = rng.random(shape)
    return p / p.sum(axis=1, keepdims=True)


CROSS_ENTROPY = list(
    itertools.product(
        ["labels", "probabilities"],
        REDUCTIONS,
        [None, CLASS_WEIGHT],  # weight
        [0.0, 0.3, 1.0],  # label_smoothing
        [-100, 1],  # ignore_index
    )
)


@pytest.mark.parametrize(("kind", "reduction", "weight", "smoothing", "ignored"), CROSS_ENTROPY)
def test_cross_entropy_is_the_loop(kind, reduction, weight, smoothing, ignored, rng):
    logits = rng.standard_normal((ROWS, CLASSES)) * 2
    target = LABELS if kind == "labels" else distributions(rng)
    loss = F.cross_entropy(tensor(logits), tensor(target), maybe(weight), ignored, reduction, smoothing)
    close(loss.numpy(), reference.cross_entropy(logits, target, weight, ignored, reduction, smoothing))


@pytest.mark.parametrize(("kind", "reduction", "weight", "smoothing", "ignored"), CROSS_ENTROPY)
def test_cross_entropy_gradient_is_a_finite_difference(kind, reduction, weight, smoothing, ignored, rng):
    logits = tensor(rng.standard_normal((ROWS, CLASSES)), requires_grad=True)
    target = tensor(LABELS if kind == "labels" else distributions(rng))
    assert gradcheck(lambda x: F.cross_entropy(x, target, maybe(weight), ignored, reduction, smoothing), logits)


def test_cross_entropy_gradient_is_softmax_minus_target(rng):
    logits = rng.standard_normal((ROWS, CLASSES))
    _, [gradient] = run(lambda x: F.cross_entropy(x, tensor(LABELS)), logits)
    softmax = np.array([reference.softmax(row) for row in logits])
    close(gradient, (softmax - np.eye(CLASSES)[LABELS]) / ROWS * upstream(()))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weight", [None, CLASS_WEIGHT], ids=["", "weight"])
@pytest.mark.parametrize("ignored", [-100, 1])
def test_nll_loss_is_the_loop(reduction, weight, ignored, rng):
    log_p = np.log(distributions(rng))
    loss, [gradient] = run(lambda x: F.nll_loss(x, tensor(LABELS), maybe(weight), ignored, reduction), log_p)
    close(loss, reference.nll_loss(log_p, LABELS, weight, ignored, reduction))
    counts = (np.ones(CLASSES) if weight is None else weight)[LABELS] * (ignored != LABELS)
    scale = counts / counts.sum() if reduction == "mean" else counts
    close(gradient, -np.eye(CLASSES)[LABELS] * (scale * upstream(loss.shape))[:, None])


@pytest.mark.parametrize("function", [F.cross_entropy, F.nll_loss])
@pytest.mark.parametrize("shape", [(2, 4, 3), (2, 4, 3, 2), (1, 4, 1, 1)])
def test_images_of_labels_are_rows_of_labels(function, shape, rng):
    x, target = rng.standard_normal(shape), rng.integers(0, 4, (shape[0], *shape[2:]))
    rows = np.moveaxis(x, 1, -1).reshape(-1, 4)
    for reduction in ("mean", "sum"):
        by_image = function(tensor(x), tensor(target), tensor(CLASS_WEIGHT), 2, reduction).item()
        close(by_image, function(tensor(rows), tensor(target.reshape(-1)), tensor(CLASS_WEIGHT), 2, reduction).item())
    assert function(tensor(x), tensor(target), reduction="none").shape == target.shape


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.int32, np.int64])
@pytest.mark.parametrize("function", [F.cross_entropy, F.nll_loss])
def test_labels_of_any_integer_type(function, dtype, rng):
    x = tensor(rng.standard_normal((ROWS, CLASSES)))
    close(function(x, tensor(LABELS.astype(dtype))).item(), function(x, tensor(LABELS)).item(), 0, 0)


def written(labels):
    labels.data[0] = 7
    return labels


def written_through_a_view(labels):
    labels[1:].data[0] = 7
    return labels


def written_in_place(labels):
    labels[0] = 7
    return labels


def written_in_place_through_a_view(labels):
    labels[1:].fill_(7)
    return labels


def written_in_place_detached(labels):
    labels.detach().add_(7)
    return labels


def from_a_loader(labels):
    data = TensorDataset(np.zeros((2, 1), np.float32), labels.numpy())
    (_, batch), *_ = DataLoader(data, batch_size=2)
    return written(batch)


LABELS_CHANGED = {
    "data": written,
    "a view": written_through_a_view,
    "in place": written_in_place,
    "a view in place": written_in_place_through_a_view,
    "detached, in place": written_in_place_detached,
    "a batch of a loader": from_a_loader,
    "another type": lambda labels: tensor(np.array([2, 200]), dtype=np.int8),  # -56
}


@pytest.mark.parametrize("change", LABELS_CHANGED.values(), ids=LABELS_CHANGED)
@pytest.mark.parametrize("function", [F.cross_entropy, F.nll_loss])
def test_labels_that_changed_are_looked_at_again(function, change):
    """The host notes between which numbers labels lie when it sends them: that holds until somebody writes there."""
    labels = tensor(np.array([0, 2]))
    function(tensor(np.zeros((2, 3))), labels)
    changed = change(labels)
    with pytest.raises(LabelError, match="labels must lie within"):
        function(tensor(np.zeros((2, 3 if changed.dtype == np.int64 else 400))), changed)


def test_one_hot_probabilities_are_labels(rng):
    x, one_hot = rng.standard_normal((ROWS, CLASSES)), np.eye(CLASSES)[LABELS]
    for settings in ({}, {"label_smoothing": 0.2}):
        close(
            run(lambda x, s=settings: F.cross_entropy(x, tensor(one_hot), **s), x),
            run(lambda x, s=settings: F.cross_entropy(x, tensor(LABELS), **s), x),
        )


def test_mean_over_no_rows_is_nan():
    x = tensor(np.zeros((2, 3), dtype=np.float32))
    with np.errstate(invalid="ignore"):
        for function in (F.cross_entropy, F.nll_loss):
            assert math.isnan(function(x, tensor([1, 1]), ignore_index=1).item())
            assert function(x, tensor([1, 1]), ignore_index=1, reduction="sum").item() == 0


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("weight", [None, [1.0, 2.0, 3.0]], ids=["", "weight"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_mean_over_no_rows_has_a_gradient_of_0(smoothing, weight, dtype):
    """As in PyTorch 2.13. A batch in which every label is ignored must not carry NaN into the weights."""
    x, target = np.array([[1, 2, 3], [0, 1, 0]], dtype), tensor([1, 1])
    per_class = None if weight is None else tensor(np.array(weight, dtype))
    losses = [
        lambda x: F.cross_entropy(x, target, per_class, 1, label_smoothing=smoothing),
        lambda x: F.nll_loss(x, target, per_class, 1),
    ]
    for loss in losses:
        given = tensor(x, requires_grad=True)
        value = loss(given)
        value.backward()
        assert math.isnan(value.item())
        np.testing.assert_array_equal(given.grad.numpy(), np.zeros_like(x))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_of_huge_logits_is_finite(dtype, smoothing):
    x = np.array([[1e4, -1e4, 0], [1e4, -1e4, 0]], dtype=dtype)
    losses, [gradient] = run(
        lambda x: F.cross_entropy(x, tensor([0, 1]), reduction="none", label_smoothing=smoothing), x
    )
    close(losses, [smoothing * 1e4, 2e4 - smoothing * 1e4], rtol=1e-6)
    assert np.isfinite(gradient).all()


def test_probability_of_0_for_a_wrong_class_costs_nothing():
    loss, [gradient] = run(lambda x: F.nll_loss(x, tensor([1])), np.array([[-math.inf, 0.0]]))
    close(loss, 0.0)
    close(gradient, [[0.0, -upstream(())]])


# ------------------------------------------------------------------------------------------------- element by element

SHAPE = (3, 5)
PAIRS = {  # the loss, its loop, and how to draw its input and its target
    "bce": (F.binary_cross_entropy, reference.binary_cross_entropy, np.random.Generator.random),
    "bce logits": (
        F.binary_cross_entropy_with_logits,
        lambda x, t, reduction: reference.binary_cross_entropy_with_logits(x, t, reduction=reduction),
        np.random.Generator.standard_normal,
    ),
    "kl": (F.kl_div, reference.kl_div, np.random.Generator.standard_normal),
    "mse": (F.mse_loss, reference.mse_loss, np.random.Generator.standard_normal),
}


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", PAIRS)
def test_pair_loss_is_the_loop(name, reduction, rng):
    loss, loop, draw = PAIRS[name]
    x, t = draw(rng, SHAPE), rng.random(SHAPE)
    t[0, :2] = 0, 1
    close(loss(tensor(x), tensor(t), reduction=reduction).numpy(), loop(x, t, reduction=reduction))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", PAIRS)
def test_pair_loss_gradient_is_a_finite_difference(name, reduction, rng):
    loss, _, draw = PAIRS[name]
    x, t = tensor(draw(rng, SHAPE), requires_grad=True), tensor(rng.random(SHAPE))
    assert gradcheck(lambda x: loss(x, t, reduction=reduction), x, rtol=1e-4)


def test_mse_loss_has_a_gradient_for_its_target(rng):
    x, t = (tensor(rng.standard_normal(SHAPE), requires_grad=True) for _ in range(2))
    assert gradcheck(F.mse_loss, [x, t])


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("pos_weight", [np.array([2.0]), np.array([0.0, 0.5, 1, 2, 3]), np.full(SHAPE, 1.5)], ids=len)
def test_pos_weight_counts_the_positive_class(pos_weight, reduction, rng):
    x, t = rng.standard_normal(SHAPE), rng.random(SHAPE)

    def loss(x):
        return F.binary_cross_entropy_with_logits(x, tensor(t), pos_weight=tensor(pos_weight), reduction=reduction)

    expected = reference.binary_cross_entropy_with_logits(x, t, pos_weight, reduction)
    close(loss(tensor(x)).numpy(), expected)
    assert gradcheck(loss, tensor(x, requires_grad=True))


@pytest.mark.parametrize("loss", [F.binary_cross_entropy, F.binary_cross_entropy_with_logits])
def test_weight_multiplies_each_loss_before_the_mean(loss, rng):
    y, t, weight = (tensor(rng.random(SHAPE)) for _ in range(3))
    each = loss(y, t, reduction="none").numpy() * weight.numpy()
    close(loss(y, t, weight, reduction="none").numpy(), each)
    close(loss(y, t, weight).item(), each.sum() / each.size)


def test_binary_cross_entropy_of_certainty():
    y, t = np.array([0.0, 1.0, 0.0, 1.0]), np.array([0.0, 1.0, 1.0, 0.0])
    losses, [gradient] = run(lambda y: F.binary_cross_entropy(y, tensor(t), reduction="none"), y)
    close(losses, [0, 0, 100, 100])  # logarithms end at -100
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_binary_cross_entropy_of_huge_logits(dtype):
    x, t = np.array([1e4, -1e4, 1e4, -1e4], dtype=dtype), np.array([1, 0, 0, 1], dtype=dtype)
    losses, [gradient] = run(lambda x: F.binary_cross_entropy_with_logits(x, tensor(t), reduction="none"), x)
    close(losses, [0, 0, 1e4, 1e4])
    close(gradient, np.array([0, 0, 1, -1]) * upstream(4), rtol=1e-6)


def test_small_losses_of_confident_logits_keep_their_digits():
    x = tensor(np.array([30.0, -30.0], dtype=np.float32), requires_grad=True)
    losses = F.binary_cross_entropy_with_logits(x, tensor(np.array([1, 0], dtype=np.float32)), reduction="none")
    losses.sum().backward()
    close(losses.numpy(), [math.exp(-30)] * 2, rtol=1e-5, atol=0)
    close(x.grad.numpy(), [-math.exp(-30), math.exp(-30)], rtol=1e-5, atol=0)


def test_kl_div_of_batches_and_of_logarithms(rng):
    p, q = distributions(rng), distributions(rng)
    p[0] = [0, 0, 1, 0]
    expected = reference.kl_div(np.log(q), p, "batchmean")
    close(F.kl_div(tensor(np.log(q)), tensor(p), "batchmean").item(), expected)
    with np.errstate(divide="ignore"):
        log_p = np.log(p)
    close(F.kl_div(tensor(np.log(q)), tensor(log_p), "batchmean", log_target=True).item(), expected)
    close(F.kl_div(tensor(np.log(q)), tensor(q), "batchmean").item(), 0.0)
    impossible = tensor(np.array([[0.0, -math.inf]]))
    close(F.kl_div(impossible, tensor(np.array([[1.0, 0.0]])), "sum").item(), 0.0)  # 0 * log 0 is 0


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "huber_loss"])
def test_weights_of_values(name, reduction, torch, rng, backend):
    numbers = [rng.standard_normal((3, 4)) for _ in range(3)]
    found = []
    for functional, make in ((F, tensor), (torch.nn.functional, torch.tensor)):
        x, t, w = (make(each, requires_grad=True) for each in numbers)
        loss = getattr(functional, name)(x, t, reduction=reduction, weight=w)
        loss.sum().backward()
        found.append([loss.detach().numpy(), *(each.grad.numpy() for each in (x, t, w))])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
    with pytest.raises(ShapeError, match="weight must have the shape of the input"):
        getattr(F, name)(tensor(numbers[0]), tensor(numbers[1]), weight=tensor([1.0]))
