"""The Kullback-Leibler divergence of two distributions."""

from __future__ import annotations

from gpunet import functional as F
from gpunet.errors import LabelError
from gpunet.explain.given import Given
from gpunet.explain.operation import Distribution, Exercise, Grid, Operation, Step

__all__ = ["KL_DIV"]


NETWORK_SAYS = (0.1, 0.01, 0.7, 0.19)  # the lecture's distribution of a network, which ends after three numbers there
RIGHT = (0.0, 0.1, 0.8, 0.1)


def _make(given: Given) -> Exercise:
    q = given.distribution("input", given.row("input", NETWORK_SAYS, fewest=2))
    if (q == 0).any():
        raise LabelError(f"{given.where}: input (q) must be above 0 everywhere, where its logarithm is finite")
    return Exercise("kl_div", q, target=given.distribution("target", given.target(q, RIGHT)))


KL_DIV = Operation(
    name="kl_div",
    group="losses",
    settings=("input", "target"),
    make=_make,
    function=lambda e, x: F.kl_div(x["input"].log(), x["target"], reduction="sum"),
    grids={
        "input": Grid("q", "one", (1, 1, "count"), "probability", (1, 9, 1), fresh=0),
        "target": Grid("p", "two", (1, 1, "count"), "probability", (1, 9, 1), fresh=0),
    },
    steps=(
        Step("parts", "p log(p/q)", "where(target > 0, target * log(target / input), 0)"),
        Step("cross_entropy", "-Σ p log q", "-sum(where(target > 0, target * log(input), 0))"),
        Step("entropy", "-Σ p log p", "-sum(where(target > 0, target * log(target), 0))"),
        Step("output", "KL", "sum(parts)", hue="four"),
    ),
    back=(Step("input_gradient", "dq", "-target / input", hue="one"),),
    columns=(("input", "input_gradient"), ("target",), ("parts", "output")),
    signs=("", "→"),
    views=("parts", "input_gradient"),
    distributions=(Distribution("input"), Distribution("target")),
    picture={"kind": "bars", "series": (("two", "target"), ("one", "input"))},
    problem="where(target > 0, input < 1e-300, 0)",
    english="""
        title: Kullback-Leibler divergence
        summary: Says how far the distribution q of the network is from the right one, p.
        formula: KL(p|q) = Σ p log(p/q) = Σ p log p - Σ p log q
        where: Where p is 0, the term is 0.
        backward: dq = -p / q
        why: Training brings q closer to p. The first sum, which is minus the entropy of p, does not depend on the
            network: to minimise the divergence is to minimise the cross-entropy, -Σ p log q.
        paper: Kullback and Leibler, "On information and sufficiency", 1951
        parts: the terms of the loss
        cross_entropy: the cross-entropy, which training can lower
        entropy: the entropy of p, which nothing changes
        picture: For each class p, the right distribution (left), and q, that of the network (right).
        remark: KL is the cross-entropy minus the entropy of p, which does not depend on the network: only the first
            changes in training.
        problem: The divergence is infinite: q[{i}] is 0, where p[{i}] is not. The network holds for impossible what
            can happen. Give q[{i}] a little.
    """,
    spanish="""
        title: Divergencia de Kullback-Leibler
        summary: Indica qué tan alejada está la distribución q de la red de la distribución correcta p.
        formula: KL(p|q) = Σ p log(p/q) = Σ p log p - Σ p log q
        where: Donde p es 0, el término es 0.
        backward: dq = -p / q
        why: Entrenar acerca q a p. La primera suma, que es la entropía de p con el signo cambiado, no depende de la
            red: minimizar la divergencia equivale a minimizar la entropía cruzada, -Σ p log q.
        paper: Kullback y Leibler, "On information and sufficiency", 1951
        parts: los términos de la pérdida
        cross_entropy: la entropía cruzada, que el entrenamiento puede reducir
        entropy: la entropía de p, que nada cambia
        picture: Para cada clase, la distribución correcta p (izquierda) y la de la red, q (derecha).
        remark: KL es la entropía cruzada menos la entropía de p, que no depende de la red: solo la primera cambia
            durante el entrenamiento.
        problem: La divergencia es infinita: q[{i}] es 0 donde p[{i}] no lo es. La red da por imposible algo que puede
            ocurrir. Dale un poco a q[{i}].
    """,
)
