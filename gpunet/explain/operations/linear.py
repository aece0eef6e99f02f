"""The fully connected layer: a matrix times a vector, plus a bias."""

from __future__ import annotations

import numpy as np

from gpunet import functional as F
from gpunet.errors import ArgumentError, ShapeError
from gpunet.explain.given import MOST_NUMBERS, Given
from gpunet.explain.operation import Exercise, Grid, Operation, Step

__all__ = ["LINEAR"]


WEIGHT = ((1, 0, -1), (2, 1, 0))


def _make(given: Given) -> Exercise:
    x = given.row("input", (1, 2, 3))
    drawn = np.random.default_rng(1).integers(-1, 3, (2, len(x)))
    weight = given.numbers("weight", WEIGHT if len(x) == 3 else drawn)
    weight = weight.reshape(1, -1) if weight.ndim == 1 else weight
    if weight.ndim != 2 or weight.shape[1] != len(x):
        raise ShapeError(
            f"{given.where}: weight must be (O, K) with a column for each of the {len(x)} numbers of the input, "
            f"got shape {weight.shape}"
        )
    if len(weight) > MOST_NUMBERS:
        raise ArgumentError(f"{given.where}: at most {MOST_NUMBERS} outputs can be shown, got {len(weight)}")
    bias = given.row("bias", [1.0] + [0.0] * (len(weight) - 1))
    if len(bias) != len(weight):
        raise ShapeError(f"{given.where}: bias must be one number for each output, {len(weight)}, got {len(bias)}")
    return Exercise("linear", x, weight=weight, bias=bias)


LINEAR = Operation(
    name="linear",
    group="numbers",
    settings=("input", "weight", "bias", "gradient"),
    make=_make,
    function=lambda e, x: F.linear(x["input"], x["weight"], x["bias"]),
    grids={
        "input": Grid("x", "one", (1, 1, "count"), "number", (-3, 3, 1)),
        "weight": Grid("W", "two", (1, "outputs", "count"), random=(-2, 2, 1)),
        "bias": Grid("b", "two", (1, 1, "outputs"), random=(-2, 2, 1), fresh=0),
        "gradient": Grid("dy", "three", "output", random=(-2, 2, 1), fresh=1),
    },
    steps=(Step("output", "y", "linear(input, weight, bias)", hue="three"),),
    back=(
        Step("input_gradient", "dx", "by_input(output, gradient)", hue="one"),
        Step("weight_gradient", "dW", "by_weight(output, gradient)", hue="two"),
        Step("bias_gradient", "db", "1 * gradient", hue="two"),
    ),
    columns=(
        ("input", "input_gradient"),
        (("weight", "bias"), ("weight_gradient", "bias_gradient")),
        ("output", "gradient"),
    ),
    signs=("·", "="),
    views=("output", "input_gradient", "weight_gradient", "bias_gradient"),
    english="""
        title: Fully connected layer
        summary: Each output is a sum over all inputs, each with a weight of its own, plus a bias. At the end of a
            network it turns what was found into a number for each class.
        formula: y[o] = Σ over k of W[o,k] · x[k] + b[o]
        where: W has a row for each output, as in PyTorch: its shape is (outputs, inputs).
        backward: dx[k] = Σ dy[o] · W[o,k]
        backward: dW[o,k] = dy[o] · x[k]
        backward: db[o] = dy[o]
        why: A convolution whose filter is as large as the image is just this. It sees everything at once, and pays for
            it: as many weights as inputs times outputs.
        paper: Rosenblatt, "The perceptron: a probabilistic model for information storage and organization in the
            brain", 1958
    """,
    spanish="""
        title: Capa totalmente conectada
        summary: Cada salida es una suma sobre todas las entradas, cada una con un peso propio, más un sesgo. Al final
            de una red convierte lo encontrado en un número por clase.
        formula: y[o] = Σ sobre k de W[o,k] · x[k] + b[o]
        where: W tiene una fila por salida, como en PyTorch: su forma es (salidas, entradas).
        backward: dx[k] = Σ dy[o] · W[o,k]
        backward: dW[o,k] = dy[o] · x[k]
        backward: db[o] = dy[o]
        why: Una convolución cuyo filtro es tan grande como la imagen es exactamente esto. Lo ve todo a la vez, y lo
            paga: tantos pesos como entradas por salidas.
        paper: Rosenblatt, "The perceptron: a probabilistic model for information storage and organization in the
            brain", 1958
    """,
)
