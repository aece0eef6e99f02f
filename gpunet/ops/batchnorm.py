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

from gpunet.backend import Array, run_tiles, tiles, xp
from gpunet.backend.kernel_table import arithmetic_dtype
from gpunet.ops import activation
from gpunet.ops.operation import Operation
from gpunet.ops.passes import Pass
from gpunet.ops.reduction import sum_rows
from gpunet.ops.waiting import Convolved, Normalised, computed, wait

__all__ = [
    "BatchNorm",
    "BatchNormInference",
    "Channels",
    "Sums",
    "backward_sums",
    "channels",
    "input_gradient",
    "moments",
    "normalise",
    "running_statistics",
]

ROW_LENGTH = 1024  # numbers: so many let NumPy's innermost loop run, and vectors of it stay in the first-level cache


class Channels(NamedTuple):
    """What the passes know of each channel, (C,): y = (x - center) * scale + shift. float32 where x is float16."""

    center: Array  # the mean, rounded; taken off first, so that nothing cancels where it is large
    inverse_std: Array
    scale: Array
    shift: Array  # the bias, and what rounding has left of the mean


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
    (total,) = _sums(lambda x: (sum_rows(x),), x)
    about = (total / count).astype(arithmetic_dtype(x.dtype))  # a large mean would cost sums of squares their digits
    center = _per_row(about, x)

    def deviations(x: Array) -> tuple[Array, Array]:
        deviation = x - center
        return sum_rows(deviation), sum_rows(deviation, deviation)

    offset, squares = (total / count for total in _sums(deviations, x))
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


@Pass
def normalise(x: Array, known: Channels, residual: Array | None = None, relu: bool = False) -> Array:
    """Y = (x - center) * scale + shift, plus the residual if there is one, through a ReLU if wanted: like x."""
    y = xp.empty_like(x)
    center, scale, shift = (_per_row(each, x) for each in (known.center, known.scale, known.shift))

    def one_tile(y: Array, x: Array, residual: Array | None) -> None:
        value = (x - center) * scale
        if residual is None:
            xp.add(value, shift, out=y)
        else:  # in this order, so that the bits are those of one step after the other
            value += shift
            xp.add(value, residual, out=y)
        if relu:
            activation.relu(y, out=y)

    _tile_by_tile(one_tile, y, x, residual)
    return y


@Pass
def backward_sums(grad: Array, x: Array, known: Channels, relu_output: Array | None = None, dtype: Any = None) -> Sums:
    """The sums over all rows that the gradients need, where `relu_output` is y if a ReLU was part of it.

    The gradients by bias and weight are of the type of x, or of `dtype`: that of weight and bias.
    """
    count = x.size // x.shape[-1]
    center = _per_row(known.center, x)

    def products(grad: Array, x: Array, y: Array | None) -> tuple[Array, Array]:
        g = _behind_relu(grad, y)
        return sum_rows(g), sum_rows(g, x - center)

    dbias, product = _sums(products, grad, x, relu_output)
    dweight = product * known.inverse_std
    slope = dweight * known.inverse_std / count
    gradients = (each.astype(dtype or x.dtype) for each in (dbias, dweight))
    return Sums(*gradients, *(each.astype(known.center.dtype) for each in (dbias / count, slope)))


@Pass
def input_gradient(
    grad: Array, x: Array, known: Channels, sums: Sums, relu_output: Array | None = None, residual: bool = False
) -> tuple[Array, Array | None]:
    """Dx = scale * (g - mean(g) - xhat * mean(g * xhat)); and g, the gradient by the residual, if there was one."""
    dx, dresidual = xp.empty_like(x), xp.empty_like(x) if residual else None
    center, scale, mean_gradient, slope = (
        _per_row(each, x) for each in (known.center, known.scale, sums.mean_gradient, sums.slope)
    )

    def one_tile(dx: Array, dresidual: Array | None, grad: Array, x: Array, y: Array | None) -> None:
        g = _behind_relu(grad, y)
        if dresidual is not None:
            dresidual[...] = g
        xp.multiply(g - mean_gradient - (x - center) * slope, scale, out=dx)

    _tile_by_tile(one_tile, dx, dresidual, grad, x, relu_output)
    return dx, dresidual


def _behind_relu(grad: Array, y: Array | None) -> Array:
    return grad if y is None else activation.rectify_back(grad, y)


def _sums(work: Callable[..., tuple[Array, ...]], x: Array, *others: Array | None) -> list[Array]:
    """What `work` sums over the rows of the arrays, for all rows and per channel: float64, (C,)."""
    parts = zip(*_tile_by_tile(work, x, *others), strict=True)
    return [sum(each).reshape(-1, x.shape[-1]).sum(axis=0) for each in parts]


