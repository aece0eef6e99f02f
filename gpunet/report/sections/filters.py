"""What the first convolution looks for."""

from __future__ import annotations

import numpy as np

from gpunet.report.cells import cells, picture
from gpunet.report.elements import Part, note
from gpunet.report.examine import Examination
from gpunet.visualize import grey_picture, spread
from gpunet.words import Words

__all__ = ["filters"]

MOST_FILTERS = 256


def filters(examined: Examination, texts: Words) -> Part:
    """The filters of the first layer: in colour where they see colours, else the mean over what they see."""
    every = examined.filters
    largest = float(np.abs(every).max(initial=0.0))
    shown = every.transpose(0, 2, 3, 1) if every.shape[1] == 3 else every.mean(axis=1)  # (O, h, w[, 3])
    chosen = spread(len(every), MOST_FILTERS)
    pictures = []
    for number, pixels in zip(chosen, grey_picture(shown[chosen], -largest, largest), strict=True):
        low, high = (f"{edge:.2f}" for edge in (every[number].min(), every[number].max()))
        told = texts("filters.one", number=number, low=low, high=high)
        pictures.append(picture(pixels, told, title=told))
    how = texts(
        "filters.how",
        count=len(every),
        height=every.shape[2],
        width=every.shape[3],
        high=f"{largest:.2f}",
        low=f"{-largest:.2f}",
    )
    return Part("filters", texts["filters.heading"], [note(how), cells(pictures)])
