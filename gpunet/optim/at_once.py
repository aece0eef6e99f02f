"""The launchers of raw_kernels/optimizer.cu: all parameters of a group in one launch, on a GPU.

What a step does is written in `_update` of each optimizer. That runs, too, for whatever does not fit here: parameters
that share memory, gradients of another type or in another order of memory, optimizers of a user.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from gpunet.backend import Array, memory_order, xp
from gpunet.backend.kernel_table import ADAM, SGD, TEMPLATE_DTYPES, UNSCALE
from gpunet.backend.kernels import blocks_of, enabled, launch_on_table
from gpunet.optim.flat import Options, State, apart

__all__ = ["Row", "adam", "fitting", "sgd", "unscale"]


class Row(NamedTuple):
    """A parameter, its gradient, and what is remembered about it."""

    param: Array
    grad: Array
    state: State


def fitting(rows: Sequence[Row]) -> list[bool]:
    """Which of these a kernel takes."""
    return [
        alone
        and row.param.dtype in TEMPLATE_DTYPES["T"]
        and _is_dense(row.param)
        and all(_lies_as(row.param, each) for each in (row.grad, *_remembered(row.state)))
        for row, alone in zip(rows, apart([row.param for row in rows]), strict=True)
    ]


def sgd(rows: Sequence[Row], options: Options) -> None:
    """A step of `SGD`."""
    momentum = options["momentum"]

    def kept(row: Row) -> float:
        """How much of the gradient joins the velocity: all of the first one."""
        if not momentum or "momentum_buffer" in row.state:
            return 1 - float(options["dampening"])
        row.state["momentum_buffer"] = xp.zeros_like(row.param)
        return 1.0

    for share, alike in _alike(rows, kept):
        velocities = _lines(row.state["momentum_buffer"] for row in alike) if momentum else None
        columns = [_lines(row.param for row in alike), _lines(row.grad for row in alike), velocities]
        numbers = options["lr"], momentum, share, options["weight_decay"], int(momentum != 0), int(options["nesterov"])
        launch_on_table(SGD, columns, *numbers)


def adam(rows: Sequence[Row], options: Options, decoupled: bool = False) -> None:
    """A step of `Adam`, or of `AdamW`, whose weight decay is decoupled."""
    (beta1, beta2), amsgrad = options["betas"], options["amsgrad"]
    decay = options["weight_decay"]
    shrink = 1 - options["lr"] * decay if decoupled else 1.0
    names = ["exp_avg", "exp_avg_sq", *["max_exp_avg_sq"] * amsgrad]

    def step(row: Row) -> int:
        for name in names:
            if name not in row.state:
                row.state[name] = xp.zeros_like(row.param)
        row.state["step"] = row.state.get("step", 0) + 1
        return int(row.state["step"])

    for t, alike in _alike(rows, step):
        columns = [_lines(row.param for row in alike), _lines(row.grad for row in alike)]
        columns += [_lines(row.state[name] for row in alike) for name in names]
        rate, root = options["lr"] / (1 - beta1**t), math.sqrt(1 - beta2**t)
        numbers = rate, beta1, 1 - beta1, beta2, 1 - beta2, root, options["eps"], 0.0 if decoupled else decay, shrink
        launch_on_table(ADAM, [*columns, *[None] * (5 - len(columns))], *numbers, int(amsgrad))


def unscale(grads: Sequence[Array], factor: float) -> Array | None:
    """Multiply gradients, in place; whether one is not finite then, or None, and nothing done, if they do not fit."""
    if not enabled() or not all(map(_is_dense, grads)) or not all(apart(grads)):
        return None
    not_finite = xp.empty(sum(blocks_of(grad.size) for grad in grads), dtype=xp.int32)
    begin = 0
    for _, alike in _alike(grads, lambda grad: None):
        end = begin + sum(blocks_of(grad.size) for grad in alike)
        launch_on_table(UNSCALE, [_lines(alike)], factor, per_block=not_finite[begin:end])
        begin = end
    return not_finite.any()


def _alike(items: Sequence[Row | Array], kind: Callable[..., Any]) -> list[tuple[Any, list[Any]]]:
    """Those of one type and kind together, with their kind."""
    together: dict[tuple[Any, Any], list[Any]] = {}
    for item in items:
        dtype = item.param.dtype if isinstance(item, Row) else item.dtype
        together.setdefault((dtype, kind(item)), []).append(item)
    return [(what, alike) for (_, what), alike in together.items()]


def _lines(arrays: Iterable[Array]) -> list[Array]:
    """Each as a view whose axes are in the order of its memory."""
    return [each if each.flags.c_contiguous else each.transpose(memory_order(each)) for each in arrays]


def _remembered(state: State) -> list[Array]:
    return [value for name, value in state.items() if name != "step"]


def _is_dense(array: Array) -> bool:
    """Whether the numbers lie side by side, in some order of axes."""
    [line] = _lines([array])
    return bool(line.flags.c_contiguous)


def _lies_as(array: Array, other: Array) -> bool:
    """Whether two arrays, the first of them dense, have each number in the same place; an axis of 1 has no stride."""
    return (
        isinstance(other, xp.ndarray)
        and other.dtype == array.dtype
        and other.shape == array.shape
        and all(n == 1 or one == two for n, one, two in zip(array.shape, array.strides, other.strides, strict=True))
    )
