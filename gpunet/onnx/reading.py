"""From a file of ONNX to a graph that can be trusted: names are made before they are used, arrays as long as they say.

Nothing in a file is run, and no size that it states is believed before it has been compared with what is there.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.errors import FileError, UnsupportedError
from gpunet.files import read_bytes
from gpunet.onnx.elementwise import TYPES
from gpunet.onnx.exporting import LARGEST_FILE
from gpunet.onnx.graph import Node
from gpunet.onnx.library import onnx_library
from gpunet.onnx.operators import OPERATORS

__all__ = ["Given", "Plan", "plan_of", "read_plan"]

MOST_NODES = 100_000
OLDEST, NEWEST = 6, 28
"""The versions of the operator set that the table knows."""


@dataclass(frozen=True)
class Given:
    """An input: its name, its type of number and its shape, None where a size is free, or all of them are."""

    name: str
    dtype: Any
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True)
class Plan:
    """What a file describes, checked.

    Attributes:
        nodes: in the order in which they run.
        constants: by name; those of nodes, too.
        about: what stands beside the model, by name.
    """

    version: int
    inputs: tuple[Given, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    constants: dict[str, np.ndarray[Any, Any]]
    about: dict[str, str]


def read_plan(path: str | os.PathLike[str]) -> Plan:
    """Read a file; its arrays may lie in other files of its folder, and nowhere else.

    Raises:
        FileError: if it cannot be read, is damaged or contradicts itself.
        UnsupportedError: if it has what gpunet has not, by its name.
        DataError: if the package onnx is not installed.
    """
    onnx, path = onnx_library(), Path(path)
    content = read_bytes(path, LARGEST_FILE)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except Exception as error:  # of protobuf, which has several implementations
        raise FileError(f"{path} is no file of ONNX, or is damaged: {error}") from error
    return plan_of(model, path)


def plan_of(model: Any, path: Path) -> Plan:
    """The plan of a message of ONNX, which came from this path.

    Raises:
        FileError: if it contradicts itself.
        UnsupportedError: if it has what gpunet has not, by its name.
    """
    try:
        return _Reader(model, path).plan()
    except (FileError, UnsupportedError) as error:
        raise type(error)(f"{path}: {error.message}") from error
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError, UnicodeError) as error:
        raise FileError(f"{path} is damaged: {error}") from error


def _text(value: Any) -> str:
    """A name; protobuf gives bytes where it is not UTF-8."""
    if not isinstance(value, str):
        raise FileError(f"the name {value!r:.60} is not UTF-8")
    return value


class _Reader:
    def __init__(self, model: Any, path: Path) -> None:
        self.onnx, self.model, self.folder = onnx_library(), model, path.parent
        self.external: dict[Path, int] = {}  # sizes of the files beside
        self.taken = 0  # bytes of them

    def plan(self) -> Plan:
        graph = self.model.graph
        version = self._version()
        for what, some in (("nodes", graph.node), ("constants", graph.initializer)):
            if len(some) > MOST_NODES:
                raise FileError(f"the graph has {len(some):,} {what}, more than {MOST_NODES:,}")
        if not graph.node and not graph.output:
            raise FileError("there is no graph in it")
        if len(graph.sparse_initializer):
            raise UnsupportedError("sparse constants are not supported")
        constants = {_text(each.name): self._array(each) for each in graph.initializer}
        if len(constants) != len(graph.initializer):
            raise FileError("two of its constants have one name")
        inputs = tuple(self._given(each) for each in graph.input if each.name not in constants)
        known = {*constants, *(each.name for each in inputs)}
        nodes = []
        for proto in graph.node:
            node = self._node(proto)
            if not all(name in known for name in node.inputs if name):
                raise FileError(f"{node.operator} takes {node.inputs!s:.100}, of which not all are made before it")
            if any(name in known for name in node.outputs if name):
                raise FileError(f"{node.operator} makes {node.outputs!s:.100}, which is there already")
            known.update(name for name in node.outputs if name)
            if node.operator == "Constant":
                constants[node.outputs[0]] = self._constant(node)
            else:
                OPERATORS[node.operator].check(node)
                nodes.append(node)
        outputs = tuple(_text(each.name) for each in graph.output)
        if not outputs or not all(name in known for name in outputs):
            raise FileError(f"its outputs {outputs!s:.100} are not all made")
        about = {_text(each.key): _text(each.value) for each in self.model.metadata_props}
        return Plan(version, inputs, outputs, tuple(nodes), constants, about)

    def _version(self) -> int:
        if len(self.model.functions):
            raise UnsupportedError("functions within a file are not supported")
        versions = [each.version for each in self.model.opset_import if each.domain in ("", "ai.onnx")]
        if not versions and self.model.opset_import:
            named = ", ".join(each.domain for each in self.model.opset_import)
            raise UnsupportedError(f"operators of {named!r:.60} are not supported, and it names no others")
        if len(versions) != 1:
            raise FileError("it does not say which version of the operators of ONNX it is of")
        if not OLDEST <= versions[0] <= NEWEST:
            raise UnsupportedError(f"version {versions[0]} of the operators is not supported; {OLDEST} to {NEWEST} are")
        return int(versions[0])

    def _given(self, info: Any) -> Given:
        kind = info.type.WhichOneof("value")
        if kind != "tensor_type":
            raise UnsupportedError(f"the input {info.name!r:.60}, which is a {kind}, is not supported")
        if not info.type.tensor_type.HasField("shape"):
            return Given(_text(info.name), self._dtype(info.type.tensor_type.elem_type), None)
        dims = info.type.tensor_type.shape.dim
        shape = tuple(int(dim.dim_value) if dim.HasField("dim_value") else None for dim in dims)
        return Given(_text(info.name), self._dtype(info.type.tensor_type.elem_type), shape)

    def _dtype(self, number: int) -> Any:
        if number not in TYPES:
            names = self.onnx.TensorProto.DataType
            name = names.Name(number) if number in names.values() else str(number)
            raise UnsupportedError(f"the type of number {name} is not supported")
        return TYPES[number]

    def _node(self, proto: Any) -> Node:
        operator = _text(proto.op_type)
        if proto.domain not in ("", "ai.onnx"):
            raise UnsupportedError(f"the operator {operator!r:.60} of {proto.domain!r:.60} is not supported")
        if operator not in OPERATORS and operator != "Constant":
            raise UnsupportedError(f"the operator {operator!r:.60} is not supported")
        given = [
            each for each in proto.attribute if each.name != "consumed_inputs"
        ]  # where one might write, in old files
        attributes = {_text(each.name): self._attribute(operator, each) for each in given}
        if not proto.output or (operator == "Constant" and not proto.output[0]):
            raise FileError(f"{operator} has no output")
        return Node(operator, tuple(map(_text, proto.input)), tuple(map(_text, proto.output)), attributes)

    def _attribute(self, operator: str, attribute: Any) -> Any:
        kinds = self.onnx.AttributeProto
        if attribute.ref_attr_name or attribute.type not in (
            kinds.FLOAT,
            kinds.INT,
            kinds.STRING,
            kinds.TENSOR,
            kinds.FLOATS,
            kinds.INTS,
        ):
            raise UnsupportedError(f"{operator} with the attribute {attribute.name!r:.60} of its kind is not supported")
        if attribute.type == kinds.TENSOR:
            return self._array(attribute.t)
        value = self.onnx.helper.get_attribute_value(attribute)
        if isinstance(value, bytes):
            return value.decode("utf-8")
        return list(value) if attribute.type in (kinds.FLOATS, kinds.INTS) else value

    def _constant(self, node: Node) -> np.ndarray[Any, Any]:
        dtypes = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
        if len(node.attributes) != 1 or node.inputs:
            raise FileError("a Constant is expected to have one value")
        ((kind, value),) = node.attributes.items()
        if kind == "value" and isinstance(value, np.ndarray):
            return value
        if kind not in dtypes:
            raise UnsupportedError(f"Constant with the attribute {kind!r:.60} is not supported")
        return np.array(value, dtypes[kind])

    def _array(self, proto: Any) -> np.ndarray[Any, Any]:
        """An array, whose numbers are as many as its shape says."""
        dtype, shape = self._dtype(proto.data_type), tuple(proto.dims)
        if min(shape, default=0) < 0 or len(shape) > 32:
            raise FileError(f"the array {proto.name!r:.60} has the shape {shape!s:.60}")
        size = math.prod(shape) * dtype.itemsize
        if proto.data_location == self.onnx.TensorProto.EXTERNAL:
            return np.frombuffer(self._beside(proto, size), dtype.newbyteorder("<")).reshape(shape).astype(dtype)
        if proto.HasField("raw_data"):
            if len(proto.raw_data) != size:
                raise FileError(f"the array {proto.name!r:.60} has {len(proto.raw_data)} bytes, not {size}")
            return np.frombuffer(proto.raw_data, dtype.newbyteorder("<")).reshape(shape).astype(dtype)
        given = max(
            len(each)
            for each in (proto.float_data, proto.int32_data, proto.int64_data, proto.double_data, proto.uint64_data)
        )
        if given != math.prod(shape):
            raise FileError(f"the array {proto.name!r:.60} has {given} numbers, not {math.prod(shape)}")
        return np.array(self.onnx.numpy_helper.to_array(proto), dtype)

    def _beside(self, proto: Any, size: int) -> bytes:
        """The bytes of an array that lies in another file, of the same folder or below."""
        said = {each.key: each.value for each in proto.external_data}
        location = said.get("location", "")
        folder = os.path.realpath(self.folder)
        path = Path(os.path.realpath(os.path.join(folder, location)))
        if not location or os.path.isabs(location) or os.path.commonpath([folder, path]) != folder or "\0" in location:
            raise FileError(f"the array {proto.name!r:.60} lies in {location!r:.60}, which is not in the file's folder")
        offset, length = int(said.get("offset", 0)), int(said.get("length", size))
        if path not in self.external:
            try:
                if not path.is_file():
                    raise FileError(f"the array {proto.name!r:.60} lies in {location!r:.60}, which is no file")
                self.external[path] = path.stat().st_size
            except OSError as error:
                raise FileError(f"cannot read {location!r:.60}: {error.strerror or error}") from error
        self.taken += size
        if length != size or offset < 0 or offset + size > self.external[path]:
            raise FileError(f"the array {proto.name!r:.60} lies beyond the end of {location!r:.60}, or is shorter")
        if self.taken > sum(self.external.values()):
            raise FileError("its arrays take more bytes than the files beside it have")
        try:
            with path.open("rb") as file:
                file.seek(offset)
                content = file.read(size)
        except OSError as error:
            raise FileError(f"cannot read {location!r:.60}: {error.strerror or error}") from error
        if len(content) != size:
            raise FileError(f"{location!r:.60} has been cut off while it was read")
        return content
