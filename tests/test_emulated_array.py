"""The emulated arrays: what CuPy refuses is refused, what it does is done, what it leaves undefined is seen."""

from __future__ import annotations

import copy
import gc
import json
import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from gpunet import emulated as xp
from gpunet.emulated import counters
from gpunet.emulator import compiler_command
from gpunet.errors import BackendError, KernelError

Values = np.ndarray[Any, Any]


@pytest.fixture
def compiler() -> None:
    try:
        compiler_command()
    except BackendError as reason:
        pytest.skip(str(reason))


def _array(*shape: int, dtype: Any = np.float32) -> xp.ndarray:
    return xp.arange(int(np.prod(shape)), dtype=dtype).reshape(shape)


# ---------------------------------------------------------------------- refused, as CuPy refuses it

A = _array(2, 3)
HOST = np.ones((2, 3), np.float32)

REFUSED: dict[str, tuple[type[Exception], Callable[[], Any]]] = {
    "implicit conversion to the host": (TypeError, lambda: np.asarray(A)),
    "NumPy array on the right": (TypeError, lambda: A + HOST),
    "NumPy array on the left": (TypeError, lambda: HOST + A),
    "NumPy array in place": (TypeError, lambda: operator.iadd(_array(2, 3), HOST)),
    "NumPy array into which is added": (TypeError, lambda: operator.iadd(HOST.copy(), A)),
    "NumPy array compared": (TypeError, lambda: HOST < A),
    "list as an operand": (TypeError, lambda: operator.add(A, [1, 2, 3])),
    "NumPy array in a ufunc": (TypeError, lambda: xp.maximum(A, HOST)),
    "NumPy array as out": (TypeError, lambda: xp.maximum(A, A, out=HOST.copy())),
    "list in a ufunc": (TypeError, lambda: xp.exp([1.0, 2.0])),
    "None in a ufunc": (TypeError, lambda: xp.maximum(A, None)),
    "NumPy array in concatenate": (TypeError, lambda: xp.concatenate([A, HOST])),
    "NumPy array in where": (TypeError, lambda: xp.where(HOST > 0, A, A)),
    "NumPy array in a sum": (TypeError, lambda: xp.sum(HOST)),
    "NumPy array assigned": (ValueError, lambda: operator.setitem(_array(2, 3), slice(None), HOST)),
    "list assigned": (TypeError, lambda: operator.setitem(_array(3), slice(None), [1, 2, 3])),
    "text": (ValueError, lambda: xp.asarray(["a"])),
    "objects": (ValueError, lambda: xp.asarray([None, {}])),
    "0-d array as an index of a list": (TypeError, lambda: [1, 2][A.argmax()]),
    "0-d array as an integer": (TypeError, lambda: operator.index(A.argmax())),
    "0-d array in JSON": (TypeError, lambda: json.dumps({"loss": A.sum()})),
    "0-d array rounded": (TypeError, lambda: round(A.sum(), 2)),
    "array as a key": (TypeError, lambda: {A.sum(): 1}),
    "iteration over a 0-d array": (TypeError, lambda: list(A.sum())),
    "truth of many": (ValueError, lambda: bool(A)),
    "where= in a sum": (TypeError, lambda: xp.sum(A, where=A > 0)),
    "initial= in a max": (TypeError, lambda: A.max(initial=0)),
    "where= in a ufunc that has no out": (TypeError, lambda: xp.log(A, where=A > 0)),
    "device= in zeros": (TypeError, lambda: xp.zeros(3, device="cpu")),
    "errstate": (AttributeError, lambda: xp.errstate),
    "insert": (AttributeError, lambda: xp.insert),
    "block": (AttributeError, lambda: xp.block),
    "a method of NumPy's arrays alone": (AttributeError, lambda: A.ctypes),
    "writeable": (AttributeError, lambda: A.flags.writeable),
    "add.at in 8 bits": (TypeError, lambda: xp.add.at(xp.zeros(3, np.uint8), xp.zeros(1, np.int64), 1)),
    "multiply.at": (NotImplementedError, lambda: xp.multiply.at(_array(3), xp.zeros(1, np.int64), 2)),
    "float result into an integer array": (TypeError, lambda: operator.itruediv(_array(3, dtype=np.int32), 2)),
    "shape that does not fit": (ValueError, lambda: A + _array(2)),
    "set with another type": (TypeError, lambda: A.set(HOST.astype(np.float64))),
    "set with another shape": (ValueError, lambda: A.set(HOST[:1])),
    "set of strided memory": (RuntimeError, lambda: _array(2, 4)[:, ::2].set(HOST[:, :2])),
    "as_strided beyond the memory": (KernelError, lambda: xp.lib.stride_tricks.as_strided(A, (2, 4), (12, 4))),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what: str) -> None:
    exception, attempt = REFUSED[what]
    with pytest.raises(exception):
        attempt()


