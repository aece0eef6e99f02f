"""The CPU kernels of softmax and its logarithm, against loops in float64."""

import math

import numpy as np
import pytest

from gpunet.backend.cpu_library import library
from gpunet.ops import softmax

pytestmark = [
    pytest.mark.skipif(library() is None, reason="there are no CPU kernels (python setup.py build_ext --inplace)"),
    pytest.mark.usefixtures("numpy_backend"),
]

NAN, INF = np.nan, np.inf
CLASSES = [1, 2, 7, 8, 9, 10, 16, 17, 100, 1000, 5000]


def kernel(one_pass, *args):
    """What the CPU kernel of a pass computes, having made sure that it takes the arguments."""
    run, takes = one_pass.kernels["cpu"][0]
    assert takes(*args)
    return run(*args)


def softmax_of(row):
    values, largest = row.tolist(), float(row.max())
    powers = [math.exp(value - largest) for value in values]
    return np.array(powers) / math.fsum(powers)


def log_softmax_of(row):
    values, largest = row.tolist(), float(row.max())
    return row.astype(np.float64) - largest - math.log(math.fsum(math.exp(value - largest) for value in values))


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("scale", [1, 30])
def test_softmax(classes, scale, rng):
    x = (scale * rng.standard_normal((3, classes))).astype(np.float32)
    y = kernel(softmax.softmax_forward, x, 1)
    right = np.stack([softmax_of(row) for row in x])
    np.testing.assert_allclose(y, right, rtol=5e-6, atol=1e-44)  # the difference to the largest is rounded before e^x
    grad = rng.standard_normal(x.shape).astype(np.float32)
    dx = kernel(softmax.softmax_backward, grad, y, 1)
    sums = [math.fsum(row) for row in (grad.astype(np.float64) * y).tolist()]
    np.testing.assert_allclose(dx, y * (grad.astype(np.float64) - np.array(sums)[:, None]), rtol=1e-5, atol=3e-7)


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("scale", [1, 30])
def test_log_softmax(classes, scale, rng):
    x = (scale * rng.standard_normal((3, classes))).astype(np.float32)
    y = kernel(softmax.log_softmax_forward, x, 1)
    np.testing.assert_allclose(y, np.stack([log_softmax_of(row) for row in x]), rtol=5e-7, atol=1e-6)
    grad = rng.standard_normal(x.shape).astype(np.float32)
    dx = kernel(softmax.log_softmax_backward, grad, y, 1)
    sums = np.array([math.fsum(row) for row in grad.tolist()])[:, None]
    np.testing.assert_allclose(dx, grad - np.exp(y.astype(np.float64)) * sums, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("width", [3, 8, 10, 40])
@pytest.mark.parametrize("special", [[NAN], [INF], [-INF], [INF, -INF], [NAN, INF]], ids=str)
def test_what_is_not_finite_is_as_on_the_page(special, width, rng):
    for place in range(width):
        x = rng.standard_normal((2, width)).astype(np.float32)
        x[0, place], x[0, -1 - place] = special[0], special[-1]
        for one_pass in (softmax.softmax_forward, softmax.log_softmax_forward):
            with np.errstate(all="ignore"):
                page = one_pass.page(x, 1)
            np.testing.assert_allclose(kernel(one_pass, x, 1), page, rtol=1e-5, atol=1e-6)
    x = np.full((1, width), -INF, np.float32)
    assert np.isnan(kernel(softmax.softmax_forward, x, 1)).all()


def test_exponential_is_within_one_unit_in_the_last_place():
    # The gradient of log softmax is g - e^y sum g: e^y where g is 0, and -1 for another class.
    y = np.linspace(-110, 95, 200_001, dtype=np.float32)
    grad = np.zeros((len(y), 2), np.float32)
    grad[:, 1] = -1
    power = kernel(softmax.log_softmax_backward, grad, np.stack([y, y], axis=1), 1)[:, 0]
    with np.errstate(over="ignore"):
        right = np.exp(y.astype(np.float64))
        overflows = np.isinf(right.astype(np.float32))
    np.testing.assert_array_equal(np.isinf(power), overflows)
    unit = np.spacing(right[~overflows].astype(np.float32))
    assert (np.abs(power[~overflows] - right[~overflows]) <= unit).all()


def test_bits_depend_neither_on_threads_nor_on_the_batch(threads, rng, monkeypatch):
    monkeypatch.setattr("gpunet.backend.cpu_kernels.LEAST_WORK", 1)  # small work goes to several threads, too
    x, grad = rng.standard_normal((2, 17, 43)).astype(np.float32)

    def everything(x, grad):
        y, log_y = kernel(softmax.softmax_forward, x, 1), kernel(softmax.log_softmax_forward, x, 1)
        back = [(softmax.softmax_backward, y), (softmax.log_softmax_backward, log_y)]
        return [y, log_y, *(kernel(one_pass, grad, kept, 1) for one_pass, kept in back)]

    threads(1)
    alone = everything(x, grad)
    for count in (2, 4):
        threads(count)
        for one, other in zip(alone, everything(x, grad), strict=True):
            np.testing.assert_array_equal(one, other)
    for one, other in zip(alone, everything(x[5:6], grad[5:6]), strict=True):
        np.testing.assert_array_equal(one[5:6], other)


def test_memory_that_is_not_contiguous_and_leading_axes(rng):
    x = rng.standard_normal((5, 4, 6)).astype(np.float32)
    right = np.stack([[softmax_of(row) for row in rows] for rows in x])
    np.testing.assert_allclose(kernel(softmax.softmax_forward, x, 2), right, rtol=1e-6)
    turned = np.ascontiguousarray(x.transpose(2, 0, 1)).transpose(1, 2, 0)
    np.testing.assert_allclose(kernel(softmax.softmax_forward, turned, -1), right, rtol=1e-6)


def test_other_axes_types_and_nothing_stay_with_the_page():
    takes = softmax.softmax_forward.kernels["cpu"][0].takes
    assert not takes(np.zeros((2, 3, 4), np.float32), 1)
    assert not takes(np.zeros((2, 3)), 1)
    assert not takes(np.zeros((0, 3), np.float32), 1)
