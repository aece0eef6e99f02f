"""Losses, element by element or row by row; `gpunet.functional` reduces them to one number."""

from __future__ import annotations

from typing import Any, ClassVar

from gpunet.backend import Array, xp
from gpunet.ops.activation import sigmoid
from gpunet.ops.operation import Operation

__all__ = [
    "BinaryCrossEntropy",
    "BinaryCrossEntropyWithLogits",
    "ExpectedNegativeLog",
    "KLDivergence",
    "SquaredError",
    "target_distribution",
]


def target_distribution(
    labels: Array, classes: int, weight: Array | None, smoothing: float, ignore_index: int, dtype: Any
) -> tuple[Array, Array]:
    """What a row should look like: q[n,c,...] = weight[c] * ((1 - smoothing) [c == label] + smoothing / classes).

    Rows whose label is `ignore_index` are zero. Also returns the weight of each row, weight[label] or 0, over whose sum
    the mean of the loss is taken. Comparing instead of indexing means that no label can reach outside the memory.
    """
    shape = (1, classes) + (1,) * (labels.ndim - 1)
    q = (labels[:, None] == xp.arange(classes).reshape(shape)).astype(dtype)  # (N, C, ...): one-hot
    if 0 <= ignore_index < classes:
        q[:, ignore_index] = 0  # any other label that is to be ignored is no class
    if weight is not None:
        q *= weight.reshape(shape)
    row_weight = q.sum(axis=1)
    if smoothing:
        background = (labels != ignore_index)[:, None].astype(dtype) * (smoothing / classes)
        if weight is not None:
            background = background * weight.reshape(shape)
        q = q * (1 - smoothing) + background
    return q, row_weight


class ExpectedNegativeLog(Operation):
    """`y[n,...] = -sum over c of q[n,c,...] * x[n,c,...]` for log-probabilities x: cross-entropy with the target q.

    Where q is 0 the term is 0, and so is its gradient: also for a log-probability of -inf, and where nothing counts and
    the mean over the batch is 0 / 0, so that the gradient that comes back is infinite.
    """

    autocast, sums = "full", True

    def __init__(self, q: Array) -> None:
        self.minus_q, self.counts = -q, q != 0

    def forward(self, log_p: Array) -> Array:
        return (self.minus_q * xp.where(self.counts, log_p, 0)).sum(axis=1)

    def backward(self, grad: Array) -> tuple[Array]:
        return (xp.where(self.counts, self.minus_q * grad[:, None], 0),)


class _Pair(Operation):
    """A loss of each input and its target, element by element; only SquaredError has a gradient by the target."""

    autocast, mixed = "full", "refused"
    names: ClassVar[tuple[str, ...]] = ("input", "target")


class BinaryCrossEntropy(_Pair):
    """`-t log y - (1-t) log(1-y)`, with logarithms cut off at -100 so that a wrong certainty costs much, not inf."""

    function = "binary_cross_entropy"
    SMALLEST_LOG = -100
    SMALLEST_VARIANCE = 1e-12

    def forward(self, y: Array, target: Array) -> Array:
        self.y, self.target = y, target
        return -(target * self._log(y) + (1 - target) * self._log(1 - y))

    def _log(self, y: Array) -> Array:
        positive = y > 0
        logarithm = xp.log(xp.where(positive, y, 1))  # NumPy warns of log 0
        return xp.where(positive, xp.maximum(logarithm, self.SMALLEST_LOG), self.SMALLEST_LOG)

    def backward(self, grad: Array) -> tuple[Array, None]:
        variance = xp.maximum(self.y * (1 - self.y), self.SMALLEST_VARIANCE)
        return grad * (self.y - self.target) / variance, None


class BinaryCrossEntropyWithLogits(_Pair):
    """`-w t log s(x) - (1-t) log(1 - s(x))` from the logit x.

    `-log s(x) = max(-x, 0) + log(1 + e^-|x|)`, and `-log(1 - s(x)) = -log s(-x)`: nothing overflows, nothing cancels.
    """

    function = "binary_cross_entropy_with_logits"
    names = (*_Pair.names, "pos_weight")

    def forward(self, x: Array, target: Array, positive_weight: Array | None = None) -> Array:
        self.x = x
        self.positive = target if positive_weight is None else positive_weight * target
        self.negative = 1 - target
        rest = xp.log1p(xp.exp(-xp.abs(x)))
        return self.positive * (xp.maximum(-x, 0) + rest) + self.negative * (xp.maximum(x, 0) + rest)

    def backward(self, grad: Array) -> tuple[Array | None, ...]:
        dx = grad * (self.negative * sigmoid(self.x) - self.positive * sigmoid(-self.x))
        return (dx, None, None)[: len(self.needs_grad)]


class KLDivergence(_Pair):
    """`p (log p - x)` for log-probabilities x; 0 where p is 0."""

    function = "kl_div"

    def __init__(self, log_target: bool) -> None:
        self.log_target = log_target

    def forward(self, x: Array, target: Array) -> Array:
        self.p = xp.exp(target) if self.log_target else target
        impossible = self.p == 0
        log_p = xp.where(impossible, 0, target) if self.log_target else xp.log(xp.where(impossible, 1, target))
        return self.p * (log_p - xp.where(impossible, 0, x))

    def backward(self, grad: Array) -> tuple[Array, None]:
        return -self.p * grad, None


class SquaredError(_Pair):
    """`(x - t)^2`."""

    function = "mse_loss"

    def forward(self, x: Array, target: Array) -> Array:
        self.difference = x - target
        return self.difference * self.difference

    def backward(self, grad: Array) -> tuple[Array | None, Array | None]:
        dx = grad * self.difference * 2
        needs_x, needs_target = self.needs_grad
        return dx if needs_x else None, -dx if needs_target else None
