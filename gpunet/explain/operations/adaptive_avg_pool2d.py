"""Adaptive average pooling: the size of the output is given."""

from __future__ import annotations

from gpunet import functional as F
from gpunet.explain.given import Given
from gpunet.explain.operation import IMAGE, ONES, Exercise, Operation, Step

__all__ = ["ADAPTIVE_AVG_POOL2D"]


def _make(given: Given) -> Exercise:
    return Exercise("adaptive_avg_pool2d", given.image(), output_size=given.pair("output_size", 3, minimum=1))


ADAPTIVE_AVG_POOL2D = Operation(
    name="adaptive_avg_pool2d",
    group="images",
    settings=("input", "output_size", "gradient"),
    make=_make,
    function=lambda e, x: F.adaptive_avg_pool2d(x["input"], e.output_size or 1),
    grids={
        "input": IMAGE,
        "gradient": ONES,
    },
    steps=(Step("output", "O", "adaptive_avg_pool2d(input)", hue="three"),),
    back=(Step("input_gradient", "dI", "by_input(output, gradient)", hue="one"),),
    columns=(("input", "input_gradient"), ("output", "gradient")),
    signs=("→",),
    english="""
        title: Adaptive average pooling
        summary: Average pooling where the size of the output is given, and the windows follow from it. They may
            overlap.
        formula: O[c,k,l] = mean of rows ⌊k·H/Ho⌋ .. ⌈(k+1)·H/Ho⌉-1, columns likewise
        where: ⌊ ⌋ rounds down, ⌈ ⌉ rounds up.
        backward: dI[c,k,l] = Σ dO / (size of the window), of the windows that see the pixel
        why: Images of any size end in the same number of values, as the last, fully connected layer needs it. With 1x1
            it is the global pooling at the end of every residual network.
        paper: He et al., "Spatial pyramid pooling in deep convolutional networks for visual recognition", 2014
    """,
    spanish="""
        title: Adaptive average pooling
        summary: Un average pooling en el que se da el tamaño de la salida y las ventanas se deducen de él. Pueden
            solaparse.
        formula: O[c,k,l] = promedio de filas ⌊k·H/Ho⌋ .. ⌈(k+1)·H/Ho⌉-1, y columnas igual
        where: ⌊ ⌋ redondea hacia abajo, ⌈ ⌉ hacia arriba.
        backward: dI[c,k,l] = Σ dO / (tamaño de la ventana), de las ventanas que ven el píxel
        why: Imágenes de cualquier tamaño terminan en la misma cantidad de valores, como lo necesita la última capa,
            totalmente conectada. Con 1x1 es el pooling global con el que termina toda red residual.
        paper: He et al., "Spatial pyramid pooling in deep convolutional networks for visual recognition", 2014
    """,
)