def _tile_by_tile(work: Callable[..., Any], x: Array, *others: Array | None) -> list[Any]:
    """Call `work` on a few images of the arrays (N, ..., C) at a time, as rows of r pixels: (n*P/r, r*C)."""
    length = _pixels_per_row(x) * x.shape[-1]

    def one_tile(batch: slice) -> Any:
        return work(*(None if each is None else each[batch].reshape(-1, length) for each in (x, *others)))

    return run_tiles(one_tile, tiles(len(x), x.nbytes // len(x)))


def _per_row(vector: Array, x: Array) -> Array:
    """A number for each channel, repeated for the pixels of a row: (C,) -> (r*C,)."""
    return xp.tile(vector, _pixels_per_row(x))


def _pixels_per_row(x: Array) -> int:
    """How many pixels are taken together, so that NumPy's innermost loop is long also over few channels."""
    pixels, channels = math.prod(x.shape[1:-1]), x.shape[-1]
    return next((r for r in range(ROW_LENGTH // channels, 1, -1) if pixels % r == 0), 1)


@Pass
def running_statistics(
    running_mean: Array, running_var: Array, mean: Array, var: Array, unbiased: float, momentum: float
) -> tuple[Array, Array]:
    """The running mean and variance, moved towards those of a batch; `unbiased` is n / (n - 1)."""
    moved_mean = running_mean * (1 - momentum) + mean * momentum
    moved_var = running_var * (1 - momentum) + var * unbiased * momentum
    return moved_mean.astype(running_mean.dtype), moved_var.astype(running_var.dtype)


class _BatchNorm(Operation):
    """Inputs: x (N, C), (N, C, L) or (N, C, H, W), and perhaps weight and bias (C,). The last pass over x waits."""

    takes_waiting = True
    mixed, sums = "half input", True
    function, names = "batch_norm", ("input", "weight", "bias")

    def __init__(self, eps: float) -> None:
        self.eps = eps

    def _put_off(self, x: Array, mean: Array, var: Array, weight: Array | None, bias: Array | None) -> Any:
        self.x = x  # (N, ..., C)
        self.known = known = channels(mean, var, weight, bias, self.eps, x)
        self.dtype = x.dtype if weight is None else weight.dtype

        def run(residual: Array | None, relu: bool) -> Array:
            others = None if residual is None else _channels_last(residual)
            return _channels_second(normalise(x, known, others, relu))

        return wait(Normalised(self, _channels_second(x).shape, run, (x,)))

    def _gradients(self, sums: Sums, dx: Array) -> tuple[Array, ...]:
        return (_channels_second(dx), sums.dweight, sums.dbias)[: len(self.needs_grad)]


class BatchNorm(_BatchNorm):
    """Training: normalises by the mean and the biased variance of the batch, which stay readable afterwards."""

    def forward(self, x: Any, weight: Array | None = None, bias: Array | None = None) -> Any:
        x = _channels_last(computed(x))
        self.batch_mean, self.batch_var = moments(x)  # (C,), float64
        return self._put_off(x, self.batch_mean, self.batch_var, weight, bias)

    def backward(self, grad: Any) -> tuple[Array, ...]:
        grad, y = grad.apart() if isinstance(grad, activation.Masked) else (grad, None)
        grad, y = _channels_last(grad), None if y is None else _channels_last(y)
        sums = backward_sums(grad, self.x, self.known, y, self.dtype)
        dx, _ = input_gradient(grad, self.x, self.known, sums, y)
        return self._gradients(sums, dx)


class BatchNormInference(_BatchNorm):
    """Evaluation: normalises by statistics that are given, which makes it a fixed affine map of x."""

    def __init__(self, eps: float, mean: Array, var: Array) -> None:
        super().__init__(eps)
        self.given_mean, self.given_var = mean, var

    def forward(self, x: Any, weight: Array | None = None, bias: Array | None = None) -> Any:
        if isinstance(x, Convolved) and not any(self.needs_grad):
            known = channels(self.given_mean, self.given_var, weight, bias, self.eps, self.given_mean)
            if (joined := x.normalised(self, known)) is not None:
                return joined
        return self._put_off(_channels_last(computed(x)), self.given_mean, self.given_var, weight, bias)

    def backward(self, grad: Any) -> tuple[Array, ...]:
        grad = _channels_last(computed(grad))
        sums = backward_sums(grad, self.x, self.known, None, self.dtype)
        zero = xp.zeros_like(self.known.shift)
        dx = normalise(grad, self.known._replace(center=zero, shift=zero))  # grad * scale
        return self._gradients(sums, dx)


def _channels_last(x: Array) -> Array:
    """(N, C, ...) as contiguous (N, ..., C)."""
    return xp.ascontiguousarray(x.transpose(0, *range(2, x.ndim), 1))


def _channels_second(x: Array) -> Array:
    """The view (N, C, ...) of (N, ..., C)."""
    return x.transpose(0, x.ndim - 1, *range(1, x.ndim - 1))
