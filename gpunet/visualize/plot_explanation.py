"""A figure that explains one answer: the image, where in it the network found what speaks for it, and the scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gpunet.errors import ArgumentError
from gpunet.printable import printable
from gpunet.visualize.figure import LARGE, SMALL, new_figure, show_picture
from gpunet.visualize.pictures import overlay

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_explanation"]

SCALE = 256  # steps of the scale
LARGEST_PICTURE = 256  # pixels on a side, at least: so that heat is smooth where pixels are large


def plot_explanation(
    picture: np.ndarray, heat: np.ndarray, answers: Sequence[tuple[str, float]], layer: str = ""
) -> Figure:
    """Draw an image beside the heat that Grad-CAM has found in it, with the answer, its probability and a colour scale.

    Args:
        answers: classes with their probabilities, the likeliest, whose heat it is, first.
        layer: whose map the heat comes from.

    Shape:
        picture: uint8 (1 or 3, H, W); heat: (h, w) from 0 to 1.

    Raises:
        ArgumentError: without an answer.
        ShapeError: if the picture or the heat has another shape.
        GpunetError: if matplotlib is not installed.
    """
    if not answers:
        raise ArgumentError("plot_explanation expects at least one answer")
    factor = max(1, -(-LARGEST_PICTURE // max(picture.shape[1:])))
    large = picture.repeat(factor, axis=1).repeat(factor, axis=2)  # each pixel a square
    painted = overlay(large, heat).transpose(2, 0, 1)
    figure = new_figure("", 7.6, 4.2)
    name, share = answers[0]
    figure.suptitle(f"{printable(name)}, {share:.1%}", fontsize=LARGE + 2, fontweight="bold", parse_math=False)
    image, heated, scale = figure.subplots(1, 3, width_ratios=[1, 1, 0.05])
    show_picture(image, large, "the image, as the network sees it")
    show_picture(heated, painted, "what speaks for the answer" + (f", by {layer}" if layer else ""))
    ramp = overlay(np.full((1, SCALE, 1), 128, np.uint8), np.linspace(1, 0, SCALE, dtype=np.float32)[:, None])
    scale.imshow(ramp, extent=(0, 1, 0, 1), aspect="auto")
    scale.set(xticks=[], yticks=[0, 1], yticklabels=["nothing", "the most"])
    scale.yaxis.tick_right()
    scale.tick_params(labelsize=SMALL)
    others = ",  ".join(f"{printable(name)} {share:.1%}" for name, share in answers[1:])
    figure.supxlabel(f"then {others}" if others else "", fontsize=SMALL, parse_math=False)
    return figure
