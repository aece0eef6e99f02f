"""A graph as ONNX has it: nodes that name their inputs and outputs, and constants by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from gpunet.backend import Array, to_cpu
from gpunet.errors import ArgumentError

__all__ = ["Graph", "Node", "fold_batch_norm"]


class Node(NamedTuple):
    """One operator at work; an input that is left out is an empty name."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]


@dataclass
class Graph:
    """Nodes in the order in which they run.

    Attributes:
        constants: weights and other numbers, by name.
        sizes: shapes that are inputs of a node, by name: among the constants of a file, -1 where the batch counts.
        shapes: of all values.
        named: weights by the identity of their arrays, with their names.
    """

    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    sizes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    named: dict[int, tuple[str, Array]] = field(default_factory=dict)
    _counts: Counter[str] = field(default_factory=Counter)

    def fresh(self, kind: str) -> str:
        """A name that no value has yet; parameters have no slash in theirs."""
        self._counts[kind] += 1
        return f"/{kind}_{self._counts[kind]}"

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node; the name of its output."""
        output = self.fresh(operator)
        self.nodes.append(Node(operator, inputs, (output,), attributes))
        return output

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """The name of a constant, a new one."""
        name = self.fresh("Constant")
        self.constants[name] = np.array(value, dtype)
        return name

    def weight(self, array: Array) -> str:
        """The name of an array: that of the parameter or buffer that it is, else of a new constant."""
        name, _ = self.named.get(id(array), ("", None))
        if not name:
            return self.constant(to_cpu(array), array.dtype)
        self.constants[name] = np.array(to_cpu(array))
        return name

    def whole(self, *numbers: int) -> str:
        """The name of a list of whole numbers, such as axes."""
        return self.constant(numbers, np.int64)

    def size(self, shape: tuple[int, ...]) -> str:
        """The name of a shape, of which the batch may be a part."""
        name = self.fresh("Size")
        self.sizes[name] = shape
        return name

    def merged(self, other: Graph) -> Graph:
        """The graph for every number of images, of those that two different numbers of other images have given.

        Raises:
            ArgumentError: if they differ in more than sizes, or in sizes of which the batch is not one.
        """
        same = self.nodes == other.nodes and self.constants.keys() == other.constants.keys()
        for name, value in self.constants.items() if same else ():
            same = same and np.array_equal(value, other.constants[name], equal_nan=value.dtype.kind == "f")
        if not same:
            raise ArgumentError(
                "export: the model computes with values that follow from the images, or from how many there are, but "
                "are not recorded, such as those of comparisons, .item() or detach(); ONNX would keep them as they are"
            )
        constants = dict(self.constants)
        for name, shape in self.sizes.items():
            dims = [a if a == b else -1 for a, b in zip(shape, other.sizes[name], strict=True)]
            if dims.count(-1) > 1:
                raise ArgumentError(f"export: of the sizes {shape} more than one depends on how many images there are")
            constants[name] = np.array(dims, np.int64)
        return replace(self, constants=constants, sizes={})

    def without_unused(self) -> Graph:
        """The same graph without the constants that no node takes."""
        used = {name for node in self.nodes for name in node.inputs}
        return replace(self, constants={name: value for name, value in self.constants.items() if name in used})


def fold_batch_norm(graph: Graph, outputs: Iterable[str]) -> Graph:
    """The graph with each batch norm that follows a convolution folded into its weights: an affine map of channels.

    conv(x, F) s + t = conv(x, s F) + t      with s = weight / sqrt(var + eps), t = bias + (b - mean) s

    Args:
        outputs: the names of what the graph gives: a convolution that is one of them stays.
    """
    uses = Counter(name for node in graph.nodes for name in node.inputs) + Counter(outputs)
    made_by = {node.outputs[0]: index for index, node in enumerate(graph.nodes)}
    nodes: list[Node | None] = list(graph.nodes)
    constants = dict(graph.constants)
    for index, norm in enumerate(graph.nodes):
        before = made_by.get(norm.inputs[0]) if norm.operator == "BatchNormalization" else None
        conv = None if before is None else nodes[before]
        if conv is None or before is None or conv.operator != "Conv" or uses[norm.inputs[0]] != 1:
            continue
        given = [*conv.inputs[1:], *norm.inputs[1:]]
        if not all(name in constants for name in given) or any(uses[name] != 1 for name in conv.inputs[1:]):
            continue
        filters = constants[conv.inputs[1]].astype(np.float64)  # (O, C/G, kh, kw)
        offset = constants[conv.inputs[2]].astype(np.float64) if len(conv.inputs) == 3 else 0.0
        weight, bias, mean, var = (constants[name].astype(np.float64) for name in norm.inputs[1:])
        scale = weight / np.sqrt(var + norm.attributes["epsilon"])
        own = conv.inputs[1].removesuffix("weight") + "bias"
        name = conv.inputs[2] if len(conv.inputs) == 3 else graph.fresh("Bias") if own in constants else own
        constants[conv.inputs[1]] = (filters * scale[:, None, None, None]).astype(np.float32)
        constants[name] = (bias + (offset - mean) * scale).astype(np.float32)
        nodes[before] = Node("Conv", (*conv.inputs[:2], name), norm.outputs, conv.attributes)
        nodes[index] = None
    kept = [node for node in nodes if node is not None]
    return replace(graph, nodes=kept, constants=constants).without_unused()
