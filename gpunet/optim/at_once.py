"""The launchers of raw_kernels/optimizer.cu: all parameters of a group in one launch, on a GPU.

What a step does is written in `_update` of each optimizer. That runs, too, for whatever does not fit here: parameters
that share memory, gradients of another type or in another order of memory, optimizers of a user.

The kernels read learning rate, momentum and the like from the device, where the host writes those that have changed:
the same launch, recorded in a CUDA graph, then makes every step. They read there, too, whether to make it at all.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import is_
from typing import Any, NamedTuple, TypeAlias

from gpunet.backend import Array, active_backend, memory_order, to_cpu, xp
from gpunet.backend.device_numbers import DeviceNumbers
from gpunet.backend.kernel_table import ADAM, BEGIN_ADAM, RESCALE, SGD, TEMPLATE_DTYPES, UNSCALE, Kernel
from gpunet.backend.kernels import TableLaunch, blocks_of, enabled, launch
from gpunet.optim.flat import Options, State, apart
from gpunet.tensor import Tensor

__all__ = ["Batch", "Recipe", "Row", "Settings", "adam", "batches", "rescale", "sgd", "unscale"]

STEPS = 8
"""Where among the numbers of Adam the device counts its steps; behind it are two that it makes of them."""


class Settings(NamedTuple):
    """What a step takes of the settings of a group, for parameters that make their t-th step."""

    kernel: Kernel
    remembered: tuple[str, ...]
    """The arrays of a state that are columns of the kernel's table, behind the weights and the gradients."""
    numbers: tuple[float, ...]
    """What the kernel reads from the device: these may be others at each step."""
    switches: tuple[int, ...]
    """What it is launched with."""
    begin: Kernel | None = None
    """What comes before it and counts the steps on the device, behind the numbers of the host."""
    can_be_left_out: bool = True
    """Whether the device alone can decide on the step: the numbers of the host are then those of no certain step."""


Recipe: TypeAlias = Callable[[Options, int], Settings]
"""Gives the settings of step t, counted from 1."""


def sgd(options: Options, t: int) -> Settings:
    """A step of `SGD`; all of the first gradient joins the velocity."""
    momentum = options["momentum"]
    kept = 1.0 if t == 1 else 1 - options["dampening"]
    numbers = options["lr"], momentum, kept, options["weight_decay"]
    return Settings(
        SGD,
        ("momentum_buffer",) if momentum else (),
        numbers,
        (int(momentum != 0), int(options["nesterov"])),
        can_be_left_out=options["dampening"] == 0,
    )


def adam(options: Options, t: int, decoupled: bool = False) -> Settings:
    """A step of `Adam`, or of `AdamW`, whose weight decay is decoupled."""
    rate, (beta1, beta2), decay = options["lr"], options["betas"], options["weight_decay"]
    shrink = 1 - rate * decay if decoupled else 1.0
    numbers = rate, beta1, 1 - beta1, beta2, 1 - beta2, options["eps"], 0.0 if decoupled else decay, shrink
    names = "exp_avg", "exp_avg_sq", *["max_exp_avg_sq"] * options["amsgrad"]
    return Settings(ADAM, names, numbers, (int(options["amsgrad"]),), begin=BEGIN_ADAM)


class Row(NamedTuple):
    """A parameter, its values, its gradient, and what is remembered about it."""

    param: Tensor
    array: Array
    grad: Array
    state: State


