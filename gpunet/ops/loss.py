"""Losses, element by element or row by row; `gpunet.functional` reduces them to one number."""

from __future__ import annotations

from typing import Any, ClassVar

from gpunet.backend import Array, xp
from gpunet.ops.activation import sigmoid
from gpunet.ops.broadcast import unbroadcast
from gpunet.ops.choice import where
from gpunet.ops.operation import Operation

__all__ = [
    "AbsoluteError",
    "BinaryCrossEntropy",
    "BinaryCrossEntropyWithLogits",
    "ExpectedNegativeLog",
    "Huber",
    "KLDivergence",
    "SmoothL1",
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
    the mean over the batch is 0 / 0, so that the gradient that comes back is infinite. dq = -g x.
    """

    autocast, mixed, sums = "full", "widest", True

    def forward(self, log_p: Array, q: Array) -> Array:
        self.minus_q, self.counts = -q, q != 0
        self.log_p = log_p if any(self.needs_grad[1:]) else None
        return (self.minus_q * xp.where(self.counts, log_p, 0)).sum(axis=1)

    def backward(self, grad: Array) -> tuple[Array | None, Array | None]:
        grad = grad[:, None]
        by_log_p = xp.where(self.counts, self.minus_q * grad, 0)
        return by_log_p, None if self.log_p is None else -self.log_p * grad


class _Pair(Operation):
    """A loss of each input and its target, element by element."""

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

    def backward(self, grad: Array) -> tuple[Array, Array | None]:
        variance = xp.maximum(self.y * (1 - self.y), self.SMALLEST_VARIANCE)
        dtarget = grad * (self._log(1 - self.y) - self._log(self.y)) if any(self.needs_grad[1:]) else None
        return grad * (self.y - self.target) / variance, dtarget


class BinaryCrossEntropyWithLogits(_Pair):
    """`-w t log s(x) - (1-t) log(1 - s(x))` from the logit x.

    `-log s(x) = max(-x, 0) + log(1 + e^-|x|)`, and `-log(1 - s(x)) = -log s(-x)`: nothing overflows, nothing cancels.
    """

    function = "binary_cross_entropy_with_logits"
    names = (*_Pair.names, "pos_weight")

    def forward(self, x: Array, target: Array, positive_weight: Array | None = None) -> Array:
        self.x, self.target, self.positive_weight = x, target, positive_weight
        self.positive = target if positive_weight is None else positive_weight * target
        self.negative = 1 - target
        if_positive, if_negative = self._negative_logs()
        return self.positive * if_positive + self.negative * if_negative

    def _negative_logs(self) -> tuple[Array, Array]:
        """`-log s(x)` and `-log(1 - s(x))`."""
        rest = xp.log1p(xp.exp(-xp.abs(self.x)))
        return xp.maximum(-self.x, 0) + rest, xp.maximum(self.x, 0) + rest

    def backward(self, grad: Array) -> tuple[Array | None, ...]:
        dx = grad * (self.negative * sigmoid(self.x) - self.positive * sigmoid(-self.x))
        dtarget = dweight = None
        if any(self.needs_grad[1:]):
            if_positive, if_negative = self._negative_logs()
            weight = 1 if self.positive_weight is None else self.positive_weight
            dtarget = grad * (weight * if_positive - if_negative)
            if self.positive_weight is not None:
                dweight = unbroadcast(grad * self.target * if_positive, self.positive_weight.shape)
        return (dx, dtarget, dweight)[: len(self.needs_grad)]


class KLDivergence(_Pair):
    """`p (log p - x)` for log-probabilities x; 0 where p is 0."""

    function = "kl_div"

    def __init__(self, log_target: bool) -> None:
        self.log_target = log_target

    def forward(self, x: Array, target: Array) -> Array:
        self.p = xp.exp(target) if self.log_target else target
        impossible = self.p == 0
        log_p = xp.where(impossible, 0, target) if self.log_target else xp.log(xp.where(impossible, 1, target))
        self.difference = log_p - xp.where(impossible, 0, x)
        return self.p * self.difference

    def backward(self, grad: Array) -> tuple[Array, Array | None]:
        dtarget = None
        if any(self.needs_grad[1:]):
            dtarget = grad * (self.difference + 1)  # by p; by its logarithm it is p times that
            dtarget = self.p * dtarget if self.log_target else dtarget
        return -self.p * grad, dtarget


class _OfDifference(_Pair):
    """A loss of the difference d of input and target: one formula for its value, one for its slope."""

    def __init__(self, *settings: float) -> None:
        self.settings = settings

    def _value(self, d: Array, *settings: Any) -> Array:
        raise NotImplementedError

    def _slope(self, d: Array, *settings: Any) -> Array:
        raise NotImplementedError

    def forward(self, x: Array, target: Array) -> Array:
        self.difference = x - target
        return self._value(self.difference, *self.settings)

    def backward(self, grad: Array) -> tuple[Array | None, Array | None]:
        dx = grad * self._slope(self.difference, *self.settings)
        needs_x, needs_target = self.needs_grad
        return dx if needs_x else None, -dx if needs_target else None


class SquaredError(_OfDifference):
    """`d^2` for the difference d of input and target."""

    function = "mse_loss"

    def _value(self, d: Array) -> Array:
        return d * d

    def _slope(self, d: Array) -> Array:
        return d * 2


class AbsoluteError(_OfDifference):
    """`|d|`."""

    function = "l1_loss"

    def _value(self, d: Array) -> Array:
        return xp.abs(d)

    def _slope(self, d: Array) -> Array:
        return xp.sign(d)


class SmoothL1(_OfDifference):
    """`d^2 / (2 beta) where |d| < beta else |d| - beta / 2`, with beta > 0."""

    function = "smooth_l1_loss"

    def _value(self, d: Array, beta: float) -> Array:
        size = xp.abs(d)
        return where(size < beta, d * d / (2 * beta), size - beta / 2)

    def _slope(self, d: Array, beta: float) -> Array:
        return xp.clip(d / beta, -1, 1)


class Huber(_OfDifference):
    """`d^2 / 2 where |d| <= delta else delta (|d| - delta / 2)`."""

    function = "huber_loss"

    def _value(self, d: Array, delta: float) -> Array:
        size = xp.abs(d)
        return where(size <= delta, d * d / 2, delta * (size - delta / 2))

    def _slope(self, d: Array, delta: float) -> Array:
        return xp.clip(d, -delta, delta)
