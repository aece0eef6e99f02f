"""Batch normalisation on a GPU: the passes of `batchnorm.py`, each in one or two launches.

Every array of values, (N, ..., C), is C-contiguous, and seen as M rows of C channels. The ReLU that may follow and the
residual that may be added before it are part of the same pass over memory. The kernels are in raw_kernels/batchnorm.cu.
"""

from __future__ import annotations

from typing import NamedTuple

from gpunet.backend import Array, xp
from gpunet.backend.kernel_table import (
    BATCH_NORM_CHANNELS,
    BATCH_NORM_INPUT_GRADIENT,
    BATCH_NORM_MERGE_MOMENTS,
    BATCH_NORM_MERGE_SUMS,
    BATCH_NORM_MOMENTS,
    BATCH_NORM_NORMALISE,
    BATCH_NORM_SUMS,
    arithmetic_dtype,
)
from gpunet.backend.kernels import BLOCK, launch, vector_width
from gpunet.ops import batchnorm
from gpunet.ops.batchnorm import Channels, Running, Sums

__all__ = ["Share", "lanes_and_groups", "share_among_blocks"]

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
    lanes, groups = lanes_and_groups(channels // vector)
    per_thread = FEWEST_ROWS if summing else PASS_ROWS
    chunk_rows = per_thread * (BLOCK // lanes)
    chunks = -(-rows // chunk_rows)
    if summing and chunks * groups > MOST_BLOCKS:
        chunk_rows = -(-rows // max(1, MOST_BLOCKS // groups))
        chunks = -(-rows // chunk_rows)
    return Share(rows, channels, lanes, chunk_rows, chunks, groups, vector)


def lanes_and_groups(packs: int) -> tuple[int, int]:
    """How many packs lie side by side in a block, a power of two, and how many groups of that many there are."""
    lanes = min(MOST_LANES, 1 << max(0, packs - 1).bit_length())
    return lanes, -(-packs // lanes)


@batchnorm.moments.on("cuda")
def _(x: Array) -> tuple[Array, Array]:
    """Mean and biased variance per channel of x (N, ..., C), with at least one row: float64, (C,)."""
    return _moments(x, None, None, 0.0, Running())[:2]


def _fit(x: Array, *vectors: Array | None) -> bool:
    """Whether all vectors are of one type, in which what x is computed in can be told, and lie in one piece."""
    given = [each for each in vectors if each is not None]
    return all(
        each.dtype == given[0].dtype
        and arithmetic_dtype(each.dtype) == arithmetic_dtype(x.dtype)
        and each.flags.c_contiguous
        for each in given
    )


def _are_for_statistics(x: Array, weight: Array | None, bias: Array | None, eps: float, running: Running) -> bool:
    return (weight is None) == (bias is None) and _fit(x, weight, bias, *running[:2])


def _are_for_channels(
    mean: Array, var: Array, weight: Array | None, bias: Array | None, eps: float, like: Array
) -> bool:
    return (weight is None) == (bias is None) and _fit(like, mean, var, weight, bias)


@batchnorm.statistics.on("cuda", takes=_are_for_statistics)
def _(x: Array, weight: Array | None, bias: Array | None, eps: float, running: Running) -> tuple[Channels, Running]:
    """What normalising x (N, ..., C) by its own moments needs; and the running statistics, moved in place."""
    return _moments(x, weight, bias, eps, running)[2], running


def _moments(
    x: Array, weight: Array | None, bias: Array | None, eps: float, running: Running
) -> tuple[Array, Array, Channels]:
    share = share_among_blocks(x, (), summing=True)
    partial_mean, partial_squares = (xp.empty((share.chunks, share.channels), dtype=xp.float64) for _ in range(2))
    mean, var = (xp.empty(share.channels, dtype=xp.float64) for _ in range(2))
    made = _empty_channels(share.channels, x)
    cut = (share.rows, share.channels, share.lanes, share.chunk_rows)
    launch(BATCH_NORM_MOMENTS, x, partial_mean, partial_squares, *cut, threads=share.threads, vector=share.vector)
    lanes, groups = lanes_and_groups(share.channels)
    cut = (share.rows, share.channels, lanes, share.chunk_rows)
    given = (weight, bias, running.mean, running.var)
    stand_in = next((each for each in given if each is not None), x)  # of the right type, and not looked at
    arrays = (partial_mean, partial_squares, *(stand_in if each is None else each for each in given), mean, var, *made)
    flags = (int(weight is not None), int(running.mean is not None))
    numbers = (*cut, share.chunks, eps, running.momentum, *flags)
    launch(BATCH_NORM_MERGE_MOMENTS, *arrays, *numbers, threads=groups * BLOCK)
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


@batchnorm.normalise.on("cuda")
def _(x: Array, known: Channels, residual: Array | None = None, relu: bool = False) -> Array:
    """Y = (x - center) * scale + shift, plus the residual if there is one, through a ReLU if wanted: like x."""
    y = xp.empty_like(x)
    other = x if residual is None else residual  # x: not looked at
    vectors = (known.center, known.scale, known.shift)
    share = share_among_blocks(x, (y, other, *vectors), summing=False)
    cut = (share.rows, share.channels, share.lanes, share.chunk_rows)
    flags = (int(residual is not None), int(relu))
    launch(BATCH_NORM_NORMALISE, x, other, y, *vectors, *cut, *flags, threads=share.threads, vector=share.vector)
    return y


@batchnorm.backward_sums.on("cuda")
def _(grad: Array, x: Array, known: Channels, relu_output: Array | None = None) -> Sums:
    """The sums over all rows that the gradients need, where `relu_output` is y if a ReLU was part of it."""
    y = x if relu_output is None else relu_output  # x: not looked at
    share = share_among_blocks(x, (grad, y, known.center), summing=True)
    partial = [xp.empty((share.chunks, share.channels), dtype=xp.float64) for _ in range(2)]
    cut = (share.rows, share.channels, share.lanes, share.chunk_rows)
    flags = (int(relu_output is not None),)
    launch(
        BATCH_NORM_SUMS, grad, x, y, known.center, *partial, *cut, *flags, threads=share.threads, vector=share.vector
    )
    sums = Sums(*(xp.empty(share.channels, dtype=known.center.dtype) for _ in range(4)))
    lanes, groups = lanes_and_groups(share.channels)
    cut = (share.rows, share.channels, lanes, share.chunks)
    launch(BATCH_NORM_MERGE_SUMS, *partial, known.inverse_std, *sums, *cut, threads=groups * BLOCK)
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
