"""The pictures of the site, drawn while it is built: `{picture} NAME`, once for light pages and once for dark ones."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from docutils import nodes
from docutils.parsers.rst import directives
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import gpunet
from extensions.made_pages import MADE, RUN
from gpunet import nn
from gpunet.data import DataLoader, Digits, Shapes, find_dataset
from gpunet.functional import cross_entropy
from gpunet.gradients import Design, trace_gradients

__all__ = ["setup"]

COLOURS = {"light": ("#1b2733", "#0b6bb8", "#c2410c", "#7a8794"), "dark": ("#e3e9ef", "#6cb6ff", "#ff9d5c", "#8b98a5")}
"""For each kind of page: ink, the first and the second colour of data, and grey."""


@dataclass(frozen=True)
class Palette:
    """The colours of one kind of page."""

    ink: str
    first: str
    second: str
    grey: str


Draw = Callable[[Palette], Figure]


def figure(width: float, height: float, columns: int = 1, rows: int = 1, **settings: Any) -> tuple[Figure, Any]:
    """An empty figure of so many inches, and its axes."""
    made = Figure(figsize=(width, height), layout="constrained")
    return made, made.subplots(rows, columns, **settings)


# ------------------------------------------------------------------------------------------------------------ a run


def digits(palette: Palette) -> Figure:
    """Digits that the network of this site's run has not seen, and what it takes them for."""
    held_out = Digits(train=False)
    images, labels = held_out.images[::24], held_out.labels[::24]
    drawn, axes = figure(7.5, 1, len(images))
    for place, image, label, said in zip(axes, images, labels, gpunet.load(RUN).predict(images), strict=True):
        digit = said[0][0]
        place.imshow(image[0], cmap="gray")
        place.set_title(digit, color=palette.first if digit == str(label) else palette.second, fontsize=14)
        place.set_axis_off()
    return drawn