def test_a_missing_name_says_what_to_do() -> None:
    with pytest.raises(AttributeError, match=r"does not offer 'errstate'.*functions\.py"):
        _ = xp.errstate


# ---------------------------------------------------------------------- done, as NumPy does it

DONE: dict[str, Callable[[Any, Values], Any]] = {  # a device array or its NumPy twin, by the module that it belongs to
    "arithmetic": lambda m, a: (1 - a) * 2 / (a + 3) ** 2 - -a // 2 % 3,
    "NumPy scalars": lambda m, a: np.float32(2) * a + np.float32(1),
    "comparisons": lambda m, a: (a > 2) & ~(a == 4) | (a <= 0),
    "matrix product": lambda m, a: a @ a.T,
    "matmul": lambda m, a: m.matmul(a[None], a.T),
    "in place": lambda m, a: operator.iadd(a.copy(), a),
    "sum": lambda m, a: a.sum(),
    "sum along an axis": lambda m, a: m.sum(a, axis=1, keepdims=True),
    "mean in another type": lambda m, a: a.mean(axis=0, dtype=m.float64),
    "max, min": lambda m, a: m.max(a, axis=0) - m.min(a, axis=0),
    "argmax": lambda m, a: m.argmax(a, axis=1),
    "argmin": lambda m, a: a.argmin(),
    "any, all": lambda m, a: (a > 1).any(axis=0) & (a > 1).all(axis=0),
    "functions": lambda m, a: m.log1p(m.exp(m.tanh(m.sqrt(m.abs(a))))) + m.sign(a) - m.log(a + 1),
    "minimum with out": lambda m, a: m.minimum(a, 2, out=m.empty_like(a)),
    "where": lambda m, a: m.where(a > 2, a, 0),
    "transposes": lambda m, a: a.reshape(1, 2, 3).transpose(2, 0, 1).swapaxes(0, 1).squeeze(0),
    "expand_dims, broadcast_to": lambda m, a: m.broadcast_to(m.expand_dims(a, 0), (4, 2, 3)),
    "concatenate, stack, tile": lambda m, a: m.tile(m.stack([m.concatenate([a, a]), m.concatenate([a, -a])]), 2),
    "casts": lambda m, a: a.astype(m.float16).astype(m.int32, copy=False),
    "rows by index": lambda m, a: a[m.asarray([1, 0, 1])],
    "mask": lambda m, a: a[a > 2],
    "slices": lambda m, a: a[::-1, None, 1:],
    "pairs of indices": lambda m, a: a[m.arange(2), m.asarray([2, 0])],
    "ogrid": lambda m, a: a[tuple(m.ogrid[0:2, 0:2])],
    "view": lambda m, a: (a.astype(m.float32).view(m.int32) & (a <= 0).view("i1")).view(m.float32),
    "bincount": lambda m, a: m.bincount(a.astype(m.int64).ravel(), minlength=9),
    "einsum": lambda m, a: m.einsum("ij,ij->j", a, a),
    "full_like of another shape": lambda m, a: m.full_like(a.T, 7, shape=(3, 4)),
    "ones, zeros": lambda m, a: m.ones(3) + m.zeros((2, 3)) + m.ones_like(a) + m.zeros_like(a) + m.full((), 2.0),
    "as_strided": lambda m, a: m.lib.stride_tricks.as_strided(a, (2, 2, 2), (12, 4, 4)),
    "contiguous": lambda m, a: m.ascontiguousarray(a.T),
    "array of arrays": lambda m, a: m.array([a[0], a[1]]),
    "promote_types": lambda m, a: a.astype(m.promote_types(a.dtype, m.float64)),
}


@pytest.mark.parametrize("what", DONE)
def test_done(what: str) -> None:
    a = np.arange(6, dtype=np.float32).reshape(2, 3)
    expected, found = np.asarray(DONE[what](np, a)), DONE[what](xp, xp.asarray(a))
    assert isinstance(found, xp.ndarray)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found.get(), expected, rtol=1e-6)


def _assign(a: Any, m: Any) -> None:
    a[0] = 5
    a[:, 1] += 10
    a[m.asarray([1, 0]), m.asarray([2, 2])] = m.asarray([7.0, 8.0])
    a[a == 3] = -1
    m.add.at(a, (m.asarray([0, 0, 1]), m.asarray([0, 0, 0])), m.asarray([1.0, 2.0, 3.0]))
    m.copyto(a, 0, where=a > 14)


