"""The nodes of a network's graph in boxes: each chain of a block in one, and rows in which boxes follow each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from gpunet.visualize import GraphNode

__all__ = ["Box", "Edge", "boxes_of"]

DEPTH = 2  # parts of the name of a block: "layer1.0", or "features.3", whatever it has inside


@dataclass
class Box:
    """Nodes that follow each other without a fork, of one block.

    Attributes:
        name: of the block, such as "layer1.0"; None where there are only operations.
        nodes: the first to the last.
        inputs: the boxes that it takes.
        row, column: its place; the boxes of column 0 are the longest way through the network.
    """

    name: str | None
    nodes: list[GraphNode]
    inputs: list[Box] = field(default_factory=list)
    row: int = 0
    column: int = 0


@dataclass(frozen=True)
class Edge:
    """A way from one box to another.

    Attributes:
        is_shortcut: whether it is, or belongs to, a way around others that comes back in a sum or a concatenation.
        lane: of those that pass other rows: which of the lines beside the boxes it takes; None for the others.
    """

    source: Box
    target: Box
    is_shortcut: bool
    lane: int | None


def boxes_of(nodes: Sequence[GraphNode]) -> tuple[list[Box], list[Edge]]:
    """The boxes of a network, each after those that it takes, and the edges between them."""
    boxes = _chained(nodes)
    for box in boxes:
        box.row = max((source.row + 1 for source in box.inputs), default=0)
    _put_into_columns(boxes)
    return boxes, _edges(boxes)


def _chained(nodes: Sequence[GraphNode]) -> list[Box]:
    uses = Counter(number for node in nodes for number in node.inputs)
    boxes: list[Box] = []
    box_of: list[Box] = []
    for node in nodes:
        block = ".".join(node.name.split(".")[:-1][:DEPTH]) if node.name else None
        before = box_of[node.inputs[0]] if len(node.inputs) == 1 and uses[node.inputs[0]] == 1 else None
        if before is not None and before.nodes[0].inputs and block in (None, before.name):
            before.nodes.append(node)
            box_of.append(before)
            continue
        taken = dict.fromkeys(map(id, (box_of[number] for number in node.inputs)))
        boxes.append(Box(block, [node], [box for box in boxes if id(box) in taken]))
        box_of.append(boxes[-1])
    return boxes


def _put_into_columns(boxes: Sequence[Box]) -> None:
    """The longest way from the last box back to the first is the first column; beside it come the others of a row."""
    trunk: list[Box] = [boxes[-1]]
    while trunk[-1].inputs:
        trunk.append(max(trunk[-1].inputs, key=lambda box: (box.row, len(box.nodes))))
    used = Counter[int]()
    for box in boxes:
        if all(box is not each for each in trunk):
            used[box.row] += 1
            box.column = used[box.row]


def _edges(boxes: Sequence[Box]) -> list[Edge]:
    found = []
    busy_until: list[int] = []  # the row in which the last edge of each lane ends
    for source in boxes:
        for target in (box for box in boxes if any(source is each for each in box.inputs)):
            lane = None
            if target.row > source.row + 1:
                lane = next((i for i, row in enumerate(busy_until) if row <= source.row), len(busy_until))
                busy_until[lane : lane + 1] = [target.row]
            found.append(Edge(source, target, lane is not None or source.column + target.column > 0, lane))
    return found
