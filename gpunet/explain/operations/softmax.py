"""Softmax: numbers become a distribution."""

from __future__ import annotations

from gpunet import functional as F
from gpunet.explain.given import LOGITS, Given
from gpunet.explain.operation import Exercise, Grid, Operation, Step

__all__ = ["SOFTMAX"]


def _make(given: Given) -> Exercise:
    return Exercise("softmax", given.row("input", LOGITS, fewest=2))


SOFTMAX = Operation(
    name="softmax",
    group="numbers",
    settings=("input", "gradient"),
    make=_make,
    function=lambda e, x: F.softmax(x["input"]),
    grids={
        "input": Grid("x", "one", (1, 1, "count"), "number", (-3, 3, 1)),
        "gradient": Grid("dy", "three", "output", random=(-2, 2, 1), fresh=0),
    },
    steps=(
        Step("shifted", "x - max", "input - max(input)"),
        Step("exponential", "e^(x-max)", "exp(shifted)"),
        Step("sum", "Σ", "sum(exponential)"),
        Step("output", "y", "exponential / sum", hue="three"),
    ),
    back=(
        Step("weighted_gradient", "Σ g y", "sum(gradient * output)"),
        Step("input_gradient", "dx", "output * (gradient - weighted_gradient)", hue="one"),
    ),
    columns=(("input", "input_gradient"), ("exponential",), ("output", "gradient")),
    signs=("→", "→"),
    spread=False,
    picture={"kind": "bars", "series": (("three", "output"),)},
    english="""
        title: Softmax
        summary: Turns numbers into a distribution over the classes: all positive, and their sum is 1.
        formula: y[i] = e^x[i] / Σ over k of e^x[k]
        where: Subtracting max x from all of them changes nothing, but nothing overflows.
        backward: dx[i] = y[i] · (g[i] - Σ over k of g[k] y[k]), with g = dy
        why: A classifier should say how probable it takes each class to be. What one class gains, the others lose.
        paper: Bridle, "Probabilistic interpretation of feedforward classification network outputs", 1990
        shifted: at most 0, so that no exponential overflows
        exponential: its exponential
        sum: the sum of the exponentials
        weighted_gradient: what all classes share, because their sum stays 1
        picture: The distribution y: a bar for each class.
    """,
    spanish="""
        title: Softmax
        summary: Convierte números en una distribución de probabilidad sobre las clases: todos positivos, y su suma es
            1.
        formula: y[i] = e^x[i] / Σ sobre k de e^x[k]
        where: Restar máx x a todos no cambia el resultado, pero evita el overflow.
        backward: dx[i] = y[i] · (g[i] - Σ sobre k de g[k] y[k]), con g = dy
        why: Un clasificador debería decir qué tan probable considera cada clase. Lo que gana una clase lo pierden las
            demás.
        paper: Bridle, "Probabilistic interpretation of feedforward classification network outputs", 1990
        shifted: como máximo 0, para que ninguna exponencial desborde
        exponential: su exponencial
        sum: la suma de las exponenciales
        weighted_gradient: lo que comparten todas las clases, porque su suma sigue siendo 1
        picture: La distribución y: una barra por clase.
    """,
)
