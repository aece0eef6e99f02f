"""Batch normalisation on a CPU: the launchers of raw_kernels/cpu/batchnorm.h, for float32."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.backend import Array, xp
from gpunet.backend.cpu_kernels import LEAST_WORK, MOVED, CpuKernel, Launch, launch
from gpunet.ops import batchnorm
from gpunet.ops.batchnorm import Channels, Given, Running, Sums, resolved
from gpunet.ops.cpu_reduction import VECTOR, Cut, cut
from gpunet.ops.passes import is_float32

MOMENTS = CpuKernel(
    "batch_norm_moments",
    "const float* x, const float*? center, const float*? weight, const float*? bias, "
    "const float*? running_mean, const float*? running_var, double* partial, float*? known, int* state, "
    "i64 numbers, i64 width, i64 channels, i64 chunk_rows, i64 chunks, double eps, double momentum",
)
NORMALISE = CpuKernel(
    "batch_norm_normalise",
    "const float* x, const float* center, const float* scale, const float* shift, const float*? residual, float* y, "
    "i64 numbers, i64 width, i64 period, i64 relu",
)
SUMS = CpuKernel(
    "batch_norm_sums",
    "const float* grad, const float* x, const float*? y, const float* center, const float* inverse_std, "
    "double* partial, float* sums, int* state, "
    "i64 numbers, i64 width, i64 channels, i64 chunk_rows, i64 chunks",
)
INPUT_GRADIENT = CpuKernel(
    "batch_norm_input_gradient",
    "const float* grad, const float* x, const float*? y, const float* center, const float* mean_gradient, "
    "const float* slope, const float* scale, float* dx, "
    "i64 numbers, i64 width, i64 period",
)

BACKWARD = CpuKernel(
    "batch_norm_backward",
    "const float* grad, const float* x, const float*? y, const float* center, const float* inverse_std, "
    "const float* scale, double* partial, float* sums, int* state, float* dx, "
    "i64 numbers, i64 width, i64 channels, i64 chunk_rows, i64 chunks",
)


@batchnorm.moments.on("cpu", takes=is_float32)
def _(x: Array) -> tuple[Array, Array]:
    return _moments(x, (None, None, None, None), None, (0.0, 0.0))


def _takes_statistics(x: Array, weight: Any, bias: Any, eps: float, running: Running) -> bool:
    return running.momentum is not None and is_float32(x, weight, bias, running.mean, running.var)


@batchnorm.statistics.on("cpu", takes=_takes_statistics)
def _(x: Array, weight: Array | None, bias: Array | None, eps: float, running: Running) -> tuple[Channels, Running]:
    known = xp.empty((6, x.shape[-1]), dtype=x.dtype)
    vectors = [each if each is None else xp.ascontiguousarray(each) for each in (weight, bias, *running[:2])]
    _moments(x, vectors, known, (eps, running.momentum or 0.0))
    if running.mean is not None and running.var is not None:
        running.mean[...], running.var[...] = known[4:]
    if running.batches is not None:
        xp.add(running.batches, 1, out=running.batches)
    return Channels(*known[:4]), running


def _moments(
    x: Array, vectors: Sequence[Array | None], known: Array | None, settings: tuple[float, float]
) -> tuple[Array, Array]:
    """Mean and variance; what follows from them for the vectors goes to `known`."""
    channels = x.shape[-1]
    how = cut(x.size // channels, channels)
    partial = xp.empty((how.chunks, 2, how.width), dtype=np.float64)
    mean, var = partial[0, :, :channels]
    prepared = _over_chunks(MOMENTS, x.size, channels, *settings)

    def lost_digits(center: Array | None) -> bool:
        state = xp.zeros(2, dtype=xp.int32)
        arrays = (x, center, *vectors, partial, known, state)
        launch(prepared, *arrays)
        return bool(state[1])

    if lost_digits(None):  # the mean is so large that sums of x^2 do not say the variance
        lost_digits(_repeat(mean.astype(np.float32), how))
    return mean, var


@batchnorm.normalise.on("cpu", takes=is_float32)
def _(x: Array, known: Channels | Given, residual: Array | None = None, relu: bool = False) -> Array:
    known = resolved(known)
    how, y = cut(x.size // x.shape[-1], x.shape[-1]), xp.empty_like(x)
    vectors = _whole_vectors((known.center, known.scale, known.shift), how)
    launch(_over_rows(NORMALISE, x.size, x.shape[-1], int(relu)), x, *vectors, residual, y)
    return y


@batchnorm.backward_sums.on("cpu", takes=is_float32)
def _(grad: Array, x: Array, known: Channels, relu_output: Array | None = None) -> Sums:
    channels = x.shape[-1]
    how = cut(x.size // channels, channels)
    partial = xp.empty((how.chunks, 2, how.width), dtype=np.float64)
    sums = xp.empty((4, channels), dtype=np.float32)
    arrays = (grad, x, relu_output, _repeat(known.center, how), known.inverse_std, partial, sums)
    launch(_over_chunks(SUMS, x.size, channels), *arrays, xp.zeros(1, dtype=xp.int32))
    return Sums(*sums)


@batchnorm.input_gradient.on("cpu", takes=is_float32)
def _(grad: Array, x: Array, known: Channels, sums: Sums, relu_output: Array | None = None) -> Array:
    how, dx = cut(x.size // x.shape[-1], x.shape[-1]), xp.empty_like(x)
    vectors = _whole_vectors((known.center, sums.mean_gradient, sums.slope, known.scale), how)
    arrays = (grad, x, relu_output, *vectors, dx)
    launch(_over_rows(INPUT_GRADIENT, x.size, x.shape[-1]), *arrays)
    return dx


def _is_small(grad: Array, x: Array, known: Channels, relu_output: Array | None = None) -> bool:
    """Whether one thread does it all, and channels are whole vectors."""
    small = MOVED * x.size < 2 * LEAST_WORK and x.shape[-1] % VECTOR == 0
    return small and is_float32(grad, x, relu_output)


@batchnorm.gradients.on("cpu", takes=_is_small)
def _(grad: Array, x: Array, known: Channels, relu_output: Array | None = None) -> tuple[Sums, Array]:
    channels, dx = x.shape[-1], xp.empty_like(x)
    how = cut(x.size // channels, channels)
    partial = xp.empty((how.chunks, 2, how.width), dtype=np.float64)
    sums = xp.empty((4, channels), dtype=np.float32)
    before = (grad, x, relu_output, _repeat(known.center, how), known.inverse_std, known.scale)
    launch(_at_once(x.size, channels), *before, partial, sums, xp.zeros(1, dtype=xp.int32), dx)
    return Sums(*sums), dx


@functools.lru_cache(maxsize=1024)
def _at_once(size: int, channels: int) -> Launch:
    how = cut(size // channels, channels)
    return BACKWARD.prepare(size, how.width, channels, how.chunk_rows, how.chunks, items=1, work=MOVED * size)


@functools.lru_cache(maxsize=1024)
def _over_chunks(kernel: CpuKernel, size: int, channels: int, *settings: float) -> Launch:
    how = cut(size // channels, channels)
    numbers = (size, how.width, channels, how.chunk_rows, how.chunks, *settings)
    return kernel.prepare(*numbers, items=how.chunks, work=MOVED * size)


@functools.lru_cache(maxsize=1024)
def _over_rows(kernel: CpuKernel, size: int, channels: int, *settings: int) -> Launch:
    how = cut(size // channels, channels)
    period = channels if channels % VECTOR == 0 else how.width
    return kernel.prepare(size, how.width, period, *settings, items=how.rows, work=MOVED * size)


def _whole_vectors(known: tuple[Array, ...], how: Cut) -> tuple[Array, ...]:
    """What is known of the channels, so that it begins anew never within a vector."""
    return known if len(known[0]) % VECTOR == 0 else tuple([_repeat(each, how) for each in known])


def _repeat(vector: Array | None, how: Cut) -> Array | None:
    """What is known of the channels, for all numbers of a row: (C,) -> (width,)."""
    if vector is None or len(vector) == how.width:
        return vector
    return xp.concatenate([vector] * (how.width // len(vector)))
