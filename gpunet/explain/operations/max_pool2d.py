"""Max pooling: of each window the largest value."""

from __future__ import annotations

from gpunet import functional as F
from gpunet.explain.given import Given
from gpunet.explain.operation import IMAGE, ONES, Exercise, Operation, Step
from gpunet.explain.products import window_settings

__all__ = ["MAX_POOL2D"]


def _make(given: Given) -> Exercise:
    image = given.image()
    return Exercise("max_pool2d", image, window=given.pool("max_pool2d", image))


MAX_POOL2D = Operation(
    name="max_pool2d",
    group="images",
    settings=("input", "kernel_size", "stride", "padding", "dilation", "gradient"),
    make=_make,
    function=lambda e, x: F.max_pool2d(
        x["input"], **window_settings(e.window, "kernel_size", "stride", "padding", "dilation")
    ),
    grids={
        "input": IMAGE,
        "gradient": ONES,
    },
    steps=(Step("output", "O", "max_pool2d(input)", hue="three"),),
    back=(Step("input_gradient", "dI", "by_input(output, gradient)", hue="one"),),
    columns=(("input", "input_gradient"), ("output", "gradient")),
    signs=("→",),
    english="""
        title: Max pooling
        summary: Of each window only the largest value is kept.
        formula: O[c,k,l] = max over i,j of I[c, S·k+D·i-P, S·l+D·j-P]
        where: Padding never wins.
        backward: dI[c,k,l] = Σ dO of the windows that the pixel won
        why: The image shrinks, so that later layers see more of it and have less to compute. That a shape was found
            counts for more than where exactly.
        paper: Scherer, Müller and Behnke, "Evaluation of pooling operations in convolutional architectures for object
            recognition", 2010
    """,
    spanish="""
        title: Max pooling
        summary: De cada ventana se conserva solo el valor más grande.
        formula: O[c,k,l] = máx sobre i,j de I[c, S·k+D·i-P, S·l+D·j-P]
        where: El padding nunca gana.
        backward: dI[c,k,l] = Σ dO de las ventanas que ganó el píxel
        why: La imagen se reduce: las capas siguientes ven más de ella y calculan menos. Importa más que una forma esté
            que dónde está exactamente.
        paper: Scherer, Müller y Behnke, "Evaluation of pooling operations in convolutional architectures for object
            recognition", 2010
    """,
)