def test_assignments() -> None:
    a = np.arange(6, dtype=np.float64).reshape(2, 3)
    b = xp.asarray(a)
    _assign(a, np)
    _assign(b, xp)
    np.testing.assert_array_equal(b.get(), a)


def test_reductions_and_elements_are_0d_arrays() -> None:
    for value in (A.sum(), A.mean(), xp.max(A), A.argmax(), A[0, 0], A[1][2], xp.exp(1.0)):
        assert isinstance(value, xp.ndarray)
        assert value.shape == ()
    assert f"{A.sum():.1f}" == "15.0"
    assert float(A[1, 2]) == int(A[1, 2]) == A[1, 2].item() == 5


def test_nan_and_overflow_are_silent() -> None:
    a = xp.asarray([0.0, -1.0, 1e308])
    np.testing.assert_array_equal(xp.log(a).get()[:2], [-np.inf, np.nan])
    np.testing.assert_array_equal((a * 10 / 0).get(), [np.nan, -np.inf, np.inf])


def test_an_element_is_a_view() -> None:
    a = _array(3)
    element = a[1]
    a[1] = 9
    assert float(element) == 9
    assert element.base is not None
    assert a.copy().base is None


def test_foreign_types_may_answer_for_themselves() -> None:
    class Other:
        def __radd__(self, array: Any) -> str:
            return "mine"

    assert A + Other() == "mine"


# ---------------------------------------------------------------------- undefined on a GPU


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_memory_that_nobody_has_written_is_nan(dtype: str) -> None:
    assert np.isnan(xp.empty((2, 2), dtype).get()).all()
    assert np.isnan(xp.empty_like(xp.ones(3, dtype)).get()).all()


def test_integers_that_nobody_has_written_are_out_of_range() -> None:
    assert (xp.empty(3, np.int64).get() > 2**60).all()


def test_two_values_for_one_element() -> None:
    a = xp.zeros(3)
    a[xp.asarray([0, 0, 1, 1])] = xp.asarray([1.0, 2.0, 3.0, 3.0])
    np.testing.assert_array_equal(a.get(), [np.nan, 3, 0])


# ---------------------------------------------------------------------- host and device


def test_copies_are_counted() -> None:
    counters.reset()
    a = xp.asarray(HOST)
    b = xp.asarray(a) + a * 2 - a[0]
    assert (counters.host_to_device, counters.device_to_host) == (1, 0)
    b.get(), float(b.sum()), bool(b[0, 0] > 0), b.tolist()
    assert counters.device_to_host == 4
    b[[0, 1]].set(HOST)
    assert counters.host_to_device == 3


def test_a_copy_in_a_side_stream_is_there_when_waited_for() -> None:
    stream = xp.cuda.Stream(non_blocking=True)
    pinned = np.frombuffer(xp.cuda.alloc_pinned_memory(HOST.nbytes), np.float32, HOST.size).reshape(HOST.shape)
    pinned[...] = HOST
    a = xp.empty(HOST.shape, np.float32)
    a.set(pinned, stream=stream)
    assert np.isnan(a.get()).all()  # too early
    copied = stream.record()
    xp.cuda.get_current_stream().wait_event(copied)
    np.testing.assert_array_equal(a.get(), HOST)

    with stream:
        b = xp.asarray(HOST)
    assert np.isnan(b.get()).all()
    stream.synchronize()
    np.testing.assert_array_equal(b.get(), HOST)

    back = np.zeros_like(HOST)
    b.get(stream=stream, out=back, blocking=False)
    assert np.isnan(back).all()
    xp.cuda.runtime.deviceSynchronize()
    np.testing.assert_array_equal(back, HOST)


def test_pinned_memory_that_is_overwritten_too_early() -> None:
    stream = xp.cuda.Stream(non_blocking=True)
    pinned = np.ones(3, np.float32)
    a = xp.empty(3, np.float32)
    a.set(pinned, stream=stream)
    pinned[...] = 2
    stream.synchronize()
    np.testing.assert_array_equal(a.get(), 2)


# ---------------------------------------------------------------------- memory


@pytest.fixture
def pool() -> Iterator[Any]:
    pool = xp.get_default_memory_pool()
    yield pool
    pool.set_limit(size=0)


