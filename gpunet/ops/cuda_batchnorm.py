"""Batch normalisation on a GPU: the passes of `batchnorm.py`, each in one launch.

Every array of values, (N, ..., C), is C-contiguous, and seen as M rows of C channels. The ReLU that may follow and the
residual that may be added before it are part of the same pass over memory. The kernels are in raw_kernels/batchnorm.cu.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

from gpunet.backend import Array, active_backend, xp
from gpunet.backend.kernel_table import (
    BATCH_NORM_CHANNELS,
    BATCH_NORM_INFERENCE,
    BATCH_NORM_INPUT_GRADIENT,
    BATCH_NORM_NORMALISE,
    BATCH_NORM_STATISTICS,
    BATCH_NORM_SUMS,
    Kernel,
    arithmetic_dtype,
)
from gpunet.backend.kernels import BLOCK, launch, vector_width
from gpunet.backend.recording import recording
from gpunet.ops import batchnorm
from gpunet.ops.batchnorm import Channels, Given, Running, Sums, resolved

__all__ = ["Share", "share_among_blocks"]

MOST_LANES = 32  # packs side by side in a block: a warp
MOST_BLOCKS = 1024  # of a sum: enough for any GPU
FEWEST_ROWS = 32  # of one thread in a sum, where there are that many: fewer partial results
PASS_ROWS = 8  # of one thread in a pass that adds nothing up


class Share(NamedTuple):
    """How the rows and channels are shared among blocks; batchnorm.cu has the picture."""

    rows: int
    channels: int
    lanes: int
    chunk_rows: int
    chunks: int
    groups: int
    vector: int

    @property
    def threads(self) -> int:
        """Of all blocks together."""
        return self.chunks * self.groups * BLOCK


def share_among_blocks(x: Array, arrays: tuple[Array, ...], summing: bool) -> Share:
    """How the kernels share x (N, ..., C); the arrays are what they read and write beside it."""
    channels = x.shape[-1]
    rows = x.size // channels if channels else 0
    vector = vector_width(channels, x, *arrays)
    packs = channels // vector
    lanes = min(MOST_LANES, 1 << max(0, packs - 1).bit_length())  # a power of two
    groups = -(-packs // lanes)
    per_thread = FEWEST_ROWS if summing else PASS_ROWS
    chunk_rows = per_thread * (BLOCK // lanes)
    chunks = -(-rows // chunk_rows)
    if summing and chunks * groups > MOST_BLOCKS:
        chunk_rows = -(-rows // max(1, MOST_BLOCKS // groups))
        chunks = -(-rows // chunk_rows)
    return Share(rows, channels, lanes, chunk_rows, chunks, groups, vector)


def _launch_sums(kernel: Kernel, share: Share, before: tuple[Any, ...], after: tuple[Any, ...], *numbers: Any) -> None:
    """Launch a kernel that sums over rows; it is given memory for what blocks leave to the last of their channels."""
    partial = xp.empty((2, share.chunks, share.channels), dtype=xp.float64)
    finished = _finished(share.groups)
    cut = (share.rows, share.channels, share.lanes, share.chunk_rows, share.chunks)
    try:
        arrays = (*before, partial[0], partial[1], finished, *after)
        launch(kernel, *arrays, *cut, *numbers, threads=share.threads, vector=share.vector)
    except Exception:
        _of_stream.cache_clear()  # what it counts is unknown
        raise


def _finished(groups: int) -> Array:
    """How many blocks of each group have left what they found: 0 whenever no kernel of the stream is running."""
    now = recording()
    if now is None:
        return _of_stream(active_backend(), xp.cuda.get_current_stream().ptr, groups)
    purpose = "blocks that have finished", groups  # a graph begins at 0 each time, whatever became of others
    if purpose not in now.memory:
        now.memory[purpose] = xp.zeros(groups, dtype=xp.int64)
    return now.memory[purpose]


@functools.cache
def _of_stream(backend: str, stream: int, groups: int) -> Array:
    return xp.zeros(groups, dtype=xp.int64)


@batchnorm.moments.on("cuda")
def _(x: Array) -> tuple[Array, Array]:
    """Mean and biased variance per channel of x (N, ..., C), with at least one row: float64, (C,)."""
    return _statistics(x, None, None, 0.0, Running())[:2]


def _fit(dtype: Any, weight: Array | None, bias: Array | None, *others: Array | None) -> bool:
    """Whether vectors are of this type, each in one piece, and weight and bias both there or both not."""
    given = [each for each in (weight, bias, *others) if each is not None]
    return (weight is None) == (bias is None) and all(each.dtype == dtype and each.flags.c_contiguous for each in given)


def _are_for_statistics(x: Array, weight: Array | None, bias: Array | None, eps: float, running: Running) -> bool:
    moves = running.momentum is not None  # without one how far depends on a count, which is on the device
    return moves and _fit(arithmetic_dtype(x.dtype), weight, bias, running.mean, running.var)


def _are_for_channels(
    mean: Array, var: Array, weight: Array | None, bias: Array | None, eps: float, like: Array
) -> bool:
    return arithmetic_dtype(mean.dtype) == arithmetic_dtype(like.dtype) and _fit(mean.dtype, weight, bias, mean, var)


@batchnorm.statistics.on("cuda", takes=_are_for_statistics)
def _(x: Array, weight: Array | None, bias: Array | None, eps: float, running: Running) -> tuple[Channels, Running]:
    """What normalising x (N, ..., C) by its own moments needs; and the running statistics, moved in place."""
    return _statistics(x, weight, bias, eps, running)[2], running


def _statistics(
    x: Array, weight: Array | None, bias: Array | None, eps: float, running: Running
) -> tuple[Array, Array, Channels]:
    share = share_among_blocks(x, (), summing=True)
    mean, var = xp.empty((2, share.channels), dtype=xp.float64)
    made = _empty_channels(share.channels, x)
    given = (weight, bias, running.mean, running.var)
    stand_in = made.center  # of the right type, and not looked at
    before = (x, *(stand_in if each is None else each for each in given))
    counted = running.batches is not None
    batches = running.batches if counted else _finished(1)  # not looked at
    flags = (int(weight is not None), int(running.mean is not None), int(counted))
    _launch_sums(BATCH_NORM_STATISTICS, share, (*before, batches), (mean, var, *made), eps, running.momentum, *flags)
    return mean, var, made


@batchnorm.channels.on("cuda", takes=_are_for_channels)
def _(mean: Array, var: Array, weight: Array | None, bias: Array | None, eps: float, like: Array) -> Channels:
    """What normalising by this mean and variance (C,) needs, for values of the type of `like`."""
    made = _empty_channels(len(mean), like)
    vectors = (mean, var) if weight is None else (weight, bias)  # not looked at
    launch(BATCH_NORM_CHANNELS, mean, var, *vectors, *made, len(mean), eps, int(weight is not None), threads=len(mean))
    return made


def _empty_channels(count: int, like: Array) -> Channels:
    return Channels(*(xp.empty(count, dtype=arithmetic_dtype(like.dtype)) for _ in range(4)))


def _is_given(x: Array, known: Channels | Given, residual: Array | None = None, relu: bool = False) -> bool:
    return isinstance(known, Given) and _fit(arithmetic_dtype(x.dtype), known.weight, known.bias, *known[:2])


@batchnorm.normalise.on("cuda", takes=_is_given)
def _(x: Array, known: Given, residual: Array | None = None, relu: bool = False) -> Array:
    """Y = (x - mean) / sqrt(var + eps) * weight + bias, plus the residual, through a ReLU: like x."""
    affine = known.weight is not None
    vectors = (known.mean, known.var, *((known.weight, known.bias) if affine else (known.mean, known.var)))
    return _normalise(BATCH_NORM_INFERENCE, x, vectors, residual, relu, known.eps, int(affine))


@batchnorm.normalise.on("cuda")
def _(x: Array, known: Channels | Given, residual: Array | None = None, relu: bool = False) -> Array:
    """Y = (x - center) * scale + shift, plus the residual if there is one, through a ReLU if wanted: like x."""
    known = resolved(known)
    return _normalise(BATCH_NORM_NORMALISE, x, (known.center, known.scale, known.shift), residual, relu)


def _normalise(
    kernel: Kernel, x: Array, vectors: tuple[Array, ...], residual: Array | None, relu: bool, *numbers: Any
) -> Array:
    y = xp.empty_like(x)
    other = x if residual is None else residual  # x: not looked at
    share = share_among_blocks(x, (y, other, *vectors), summing=False)
    cut = (share.rows, share.channels, share.lanes, share.chunk_rows)
    flags = (int(residual is not None), int(relu))
    launch(kernel, x, other, y, *vectors, *cut, *numbers, *flags, threads=share.threads, vector=share.vector)
    return y


@batchnorm.backward_sums.on("cuda")
def _(grad: Array, x: Array, known: Channels, relu_output: Array | None = None) -> Sums:
    """The sums over all rows that the gradients need, where `relu_output` is y if a ReLU was part of it."""
    y = x if relu_output is None else relu_output  # x: not looked at
    share = share_among_blocks(x, (grad, y, known.center), summing=True)
    sums = Sums(*(xp.empty(share.channels, dtype=known.center.dtype) for _ in range(4)))
    before = (grad, x, y, known.center, known.inverse_std)
    _launch_sums(BATCH_NORM_SUMS, share, before, sums, int(relu_output is not None))
    return sums


@batchnorm.input_gradient.on("cuda")
def _(grad: Array, x: Array, known: Channels, sums: Sums, relu_output: Array | None = None) -> Array:
    """The gradient by x."""
    dx = xp.empty_like(x)
    y = x if relu_output is None else relu_output  # x: not looked at
    arrays = (grad, x, y, dx, known.center, known.scale, sums.mean_gradient, sums.slope)
    share = share_among_blocks(x, arrays, summing=False)
    cut = (share.rows, share.channels, share.lanes, share.chunk_rows)
    flags = (int(relu_output is not None),)
    launch(BATCH_NORM_INPUT_GRADIENT, *arrays, *cut, *flags, threads=share.threads, vector=share.vector)
    return dx
