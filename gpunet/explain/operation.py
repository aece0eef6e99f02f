"""What a file of gpunet/explain/operations says about its operation; terminal and page are made of it alone."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from gpunet.explain.formula import Tree, parse
from gpunet.explain.given import Given, Values
from gpunet.ops.window import Pair, Window
from gpunet.tensor import Tensor

__all__ = ["IMAGE", "ONES", "Distribution", "Exercise", "Grid", "Operation", "Step"]

Tensors: TypeAlias = Mapping[str, Tensor]


class Grid(NamedTuple):
    """Numbers that are given, and that a reader of the page can change.

    Attributes:
        symbol: by which formulas name it.
        hue: what it belongs to: "one" the input, "two" what the input meets, "three" the output, "four" in between.
        shape: the names of settings, or numbers; "kernel" is two of them. Or the name of what it is as large as.
        rule: what can be typed: a "number", a "probability", a "certainty" (none that is 0 or 1), a "draw".
        random: the least and the most that chance gives, and the steps between.
        fresh: what is put where the grid grows; None for what chance gives.
    """

    symbol: str
    hue: str
    shape: tuple[str | int, ...] | str
    rule: str = "number"
    random: tuple[float, float, float] = (0, 3, 1)
    fresh: float | None = None


IMAGE = Grid("I", "one", ("channels", "height", "width"))
ONES = Grid("dO", "three", "output", random=(-2, 2, 1), fresh=1)
"""The gradient by an output that is an image."""


class Step(NamedTuple):
    """A quantity and how it is computed.

    Attributes:
        name: that of a result ("output", "input_gradient", "weight_gradient", ...), or its own.
        symbol: by which formulas name it.
        formula: in the language of `gpunet.explain.formula`; or a sum of products, as `gpunet.explain.products` has it.
        hue: as that of a Grid.
    """

    name: str
    symbol: str
    formula: str
    hue: str = "four"


@dataclass(frozen=True, eq=False)
class Exercise:
    """One operation with its numbers. Names and meanings are those of `gpunet.functional`; arrays are float64.

    What an operation does not have is None.

    Attributes:
        operation: one of OPERATIONS.
        input: an image (C, H, W), or numbers (K,): logits of cross_entropy, q of kl_div, probabilities of
            binary_cross_entropy.
        gradient: of the loss by the output, like the output; None for a loss, where it is 1.
        chosen: the element that is looked at closely: a place in the output, (channel, row, column) or (index,); of a
            loss the index of one of its terms.
        weight: the filters (O, C, kh, kw) of a convolution, gamma (C,) of batch_norm, the matrix (O, K) of linear.
        second_weight: the filters of the second convolution of residual_block.
        matrix: the weight (O, K) of the last layer of network.
        bias: beta (C,) of batch_norm, the bias (O,) of linear.
        factors: the slope of each layer of the chain that residual_block is compared with.
        uniform: what dropout draws for each element.
        target: for each number of the input the right probability.
        label: of cross_entropy, where the target is one class.
        window: kernel size, stride, padding and dilation of what slides over the image.
        output_size: of adaptive_avg_pool2d.
        p: of dropout.
        seed: of dropout.
        eps: of batch_norm.
    """

    operation: str
    input: Values
    gradient: Values | None = None
    chosen: tuple[int, ...] = ()
    weight: Values | None = None
    second_weight: Values | None = None
    matrix: Values | None = None
    bias: Values | None = None
    factors: Values | None = None
    uniform: Values | None = None
    target: Values | None = None
    label: int | None = None
    window: Window | None = None
    output_size: Pair | None = None
    p: float | None = None
    seed: int | None = None
    eps: float | None = None


class Distribution(NamedTuple):
    """A grid whose numbers should add up to 1, and the setting that makes it one-hot, if there is one."""

    grid: str
    label: str | None = None


@dataclass(frozen=True, eq=False)
class Operation:
    """An operation of the lecture.

    Attributes:
        name: in `gpunet.functional`.
        group: the part of the lecture: "images", "networks", "numbers" or "losses".
        english, spanish: the texts, "key: text", with longer ones indented: title, summary, formula; `where`, which
            explains its letters; `backward`, the formulas of the gradients; why it matters; the paper; what each
            quantity is, by its name; what the picture shows; a remark; what the problem is.
        settings: what can be chosen, beside the element that is looked at.
        make: reads what was given, into an exercise.
        function: runs it: a Tensor of the Tensors of the exercise, which have its names.
        grids: what is given, in the order in which a terminal shows it; "gradient" is the one by the output.
        steps: the way forward; the last is the output.
        back: the way back.
        columns: the grids of a page from left to right; beside each other where there is a tuple within one.
        signs: between the columns.
        below: further grids, in rows below the columns.
        views: what can be stepped through; the first is the way forward.
        spread: whether the gradient by the output is 1 everywhere where none is given; where that says nothing, it is 1
            for the chosen element alone.
        small: whether a page shows numbers as coloured cells alone, as there are too many to be read.
        flags: what the command line calls a setting, where it is not its own name.
        picture: what is drawn: its kind, names and hues.
        problem: a formula that is not 0 where nothing can be computed.
        distributions: grids that should add up to 1.
    """

    name: str
    group: str
    settings: tuple[str, ...]
    make: Callable[[Given], Exercise]
    function: Callable[[Exercise, Tensors], Tensor]
    grids: Mapping[str, Grid]
    steps: tuple[Step, ...]
    back: tuple[Step, ...]
    columns: tuple[tuple[str | tuple[str, ...], ...], ...]
    signs: tuple[str, ...] = ()
    below: tuple[tuple[str, ...], ...] = ()
    views: tuple[str, ...] = ("output", "input_gradient")
    spread: bool = True
    small: bool = False
    flags: Mapping[str, str] = field(default_factory=dict)
    picture: Mapping[str, Any] | None = None
    problem: str | None = None
    distributions: tuple[Distribution, ...] = ()
    english: str = ""
    spanish: str = ""

    @property
    def is_loss(self) -> bool:
        """Whether its output is a single number."""
        return "gradient" not in self.grids

    @property
    def is_image(self) -> bool:
        """Whether it works on an image; the others work on a few numbers."""
        return self.group in ("images", "networks")

    def symbol(self, name: str) -> str:
        """By which formulas name a grid or a step."""
        return self.grids[name].symbol if name in self.grids else self._steps[name].symbol

    @functools.cached_property
    def _steps(self) -> dict[str, Step]:
        return {each.name: each for each in self.all_steps}

    @functools.cached_property
    def texts(self) -> dict[str, dict[str, str]]:
        """The texts of each language by their keys; several lines of a key are lines of its text."""
        return {"en": _texts(self.english), "es": _texts(self.spanish)}

    @property
    def all_steps(self) -> tuple[Step, ...]:
        """The way forward and back."""
        return self.steps + self.back

    @functools.cached_property
    def trees(self) -> dict[str, Tree]:
        """The formulas of all steps, by their names."""
        return {each.name: parse(each.formula) for each in self.all_steps}


def _texts(block: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in re.sub(r"\n {12,}", " ", block).strip().splitlines():
        key, _, text = line.strip().partition(": ")
        found[key] = f"{found[key]}\n{text}" if key in found else text
    return found