def test_memory_is_counted_and_given_back(pool: Any) -> None:
    gc.collect()
    before = pool.used_bytes()
    a = xp.zeros(1000, np.float32)
    b = a.reshape(10, 100)[::2]
    assert pool.used_bytes() - before == 4096
    c = b + 1
    assert pool.used_bytes() - before == 4096 + 2048
    del a, c
    assert pool.used_bytes() - before == 4096  # b still needs it
    del b
    assert pool.used_bytes() == before


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_copies_have_memory_of_their_own(pool: Any, duplicate: Callable[[Any], Any]) -> None:
    before = pool.used_bytes()
    a = xp.zeros(1000, np.float32)
    b = duplicate(a)
    assert pool.used_bytes() - before == 2 * 4096
    b += 1
    assert a.get().max() == 0
    del a, b
    assert pool.used_bytes() == before


def test_out_of_memory(pool: Any) -> None:
    pool.set_limit(size=pool.used_bytes() + 8192)
    a = xp.zeros(1000, np.float32)
    with pytest.raises(xp.cuda.memory.OutOfMemoryError, match=r"allocating 8,192 bytes .*limit set to"):
        a.astype(np.float64)
    with pytest.raises(MemoryError):
        xp.zeros((1 << 40,), np.float32)
    assert (a + 1).size == 1000
    with pytest.raises(ValueError, match="either size or fraction"):
        pool.set_limit()


# ---------------------------------------------------------------------- raw kernels

AXPY = """
extern "C" __global__ void axpy(float* y, const float* x, float a, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = fmaf(a, x[i], y[i]);
}
template <typename T> __global__ void fill(T* y, T value) { y[blockIdx.x] = value; }
"""
Y, X, ALPHA, N = xp.ones(10, np.float32), _array(10), np.float32(2), np.int32(10)


def test_raw_kernel(compiler: None) -> None:
    y = xp.ones(10, np.float32)
    counters.reset()
    xp.RawKernel(AXPY, "axpy")((2,), (8,), (y, X, ALPHA, N))
    np.testing.assert_array_equal(y.get(), 1 + 2 * np.arange(10))
    assert counters.launches == 1


def test_raw_module(compiler: None) -> None:
    module = xp.RawModule(code=AXPY, options=("--std=c++17",), name_expressions=["fill<int>", "fill<long long>"])
    y = xp.empty(3, np.int64)
    module.get_function("fill<long long>")((3,), (1,), (y, 7))
    np.testing.assert_array_equal(y.get(), 7)
    module.get_function("axpy")((2,), (8,), (xp.ones(10, np.float32), X, ALPHA, N))
    with pytest.raises(xp.cuda.driver.CUDADriverError, match="NOT_FOUND"):
        module.get_function("fill<float>")


def test_a_grid_of_size_0_runs_one_block(compiler: None) -> None:
    empty = xp.empty(0, np.float32)
    kernel = xp.RawKernel(AXPY, "axpy")
    kernel((0,), (8,), (empty, empty, ALPHA, np.int32(0)))
    with pytest.raises(KernelError, match="out of bounds"):
        kernel((0,), (8,), (empty, empty, ALPHA, np.int32(1)))


@pytest.mark.parametrize(
    ("arguments", "exception", "message"),
    [
        ((Y, X, 2.0, N), KernelError, "argument 2 is declared as float, got float64"),
        ((Y, X, ALPHA, 10), KernelError, "argument 3 is declared as int, got int64"),
        ((Y, X, ALPHA, True), KernelError, "got bool"),
        ((Y, X.astype(np.float64), ALPHA, N), KernelError, "got an array of float64"),
        ((Y, _array(20)[::2], ALPHA, N), KernelError, "not contiguous"),
        ((Y, xp.broadcast_to(_array(1), (10,)), ALPHA, N), KernelError, "not contiguous"),
        ((Y, X, ALPHA), KernelError, "4 parameters"),
        ((Y, X, xp.ones(()), N), KernelError, "got ndarray instead of a NumPy scalar"),
        ((Y, np.zeros(10, np.float32), ALPHA, N), TypeError, r"numpy\.ndarray of shape \(10,\)"),
        ((Y, "x", ALPHA, N), TypeError, "Unsupported type"),
        ((Y, _array(9), ALPHA, N), KernelError, "kernel axpy, kernel.cu:4: out of bounds: thread 1 reads 4 bytes"),
    ],
)
def test_raw_kernel_arguments(compiler: None, arguments: Any, exception: type[Exception], message: str) -> None:
    with pytest.raises(exception, match=message):
        xp.RawKernel(AXPY, "axpy")((2,), (8,), arguments)


