"""A tiny trained network on a handwritten digit, from its pixels to a probability for each class, and back."""

from __future__ import annotations

import dataclasses
import functools
import importlib.resources
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from gpunet import functional as F
from gpunet.errors import ArgumentError, ShapeError
from gpunet.explain.given import Given
from gpunet.explain.operation import Distribution, Exercise, Grid, Operation, Step
from gpunet.tensor import Tensor, tensor

__all__ = ["NETWORK"]

CLASSES = 10


@functools.cache
def _weights() -> dict[str, Any]:
    """What tools/make_network.py has trained: 354 weights."""
    text = (importlib.resources.files("gpunet.explain.operations") / "network.json").read_text(encoding="utf-8")
    return {name: np.array(values, np.float64) for name, values in json.loads(text).items()}


def _make(given: Given) -> Exercise:
    digit = given.get("input", "digit 3")
    image = given.image() if "input" in given else Given("network", {"input": digit}).image()
    if image.shape != (1, 8, 8):
        raise ShapeError(f"{given.where}: input must be an image of 8x8 pixels, as the network was trained on")
    if "target" not in given and not isinstance(digit, str):
        raise ArgumentError(f"{given.where}: give the target, too: which digit it is")
    label = given.label(CLASSES, usual=int(digit[-1]) if isinstance(digit, str) else 0)
    exercise = Exercise("network", image, target=np.eye(CLASSES)[label], label=label)
    return dataclasses.replace(exercise, **_weights())


def _run(exercise: Exercise, x: Mapping[str, Tensor]) -> Tensor:
    first = F.max_pool2d(F.relu(F.conv2d(x["input"] / 16, x["weight"], padding=1)), 2)
    second = F.max_pool2d(F.relu(F.conv2d(first, x["second_weight"], padding=1)), 2)
    logits = F.linear(second.flatten(1), x["matrix"], x["bias"])
    return F.cross_entropy(logits, tensor([exercise.label]))


