"""The fully connected layer."""

from __future__ import annotations

from gpunet.backend import Array, run_tiles, sum_over_tiles, tiles, xp
from gpunet.ops.operation import Operation
from gpunet.ops.reduction import sum_rows

__all__ = ["Linear"]


class Linear(Operation):
    """`y = x Wᵀ + b` over the last axis. dx = g W, dW = gᵀ x, db = sum of g."""

    autocast, mixed, sums = "half", "refused", True
    function, names = "linear", ("input", "weight", "bias")

    def forward(self, x: Array, weight: Array, bias: Array | None = None) -> Array:
        outputs, inputs = weight.shape
        self.shape = x.shape
        self.rows = rows = x.reshape(-1, inputs)  # (R, I)
        self.weight = weight
        y = xp.empty((len(rows), outputs), dtype=x.dtype)  # (R, O)

        def one_tile(batch: slice) -> None:
            xp.matmul(rows[batch], weight.T, out=y[batch])
            if bias is not None:
                y[batch] += bias

        run_tiles(one_tile, self._tiles())
        return y.reshape(*x.shape[:-1], outputs)

    def backward(self, grad: Array) -> tuple[Array | None, ...]:
        rows, weight = self.rows, self.weight
        grad = xp.ascontiguousarray(grad.reshape(-1, len(weight)))  # (R, O)
        needs_x, needs_weight, needs_bias = (*self.needs_grad, False)[:3]
        dx = xp.empty_like(rows) if needs_x else None

        def one_tile(batch: slice) -> tuple[Array | None]:
            g = grad[batch]
            if dx is not None:
                xp.matmul(g, weight, out=dx[batch])
            return (g.T @ rows[batch] if needs_weight else None,)

        (dweight,) = sum_over_tiles(one_tile, self._tiles())
        dbias = sum_rows(grad).astype(grad.dtype) if needs_bias else None
        return (None if dx is None else dx.reshape(self.shape), dweight, dbias)[: len(self.needs_grad)]

    def _tiles(self) -> list[slice]:
        return tiles(len(self.rows), self.rows.itemsize * sum(self.weight.shape))
