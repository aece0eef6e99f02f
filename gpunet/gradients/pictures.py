"""The measurements as figures, drawn by matplotlib."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from gpunet.gradients.degradation import TrainingCurve
from gpunet.gradients.trace import GradientTrace
from gpunet.visualize.figure import SMALL, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_curves", "plot_gradient_norms", "plot_gradients_during_training"]

Line: TypeAlias = "tuple[Sequence[int], Sequence[float]]"
"""Where the points of a line are, from left to right and in height."""

COLOURS = {False: "#d9551f", True: "#2a78d6"}  # plain, residual: apart for every kind of colour vision
STYLES = ("-", "--", ":", "-.")  # from the deepest network on
GRID, STRIP, SOFT = "#e1e0d9", "#efeee8", "#52514e"
LOWEST, HIGHEST = 1e-10, 1e4  # where the scales end, unless there is more to show
STRIP_HEIGHT = 600  # by what factor the strip for zeros reaches down
MOST_STEPS = 6  # marks on a horizontal axis
NOTHING = "no gradient reaches the last layer"


def plot_gradient_norms(traces: Sequence[GradientTrace], title: str) -> Figure:
    """Draw the norm of each layer's gradient, at the start.

    There is a panel for each activation, with and without batch norm, and each type of number. Gradients that are
    exactly 0 have no place on a logarithmic scale: they are in a strip of their own, below the smallest number of the
    type.

    Raises:
        GpunetError: if matplotlib is not installed.
    """

    def line(trace: GradientTrace) -> Line:
        return range(1, trace.design.depth + 1), trace.start.norms

    return _panels(traces, line, title, "layer, from the first to the last", "norm of the gradient")


def plot_gradients_during_training(traces: Sequence[GradientTrace], title: str) -> Figure:
    """Draw the gradient of the first layer over that of the last, at the start and after each step of training.

    Raises:
        GpunetError: if matplotlib is not installed.
    """

    def line(trace: GradientTrace) -> Line:
        ratios = [math.nan if step.first_over_last is None else step.first_over_last for step in trace.steps]
        return range(len(ratios)), ratios

    return _panels(traces, line, title, "steps of training", "gradient, first / last layer")


def plot_curves(curves: Sequence[TrainingCurve], title: str) -> Figure:
    """Draw the training losses of plain and of residual networks, as running means.

    Raises:
        GpunetError: if matplotlib is not installed.
    """
    figure = new_figure(title, 9.5, 5.6)
    axes = figure.subplots()
    deepest = max(curve.design.depth for curve in curves)
    for curve in sorted(curves, key=lambda curve: -curve.train_loss):
        width = curve.window
        means = np.convolve(curve.losses, np.full(width, 1 / width), mode="valid")
        axes.plot(
            np.arange(width, width + len(means)),
            means,
            STYLES[curve.design.depth != deepest],
            color=COLOURS[curve.design.residual],
            linewidth=2,
            marker="o",
            markevery=[-1],
            label=f"{curve.design.name}: {curve.train_loss:.4f} at the end",
        )
    axes.set(ylim=(0, None), xlabel="steps of training", ylabel=f"training loss, mean of {curves[0].window} steps")
    axes.grid(color=GRID)
    axes.legend(frameon=False)
    return figure


def _panels(
    traces: Sequence[GradientTrace], line: Callable[[GradientTrace], Line], title: str, x_label: str, y_label: str
) -> Figure:
    """A column for each activation, with and without batch norm, and a row for each type of number.

    All panels share the horizontal axis, and those of a row the vertical one, so that heights can be compared.
    """
    settings = list(dict.fromkeys(trace.design.setting for trace in traces))
    dtypes = list(dict.fromkeys(trace.dtype for trace in traces))
    depths = sorted({trace.design.depth for trace in traces}, reverse=True)
    figure = new_figure(title, 1.2 + 3.2 * len(settings), 1.2 + 3.1 * len(dtypes))
    grid = figure.subplots(len(dtypes), len(settings), squeeze=False, sharex=True, sharey="row")
    _set_steps(grid[0, 0], [line(trace)[0] for trace in traces])
    for dtype, row in zip(dtypes, grid, strict=True):
        of_row = [trace for trace in traces if trace.dtype == dtype]
        floor = _set_scale(row, [value for trace in of_row for value in line(trace)[1]], dtype)
        for setting, axes in zip(settings, row, strict=True):
            panel = [trace for trace in of_row if trace.design.setting == setting]
            for trace in sorted(panel, key=lambda trace: trace.design.depth):
                rank = depths.index(trace.design.depth)
                height = floor / STRIP_HEIGHT ** (0.55 + 0.4 * rank / len(depths))
                _draw(axes, *line(trace), COLOURS[trace.design.residual], STYLES[rank % len(STYLES)], height)
            if all(math.isnan(value) for trace in panel for value in line(trace)[1]):
                axes.text(0.5, 0.5, NOTHING, transform=axes.transAxes, ha="center", va="center", color=SOFT)
            axes.set_title(f"{setting}, {dtype}", fontsize=SMALL)
        row[0].set_ylabel(y_label)
    for axes in grid[-1]:
        axes.set_xlabel(x_label)
    _add_key(figure, grid[0, 0], depths)
    return figure


def _set_steps(axes: Axes, places: Sequence[Sequence[int]]) -> None:
    """Make a horizontal scale of whole numbers, from the first to the last."""
    first, last = min(map(min, places)), max(map(max, places))
    step = next(each for each in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if last - first <= MOST_STEPS * each)
    inside = [tick for tick in range(0, last + 1, step) if first + step / 2 <= tick <= last - step / 2]
    margin = 0.02 * max(last - first, 1)
    axes.set_xlim(first - margin, last + margin)
    axes.set_xticks([*dict.fromkeys([first, *inside, last])])


def _set_scale(row: Sequence[Axes], values: Sequence[float], dtype: str) -> float:
    """Make a logarithmic scale with, where it is needed, a strip for what is 0; return where the strip begins."""
    smallest = float(np.finfo(dtype).smallest_subnormal)
    positive = [value for value in values if 0 < value < math.inf]
    floor = min([smallest, *(value / 2 for value in positive)])
    bottom = min([LOWEST, *(value / 10 for value in positive)])
    has_strip = 0 in values or floor > LOWEST  # float16, where zeros are at home, always has one
    if has_strip:
        bottom = floor / STRIP_HEIGHT
    top = max([HIGHEST, *(10 * value for value in positive)])
    for axes in row:
        if has_strip:
            axes.axhspan(bottom, floor, color=STRIP, linewidth=0)
            axes.annotate(
                "exactly 0", (0.98, floor / 2), xycoords=("axes fraction", "data"), ha="right", va="top", color=SOFT
            )
        axes.grid(color=GRID)
        axes.tick_params(labelsize=9)
    row[0].set_yscale("log")
    row[0].set_ylim(bottom, top)
    row[0].set_yticks([tick for tick in row[0].get_yticks() if max(floor, bottom) <= tick <= top])
    return floor


def _draw(axes: Axes, x: Sequence[int], y: Sequence[float], colour: str, style: str, height: float) -> None:
    """Draw a line where there is a logarithm, and crosses in the strip, at that height, where the value is 0."""
    values = np.array(y)
    shown = np.where((values > 0) & np.isfinite(values), values, np.nan)
    axes.plot(x, shown, style, color=colour, linewidth=1.8, marker="." if np.isfinite(shown).sum() == 1 else None)
    zeros = np.array(x)[values == 0]
    axes.plot(zeros, np.full(len(zeros), height), "x", color=colour, markersize=4)


def _add_key(figure: Figure, axes: Axes, depths: Sequence[int]) -> None:
    """Say below the panels which colour is which kind of network, and which style which depth."""
    for residual, colour in COLOURS.items():
        axes.plot([], [], color=colour, linewidth=3, label="residual" if residual else "plain")
    for rank, depth in enumerate(depths):
        axes.plot([], [], STYLES[rank % len(STYLES)], color=SOFT, label=f"depth {depth}")
    figure.legend(loc="outside lower center", ncols=len(COLOURS) + len(depths), frameon=False)