@pytest.mark.parametrize(
    ("grid", "block", "shared_mem"),
    [
        ((1, 70000), (1,), 0),
        ((1, 1, 65536), (1,), 0),
        ((2**31,), (1,), 0),
        ((1,), (2048,), 0),
        ((1,), (1, 1, 128), 0),
        ((1,), (64, 64), 0),
        ((1,), (1,), 49153),
    ],
)
def test_launch_limits(compiler: None, grid: Any, block: Any, shared_mem: int) -> None:
    with pytest.raises(xp.cuda.driver.CUDADriverError, match="INVALID_VALUE"):
        xp.RawKernel(AXPY, "axpy")(grid, block, (Y, X, ALPHA, N), shared_mem=shared_mem)


def test_grid_and_options_must_be_tuples(compiler: None) -> None:
    with pytest.raises(TypeError, match="expected tuple"):
        xp.RawKernel(AXPY, "axpy")([2], (8,), (Y, X, ALPHA, N))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="expected tuple"):
        xp.RawModule(code=AXPY, options=["--std=c++17"])  # type: ignore[arg-type]


# ---------------------------------------------------------------------- what a device would have to do


STRIDED = xp.zeros((4, 6), np.float32)[:, ::2]  # (4, 3), in no piece
IN_COLUMNS = xp.empty((2, 4), np.float32)[:, ::2]
HALVES, BATCH = xp.ones((4, 3), np.float16), xp.ones((2, 4, 3), np.float32)
OPERATIONS: dict[str, tuple[Callable[[], Any], dict[str, int]]] = {
    "addition": (lambda: A + A, {"add": 1}),
    "in place": (lambda: operator.iadd(_array(2, 3), A), {"arange": 1, "add": 1}),
    "into a slice": (lambda: operator.setitem(_array(4), slice(2), xp.empty(2)), {"arange": 1, "copy": 1}),
    "a number into a slice": (lambda: operator.setitem(_array(4), slice(2), 0), {"arange": 1, "fill": 1}),
    "sum": (lambda: A.sum(axis=0), {"sum": 1}),
    "views": (lambda: A.T.reshape(2, 3).T[0], {"copy": 1}),  # reshape alone
    "astype": (lambda: A.astype(np.float16).astype(np.float16, copy=False), {"copy": 1}),
    "contiguous": (lambda: xp.ascontiguousarray(xp.ascontiguousarray(A.T)), {"copy": 1}),
    "zeros and empty": (lambda: (xp.zeros(3), xp.empty(3)), {"fill": 1}),
    "few arrays joined": (lambda: xp.concatenate([A, A, A]), {"copy": 2, "concatenate": 1}),
    "many arrays joined": (lambda: xp.stack([A] * 9), {"concatenate": 1}),
    "matrices as they lie": (lambda: xp.matmul(A.T, A, out=xp.empty((3, 3), np.float32)), {"matmul": 1}),
    "half matrices": (lambda: HALVES.T @ HALVES, {"matmul": 1}),
    "a matrix in no piece": (lambda: STRIDED @ A.T, {"matmul": 1, "copy": 1}),
    "a result in no piece": (lambda: xp.matmul(A, A.T, out=IN_COLUMNS), {"matmul": 1, "copy": 1}),
    "transposed of three dimensions": (lambda: BATCH.swapaxes(1, 2) @ BATCH, {"matmul": 1, "copy": 1}),
    "halves of three dimensions": (lambda: HALVES[None] @ HALVES.T[None], {"matmul": 1, "copy": 3}),
}  # fmt: skip


@pytest.mark.parametrize("what", OPERATIONS)
def test_operations_of_the_device_are_counted_as_cupy_makes_them(what: str) -> None:
    run, expected = OPERATIONS[what]
    counters.reset()
    run()
    assert +counters.functions == expected
    assert counters.device_operations == sum(expected.values())


def test_a_slice_added_to_in_place_is_not_copied_back() -> None:
    a = _array(2, 3)
    counters.reset()
    a[0] += 1
    a[:, 1:] += 1
    assert +counters.functions == {"add": 2}


def test_new_arrays_are_in_c_order_whatever_the_operands() -> None:
    a = _array(2, 3, 4).transpose(2, 0, 1)
    for made in (a + 1, a * a, -a, xp.exp(a), xp.where(a > 2, a, 0), a < 3, xp.clip(a, 0, 1), xp.concatenate([a, a])):
        assert made.flags.c_contiguous
    assert not a.astype(np.float64).flags.c_contiguous  # what keeps the order in CuPy, too
    assert not xp.empty_like(a).flags.c_contiguous
