"""Every worked example of the lecture, to the digit, and the relations between its formulas.

The comments name the slips in the slides and the reading that is right.
"""

import math

import numpy as np
import pytest

import gpunet.functional as F
import gpunet.ops.dropout
from gpunet.backend import asarray
from gpunet.tensor import tensor
from tests.reference import close, run, upstream

pytestmark = pytest.mark.usefixtures("backend")

IMAGE = np.array([[1, 2, 1, 0], [2, 3, 1, 1], [3, 0, 0, 2], [1, 1, 2, 3]], dtype=np.float64)
FILTER = np.array([[1, 0], [2, 1]], dtype=np.float64)


def on_image(function):
    """The output for the image as a batch of one with one channel, without those two dimensions."""
    return function(tensor(IMAGE[None, None])).numpy()[0, 0]


def test_convolution():
    # The first slide says (H-K) x (W-K); the example has (H-K+1) x (W-K+1).
    close(on_image(lambda x: F.conv2d(x, tensor(FILTER[None, None]))), [[8, 9, 4], [8, 3, 3], [6, 4, 7]], 0, 0)


@pytest.mark.parametrize(("padding", "stride", "size"), [(0, 1, 3), (1, 1, 5), (0, 2, 2), (1, 2, 3), (2, 3, 3)])
def test_size_of_a_convolution(padding, stride, size):
    y = on_image(lambda x: F.conv2d(x, tensor(FILTER[None, None]), padding=padding, stride=stride))
    assert size == (4 - 2 + 2 * padding) // stride + 1
    assert y.shape == (size, size)


def test_convolution_backward():
    x = tensor(IMAGE[None, None], requires_grad=True)
    weight = tensor(FILTER[None, None], requires_grad=True)
    F.conv2d(
        x, weight
    ).sum().backward()  # dO = 1: what each pixel and each filter element was multiplied with, added up
    close(x.grad.numpy()[0, 0], [[1, 1, 1, 0], [3, 4, 4, 1], [3, 4, 4, 1], [2, 3, 3, 1]], 0, 0)
    close(weight.grad.numpy()[0, 0], [[13, 10], [13, 13]], 0, 0)


def test_max_pooling():
    # The slide's index runs to p <= K, which would be a window of K+1; the example has K.
    close(on_image(lambda x: F.max_pool2d(x, 2)), [[3, 1], [3, 3]], 0, 0)


def test_average_pooling():
    close(on_image(lambda x: F.avg_pool2d(x, 2)), [[2, 0.75], [1.25, 1.75]], 0, 0)


def test_adaptive_average_pooling():
    # The slide swaps H and W in the ends of the windows, which shows only in images that are not square.
    expected = [[2, 1.75, 0.75], [2, 1, 1], [1.25, 0.75, 1.75]]
    close(on_image(lambda x: F.adaptive_avg_pool2d(x, 3)), expected, 0, 0)


def test_dropout_doubles_what_it_keeps(monkeypatch):
    # The first draws are the lecture's; the others are chosen to give its picture. A kept 1 (row 1, column 2) is shown
    # there as 6 instead of 2.
    draws = [[0.6, 0.8, 0.2, 0.1], [0.5, 0.3, 0.9, 0.7], [0.6, 0.1, 0.4, 0.8], [0.2, 0.9, 0.6, 0.4]]
    monkeypatch.setattr(gpunet.ops.dropout, "uniform_rows", lambda shape: asarray(draws, np.float32).reshape(shape))
    expected = [[2, 4, 0, 0], [4, 0, 2, 2], [6, 0, 0, 4], [0, 2, 4, 0]]
    close(on_image(lambda x: F.dropout(x, p=0.5)), expected, 0, 0)
    close(on_image(lambda x: F.dropout(x, p=0.5, training=False)), IMAGE, 0, 0)


def test_batch_normalisation():
    mean, var = 23 / 16, 49 / 16 - (23 / 16) ** 2
    running = tensor(np.zeros(1)), tensor(np.ones(1))
    gamma, beta = tensor(np.array([3.0])), tensor(np.array([-1.0]))
    y = on_image(lambda x: F.batch_norm(x, *running, gamma, beta, training=True, eps=0.5))
    close(y, (IMAGE - mean) / math.sqrt(var + 0.5) * 3 - 1)
    close(running[0].numpy(), [0.1 * mean])
    close(running[1].numpy(), [0.9 + 0.1 * var * 16 / 15])  # the unbiased variance
    y = on_image(lambda x: F.batch_norm(x, *running, gamma, beta, eps=0.5))
    close(y, (IMAGE - 0.1 * mean) / math.sqrt(0.9 + 0.1 * var * 16 / 15 + 0.5) * 3 - 1)


