"""A figure of an image on its way through a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet.errors import ArgumentError
from gpunet.nn import Module
from gpunet.tensor import Tensor
from gpunet.visualize.figure import SMALL, new_figure, show_picture, shown_images
from gpunet.visualize.layers import FeatureMaps, feature_maps
from gpunet.visualize.pictures import grey_picture, spread

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_feature_maps"]

MOST_LAYERS, MOST_CHANNELS = 6, 10
TILE = 1.05  # inches


def plot_feature_maps(model: Module, images: Tensor, layers: Sequence[str] | None = None) -> Figure:
    """Draw what layers make of the first image of a batch: a row for each layer, a picture for each channel.

    Black is the smallest value in the layer; white are the largest hundredth, so that one of them does not leave all
    others dark. Of more than 10 channels 10 are drawn, from the first to the last at equal distances.

    Args:
        layers: their names, such as "layer1.0.conv2"; if left out up to 6, from the first to the last whose maps have
            more than one pixel.

    Shape:
        images: (N, C, H, W)

    Raises:
        ArgumentError: if a layer, or all of the network, gives no feature map.
        GpunetError: if matplotlib is not installed.
    """
    found = feature_maps(model, images)
    if not found:
        raise ArgumentError(f"plot_feature_maps: {type(model).__name__} gives no feature map")
    chosen = _large(found) if layers is None else _named(found, layers)
    rows = len(chosen) + 1
    figure = new_figure("An image on its way through the network", TILE * (MOST_CHANNELS + 1.8), TILE * rows + 0.7)
    grid = figure.subplots(rows, MOST_CHANNELS + 1, squeeze=False, width_ratios=[1.8] + [1] * MOST_CHANNELS)
    for axes in grid.flat:
        axes.set_axis_off()
    _label(grid[0, 0], "the image", " x ".join(map(str, images.shape[1:])))
    show_picture(grid[0, 1], shown_images(images[:1])[0])
    for row, (name, kind, values) in zip(grid[1:], chosen, strict=True):
        _label(row[0], f"{name} ({kind})", " x ".join(map(str, values.shape)))
        low, high = float(values.min()), float(np.quantile(values, 0.99))
        for axes, channel in zip(row[1:], spread(len(values), MOST_CHANNELS), strict=False):
            show_picture(axes, grey_picture(values[None, channel], low, high))
    return figure


def _large(found: Sequence[FeatureMaps]) -> list[FeatureMaps]:
    large = [each for each in found if each.values[0].size > 1]
    return [large[place] for place in spread(len(large), MOST_LAYERS)]


def _named(found: Sequence[FeatureMaps], layers: Sequence[str]) -> list[FeatureMaps]:
    names = dict.fromkeys(each.name for each in found)
    missing = [name for name in layers if name not in names]
    if missing:
        raise ArgumentError(
            f"plot_feature_maps: no feature map comes from {', '.join(missing)}; "
            f"layers that give one: {', '.join(names)}"
        )
    return [each for name in layers for each in found if each.name == name]  # a layer that runs twice has two


def _label(axes: Any, *lines: str) -> None:
    axes.text(0, 0.5, "\n".join(lines), fontsize=SMALL, va="center", transform=axes.transAxes)
