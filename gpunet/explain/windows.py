"""The window at each of its positions: what it covers, the products, and the sum that becomes one output element.

Convolution and pooling are all seen as sums of products. In a convolution the factors are the filter's; in average
pooling each is 1 over the size of the window; in max pooling it is 1 for the winner and 0 for the others. The factors
are also what each pixel's gradient is made of, so that the way back needs nothing more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gpunet.explain.exercise import Exercise, output_shape
from gpunet.explain.terms import Sum, Term
from gpunet.ops.window import Window

__all__ = ["Step", "gradient_sums", "sliding"]


@dataclass(frozen=True)
class Step:
    """One position of the window.

    Attributes:
        rows: the rows of the image that it covers; those outside 0 .. H-1 are padding.
        columns: the columns likewise.
        sum: the output element that is made of it. The terms are in the order of the filter, channel by channel and row
            by row; max pooling has none for the padding, which never wins.
    """

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    sum: Sum


def sliding(exercise: Exercise) -> tuple[Step, ...]:
    """All positions, in the order of the output elements; none where nothing slides."""
    if exercise.window is not None:
        spans = [_spans(exercise.window, axis, size) for axis, size in enumerate(exercise.input.shape[1:])]
    elif exercise.output_size is not None:
        sizes = zip(exercise.input.shape[1:], exercise.output_size, strict=True)
        spans = [_adaptive_spans(size, cells) for size, cells in sizes]
    else:
        return ()
    channels, *positions = output_shape(exercise)
    return tuple(
        _step(exercise, (channel, i, j), spans[0][i], spans[1][j])
        for channel in range(channels)
        for i, j in np.ndindex(*positions)
    )


def _spans(window: Window, axis: int, size: int) -> list[tuple[int, ...]]:
    """For each position along an axis the indices that the window covers."""
    before, _ = window.padding[axis]
    kernel, stride, dilation = window.kernel[axis], window.stride[axis], window.dilation[axis]
    positions = window.output_size(size, size)[axis]
    return [tuple(stride * i + dilation * p - before for p in range(kernel)) for i in range(positions)]


def _adaptive_spans(size: int, cells: int) -> list[tuple[int, ...]]:
    """For each cell the indices floor(i*H/k) .. ceil((i+1)*H/k) - 1."""
    return [tuple(range(i * size // cells, -(-(i + 1) * size // cells))) for i in range(cells)]


def _step(exercise: Exercise, position: tuple[int, int, int], rows: tuple[int, ...], columns: tuple[int, ...]) -> Step:
    channel = position[0]
    height, width = exercise.input.shape[1:]
    seen = range(len(exercise.input)) if exercise.operation == "conv2d" else [channel]
    places = [(c, row, column) for c in seen for row in rows for column in columns]
    inside = [0 <= row < height and 0 <= column < width for _, row, column in places]
    values = [float(exercise.input[place]) if within else 0.0 for place, within in zip(places, inside, strict=True)]
    if exercise.operation == "max_pool2d":
        kept = [index for index, within in enumerate(inside) if within]
        winner = max(kept, key=lambda index: (values[index], -index))  # the first of equals
        terms = [Term(places[index], values[index], float(index == winner)) for index in kept]
    elif exercise.operation == "conv2d" and exercise.weight is not None:
        factors = exercise.weight[channel].reshape(-1).tolist()  # (C*kh*kw,)
        terms = [Term(*each) for each in zip(places, values, factors, strict=True)]
    else:
        terms = [Term(place, value, 1 / len(places)) for place, value in zip(places, values, strict=True)]
    return Step(rows, columns, Sum("output", position, tuple(terms), sum(term.product for term in terms)))


def gradient_sums(exercise: Exercise, steps: tuple[Step, ...]) -> tuple[Sum, ...]:
    """The gradient by one pixel, and in a convolution by one element of the filter, as sums over the output.

    The pixel is the one below the chosen window that most windows see; the element is the first of the filter.
    """
    if exercise.gradient is None or not steps:
        return ()
    (chosen,) = (step for step in steps if step.sum.place == exercise.chosen)
    by_pixel = _by_pixels(exercise, steps, [term.place for term in chosen.sum.terms if _is_inside(exercise, term)])
    sums = [max(by_pixel, key=lambda each: sum(term.factor != 0 for term in each.terms))] if by_pixel else []
    if exercise.operation == "conv2d":
        sums.append(_by_first_element(exercise, steps))
    return tuple(sums)


def _is_inside(exercise: Exercise, term: Term) -> bool:
    """Whether a term is a pixel of the image, not padding."""
    return all(0 <= at < size for at, size in zip(term.place, exercise.input.shape, strict=True))


def _by_pixels(exercise: Exercise, steps: tuple[Step, ...], places: list[tuple[int, ...]]) -> list[Sum]:
    """For each pixel the sum over the windows that see it: their gradient times the factor that the pixel had there."""
    terms: dict[tuple[int, ...], list[Term]] = {place: [] for place in places}
    for step in steps:
        for term in step.sum.terms:
            if term.place in terms:
                terms[term.place].append(Term(step.sum.place, _gradient_at(exercise, step), term.factor))
    return [Sum("input", place, tuple(each), sum(term.product for term in each)) for place, each in terms.items()]


def _by_first_element(exercise: Exercise, steps: tuple[Step, ...]) -> Sum:
    """The first element of the filter: the sum over its positions, their gradient times the pixel that it met there."""
    of_filter = [step for step in steps if step.sum.place[0] == exercise.chosen[0]]
    terms = [Term(step.sum.place, _gradient_at(exercise, step), step.sum.terms[0].value) for step in of_filter]
    return Sum("weight", (exercise.chosen[0], 0, 0, 0), tuple(terms), sum(term.product for term in terms))


def _gradient_at(exercise: Exercise, step: Step) -> float:
    return 0.0 if exercise.gradient is None else float(exercise.gradient[step.sum.place])
