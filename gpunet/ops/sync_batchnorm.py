"""Batch normalisation by the statistics of a batch that lies in parts on several ranks; see `gpunet.ops.batchnorm`.

Each rank knows the count, the mean and the sum of squared deviations M2 of its own rows. Those of all follow:

    count = sum(count_r)        mean = sum(count_r * mean_r) / count
    M2    = sum(M2_r + count_r * (mean_r - mean)^2)        var = M2 / count

Going back, the two means of the gradient in dx are over the rows of all ranks, too. The gradients by weight and bias
are each rank's own: they are added up with those of all other parameters.

Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
"""

from __future__ import annotations

from typing import Any

from gpunet.backend import Array, as_nchw, to_nhwc, xp
from gpunet.errors import ShapeError
from gpunet.ops.batchnorm import (
    BatchNorm,
    Running,
    Sums,
    backward_sums,
    channels,
    input_gradient,
    moments,
    move,
)
from gpunet.ops.waiting import computed, settle
from gpunet.ranks import communicator

__all__ = ["SyncBatchNorm"]


class SyncBatchNorm(BatchNorm):
    """`BatchNorm` over the rows of all ranks; one of them may have none."""

    def forward(self, x: Any, weight: Array | None = None, bias: Array | None = None) -> Any:
        x = to_nhwc(computed(x))  # (N, ..., C)
        running, self._running = self._running, Running()
        if running.mean is not None:
            settle(running.mean, running.var)
        mean, var, self._count = _merged(x)
        move(running, mean, var, self._count)
        known = channels(mean, var, weight, bias, self.eps, x)
        if x.size:
            return self._normalise(x, known, weight)
        self.x, self.dtype, self.known = x, x.dtype if weight is None else weight.dtype, known
        return as_nchw(x.copy())

    def _gradients(self, grad: Array, y: Array | None) -> tuple[Sums, Array]:
        ours = backward_sums(grad, self.x, self.known, y) if self.x.size else _no_sums(self.known.center)
        dbias, dweight = communicator().total(xp.stack(ours[:2]).astype(xp.float64)) / self._count
        means = (dbias, dweight * self.known.inverse_std)
        sums = Sums(ours.dbias, ours.dweight, *(each.astype(ours.dbias.dtype) for each in means))
        return sums, input_gradient(grad, self.x, self.known, sums, y) if self.x.size else grad


def _merged(x: Array) -> tuple[Array, Array, Array]:
    """Mean and biased variance per channel of the rows x (N, ..., C) of all ranks, and how many rows: (C,) float64."""
    count = x.size // x.shape[-1]
    ours = xp.zeros((3, x.shape[-1]), dtype=xp.float64)
    if count:
        ours[0], (ours[1], ours[2]) = count, moments(x)
    counts, means, variances = xp.moveaxis(communicator().gathered(ours), 1, 0)  # each (ranks, C)
    total = counts.sum(axis=0)
    mean = (counts * means).sum(axis=0) / total
    var = (counts * (variances + (means - mean) ** 2)).sum(axis=0) / total
    if count < 2 and int(total[0]) < 2:  # a GPU is asked, and waited for, only where it may be so
        raise ShapeError("SyncBatchNorm: training needs more than one value per channel, on all ranks together")
    return mean, var, total


def _no_sums(like: Array) -> Sums:
    """The sums over no rows at all."""
    return Sums(*(xp.zeros_like(like) for _ in range(4)))
