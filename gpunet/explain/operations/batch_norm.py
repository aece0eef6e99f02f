"""Batch normalisation: each channel gets mean 0 and variance 1, then a scale and a shift."""

from __future__ import annotations

from gpunet import functional as F
from gpunet.errors import ArgumentError, ShapeError
from gpunet.explain.given import LARGEST, Given
from gpunet.explain.operation import IMAGE, ONES, Exercise, Grid, Operation, Step

__all__ = ["BATCH_NORM"]


def _make(given: Given) -> Exercise:
    image = given.image()
    if image[0].size == 1:
        raise ShapeError(f"{given.where}: a channel of one pixel has no variance; take a larger image")
    gamma, beta = (given.per_channel(name, usual, len(image)) for name, usual in (("weight", 1), ("bias", 0)))
    eps = given.get("eps", 1e-5)
    if isinstance(eps, bool) or not isinstance(eps, int | float) or not 0 < eps < LARGEST:
        raise ArgumentError(f"{given.where}: eps must be a number above 0 and below {LARGEST:g}, got {eps!r}")
    return Exercise("batch_norm", image, weight=gamma, bias=beta, eps=float(eps))


BATCH_NORM = Operation(
    name="batch_norm",
    group="images",
    settings=("input", "weight", "bias", "eps", "gradient"),
    flags={"weight": "gamma", "bias": "beta"},
    make=_make,
    function=lambda e, x: F.batch_norm(x["input"], weight=x["weight"], bias=x["bias"], training=True, eps=e.eps or 0.0),
    grids={
        "input": IMAGE,
        "weight": Grid("γ", "two", ("channels", 1, 1), random=(-2, 2, 1), fresh=1),
        "bias": Grid("β", "two", ("channels", 1, 1), random=(-2, 2, 1), fresh=0),
        "gradient": ONES,
    },
    steps=(
        Step("mean", "μ", "mean(input)"),
        Step("variance", "σ²", "mean((input - mean) ** 2)"),
        Step("std", "√(σ²+ε)", "sqrt(variance + eps)"),
        Step("normalised", "x̂", "(input - mean) / std"),
        Step("output", "O", "normalised * weight + bias", hue="three"),
    ),
    back=(
        Step("mean_gradient", "mean(g)", "mean(gradient)"),
        Step("mean_product", "mean(g x̂)", "mean(gradient * normalised)"),
        Step(
            "input_gradient", "dI", "weight / std * (gradient - mean_gradient - normalised * mean_product)", hue="one"
        ),
        Step("weight_gradient", "dγ", "sum(gradient * normalised)", hue="two"),
        Step("bias_gradient", "dβ", "sum(gradient)", hue="two"),
    ),
    columns=(
        ("input", "input_gradient"),
        ("normalised", ("weight", "bias", "weight_gradient", "bias_gradient")),
        ("output", "gradient"),
    ),
    signs=("→", "→"),
    views=("output", "input_gradient", "weight_gradient", "bias_gradient"),
    spread=False,
    picture={"kind": "lines", "series": (("one", "input"), ("four", "normalised"), ("three", "output"))},
    problem="height * width < 2",
    english="""
        title: Batch normalisation
        summary: Each channel is brought to mean 0 and variance 1, over all images and pixels of the batch, and is then
            scaled by γ and shifted by β, which are learned.
        formula: O = (I - μ) / √(σ² + ε) · γ + β
        where: Here the batch is a single image.
        backward: dI = γ / √(σ²+ε) · (g - mean(g) - x̂ · mean(g x̂)), with g = dO
        backward: dγ = Σ g x̂     dβ = Σ g
        why: Each layer meets values of the same size whatever the layers before it have become. Networks learn faster,
            and deep ones learn at all.
        paper: Ioffe and Szegedy, "Batch Normalization: accelerating deep network training by reducing internal
            covariate shift", 2015
        mean: the mean of the channel
        variance: the variance, biased: divided by the number of pixels
        std: what is divided by; ε keeps it above 0
        normalised: mean 0, variance 1
        mean_gradient: what reaches I by way of the mean
        mean_product: what reaches I by way of the variance
        picture: The values of the channel before, after normalisation, and after γ and β. The band reaches one
            standard deviation to both sides of the mean.
        remark: Through mean and variance the chosen element goes into all outputs of its channel; the two means take
            away what reaches it that way.
        problem: A channel of one pixel has no variance: x − μ is always 0. Take a larger image.
    """,
    spanish="""
        title: Batch normalization
        summary: Cada canal se lleva a promedio 0 y varianza 1, sobre todas las imágenes y píxeles del batch, y luego
            se escala con γ y se desplaza con β, que se van aprendiendo.
        formula: O = (I - μ) / √(σ² + ε) · γ + β
        where: Aquí el batch es una sola imagen.
        backward: dI = γ / √(σ²+ε) · (g - mean(g) - x̂ · mean(g x̂)), con g = dO
        backward: dγ = Σ g x̂     dβ = Σ g
        why: Cada capa recibe valores del mismo tamaño, pase lo que pase en las capas anteriores. Las redes aprenden
            más rápido, y las profundas llegan a aprender.
        paper: Ioffe y Szegedy, "Batch Normalization: accelerating deep network training by reducing internal covariate
            shift", 2015
        mean: el promedio del canal
        variance: la varianza sesgada: dividida entre el número de píxeles
        std: el divisor; ε lo mantiene por encima de 0
        normalised: promedio 0, varianza 1
        mean_gradient: lo que llega a I por medio del promedio
        mean_product: lo que llega a I por medio de la varianza
        picture: Los valores del canal antes, después de normalizar y después de γ y β. La banda abarca una desviación
            estándar a ambos lados del promedio.
        remark: A través del promedio y de la varianza, el elemento elegido llega a todas las salidas de su canal; los
            dos promedios restan lo que le llega por ese camino.
        problem: Un canal de un solo píxel no tiene varianza: x − μ siempre es 0. Elige una imagen más grande.
    """,
)
