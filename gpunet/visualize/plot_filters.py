"""A figure of the filters that see the image itself."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from gpunet.nn import Module
from gpunet.visualize.figure import SMALL, new_figure, show_picture
from gpunet.visualize.layers import first_filters
from gpunet.visualize.pictures import grey_picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_filters"]

TILE, WIDEST = 1.2, 12.5  # inches: of a filter, and of the figure


def plot_filters(model: Module) -> Figure:
    """Draw the filters of the first convolution, each as a picture of what it answers to.

    Filters that see three channels are drawn in colour: grey is 0, and a filter answers to light where it is lighter
    than grey, to dark where it is darker. Others are averaged over their channels and drawn from blue, negative, over
    white to red, positive.

    Raises:
        ArgumentError: if the model has no convolution.
        GpunetError: if matplotlib is not installed.
    """
    filters = first_filters(model)  # (O, C, kh, kw)
    count, channels, height, width = filters.shape
    in_colour = channels == 3
    drawn = filters if in_colour else filters.mean(axis=1, keepdims=True)  # (O, 3 or 1, kh, kw)
    largest = float(np.abs(drawn).max()) or 1.0
    columns = math.ceil(math.sqrt(2 * count))
    rows = math.ceil(count / columns)
    title = f"What the first convolution looks for: its {count} filters, {height} x {width}"
    tile = min(TILE, (WIDEST - 1) / columns)
    figure = new_figure(title, max(tile * columns + 1, 7), tile * rows + 1)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    if in_colour:
        for axes, each in zip(grid.flat, drawn, strict=False):
            show_picture(axes, grey_picture(each, -largest, largest))
        figure.supxlabel(f"in red, green and blue: grey is 0, light {largest:.2f}, dark -{largest:.2f}", fontsize=SMALL)
    else:
        for axes, each in zip(grid.flat, drawn, strict=False):
            picture = axes.imshow(each[0], cmap="RdBu_r", vmin=-largest, vmax=largest)
        figure.colorbar(picture, ax=grid, label="weight")
    return figure
