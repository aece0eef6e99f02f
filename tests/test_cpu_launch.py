"""The wrapper around CPU kernels: what it refuses, and how it cuts the work."""

import numpy as np
import pytest

from gpunet.backend.cpu_kernels import CpuKernel, launch
from gpunet.backend.cpu_library import library
from gpunet.errors import ArgumentError, DTypeError, ShapeError

pytestmark = pytest.mark.skipif(
    library() is None, reason="there are no CPU kernels (python setup.py build_ext --inplace)"
)

RELU = CpuKernel("relu_forward", "const float* x, float* y")
PADDED = CpuKernel("relu_forward", "const float* x, float* y, const int*? places, i64 rows")  # refused before it runs


def numbers(size=100):
    return np.random.default_rng(0).standard_normal(size).astype(np.float32)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 100_003])
def test_a_kernel_runs_on_all_its_items(size, threads):
    x = numbers(size)
    for count in (1, 2, 5):
        threads(count)
        y = np.full(size, np.nan, np.float32)
        launch(RELU.prepare(items=size, work=1 << 30), x, y)
        np.testing.assert_array_equal(y, np.maximum(x, 0))


def test_inputs_may_be_read_only():
    x, y = numbers(), np.empty(100, np.float32)
    x.flags.writeable = False
    launch(RELU.prepare(items=100, work=0), x, y)
    np.testing.assert_array_equal(y, np.maximum(x, 0))


def test_arrays_may_begin_at_any_number():
    x, y = numbers(103)[3:], np.empty(100, np.float32)
    launch(RELU.prepare(items=100, work=0), x, y)
    np.testing.assert_array_equal(y, np.maximum(x, 0))


def test_arrays_must_not_begin_within_a_number():
    x = np.zeros(4 * 100 + 1, np.uint8)[1:].view(np.float32)
    with pytest.raises(ShapeError, match="x must begin at a multiple of the size of its numbers"):
        launch(RELU.prepare(items=100, work=0), x, np.empty(100, np.float32))


def test_outputs_must_not_be_read_only():
    y = np.empty(100, np.float32)
    y.flags.writeable = False
    with pytest.raises(ShapeError, match=r"relu_forward: y is written to, got a read-only array"):
        launch(RELU.prepare(items=100, work=0), numbers(), y)


def test_arrays_must_be_contiguous():
    with pytest.raises(ShapeError, match=r"x must be C-contiguous, got shape \(50,\), strides \(8,\)"):
        launch(RELU.prepare(items=50, work=0), numbers()[::2], np.empty(50, np.float32))
    with pytest.raises(ShapeError, match="y must be C-contiguous"):
        launch(RELU.prepare(items=100, work=0), numbers(), np.empty((10, 10), np.float32).T)


@pytest.mark.parametrize(
    ("x", "got"),
    [
        (numbers().astype(np.float64), "float64"),
        (numbers().astype(">f4"), ">f4"),
        ([1.0, 2.0], "list"),
        (None, "NoneType"),
    ],
)
def test_arrays_must_have_the_declared_type(x, got):
    with pytest.raises(DTypeError, match=f"x must be an array of float32, got {got}"):
        launch(RELU.prepare(items=100, work=0), x, np.empty(100, np.float32))


def test_only_a_pointer_that_may_be_null_may_be_none():
    x, y = numbers(), np.empty(100, np.float32)
    with pytest.raises(DTypeError, match="y must be an array of float32, got NoneType"):
        launch(PADDED.prepare(3, items=0, work=0), x, None, None)
    launch(PADDED.prepare(3, items=100, work=0), x, y, None)
    with pytest.raises(DTypeError, match="places must be an array of int32, got float32"):
        launch(PADDED.prepare(3, items=0, work=0), x, y, x)


@pytest.mark.parametrize("first", [0, 1, 99])
def test_what_is_written_to_must_not_overlap(first):
    memory = numbers(200)
    with pytest.raises(ArgumentError, match="y overlaps with x"):
        launch(RELU.prepare(items=100, work=0), memory[:100], memory[first : first + 100])


def test_neighbours_do_not_overlap():
    memory = numbers(200)
    right = np.maximum(memory[100:], 0)
    launch(RELU.prepare(items=100, work=0), memory[100:], memory[:100])
    np.testing.assert_array_equal(memory[:100], right)


@pytest.mark.parametrize("arguments", [(), (numbers(),), (numbers(), numbers(), None)])
def test_the_number_of_arguments_must_fit(arguments):
    with pytest.raises(ArgumentError, match=r"takes const float\* x, float\* y; got"):
        launch(RELU.prepare(items=0, work=0), *arguments)


@pytest.mark.parametrize("rows", [1.5, "3", None, 2**63])
def test_numbers_must_be_whole_and_fit(rows):
    with pytest.raises(ArgumentError, match=r"i64 rows; got the numbers \("):
        PADDED.prepare(rows, items=0, work=0)


@pytest.mark.parametrize("rows", [(), (1, 2)])
def test_the_number_of_numbers_must_fit(rows):
    with pytest.raises(ArgumentError, match=r"i64 rows; got the numbers \("):
        PADDED.prepare(*rows, items=0, work=0)