def curves(palette: Palette) -> Figure:
    """Loss and accuracy of that run, epoch by epoch."""
    lines = [json.loads(line) for line in (RUN / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    epochs = [line["epoch"] for line in lines]
    drawn, (left, right) = figure(7.5, 2.6, 2)
    for axes, what in ((left, "loss"), (right, "accuracy")):
        axes.plot(epochs, [line[f"train_{what}"] for line in lines], color=palette.grey, label="learned from")
        axes.plot(epochs, [line[f"test_{what}"] for line in lines], color=palette.first, label="held out")
        axes.set(xlabel="epoch", title=what)
    left.legend()
    return drawn


# ------------------------------------------------------------------------------------------------ losses and gradients


def _losses(lr: float, steps: int) -> list[float]:
    """Of a small network that learns digits by plain SGD."""
    with gpunet.use_backend("numpy"):
        gpunet.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
        images, labels = next(iter(DataLoader(find_dataset("digits").train_set(8), batch_size=256)))
        optimizer, losses = gpunet.optim.SGD(model.parameters(), lr=lr), []
        for _ in range(steps):
            optimizer.zero_grad()
            loss = cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


def explosion(palette: Palette) -> Figure:
    """The same network with two learning rates."""
    drawn, axes = figure(7.5, 2.8)
    with np.errstate(all="ignore"):
        for lr, colour in ((0.1, palette.first), (20, palette.second)):
            axes.plot(_losses(lr, 60), color=colour, label=f"lr = {lr}")
    axes.set(xlabel="step", ylabel="loss", yscale="log")
    axes.legend()
    return drawn


def gradients(palette: Palette) -> Figure:
    """How much of the gradient reaches each layer, of sigmoids without batch norm."""
    drawn, (left, right) = figure(7.5, 3, 2, sharey=True)
    for axes, residual, title in ((left, False, "plain"), (right, True, "with shortcuts")):
        for depth, width in ((8, 3), (20, 2), (56, 1)):
            norms = np.array(_gradient_norms(depth, residual))
            place = np.linspace(0, 1, len(norms))
            axes.plot(place, norms / norms[-1], linewidth=width, color=palette.first, label=f"{depth} layers")
        axes.set(yscale="log", title=title, xlabel="layer", xticks=[0, 1], xticklabels=["first", "last"])
    left.set_ylabel("gradient, last layer = 1")
    right.legend()
    return drawn


@functools.cache
def _gradient_norms(depth: int, residual: bool) -> tuple[float, ...]:
    with gpunet.use_backend("numpy"):
        trace = trace_gradients(Design(depth, residual, batch_norm=False, activation="sigmoid"), steps=0)
    return trace.start.norms


# ----------------------------------------------------------------------------------------------------------- diagrams


def shapes(palette: Palette) -> Figure:
    """One image of each class of the data set `shapes`."""
    some = Shapes(count=6, size=64)
    drawn, axes = figure(7.5, 1.6, 6)
    for place, image, name in zip(axes, some.images, some.classes, strict=True):
        place.imshow(np.moveaxis(image, 0, -1))
        place.set_title(name)
        place.set_axis_off()
    return drawn


def groups(palette: Palette) -> Figure:
    """What batch norm and group norm take a mean over."""
    drawn, axes = figure(7.5, 2.6, 3)
    kinds = {  # which images, and which channels
        "batch norm": ({0, 1, 2}, {0}),
        "layer norm": ({0}, {0, 1, 2, 3}),
        "group norm, 2 groups": ({0}, {0, 1}),
    }
    for place, (title, (images, channels)) in zip(axes, kinds.items(), strict=True):
        for n in range(3):
            for c in range(4):
                colour = palette.first if n in images and c in channels else "none"
                place.add_patch(Rectangle((c, 2 - n), 0.92, 0.92, facecolor=colour, edgecolor=palette.ink))
        place.set(xlim=(-0.1, 4.1), ylim=(-0.1, 3.1), aspect="equal", title=title, xlabel="channels", ylabel="images")
        place.set(xticks=[], yticks=[])
        place.spines[:].set_visible(False)
    return drawn


def way(palette: Palette) -> Figure:
    """From a network to the processor, and where each part is written."""
    steps = (
        ("a network", "gpunet/models"), ("a layer", "gpunet/nn"), ("a function", "gpunet/functional"),
        ("an operation", "gpunet/ops"), ("a kernel", "raw_kernels"),
    )  # fmt: skip
    calls = ("calls", "calls", "puts on the tape", "runs a pass as")
    drawn, axes = figure(7.5, 1.5)
    for number, (name, where) in enumerate(steps):
        axes.add_patch(Rectangle((number * 3, 0), 1.9, 1, facecolor="none", edgecolor=palette.first, linewidth=1.5))
        axes.text(number * 3 + 0.95, 0.62, name, ha="center", va="center", fontsize=9)
        axes.text(number * 3 + 0.95, 0.28, where, ha="center", va="center", fontsize=6.5, color=palette.grey)
        if number:
            arrow = {"arrowstyle": "->", "color": palette.ink}
            axes.annotate("", (number * 3 - 0.05, 0.5), (number * 3 - 1.05, 0.5), arrowprops=arrow)
            axes.text(number * 3 - 0.55, 1.2, calls[number - 1], ha="center", va="center", fontsize=6.5)
    axes.set(xlim=(-0.1, 14.1), ylim=(-0.1, 1.5))
    axes.set_axis_off()
    return drawn


PICTURES: dict[str, Draw] = {
    draw.__name__: draw for draw in (curves, digits, explosion, gradients, groups, shapes, way)
}


def write(name: str) -> None:
    """Draw a picture in both kinds of colours."""
    for kind, colours in COLOURS.items():
        ink = colours[0]
        settings: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": name, "legend.framealpha": 0}
        settings |= {"font.family": "sans-serif", "axes.spines.top": False, "axes.spines.right": False}
        settings |= dict.fromkeys(
            ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), ink
        )
        with matplotlib.rc_context(settings):
            drawn = PICTURES[name](Palette(*colours))
            drawn.savefig(MADE / f"{name}-{kind}.svg", transparent=True, metadata={"Date": None})


class Picture(SphinxDirective):
    """`{picture} NAME`, and below what it shows, for those who cannot see it and for those who can."""

    required_arguments, has_content = 1, True
    option_spec = {"alt": directives.unchanged_required}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        """Both pictures, of which the page shows one."""
        name = self.arguments[0]
        write(name)
        up = self.env.docname.count("/") * "../"
        made = nodes.figure(classes=["picture"])
        for kind in COLOURS:
            made += nodes.image(uri=f"{up}made/{name}-{kind}.svg", alt=self.options["alt"], classes=[f"only-{kind}"])
        caption = nodes.caption()
        self.state.nested_parse(self.content, self.content_offset, caption)
        if caption.children:
            made += nodes.caption("", "", *caption.children[0].children)
        return [made]


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_directive("picture", Picture)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
