"""Binary cross-entropy: the loss for two classes."""

from __future__ import annotations

from gpunet import functional as F
from gpunet.errors import LabelError
from gpunet.explain.given import Given
from gpunet.explain.operation import Exercise, Grid, Operation, Step

__all__ = ["BINARY_CROSS_ENTROPY"]


CERTAIN = 1e-9  # how close to 0 or 1 a probability may come


def _make(given: Given) -> Exercise:
    y = given.row("input", (0.9, 0.2, 0.6))
    if not ((y >= CERTAIN) & (y <= 1 - CERTAIN)).all():
        raise LabelError(
            f"{given.where}: input must be probabilities from {CERTAIN:g} to 1 - {CERTAIN:g}: gpunet cuts off the "
            f"logarithm of smaller ones"
        )
    t = given.target(y, (1, 0, 1))
    if not ((t >= 0) & (t <= 1)).all():
        raise LabelError(f"{given.where}: target must be probabilities within [0, 1]")
    return Exercise("binary_cross_entropy", y, target=t)


BINARY_CROSS_ENTROPY = Operation(
    name="binary_cross_entropy",
    group="losses",
    settings=("input", "target"),
    make=_make,
    function=lambda e, x: F.binary_cross_entropy(x["input"], x["target"]),
    grids={
        "input": Grid("y", "one", (1, 1, "count"), "certainty", (0.1, 0.9, 0.1)),
        "target": Grid("t", "two", (1, 1, "count"), "probability", (0, 1, 1)),
    },
    steps=(
        Step("log_y", "log y", "log(input)"),
        Step("log_not_y", "log(1-y)", "log(1 - input)"),
        Step("parts", "L", "-target * log_y - (1 - target) * log_not_y"),
        Step("output", "L", "mean(parts)", hue="four"),
    ),
    back=(
        Step("logits", "x", "log(input / (1 - input))"),
        Step("logit_gradient", "(y - t) / K", "(input - target) / count"),
        Step("input_gradient", "dy", "(input - target) / (input * (1 - input)) / count", hue="one"),
    ),
    columns=(("input", "input_gradient"), ("target",), ("parts", "output")),
    signs=("", "→"),
    views=("parts", "input_gradient"),
    picture={
        "kind": "curve",
        "x": "input",
        "y": "parts",
        "hue": "four",
        "curves": (("one", {"target": 1}), ("two", {"target": 0})),
        "domain": (0, 1),
        "top": 4,
    },
    english="""
        title: Binary cross-entropy
        summary: The loss for two classes: y is the probability that the network gives to the first, t the right one.
            Here it is the mean over several images.
        formula: L = -t log y - (1-t) log(1-y)
        where: K is the number of images.
        backward: dy = (y - t) / (y (1-y)) / K, and by the logit x: dx = (y - t) / K
        why: It is the divergence of two distributions over two classes. Behind a sigmoid the slope y(1-y) cancels: a
            network that is wrong and sure of it still learns.
        paper: Baum and Wilczek, "Supervised learning of probability distributions by neural networks", 1988
        log_y: the logarithm of the probability of the first class
        log_not_y: the same of the second class
        parts: the terms of the loss
        logits: the number whose sigmoid is y
        logit_gradient: the gradient by it
        picture: The loss over y: falling for t = 1, rising for t = 0. The points are the numbers above.
    """,
    spanish="""
        title: Binary cross entropy
        summary: La función de pérdida para dos clases: y es la probabilidad que la red da a la primera; t, la
            correcta. Aquí es el promedio de varias imágenes.
        formula: L = -t log y - (1-t) log(1-y)
        where: K es el número de imágenes.
        backward: dy = (y - t) / (y (1-y)) / K, y respecto al logit x: dx = (y - t) / K
        why: Es la divergencia entre dos distribuciones sobre dos clases. Detrás de una sigmoide la pendiente y(1-y) se
            cancela: una red que se equivoca con total seguridad sigue aprendiendo.
        paper: Baum y Wilczek, "Supervised learning of probability distributions by neural networks", 1988
        log_y: el logaritmo de la probabilidad de la primera clase
        log_not_y: lo mismo para la segunda clase
        parts: los términos de la pérdida
        logits: el número cuya sigmoide es y
        logit_gradient: la gradiente respecto a él
        picture: La pérdida en función de y: decrece para t = 1 y crece para t = 0. Los puntos son los números de
            arriba.
    """,
)
