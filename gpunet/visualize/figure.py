"""The frame of every figure: matplotlib without pyplot, so that no display is needed and nothing has to be closed."""

from __future__ import annotations

import functools
import io
import warnings
from typing import TYPE_CHECKING

import numpy as np

from gpunet.backend import to_cpu
from gpunet.errors import GpunetError
from gpunet.tensor import Tensor
from gpunet.visualize.pictures import grey_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["LARGE", "SMALL", "figure_png", "new_figure", "show_picture", "shown_images"]

DOTS_PER_INCH = 100
SMALL, LARGE = 10, 12
"""Sizes of type, in points."""


def new_figure(title: str, width: float, height: float) -> Figure:
    """An empty figure of so many inches, with a title. `figure.savefig(path)` writes it; a notebook shows it.

    Raises:
        GpunetError: if matplotlib is not installed.
    """
    figure: Figure = _figure_class()(figsize=(width, height), dpi=DOTS_PER_INCH, layout="constrained")
    figure.suptitle(title, fontsize=LARGE)
    return figure


@functools.cache
def _figure_class() -> type:
    """The Figure of matplotlib, which a notebook then shows even where nobody has imported pyplot."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise GpunetError("to draw figures takes matplotlib: pip install '.[full]'") from error

    class ShownFigure(Figure):
        def _repr_png_(self) -> bytes:
            return figure_png(self)

    return ShownFigure


def figure_png(figure: Figure) -> bytes:
    """The content of a PNG file with a figure. Letters that no font has become boxes, without a word."""
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        figure.savefig(content, format="png")
    return content.getvalue()


def shown_images(images: Tensor) -> np.ndarray:
    """What a network takes, as pixels: black is the smallest value of the batch, white the largest.

    Shape:
        images: (N, C, H, W); result: uint8 (N, C, H, W), or (N, 1, H, W), the mean over the channels, if C is not 3.
    """
    values = to_cpu(images.array).astype(np.float32)
    if values.shape[1] != 3:
        values = values.mean(axis=1, keepdims=True)
    return grey_picture(values, float(values.min()), float(values.max()))


def show_picture(axes: Axes, picture: np.ndarray, title: str = "") -> None:
    """Draw pixels as they are: no axes around them, nothing smoothed.

    Shape:
        picture: uint8 (1 or 3, H, W).
    """
    axes.imshow(np.broadcast_to(picture, (3, *picture.shape[1:])).transpose(1, 2, 0), interpolation="nearest")
    axes.set_title(title, fontsize=SMALL)
    axes.set_axis_off()
