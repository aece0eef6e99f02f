"""The fully connected layer."""

from __future__ import annotations

from gpunet.backend import Array, run_tiles, sum_over_tiles, tiles, xp
from gpunet.backend.products import product
from gpunet.ops.operation import Operation
from gpunet.ops.passes import Pass
from gpunet.ops.reduction import sum_rows

__all__ = ["Linear", "linear", "linear_back_input"]


@Pass
def linear(x: Array, weight: Array, bias: Array | None) -> Array:
    """Y (R, O) of rows x (R, I) and weight (O, I)."""
    y = xp.empty((len(x), len(weight)), dtype=x.dtype)

    def one_tile(batch: slice) -> None:
        product(x[batch], weight.T, out=y[batch])
        if bias is not None:
            y[batch] += bias

    run_tiles(one_tile, _tiles(x, weight))
    return y


@Pass
def linear_back_input(grad: Array, weight: Array) -> Array:
    """Dx (R, I) from the gradient by y (R, O)."""
    dx = xp.empty((len(grad), weight.shape[1]), dtype=grad.dtype)

    def one_tile(batch: slice) -> None:
        product(grad[batch], weight, out=dx[batch])

    run_tiles(one_tile, _tiles(grad, weight))
    return dx


def _tiles(rows: Array, weight: Array) -> list[slice]:
    return tiles(len(rows), rows.itemsize * sum(weight.shape))


class Linear(Operation):
    """`y = x Wᵀ + b` over the last axis. dx = g W, dW = gᵀ x, db = sum of g."""

    autocast, mixed, sums = "half", "refused", True
    function, names = "linear", ("input", "weight", "bias")

    def forward(self, x: Array, weight: Array, bias: Array | None = None) -> Array:
        outputs, inputs = weight.shape
        self.shape = x.shape
        self.rows = rows = x.reshape(-1, inputs)  # (R, I)
        self.weight = weight
        y = linear(rows, weight, bias)  # (R, O)
        return y.reshape(*x.shape[:-1], outputs)

    def backward(self, grad: Array) -> tuple[Array | None, ...]:
        rows, weight = self.rows, self.weight
        grad = xp.ascontiguousarray(grad.reshape(-1, len(weight)))  # (R, O)
        needs_x, needs_weight, needs_bias = (*self.needs_grad, False)[:3]
        dx = linear_back_input(grad, weight).reshape(self.shape) if needs_x else None

        def one_tile(batch: slice) -> tuple[Array | None]:
            return (product(grad[batch].T, rows[batch]) if needs_weight else None,)

        (dweight,) = sum_over_tiles(one_tile, _tiles(rows, weight))
        dbias = sum_rows(grad).astype(grad.dtype) if needs_bias else None
        return (dx, dweight, dbias)[: len(self.needs_grad)]
