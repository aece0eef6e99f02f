"""One element written out with the numbers that it is made of, as a line of text."""

from __future__ import annotations

import numpy as np

from gpunet.explain.explanation import Explanation
from gpunet.explain.formula import decided, written
from gpunet.explain.grids import bracketed, number
from gpunet.explain.operations import LECTURE
from gpunet.explain.products import Place, is_product
from gpunet.explain.writing import INDENT, Writer, element

__all__ = ["name_of", "place_in", "plane_names", "spelled"]


def spelled(explanation: Explanation, name: str, place: Place, writer: Writer) -> list[str]:
    """An element of a step: its products, or its formula with the numbers in it."""
    products = explanation.products
    tree, result = products.trees[name], float(products.values[name][place])
    title = name_of(explanation, name, place)
    if not is_product(tree):
        at = (place[0], place[1], place[2])
        if isinstance(tree, list) and tree[0] == "where":
            text = decided(tree, products.values, at)
            end = "" if text.endswith(f"→ {number(result)}") else f" = {number(result)}"
            return writer.wrapped(f"{title}: {text}{end}", INDENT * 3)
        text = written(tree, products.values, at)
        return writer.wrapped(f"{title} = {text} = {number(result)}", INDENT * 3)
    terms = products.terms(tree, place)
    if tree[0] == "max_pool2d":
        text = f"max({', '.join(number(term.value) for term in terms)})"
    elif tree[0] in ("avg_pool2d", "adaptive_avg_pool2d"):
        text = f"({' + '.join(bracketed(term.value) for term in terms)}) / {len(terms)}"
    else:
        bias = float(products.values[tree[3]][0, 0, place[2]]) if tree[0] == "linear" else None
        return writer.products(title, terms, result, bias)
    return writer.wrapped(f"{title} = {text} = {number(result)}", INDENT * 3)


def name_of(explanation: Explanation, name: str, place: Place) -> str:
    """An element by its indices: those of PyTorch's shape, without those of axes that are one element long."""
    shape = explanation.products.values[name].shape
    symbol = LECTURE[explanation.exercise.operation].symbol(name)
    if channels := _channels_of_filters(explanation, name):
        counts = (shape[0] // channels, channels)
        return element(symbol, (*divmod(place[0], channels), *place[1:]), (*counts, *shape[1:]))
    if explanation.exercise.input.ndim == 1 or max(shape) == 1 == len(explanation.exercise.chosen):
        shown = [at for at, size in zip(place, shape, strict=True) if size > 1]
    elif shape[1:] == (1, 1) and name not in ("input", "output"):
        shown = [place[0]] if shape[0] > 1 else []
    elif shape[:2] == (1, 1) and name not in ("input", "output"):
        shown = [place[2]]
    else:
        return element(symbol, place, shape)
    whole = f"({symbol})" if " " in symbol else symbol
    return f"{whole}[{','.join(map(str, shown))}]" if shown else symbol


def plane_names(explanation: Explanation, name: str) -> list[str]:
    """What stands over each plane of an array."""
    planes = explanation.products.values[name]
    symbol = LECTURE[explanation.exercise.operation].symbol(name)
    if len(planes) == 1:
        return [symbol]
    channels = _channels_of_filters(explanation, name)
    places = [f"{p // channels},{p % channels}" if channels else str(p) for p in range(len(planes))]
    return [f"{symbol}[{place}]" for place in places]


def place_in(explanation: Explanation, name: str) -> Place:
    """The element of a step that belongs to the chosen one; of what has another size the first, of a chain the last."""
    values, chosen = explanation.products.values[name], explanation.exercise.chosen
    shape = values.shape
    if len(chosen) == 1 and shape[1] > 1:  # of the maps of a network the largest element, which goes on
        return tuple(int(at) for at in np.unravel_index(np.abs(values).argmax(), shape))
    place = (0,) * (3 - len(chosen)) + chosen
    if len(chosen) == 1 and shape[:2] == (1, 1):
        return (0, 0, min(chosen[0], shape[2] - 1))
    if shape[1:] == (1, 1):
        return (min(place[0], shape[0] - 1), 0, 0)
    if all(at < size for at, size in zip(place, shape, strict=True)) and "by_weight" not in _kind(explanation, name):
        return place if shape[1] > 1 or explanation.exercise.input.ndim == 1 else (0, 0, shape[2] - 1)
    return (0, 0, 0) if "by_weight" in _kind(explanation, name) else (0, 0, shape[2] - 1)


def _kind(explanation: Explanation, name: str) -> str:
    tree = explanation.products.trees[name]
    return tree[0] if isinstance(tree, list) else ""


def _channels_of_filters(explanation: Explanation, name: str) -> int:
    """How many channels the filters of a grid, or of a gradient, have; 0 where it holds no filters."""
    grid = LECTURE[explanation.exercise.operation].grids.get(name.removesuffix("_gradient"))
    if grid is None or isinstance(grid.shape, str):
        return 0
    if len(grid.shape) == 4:
        return int(grid.shape[1])
    return len(explanation.exercise.input) if "filters" in grid.shape else 0
