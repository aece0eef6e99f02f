"""Batch normalisation: against loops, finite differences, running statistics, and precision where the mean is large."""

import math

import numpy as np
import pytest

import gpunet.functional as F
from gpunet.tensor import tensor
from gpunet.testing import gradcheck
from tests import reference
from tests.reference import close, run, upstream

pytestmark = pytest.mark.usefixtures("backend")

SHAPES = [(6, 3), (2, 3), (4, 3, 5), (1, 3, 2), (2, 3, 3, 5), (1, 1, 1, 2), (3, 4, 1, 1)]


def inputs(shape, rng):
    return rng.standard_normal(shape) * 3 + 5, rng.standard_normal(shape[1]), rng.standard_normal(shape[1])


@pytest.mark.parametrize("eps", [1e-5, 0.3])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_training_is_the_loop(shape, eps, rng):
    x, weight, bias = inputs(shape, rng)
    y, gradients = run(lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True, eps=eps), x, weight, bias)
    close(y, reference.batch_norm(x, weight, bias, eps)[0])
    close(gradients, reference.batch_norm_gradients(x, upstream(shape), weight, eps), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_training_without_weight_and_bias(shape, rng):
    x, ones, zeros = rng.standard_normal(shape), np.ones(shape[1]), np.zeros(shape[1])
    y, gradients = run(lambda x: F.batch_norm(x, training=True), x)
    close(y, reference.batch_norm(x, ones, zeros, 1e-5)[0])
    close(gradients, reference.batch_norm_gradients(x, upstream(shape), ones, 1e-5)[:1], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gradients_are_finite_differences(shape, training, rng):
    running = tensor(rng.standard_normal(shape[1])), tensor(rng.random(shape[1]) + 0.5)
    moving = (None, None) if training else running
    arrays = [tensor(each, requires_grad=True) for each in inputs(shape, rng)]
    assert gradcheck(lambda x, w, b: F.batch_norm(x, *moving, w, b, training), arrays, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_evaluation_uses_the_running_statistics_and_leaves_them_alone(shape, rng):
    x, weight, bias = inputs(shape, rng)
    mean, var = rng.standard_normal(shape[1]), rng.random(shape[1]) + 0.5
    running = tensor(mean), tensor(var)
    y, (dx, dweight, dbias) = run(lambda x, w, b: F.batch_norm(x, *running, w, b), x, weight, bias)
    column = (-1,) + (1,) * (len(shape) - 2)  # one value a channel, against (N, C, ...)
    normalised = (x - mean.reshape(column)) / np.sqrt(var.reshape(column) + 1e-5)
    others, grad = tuple(axis for axis in range(len(shape)) if axis != 1), upstream(shape)
    close(y, normalised * weight.reshape(column) + bias.reshape(column))
    close(dx, grad * weight.reshape(column) / np.sqrt(var.reshape(column) + 1e-5))
    close([dweight, dbias], [(grad * normalised).sum(axis=others), grad.sum(axis=others)], rtol=1e-8)
    close([each.numpy() for each in running], [mean, var], 0, 0)


@pytest.mark.parametrize("momentum", [0.1, 0.9, 0.0, 1.0])
def test_running_statistics_move_by_the_formula(momentum, rng):
    running = tensor(np.zeros(2)), tensor(np.ones(2))
    mean, var = np.zeros(2), np.ones(2)
    for _ in range(3):
        x = rng.standard_normal((4, 2, 3, 3)) * 2 + 7
        F.batch_norm(tensor(x), *running, training=True, momentum=momentum)
        _, means, variances = reference.batch_norm(x, np.ones(2), np.zeros(2), 0)
        mean = (1 - momentum) * mean + momentum * means
        var = (1 - momentum) * var + momentum * variances * 36 / 35  # unbiased
        close([each.numpy() for each in running], [mean, var])


def test_running_statistics_may_be_set_before_the_way_back(rng):
    x, weight, bias = (tensor(each, requires_grad=True) for each in inputs((4, 3), rng))
    running = tensor(np.zeros(3)), tensor(np.ones(3))
    y = F.batch_norm(x, *running, weight, bias, training=True)
    for each in running:
        each.zero_()
    y.sum().backward()
    close(bias.grad.numpy(), np.full(3, 4.0))


def test_a_variance_too_large_for_float32_is_infinite_without_a_word():
    running = tensor(np.zeros(2, np.float32)), tensor(np.ones(2, np.float32))
    x = np.array([[1.7e19, 1], [-1.7e19, 3]], np.float32)  # variance 2.9e38, unbiased 5.8e38
    F.batch_norm(tensor(x), *running, training=True, momentum=1.0)
    assert [each.tolist() for each in running] == [[0, 2], [np.inf, 2]]


def test_float32_is_accurate_where_the_mean_is_large(rng):
    x = (rng.standard_normal((64, 2, 16, 16)) + 1e4).astype(np.float32)
    running = tensor(np.zeros(2, np.float32)), tensor(np.zeros(2, np.float32))
    y, [gradient] = run(lambda x: F.batch_norm(x, *running, training=True, momentum=1.0), x)
    exact = x.astype(np.float64)
    close(running[0].numpy(), exact.mean(axis=(0, 2, 3)), rtol=2e-7)
    close(running[1].numpy(), exact.var(axis=(0, 2, 3), ddof=1), rtol=1e-5)
    close(y, reference.batch_norm(exact, np.ones(2), np.zeros(2), 1e-5)[0], rtol=1e-5, atol=1e-5)
    close(gradient, reference.batch_norm_gradients(exact, upstream(x.shape), np.ones(2), 1e-5)[0], rtol=1e-3, atol=1e-3)


def test_channel_of_one_value_is_normalised_to_the_bias():
    y, [gradient, *_] = run(
        lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True),
        np.full((2, 1, 2, 2), 3e4, dtype=np.float32),
        np.ones(1, np.float32),
        np.full(1, 0.5, np.float32),
    )
    close(y, np.full((2, 1, 2, 2), 0.5), 0, 0)
    assert np.isfinite(gradient).all()


def test_nan_stays_in_its_channel(rng):
    x = rng.standard_normal((2, 3, 2, 2))
    x[0, 1, 0, 0] = math.nan
    y = F.batch_norm(tensor(x), training=True).numpy()
    assert np.isnan(y[:, 1]).all()
    assert np.isfinite(y[:, [0, 2]]).all()


@pytest.mark.parametrize("budget", [1, 800])
@pytest.mark.parametrize("shape", [(5, 3), (5, 3, 4), (5, 3, 4, 5)], ids=str)
def test_batch_of_several_tiles_is_the_loop(shape, budget, tile_bytes, rng):
    x, weight, bias = inputs(shape, rng)
    tile_bytes(budget)
    y, gradients = run(lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True), x, weight, bias)
    close(y, reference.batch_norm(x, weight, bias, 1e-5)[0])
    close(gradients, reference.batch_norm_gradients(x, upstream(shape), weight, 1e-5), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("training", [True, False])
def test_bits_do_not_depend_on_the_number_of_threads(training, threads, rng):
    arrays = [each.astype(np.float32) for each in inputs((23, 16, 24, 25), rng)]
    running = tensor(np.ones(16, np.float32)), tensor(np.ones(16, np.float32))
    results = []
    for count in (1, 2, 4):
        threads(count)
        y, gradients = run(lambda x, w, b: F.batch_norm(x, *running, w, b, training, momentum=0.0), *arrays)
        results.append([each.tobytes() for each in (y, *gradients)])
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("training", [True, False])
def test_output_and_gradient_lie_channels_last_in_memory(training, rng):
    x = tensor(rng.standard_normal((2, 3, 4, 5)), requires_grad=True)
    y = F.batch_norm(x, tensor(np.zeros(3)), tensor(np.ones(3)), training=training)
    y.sum().backward()
    assert y.array.transpose(0, 2, 3, 1).flags.c_contiguous
    assert x.grad.array.transpose(0, 2, 3, 1).flags.c_contiguous
