"""What slides over an image, on a terminal: the output size, the window at its positions, the matrices."""

from __future__ import annotations

from gpunet.explain.exercise import Exercise
from gpunet.explain.explanation import Explanation, Size, Window
from gpunet.explain.grids import Block, grid, matrix, number, titled
from gpunet.explain.writing import INDENT, Writer, element

__all__ = ["adaptive_span", "another_element", "matrices", "output_size", "windows"]

MOST_LINES = 24  # of frames


def output_size(explanation: Explanation, writer: Writer) -> list[str]:
    """The formula of the output size with the numbers in it."""
    if explanation.sizes is None:
        return []
    dilated = any(size.dilation != 1 for size in explanation.sizes)
    formula = "⌊(H - D(K-1) - 1 + 2P) / S⌋ + 1" if dilated else "⌊(H - K + 2P) / S⌋ + 1"
    rows, columns = explanation.sizes
    both = [("rows_and_columns", rows)] if rows == columns else [("rows", rows), ("columns", columns)]
    names = [writer.words(key) for key, _ in both]
    width = max(map(len, [*names, "H'"]))
    left = "H'".ljust(width)
    lines = [f"{INDENT}{left} = {writer.paint(formula, 'cyan')}"]
    for name, (_, size) in zip(names, both, strict=True):
        lines.append(f"{INDENT}{name:{width}} = {_size_in_numbers(size, dilated)} = {size.output}")
    return [*writer.heading("size"), *lines]


def _size_in_numbers(size: Size, dilated: bool) -> str:
    kernel = f"{size.dilation}·({size.kernel}-1) - 1" if dilated else f"{size.kernel}"
    return f"⌊({size.input} - {kernel} + 2·{size.padding}) / {size.stride}⌋ + 1"


def windows(explanation: Explanation, writer: Writer) -> list[str]:
    """The image at every position of the window, or at the first and the chosen ones where there are many."""
    if not explanation.steps:
        return []
    exercise = explanation.exercise
    steps = [step for step in explanation.steps if step.sum.place[0] == exercise.chosen[0]]
    frames = [_frame(step, explanation, writer) for step in steps]
    across = max(1, (writer.width - len(INDENT) + 3) // (frames[0].width + 3))
    most = across * max(1, MOST_LINES // (len(frames[0].lines) + 1))
    shown = list(range(min(most, len(steps))))
    chosen = next(index for index, step in enumerate(steps) if step.sum.place == exercise.chosen)
    if chosen not in shown:
        shown[-1] = chosen
    lines = writer.heading("windows")
    if len(exercise.input) > 1:
        lines += writer.sentence("channels", channel=_image_channel(exercise), count=len(exercise.input))
    lines += writer.blocks([frames[index] for index in shown])
    if len(steps) > len(shown):
        lines += writer.sentence("windows.more", count=len(steps) - len(shown))
    if _padded(exercise) != (range(exercise.input.shape[1]), range(exercise.input.shape[2])):
        never = exercise.operation == "max_pool2d"
        lines += writer.sentence("windows.padding", value=writer.words("padding.never" if never else "padding.zero"))
    return lines


def _image_channel(exercise: Exercise) -> int:
    """The channel of the image that is shown: a convolution looks at all of them, pooling at one."""
    return 0 if exercise.weight is not None else exercise.chosen[0]


def _padded(exercise: Exercise) -> tuple[range, range]:
    """The rows and columns of the padded image; the image itself begins at 0."""
    height, width = exercise.input.shape[1:]
    if exercise.window is None:
        return range(height), range(width)
    (top, bottom), (left, right) = exercise.window.padding
    return range(-top, height + bottom), range(-left, width + right)


def _frame(step: Window, explanation: Explanation, writer: Writer) -> Block:
    exercise = explanation.exercise
    rows, columns = _padded(exercise)
    image = exercise.input[_image_channel(exercise)]
    height, width = image.shape
    cells = [[image[i, j] if 0 <= i < height and 0 <= j < width else None for j in columns] for i in rows]
    marked = {(i - rows.start, j - columns.start) for i in step.rows for j in step.columns}
    colour = "green" if step.sum.place == exercise.chosen else "yellow"
    block = grid(cells, writer.paint, marked, colour)
    name = element("O", step.sum.place, explanation.output.shape)
    return titled(f"{name} = {number(step.sum.result)}", block, writer.paint)


def adaptive_span(explanation: Explanation, writer: Writer) -> list[str]:
    """Where the window of the chosen element begins and ends, if the output size alone says so."""
    exercise, step, lines = explanation.exercise, explanation.chosen_step, []
    if exercise.output_size is None or step is None:
        return []
    sizes = zip(("rows", "columns"), exercise.chosen[1:], exercise.input.shape[1:], exercise.output_size, strict=True)
    for (key, index, size, cells), span in zip(sizes, (step.rows, step.columns), strict=True):
        ends = f"⌊{index}·{size}/{cells}⌋ .. ⌈{index + 1}·{size}/{cells}⌉-1 = {span[0]} .. {span[-1]}"
        lines += writer.wrapped(f"{writer.words(key):8} {ends}")
    return lines


def another_element(explanation: Explanation, writer: Writer) -> list[str]:
    """How to choose the last element, if there is more than one."""
    target = explanation.exercise.target
    shape = explanation.output.shape if target is None else target.shape
    last = tuple(size - 1 for size in shape)
    if not any(last):
        return []
    return writer.sentence("element.choose", example=element("O", last, shape)[2:-1])


def matrices(explanation: Explanation, writer: Writer) -> list[str]:
    """A convolution as a matrix product."""
    found = explanation.matrices
    if found is None:
        return []
    words, paint = writer.words, writer.paint
    outputs, *positions = explanation.output.shape
    row = explanation.exercise.chosen[1] * positions[1] + explanation.exercise.chosen[2]
    m, k, n = found.size
    output = explanation.output.reshape(outputs, -1).T  # (Ho*Wo, O)
    blocks = [
        titled(f"{words('matrices.windows')} {m}x{k}", matrix(found.windows, paint, row), paint),
        titled(f"{words('matrices.filters')} {k}x{n}", matrix(found.filters, paint), paint),
        titled(f"{words('matrices.output')} {m}x{n}", matrix(output, paint, row), paint),
    ]
    lines = [*writer.heading("matrices"), *writer.blocks(blocks)]
    lines += writer.sentence("matrices.product", m=m, k=k, n=n, flops=f"{found.flops:,}")
    if len(explanation.exercise.input) > 1:
        lines += writer.sentence("matrices.order")
    if found.windows_bytes == 0:
        return lines + writer.sentence("matrices.pointwise")
    times = number(found.windows_bytes / found.image_bytes)
    sizes = {"bytes": f"{found.windows_bytes:,}", "image": f"{found.image_bytes:,}", "times": times}
    return lines + writer.sentence("matrices.bytes", **sizes)
