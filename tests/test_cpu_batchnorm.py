"""The CPU kernels of batch norm where numbers are hard: large means, far values, NaN, infinity, any channels and rows.

That they are what the page says is seen to by tests/test_passes.py.
"""

import numpy as np
import pytest

from gpunet.backend import cpu_kernels
from gpunet.backend.cpu_library import library
from gpunet.ops.batchnorm import (
    BatchNorm,
    Channels,
    Running,
    backward_sums,
    channels,
    input_gradient,
    moments,
    normalise,
    statistics,
)
from gpunet.ops.waiting import computed

pytestmark = [
    pytest.mark.usefixtures("numpy_backend"),
    pytest.mark.skipif(library() is None, reason="no CPU kernels were built"),
]

CHANNELS = [1, 3, 16, 17, 64, 1000]
ROWS = [2, 15, 16, 63, 64, 65, 3001]


def plain(channels, center=0):
    """Y = x - center."""
    ones = np.ones(channels, np.float32)
    return Channels(np.full(channels, center, np.float32), ones, ones, 0 * ones)


@pytest.mark.parametrize("count", CHANNELS)
@pytest.mark.parametrize("rows", ROWS)
def test_moments(rows, count, rng):
    x = (rng.standard_normal((rows, count)) * 2 + 3).astype(np.float32)
    mean, var = moments(x)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean(axis=0), rtol=0, atol=1e-6 * np.abs(exact).mean())
    np.testing.assert_allclose(var, exact.var(axis=0), rtol=1e-5)


@pytest.mark.parametrize("count", CHANNELS)
@pytest.mark.parametrize("large", [1e4, -3e5])
def test_moments_where_the_mean_is_large(large, count, rng):
    x = (rng.standard_normal((2000, count)) + large).astype(np.float32)
    mean, var = moments(x)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean(axis=0), rtol=1e-10)
    np.testing.assert_allclose(var, exact.var(axis=0), rtol=1e-5)


def test_moments_beside_a_value_far_away(rng):
    x = (rng.standard_normal((6000, 3)) + 1e4).astype(np.float32)
    x[0] = 0
    mean, var = moments(x)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(var, exact.var(axis=0), rtol=1e-5)


def test_a_channel_of_one_value_has_no_variance():
    mean, var = moments(np.full((5000, 3), 3e4, np.float32))
    assert mean.tolist() == [3e4] * 3
    assert var.tolist() == [0] * 3


@pytest.mark.parametrize("count", CHANNELS)
@pytest.mark.parametrize("large", [0, 1e4])
@pytest.mark.parametrize("affine", [False, True])
def test_all_that_follows_from_the_moments(affine, large, count, rng):
    x = (rng.standard_normal((300, count)) + large).astype(np.float32)
    weight, bias = rng.standard_normal((2, count)).astype(np.float32) if affine else (None, None)
    before = rng.random((2, count)).astype(np.float32)
    known, moved = statistics(x, weight, bias, 1e-2, Running(*before.copy(), 0.3))
    mean, var = moments(x)
    for got, right in zip(known, channels(mean, var, weight, bias, 1e-2, x), strict=True):
        np.testing.assert_allclose(got, right, rtol=1e-6, atol=1e-30)
    np.testing.assert_allclose(moved[0], 0.7 * before[0] + 0.3 * mean, rtol=1e-6)
    np.testing.assert_allclose(moved[1], 0.7 * before[1] + 0.3 * var * 300 / 299, rtol=1e-6)


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_none_stays_in_its_channel(special, rng):
    x = rng.standard_normal((700, 5)).astype(np.float32)
    x[300, 2] = special
    mean, var = moments(x)
    assert not np.isfinite(mean[2])
    assert np.isnan(var[2])
    y = normalise(x, channels(mean, var, None, None, 1e-5, x))
    assert np.isnan(y[:, 2]).all()
    assert np.isfinite(np.delete(y, 2, axis=1)).all()


@pytest.mark.parametrize("count", CHANNELS)
@pytest.mark.parametrize("rows", [*ROWS, 100_000])
def test_sums_of_gradients(rows, count):
    if rows * count > 2_000_000:
        pytest.skip("takes long, and shows nothing new")
    grad, x = np.full((rows, count), 0.1, np.float32), np.full((rows, count), 0.7, np.float32)
    y = np.zeros((rows, count), np.float32)
    y[::2] = 1
    for relu_output, passed in ((None, rows), (y, -(-rows // 2))):
        sums = backward_sums(grad, x, plain(count), relu_output)
        np.testing.assert_allclose(sums.dbias, passed * 0.1, rtol=1e-6)
        np.testing.assert_allclose(sums.dweight, passed * 0.07, rtol=1e-6)
        np.testing.assert_allclose(sums.mean_gradient, passed * 0.1 / rows, rtol=1e-6)


def test_a_closed_relu_lets_nothing_through_and_nan_passes():
    grad = np.array([[1, np.inf, np.nan, 2]], np.float32).T
    y = np.array([[0, 0, 0, np.nan]], np.float32).T
    x = np.ones_like(grad)
    sums = backward_sums(grad, x, plain(1), y)
    assert (sums.dbias.tolist(), sums.dweight.tolist()) == ([2], [2])
    nothing = sums._replace(mean_gradient=np.zeros(1, np.float32), slope=np.zeros(1, np.float32))
    assert input_gradient(grad, x, plain(1), nothing, y).ravel().tolist() == [0, 0, 0, 2]


@pytest.mark.parametrize("shape", [(3001, 64), (50, 7, 17), (23, 24, 25, 16), (5, 2, 2, 1000)], ids=str)
def test_the_number_of_threads_leaves_the_bits_alone(shape, threads, rng, monkeypatch):
    monkeypatch.setattr(cpu_kernels, "LEAST_WORK", 1)
    x, grad = (rng.standard_normal(shape).astype(np.float32) for _ in range(2))
    weight, bias = (rng.standard_normal(shape[-1]).astype(np.float32) for _ in range(2))
    results = []
    for count in (1, 2, 4):
        threads(count)
        operation = BatchNorm(1e-5)
        operation.needs_grad = (True,) * 3
        first = [0, len(shape) - 1, *range(1, len(shape) - 1)]  # (N, C, ...)
        y = computed(operation.forward(x.transpose(first), weight, bias))
        gradients = operation.backward(grad.transpose(first))
        results.append([computed(each).tobytes() for each in (y, *gradients)])
    assert results[0] == results[1] == results[2]
