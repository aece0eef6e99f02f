"""Sums over any axes, in any layout: off by less than 1e-6 of the sum of the magnitudes, with kernels and without."""

import itertools

import numpy as np
import pytest

import gpunet.functional as F
from gpunet.backend import asarray, quiet, to_cpu
from gpunet.ops.reduction import sum_over, sum_rows
from gpunet.tensor import tensor

pytestmark = pytest.mark.usefixtures("backend", "kernels")

NEAR = 1e-6


@pytest.fixture(params=["kernels", "pages"])
def kernels(request, monkeypatch):
    if request.param == "pages":
        monkeypatch.setattr("gpunet.backend.kernels._turned_off", True)


def tenths(*shape):
    return np.full(shape, 0.1, np.float32)


def channels_last(x):
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def test_mean_over_two_million_rows():
    np.testing.assert_allclose(tensor(tenths(2_000_000, 4)).mean(0).numpy(), np.float32(0.1), rtol=NEAR)


def test_sum_beyond_what_float32_can_count_to():
    assert tensor(np.ones((20_000_000, 2), np.float32)).sum(0).tolist() == [2e7, 2e7]


def test_mean_of_channels_last_images():
    x = tensor(channels_last(tenths(64, 4, 112, 112)))
    np.testing.assert_allclose(x.mean((0, 2, 3)).numpy(), np.float32(0.1), rtol=NEAR)
    np.testing.assert_allclose(x.mean((2, 3)).numpy(), np.float32(0.1), rtol=NEAR)


def test_bias_gradients():
    rows = tensor(np.zeros((1_000_000, 2), np.float32))
    weight, bias = tensor(np.zeros((3, 2), np.float32)), tensor(np.zeros(3, np.float32), requires_grad=True)
    (F.linear(rows, weight, bias) * 0.1).sum().backward()
    np.testing.assert_allclose(bias.grad.numpy(), 1e6 * np.float64(np.float32(0.1)), rtol=NEAR)
    images = tensor(np.zeros((64, 1, 112, 112), np.float32))
    weight = tensor(np.zeros((3, 1, 1, 1), np.float32))
    bias = tensor(np.zeros(3, np.float32), requires_grad=True)
    (F.conv2d(images, weight, bias) * 0.1).sum().backward()
    np.testing.assert_allclose(bias.grad.numpy(), 64 * 112 * 112 * np.float64(np.float32(0.1)), rtol=NEAR)


@pytest.mark.parametrize("shape", [(5,), (1, 5), (1,)], ids=str)
def test_gradient_of_what_was_broadcast(shape):
    part = tensor(np.zeros(shape, np.float32), requires_grad=True)
    ((tensor(np.zeros((300_000, 5), np.float32)) + part) * 0.1).sum().backward()
    exact = np.broadcast_to(tenths(300_000, 5).astype(np.float64).sum(0), (5,)).reshape(-1, *shape).sum(axis=0)
    np.testing.assert_allclose(part.grad.numpy(), exact, rtol=NEAR)


@pytest.mark.parametrize("axes", [axes for r in range(1, 5) for axes in itertools.combinations(range(4), r)], ids=str)
def test_every_axis_in_every_order_of_memory(axes, rng):
    values = rng.standard_normal((7, 300, 3, 33)).astype(np.float32)
    exact, magnitude = values.astype(np.float64).sum(axis=axes), np.abs(values).sum(axis=axes)
    for order in itertools.permutations(range(4)):
        memory = asarray(np.ascontiguousarray(values.transpose(order)))
        total = sum_over(memory.transpose([order.index(axis) for axis in range(4)]), axes)
        assert total.shape == exact.shape
        assert (np.abs(to_cpu(total) - exact) <= NEAR * magnitude).all()


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (2, 0, 0)], ids=str)
def test_sums_of_nothing_are_zero(shape):
    assert (
        to_cpu(sum_over(asarray(np.ones(shape, np.float32)), tuple(range(len(shape) - 1)))).tolist() == [0] * shape[-1]
    )


@pytest.mark.parametrize("columns", [1, 3, 16, 17, 64, 1000])
@pytest.mark.parametrize("rows", [1, 31, 64, 65, 4097])
def test_sum_rows_is_the_sum(rows, columns, rng):
    x = rng.standard_normal((2, rows, columns)).astype(np.float32)
    total = to_cpu(sum_rows(asarray(x)))
    assert total.dtype == np.float64
    assert (np.abs(total - x.astype(np.float64).sum(axis=1)) <= NEAR * np.abs(x).sum(axis=1)).all()


def test_nan_and_infinity_stay_in_their_columns():
    x = np.ones((5000, 4), np.float32)
    x[77, 1], x[4999, 2], x[0, 3], x[3000, 3] = np.nan, np.inf, np.inf, -np.inf
    with quiet():
        total = sum_rows(asarray(x))
    np.testing.assert_array_equal(to_cpu(total), [5000, np.nan, np.inf, np.nan])


def test_integers_are_summed_exactly():
    x = np.full((3, 2), 2**53 + 1, np.int64)
    assert tensor(x).sum(0).tolist() == [3 * (2**53 + 1)] * 2
