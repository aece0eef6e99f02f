"""The sigmoid: any number becomes a probability."""

from __future__ import annotations

from gpunet import functional as F
from gpunet.errors import ArgumentError
from gpunet.explain.given import Given
from gpunet.explain.operation import Exercise, Grid, Operation, Step

__all__ = ["SIGMOID"]


LARGEST_EXPONENT = 700  # e to this is nearly all that a float can hold


def _make(given: Given) -> Exercise:
    x = given.row("input", (-2, -1, 0, 1, 2))
    if (x < -LARGEST_EXPONENT).any():
        raise ArgumentError(f"{given.where}: input must be above -{LARGEST_EXPONENT}, where e^-x can be shown")
    return Exercise("sigmoid", x)


SIGMOID = Operation(
    name="sigmoid",
    group="numbers",
    settings=("input", "gradient"),
    make=_make,
    function=lambda e, x: F.sigmoid(x["input"]),
    grids={
        "input": Grid("x", "one", (1, 1, "count"), "number", (-3, 3, 1)),
        "gradient": Grid("dy", "three", "output", random=(-2, 2, 1), fresh=1),
    },
    steps=(
        Step("exponential_of_negative", "e⁻ˣ", "exp(-input)"),
        Step("one_plus", "1 + e⁻ˣ", "1 + exponential_of_negative"),
        Step("output", "y", "1 / one_plus", hue="three"),
    ),
    back=(
        Step("slope", "y (1 - y)", "output * (1 - output)"),
        Step("input_gradient", "dx", "gradient * slope", hue="one"),
    ),
    columns=(("input", "input_gradient"), ("output", "gradient")),
    signs=("→",),
    picture={
        "kind": "curve",
        "x": "input",
        "y": "output",
        "hue": "three",
        "curves": (("one", {}),),
        "least": 6,
        "top": 1,
    },
    english="""
        title: Sigmoid
        summary: Turns any number into a probability: that of one of two classes.
        formula: y = 1 / (1 + e⁻ˣ)
        where: Large x come close to 1, small ones to 0.
        backward: dx = g · y · (1 - y), with g = dy
        why: What a network returns is no probability by itself. The slope is at most 1/4 and vanishes on both sides:
            layer upon layer of it, and the gradient is gone.
        paper: Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors", 1986
        exponential_of_negative: the exponential of -x
        one_plus: what 1 is divided by
        slope: the slope, at most 1/4
        picture: The sigmoid, with the chosen number as a large point.
        remark: The slope is at most 1/4, at x = 0, and goes to 0 on both sides: behind many sigmoids little of a
            gradient is left.
    """,
    spanish="""
        title: Sigmoid
        summary: Convierte cualquier número en una probabilidad: la de una de dos clases.
        formula: y = 1 / (1 + e⁻ˣ)
        where: Los x grandes se acercan a 1; los pequeños, a 0.
        backward: dx = g · y · (1 - y), con g = dy
        why: La salida de una red no es de por sí una probabilidad. La pendiente es como máximo 1/4 y se desvanece a
            ambos lados: capa tras capa, la gradiente desaparece.
        paper: Rumelhart, Hinton y Williams, "Learning representations by back-propagating errors", 1986
        exponential_of_negative: la exponencial de -x
        one_plus: el divisor de 1
        slope: la pendiente, como máximo 1/4
        picture: La función sigmoide, con el número elegido como punto grande.
        remark: La pendiente es como máximo 1/4, en x = 0, y tiende a 0 a ambos lados: detrás de muchas sigmoides queda
            poco de la gradiente.
    """,
)
