"""Networks from ONNX files: Modules that run, learn and are saved as any other."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import numpy as np

from gpunet.errors import ArgumentError, DTypeError, GpunetError, ShapeError
from gpunet.nn import Module, Parameter
from gpunet.onnx.operators import OPERATORS, Call, Value
from gpunet.onnx.reading import Plan, read_plan
from gpunet.tensor import Tensor, tensor

# These fill the table.
from gpunet.onnx import elementwise, layers, sizes  # isort: skip  # noqa: F401

__all__ = ["Network", "load"]

DEEPEST = 32
"""So many Modules within one another are made of a name with dots."""


def load(path: str | os.PathLike[str]) -> Network:
    """Read an ONNX file as a Module, on the active backend; it is in evaluation mode.

    Constants of floats are its parameters, by their names, and running statistics its buffers; so it can be fine-tuned,
    and its `state_dict` saved and loaded. In training mode batch norm and dropout work as layers of gpunet.

    Nothing in the file is run, and what gpunet does not do as ONNX says is an error by its name, here or, where it
    depends on what comes in, in the forward pass.

    Raises:
        FileError: if the file cannot be read, is damaged or contradicts itself.
        UnsupportedError: if it has an operator, attribute or type of number that gpunet has not.
        DTypeError: if it is no path.
        DataError: if the package onnx is not installed.
    """
    if not isinstance(path, str | os.PathLike):
        raise DTypeError(f"onnx.load expects the path of a file, got {type(path).__name__}")
    return Network(read_plan(path)).eval()


class Network(Module):
    """The graph of an ONNX file, run node by node.

    Attributes:
        about: what stands in the file beside the model, such as "classes", as texts.

    Shape:
        as the file says; one output is a Tensor, several are a tuple.
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self._plan, self.about = replace(plan, constants={}), dict(plan.about)
        self._places: dict[str, tuple[Module, str]] = {}
        self._host: dict[str, np.ndarray[Any, Any]] = {}
        learnt = _weights(plan)
        for name, array in plan.constants.items():
            if array.dtype.kind != "f":
                self._host[name] = array
                continue
            made = tensor(array)
            self._places[name] = _put(self, name, Parameter(made) if name in learnt else made)
        last = {name: i for i, node in enumerate(plan.nodes) for name in node.inputs}
        self._done = [
            [name for name in {*node.inputs, *node.outputs} if last.get(name, -1) <= i and name not in plan.outputs]
            for i, node in enumerate(plan.nodes)
        ]  # what nobody needs after each node
        used = {*last, *plan.outputs}
        self._calls = [
            Call(node.operator, plan.version, len(node.outputs), _needed(node.outputs, used), training=False)
            for node in plan.nodes
        ]

    def forward(self, *inputs: Tensor) -> Any:
        """Run the graph.

        Raises:
            ArgumentError: if the number of inputs is another, or values do not go together.
            DTypeError: if an input holds another type of number.
            ShapeError: if it has another shape.
            UnsupportedError: if an operator is not to be had for what comes in.
        """
        plan = self._plan
        if len(inputs) != len(plan.inputs):
            raise ArgumentError(f"the network takes {len(plan.inputs)} inputs, got {len(inputs)}")
        values: dict[str, Value] = dict(self._host)
        values.update((name, getattr(module, own)) for name, (module, own) in self._places.items())
        for wanted, value in zip(plan.inputs, inputs, strict=True):
            if not isinstance(value, Tensor) or value.dtype != wanted.dtype:
                got = value.dtype if isinstance(value, Tensor) else type(value).__name__
                raise DTypeError(f"the input {wanted.name} is expected to be a Tensor of {wanted.dtype}, got {got}")
            if wanted.shape is not None and (
                len(wanted.shape) != value.ndim
                or any(a not in (None, b) for a, b in zip(wanted.shape, value.shape, strict=True))
            ):
                raise ShapeError(f"the input {wanted.name} is expected to have shape {wanted.shape}, got {value.shape}")
            values[wanted.name] = value
        for node, call, done in zip(plan.nodes, self._calls, self._done, strict=True):
            given = [values[name] if name else None for name in node.inputs]
            try:
                made = OPERATORS[node.operator].run(call._replace(training=self.training), given, node.attributes)
            except GpunetError as error:
                error.message = f"the node that makes {node.outputs[0]!r:.60}: {error.message}"
                raise
            values.update((name, value) for name, value in zip(node.outputs, made, strict=False) if name)
            for name in done:
                values.pop(name, None)
        results = tuple(each if isinstance(each, Tensor) else tensor(each) for each in map(values.get, plan.outputs))
        return results[0] if len(results) == 1 else results


def _needed(outputs: tuple[str, ...], used: set[str]) -> int:
    """How many of the outputs, from the first, there have to be for those that are used."""
    return max((i for i, name in enumerate(outputs, 1) if name in used), default=1)


def _weights(plan: Plan) -> set[str]:
    """The constants that are learnt: those that nodes take for more than settings; names of PyTorch begin otherwise.

    A name with a slash in front is that of something computed, which an exporter has made a constant of.
    """
    uses: dict[str, list[bool]] = {}
    for node in plan.nodes:
        settings = OPERATORS[node.operator].settings + OPERATORS[node.operator].host
        for place, name in enumerate(node.inputs):
            uses.setdefault(name, []).append(place in settings)
    return {
        name
        for name, array in plan.constants.items()
        if array.ndim and not name.startswith("/") and name in uses and not any(uses[name])
    }


def _put(root: Module, name: str, made: Tensor) -> tuple[Module, str]:
    """Make a Tensor a part of the Module under its name, in Modules within where that has dots; where it now is."""
    *path, own = name.split(".", DEEPEST)
    module = root
    try:
        for part in path:
            if part not in dict(module.named_children()):
                module.add_module(part, Module())
            module = dict(module.named_children())[part]
        _register(module, own, made)
    except ArgumentError:  # the name is taken, empty or one of the Module's own
        module, own = root, name.replace(".", "_") or "_"
        while hasattr(root, own):
            own += "_"
        _register(module, own, made)
    return module, own


def _register(module: Module, name: str, made: Tensor) -> None:
    if isinstance(made, Parameter):
        module.register_parameter(name, made)
    else:
        module.register_buffer(name, made)
