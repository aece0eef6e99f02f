"""Dropout: while training, some elements become 0."""

from __future__ import annotations

from collections.abc import Mapping

from gpunet import functional as F
from gpunet.backend import as_nchw, manual_seed, random_state, set_random_state, uniform, use_backend
from gpunet.explain.given import Given, Values
from gpunet.explain.operation import IMAGE, ONES, Exercise, Grid, Operation, Step
from gpunet.functional.checks import probability
from gpunet.tensor import Tensor

__all__ = ["DROPOUT"]


SEED = 8105471  # the first that draws what the slide shows: 0.6, 0.8, 0.2, 0.1, and then keeps what it keeps


def _make(given: Given) -> Exercise:
    image = given.image()
    p = probability(given.get("p", 0.5), "p", given.where)
    seed = given.whole_number("seed", SEED, minimum=0)
    return Exercise("dropout", image, p=p, seed=seed, uniform=_drawn(seed, image))


def _drawn(seed: int, image: Values) -> Values:
    """The numbers u that dropout draws for an image after this seed, in the order of memory as it does."""
    with use_backend("numpy"):
        before = random_state()
        try:
            manual_seed(seed)
            channels, height, width = image.shape
            drawn: Values = as_nchw(uniform((1, height, width, channels)))[0]
        finally:
            set_random_state(before)  # the random numbers of whoever asks go on as if nothing had been drawn
    return drawn


def _run(exercise: Exercise, x: Mapping[str, Tensor]) -> Tensor:
    before = random_state()
    try:
        manual_seed(exercise.seed or 0)
        return F.dropout(x["input"], exercise.p or 0.0)
    finally:
        set_random_state(before)


DROPOUT = Operation(
    name="dropout",
    group="images",
    settings=("input", "p", "seed", "gradient"),
    make=_make,
    function=_run,
    grids={
        "input": IMAGE,
        "uniform": Grid("u", "two", ("channels", "height", "width"), "draw", (0, 0.99, 0.01)),
        "gradient": ONES,
    },
    steps=(
        Step("mask", "m", "where(uniform < p, 0, 1 / (1 - p))", hue="two"),
        Step("output", "O", "input * mask", hue="three"),
    ),
    back=(Step("input_gradient", "dI", "gradient * mask", hue="one"),),
    columns=(("input", "input_gradient"), ("uniform", "mask"), ("output", "gradient")),
    signs=("⊙", "="),
    english="""
        title: Dropout
        summary: While training, each element becomes 0 with probability p; the others grow by 1/(1-p), so that the
            expected value stays the same.
        formula: O = 0 where u < p, else I / (1-p), with u drawn from U(0,1)
        where: In evaluation nothing is dropped: O = I.
        backward: dI = dO · m, with m = 0 where u < p, else 1/(1-p)
        why: No neuron can rely on a certain other one being there, so the network learns by heart less easily.
        paper: Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014
        uniform: drawn for each element, after the seed
        mask: 0 where u < p, else 1/(1-p)
        remark: Over many draws the mean of O is that of I.
    """,
    spanish="""
        title: Dropout
        summary: Durante el entrenamiento cada elemento se vuelve 0 con probabilidad p; los demás crecen por 1/(1-p),
            de modo que el valor esperado no cambia.
        formula: O = 0 donde u < p; si no, I / (1-p), con u generado de U(0,1)
        where: En la evaluación no se elimina nada: O = I.
        backward: dI = dO · m, con m = 0 donde u < p; si no, 1/(1-p)
        why: Ninguna neurona puede confiar en que otra determinada esté presente, y a la red le cuesta más aprenderse
            los datos de memoria: previene el sobreentrenamiento.
        paper: Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014
        uniform: generado para cada elemento, tras la semilla
        mask: 0 donde u < p; si no, 1/(1-p)
        remark: A lo largo de muchos sorteos el promedio de O es el de I.
    """,
)
