"""Average pooling: each window becomes its mean."""

from __future__ import annotations

from gpunet import functional as F
from gpunet.explain.given import Given
from gpunet.explain.operation import IMAGE, ONES, Exercise, Operation, Step
from gpunet.explain.products import window_settings

__all__ = ["AVG_POOL2D"]


def _make(given: Given) -> Exercise:
    image = given.image()
    return Exercise("avg_pool2d", image, window=given.pool("avg_pool2d", image))


AVG_POOL2D = Operation(
    name="avg_pool2d",
    group="images",
    settings=("input", "kernel_size", "stride", "padding", "gradient"),
    make=_make,
    function=lambda e, x: F.avg_pool2d(x["input"], **window_settings(e.window, "kernel_size", "stride", "padding")),
    grids={
        "input": IMAGE,
        "gradient": ONES,
    },
    steps=(Step("output", "O", "avg_pool2d(input)", hue="three"),),
    back=(Step("input_gradient", "dI", "by_input(output, gradient)", hue="one"),),
    columns=(("input", "input_gradient"), ("output", "gradient")),
    signs=("→",),
    english="""
        title: Average pooling
        summary: Each window is replaced by its mean.
        formula: O[c,k,l] = 1/K² · Σ over i,j of I'[c, S·k+i-P, S·l+j-P]
        where: I' is the image, and 0 outside of it; the padding counts in K².
        backward: dI[c,k,l] = Σ dO / K² of the windows that see the pixel
        why: The image shrinks, and every pixel has its share in what is left, so every pixel has its share of the
            gradient.
        paper: LeCun et al., "Gradient-based learning applied to document recognition", 1998
    """,
    spanish="""
        title: Average pooling
        summary: Cada ventana se reemplaza por su promedio.
        formula: O[c,k,l] = 1/K² · Σ sobre i,j de I'[c, S·k+i-P, S·l+j-P]
        where: I' es la imagen, y 0 fuera de ella; el padding cuenta en K².
        backward: dI[c,k,l] = Σ dO / K² de las ventanas que ven el píxel
        why: La imagen se reduce y cada píxel participa en lo que queda, así que a cada píxel le llega su parte de la
            gradiente.
        paper: LeCun et al., "Gradient-based learning applied to document recognition", 1998
    """,
)