class Batch:
    """Parameters of one type that have made as many steps, and the launch for their next: kept from step to step.

    Args:
        steps: how many they have made.
        counted: whether their states are to know it.
    """

    def __init__(self, recipe: Recipe, rows: Sequence[Row], options: Options, steps: int, counted: bool) -> None:
        settings = recipe(options, steps + 1)
        self._recipe, self._steps, self._counted = recipe, steps, counted
        self._sure = True  # of how many steps were made: a step that the device may leave out is not counted here
        self._begin = settings.begin
        self._fixed = settings.remembered, settings.switches
        for row in rows:
            for name in settings.remembered:
                if name not in row.state:
                    row.state[name] = xp.zeros_like(row.array)
        self.params = [row.param for row in rows]
        self._arrays = [row.array for row in rows]
        self._states = [row.state for row in rows]
        self._remembered = _remembered(self._states, settings.remembered)
        self._lie = [(row.grad.strides, row.grad.dtype) for row in rows]
        self._numbers = DeviceNumbers(len(settings.numbers) + (3 if self._begin else 0))
        if self._begin:
            self._numbers.array[STEPS : STEPS + 1].fill(steps)
        count = len(settings.remembered)
        columns = [self._arrays, [row.grad for row in rows], *(self._remembered[name::count] for name in range(count))]
        lines: list[list[Array] | None] = [_lines(column) for column in columns]
        unused = [None] * (settings.kernel.parameters[0].columns - len(lines))
        self._go = _always(active_backend())
        self._launch = TableLaunch(
            settings.kernel, [*lines, *unused], self._numbers.array, self._go, *settings.switches
        )

    def is_current(self, states: Mapping[Tensor, State], options: Options) -> bool:
        """Whether parameters and states are those that were put together, and the launch is the right one."""
        settings = self._recipe(options, self._steps + 1)
        return (
            (settings.remembered, settings.switches) == self._fixed
            and all(map(is_, [param.array for param in self.params], self._arrays))
            and all(map(is_, map(states.get, self.params), self._states))
            and all(map(is_, _remembered(self._states, settings.remembered), self._remembered))
            and not (self._counted and any(state.get("step", self._steps) != self._steps for state in self._states))
        )

    def takes(self, grads: Sequence[Array | None]) -> bool:
        """Whether all parameters have a gradient, which lies in memory as the one did that this was made with."""
        return [None if each is None else (each.strides, each.dtype) for each in grads] == self._lie

    def can_be_left_out(self, options: Options) -> bool:
        """Whether the device can decide on the next step."""
        return self._recipe(options, self._steps + 1).can_be_left_out

    def advance(self, options: Options, surely: bool = True) -> None:
        """The host's part of a step: it writes what has changed to the device and counts, if it is surely made."""
        if surely:
            self.settle()
        self._numbers.write(self._recipe(options, self._steps + 1).numbers)
        if surely:
            self._count(self._steps + 1)
        else:
            self._sure = False

    def launch(self, grads: Sequence[Array], go: Array | None = None) -> None:
        """The device's part.

        Args:
            go: there, whether to make the step, uint8; None if it surely is made.
        """
        go = _always(active_backend()) if go is None else go
        if go is not self._go:
            self._launch.share(2, go)
            self._go = go
        if self._begin:
            launch(self._begin, self._numbers.array, go, threads=1)
        self._launch.point(1, grads)
        self._launch()

    def settle(self) -> None:
        """Ask the device how many steps were made, if only it knows."""
        if self._sure:
            return
        self._sure = True
        if self._begin:
            self._count(int(to_cpu(self._numbers.array[STEPS])))
        elif not self._steps:  # it matters whether there was a step at all: one has left something in the velocities
            self._count(int(any(bool(array.any()) for array in self._remembered)))

    def _count(self, steps: int) -> None:
        self._steps = steps
        if self._counted:
            for state in self._states:
                state["step"] = steps


def batches(recipe: Recipe, rows: Sequence[Row], options: Options, counted: bool) -> list[Batch]:
    """Those that a kernel updates, put together; others are left out.

    Args:
        counted: whether states count their steps, in "step"; else only the first is another than all that follow.
    """
    alike: dict[Any, list[Row]] = {}
    for row, fits in zip(rows, _fitting(rows), strict=True):
        if fits:
            steps = row.state.get("step", 0) if counted else int(bool(row.state))
            alike.setdefault((row.array.dtype, steps), []).append(row)
    return [Batch(recipe, those, options, steps, counted) for (_, steps), those in alike.items()]


@functools.cache
def _always(backend: str) -> Array:
    """What lets a kernel make its step."""
    return xp.ones(1, dtype=xp.uint8)


def unscale(grads: Sequence[Array], factor: Array) -> Array | None:
    """Multiply gradients, in place; whether all are finite then, or None, and nothing done, if they do not fit.

    Args:
        factor: float64 of shape (1,), on the device.
    """
    if not enabled() or not all(map(_is_dense, grads)) or not all(apart(grads)):
        return None
    finite = xp.empty(sum(blocks_of(grad.size) for grad in grads), dtype=xp.uint8)
    begin = 0
    alike: dict[Any, list[Array]] = {}
    for grad in grads:
        alike.setdefault(grad.dtype, []).append(grad)
    for those in alike.values():
        end = begin + sum(blocks_of(grad.size) for grad in those)
        TableLaunch(UNSCALE, [_lines(those)], factor, per_block=finite[begin:end])()
        begin = end
    return finite.all()


def rescale(numbers: Array, finite: Array, growth: float, backoff: float, interval: int, largest: float) -> None:
    """Let the scale of a loss grow or shrink; see the kernel."""
    launch(RESCALE, numbers, finite.view(xp.uint8), growth, backoff, interval, largest, threads=1)


def _fitting(rows: Sequence[Row]) -> list[bool]:
    """Which of these a kernel takes."""
    return [
        alone
        and row.array.dtype in TEMPLATE_DTYPES["T"]
        and _is_dense(row.array)
        and all(_lies_as(row.array, each) for name, each in [("", row.grad), *row.state.items()] if name != "step")
        for row, alone in zip(rows, apart([row.array for row in rows]), strict=True)
    ]


def _lines(arrays: Iterable[Array]) -> list[Array]:
    """Each as a view whose axes are in the order of its memory."""
    return [each if each.flags.c_contiguous else each.transpose(memory_order(each)) for each in arrays]


def _remembered(states: Sequence[State], names: Sequence[str]) -> list[Any]:
    return [state.get(name) for state in states for name in names]


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
