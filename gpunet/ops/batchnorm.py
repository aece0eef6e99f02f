"""Batch normalisation: each channel is brought to mean 0 and variance 1, then scaled and shifted by what is learnt.

    mean, var = over all rows, per channel                        x is (rows, C): every pixel of every image is a row
    xhat      = (x - mean) / sqrt(var + eps)
    y         = xhat * weight + bias
    dweight, dbias = sum(g * xhat), sum(g)                        going back
    dx        = scale * (g - mean(g) - xhat * mean(g * xhat))     scale = weight / sqrt(var + eps)

The two means in dx are what reaches x by way of the batch's mean and variance. The addition of a residual block and the
ReLU behind it may be part of the same passes over memory: y = relu(bn(x) + residual).

Ioffe and Szegedy, "Batch Normalization", 2015.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from gpunet.backend import Array, as_nchw, sum_over_tiles, tiles, to_nhwc, xp
from gpunet.backend.kernel_table import arithmetic_dtype
from gpunet.ops.activation import Masked, rectify_back
from gpunet.ops.operation import Operation
from gpunet.ops.passes import Pass
from gpunet.ops.reduction import WIDE, sum_rows
from gpunet.ops.waiting import Convolved, Normalised, computed, settle, wait

__all__ = [
    "BatchNorm",
    "BatchNormInference",
    "Channels",
    "Given",
    "Running",
    "Sums",
    "backward_sums",
    "channels",
    "gradients",
    "input_gradient",
    "moments",
    "move",
    "normalise",
    "resolved",
    "statistics",
]


class Channels(NamedTuple):
    """What the passes know of each channel, (C,): y = (x - center) * scale + shift. float32 where x is float16."""

    center: Array  # the mean, rounded; taken off first, so that nothing cancels where it is large
    inverse_std: Array
    scale: Array
    shift: Array  # the bias, and what rounding has left of the mean


class Given(NamedTuple):
    """A mean and a variance that are given, in evaluation the running ones, and what goes with them: each (C,)."""

    mean: Array
    var: Array
    weight: Array | None
    bias: Array | None
    eps: float


class Running(NamedTuple):
    """The running mean and variance (C,), if there are any; how far they move towards those of a batch; and a count.

    Without a momentum they are the plain mean over all batches, those that were counted and this one.
    """

    mean: Array = None
    var: Array = None
    momentum: float | None = 0.0
    batches: Array = None


class Sums(NamedTuple):
    """The gradients by bias and weight, and what dx is made of: mean(g) and mean(g * xhat) / std."""

    dbias: Array
    dweight: Array
    mean_gradient: Array
    slope: Array


@Pass
def moments(x: Array) -> tuple[Array, Array]:
    """Mean and biased variance per channel of x (N, ..., C): float64, (C,)."""
    count = x.size // x.shape[-1]
    (total,) = _tile_by_tile(lambda x: (sum_rows(x),), (x,))
    about = (total / count).astype(arithmetic_dtype(x.dtype))  # a large mean would cost sums of squares their digits

    def deviations(x: Array, center: Array) -> tuple[Array, Array]:
        deviation = x - center
        return sum_rows(deviation), sum_rows(deviation, deviation)

    offset, squares = (total / count for total in _tile_by_tile(deviations, (x,), (about,)))
    return about + offset, xp.maximum(squares - offset * offset, 0)


@Pass
def channels(mean: Array, var: Array, weight: Array | None, bias: Array | None, eps: float, like: Array) -> Channels:
    """What normalising by this mean and variance (C,) needs, for values of the type of `like`."""
    dtype = arithmetic_dtype(like.dtype)
    inverse_std = 1 / xp.sqrt(var.astype(xp.float64) + eps)
    scale = inverse_std if weight is None else inverse_std * weight
    center = mean.astype(dtype)
    rest = (center - mean) * scale
    shift = rest if bias is None else rest + bias
    return Channels(center, *(each.astype(dtype) for each in (inverse_std, scale, shift)))


def resolved(known: Channels | Given) -> Channels:
    """What follows from what is given."""
    return channels(*known, known.mean) if isinstance(known, Given) else known


@Pass
def normalise(x: Array, known: Channels | Given, residual: Array | None = None, relu: bool = False) -> Array:
    """Y = (x - center) * scale + shift, plus the residual if there is one, through a ReLU if wanted: like x."""
    known, y = resolved(known), xp.empty_like(x)

    def one_tile(y: Array, x: Array, residual: Array | None, center: Array, scale: Array, shift: Array) -> None:
        value = (x - center) * scale + shift  # in this order, so that the bits are those of one step after the other
        if residual is not None:
            value = value.astype(y.dtype, copy=False) + residual
        xp.clip(value, 0 if relu else -math.inf, math.inf, out=y)  # NaN stays NaN

    _tile_by_tile(one_tile, (y, x, residual), (known.center, known.scale, known.shift))
    return y


@Pass
def backward_sums(grad: Array, x: Array, known: Channels, relu_output: Array | None = None) -> Sums:
    """The sums over all rows that the gradients need, where `relu_output` is y if a ReLU was part of it."""

    def one_tile(grad: Array, x: Array, y: Array | None, center: Array) -> tuple[Array, Array]:
        g = grad if y is None else rectify_back(grad, y)
        return sum_rows(g), sum_rows(g, x - center)

    count = x.size // x.shape[-1]
    dbias, product = _tile_by_tile(one_tile, (grad, x, relu_output), (known.center,))
    dweight = product * known.inverse_std
    sums = (dbias, dweight, dbias / count, dweight * known.inverse_std / count)
    return Sums(*(each.astype(known.center.dtype) for each in sums))


@Pass
def input_gradient(grad: Array, x: Array, known: Channels, sums: Sums, relu_output: Array | None = None) -> Array:
    """Dx = scale * (g - mean(g) - xhat * mean(g * xhat)): like x."""
    dx = xp.empty_like(x)

    def one_tile(dx: Array, grad: Array, x: Array, y: Array | None, *vectors: Array) -> None:
        center, mean_gradient, slope, scale = vectors
        g = grad if y is None else rectify_back(grad, y)
        xp.multiply(g - mean_gradient - (x - center) * slope, scale, out=dx)

    vectors = (known.center, sums.mean_gradient, sums.slope, known.scale)
    _tile_by_tile(one_tile, (dx, grad, x, relu_output), vectors)
    return dx


@Pass
def gradients(grad: Array, x: Array, known: Channels, relu_output: Array | None = None) -> tuple[Sums, Array]:
    """All that goes back: the sums, and dx."""
    sums = backward_sums(grad, x, known, relu_output)
    return sums, input_gradient(grad, x, known, sums, relu_output)


def _tile_by_tile(work: Callable[..., Any], arrays: tuple[Any, ...], vectors: tuple[Array, ...] = ()) -> Any:
    """Call `work` on a few rows of the arrays (N, ..., C) at a time, and on what is known of their channels, (C,).

    Several pixels side by side are one row, (n, r*C) and (r*C,): NumPy's innermost loop is then long even if C is not.
    If `work` returns sums over its rows, they are added up: (C,), float64.
    """
    pixels, channels = arrays[0].size // arrays[0].shape[-1], arrays[0].shape[-1]
    side = next((r for r in range(WIDE // channels, 1, -1) if pixels % r == 0), 1)
    rows: list[Any] = [None if each is None else each.reshape(-1, side * channels) for each in arrays]
    repeated = [xp.tile(vector, side) for vector in vectors]

    def one_tile(some: slice) -> tuple[Array, ...]:
        sums = work(*(None if each is None else each[some] for each in rows), *repeated)
        return tuple(each.reshape(-1, channels).sum(axis=0) for each in sums or ())

    return sum_over_tiles(one_tile, tiles(len(rows[0]), rows[0][:1].nbytes))


@Pass
def statistics(
    x: Array, weight: Array | None, bias: Array | None, eps: float, running: Running
) -> tuple[Channels, Running]:
    """What normalising x (N, ..., C) by its own moments needs; and the running statistics, moved in place."""
    mean, var = moments(x)
    move(running, mean, var, x.size // x.shape[-1])
    return channels(mean, var, weight, bias, eps, x), running


def move(running: Running, mean: Array, var: Array, count: Any) -> None:
    """Move the running statistics, in place, towards the mean and the biased variance of so many rows."""
    if running.batches is not None:
        xp.add(running.batches, 1, out=running.batches)
    if running.mean is not None and running.var is not None:
        momentum = 1 / running.batches if running.momentum is None else running.momentum
        running.mean[...] = running.mean * (1 - momentum) + mean * momentum
        running.var[...] = running.var * (1 - momentum) + var * (count / (count - 1)) * momentum


class BatchNorm(Operation):
    """Training: normalises by the mean and the biased variance of the batch, towards which running statistics move.

    Inputs: x (N, C), (N, C, L) or (N, C, H, W), and perhaps weight and bias (C,). The last pass over x waits.
    """

    takes_waiting = True
    mixed, sums = "half input", True
    function, names = "batch_norm", ("input", "weight", "bias")

    def __init__(self, eps: float, running: Running | None = None) -> None:
        self.eps, self._running = eps, running or Running()

    def forward(self, x: Any, weight: Array | None = None, bias: Array | None = None) -> Any:
        x = to_nhwc(computed(x))  # (N, ..., C)
        running, self._running = self._running, Running()  # or the tape would take them for what the gradient needs
        if running.mean is not None:
            settle(running.mean, running.var)
        return self._normalise(x, statistics(x, weight, bias, self.eps, running)[0], weight)

    def _normalise(self, x: Array, known: Channels, weight: Array | None) -> Any:
        self.x, self.dtype, self.known = x, x.dtype if weight is None else weight.dtype, known
        return self._put_off(x, known, ())

    def _put_off(self, x: Array, known: Channels | Given, vectors: tuple[Array, ...]) -> Any:
        """The last pass over x, which waits, and will read these vectors, too."""
        shape, reads = as_nchw(x).shape, (x, *vectors)
        return wait(Normalised(self, shape, lambda *joined: as_nchw(normalise(x, known, *joined)), reads))

    def backward(self, grad: Any) -> tuple[Array, ...]:
        grad, y = grad.apart() if isinstance(grad, Masked) else (grad, None)
        grad, y = to_nhwc(grad), None if y is None else to_nhwc(y)
        sums, dx = self._gradients(grad, y)
        dweight, dbias = (each.astype(self.dtype, copy=False) for each in (sums.dweight, sums.dbias))
        return (as_nchw(dx), dweight, dbias)[: len(self.needs_grad)]

    def _gradients(self, grad: Array, y: Array | None) -> tuple[Sums, Array]:
        return gradients(grad, self.x, self.known, y)


class BatchNormInference(BatchNorm):
    """Evaluation: normalises by statistics that are given, which makes it a fixed affine map of x."""

    def __init__(self, eps: float, mean: Array, var: Array) -> None:
        super().__init__(eps)
        self.given = mean, var

    def forward(self, x: Any, weight: Array | None = None, bias: Array | None = None) -> Any:
        given = Given(*self.given, weight, bias, self.eps)
        if any(self.needs_grad):
            return self._normalise(to_nhwc(computed(x)), resolved(given), weight)
        vectors = tuple(each for each in given[:4] if each is not None)
        if isinstance(x, Convolved) and (joined := x.normalised(self, given, vectors)) is not None:
            return joined
        return self._put_off(to_nhwc(computed(x)), given, vectors)

    def _gradients(self, grad: Array, y: Array | None) -> tuple[Sums, Array]:
        zero = xp.zeros_like(self.known.shift)
        g = grad if y is None else rectify_back(grad, y)
        dx = normalise(g, self.known._replace(center=zero, shift=zero))  # g * scale
        return backward_sums(grad, self.x, self.known, y), dx
