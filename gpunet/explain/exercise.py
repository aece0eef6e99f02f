"""An operation of the lecture with its numbers, small enough to be looked at one by one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from gpunet.errors import ArgumentError, LabelError, ShapeError
from gpunet.explain.given import (
    LARGEST,
    MOST_CHANNELS,
    MOST_NUMBERS,
    MOST_PADDED,
    MOST_PIXELS,
    Given,
    Values,
)
from gpunet.functional.checks import check_window_fits, probability, whole_number
from gpunet.functional.conv import conv_window
from gpunet.functional.pooling import pool_window
from gpunet.ops.window import Pair, Window
from gpunet.tensor import Tensor

__all__ = [
    "IMAGE_OPERATIONS",
    "LARGEST",
    "LOSSES",
    "MOST_CHANNELS",
    "MOST_NUMBERS",
    "MOST_PADDED",
    "MOST_PIXELS",
    "OPERATIONS",
    "SETTINGS",
    "Exercise",
    "exercise",
    "lecture_exercise",
    "lecture_exercises",
    "output_shape",
]

SETTINGS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "conv2d": ("input", "weight", "kernel_size", "out_channels", "stride", "padding", "dilation", "gradient"),
        "max_pool2d": ("input", "kernel_size", "stride", "padding", "dilation", "gradient"),
        "avg_pool2d": ("input", "kernel_size", "stride", "padding", "gradient"),
        "adaptive_avg_pool2d": ("input", "output_size", "gradient"),
        "dropout": ("input", "p", "seed", "gradient"),
        "batch_norm": ("input", "weight", "bias", "eps", "gradient"),
        "sigmoid": ("input", "gradient"),
        "softmax": ("input", "gradient"),
        "kl_div": ("input", "target"),
        "binary_cross_entropy": ("input", "target"),
        "cross_entropy": ("input", "target"),
    }
)
"""What can be chosen for each operation, beside the element that is looked at."""

OPERATIONS = tuple(SETTINGS)
"""The operations, in the order of the lecture."""
IMAGE_OPERATIONS = OPERATIONS[:6]
"""Those that work on an image; the others work on a few numbers."""
LOSSES = OPERATIONS[8:]
"""Those whose output is a single number."""

DROPOUT_SEED = 8105471  # the first that draws what the slide shows: 0.6, 0.8, 0.2, 0.1, and then keeps what it keeps
LOGITS = (1.0, 0.0, 3.0, 2.0)
NETWORK_SAYS = (0.1, 0.01, 0.7, 0.19)  # the lecture's distribution of a network, which ends after three numbers there
RIGHT = (0.0, 0.1, 0.8, 0.1)

LARGEST_EXPONENT = 700  # e to this is nearly all that a float can hold
CERTAIN = 1e-9  # how close to 0 or 1 a probability may come


@dataclass(frozen=True, eq=False)
class Exercise:
    """One operation with its numbers. Names and meanings are those of `gpunet.functional`; arrays are float64.

    What an operation does not have is None.

    Attributes:
        operation: one of OPERATIONS.
        input: an image (C, H, W), or numbers (K,): logits of cross_entropy, q of kl_div, probabilities of
            binary_cross_entropy.
        gradient: of the loss by the output, like the output; None for a loss, where it is 1.
        chosen: the element that is looked at closely: a place in the output, (channel, row, column) or (index,); of a
            loss the index of one of its terms.
        weight: the filters (O, C, kh, kw) of conv2d, gamma (C,) of batch_norm.
        bias: beta (C,) of batch_norm.
        target: for each number of the input the right probability.
        label: of cross_entropy, where the target is one class.
        window: kernel size, stride, padding and dilation of what slides over the image.
        output_size: of adaptive_avg_pool2d.
        p: of dropout.
        seed: of dropout.
        eps: of batch_norm.
    """

    operation: str
    input: Values
    gradient: Values | None
    chosen: tuple[int, ...]
    weight: Values | None = None
    bias: Values | None = None
    target: Values | None = None
    label: int | None = None
    window: Window | None = None
    output_size: Pair | None = None
    p: float | None = None
    seed: int | None = None
    eps: float | None = None


def lecture_exercise(operation: str) -> Exercise:
    """The exercise as the lecture has it: its image and filter, or a few numbers of the same kind.

    Raises:
        ArgumentError: if there is no such operation.

    Example:
        >>> lecture_exercise("conv2d").weight.tolist()
        [[[[1.0, 0.0], [2.0, 1.0]]]]
    """
    return exercise(operation)


def lecture_exercises() -> tuple[Exercise, ...]:
    """All of them, in the order of the lecture."""
    return tuple(lecture_exercise(operation) for operation in OPERATIONS)


def exercise(operation: str, chosen: Sequence[int] | None = None, **settings: Any) -> Exercise:
    """An operation with numbers of one's own; what is left out is as in the lecture.

    Args:
        operation: one of OPERATIONS.
        chosen: the element of the output to look at closely: (row, column), (channel, row, column) or (index,).
        settings: those of SETTINGS that the operation has. `input` is an image (H, W) or (C, H, W) or numbers (K,), or
            the size of an image, as a tuple of whole numbers, which is then drawn; conv2d takes `weight`, or
            `kernel_size` and `out_channels` for a filter that is drawn; `target` of cross_entropy is a class or a
            distribution; `gradient`, of the loss by the output, is 1 everywhere, and for batch_norm and softmax, which
            let nothing of that through, 1 for the chosen element and 0 elsewhere.

    Raises:
        ArgumentError: for an unknown operation, a setting that it does not have or that makes no sense, or numbers that
            are too many or too large to be shown.
        ShapeError: for arrays that do not fit together, or a window larger than the padded image.
        LabelError: for a class that does not exist, or probabilities that are none.

    Example:
        >>> exercise("max_pool2d", kernel_size=3, stride=1).window.kernel
        (3, 3)
    """
    if operation not in OPERATIONS:
        raise ArgumentError(f"explain: there is no operation {operation!r}; there are {', '.join(OPERATIONS)}")
    foreign = sorted(name for name in settings if name not in SETTINGS[operation])
    if foreign:
        known = ", ".join(SETTINGS[operation])
        raise ArgumentError(f"explain {operation}: {operation} has no {', '.join(foreign)}; it takes {known}")
    given = Given(operation, settings)
    made = _MAKERS[operation](given)
    shape = output_shape(made)
    if max(shape[1:], default=0) > MOST_PIXELS:
        raise ArgumentError(
            f"{given.where}: the output is {shape[1]}x{shape[2]}, but at most {MOST_PIXELS}x{MOST_PIXELS} can be shown"
        )
    first = 0 if made.target is None else int(made.target.argmax())
    place = _chosen(given.where, chosen, shape or made.input.shape, first)
    return dataclasses.replace(made, chosen=place, gradient=_gradient(given, made, place))


def output_shape(exercise: Exercise) -> tuple[int, ...]:
    """The shape of the output: (O, Ho, Wo), (K,), or () for a loss."""
    shape = exercise.input.shape
    if exercise.operation in LOSSES:
        return ()
    if exercise.output_size is not None:
        return (shape[0], *exercise.output_size)
    if exercise.window is None:
        return shape
    channels = len(exercise.weight) if exercise.operation == "conv2d" and exercise.weight is not None else shape[0]
    return (channels, *exercise.window.output_size(*shape[1:]))


# ------------------------------------------------------------------------------------- one maker for each operation


def _conv2d(given: Given) -> Exercise:
    image = given.image()
    weight = given.filters(len(image))
    kernel = given.pair("kernel_size", 2, minimum=1) if weight is None else (weight.shape[2], weight.shape[3])
    padding = given.pair("padding", 0, minimum=0)
    window = conv_window(kernel, given.get("stride", 1), padding, given.get("dilation", 1))
    _check_window(given.where, window, image)  # before a filter of that size is drawn
    if weight is None:
        weight = given.drawn_filters(len(image), kernel)
    return Exercise("conv2d", image, None, (), weight=weight, window=window)


def _pool(operation: str) -> Callable[[Given], Exercise]:
    def maker(given: Given) -> Exercise:
        image = given.image()
        sizes = (given.get("kernel_size", 2), given.get("stride"), given.get("padding", 0), given.get("dilation", 1))
        window = pool_window(operation, *sizes, ceil_mode=False)
        _check_window(given.where, window, image)
        _check_windows_see_pixels(given.where, window, image)
        return Exercise(operation, image, None, (), window=window)

    return maker


def _check_window(where: str, window: Window, image: Values) -> None:
    check_window_fits(window, Tensor(image[None]), where)
    height, width = window.padded_size(*image.shape[1:])
    if max(height, width) > MOST_PADDED:
        raise ArgumentError(
            f"{where}: the padded image is {height}x{width}, but at most {MOST_PADDED}x{MOST_PADDED} can be shown"
        )


def _check_windows_see_pixels(where: str, window: Window, image: Values) -> None:
    """Pooling looks at pixels; with gaps between them, all those of a window may lie in the padding."""
    for axis, size in enumerate(image.shape[1:]):
        starts = [
            window.stride[axis] * i - window.padding[axis][0] for i in range(window.output_size(size, size)[axis])
        ]
        steps = [window.dilation[axis] * p for p in range(window.kernel[axis])]
        if not all(any(0 <= start + step < size for step in steps) for start in starts):
            raise ArgumentError(f"{where}: a window sees nothing but padding; take less padding or dilation")


def _adaptive_avg_pool2d(given: Given) -> Exercise:
    size = given.pair("output_size", 3, minimum=1)
    return Exercise("adaptive_avg_pool2d", given.image(), None, (), output_size=size)


def _dropout(given: Given) -> Exercise:
    p = probability(given.get("p", 0.5), "p", given.where)
    seed = given.whole_number("seed", DROPOUT_SEED, minimum=0)
    return Exercise("dropout", given.image(), None, (), p=p, seed=seed)


def _batch_norm(given: Given) -> Exercise:
    image = given.image()
    if image[0].size == 1:
        raise ShapeError(f"{given.where}: a channel of one pixel has no variance; take a larger image")
    gamma, beta = (given.per_channel(name, usual, len(image)) for name, usual in (("weight", 1), ("bias", 0)))
    eps = given.get("eps", 1e-5)
    if isinstance(eps, bool) or not isinstance(eps, int | float) or not 0 < eps < LARGEST:
        raise ArgumentError(f"{given.where}: eps must be a number above 0 and below {LARGEST:g}, got {eps!r}")
    return Exercise("batch_norm", image, None, (), weight=gamma, bias=beta, eps=float(eps))


def _sigmoid(given: Given) -> Exercise:
    x = given.row("input", (-2, -1, 0, 1, 2))
    if (x < -LARGEST_EXPONENT).any():
        raise ArgumentError(f"{given.where}: input must be above -{LARGEST_EXPONENT}, where e^-x can be shown")
    return Exercise("sigmoid", x, None, ())


def _softmax(given: Given) -> Exercise:
    return Exercise("softmax", given.row("input", LOGITS, fewest=2), None, ())


def _kl_div(given: Given) -> Exercise:
    q = given.distribution("input", given.row("input", NETWORK_SAYS, fewest=2))
    if (q == 0).any():
        raise LabelError(f"{given.where}: input (q) must be above 0 everywhere, where its logarithm is finite")
    return Exercise("kl_div", q, None, (), target=given.distribution("target", given.target(q, RIGHT)))


def _binary_cross_entropy(given: Given) -> Exercise:
    y = given.row("input", (0.9, 0.2, 0.6))
    if not ((y >= CERTAIN) & (y <= 1 - CERTAIN)).all():
        raise LabelError(
            f"{given.where}: input must be probabilities from {CERTAIN:g} to 1 - {CERTAIN:g}: gpunet cuts off the "
            f"logarithm of smaller ones"
        )
    t = given.target(y, (1, 0, 1))
    if not ((t >= 0) & (t <= 1)).all():
        raise LabelError(f"{given.where}: target must be probabilities within [0, 1]")
    return Exercise("binary_cross_entropy", y, None, (), target=t)


def _cross_entropy(given: Given) -> Exercise:
    logits = given.row("input", LOGITS, fewest=2)
    if np.size(given.get("target", 0)) > 1:
        return Exercise(
            "cross_entropy", logits, None, (), target=given.distribution("target", given.target(logits, LOGITS))
        )
    label = given.label(len(logits), usual=min(2, len(logits) - 1))
    return Exercise("cross_entropy", logits, None, (), target=np.eye(len(logits))[label], label=label)


_MAKERS: dict[str, Callable[[Given], Exercise]] = {
    "conv2d": _conv2d,
    "max_pool2d": _pool("max_pool2d"),
    "avg_pool2d": _pool("avg_pool2d"),
    "adaptive_avg_pool2d": _adaptive_avg_pool2d,
    "dropout": _dropout,
    "batch_norm": _batch_norm,
    "sigmoid": _sigmoid,
    "softmax": _softmax,
    "kl_div": _kl_div,
    "binary_cross_entropy": _binary_cross_entropy,
    "cross_entropy": _cross_entropy,
}

# ------------------------------------------------------------------------------ the chosen element, and its gradient


def _chosen(where: str, chosen: Sequence[int] | None, shape: tuple[int, ...], first: int) -> tuple[int, ...]:
    if chosen is None:
        return (first,) if len(shape) == 1 else (0,) * len(shape)
    place = tuple(whole_number(index, "chosen", where, 0) for index in chosen)
    if len(shape) == 3 and len(place) == 2:
        place = (0, *place)
    if len(place) != len(shape) or any(index >= size for index, size in zip(place, shape, strict=True)):
        form = "channel, row and column" if len(shape) == 3 else "one index"
        raise ArgumentError(f"{where}: the chosen element must be {form} within {shape}, got {tuple(chosen)}")
    return place


def _gradient(given: Given, made: Exercise, chosen: tuple[int, ...]) -> Values | None:
    """The gradient by the output, like the output; None for a loss."""
    if made.operation in LOSSES:
        return None
    shape = output_shape(made)
    if "gradient" in given:
        return given.gradient(shape)
    if made.operation not in ("batch_norm", "softmax"):
        return np.ones(shape)
    gradient = np.zeros(shape)
    gradient[chosen] = 1
    return gradient
