"""Sums over rows on a CPU: the launcher of raw_kernels/cpu/reduction.h, and how all kernels that sum cut their rows."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np

from gpunet.backend import Array, xp
from gpunet.backend.cpu_kernels import MOVED, CpuKernel, launch
from gpunet.ops.passes import is_float32
from gpunet.ops.reduction import sum_rows

__all__ = ["VECTOR", "Cut", "cut"]

SUM_ROWS = CpuKernel("sum_rows", "const float* x, double* partial, i64 numbers, i64 width, i64 chunk_rows, i64 chunks")

NARROWEST = 64  # numbers of a row: the registers' block of vectors
VECTOR = 16  # numbers of the widest vector of any build
FEW = 64  # rows, as in reduction.h
CHUNK = 1 << 16  # numbers that are worth partial sums of their own
CHUNKS = 64  # at most: partial sums take time to merge


class Cut(NamedTuple):
    """How rows of a few numbers become rows of `width`, the last of which may end early, and those become chunks."""

    width: int
    rows: int
    chunk_rows: int
    chunks: int


@functools.lru_cache(maxsize=1024)
def cut(rows: int, columns: int) -> Cut:
    """By the shape alone, so that sums have the same bits on every CPU and for any number of threads."""
    side = VECTOR // math.gcd(columns, VECTOR)  # rows side by side, so that they fill whole vectors
    width = columns * side * -(-NARROWEST // (columns * side))
    wide = -(-rows * columns // width)
    blocks = -(-wide // FEW)
    chunks = max(1, min(CHUNKS, blocks, rows * columns // CHUNK))
    chunk_rows = -(-blocks // chunks) * FEW
    return Cut(width, wide, chunk_rows, max(1, -(-wide // chunk_rows)))


@sum_rows.on("cpu", takes=lambda x, factor=None: factor is None and is_float32(x) and x.size > 0)
def _(x: Array, factor: None = None) -> Array:
    *outer, rows, columns = x.shape
    how, matrices = cut(rows, columns), math.prod(outer)
    partial = xp.empty((matrices, how.chunks, how.width), dtype=np.float64)
    numbers = (rows * columns, how.width, how.chunk_rows, how.chunks)
    launch(SUM_ROWS.prepare(*numbers, items=matrices * how.chunks, work=MOVED * x.size), x, partial)
    if how.width == columns and how.chunks == 1:
        return partial.reshape(*outer, columns)
    return partial.reshape(*outer, how.chunks * how.width // columns, columns).sum(axis=-2)
