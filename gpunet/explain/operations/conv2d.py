"""Convolution: a filter slides over the image."""

from __future__ import annotations

from gpunet import functional as F
from gpunet.explain.given import Given
from gpunet.explain.operation import IMAGE, ONES, Exercise, Grid, Operation, Step
from gpunet.explain.products import window_settings
from gpunet.functional.conv import conv_window

__all__ = ["CONV2D"]


def _make(given: Given) -> Exercise:
    image = given.image()
    weight = given.filters(len(image))
    kernel = given.pair("kernel_size", 2, minimum=1) if weight is None else (weight.shape[2], weight.shape[3])
    padding = given.pair("padding", 0, minimum=0)
    window = conv_window(kernel, given.get("stride", 1), padding, given.get("dilation", 1))
    given.check_window(window, image)  # before a filter of that size is drawn
    if weight is None:
        weight = given.drawn_filters(len(image), kernel)
    return Exercise("conv2d", image, weight=weight, window=window)


CONV2D = Operation(
    name="conv2d",
    group="images",
    settings=("input", "weight", "kernel_size", "out_channels", "stride", "padding", "dilation", "gradient"),
    flags={"weight": "filter"},
    make=_make,
    function=lambda e, x: F.conv2d(
        x["input"], x["weight"], **window_settings(e.window, "stride", "padding", "dilation")
    ),
    grids={
        "input": IMAGE,
        "weight": Grid("F", "two", ("filters", "channels", "kernel"), random=(-2, 2, 1)),
        "gradient": ONES,
    },
    steps=(Step("output", "O", "conv2d(input, weight)", hue="three"),),
    back=(
        Step("input_gradient", "dI", "by_input(output, gradient)", hue="one"),
        Step("weight_gradient", "dF", "by_weight(output, gradient)", hue="two"),
    ),
    columns=(("input", "input_gradient"), ("weight", "weight_gradient"), ("output", "gradient")),
    signs=("∗", "="),
    views=("output", "input_gradient", "weight_gradient"),
    english="""
        title: Convolution
        summary: A filter slides over the image. At each position, pixels and filter are multiplied element by element,
            and the sum of the products becomes one element of the output. Strictly speaking it is cross-correlation:
            the filter is not turned around.
        formula: O[o,k,l] = Σ over c,i,j of I'[c, S·k+D·i-P, S·l+D·j-P] · F[o,c,i,j]
        where: I' is the image, and 0 outside of it.
        backward: dI[c,k,l] = Σ dO[o,r,s] · F[o, c, (k-S·r+P)/D, (l-S·s+P)/D]
        backward: dF[o,c,i,j] = Σ dO[o,r,s] · I'[c, S·r+D·i-P, S·s+D·j-P]
        why: Every figure is made of simple shapes: lines, corners, arcs. A filter answers strongly where its shape is,
            and it is the same filter everywhere: few weights, and a shape is found wherever it lies.
        paper: LeCun et al., "Backpropagation applied to handwritten zip code recognition", 1989
    """,
    spanish="""
        title: Convolución
        summary: Un filtro se desliza sobre la imagen. En cada posición se multiplican, elemento a elemento, los
            píxeles y el filtro, y la suma de los productos es un elemento de la salida. En rigor es una correlación
            cruzada: el filtro no se voltea.
        formula: O[o,k,l] = Σ sobre c,i,j de I'[c, S·k+D·i-P, S·l+D·j-P] · F[o,c,i,j]
        where: I' es la imagen, y 0 fuera de ella.
        backward: dI[c,k,l] = Σ dO[o,r,s] · F[o, c, (k-S·r+P)/D, (l-S·s+P)/D]
        backward: dF[o,c,i,j] = Σ dO[o,r,s] · I'[c, S·r+D·i-P, S·s+D·j-P]
        why: Toda figura está formada por formas básicas: líneas, esquinas, arcos. Un filtro responde con fuerza donde
            está su forma, y es el mismo filtro en toda la imagen: pocos pesos, y la forma se encuentra esté donde
            esté.
        paper: LeCun et al., "Backpropagation applied to handwritten zip code recognition", 1989
    """,
)
