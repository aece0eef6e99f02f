"""An explanation as text for a terminal: readable without colour, and in 80 columns."""

from __future__ import annotations

import numpy as np

from gpunet.explain import terminal_values, terminal_windows
from gpunet.explain.coalescing import COALESCING
from gpunet.explain.exercise import OPERATIONS
from gpunet.explain.explanation import Explanation
from gpunet.explain.grids import Block, Paint, grid, titled
from gpunet.explain.launches import Launch
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
        *_values(explanation, writer),
        *terminal_windows.chosen_element(explanation, writer),
        *terminal_windows.matrices(explanation, writer),
        *_backward(explanation, writer),
        *_gpu(explanation, writer),
        *_why(explanation, writer),
    ]
    return "\n".join(lines)


def list_of_operations(words: Words, paint: Paint, width: int = NARROWEST) -> str:
    """What can be explained, with a sentence each."""
    lines = []
    for name in (*OPERATIONS, COALESCING):
        lines.append(f"{paint(name, 'bold')}  {words(f'{name}.title')}")
        lines += Writer(words, paint, max(width, NARROWEST)).sentence(f"{name}.summary")
    return "\n".join(lines)


def _head(explanation: Explanation, writer: Writer) -> list[str]:
    """The formula, and input and output as they are."""
    operation, words, paint = explanation.exercise.operation, writer.words, writer.paint
    formula = [f"{INDENT}{paint(words(f'{operation}.formula'), 'cyan')}"]
    lines = [f"{paint(words(f'{operation}.title'), 'bold')}  {operation}", *writer.sentence(f"{operation}.summary")]
    lines += ["", *formula, *writer.sentence(f"{operation}.where")]
    if explanation.exercise.input.ndim == 3:
        lines += ["", *writer.blocks(_arrays(explanation, paint))]
    return lines


def _arrays(explanation: Explanation, paint: Paint) -> list[Block]:
    """Image, filters and output, with the chosen element of it marked."""
    exercise = explanation.exercise
    blocks = _channels("I", exercise.input, paint)
    if exercise.operation == "conv2d" and exercise.weight is not None:
        blocks += _filters("F", exercise.weight, paint)
    return blocks + _channels("O", explanation.output, paint, exercise.chosen)


def _channels(name: str, image: np.ndarray, paint: Paint, chosen: tuple[int, ...] = ()) -> list[Block]:
    """The channels of an image (C, H, W), side by side, with one element marked if it is given."""
    titles = [name] if len(image) == 1 else [f"{name}[{channel}]" for channel in range(len(image))]
    return [
        titled(title, grid(plane, paint, {place[1:] for place in [chosen] if place[:1] == (channel,)}, "green"), paint)
        for channel, (title, plane) in enumerate(zip(titles, image, strict=True))
    ]


def _filters(name: str, weight: np.ndarray, paint: Paint) -> list[Block]:
    """All filters (O, C, kh, kw), channel by channel, side by side."""
    filters, channels = weight.shape[:2]
    one = filters == channels == 1
    return [
        titled(name if one else f"{name}[{o},{c}]", grid(weight[o, c], paint), paint)
        for o, c in np.ndindex(filters, channels)
    ]


def _values(explanation: Explanation, writer: Writer) -> list[str]:
    lines = terminal_values.values(explanation, writer)
    if not lines:
        return []
    return [*writer.heading("values"), *lines, "", *terminal_values.chosen_value(explanation, writer)]


def _backward(explanation: Explanation, writer: Writer) -> list[str]:
    """The gradients, from that by the output to those by everything that went in."""
    exercise, words, paint = explanation.exercise, writer.words, writer.paint
    formulas = words(f"{exercise.operation}.backward").split("\n")
    lines = [*writer.heading("backward"), *(f"{INDENT}{paint(formula, 'cyan')}" for formula in formulas)]
    by_output = "dO" if exercise.input.ndim == 3 else "dy"
    lines += writer.sentence(f"backward.{_kind_of_gradient(explanation)}", gradient=by_output)
    if exercise.input.ndim == 3:
        blocks = [] if _is_ones(explanation) else _channels("dO", np.asarray(exercise.gradient), paint)
        blocks += _channels("dI", explanation.gradients["input"], paint)
        if exercise.operation == "conv2d":
            blocks += _filters("dF", explanation.gradients["weight"], paint)
        elif "weight" in explanation.gradients:
            for name, title in (("weight", "dγ"), ("bias", "dβ")):  # noqa: RUF001
                blocks.append(titled(title, grid([explanation.gradients[name].tolist()], paint), paint))
        lines += ["", *writer.blocks(blocks)]
    lines += terminal_values.values(explanation, writer, backward=True)
    return [
        *lines,
        "",
        *terminal_windows.gradient_sums(explanation, writer),
        *terminal_values.gradient_of_chosen(explanation, writer),
    ]


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
    usual = explanation.exercise.operation in ("batch_norm", "softmax")
    return "chosen" if usual and bool((gradient == chosen).all()) else "given"


def _gpu(explanation: Explanation, writer: Writer) -> list[str]:
    gpu, operation = explanation.gpu, explanation.exercise.operation
    lines = writer.heading("gpu")
    if gpu.launches:
        lines += writer.sentence("gpu.kernels")
        for index, launch in enumerate(gpu.launches):
            described = any(earlier.kernel == launch.kernel for earlier in gpu.launches[:index])
            lines += _launch(launch, writer, described)
        if operation == "conv2d":
            lines += writer.sentence("gpu.with_matmul")
        return lines
    if operation == "conv2d":
        return lines + writer.sentence("gpu.only_matmul")
    lines += writer.sentence("gpu.only_cupy")
    for key, functions in (("forward", gpu.forward), ("backward", gpu.backward)):
        listed = ", ".join(f"cupy.{name}" for name in functions)
        lines += writer.wrapped(f"{writer.words(f'gpu.{key}'):9} {listed}", " " * 12)
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
    operation = explanation.exercise.operation
    lines = [*writer.heading("why"), *writer.sentence(f"{operation}.why"), *writer.sentence(f"{operation}.paper")]
    return lines + (writer.sentence("matrices.papers") if operation == "conv2d" else [])
