"""Models as ONNX files: what a model does to an example is recorded, translated and written."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.backend import asarray, to_cpu
from gpunet.errors import ArgumentError, DTypeError, ShapeError
from gpunet.files import write_bytes
from gpunet.nn import Module, evaluation_mode
from gpunet.onnx.graph import Graph, fold_batch_norm
from gpunet.onnx.library import onnx_library
from gpunet.onnx.translations import translate
from gpunet.ops.operation import Operation
from gpunet.tape import enable_grad
from gpunet.tensor import Tensor, own, watch_operations
from gpunet.version import __version__

__all__ = ["LARGEST_FILE", "OPSET", "export"]

OPSET, IR_VERSION = 18, 8
LARGEST_FILE = 2**31 - 1
"""The most bytes that one file of ONNX, which is a message of protobuf, can have."""
INPUT, OUTPUT, BATCH = "input", "output", "N"


def export(
    model: Module,
    example: Tensor,
    path: str | os.PathLike[str],
    *,
    fold: bool = True,
    about: Mapping[str, Any] | None = None,
) -> None:
    """Write a model as an ONNX file (opset 18), which other programs run: onnxruntime, TensorRT, browsers, phones.

    What the model does to the example in evaluation mode is recorded, twice: a second time with other images, and one
    more. So the file takes any number of images of that size, and what a recording would silently keep of the example
    is an error. Branches that Python takes are those of the example.

    Args:
        example: what the model takes, such as one image; its values do not matter, its sizes do.
        path: the file is written whole or not at all.
        fold: whether batch norm becomes part of the convolution before it.
        about: what is to stand in the file beside the model, each value as JSON.

    Shape:
        example: (N, ...). The file's input, called "input", and its output, "output", have N as a free size.

    Raises:
        ArgumentError: for an operation that has no translation, or a value that depends on the images without having
            been recorded, such as that of a comparison; or if the file would have more than 2 GB.
        DTypeError: if they are not a Module, a Tensor and a path, or hold other numbers than float32.
        ShapeError: if the example has no images.
        DataError: if the package onnx is not installed.
        FileError: if the file cannot be written.
    """
    onnx = onnx_library()
    _check(model, example, path)
    graph, outputs = _recorded(model, example)
    graph = fold_batch_norm(graph, (name for name, _ in outputs)) if fold else graph.without_unused()
    size = sum(array.nbytes for array in graph.constants.values())
    if size > LARGEST_FILE:
        raise ArgumentError(
            f"export: the weights have {size:,} bytes, and an ONNX file at most {LARGEST_FILE:,}; gpunet weights can "
            f"hold more"
        )
    made = _message(onnx, graph, type(model).__name__, example.shape[1:], outputs, about or {})
    content = made.SerializeToString()
    if len(content) > LARGEST_FILE:
        raise ArgumentError(f"export: the file would have {len(content):,} bytes, more than {LARGEST_FILE:,}")
    onnx.checker.check_model(made, full_check=True)
    write_bytes(Path(path), content)


def _check(model: Any, example: Any, path: Any) -> None:
    if not isinstance(model, Module) or not isinstance(example, Tensor) or not isinstance(path, str | os.PathLike):
        got = ", ".join(type(each).__name__ for each in (model, example, path))
        raise DTypeError(f"export expects a Module, a Tensor and the path of a file, got {got}")
    named = {"the example": example, **model.state_dict()}
    for name, tensor in named.items():
        if tensor.dtype.kind == "f" and tensor.dtype != np.float32:
            raise DTypeError(f"export writes float32, but {name} holds {tensor.dtype}; model.float() converts")
        if name == INPUT or re.fullmatch(rf"{OUTPUT}(_\d+)?", name):
            raise ArgumentError(f"export: {name!r} is what the file calls its own {name}; call the parameter otherwise")
    if example.dtype != np.float32:
        raise DTypeError(f"export expects an example of float32, got {example.dtype}")
    if not example.ndim or 0 in example.shape:
        raise ShapeError(f"export expects an example of at least one image, got shape {example.shape}")


def _recorded(model: Module, example: Tensor) -> tuple[Graph, list[tuple[str, list[int | str]]]]:
    """The graph for any number of images, and the names of its outputs with their sizes."""
    values = to_cpu(example.array)
    spread = float(values.std()) or 1.0
    shape = (len(values) + 1, *values.shape[1:])
    others = np.random.default_rng(0).normal(float(values.mean()), spread, shape).astype(np.float32)
    (one, names), (two, names_again) = (_Recording(model).of(each) for each in (values, others))
    if names != names_again:
        raise ArgumentError("export: the model gives as many outputs as there are images")
    sizes = [
        [a if a == b else BATCH for a, b in zip(one.shapes[name], two.shapes[name], strict=True)] for name in names
    ]
    return one.merged(two), list(zip(names, sizes, strict=True))


class _Recording:
    """One pass of a model over images, as a graph."""

    def __init__(self, model: Module) -> None:
        self.model, self.graph = model, Graph()
        self.graph.named = {id(t.array): (name, t.array) for name, t in model.state_dict().items()}
        self.names: dict[Any, str] = {}  # by the place on the tape

    def of(self, images: np.ndarray[Any, Any]) -> tuple[Graph, list[str]]:
        """The graph, and the names of its outputs."""
        with enable_grad(), evaluation_mode(self.model):
            # With a gradient wanted all that follows from it is recorded; as a clone it may be changed in place.
            given = own(asarray(images), requires_grad=True).clone()
            self.names[given._node], self.graph.shapes[INPUT] = INPUT, given.shape
            with watch_operations(self._note):
                result = self.model(given)
        results = result if isinstance(result, tuple | list) else [result]
        if not results or not all(isinstance(each, Tensor) and each._node in self.names for each in results):
            raise ArgumentError(
                "export: the model is expected to return a Tensor, or several, each computed from its input in "
                "recorded operations"
            )
        return self.graph, [self.names[each._node] for each in results]

    def _note(self, operation: Operation, inputs: tuple[Any, ...], result: Tensor) -> None:
        names = [self._name(value) for value in inputs]
        name = translate(operation, self.graph, *names)
        self.graph.shapes[name] = result.shape
        self.names[result._node] = name

    def _name(self, value: Any) -> str:
        """The name of an input: of something computed, of a weight, or of a new constant."""
        if not isinstance(value, Tensor):
            return self.graph.constant(value)
        name = self.names.get(value._node) if value._node is not None else None
        name = name or self.graph.weight(value.array)
        self.graph.shapes[name] = value.shape
        return name


def _message(
    onnx: Any,
    graph: Graph,
    name: str,
    sizes: tuple[int, ...],
    outputs: list[tuple[str, list[int | str]]],
    about: Mapping[str, Any],
) -> Any:
    """The model as a message of ONNX."""
    helper, numbers = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node(each.operator, each.inputs, each.outputs, each.outputs[0], **each.attributes)
        for each in graph.nodes
    ]
    results = []
    for i, (made_as, shape) in enumerate(outputs):
        called = OUTPUT if len(outputs) == 1 else f"{OUTPUT}_{i}"
        nodes.append(helper.make_node("Identity", [made_as], [called], called))
        results.append(helper.make_tensor_value_info(called, numbers, shape))
    given = helper.make_tensor_value_info(INPUT, numbers, [BATCH, *sizes])
    weights = [onnx.numpy_helper.from_array(np.ascontiguousarray(each), key) for key, each in graph.constants.items()]
    made = helper.make_model(
        helper.make_graph(nodes, name, [given], results, weights),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="gpunet",
        producer_version=__version__,
    )
    helper.set_model_props(made, {key: json.dumps(value) for key, value in about.items()})
    return made
