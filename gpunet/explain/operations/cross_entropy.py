"""Cross-entropy: the loss for many classes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gpunet import functional as F
from gpunet.explain.given import LOGITS, Given
from gpunet.explain.operation import Distribution, Exercise, Grid, Operation, Step
from gpunet.tensor import Tensor, tensor

__all__ = ["CROSS_ENTROPY"]


def _make(given: Given) -> Exercise:
    logits = given.row("input", LOGITS, fewest=2)
    if np.size(given.get("target", 0)) > 1:
        target = given.distribution("target", given.target(logits, LOGITS))
        return Exercise("cross_entropy", logits, target=target)
    label = given.label(len(logits), usual=min(2, len(logits) - 1))
    return Exercise("cross_entropy", logits, target=np.eye(len(logits))[label], label=label)


def _run(exercise: Exercise, x: Mapping[str, Tensor]) -> Tensor:
    target = x["target"].unsqueeze(0) if exercise.label is None else tensor([exercise.label])
    return F.cross_entropy(x["input"].unsqueeze(0), target)


CROSS_ENTROPY = Operation(
    name="cross_entropy",
    group="losses",
    settings=("input", "target"),
    make=_make,
    function=_run,
    grids={
        "input": Grid("x", "one", (1, 1, "count"), "number", (-3, 3, 1)),
        "target": Grid("t", "two", (1, 1, "count"), "probability", (0, 1, 1), fresh=0),
    },
    steps=(
        Step("shifted", "x - max", "input - max(input)"),
        Step("exponential", "e^(x-max)", "exp(shifted)"),
        Step("sum", "Σ", "sum(exponential)"),
        Step("softmax", "y", "exponential / sum", hue="three"),
        Step("log_softmax", "log y", "shifted - log(sum)"),
        Step("parts", "-t log y", "where(target > 0, -target * log_softmax, 0)"),
        Step("output", "L", "sum(parts)", hue="four"),
    ),
    back=(
        Step("difference", "y - t", "softmax - target"),
        Step("input_gradient", "dx", "softmax * sum(target) - target", hue="one"),
    ),
    columns=(("input", "input_gradient"), ("softmax",), ("target",), ("parts", "output")),
    signs=("→", "", "→"),
    views=("parts", "input_gradient"),
    distributions=(Distribution("target", "label"),),
    picture={"kind": "bars", "series": (("two", "target"), ("three", "softmax"))},
    english="""
        title: Cross-entropy
        summary: The loss for many classes: minus the logarithm of the probability that the network gives to the right
            class. gpunet computes it from logits, with the softmax in it.
        formula: L = -Σ over i of t[i] log y[i], with y = softmax(x)
        where: t is 1 for the right class and 0 for the others, or any distribution.
        backward: dx = y - t
        why: It is the divergence of y from t but for a constant. The gradient is simply what the network says minus
            what is right.
        paper: Solla, Levin and Fleisher, "Accelerated learning in layered neural networks", 1988
        shifted: at most 0, so that no exponential overflows
        exponential: its exponential
        sum: the sum of the exponentials
        softmax: the distribution of the network
        log_softmax: its logarithm
        parts: the terms of the loss
        difference: what the network says minus what is right
        picture: For each class the target t (left) and what the network says, y (right).
    """,
    spanish="""
        title: Cross entropy
        summary: La función de pérdida para múltiples clases: menos el logaritmo de la probabilidad que la red da a la
            clase correcta. gpunet la calcula a partir de los logits, con el softmax incluido.
        formula: L = -Σ sobre i de t[i] log y[i], con y = softmax(x)
        where: t es 1 en la clase correcta y 0 en las demás, o una distribución cualquiera.
        backward: dx = y - t
        why: Salvo una constante, es la divergencia entre t e y. La gradiente es simplemente lo que dice la red menos
            lo correcto.
        paper: Solla, Levin y Fleisher, "Accelerated learning in layered neural networks", 1988
        shifted: como máximo 0, para que ninguna exponencial desborde
        exponential: su exponencial
        sum: la suma de las exponenciales
        softmax: la distribución de la red
        log_softmax: su logaritmo
        parts: los términos de la pérdida
        difference: lo que dice la red menos lo correcto
        picture: Para cada clase, la correcta t (izquierda) y lo que dice la red, y (derecha).
    """,
)
