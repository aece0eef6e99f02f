"""The largest, or smallest, of the values that an index sends to one place."""

from __future__ import annotations

from typing import Any

from gpunet.backend import Array, xp
from gpunet.ops.operation import Operation

__all__ = ["ScatterExtremum"]


class ScatterExtremum(Operation):
    """`y[i] = max(x[i], every value that the key sends to i)`, or min; NaN wins, and equal ones share the gradient.

    Args:
        key: where each value goes.
        largest: whether it is the largest.
        include_self: whether x counts, too, where a value comes.
    """

    mixed = "widest"

    def __init__(self, key: Any, largest: bool, include_self: bool) -> None:
        self.key, self.largest, self.include_self = key, largest, include_self

    def forward(self, x: Array, values: Array) -> Array:
        places = xp.arange(x.size, dtype="int64").reshape(x.shape)[self.key]
        places = xp.broadcast_to(places, values.shape).reshape(-1)
        found, came = self._best(values.reshape(-1), places, x)
        if self.include_self:
            better = x > found if self.largest else x < found
            came = came & ~(better | (x != x))
        y = xp.where(came, found, x)
        self.kept = (y == x) if self.include_self else ~came
        self.chosen = values == y[self.key]
        self.ties = self.kept.astype("int64")
        xp.add.at(self.ties, self.key, self.chosen.astype("int64"))
        return y

    def backward(self, grad: Array) -> tuple[Array | None, ...]:
        share = grad / self.ties.astype(grad.dtype)  # where NaN won there are none, and the gradient is NaN, too
        by_x = share * self.kept if self.include_self else xp.where(self.kept, share, xp.zeros_like(share))
        by_values = share[self.key] * self.chosen
        return by_x if self.needs_grad[0] else None, by_values if self.needs_grad[1] else None

    def _best(self, values: Array, places: Array, x: Array) -> tuple[Array, Array]:
        """The best value for each place of x, and whether any came: of all in order, by place, the last of each."""
        found, came = x.reshape(-1).copy(), xp.zeros(x.size, dtype=bool)
        if values.size:
            order = xp.argsort(values, kind="stable")
            if not self.largest:  # NaN stays the last, and wins
                numbers = values.size - int((values != values).sum())
                order = xp.concatenate([order[:numbers][::-1], order[numbers:]])
            order = order[xp.argsort(places[order], kind="stable")]
            sorted_places = places[order]
            last = order[xp.concatenate([sorted_places[1:] != sorted_places[:-1], xp.ones(1, dtype=bool)])]
            found[places[last]], came[places[last]] = values[last], True
        return found.reshape(x.shape), came.reshape(x.shape)
