"""Matrix products, also while a CUDA graph is recorded.

cuBLAS can be recorded, but CuPy refuses to call it meanwhile ("currently unsupported"). So the recorded products go to
cuBLAS directly: by the handle, and with the arguments, that CuPy calls it with, so that it takes the same kernels.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gpunet.backend.active import Array, active_backend, xp
from gpunet.backend.recording import recording
from gpunet.errors import GraphError

__all__ = ["product"]


class _Type(NamedTuple):
    """How cuBLAS calls a type of numbers, and that in which it adds up."""

    data: int  # CUDA_R_16F, CUDA_R_32F, CUDA_R_64F
    compute: int  # CUBLAS_COMPUTE_32F, CUBLAS_COMPUTE_64F
    scalar: Any  # of alpha and beta


_TYPES = {
    np.dtype(np.float16): _Type(2, 68, ctypes.c_float),
    np.dtype(np.float32): _Type(0, 68, ctypes.c_float),
    np.dtype(np.float64): _Type(1, 70, ctypes.c_double),
}
_FAST_TF32 = 77  # CUBLAS_COMPUTE_32F_FAST_TF32
_DEFAULT, _DEFAULT_TENSOR_OP = -1, 99  # CUBLAS_GEMM_DEFAULT
_NOT_TRANSPOSED, _TRANSPOSED = 0, 1

_P, _I, _L = ctypes.c_void_p, ctypes.c_int, ctypes.c_longlong
_MATRIX, _MATRICES = (_P, _I, _I), (_P, _I, _I, _L)  # where it begins, type, leading dimension, distance to the next
_SIGNATURES = {
    "cublasSetStream_v2": (_P, _P),
    "cublasSetWorkspace_v2": (_P, _P, ctypes.c_size_t),
    "cublasGemmEx": (_P, *[_I] * 5, _P, *_MATRIX, *_MATRIX, _P, *_MATRIX, _I, _I),
    "cublasGemmStridedBatchedEx": (_P, *[_I] * 5, _P, *_MATRICES, *_MATRICES, _P, *_MATRICES, _I, _I, _I),
}


def product(a: Array, b: Array, out: Array | None = None) -> Array:
    """`a @ b`, as `xp.matmul`.

    Shape:
        a: (..., n, k). b: (..., k, m). Result: (..., n, m).

    Raises:
        GraphError: while a step is recorded, if cuBLAS cannot be called, or has no function for it.
    """
    if recording() is None or not (a.size and b.size) or (max(a.ndim, b.ndim) == 2 and a.shape[0] == b.shape[-1] == 1):
        return xp.matmul(a, b, out=out)  # nothing, or one number, is no work for cuBLAS
    dtype = np.result_type(a.dtype, b.dtype)
    if a.shape[:-2] != b.shape[:-2] or min(a.ndim, b.ndim) < 2 or dtype not in _TYPES:
        raise GraphError(
            f"cuda_graph: the step cannot be recorded with a matrix product of {a.shape} {a.dtype} and {b.shape} "
            f"{b.dtype}: it takes matrices of floats, and as many of the one as of the other"
        )
    wide = np.dtype(np.float32) if dtype == np.float16 and a.ndim > 2 else dtype  # CuPy widens many matrices
    fits = out is not None and out.flags.c_contiguous and out.dtype == wide
    c: Array = out if fits else xp.empty((*a.shape[:-1], b.shape[-1]), dtype=wide)
    a, b = a.astype(wide, copy=False), b.astype(wide, copy=False)
    (_one_product if a.ndim == 2 else _many_products)(a, b, c)
    if out is None:
        return c.astype(dtype, copy=False)
    if not fits:
        out[...] = c
    return out


def _one_product(a: Array, b: Array, c: Array) -> None:
    """C (n, m), C-contiguous, = a (n, k) @ b (k, m).

    cuBLAS has the columns of a matrix one after the other: for it c is its transpose, c' = b' a'.
    """
    (n, k), m = a.shape, b.shape[1]
    a, a_transposed, lda = _for_cublas(a.T, _NOT_TRANSPOSED)
    b, b_transposed, ldb = _for_cublas(b, _TRANSPOSED)
    _call(
        "cublasGemmEx",
        c.dtype,
        (b_transposed, a_transposed, m, n, k),
        *((b, ldb), (a, lda), (c, m)),
    )


def _for_cublas(x: Array, as_columns: int) -> tuple[Array, int, int]:
    """A matrix that cuBLAS can read, whether it is to be transposed, and its leading dimension; decided as in CuPy.

    Args:
        as_columns: whether it is to be transposed if its columns lie one after the other.
    """
    if x.flags.f_contiguous:
        return x, as_columns, max(x.strides[1] // x.itemsize, x.shape[0])
    if not x.flags.c_contiguous:
        x = x.copy()
    return x, 1 - as_columns, x.strides[0] // x.itemsize


def _many_products(a: Array, b: Array, c: Array) -> None:
    """C (..., n, m) = a (..., n, k) @ b (..., k, m), with as many matrices in each."""
    a, b = xp.ascontiguousarray(a), xp.ascontiguousarray(b)
    n, k = a.shape[-2:]
    m = b.shape[-1]
    _call(
        "cublasGemmStridedBatchedEx",
        c.dtype,
        (_NOT_TRANSPOSED, _NOT_TRANSPOSED, m, n, k),
        *((b, m, k * m), (a, k, n * k), (c, m, n * m)),
        a.size // (n * k),
    )


def _call(name: str, dtype: np.dtype[Any], sizes: tuple[int, ...], b: Any, a: Any, c: Any, *count: int) -> None:
    """Call a function of cuBLAS in the stream that is being captured."""
    kind = _TYPES[dtype]
    handle = xp.cuda.device.get_cublas_handle()
    one, zero = kind.scalar(1), kind.scalar(0)
    operands = [(array.data.ptr, kind.data, *how) for array, *how in (b, a, c)]
    capability = int(xp.cuda.Device().compute_capability)
    with_tensor_cores = not count and (capability >= 80 or (capability >= 70 and dtype == np.float16))
    algorithm = _DEFAULT_TENSOR_OP if with_tensor_cores else _DEFAULT
    # Many matrices are added up in the type that they have, which CuPy passes in the place of a CUBLAS_COMPUTE.
    compute = kind.data if count else _compute(dtype)
    workspace = _workspace(capability)
    _function("cublasSetStream_v2")(handle, xp.cuda.get_current_stream().ptr)  # which takes the last workspace away
    _function("cublasSetWorkspace_v2")(handle, workspace.data.ptr, workspace.nbytes)
    alpha, beta = ctypes.addressof(one), ctypes.addressof(zero)
    _function(name)(handle, *sizes, alpha, *operands[0], *operands[1], beta, *operands[2], *count, compute, algorithm)


def _compute(dtype: np.dtype[Any]) -> int:
    if dtype == np.float32 and active_backend() == "cupy":
        linalg = xp._core._routines_linalg
        if linalg.get_compute_type(dtype) == linalg.COMPUTE_TYPE_TF32:
            return _FAST_TF32
    return _TYPES[dtype].compute


def _workspace(capability: int) -> Array:
    """Memory for cuBLAS to work in, of the size that it takes by itself, and alive as long as the graph."""
    megabytes = 12 if capability >= 120 else 32 if capability >= 90 else 4
    now = recording()
    memory = {} if now is None else now.memory
    if "cuBLAS" not in memory:
        memory["cuBLAS"] = xp.empty(megabytes << 20, dtype=xp.uint8)
    return memory["cuBLAS"]


def _function(name: str) -> Callable[..., None]:
    """A function of cuBLAS, which raises what it would return."""
    function = getattr(_library(active_backend()), name)

    def call(*arguments: Any) -> None:
        if status := function(*arguments):
            raise GraphError(f"cuda_graph: the step cannot be recorded: {name} of cuBLAS failed with status {status}")

    return call


@functools.cache
def _library(backend: str) -> Any:
    """The library of functions that CuPy itself calls, or what stands for it."""
    if backend == "emulated":
        return importlib.import_module("gpunet.emulated.cublas")
    path = importlib.import_module("cupy_backends.cuda.libs.cublas").__file__
    try:
        library = ctypes.CDLL(path)  # its symbols, and those of the cuBLAS that it is linked with
        for name, types in _SIGNATURES.items():
            getattr(library, name).argtypes = types
    except (OSError, AttributeError, TypeError) as error:
        raise GraphError(f"cuda_graph: the functions of cuBLAS are not to be found: {error}") from error
    return library
