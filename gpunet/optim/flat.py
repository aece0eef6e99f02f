"""Small parameters side by side in one array, which a step updates with a few operations for all of them.

A network has dozens of parameters of few numbers: biases, and the weights and biases of batch norm. To call NumPy or
a GPU for each of them takes many times as long as the arithmetic.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from gpunet.backend import Array, address, memory_order, xp
from gpunet.tensor import Tensor

__all__ = ["Alone", "Formula", "Options", "State", "Together", "apart", "arrange"]

Options: TypeAlias = dict[str, Any]
"""The settings of a parameter group, such as "lr", by name; in `param_groups` also its "params"."""

State: TypeAlias = dict[str, Any]
"""What an optimizer remembers about one parameter: arrays of its shape, and the whole number "step"."""

Formula: TypeAlias = Callable[[Array, Array, State, Options], None]
"""What an optimizer does to values, given their gradient, state and settings; see `Optimizer._update`."""

LARGE = 1 << 15  # numbers in a parameter; with more, the copies cost more than the calls
TOGETHER = 1 << 18  # numbers in one array; so many stay in the second-level cache


class Alone:
    """One parameter, updated in its place."""

    def __init__(self, param: Tensor, state: State) -> None:
        self.params = [param]
        self._state = state

    def is_current(self, states: Mapping[Tensor, State]) -> bool:
        """Whether the state of the parameter is the one it was."""
        return states.get(self.params[0]) is self._state

    def update(self, formula: Formula, grads: Sequence[Array], options: Options) -> None:
        """Change the parameter and its state."""
        formula(self.params[0].array, grads[0], self._state, options)


class Together:
    """Several parameters of one type, with states alike, updated as if they were one.

    What is remembered about them lies side by side for good: the state of each parameter holds views of it. The values
    of the parameters stay where they are, since others may refer to them; they are copied there and back.
    """

    def __init__(self, params: Sequence[Tensor], states: Sequence[State]) -> None:
        self.params, self._states = params, states
        self._arrays = [param.array for param in params]
        self._orders = [memory_order(array) for array in self._arrays]
        self._lines = self._as_lines(self._arrays)  # views
        ends = [0]
        for array in self._arrays:
            ends.append(ends[-1] + array.size)
        self._places = [slice(start, end) for start, end in itertools.pairwise(ends)]
        self._state: State = {
            name: value if isinstance(value, int) else self._join(state[name] for state in states)
            for name, value in states[0].items()
        }
        self._views: dict[str, tuple[Array, list[Array]]] = {}  # of each array in `_state`, the views in the states
        self._share_state()

    def is_current(self, states: Mapping[Tensor, State]) -> bool:
        """Whether the arrays and the states of the parameters are those that were put together."""
        for param, array, state in zip(self.params, self._arrays, self._states, strict=True):
            if param.array is not array or states.get(param) is not state or len(state) != len(self._state):
                return False
        for name, value in self._state.items():
            expected = [value] * len(self._states) if isinstance(value, int) else self._views[name][1]
            if any(state.get(name) is not each for state, each in zip(self._states, expected, strict=True)):
                return False
        return True

    def update(self, formula: Formula, grads: Sequence[Array], options: Options) -> None:
        """Change the parameters and their states."""
        values = xp.concatenate(self._lines)
        formula(values, self._join(grads).astype(values.dtype, copy=False), self._state, options)
        for line, place in zip(self._lines, self._places, strict=True):
            line[...] = values[place]
        self._share_state()

    def _share_state(self) -> None:
        """Bring the states of the parameters up to date; the views in them are so by themselves."""
        for name, value in self._state.items():
            if isinstance(value, int):
                for state in self._states:
                    state[name] = value
            elif name not in self._views or self._views[name][0] is not value:
                views = self._cut(value)
                self._views[name] = value, views
                for state, view in zip(self._states, views, strict=True):
                    state[name] = view

    def _join(self, arrays: Iterable[Array]) -> Array:
        """Arrays in the shapes of the parameters as one line of numbers."""
        return xp.concatenate(self._as_lines(arrays))

    def _as_lines(self, arrays: Iterable[Array]) -> list[Array]:
        """Arrays as lines of numbers in the order of the parameters' memory: views where they lie so, too."""
        return [
            array if len(order) == 1 else array.transpose(order).reshape(-1)
            for array, order in zip(arrays, self._orders, strict=True)
        ]

    def _cut(self, line: Array) -> list[Array]:
        """The reverse: views of the line, in the shapes and memory orders of the parameters."""
        views = []
        for array, order, place in zip(self._arrays, self._orders, self._places, strict=True):
            shape = [array.shape[axis] for axis in order]
            views.append(line[place].reshape(shape).transpose(sorted(range(array.ndim), key=order.__getitem__)))
        return views


def arrange(params: Sequence[Tensor], states: Mapping[Tensor, State]) -> list[Alone | Together]:
    """Put parameters together where that pays: small ones of one type, whose states hold the same things."""
    small = [param for param in params if _fits_in(param, states[param])]
    fitting = set(itertools.compress(small, apart([param.array for param in small])))
    alike: dict[Any, list[list[Tensor]]] = {}
    alone = []
    for param in params:
        if param not in fitting:
            alone.append(param)
            continue
        runs = alike.setdefault((param.dtype, _kinds(states[param])), [[]])
        if sum(each.numel() for each in runs[-1]) + param.numel() > TOGETHER:
            runs.append([])
        runs[-1].append(param)
    together = [run for runs in alike.values() for run in runs]
    alone += [run[0] for run in together if len(run) == 1]
    return [
        *(Alone(param, states[param]) for param in alone),
        *(Together(run, [states[param] for param in run]) for run in together if len(run) > 1),
    ]


def _fits_in(param: Tensor, state: State) -> bool:
    """Whether a parameter can be updated together with others: it is small, and its numbers lie side by side."""
    array = param.array
    return (
        array.size < LARGE
        and array.transpose(memory_order(array)).flags.c_contiguous
        and all(isinstance(value, int) or value.shape == array.shape for value in state.values())
    )


def apart(arrays: Sequence[Array]) -> list[bool]:
    """Which of these share no memory with one before them.

    Copied out, and back, the later of two would undo the earlier; written at once, they would race.
    """
    found, end = [False] * len(arrays), 0
    for place in sorted(range(len(arrays)), key=lambda i: address(arrays[i])):
        start = address(arrays[place])
        if start >= end:
            found[place], end = True, start + arrays[place].nbytes
    return found


def _kinds(state: State) -> frozenset[Any]:
    """What a state holds: whole numbers by their value, arrays by the type of their numbers."""
    return frozenset((name, value if isinstance(value, int) else value.dtype) for name, value in state.items())
