"""A little language for formulas: parsed once, computed with NumPy, and written with the numbers of one element.

A formula is Python's arithmetic on arrays of planes (P, rows, columns), which broadcast, with a few functions. `sum`,
`mean`, `max` and `cumprod` go over each plane. The pages compute the same trees (page/arithmetic.js).
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from gpunet.backend import quiet
from gpunet.explain.grids import number

__all__ = ["Planes", "Tree", "compute", "decided", "parse", "written"]

Tree: TypeAlias = Any
"""A number, a name, or a list of a function and what it is applied to: ["+", "x", 1.0]."""

Planes: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"

_SIGNS: dict[type[ast.AST], str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**", ast.Lt: "<", ast.Gt: ">"
}  # fmt: skip

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "**": np.power,
    "<": np.less,
    ">": np.greater,
    "negative": np.negative,
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "maximum": np.maximum,
    "where": np.where,
    "sum": lambda x: x.sum(axis=(1, 2), keepdims=True),
    "mean": lambda x: x.mean(axis=(1, 2), keepdims=True),
    "max": lambda x: x.max(axis=(1, 2), keepdims=True),
    "cumprod": lambda x: x.cumprod(axis=2),
}
_OVER_A_PLANE = ("sum", "mean", "max", "cumprod")
_STRENGTH = {"<": 0, ">": 0, "+": 1, "-": 1, "negative": 1, "*": 2, "/": 3}
"""How tightly a sign binds: what binds less stands in parentheses beside it."""

MOST_TERMS = 12  # of a sum over a plane that is written out


def parse(formula: str) -> Tree:
    """The tree of a formula.

    Example:
        >>> parse("exp(x - max(x)) / 2")
        ['/', ['exp', ['-', 'x', ['max', 'x']]], 2.0]
    """
    return _tree(ast.parse(formula, mode="eval").body)


def _tree(node: ast.expr) -> Tree:
    match node:
        case ast.Constant(value=value):
            return float(value)  # type: ignore[arg-type]
        case ast.Name(id=name):
            return name
        case ast.BinOp(left=left, op=sign, right=right):
            return [_SIGNS[type(sign)], _tree(left), _tree(right)]
        case ast.Compare(left=left, ops=[sign], comparators=[right]):
            return [_SIGNS[type(sign)], _tree(left), _tree(right)]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return ["negative", _tree(operand)]
        case ast.Call(func=ast.Name(id=name), args=arguments):
            return [name, *map(_tree, arguments)]
    raise ValueError(f"{ast.unparse(node)} is no formula")


def compute(tree: Tree, values: Mapping[str, Planes]) -> Planes:
    """What a tree comes to for the values of its names, all planes."""
    if isinstance(tree, str):
        return values[tree]
    if isinstance(tree, float):
        return np.full((1, 1, 1), tree)
    with quiet():  # where() computes both sides
        return _FUNCTIONS[tree[0]](*(compute(part, values) for part in tree[1:])) + 0.0  # never -0


def written(tree: Tree, values: Mapping[str, Planes], place: tuple[int, int, int], strength: int = 0) -> str:
    """A tree with the numbers that it is computed of at one place.

    Of `where` the side that holds is written.

    Example:
        >>> x = np.array([[[1.0, -2.0]]])
        >>> written(parse("x / sum(x * x)"), {"x": x}, (0, 0, 1))
        '(-2) / (1 · 1 + (-2) · (-2))'
    """
    if isinstance(tree, float):
        return number(tree)
    if isinstance(tree, str):
        text = number(_at(values[tree], place))
        return f"({text})" if text.startswith("-") and strength > 0 else text
    name, *parts = tree
    if name in _OVER_A_PLANE:
        return _over_a_plane(name, parts[0], values, place, strength)
    if name == "where":
        holds = bool(_at(compute(parts[0], values), place))
        return written(parts[1 if holds else 2], values, place, strength)
    own = _STRENGTH.get(name, 4)
    if name not in _STRENGTH:
        return _function(name, [written(part, values, place, 4 if name == "**" else 0) for part in parts])
    if name == "negative":
        text = f"-{written(parts[0], values, place, 3)}"
    else:
        sign = {"*": "·"}.get(name, name)
        text = f"{written(parts[0], values, place, own)} {sign} {written(parts[1], values, place, own + 1)}"
    return f"({text})" if own < strength else text


def _at(planes: Planes, place: tuple[int, int, int]) -> float:
    """The number at a place; a plane or a row of one stands for all."""
    return float(planes[tuple(min(at, size - 1) for at, size in zip(place, planes.shape, strict=True))])


def _function(name: str, texts: list[str]) -> str:
    whole = texts[0] if texts[0].replace(".", "").isalnum() else f"({texts[0]})"
    if name == "exp":
        return f"e^{whole}"
    if name == "**":
        return f"{texts[0]}²"
    if name == "maximum":
        return f"max({', '.join(texts)})"
    return f"√{whole}" if name == "sqrt" else f"log{'' if whole[0] == '(' else ' '}{whole}"


def decided(tree: Tree, values: Mapping[str, Planes], place: tuple[int, int, int]) -> str:
    """A tree that is a `where`, with the comparison that decides before the side that holds: "3 > 0 → 1 / 2"."""
    condition = tree[1]
    compared = written(condition, values, place)
    if not _at(compute(condition, values), place):
        compared = compared.replace("<", "≥").replace(">", "≤")
    return f"{compared} → {written(tree, values, place)}"


def _over_a_plane(
    name: str, part: Tree, values: Mapping[str, Planes], place: tuple[int, int, int], strength: int
) -> str:
    _, rows, columns = compute(part, values).shape
    last = place[2] + 1 if name == "cumprod" else columns
    places = [(place[0], row, column) for row in range(rows) for column in range(last)]
    binds = {"cumprod": 3, "max": 0}.get(name, 2)
    shown = [written(part, values, each, binds) for each in places[:MOST_TERMS]]
    shown += ["..."] * (len(places) > MOST_TERMS)
    if name == "max":
        return f"max({', '.join(shown)})"
    text = (" · " if name == "cumprod" else " + ").join(shown)
    if name == "mean":
        return f"({text}) / {len(places)}"
    return f"({text})" if strength > 1 and len(places) > 1 else text
