"""What stands for the library cuBLAS: the functions that gpunet calls directly, with their own arguments.

Arrays are addresses of matrices whose columns lie one after the other; what does not fit into an array is an error.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from gpunet.emulated.array import on_device
from gpunet.emulated.counters import counters
from gpunet.emulated.memory import allocations_at
from gpunet.errors import KernelError

__all__ = ["cublasGemmEx", "cublasGemmStridedBatchedEx", "cublasSetStream_v2", "cublasSetWorkspace_v2"]

_DTYPES = {0: np.float32, 1: np.float64, 2: np.float16}
_COMPUTE = {68: ctypes.c_float, 70: ctypes.c_double}


def cublasSetStream_v2(handle: int, stream: int) -> int:  # noqa: N802
    """Work goes to this stream from now on: here always to the current one."""
    return 0


def cublasSetWorkspace_v2(handle: int, workspace: int, size: int) -> int:  # noqa: N802
    """Let it work in this memory."""
    _matrices(workspace, np.dtype(np.uint8), 1, 1, size, size, 0)
    return 0


def cublasGemmEx(  # noqa: N802
    handle: int, transa: int, transb: int, m: int, n: int, k: int, alpha: int, a: int, atype: int, lda: int,
    b: int, btype: int, ldb: int, beta: int, c: int, ctype: int, ldc: int, compute: int, algorithm: int,
) -> int:  # fmt: skip
    """C (m, n) = alpha op(A) (m, k) op(B) (k, n) + beta C.

    Raises:
        KernelError: if a matrix lies in no array, or alpha and beta are not 1 and 0.
    """
    scalar = _COMPUTE[compute]
    if (scalar.from_address(alpha).value, scalar.from_address(beta).value) != (1, 0):
        raise KernelError("this stand-in for cuBLAS knows an alpha of 1 and a beta of 0 alone")
    _multiply(transa, transb, (m, n, k), (a, atype, lda, 0), (b, btype, ldb, 0), (c, ctype, ldc, 0), 1)
    return 0


def cublasGemmStridedBatchedEx(  # noqa: N802
    handle: int, transa: int, transb: int, m: int, n: int, k: int, alpha: int, a: int, atype: int, lda: int,
    stridea: int, b: int, btype: int, ldb: int, strideb: int, beta: int, c: int, ctype: int, ldc: int, stridec: int,
    count: int, compute: int, algorithm: int,
) -> int:  # fmt: skip
    """The same for several matrices, whose beginnings lie so many numbers apart."""
    matrices = (a, atype, lda, stridea), (b, btype, ldb, strideb), (c, ctype, ldc, stridec)
    _multiply(transa, transb, (m, n, k), *matrices, count)
    return 0


def _multiply(transa: int, transb: int, sizes: tuple[int, int, int], a: Any, b: Any, c: Any, count: int) -> None:
    m, n, k = sizes

    def view(of: Any, rows: int, columns: int, transposed: int) -> Any:
        """(count, columns, rows): whose columns are one after the other has the rows of its transpose so."""
        address, kind, leading, stride = of
        if transposed:
            return _matrices(address, np.dtype(_DTYPES[kind]), count, rows, columns, leading, stride).swapaxes(1, 2)
        return _matrices(address, np.dtype(_DTYPES[kind]), count, columns, rows, leading, stride)

    left, right, out = view(b, k, n, transb), view(a, m, k, transa), view(c, m, n, 0)
    if count == 1:
        left, right, out = left[0], right[0], out[0]
    counters.functions["matmul"] += 1
    on_device(lambda: np.matmul(left, right, out=out), reached=[a[0], b[0], c[0]])


def _matrices(
    address: int, dtype: np.dtype[Any], count: int, rows: int, columns: int, leading: int, stride: int
) -> np.ndarray[Any, Any]:
    """(count, rows, columns) of the memory at an address."""
    size = dtype.itemsize
    last = address + ((count - 1) * stride + (rows - 1) * leading + columns) * size
    if leading < columns or not any(
        each.begin <= address and last <= each.begin + each.nbytes for each in allocations_at({address})
    ):
        raise KernelError(
            f"cuBLAS was given {count} matrices of {rows} x {columns}, {leading} apart, that lie in no array"
        )
    memory: Any = (ctypes.c_char * (last - address)).from_address(address)
    values = np.frombuffer(memory, dtype)
    return np.lib.stride_tricks.as_strided(values, (count, rows, columns), (stride * size, leading * size, size))
