"""Sums of products: a window that slides over an image, or a matrix times a vector; each element written out.

Convolution, pooling and the fully connected layer are all seen as sums of products. In a convolution the factors are
the filter's; in average pooling each is 1 over the size of the window; in max pooling it is 1 for the winner and 0 for
the others. The factors are also what each gradient is made of, so that the way back needs nothing more.

The trees are those of `gpunet.explain.formula`: ["conv2d", "input", "weight"], ["linear", "input", "weight", "bias"],
["max_pool2d", "input"] and the other poolings. Their window is that of the exercise, or a number behind them says what
it is: the padding of a convolution, the size of a pooling's. ["by_input", STEP, GRADIENT] and ["by_weight", STEP,
GRADIENT] are the gradients by what such a step was made of.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from gpunet import functional as F
from gpunet.explain.formula import Planes, Tree
from gpunet.ops.adaptive_pooling import spans
from gpunet.ops.window import Pair, Window
from gpunet.tensor import Tensor, tensor

__all__ = ["Place", "Products", "Sum", "Term", "is_product", "window_settings"]

Place: TypeAlias = tuple[int, ...]

_WINDOWED = ("conv2d", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d")
_BACKWARD = ("by_input", "by_weight")


class Term(NamedTuple):
    """One product of a sum.

    Attributes:
        place: where the value stands: in the image, which it lies outside of where it is padding, or in the output.
        value: the number there; 0 in the padding.
        factor: what it is multiplied with.
    """

    place: Place
    value: float
    factor: float

    @property
    def product(self) -> float:
        """The value times the factor."""
        return self.value * self.factor


class Sum(NamedTuple):
    """An element of an array as a sum of products.

    Attributes:
        of: the array: "output", "input" for the gradient by the input, "weight" for that by the filters.
        place: of the element.
        terms: what is added up.
        result: what it comes to.
    """

    of: str
    place: Place
    terms: tuple[Term, ...]
    result: float


def is_product(tree: Tree) -> bool:
    """Whether a tree is a sum of products, and no formula of single elements."""
    return isinstance(tree, list) and tree[0] in (*_WINDOWED, *_BACKWARD, "linear")


@dataclass(frozen=True, eq=False)
class Products:
    """The sums of products of an exercise.

    Attributes:
        trees: of all steps, by name.
        values: of all arrays, by name, as planes; they may still grow.
        window: that slides over the images.
        output_size: of adaptive pooling.
    """

    trees: Mapping[str, Tree]
    values: Mapping[str, Planes]
    window: Window | None
    output_size: Pair | None
    _known: dict[Any, tuple[Term, ...]] = field(default_factory=dict, repr=False)

    def compute(self, tree: Tree) -> Planes:
        """All elements, as gpunet computes them; a gradient through the tape."""
        if tree[0] not in _BACKWARD:
            return self._run(tree, [tensor(self.values[name]) for name in tree[1:] if isinstance(name, str)]).numpy()
        forward = self.trees[tree[1]]
        leaves = [tensor(self.values[name], requires_grad=True) for name in forward[1:] if isinstance(name, str)]
        self._run(forward, leaves).backward(tensor(self.values[tree[2]]))
        gradient = leaves[_BACKWARD.index(tree[0])].grad
        return np.zeros(leaves[0].shape) if gradient is None else gradient.numpy() + 0.0

    def _run(self, tree: Tree, arrays: Sequence[Tensor]) -> Tensor:
        name, image, window = tree[0], arrays[0].unsqueeze(0), self._window(tree)
        if name == "linear":
            return F.linear(arrays[0].flatten(), arrays[1].squeeze(0), arrays[2].flatten()).reshape(1, 1, -1)
        if name == "adaptive_avg_pool2d":
            return F.adaptive_avg_pool2d(image, self.output_size or 1).squeeze(0)
        if name == "conv2d":
            filters = arrays[1].reshape(-1, image.shape[1], *arrays[1].shape[1:])
            return F.conv2d(image, filters, **window_settings(window, "stride", "padding", "dilation")).squeeze(0)
        names = ("kernel_size", "stride", "padding", *(["dilation"] if name == "max_pool2d" else []))
        function = F.max_pool2d if name == "max_pool2d" else F.avg_pool2d
        return function(image, **window_settings(window, *names)).squeeze(0)

    def _window(self, tree: Tree) -> Window:
        if not isinstance(tree[-1], float):
            return self.window or Window((1, 1))
        size = int(tree[-1])
        if tree[0] == "conv2d":
            return Window(self.values[tree[2]].shape[1:], padding=((size, size), (size, size)))
        return Window((size, size), (size, size))

    def covered(self, tree: Tree, place: Place) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The rows and columns of the image that the window meets for an element; those outside of it are padding."""
        if tree[0] == "adaptive_avg_pool2d":
            size, cells = self.values[tree[1]].shape[1:], self.output_size or (1, 1)
            slices = [list(spans(size[axis], cells[axis]))[place[1 + axis]] for axis in range(2)]
            rows, columns = (tuple(range(each.start, each.stop)) for each in slices)
        else:
            window = self._window(tree)
            rows, columns = (tuple(window.covered(axis, place[1 + axis])) for axis in range(2))
        return rows, columns

    def terms(self, tree: Tree, place: Place) -> tuple[Term, ...]:
        """What an element is the sum of, in the order of the filter; max pooling has none for the padding."""
        known = (*tree, place)
        if known not in self._known:
            self._known[known] = tuple(self._terms(tree, place))
        return self._known[known]

    def _terms(self, tree: Tree, place: Place) -> Iterable[Term]:
        if tree[0] in _BACKWARD:
            return self.gradient_terms(tree, [place])[place]
        image = self.values[tree[1]]
        if tree[0] == "linear":
            row = self.values[tree[2]][0, place[2]].tolist()
            return map(Term, np.ndindex(image.shape), image.ravel().tolist(), row)
        channels = range(len(image)) if tree[0] == "conv2d" else [place[0]]
        places = list(itertools.product(channels, *self.covered(tree, place)))
        inside = [all(0 <= at < size for at, size in zip(each, image.shape, strict=True)) for each in places]
        values = [float(image[each]) if within else 0.0 for each, within in zip(places, inside, strict=True)]
        if tree[0] == "max_pool2d":
            kept = [index for index, within in enumerate(inside) if within]
            winner = max(kept, key=lambda index: (values[index], -index))  # the first of equals
            return [Term(places[index], values[index], float(index == winner)) for index in kept]
        if tree[0] == "conv2d":
            begin = place[0] * len(image)
            factors = self.values[tree[2]][begin : begin + len(image)].reshape(-1).tolist()  # (C*kh*kw,)
        else:
            factors = [1 / len(places)] * len(places)
        return map(Term, places, values, factors)

    def gradient_terms(self, tree: Tree, places: Sequence[Place]) -> dict[Place, list[Term]]:
        """For each output that an element went into the gradient there, times what the element met in it."""
        kind, step, name = tree
        forward, upstream = self.trees[step], self.values[name]
        found: dict[Place, list[Term]] = {place: [] for place in places}
        if kind == "by_weight":
            for place in places:
                axis, number, index = self._in_terms(forward, place)
                outputs = [each for each in np.ndindex(upstream.shape) if each[axis] == number]
                met = [self.terms(forward, each)[index].value for each in outputs]
                found[place] = [
                    Term(each, float(upstream[each]), value) for each, value in zip(outputs, met, strict=True)
                ]
            return found
        for each in np.ndindex(upstream.shape):
            for term in self.terms(forward, each):
                if term.place in found:
                    found[term.place].append(Term(each, float(upstream[each]), term.factor))
        return found

    def _in_terms(self, forward: Tree, place: Place) -> tuple[int, int, int]:
        """For an element of a weight: along which axis which outputs are made of it, and its place in their terms."""
        if forward[0] == "linear":
            return 2, place[1], place[2]
        filters, (_, rows, columns) = len(self.values[forward[1]]), self.values[forward[2]].shape
        number, channel = divmod(place[0], filters)
        return 0, number, (channel * rows + place[1]) * columns + place[2]


def window_settings(window: Window | None, *names: str) -> dict[str, Any]:
    """Some settings of the window, under the names of `gpunet.functional`."""
    if window is None:
        return {}
    padding = (window.padding[0][0], window.padding[1][0])
    settings = {"kernel_size": window.kernel, "stride": window.stride, "padding": padding, "dilation": window.dilation}
    return {name: settings[name] for name in names}
