"""A figure of loss surfaces, side by side on one scale."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet.errors import ArgumentError
from gpunet.visualize.figure import SMALL, new_figure
from gpunet.visualize.loss_surface import LossSurface

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_loss_surface"]

LOWEST, HIGHEST = -4, 6  # powers of ten: losses beyond them are drawn as these
COLOURS = "viridis"  # as light as it is large, so that it reads without colour, too


def plot_loss_surface(surfaces: LossSurface | Mapping[str, LossSurface]) -> Figure:
    """Draw a loss surface, or several of them by name: seen from above, as contours, and from the side.

    The scale is logarithmic and the same for all. The title of each says what the loss is at the trained weights, how
    much of the surface bends down (`nonconvexity`) and, where losses are not finite, how many: they are drawn as the
    highest one that is.

    Raises:
        ArgumentError: if there is no surface, or one without a finite loss.
        GpunetError: if matplotlib is not installed.
    """
    named = {"": surfaces} if isinstance(surfaces, LossSurface) else dict(surfaces)
    if not named or not all(surface.finite.any() for surface in named.values()):
        raise ArgumentError("plot_loss_surface expects at least one surface, each with losses that are finite")
    powers = {name: _powers(surface) for name, surface in named.items()}  # (S, S) each
    low = min(math.floor(each.min()) for each in powers.values())
    high = max(low + 1, *(math.ceil(each.max()) for each in powers.values()))
    whole = range(low, high + 1)
    levels = np.arange(2 * low, 2 * high + 1) / 2  # two to each power of ten
    scale: dict[str, Any] = {"cmap": COLOURS, "vmin": low, "vmax": high}
    title = "The loss around the trained weights, along two random directions"
    figure = new_figure(title, min(5.2 * len(named) + 1.8, 12.5), 8.6)
    grid = figure.add_gridspec(2, len(named), height_ratios=[1, 0.95])
    seen_from_above = []
    for column, (name, surface) in enumerate(named.items()):
        axis, power = (surface.alphas, surface.betas), powers[name].T  # alpha to the right, beta upwards
        axes = figure.add_subplot(grid[0, column], aspect="equal", xlabel=r"$\alpha$", ylabel=r"$\beta$")
        filled = axes.contourf(*axis, power, levels, **scale)
        crossed = [each for each in whole if power.min() < each < power.max()]
        if crossed:
            lines = axes.contour(*axis, power, crossed, colors="white", linewidths=1, linestyles="-")
            axes.clabel(lines, fmt=_loss, fontsize=SMALL)
        axes.plot(0, 0, "o", color="white", markeredgecolor="black", markersize=7)
        axes.locator_params(nbins=5)
        axes.set_title(_title(name, surface), fontsize=SMALL)
        seen_from_above.append(axes)
        side = figure.add_subplot(grid[1, column], projection="3d", xlabel=r"$\alpha$", ylabel=r"$\beta$")
        side.plot_surface(
            *np.meshgrid(*axis), power, rcount=99, ccount=99, edgecolor=(0, 0, 0, 0.3), linewidth=0.3, **scale
        )
        side.set_zlim(low, high)
        side.set_zticks(whole, [_loss(each) for each in whole])
        side.locator_params("x", nbins=4)
        side.locator_params("y", nbins=4)
    bar = figure.colorbar(filled, ax=seen_from_above, label="cross-entropy", ticks=whole)
    bar.ax.set_yticklabels([_loss(each) for each in whole])
    return figure


def _powers(surface: LossSurface) -> np.ndarray:
    """The logarithms of the losses to the base of 10, with a number for those that have none."""
    losses = np.where(surface.finite, surface.losses, surface.losses[surface.finite].max())
    return np.log10(losses.clip(10.0**LOWEST, 10.0**HIGHEST))


def _loss(power: float) -> str:
    return f"{10.0**power:g}" if power <= 3 else f"$10^{{{power:.0f}}}$"


def _title(name: str, surface: LossSurface) -> str:
    lines = [name] if name else []
    lines += [f"{surface.centre:.2g} at the trained weights (dot)", f"{surface.nonconvexity:.0%} of it bends down"]
    lost = int((~surface.finite).sum())
    if lost:
        lines.append(f"{lost} of {surface.losses.size} points not finite (drawn highest)")
    return "\n".join(lines)
