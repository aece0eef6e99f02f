"""Batch normalisation, with the addition and the ReLU that follow it in a residual block: y = relu(bn(x) + residual).

Every input, (N, C), (N, C, L) or (N, C, H, W), is seen as rows of C channels. The passes over them are made by
`batchnorm_passes` with `xp`, or by `raw_batchnorm` with raw kernels. Ioffe and Szegedy, "Batch Normalization", 2015.
"""

from __future__ import annotations

from gpunet.backend import Array, as_nchw, kernels, to_nhwc, xp
from gpunet.ops.batchnorm_passes import TilePasses
from gpunet.ops.operation import Operation
from gpunet.ops.raw_batchnorm import KernelPasses

__all__ = ["BatchNorm", "BatchNormInference"]


def _channels_last(x: Array) -> Array:
    """(N, C, ...) as contiguous (N, ..., C)."""
    if x.ndim == 4:
        return to_nhwc(x)
    return xp.ascontiguousarray(x.transpose(0, 2, 1) if x.ndim == 3 else x)


def _channels_second(x: Array) -> Array:
    """The view (N, C, ...) of (N, ..., C)."""
    if x.ndim == 4:
        return as_nchw(x)
    return x.transpose(0, 2, 1) if x.ndim == 3 else x


class _BatchNorm(Operation):
    """y = relu((x - mean) / sqrt(var + eps) * weight + bias + residual).

    Inputs are x, then weight and bias where `affine`, then the residual where there is one.
    """

    passes: TilePasses | KernelPasses

    def __init__(self, eps: float, affine: bool, relu: bool) -> None:
        self.eps, self.affine, self.relu = eps, affine, relu

    def _begin(self, x: Array) -> TilePasses | KernelPasses:
        x = _channels_last(x)
        self.passes = KernelPasses(x, self.relu) if kernels.enabled() else TilePasses(x, self.relu)
        return self.passes

    def _normalise(self, mean: Array, var: Array, inputs: tuple[Array, ...]) -> Array:
        weight, bias = inputs[:2] if self.affine else (None, None)
        self.has_residual = len(inputs) > 2 * self.affine
        residual = _channels_last(inputs[-1]) if self.has_residual else None
        return _channels_second(self.passes.normalise(mean, var, self.eps, weight, bias, residual))

    def _gradients(self, grad: Array, statistics_move: bool) -> tuple[Array | None, ...]:
        dx, dweight, dbias, dresidual = self.passes.backward(
            _channels_last(grad), self.needs_grad[0], self.has_residual, statistics_move
        )
        gradients: list[Array | None] = [None if dx is None else _channels_second(dx)]
        if self.affine:
            gradients += [dweight, dbias]
        if self.has_residual:
            gradients.append(_channels_second(dresidual))
        return tuple(gradients)


class BatchNorm(_BatchNorm):
    """Training: normalises by the mean and the biased variance of the batch, which stay readable afterwards.

    dx = scale * (g - mean(g) - xhat * mean(g * xhat)), with xhat the normalised input: the two means are what reaches x
    by way of the batch's mean and variance.
    """

    def forward(self, x: Array, *inputs: Array) -> Array:
        self.batch_mean, self.batch_var = self._begin(x).moments()  # (C,), float64
        return self._normalise(self.batch_mean, self.batch_var, inputs)

    def backward(self, grad: Array) -> tuple[Array | None, ...]:
        return self._gradients(grad, statistics_move=True)


class BatchNormInference(_BatchNorm):
    """Evaluation: normalises by statistics that are given, which makes it a fixed affine map of x."""

    def __init__(self, eps: float, affine: bool, relu: bool, mean: Array, var: Array) -> None:
        super().__init__(eps, affine, relu)
        self.given_mean, self.given_var = mean, var

    def forward(self, x: Array, *inputs: Array) -> Array:
        self._begin(x)
        return self._normalise(self.given_mean, self.given_var, inputs)

    def backward(self, grad: Array) -> tuple[Array | None, ...]:
        return self._gradients(grad, statistics_move=False)
