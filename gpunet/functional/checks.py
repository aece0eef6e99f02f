"""What the public functions check before any work starts: each message says which layer expected what and got what."""

from __future__ import annotations

import functools
import numbers
import operator
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

from gpunet.backend import active_backend, check_active, xp
from gpunet.backend.recording import check_values
from gpunet.errors import ArgumentError, DTypeError, LabelError, ShapeError
from gpunet.ops.waiting import Waiting
from gpunet.ops.window import Pair, Window
from gpunet.suggestions import closest
from gpunet.tensor import Tensor

__all__ = [
    "IntPair",
    "check_choice",
    "check_float",
    "check_images",
    "check_probabilities",
    "check_same_dtype",
    "check_tensor",
    "check_window_fits",
    "checked_number",
    "number",
    "pair",
    "probability",
    "single",
    "takes_one_image",
    "whole_number",
]

IntPair: TypeAlias = int | Sequence[int]
"""One number for rows and columns alike, or the two of them."""

_Function = TypeVar("_Function", bound=Callable[..., Any])


def takes_one_image(function: _Function) -> _Function:
    """Let a function of a batch of images (N, C, H, W) take a single one (C, H, W), too: a decorator."""

    @functools.wraps(function)
    def run(input: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(input, Tensor) or input.ndim != 3:
            return function(input, *args, **kwargs)
        output = function(input.unsqueeze(0), *args, **kwargs)
        return tuple(each.squeeze(0) for each in output) if isinstance(output, tuple) else output.squeeze(0)

    return run  # type: ignore[return-value]


def whole_number(value: Any, name: str, layer: str, minimum: int | None = None) -> int:
    """The value as an int that is at least `minimum`, where there is one."""
    try:
        number = operator.index(value)
    except TypeError:
        raise ArgumentError(f"{layer}: {name} must be a whole number, got {value!r}") from None
    if isinstance(value, bool) or (minimum is not None and number < minimum):
        expected = "a whole number" if minimum is None else f"{minimum} or more"
        raise ArgumentError(f"{layer}: {name} must be {expected}, got {value!r}")
    return number


def number(value: Any, name: str, layer: str) -> float:
    """The value as a float."""
    if type(value) is float:  # the usual case
        return value
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise ArgumentError(f"{layer}: {name} must be a number, got {value!r}")
    return float(value)


def checked_number(value: Any, name: str, owner: str, expected: str, accept: Callable[[float], bool]) -> float:
    """The value as a float that `accept` takes; `expected` says in words what that is.

    Raises:
        ArgumentError: if the value is not a number, or not an accepted one.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not accept(float(value)):
        raise ArgumentError(f"{owner}: {name} must be {expected}, got {value!r}")
    return float(value)


def pair(value: IntPair, name: str, layer: str, minimum: int) -> Pair:
    """The value as (for rows, for columns)."""
    if type(value) is int and value >= minimum:  # the usual cases
        return value, value
    if type(value) is tuple and [type(each) for each in value] == [int, int] and min(value) >= minimum:
        return value
    values = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value, value)
    values = values * 2 if len(values) == 1 else values
    if len(values) != 2:
        raise ArgumentError(f"{layer}: {name} must be one whole number or two, got {value!r}")
    rows, columns = (whole_number(one, name, layer, minimum) for one in values)
    return rows, columns


def single(value: int | Sequence[int], name: str, layer: str, minimum: int) -> int:
    """The value, for the one dimension that a sequence has; it may be the only one of a tuple."""
    values = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
    if len(values) != 1:
        raise ArgumentError(f"{layer}: {name} must be one whole number, got {value!r}")
    return whole_number(values[0], name, layer, minimum)


def probability(value: Any, name: str, layer: str) -> float:
    """The value as a float within [0, 1]."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 <= float(value) <= 1:
        raise ArgumentError(f"{layer}: {name} must lie within [0, 1], got {value!r}")
    return float(value)


def check_choice(value: str, choices: Sequence[str], name: str, layer: str) -> None:
    """Make sure that a word is one of those the layer knows."""
    if value not in choices:
        guess = closest(str(value), choices)
        meant = "" if guess is None else f"; did you mean {guess!r}?"
        raise ArgumentError(f"{layer}: {name} must be one of {', '.join(map(repr, choices))}, got {value!r}{meant}")


def check_tensor(x: Any, layer: str, name: str = "input") -> None:
    """Make sure that the value is a Tensor."""
    if not isinstance(x, Tensor):
        raise DTypeError(f"{layer}: {name} must be a Tensor, got {type(x).__name__}; make one with gpunet.tensor(...)")


def check_float(x: Any, layer: str, name: str = "input") -> None:
    """Make sure that the value is a Tensor of floats on the active backend."""
    if isinstance(x, Tensor):
        array = x._array
        if isinstance(array, (xp.ndarray, Waiting)) and array.dtype.kind == "f":  # the usual case
            return
    check_tensor(x, layer, name)
    check_active(x.array, f"{layer}: {name}")
    if not x.is_floating_point():
        raise DTypeError(f"{layer}: {name} must hold floats, got {x.dtype}; convert with .float()")


def check_images(x: Any, layer: str, channels: int | None = None) -> None:
    """Make sure that the value is a batch of images (N, C, H, W) of floats, perhaps of none."""
    check_float(x, layer)
    shape = x.shape
    if len(shape) != 4:
        raise ShapeError(
            f"{layer}: input must have shape (N, C, H, W), or (C, H, W), got {len(shape)} dimension(s), {shape}"
        )
    if 0 in shape[1:]:
        raise ShapeError(f"{layer}: the images have no pixels or no channels, input has shape {shape}")
    if channels is not None and shape[1] != channels:
        raise ShapeError(f"{layer}: input must have {channels} channels, got {shape[1]} in shape {shape}")


def check_same_dtype(layer: str, **dtypes: Any) -> None:
    """Make sure that Tensors of these types, given by name, hold the same type of float."""
    if len(set(dtypes.values())) > 1:
        raise DTypeError.mixed(layer, dtypes)


def check_window_fits(window: Window, x: Tensor, layer: str) -> None:
    """Make sure that the window has a place in the padded images; with ceil_mode it may reach beyond them."""
    positions = window.output_size(*x.shape[2:])
    if min(positions) >= 1:  # the usual case
        return
    axes = zip(("height", "width"), x.shape[2:], window.padding, window.extent, strict=True)
    for axis, (name, size, (before, after), extent) in enumerate(axes):
        if positions[axis] < 1:
            raise ShapeError(
                f"{layer}: the window is larger than the padded input: {name} {size} + padding {before} + {after} "
                f"against a window of {extent} (kernel {window.kernel[axis]}, dilation {window.dilation[axis]})"
            )


def check_probabilities(x: Tensor, layer: str, name: str) -> None:
    """Make sure that every value lies within [0, 1]; on a GPU without a look, where they were seen on the host."""

    def check() -> None:
        smallest, largest = (None if active_backend() == "numpy" else x.known_range()) or (-1, -1)
        if 0 <= smallest <= largest <= 1:
            return
        if x.numel() and not bool(((x.array >= 0) & (x.array <= 1)).all()):
            raise LabelError(f"{layer}: {name} must be probabilities within [0, 1], got values outside (or NaN)")

    check_values(x, check)
