"""What a network computes, as a graph: its layers and the operations between them, read off the tape."""

from __future__ import annotations

from typing import Any, NamedTuple

from gpunet.nn import AvgPool2d, Conv2d, Linear, MaxPool2d, Module, evaluation_mode, observe
from gpunet.ops.arithmetic import Add
from gpunet.ops.shaping import Concatenate
from gpunet.tape import Leaf, Node, enable_grad
from gpunet.tensor import Tensor

__all__ = ["INPUT", "GraphNode", "network_graph"]

INPUT = "input"


class GraphNode(NamedTuple):
    """A layer at work, or an operation that is no layer.

    Attributes:
        name: of the layer, such as "layer1.0.conv1"; empty for an operation.
        kind: the name of its class; "input" for what the network is given.
        size: what tells it from others of its kind, such as "3x3, 16" for a convolution; may be empty.
        shape: of its output.
        inputs: the numbers of the nodes that it takes, which come before it.
        joins: whether ways through the network come together here: in a sum or a concatenation.
    """

    name: str
    kind: str
    size: str
    shape: tuple[int, ...]
    inputs: tuple[int, ...]
    joins: bool


def network_graph(model: Module, images: Tensor) -> list[GraphNode]:
    """Run a network, in evaluation mode, and list what is on the tape between its output and the images.

    The first node is the input, the last the output, and each comes after those that it takes. What a layer without
    parts of its own does is one node; so is each operation outside of such layers, such as the sum of a shortcut.

    Shape:
        images: (N, C, H, W).
    """
    layers: dict[Node, tuple[str, Module, list[Node | Leaf]]] = {}

    def note(name: str, module: Module, inputs: tuple[Any, ...], output: Any) -> None:
        made, taken = getattr(output, "_node", None), [each._node for each in inputs if isinstance(each, Tensor)]
        # A layer that hands its input on, or works in place, leaves no step between the two on the tape.
        if isinstance(made, Node) and next(module.children(), None) is None and made not in taken:
            layers[made] = name, module, [node for node in taken if node is not None]

    given = Tensor(images.array, requires_grad=True)
    with enable_grad(), evaluation_mode(model), observe(model, note):
        output = model(given)
    start = given._node

    def before(node: Node) -> list[Node | Leaf]:
        taken = layers[node][2] if node in layers else [each for each in node.inputs if each is not None]
        return [each for each in taken if isinstance(each, Node) or each is start]

    found: set[Node] = set()
    waiting = [output._node]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Node) and node not in found:
            found.add(node)
            waiting += before(node)
    numbers: dict[Node | Leaf | None, int] = {start: 0}
    nodes = [GraphNode("", INPUT, "", given.shape, (), False)]
    for node in sorted(found, key=lambda node: node.sequence):
        taken = tuple(numbers[each] for each in before(node))
        if node in layers:
            name, module, _ = layers[node]
            nodes.append(GraphNode(name, type(module).__name__, _size(module), node.shape, taken, False))
        else:
            kind = type(node.operation)
            nodes.append(
                GraphNode("", kind.__name__, "", node.shape, taken, kind in (Add, Concatenate) and len(taken) > 1)
            )
        numbers[node] = len(nodes) - 1
    return nodes


def _size(module: Module) -> str:
    """The window, what it becomes, and the stride."""
    if isinstance(module, Linear):
        return f"{module.out_features}"
    if not isinstance(module, Conv2d | MaxPool2d | AvgPool2d):
        return ""
    window = "x".join(map(str, _pair(module.kernel_size)))
    channels = f", {module.out_channels}" if isinstance(module, Conv2d) else ""
    stride = _pair(module.stride)
    return f"{window}{channels}" + (f", /{'x'.join(map(str, sorted(set(stride))))}" if max(stride) > 1 else "")


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)
