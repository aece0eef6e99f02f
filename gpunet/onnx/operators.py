"""What an operator of ONNX is here: a function of gpunet, with the attributes, settings and types that it takes.

What a file asks for beyond that is an error by its name, never another result.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from gpunet.backend import to_cpu
from gpunet.errors import ArgumentError, FileError, GpunetError, UnsupportedError
from gpunet.onnx.graph import Node
from gpunet.tensor import Tensor, tensor

__all__ = ["ABSENT", "LARGEST", "OPERATORS", "Call", "Operator", "Value", "bounded", "operator", "unsupported"]

Value: TypeAlias = "Tensor | np.ndarray[Any, Any]"
"""What nodes pass on: Tensors, and numbers on the host that say sizes, axes and places."""

ABSENT = 2**31
"""The default of an attribute that is a whole number, and may be left out."""
LARGEST = 2**28
"""The most elements of what a file can have made of a few numbers, such as a shape: a gigabyte of float32."""


class Call(NamedTuple):
    """What an operator knows of the place where it is used."""

    operator: str
    version: int  # of the operator set
    outputs: int  # how many it has
    needed: int  # how many of them, from the first, anybody uses
    training: bool


class Operator(NamedTuple):
    """One line of the table.

    Attributes:
        function: takes the `Call`, the inputs (None for one that is left out) and the attributes; returns the output,
            or a tuple of outputs.
        attributes: those it knows, with their defaults; None is a list of whole numbers that may be missing.
        host: the inputs that it wants as arrays on the host.
        settings: the inputs that are no weights, even where they are constants of floats.
        kinds: the types of number that it takes, as NumPy abbreviates them: f, i, u and b.
    """

    function: Callable[..., Any]
    attributes: Mapping[str, Any]
    host: tuple[int, ...]
    settings: tuple[int, ...]
    kinds: str

    def check(self, node: Node) -> None:
        """Whether a node can be run, before anything is.

        Raises:
            UnsupportedError: if it has an attribute that the operator does not know here.
            FileError: if one is of another type, or the number of inputs is wrong.
        """
        for name, value in node.attributes.items():
            if name not in self.attributes:
                raise UnsupportedError(f"{node.operator} with the attribute {name!r:.60} is not supported")
            if not _is_like(value, self.attributes[name]):
                raise FileError(f"{node.operator}: the attribute {name} cannot be {value!r:.60}")
        try:
            inspect.signature(self.function).bind(None, *node.inputs, **{**self.attributes, **node.attributes})
        except TypeError as error:
            raise FileError(f"{node.operator} with {len(node.inputs)} inputs: {error}") from error

    def run(self, call: Call, values: list[Value | None], attributes: Mapping[str, Any]) -> tuple[Value, ...]:
        """The outputs.

        Raises:
            UnsupportedError: for types of number or settings that it has not here, or more outputs than it gives.
            ArgumentError: if the inputs do not go together.
        """
        given = [self._as_wanted(call, place, value) for place, value in enumerate(values)]
        try:
            made = self.function(call, *given, **{**self.attributes, **attributes})
        except GpunetError:
            raise
        except (IndexError, KeyError, OverflowError, TypeError, ValueError, ZeroDivisionError) as error:
            raise ArgumentError(f"{call.operator} cannot be computed: {error}") from error
        outputs = made if isinstance(made, tuple) else (made,)
        if call.needed > len(outputs):
            raise unsupported(call, f"with {call.needed} outputs")
        return outputs

    def _as_wanted(self, call: Call, place: int, value: Value | None) -> Value | None:
        if value is None:
            return None
        if place in self.host:
            return to_cpu(value.array) if isinstance(value, Tensor) else value
        if value.dtype.kind not in self.kinds:
            raise unsupported(call, f"of {value.dtype}")
        return value if isinstance(value, Tensor) else tensor(value)


def _is_like(value: Any, default: Any) -> bool:
    if default is None:
        return isinstance(value, list) and all(isinstance(each, int) for each in value)
    if isinstance(default, float):
        return isinstance(value, float | int)
    return isinstance(value, type(default))


OPERATORS: dict[str, Operator] = {}
"""By name; those of the modules beside this one."""


def operator(
    *names: str, host: tuple[int, ...] = (), settings: tuple[int, ...] = (), kinds: str = "f", **attributes: Any
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Put a function into the table, under these names; the arguments are those of `Operator`."""

    def put(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in names:
            OPERATORS[name] = Operator(function, attributes, host, settings, kinds)
        return function

    return put


def unsupported(call: Call, what: str) -> UnsupportedError:
    """The error of an operator that is known, but not like that."""
    return UnsupportedError(f"{call.operator} {what} is not supported")


def bounded(call: Call, shape: Any) -> tuple[int, ...]:
    """A shape that a file asks for.

    Raises:
        ArgumentError: if it has negative sizes, or more than `LARGEST` elements.
    """
    sizes = tuple(int(size) for size in np.asarray(shape).reshape(-1))
    total = 1
    for size in sizes:
        total *= max(size, 1)
    if min(sizes, default=0) < 0 or total > LARGEST:
        raise ArgumentError(f"{call.operator}: the shape {sizes!s:.80} has negative sizes, or too many elements")
    return sizes
