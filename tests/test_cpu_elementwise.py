"""The CPU kernels of ReLU and additions: any length, any layout without a copy, where one array is written over."""

import numpy as np
import pytest

from gpunet.backend.cpu_library import library
from gpunet.ops import cpu_elementwise
from gpunet.ops.activation import rectify, rectify_back
from gpunet.ops.arithmetic import add

pytestmark = [
    pytest.mark.usefixtures("numpy_backend"),
    pytest.mark.skipif(library() is None, reason="no CPU kernels were built"),
]

LENGTHS = [1, 7, 8, 9, 16, 31, 4097]


@pytest.fixture(autouse=True)
def launched(monkeypatch):
    """The kernels that ran; however small the arrays are, they do."""
    launched = []

    def launch(prepared, *arrays):
        launched.append(prepared.kernel.name)
        return real(prepared, *arrays)

    real = cpu_elementwise.launch
    monkeypatch.setattr(cpu_elementwise, "launch", launch)
    monkeypatch.setattr(cpu_elementwise, "SMALLEST", 1)
    return launched


def channels_last(rng, shape=(2, 3, 5, 7)):
    n, c, h, w = shape
    return rng.standard_normal((n, h, w, c)).astype(np.float32).transpose(0, 3, 1, 2)


@pytest.mark.parametrize("length", LENGTHS)
def test_any_length(length, rng, launched):
    a, b = (rng.standard_normal(length).astype(np.float32) for _ in range(2))
    np.testing.assert_array_equal(rectify(a), np.maximum(a, 0))
    np.testing.assert_array_equal(rectify_back(a, np.maximum(b, 0)), np.where(b > 0, a, 0))
    np.testing.assert_array_equal(add(a, b), a + b)
    expected = a + b
    assert add(a, b, b) is b
    np.testing.assert_array_equal(b, expected)
    assert launched == ["relu_forward", "relu_gradient", "add", "add_to"]


def test_channels_last_arrays_stay_so(rng, launched):
    a, b = channels_last(rng), channels_last(rng)
    for result, expected in (
        (rectify(a), np.maximum(a, 0)),
        (rectify_back(a, np.maximum(b, 0)), np.where(b > 0, a, 0)),
        (add(a, b), a + b),
    ):
        np.testing.assert_array_equal(result, expected)
        assert result.strides == a.strides
    assert len(launched) == 3


def test_arrays_that_lie_differently_and_views_with_gaps_go_by_the_page(rng, launched):
    a, b = channels_last(rng), np.ascontiguousarray(channels_last(rng))
    np.testing.assert_array_equal(add(a, b), a + b)
    np.testing.assert_array_equal(rectify_back(a, b), np.where(b <= 0, 0, a))
    np.testing.assert_array_equal(rectify(a[:, :2]), np.maximum(a[:, :2], 0))
    np.testing.assert_array_equal(add(a, np.float32(2)), a + 2)
    np.testing.assert_array_equal(add(a[:1], a), a[:1] + a)
    assert launched == []


def test_nan_infinity_and_zero(rng):
    x = np.array([np.nan, np.inf, -np.inf, 0, -1], np.float32)
    np.testing.assert_array_equal(rectify(x), [np.nan, np.inf, 0, 0, 0])
    y = np.array([np.nan, 1, 0, 0, 0], np.float32)
    np.testing.assert_array_equal(
        rectify_back(np.array([1, np.nan, np.nan, np.inf, 2], np.float32), y), [1, np.nan, 0, 0, 0]
    )


def test_an_array_that_may_only_be_read_can_be_read(rng):
    a = rng.standard_normal(100).astype(np.float32)
    a.flags.writeable = False
    np.testing.assert_array_equal(add(a, a), 2 * a)
    np.testing.assert_array_equal(rectify(a), np.maximum(a, 0))
