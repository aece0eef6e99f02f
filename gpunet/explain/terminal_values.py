"""Dropout, batch normalisation, activations and losses on a terminal: what lies between input and output."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from gpunet.explain.exercise import LOSSES
from gpunet.explain.explanation import Explanation
from gpunet.explain.grids import grid, number, padded, titled
from gpunet.explain.quantities import Quantity
from gpunet.explain.writing import INDENT, Writer, bracketed, element

__all__ = ["chosen_value", "gradient_of_chosen", "values"]


def values(explanation: Explanation, writer: Writer, backward: bool = False) -> list[str]:
    """The intermediate values: a table for numbers, grids for images, and what each of them is."""
    found = [quantity for quantity in explanation.quantities if quantity.backward == backward]
    if not explanation.quantities:
        return []
    channel = explanation.exercise.chosen[0]
    images = [quantity for quantity in found if quantity.values.ndim == 3]
    blocks = [titled(each.symbol, grid(each.values[channel], writer.paint), writer.paint) for each in images]
    lines = writer.blocks(blocks) if blocks else []
    if explanation.exercise.input.ndim == 1:
        lines += _table(explanation, [each for each in found if each.values.ndim == 1], writer, backward)
    symbols = max((len(each.symbol) for each in found), default=0)
    singles = {
        each.name: f" = {number(value):8}" for each in found if (value := _single(explanation, each)) is not None
    }
    width = max(map(len, singles.values()), default=0)
    for each in found:
        meaning = writer.words(f"quantity.{each.name}", seed=explanation.exercise.seed)
        symbol = writer.paint(padded(each.symbol, symbols), "cyan")
        lines += writer.wrapped(f"{symbol}{singles.get(each.name, ''):{width}}  {meaning}", INDENT * 3)
    return lines


def _single(explanation: Explanation, quantity: Quantity) -> float | None:
    """The value, if there is one for all, or one for each channel of an image; None if there are many."""
    if quantity.values.ndim == 0:
        return float(quantity.values)
    is_per_channel = quantity.values.ndim == 1 and explanation.exercise.input.ndim == 3
    return float(quantity.values[explanation.exercise.chosen[0]]) if is_per_channel else None


def _table(explanation: Explanation, found: Sequence[Quantity], writer: Writer, backward: bool) -> list[str]:
    """A row for each number of the input, a column for each quantity; what the input and output are, too."""
    exercise = explanation.exercise
    columns: list[tuple[str, np.ndarray]] = []
    if not backward:
        columns.append((_INPUT_SYMBOLS.get(exercise.operation, "x"), exercise.input))
        if exercise.target is not None:
            columns.append(("p" if exercise.operation == "kl_div" else "t", exercise.target))
    columns += [(each.symbol, each.values) for each in found]
    if explanation.output.ndim == 1 and not backward:
        columns.append(("y", explanation.output))
    if backward:
        symbol = {"kl_div": "dq", "binary_cross_entropy": "dy"}.get(exercise.operation, "dx")
        columns.append((symbol, explanation.gradients["input"]))
    texts = [[title, *map(number, array)] for title, array in columns]
    widths = [max(map(len, column)) for column in texts]
    lines = []
    for row in range(len(exercise.input) + 1):
        cells = "  ".join(f"{column[row]:>{width}}" for column, width in zip(texts, widths, strict=True))
        index = f"{row - 1:2}" if row else "  "
        marked = row - 1 == exercise.chosen[0]
        style = "bold" if row == 0 else "green" if marked else ""
        line = f"{'>' if marked else ' '}{index}  {cells}"
        lines.append(f"{INDENT}{writer.paint(line, style) if style else line}")
    return lines


_INPUT_SYMBOLS = {"kl_div": "q", "binary_cross_entropy": "y"}


# ------------------------------------------------------------------------------------------------ the chosen element


def chosen_value(explanation: Explanation, writer: Writer) -> list[str]:
    """The formula of the chosen element with its numbers in it; of a loss, the formula of all of it, too."""
    write = _VALUES.get(explanation.exercise.operation)
    if write is None:
        return []
    return [line for text in write(_Numbers(explanation)) for line in writer.wrapped(text, INDENT * 3)]


def gradient_of_chosen(explanation: Explanation, writer: Writer) -> list[str]:
    """The formula of the gradient at the chosen element with its numbers in it."""
    write = _GRADIENTS.get(explanation.exercise.operation)
    return [] if write is None else writer.wrapped(write(_Numbers(explanation)), INDENT * 3)


class _Numbers:
    """The numbers of the chosen element, as texts."""

    def __init__(self, explanation: Explanation) -> None:
        exercise = explanation.exercise
        self.explanation, self.exercise, self.place = explanation, exercise, exercise.chosen
        self.x = bracketed(exercise.input[self.place])
        self.t = "" if exercise.target is None else number(exercise.target[self.place])
        self.g = "" if exercise.gradient is None else bracketed(exercise.gradient[self.place])
        self.dx = number(explanation.gradients["input"][self.place])
        self.result = number(
            float(explanation.output if exercise.operation in LOSSES else explanation.output[self.place])
        )

    def name(self, letter: str) -> str:
        """The element of an array that goes by this letter."""
        return element(letter, self.place, self.exercise.input.shape)

    def __getitem__(self, quantity: str) -> str:
        """A quantity at the chosen element: of its channel, or of all, where it is not one for each element."""
        (values,) = (each.values for each in self.explanation.quantities if each.name == quantity)
        return bracketed(values[self.place[: values.ndim]])

    def parts(self) -> list[str]:
        """The terms of a loss."""
        (values,) = (each.values for each in self.explanation.quantities if each.name == "parts")
        return [bracketed(value) for value in values]


def _dropout(n: _Numbers) -> list[str]:
    p, u, name = number(n.exercise.p or 0), n["uniform"], n.name("O")
    if float(n["mask"]) == 0:
        return [f"{n.name('u')} = {u} < {p}: {name} = 0"]
    return [f"{n.name('u')} = {u} ≥ {p}: {name} = {n.x} / (1 - {p}) = {n.result}"]


def _batch_norm(n: _Numbers) -> list[str]:
    gamma, beta = _gamma_and_beta(n)
    root = f"√({n['variance']} + {n.exercise.eps:g})"
    return [f"{n.name('O')} = ({n.x} - {n['mean']}) / {root} · {gamma} + {beta} = {n.result}"]


def _gamma_and_beta(n: _Numbers) -> tuple[str, str]:
    vectors = (n.exercise.weight, n.exercise.bias)
    gamma, beta = (bracketed(0.0 if vector is None else vector[n.place[0]]) for vector in vectors)
    return gamma, beta


def _sigmoid(n: _Numbers) -> list[str]:
    return [f"{n.name('y')} = 1 / (1 + {n['exponential_of_negative']}) = 1 / {n['one_plus']} = {n.result}"]


def _softmax(n: _Numbers) -> list[str]:
    return [f"{n.name('y')} = {n['exponential']} / {n['sum']} = {n.result}"]


def _kl_div(n: _Numbers) -> list[str]:
    part = n.parts()[n.place[0]]
    return [
        f"{n.t} · log({n.t} / {n.x}) = {part}" if float(n.t) else f"p[{n.place[0]}] = 0: 0",
        f"KL = {' + '.join(n.parts())} = {n.result}",
        f"KL = {n['cross_entropy']} - {n['entropy']} = {n.result}",
    ]


def _binary_cross_entropy(n: _Numbers) -> list[str]:
    part = n.parts()[n.place[0]]
    first, second = n.t, number(1 - float(n.t))
    count = len(n.exercise.input)
    return [
        f"{n.name('L')} = -{first} · {n['log_y']} - {second} · {n['log_not_y']} = {part}",
        f"L = ({' + '.join(n.parts())}) / {count} = {n.result}",
    ]


def _cross_entropy(n: _Numbers) -> list[str]:
    part = n.parts()[n.place[0]]
    lines = [f"-{n.t} · log {n['softmax']} = -{n.t} · {n['log_softmax']} = {part}"]
    return [*lines, f"L = {' + '.join(n.parts())} = {n.result}"]


_VALUES: dict[str, Callable[[_Numbers], list[str]]] = {
    "dropout": _dropout,
    "batch_norm": _batch_norm,
    "sigmoid": _sigmoid,
    "softmax": _softmax,
    "kl_div": _kl_div,
    "binary_cross_entropy": _binary_cross_entropy,
    "cross_entropy": _cross_entropy,
}


def _dropout_gradient(n: _Numbers) -> str:
    return f"{n.name('dI')} = {n.g} · {n['mask']} = {n.dx}"


def _batch_norm_gradient(n: _Numbers) -> str:
    gamma, _ = _gamma_and_beta(n)
    inner = f"{n.g} - {n['mean_gradient']} - {n['normalised']} · {n['mean_product']}"
    return f"{n.name('dI')} = {gamma} / {n['std']} · ({inner}) = {n.dx}"


def _sigmoid_gradient(n: _Numbers) -> str:
    return f"{n.name('dx')} = {n.g} · {n.result} · (1 - {n.result}) = {n.dx}"


def _softmax_gradient(n: _Numbers) -> str:
    return f"{n.name('dx')} = {n.result} · ({n.g} - {n['weighted_gradient']}) = {n.dx}"


def _kl_div_gradient(n: _Numbers) -> str:
    return f"{n.name('dq')} = -{n.t} / {n.x} = {n.dx}"


def _binary_cross_entropy_gradient(n: _Numbers) -> str:
    count = len(n.exercise.input)
    return f"{n.name('dy')} = ({n.x} - {n.t}) / ({n.x} · (1 - {n.x})) / {count} = {n.dx}"


def _cross_entropy_gradient(n: _Numbers) -> str:
    return f"{n.name('dx')} = {n['softmax']} - {n.t} = {n.dx}"


_GRADIENTS: dict[str, Callable[[_Numbers], str]] = {
    "dropout": _dropout_gradient,
    "batch_norm": _batch_norm_gradient,
    "sigmoid": _sigmoid_gradient,
    "softmax": _softmax_gradient,
    "kl_div": _kl_div_gradient,
    "binary_cross_entropy": _binary_cross_entropy_gradient,
    "cross_entropy": _cross_entropy_gradient,
}
