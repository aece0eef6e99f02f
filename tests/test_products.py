"""Matrix products while a step is recorded: CuPy calls no cuBLAS then, so gpunet does, here a stand-in for it."""

import ast
import ctypes

import numpy as np
import pytest

from gpunet import emulated
from gpunet.backend import asarray, products
from gpunet.backend.products import product
from gpunet.backend.recording import Recording, watched
from gpunet.emulated import cublas
from gpunet.errors import GraphError, KernelError
from tests.test_structure import TREES, area

pytestmark = pytest.mark.usefixtures("counters")  # the emulated backend


def recorded(a, b, out=None):
    """The product as a graph computes it, and in memory of its own."""
    stream, pool = emulated.cuda.Stream(non_blocking=True), emulated.cuda.MemoryPool()
    recording = Recording()
    with stream, emulated.cuda.using_allocator(pool.malloc), watched(recording, running=True):
        stream.begin_capture()
        made = product(a, b, out)
        graph = stream.end_capture()
    graph.launch()
    return made.copy()


def transposed(x):
    return asarray(np.ascontiguousarray(x.swapaxes(-1, -2))).swapaxes(-1, -2)


def with_gaps(x):
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    wide[..., ::2] = x
    return asarray(wide)[..., ::2]


LAYOUTS = {"as it is": asarray, "transposed": transposed, "with gaps": with_gaps}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("a_lies", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("b_lies", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize(
    "sizes", [(3, 4, 5), (1, 4, 5), (3, 1, 5), (3, 4, 1), (1, 4, 1), (1, 1, 1), (0, 2, 3)], ids=str
)
def test_it_is_numpys(rng, dtype, a_lies, b_lies, sizes):
    n, k, m = sizes
    for before in [(), (2,), (2, 3)]:
        a, b = (rng.integers(-4, 5, (*before, *shape)).astype(dtype) for shape in ((n, k), (k, m)))
        expected = np.matmul(a, b)
        a, b = a_lies(a), b_lies(b)
        made = recorded(a, b)
        assert (made.dtype, made.shape) == (expected.dtype, expected.shape)
        np.testing.assert_array_equal(made.get(), expected)
        for out in (emulated.empty(expected.shape, dtype), emulated.empty((*expected.shape, 2), dtype)[..., 0]):
            np.testing.assert_array_equal(recorded(a, b, out).get(), expected)
            np.testing.assert_array_equal(out.get(), expected)


@pytest.mark.parametrize(("a", "b"), [((2, 3, 4), (4, 5)), ((2, 3, 4), (1, 4, 5)), ((4,), (4, 5)), ((3, 4), (4,))])
def test_matrices_that_broadcast_are_refused(a, b):
    with pytest.raises(GraphError, match="as many of the one as of the other"):
        recorded(emulated.ones(a), emulated.ones(b))


def test_types_without_a_function_are_refused():
    with pytest.raises(GraphError, match=r"\(2, 2\) int64"):
        recorded(emulated.ones((2, 2), "int64"), emulated.ones((2, 2), "int64"))


def test_as_cupy_the_stand_in_refuses_its_own_products():
    a, stream = emulated.ones((2, 2)), emulated.cuda.Stream(non_blocking=True)
    with stream, emulated.cuda.using_allocator(emulated.cuda.MemoryPool().malloc):
        stream.begin_capture()
        with pytest.raises(NotImplementedError, match="calling cuBLAS API during stream capture"):
            emulated.matmul(a, a)


def test_matrices_that_lie_in_no_array_are_found():
    a, one, zero = emulated.ones((2, 2), "float32"), ctypes.c_float(1), ctypes.c_float(0)
    matrix = a.data.ptr, 0, 2
    scalars = ctypes.addressof(one), ctypes.addressof(zero)
    with pytest.raises(KernelError, match="3 x 2, 2 apart, that lie in no array"):
        cublas.cublasGemmEx(1, 0, 0, 2, 3, 2, scalars[0], *matrix, *matrix, scalars[1], *matrix, 68, -1)


def test_a_failure_of_cublas_is_told(monkeypatch):
    monkeypatch.setattr(cublas, "cublasGemmEx", lambda *arguments: 13)
    with pytest.raises(GraphError, match="cublasGemmEx of cuBLAS failed with status 13"):
        recorded(emulated.ones((2, 2)), emulated.ones((2, 2)))


def test_the_signatures_take_what_is_passed(monkeypatch):
    """The real functions are called through ctypes: these, compiled of a few lines, take the same arguments."""
    seen = []

    def through_ctypes(name):
        types = products._SIGNATURES[name]
        callback = ctypes.CFUNCTYPE(ctypes.c_int, *types)(lambda *given: seen.append((name, len(given))) or 0)
        callback.argtypes = types
        return callback

    for name in products._SIGNATURES:
        monkeypatch.setattr(cublas, name, through_ctypes(name))
    recorded(emulated.ones((2, 2)), emulated.ones((2, 2)))
    recorded(emulated.ones((2, 2, 2)), emulated.ones((2, 2, 2)))
    assert [(name, count) for name, count in seen if "Gemm" in name] == [
        ("cublasGemmEx", 19),
        ("cublasGemmStridedBatchedEx", 23),
    ]


def test_operations_multiply_matrices_in_no_other_way():
    """`@` and `xp.matmul` could not be recorded."""
    wrong = [
        f"{module}, line {node.lineno}"
        for module, tree in TREES.items()
        if area(module) in ("ops", "nn", "functional", "optim")
        for node in ast.walk(tree)
        if (isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult))
        or (isinstance(node, ast.Attribute) and node.attr in ("matmul", "dot", "tensordot", "inner") and _of_xp(node))
    ]
    assert wrong == []


def _of_xp(node):
    return isinstance(node.value, ast.Name) and node.value.id == "xp"
