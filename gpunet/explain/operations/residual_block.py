"""The residual block: what two convolutions make of x is added to x itself."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gpunet import functional as F
from gpunet.errors import ArgumentError, ShapeError
from gpunet.explain.given import Given, Values
from gpunet.explain.operation import IMAGE, Exercise, Grid, Operation, Step
from gpunet.functional.conv import conv_window
from gpunet.tensor import Tensor

__all__ = ["RESIDUAL_BLOCK"]


FIRST, SECOND = ((0, 1, 0), (1, 0, -1), (0, -1, 0)), ((0, 0, 1), (0, -1, 0), (1, 0, 0))
FACTORS = (0.5, -0.4, 0.6, 0.3, -0.5, 0.4)


def _make(given: Given) -> Exercise:
    image = given.image()
    first, second = (
        _filters(given, name, usual, image) for name, usual in (("weight", FIRST), ("second_weight", SECOND))
    )
    if first.shape != second.shape:
        raise ShapeError(f"{given.where}: both filters must be of one size, got {first.shape} and {second.shape}")
    window = conv_window((first.shape[2], first.shape[3]), 1, (first.shape[2] // 2, first.shape[3] // 2), 1)
    given.check_window(window, image)
    factors = given.row("factors", FACTORS)
    return Exercise("residual_block", image, weight=first, second_weight=second, factors=factors, window=window)


def _filters(given: Given, name: str, usual: object, image: Values) -> Values:
    """As many filters as channels, of odd sides: what comes out is as large as what goes in, and can be added to it."""
    channels = len(image)
    drawn = np.random.default_rng(len(name)).integers(-1, 2, (channels, channels, 3, 3))
    filters = given.numbers(name, usual if channels == 1 else drawn)
    filters = filters.reshape((1,) * (4 - filters.ndim) + filters.shape)
    if filters.ndim != 4 or filters.shape[:2] != (channels, channels):
        raise ShapeError(
            f"{given.where}: {name} must be ({channels}, {channels}, kh, kw), as many filters as the image has "
            f"channels, got {filters.shape}"
        )
    if not all(size % 2 for size in filters.shape[2:]):
        raise ArgumentError(
            f"{given.where}: the sides of {name} must be odd, got {filters.shape[2]}x{filters.shape[3]}"
        )
    return filters


def _run(exercise: Exercise, leaves: Mapping[str, Tensor]) -> Tensor:
    x, padding = (
        leaves["input"],
        (exercise.window.padding[0][0], exercise.window.padding[1][0]) if exercise.window else 0,
    )
    hidden = F.relu(F.conv2d(x, leaves["weight"], padding=padding))
    return F.relu(F.conv2d(hidden, leaves["second_weight"], padding=padding) + x)


RESIDUAL_BLOCK = Operation(
    name="residual_block",
    group="networks",
    settings=("input", "weight", "second_weight", "factors", "gradient"),
    flags={"weight": "filter", "second_weight": "second_filter"},
    make=_make,
    function=_run,
    grids={
        "input": IMAGE._replace(symbol="x"),
        "weight": Grid("W₁", "two", ("filters", "channels", "kernel"), random=(-1, 1, 1)),
        "second_weight": Grid("W₂", "two", ("filters", "channels", "kernel"), random=(-1, 1, 1)),
        "gradient": Grid("dy", "three", "output", random=(-2, 2, 1), fresh=1),
        "factors": Grid("f", "four", (1, 1, "layers"), random=(-0.6, 0.6, 0.1)),
    },
    steps=(
        Step("first", "a", "conv2d(input, weight)"),
        Step("hidden", "h", "maximum(first, 0)"),
        Step("branch", "F(x)", "conv2d(hidden, second_weight)"),
        Step("total", "s", "branch + input"),
        Step("output", "y", "maximum(total, 0)", hue="three"),
    ),
    back=(
        Step("total_gradient", "ds", "where(total > 0, gradient, 0)"),
        Step("hidden_gradient", "dh", "by_input(branch, total_gradient)"),
        Step("first_gradient", "da", "where(first > 0, hidden_gradient, 0)"),
        Step("branch_gradient", "dx(F)", "by_input(first, first_gradient)"),
        Step("input_gradient", "dx", "branch_gradient + 1 * total_gradient", hue="one"),
        Step("weight_gradient", "dW₁", "by_weight(first, first_gradient)", hue="two"),
        Step("second_weight_gradient", "dW₂", "by_weight(branch, total_gradient)", hue="two"),
        Step("plain", "Π f", "cumprod(factors)"),
        Step("residual", "Π (1+f)", "cumprod(1 + factors)"),
    ),
    columns=(
        ("input", "input_gradient"),
        ("first", "first_gradient"),
        ("hidden", "hidden_gradient"),
        ("branch", "branch_gradient"),
        ("total", "total_gradient"),
        ("output", "gradient"),
    ),
    signs=("W₁", "→", "W₂", "+ x", "→"),
    below=(("weight", "second_weight", "weight_gradient", "second_weight_gradient"), ("factors", "plain", "residual")),
    views=("output", "total", "input_gradient", "residual"),
    picture={"kind": "bars", "series": (("two", "plain"), ("three", "residual"))},
    english="""
        title: Residual block
        summary: Two convolutions make F(x) of x, and x itself is added to it by a shortcut: the block learns only what
            has to change. On the way back the gradient comes through the convolutions, and once more, whole, over the
            shortcut.
        formula: y = ReLU(F(x) + x), F(x) = W₂ ∗ ReLU(W₁ ∗ x)
        where: Both convolutions pad, so that F(x) is as large as x. Real blocks have batch norm behind each
            convolution.
        backward: ds = dy where s > 0, else 0, with s = F(x) + x
        backward: dx = ds · (F'(x) + 1) = dx(F) + ds
        why: In a plain chain of layers the gradient is multiplied with the slope f of each: the product vanishes, or
            it explodes. With shortcuts each factor is 1 + f, and the product stays near 1 where the f are small. So
            networks of a hundred layers learn.
        paper: He, Zhang, Ren and Sun, "Deep residual learning for image recognition", 2016
        factors: the slope of each layer of a chain
        first: the first convolution
        hidden: its ReLU
        branch: the second convolution: what is added to x
        total: F(x) and the shortcut
        total_gradient: what the last ReLU lets through
        hidden_gradient: back through W₂
        first_gradient: back through the ReLU
        branch_gradient: what reaches x through the convolutions
        plain: what is left of a gradient behind so many layers of a plain chain
        residual: the same with a shortcut around each layer
        picture: What is left of a gradient behind 1, 2, ... layers: of a plain chain (left) and with shortcuts
            (right).
        remark: The 1 is the shortcut: whatever the convolutions do, ds reaches x whole.
    """,
    spanish="""
        title: Bloque residual
        summary: Dos convoluciones hacen F(x) de x, y a eso se le suma el propio x por un atajo: el bloque aprende solo
            lo que hay que cambiar. En la vuelta, la gradiente llega a través de las convoluciones y, una vez más,
            entera, por el atajo.
        formula: y = ReLU(F(x) + x), F(x) = W₂ ∗ ReLU(W₁ ∗ x)
        where: Ambas convoluciones llevan padding para que F(x) tenga el tamaño de x. Los bloques reales tienen batch
            norm tras cada convolución.
        backward: ds = dy donde s > 0; si no, 0, con s = F(x) + x
        backward: dx = ds · (F'(x) + 1) = dx(F) + ds
        why: En una cadena simple de capas la gradiente se multiplica por la pendiente f de cada una: el producto se
            desvanece o explota. Con atajos cada factor es 1 + f, y el producto queda cerca de 1 donde los f son
            pequeños. Así aprenden las redes de cien capas.
        paper: He, Zhang, Ren and Sun, "Deep residual learning for image recognition", 2016
        factors: la pendiente de cada capa de una cadena
        first: la primera convolución
        hidden: su ReLU
        branch: la segunda convolución: lo que se suma a x
        total: F(x) y el atajo
        total_gradient: lo que deja pasar la última ReLU
        hidden_gradient: de vuelta por W₂
        first_gradient: de vuelta por la ReLU
        branch_gradient: lo que llega a x por las convoluciones
        plain: lo que queda de una gradiente tras tantas capas de una cadena simple
        residual: lo mismo con un atajo alrededor de cada capa
        picture: Lo que queda de una gradiente tras 1, 2, ... capas: de una cadena simple (izquierda) y con atajos
            (derecha).
        remark: El 1 es el atajo: hagan lo que hagan las convoluciones, ds llega entera a x.
    """,
)
