"""The matrix product."""

from __future__ import annotations

from gpunet.backend import Array, run_tiles, tiles, xp
from gpunet.backend.products import product
from gpunet.ops.broadcast import unbroadcast
from gpunet.ops.operation import Operation

__all__ = ["MatMul"]


class MatMul(Operation):
    """`y = a @ b`: matrices in the last two axes, broadcast over the others; a 1-D input is a row or a column."""

    autocast, mixed, sums = "half", "widest", True

    def forward(self, a: Array, b: Array) -> Array:
        self.a, self.b = a, b
        return _product(a, b)

    def backward(self, grad: Array) -> tuple[Array | None, ...]:
        # With vectors written as matrices, (..., m, k) @ (..., k, n): da = g bᵀ and db = aᵀ g.
        a = self.a[None, :] if self.a.ndim == 1 else self.a  # (..., m, k)
        b = self.b[:, None] if self.b.ndim == 1 else self.b  # (..., k, n)
        if self.b.ndim == 1:
            grad = grad[..., None]
        if self.a.ndim == 1:
            grad = grad[..., None, :]  # (..., m, n)
        needs_a, needs_b = self.needs_grad
        da = unbroadcast(_product(grad, b.swapaxes(-1, -2)), a.shape).reshape(self.a.shape) if needs_a else None
        db = unbroadcast(_product(a.swapaxes(-1, -2), grad), b.shape).reshape(self.b.shape) if needs_b else None
        return da, db


def _product(a: Array, b: Array) -> Array:
    """The product of two arrays; of two matrices the rows are shared among the threads."""
    if a.ndim != 2 or b.ndim != 2:
        return run_tiles(lambda _: product(a, b), [slice(None)])[0]  # one tile
    y: Array = xp.empty((len(a), b.shape[1]), dtype=a.dtype)

    def some_rows(rows: slice) -> None:
        product(a[rows], b, out=y[rows])

    run_tiles(some_rows, tiles(len(a), y.itemsize * sum(b.shape), b.nbytes))
    return y
