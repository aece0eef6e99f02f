"""Phases: a convolution with a stride as several without one, as its gradient by the input sees it.

A window that moves by S pixels meets a pixel only with some of its elements: those whose place leaves the same
remainder by S. So along each axis the pixels fall into S phases, every S-th pixel, each with its own elements of the
kernel, and between the pixels of a phase and the positions of the window there is no stride any more.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import NamedTuple

from gpunet.backend import Array
from gpunet.ops.window import Pair, Window

__all__ = ["Phase", "phases"]


class _AxisPhase(NamedTuple):
    """The pixels of one phase along an axis, and what meets them."""

    pixels: slice
    elements: slice  # of the kernel
    positions: slice  # of the window
    padding: Pair  # around the positions, so that each pixel finds all of its elements there
    dilation: int  # how many positions lie between two elements


class Phase(NamedTuple):
    """One phase of rows with one of columns."""

    rows: _AxisPhase
    columns: _AxisPhase

    def pixels(self, images: Array) -> Array:
        """The view of the pixels of this phase: (n, H, W, C) -> (n, H', W', C)."""
        return images[:, self.rows.pixels, self.columns.pixels]

    def positions(self, outputs: Array) -> Array:
        """The view of the positions from which they are met: (n, Ho, Wo, O) -> (n, Ho', Wo', O)."""
        return outputs[:, self.rows.positions, self.columns.positions]

    def elements(self, weight: Array) -> Array:
        """The view of the elements that meet them: (O, C/G, kh, kw) -> (O, C/G, kh', kw')."""
        return weight[:, :, self.rows.elements, self.columns.elements]

    def turned_window(self, kernel: Pair) -> Window:
        """The window that takes the positions to the pixels, with the elements turned around."""
        return Window(
            kernel,
            padding=(self.rows.padding, self.columns.padding),
            dilation=(self.rows.dilation, self.columns.dilation),
        )


@functools.lru_cache(1024)
def phases(window: Window, height: int, width: int) -> tuple[Phase, ...]:
    """The phases of images of this size; pixels that no window meets are in none."""
    positions = window.output_size(height, width)
    rows, columns = _along(window, 0, height, positions[0]), _along(window, 1, width, positions[1])
    return tuple(Phase(*pair) for pair in itertools.product(rows, columns))


def _along(window: Window, axis: int, size: int, number: int) -> list[_AxisPhase]:
    stride, dilation, before = window.stride[axis], window.dilation[axis], window.padding[axis][0]
    common = math.gcd(stride, dilation)
    found = []
    for remainder in range(stride):
        elements = [i for i in range(window.kernel[axis]) if i * dilation % stride == remainder]
        pixels = range((remainder - before) % stride, size, stride)
        if not elements or not pixels:
            continue
        # Pixel number m of the phase meets element e from position lead + m - e * dilation // stride.
        lead = (pixels[0] + before) // stride
        first = lead - elements[-1] * dilation // stride
        stop = lead + len(pixels) - elements[0] * dilation // stride
        positions = slice(max(first, 0), min(stop, number))
        if positions.start < positions.stop:
            padding = (positions.start - first, stop - positions.stop)
            every = slice(elements[0], None, stride // common)
            found.append(_AxisPhase(slice(pixels[0], None, stride), every, positions, padding, dilation // common))
    return found
