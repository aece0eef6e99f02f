"""ReLU: what is negative becomes 0."""

from __future__ import annotations

from gpunet import functional as F
from gpunet.explain.given import Given
from gpunet.explain.operation import IMAGE, ONES, Exercise, Operation, Step

__all__ = ["RELU"]


IMAGE_OF_BOTH_SIGNS = ((1, -2, 1, 0), (2, 3, -1, 1), (-3, 0, 0, 2), (1, -1, 2, 3))


def _make(given: Given) -> Exercise:
    return Exercise("relu", given.image(IMAGE_OF_BOTH_SIGNS))


RELU = Operation(
    name="relu",
    group="images",
    settings=("input", "gradient"),
    make=_make,
    function=lambda e, x: F.relu(x["input"]),
    grids={
        "input": IMAGE._replace(random=(-3, 3, 1)),
        "gradient": ONES,
    },
    steps=(Step("output", "O", "maximum(input, 0)", hue="three"),),
    back=(Step("input_gradient", "dI", "where(input > 0, gradient, 0)", hue="one"),),
    columns=(("input", "input_gradient"), ("output", "gradient")),
    signs=("→",),
    picture={"kind": "curve", "x": "input", "y": "output", "hue": "three", "curves": (("one", {}),), "least": 3},
    english="""
        title: ReLU
        summary: What is negative becomes 0; the rest stays as it is.
        formula: O = max(I, 0)
        where: At 0 itself the slope is taken to be 0, as in PyTorch.
        backward: dI = dO where I > 0, else 0
        why: Without something that is not linear, two layers would be no more than one. The slope is 1 or 0: what
            passes a ReLU passes whole, layer after layer, where a sigmoid takes at least three quarters of it.
        paper: Nair and Hinton, "Rectified linear units improve restricted Boltzmann machines", 2010
        picture: The ReLU, with the chosen number as a large point.
    """,
    spanish="""
        title: ReLU
        summary: Lo negativo se vuelve 0; lo demás queda como está.
        formula: O = max(I, 0)
        where: En el propio 0 la pendiente se toma como 0, igual que en PyTorch.
        backward: dI = dO donde I > 0; si no, 0
        why: Sin algo no lineal, dos capas no serían más que una. La pendiente es 1 o 0: lo que atraviesa una ReLU la
            atraviesa entero, capa tras capa, mientras que una sigmoide le quita al menos tres cuartas partes.
        paper: Nair and Hinton, "Rectified linear units improve restricted Boltzmann machines", 2010
        picture: La ReLU, con el número elegido como punto grande.
    """,
)
