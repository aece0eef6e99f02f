"""Losses, element by element or row by row; `gpunet.functional` reduces them to one number."""

from __future__ import annotations

from typing import Any

from gpunet.backend import Array, xp
from gpunet.ops.activation import sigmoid
from gpunet.ops.operation import Operation

__all__ = [
    "BinaryCrossEntropy",
    "BinaryCrossEntropyWithLogits",
    "ExpectedNegativeLog",
    "KLDivergence",
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
    kept = labels != ignore_index
    one_hot = (labels[:, None] == xp.arange(classes).reshape(shape)) & kept[:, None]  # (N, C, ...)
    q = one_hot.astype(dtype)
    if weight is None:
        row_weight = kept.astype(dtype)
    else:
        q *= weight.reshape(shape)
        row_weight = q.sum(axis=1)
    if smoothing:
        background = kept[:, None] * xp.asarray(smoothing / classes, dtype=dtype)
        if weight is not None:
            background = background * weight.reshape(shape)
        q = q * (1 - smoothing) + background
    return q, row_weight


class ExpectedNegativeLog(Operation):
    """`y[n,...] = -sum over c of q[n,c,...] * x[n,c,...]` for log-probabilities x: cross-entropy with the target q.

    Where q is 0 the term is 0, also for a log-probability of -inf.
    """

    def __init__(self, q: Array) -> None:
        self.q = q

    def forward(self, log_p: Array) -> Array:
        return -(self.q * xp.where(self.q == 0, 0, log_p)).sum(axis=1)

    def backward(self, grad: Array) -> tuple[Array]:
        return (-self.q * grad[:, None],)


class BinaryCrossEntropy(Operation):
    """`-t log y - (1-t) log(1-y)`, with logarithms cut off at -100 so that a wrong certainty costs much, not inf."""

    SMALLEST_LOG = -100
    SMALLEST_VARIANCE = 1e-12

    def __init__(self, target: Array) -> None:
        self.target = target

    def forward(self, y: Array) -> Array:
        self.y = y
        return -(self.target * self._log(y) + (1 - self.target) * self._log(1 - y))

    def _log(self, y: Array) -> Array:
        positive = y > 0
        logarithm = xp.log(xp.where(positive, y, 1))  # NumPy warns of log 0
        return xp.where(positive, xp.maximum(logarithm, self.SMALLEST_LOG), self.SMALLEST_LOG)

    def backward(self, grad: Array) -> tuple[Array]:
        variance = xp.maximum(self.y * (1 - self.y), self.SMALLEST_VARIANCE)
        return (grad * (self.y - self.target) / variance,)


class BinaryCrossEntropyWithLogits(Operation):
    """`-w t log s(x) - (1-t) log(1 - s(x))` from the logit x.

    `-log s(x) = max(-x, 0) + log(1 + e^-|x|)`, and `-log(1 - s(x)) = -log s(-x)`: nothing overflows, nothing cancels.
    """

    def __init__(self, target: Array, positive_weight: Array | None) -> None:
        self.positive = target if positive_weight is None else positive_weight * target
        self.negative = 1 - target

    def forward(self, x: Array) -> Array:
        self.x = x
        rest = xp.log1p(xp.exp(-xp.abs(x)))
        return self.positive * (xp.maximum(-x, 0) + rest) + self.negative * (xp.maximum(x, 0) + rest)

    def backward(self, grad: Array) -> tuple[Array]:
        return (grad * (self.negative * sigmoid(self.x) - self.positive * sigmoid(-self.x)),)


class KLDivergence(Operation):
    """`p (log p - x)` for log-probabilities x; 0 where p is 0."""

    def __init__(self, target: Array, log_target: bool) -> None:
        self.p = xp.exp(target) if log_target else target
        self.impossible = self.p == 0
        self.log_p = (
            xp.where(self.impossible, 0, target) if log_target else xp.log(xp.where(self.impossible, 1, target))
        )

    def forward(self, x: Array) -> Array:
        return self.p * (self.log_p - xp.where(self.impossible, 0, x))

    def backward(self, grad: Array) -> tuple[Array]:
        return (-self.p * grad,)
