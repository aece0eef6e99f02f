"""An explanation as text for a terminal: readable without colour, and in 80 columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.explain import terminal_windows
from gpunet.explain.coalescing import COALESCING
from gpunet.explain.explanation import Explanation, Quantity
from gpunet.explain.grids import Block, Paint, grid, number, padded, shades, titled
from gpunet.explain.launches import BESIDE, Launch
from gpunet.explain.operations import LECTURE
from gpunet.explain.spelling import place_in, plane_names, spelled
from gpunet.explain.words import Words
from gpunet.explain.writing import INDENT, Writer

__all__ = ["list_of_operations", "terminal_text"]

NARROWEST = 80


def terminal_text(explanation: Explanation, words: Words, paint: Paint, width: int = NARROWEST) -> str:
    """All of an explanation, in lines that fit the width, but for what cannot be cut.

    Args:
        explanation: what is told.
        words: in the reader's language.
        paint: gives a text a colour or a style: "bold", "dim", "red", "green", "yellow", "cyan".
        width: of the terminal; it is taken to have 80 columns at least.
    """
    writer = Writer(words, paint, max(width, NARROWEST))
    lines = [
        *_head(explanation, writer),
        *terminal_windows.output_size(explanation, writer),
        *terminal_windows.windows(explanation, writer),
        *_steps(explanation, writer),
        *terminal_windows.matrices(explanation, writer),
        *_backward(explanation, writer),
        *_gpu(explanation, writer),
        *_why(explanation, writer),
    ]
    return "\n".join(lines)


def list_of_operations(words: Words, paint: Paint, width: int = NARROWEST) -> str:
    """What can be explained, with a sentence each."""
    writer = Writer(words, paint, max(width, NARROWEST))
    texts = {name: each.texts[words.language] for name, each in LECTURE.items()}
    titles = [(name, each["title"], each["summary"]) for name, each in texts.items()]
    titles.append((COALESCING, words("coalescing.title"), words("coalescing.summary")))
    return "\n".join(
        line
        for name, title, summary in titles
        for line in (f"{paint(name, 'bold')}  {title}", *writer.wrapped(summary))
    )


def _head(explanation: Explanation, writer: Writer) -> list[str]:
    """The formula, and input and output as they are."""
    operation, paint = LECTURE[explanation.exercise.operation], writer.paint
    texts = operation.texts[writer.words.language]
    lines = [
        f"{paint(texts['title'], 'bold')}  {operation.name}",
        *writer.wrapped(texts["summary"]),
    ]
    formulas = [f"{INDENT}{paint(formula, 'cyan')}" for formula in texts["formula"].split("\n")]
    lines += ["", *formulas, *writer.wrapped(texts["where"])]
    if operation.is_image or operation.name == "linear":
        hidden = ("gradient", "target", *_quantity_names(explanation))
        shown = [name for name in operation.grids if name not in hidden]
        lines += [
            "",
            *writer.blocks([block for name in [*shown, "output"] for block in _planes(explanation, name, paint)]),
        ]
    return lines


def _quantity_names(explanation: Explanation) -> list[str]:
    return [each.name for each in explanation.quantities]


def _planes(explanation: Explanation, name: str, paint: Paint) -> list[Block]:
    """All planes of an array side by side; one number for each channel is a row. Of the output one is marked."""
    planes = explanation.products.values[name]
    if LECTURE[explanation.exercise.operation].small:
        names = plane_names(explanation, name)
        return [_shaded(title, plane, paint) for title, plane in zip(names, planes, strict=True)]
    if planes.shape[1:] == (1, 1) and len(planes) > 1:
        return [
            titled(plane_names(explanation, name)[0].partition("[")[0], grid([planes.ravel().tolist()], paint), paint)
        ]
    chosen = (0,) * (3 - len(explanation.exercise.chosen)) + explanation.exercise.chosen
    marked = chosen if name == "output" and not LECTURE[explanation.exercise.operation].is_loss else None
    return [
        titled(title, grid(plane, paint, {marked[1:]} if marked and marked[0] == place else (), "green"), paint)
        for place, (title, plane) in enumerate(zip(plane_names(explanation, name), planes.tolist(), strict=True))
    ]


def _shaded(title: str, plane: np.ndarray[Any, Any], paint: Paint) -> Block:
    """A plane as a picture, with its least and its largest number."""
    if plane.size == 1:
        return titled(title, grid(plane.tolist(), paint), paint)
    block = shades(plane.tolist(), paint)
    return titled(f"{title} {number(plane.min())} .. {number(plane.max())}", block, paint)


# -------------------------------------------------------------------------------------------------------- step by step


def _steps(explanation: Explanation, writer: Writer) -> list[str]:
    """What lies between input and output, and the chosen element written out."""
    operation = LECTURE[explanation.exercise.operation]
    lines = writer.heading("values" if explanation.quantities else "element")
    if values := _values(explanation, writer, backward=False):
        lines += [*values, ""]
    lines += terminal_windows.adaptive_span(explanation, writer)
    for step in operation.steps:
        lines += spelled(explanation, step.name, place_in(explanation, step.name), writer)
    return lines + terminal_windows.another_element(explanation, writer)


def _values(explanation: Explanation, writer: Writer, backward: bool) -> list[str]:
    """The intermediate values: a table for numbers, grids for images, and what each of them is."""
    found = [quantity for quantity in explanation.quantities if quantity.backward == backward]
    exercise = explanation.exercise
    planes = [each for each in found if each.values.ndim == 3 and each.values[0].size > 1]
    images = [each for each in planes if len(each.values[0]) > 1 or each.values.shape[1:] == exercise.input.shape[1:]]
    if LECTURE[exercise.operation].small:
        blocks = [block for each in images for block in _planes(explanation, each.name, writer.paint)]
    else:
        channel = exercise.chosen[0]
        blocks = [titled(each.symbol, grid(each.values[channel], writer.paint), writer.paint) for each in images]
    lines = writer.blocks(blocks) if blocks else []
    rows = [(each.symbol, each.values.ravel()) for each in planes if each not in images]
    if exercise.input.ndim == 1 and found:
        rows = _columns(explanation, [each for each in found if each.values.ndim == 1], backward)
    for length in dict.fromkeys(len(values) for _, values in rows):
        lines += [
            *([""] if lines else []),
            *_table([row for row in rows if len(row[1]) == length], explanation, writer),
        ]
    meanings = LECTURE[exercise.operation].texts[writer.words.language]
    told = [(each, meaning) for each in found if (meaning := meanings.get(each.name))]
    symbols = max((len(each.symbol) for each, _ in told), default=0)
    singles = {
        each.name: f" = {number(value):8}" for each in found if (value := _single(explanation, each)) is not None
    }
    width = max(map(len, singles.values()), default=0)
    for each, meaning in told:
        symbol = writer.paint(padded(each.symbol, symbols), "cyan")
        text = f"{symbol}{singles.get(each.name, ''):{width}}  {meaning}"
        lines += writer.wrapped(text, INDENT * 3)
    return lines


def _single(explanation: Explanation, quantity: Quantity) -> float | None:
    """The value, if there is one for all, or one for each channel of an image; None if there are many."""
    if quantity.values.ndim == 0:
        return float(quantity.values)
    is_per_channel = quantity.values.ndim == 1 and explanation.exercise.input.ndim == 3
    return float(quantity.values[explanation.exercise.chosen[0]]) if is_per_channel else None


def _columns(
    explanation: Explanation, found: Sequence[Quantity], backward: bool
) -> list[tuple[str, np.ndarray[Any, Any]]]:
    """What stands beside each number of the input: the quantities, and what input and output are, too."""
    operation = LECTURE[explanation.exercise.operation]
    names = ["input_gradient"] if backward else [name for name in operation.grids if name != "gradient"]
    columns = [(operation.symbol(name), explanation.products.values[name].ravel()) for name in names]
    quantities = [(each.symbol, each.values) for each in found]
    columns = [*quantities, *columns] if backward else [*columns, *quantities]
    if explanation.output.ndim == 1 and not backward:
        columns.append((operation.symbol("output"), explanation.output))
    return columns


def _table(columns: Sequence[tuple[str, np.ndarray[Any, Any]]], explanation: Explanation, writer: Writer) -> list[str]:
    """A row for each number, with the chosen one marked."""
    chosen = explanation.exercise.chosen if len(explanation.exercise.chosen) == 1 else (-1,)
    texts = [[title, *map(number, array)] for title, array in columns]
    widths = [max(map(len, column)) for column in texts]
    lines = []
    for row in range(len(texts[0])):
        cells = "  ".join(f"{column[row]:>{width}}" for column, width in zip(texts, widths, strict=True))
        index = f"{row - 1:2}" if row else "  "
        marked = row - 1 == chosen[0] and row > 0
        style = "bold" if row == 0 else "green" if marked else ""
        line = f"{'>' if marked else ' '}{index}  {cells}"
        lines.append(f"{INDENT}{writer.paint(line, style) if style else line}")
    return lines


# ------------------------------------------------------------------------------------------------------------ backward


def _backward(explanation: Explanation, writer: Writer) -> list[str]:
    """The gradients, from that by the output to those by everything that went in."""
    operation, paint = LECTURE[explanation.exercise.operation], writer.paint
    texts = operation.texts[writer.words.language]
    formulas = texts["backward"].split("\n")
    lines = [*writer.heading("backward"), *(f"{INDENT}{paint(formula, 'cyan')}" for formula in formulas)]
    by_output = "" if operation.is_loss else operation.symbol("gradient")
    lines += writer.sentence(f"backward.{_kind_of_gradient(explanation)}", gradient=by_output)
    if operation.is_image or operation.name == "linear":
        given = [] if operation.is_loss or _is_ones(explanation) else ["gradient"]
        results = [step.name for step in operation.back if step.name.removesuffix("_gradient") in operation.grids]
        blocks = [block for name in [*given, *results] for block in _planes(explanation, name, paint)]
        lines += ["", *writer.blocks(blocks)]
    lines += [*_values(explanation, writer, backward=True), ""]
    places = {f"{each.of}_gradient": each.place for each in explanation.sums}
    for step in operation.back:
        place = places.get(step.name, place_in(explanation, step.name))
        lines += spelled(explanation, step.name, _among_planes(place, explanation, step.name), writer)
    return lines + (["", *writer.wrapped(texts["remark"])] if "remark" in texts else [])


def _among_planes(place: tuple[int, ...], explanation: Explanation, name: str) -> tuple[int, ...]:
    """A place in an array as the place in its planes."""
    if len(place) == 4:
        return (place[0] * len(explanation.exercise.input) + place[1], *place[2:])
    return (0,) * (3 - len(place)) + place


def _is_ones(explanation: Explanation) -> bool:
    gradient = explanation.exercise.gradient
    return gradient is not None and bool((gradient == 1).all())


def _kind_of_gradient(explanation: Explanation) -> str:
    """Which gradient by the output it begins with."""
    gradient = explanation.exercise.gradient
    if gradient is None:
        return "loss"
    if _is_ones(explanation):
        return "ones"
    chosen = np.zeros(gradient.shape)
    chosen[explanation.exercise.chosen] = 1
    usual = not LECTURE[explanation.exercise.operation].spread
    return "chosen" if usual and bool((gradient == chosen).all()) else "given"


# --------------------------------------------------------------------------------------------------------------- a GPU


def _gpu(explanation: Explanation, writer: Writer) -> list[str]:
    gpu = explanation.gpu
    lines = [*writer.heading("gpu"), *writer.sentence("gpu.tape", operations=", ".join(gpu.operations))]
    lines += writer.sentence("gpu.kernels" if gpu.launches else "gpu.only_cupy")
    for index, launch in enumerate(gpu.launches):
        described = any(earlier.kernel == launch.kernel for earlier in gpu.launches[:index])
        lines += _launch(launch, writer, described)
    if gpu.launches:
        if not {*gpu.forward, *gpu.backward} - set(BESIDE):
            return lines
        lines += writer.sentence("gpu.cupy")
    for key, functions in (("forward", gpu.forward), ("backward", gpu.backward)):
        listed = ", ".join(f"cupy.{name}" for name in functions if name not in BESIDE) or "-"
        beside = ", ".join(name for name in functions if name in BESIDE)
        text = f"{listed}; {writer.words('gpu.beside', what=beside)}" if beside else listed
        lines += writer.wrapped(f"{writer.words(f'gpu.{key}'):9} {text}", " " * 12)
    return lines


def _launch(launch: Launch, writer: Writer, described: bool) -> list[str]:
    """A launch; where its kernel is, and what it does, is said once."""
    way = writer.words("gpu.backward" if launch.backward else "gpu.forward")
    sizes = {"items": launch.items, "grid": launch.grid, "block": launch.block, "shared": launch.shared_bytes}
    texts = [writer.words("gpu.grid", **sizes)]
    if not described:
        texts = [f"{launch.file}:{launch.line}", writer.words(f"kernel.{launch.kernel}"), *texts]
    lines = [f"{INDENT}{way:9} {writer.paint(launch.instance, 'cyan')}"]
    return lines + [line for text in texts for line in writer.wrapped(f"{'':9} {text}", " " * 12)]


def _why(explanation: Explanation, writer: Writer) -> list[str]:
    texts = LECTURE[explanation.exercise.operation].texts[writer.words.language]
    lines = [*writer.heading("why"), *writer.wrapped(texts["why"]), *writer.wrapped(texts["paper"])]
    return lines + (writer.sentence("matrices.papers") if explanation.matrices else [])