def test_batch_normalised_values_have_mean_0_and_variance_1():
    y = on_image(lambda x: F.batch_norm(x, training=True, eps=0.0))
    close([y.mean(), y.var()], [0.0, 1.0])


def test_sigmoid():
    close(F.sigmoid(tensor(np.log([1.0, 3.0, 1 / 3]))).numpy(), [0.5, 0.75, 0.25])


def test_softmax():
    y = F.softmax(tensor(np.log([1.0, 2.0, 5.0])))
    close(y.numpy(), [1 / 8, 2 / 8, 5 / 8])
    close(y.sum().item(), 1.0)


def test_sigmoid_is_softmax_of_two_classes():
    x = np.linspace(-5, 5, 11)
    close(F.sigmoid(tensor(x)).numpy(), F.softmax(tensor(np.stack([x, 0 * x], axis=1))).numpy()[:, 0])


P = np.array([[0.5, 0.5, 0.0], [0.1, 0.2, 0.7], [0.0, 1.0, 0.0]])  # distributions: the right ones
LOGITS = np.array([[0.3, -1.0, 2.0], [1.0, 0.0, -0.5], [0.2, 3.0, -4.0]])  # and what a network says


def test_kullback_leibler_divergence():
    p, q = tensor(np.array([[0.5, 0.5]])), np.array([[0.25, 0.75]])
    expected = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    close(F.kl_div(tensor(np.log(q)), p, reduction="batchmean").item(), expected)
    assert round(expected, 6) == 0.143841
    close(F.kl_div(p.log(), p, reduction="sum").item(), 0.0)


def test_cross_entropy_is_the_divergence_plus_the_entropy():
    entropy = -sum(p * math.log(p) for p in P.flat if p > 0) / len(P)
    divergence, by_divergence = run(lambda x: F.kl_div(F.log_softmax(x, 1), tensor(P), reduction="batchmean"), LOGITS)
    cross_entropy, by_cross_entropy = run(lambda x: F.cross_entropy(x, tensor(P)), LOGITS)
    close(cross_entropy, divergence + entropy)
    close(by_cross_entropy, by_divergence)  # the entropy is constant, so training on either is the same


def test_cross_entropy_of_a_label_is_the_logarithm_of_its_probability():
    labels = tensor([2, 0, 1])
    q = F.softmax(tensor(LOGITS)).numpy()
    expected = -np.log(q[[0, 1, 2], [2, 0, 1]])
    close(F.cross_entropy(tensor(LOGITS), labels, reduction="none").numpy(), expected)
    close(F.nll_loss(F.log_softmax(tensor(LOGITS), 1), labels, reduction="none").numpy(), expected)
    one_hot = tensor(np.eye(3)[[2, 0, 1]])
    close(F.cross_entropy(tensor(LOGITS), one_hot, reduction="none").numpy(), expected)


def test_gradient_of_cross_entropy_is_the_difference_of_the_distributions():
    _, [gradient] = run(lambda x: F.cross_entropy(x, tensor(P), reduction="none"), LOGITS)
    close(gradient, (F.softmax(tensor(LOGITS)).numpy() - P) * upstream(3)[:, None])


def test_binary_cross_entropy():
    y, t = np.array([0.25, 0.25, 0.25]), np.array([1.0, 0.0, 0.5])
    expected = [math.log(4), math.log(4 / 3), (math.log(4) + math.log(4 / 3)) / 2]
    close(F.binary_cross_entropy(tensor(y), tensor(t), reduction="none").numpy(), expected)
    logits = tensor(np.log(y / (1 - y)))
    close(F.binary_cross_entropy_with_logits(logits, tensor(t), reduction="none").numpy(), expected)
    two_classes = F.cross_entropy(tensor(np.log([y, 1 - y]).T), tensor(np.array([t, 1 - t]).T), reduction="none")
    close(two_classes.numpy(), expected)


def first_gradient(depth, skip=False, dtype=np.float32):
    """The gradient that reaches the start of a chain of sigmoids, with or without skip connections."""
    x = start = tensor(0.5, dtype=dtype, requires_grad=True)
    for _ in range(depth):
        x = x + F.sigmoid(x) if skip else F.sigmoid(x)
    x.backward()
    return start.grad.item()


def test_gradient_vanishes_with_depth():
    assert 1 > first_gradient(1) > first_gradient(5) > first_gradient(25) > 0
    assert first_gradient(100, dtype=np.float64) > first_gradient(100) == 0.0  # underflow: nothing at all is learned
    assert first_gradient(20) > first_gradient(20, dtype=np.float16) == 0.0


def test_skip_connection_gives_the_gradient_another_way():
    assert first_gradient(100, skip=True) > 1
    assert first_gradient(100, skip=True, dtype=np.float16) > 1