NETWORK = Operation(
    name="network",
    group="networks",
    settings=("input", "target"),
    make=_make,
    function=_run,
    grids={
        "input": Grid("I", "one", (1, 8, 8)),
        "weight": Grid("F₁", "two", (4, 1, 3, 3)),
        "second_weight": Grid("F₂", "two", (4, 4, 3, 3)),
        "matrix": Grid("W", "two", (1, CLASSES, 16)),
        "bias": Grid("b", "two", (1, 1, CLASSES)),
        "target": Grid("t", "two", (1, 1, CLASSES), "probability"),
    },
    steps=(
        Step("scaled", "x", "input / 16"),
        Step("first", "a₁", "conv2d(scaled, weight, 1)"),
        Step("first_relu", "h₁", "maximum(first, 0)"),
        Step("first_pool", "p₁", "max_pool2d(first_relu, 2)"),
        Step("second", "a₂", "conv2d(first_pool, second_weight, 1)"),
        Step("second_relu", "h₂", "maximum(second, 0)"),
        Step("second_pool", "p₂", "max_pool2d(second_relu, 2)"),
        Step("logits", "z", "linear(second_pool, matrix, bias)"),
        Step("exponential", "e^(z-max)", "exp(logits - max(logits))"),
        Step("total", "Σ", "sum(exponential)"),
        Step("probabilities", "y", "exponential / total", hue="three"),
        Step("output", "L", "sum(where(target > 0, -target * log(probabilities), 0))"),
    ),
    back=(
        Step("logits_gradient", "dz", "probabilities - target"),
        Step("second_pool_gradient", "dp₂", "by_input(logits, logits_gradient)"),
        Step("second_relu_gradient", "dh₂", "by_input(second_pool, second_pool_gradient)"),
        Step("second_gradient", "da₂", "where(second > 0, second_relu_gradient, 0)"),
        Step("first_pool_gradient", "dp₁", "by_input(second, second_gradient)"),
        Step("first_relu_gradient", "dh₁", "by_input(first_pool, first_pool_gradient)"),
        Step("first_gradient", "da₁", "where(first > 0, first_relu_gradient, 0)"),
        Step("scaled_gradient", "dx", "by_input(first, first_gradient)"),
        Step("input_gradient", "dI", "scaled_gradient / 16", hue="one"),
        Step("weight_gradient", "dF₁", "by_weight(first, first_gradient)", hue="two"),
        Step("second_weight_gradient", "dF₂", "by_weight(second, second_gradient)", hue="two"),
        Step("matrix_gradient", "dW", "by_weight(logits, logits_gradient)", hue="two"),
        Step("bias_gradient", "db", "1 * logits_gradient", hue="two"),
    ),
    columns=(
        ("input", "input_gradient"),
        ("first", "first_gradient"),
        ("first_relu", "first_relu_gradient"),
        ("first_pool", "first_pool_gradient"),
        ("second", "second_gradient"),
        ("second_relu", "second_relu_gradient"),
        ("second_pool", "second_pool_gradient"),
        ("logits", "logits_gradient"),
        ("probabilities", ("target", "output")),
    ),
    signs=("F₁", "→", "→", "F₂", "→", "→", "W", "→"),
    below=(
        ("weight", "weight_gradient", "second_weight", "second_weight_gradient"),
        ("matrix", "matrix_gradient", "bias", "bias_gradient"),
    ),
    views=("probabilities", "logits", "second", "first", "logits_gradient", "first_gradient", "input_gradient"),
    small=True,
    distributions=(Distribution("target", "label"),),
    picture={"kind": "bars", "series": (("two", "target"), ("three", "probabilities"))},
    english="""
        title: A whole network
        summary: Two convolutions, each with ReLU and max pooling, and a fully connected layer: 354 trained weights say
            which digit it is. Every cell can be chosen, down to a single pixel and a single weight; what it is made of
            is marked, and written out in numbers. Below each layer stands its gradient.
        formula: z = W · p₂ + b, y = softmax(z)
        formula: p₂ = pool(ReLU(F₂ ∗ p₁)), p₁ = pool(ReLU(F₁ ∗ I / 16))
        where: The network was trained on the digits that come with gpunet, and has not seen these.
        backward: dz = y - t, and from there layer by layer
        backward: dI says which pixels would change the loss, and which way
        why: Nothing else happens in a large network: the same five operations, with more filters and more layers.
        paper: LeCun et al., "Gradient-based learning applied to document recognition", 1998
        scaled: the pixels, from 0 to 1
        first: the first convolution: four filters of 3x3
        first_relu: its ReLU
        first_pool: the largest of each 2x2
        second: the second convolution: four filters with four channels each
        second_relu: its ReLU
        second_pool: the largest of each 2x2
        logits: a number for each class
        exponential: its exponential
        total: the sum of the exponentials
        probabilities: the probability of each class
        picture: For each digit what is right, t (left), and what the network says, y (right).
    """,
    spanish="""
        title: Una red entera
        summary: Dos convoluciones, cada una con ReLU y max pooling, y una capa totalmente conectada: 354 pesos
            entrenados dicen qué dígito es. Cada celda se puede elegir, hasta un solo píxel y un solo peso; se marca de
            qué está hecha y se escribe con números. Debajo de cada capa está su gradiente.
        formula: z = W · p₂ + b, y = softmax(z)
        formula: p₂ = pool(ReLU(F₂ ∗ p₁)), p₁ = pool(ReLU(F₁ ∗ I / 16))
        where: La red se entrenó con los dígitos que trae gpunet, y estos no los ha visto.
        backward: dz = y - t, y desde ahí capa por capa
        backward: dI dice qué píxeles cambiarían la pérdida, y en qué sentido
        why: En una red grande no pasa nada distinto: las mismas cinco operaciones, con más filtros y más capas.
        paper: LeCun et al., "Gradient-based learning applied to document recognition", 1998
        scaled: los píxeles, de 0 a 1
        first: la primera convolución: cuatro filtros de 3x3
        first_relu: su ReLU
        first_pool: el mayor de cada 2x2
        second: la segunda convolución: cuatro filtros con cuatro canales cada uno
        second_relu: su ReLU
        second_pool: el mayor de cada 2x2
        logits: un número por clase
        exponential: su exponencial
        total: la suma de las exponenciales
        probabilities: la probabilidad de cada clase
        picture: Para cada dígito lo correcto, t (izquierda), y lo que dice la red, y (derecha).
    """,
)
