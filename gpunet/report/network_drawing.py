"""A network drawn: its boxes from above to below, shortcuts beside them."""

from __future__ import annotations

from collections.abc import Sequence

from gpunet.markup import Markup, tag
from gpunet.report.axes import svg
from gpunet.report.boxes import Box, Edge, boxes_of
from gpunet.visualize import GraphNode
from gpunet.words import Words

__all__ = ["network_drawing"]

MARGIN, GAP = 8, 26  # around the drawing, between rows
WIDTH, BETWEEN = 200, 20  # of a box, between columns
LINE, PADDING = 16, 7  # of text, around it
LANE = 12  # between lines beside the boxes
CORNER, ARROW = 8, 5
LONGEST = 28  # letters of a line


def network_drawing(title: str, nodes: Sequence[GraphNode], texts: Words) -> Markup:
    """The graph of a network. A line of a box is a layer or an operation; the last line says the size of its output."""
    boxes, edges = boxes_of(nodes)
    tops = _tops(boxes, texts)
    columns = {row: max(box.column for box in boxes if box.row == row) for row in range(len(tops))}
    lanes = [edge.lane + 1 for edge in edges if edge.lane is not None]
    width = _right(max(columns.values())) + LANE * max(lanes, default=0) + 2 * MARGIN
    height = tops[-1] + max(_height(box, texts) for box in boxes if box.row == len(tops) - 1) + MARGIN
    ordered = sorted(edges, key=lambda edge: edge.is_shortcut)  # those above the others
    marks = [_edge(edge, tops, columns, texts) for edge in ordered]
    marks += [_box(box, tops[box.row], texts) for box in boxes]
    return svg(title, marks, (width, height), width=width, height=height, class_="network")


def _lines(box: Box, texts: Words) -> list[tuple[str, str]]:
    """What stands in a box, each line with its style."""
    name = box.name or ""
    lines = [(name if len(name) <= LONGEST else f"…{name[1 - LONGEST :]}", "name")] if name else []
    for node in box.nodes:
        own = node.name.removeprefix(f"{name}.")
        kind = texts.get(f"network.{node.kind}", node.kind)
        text = " ".join(filter(None, (own, kind, node.size)))
        lines.append((text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…", "join" if node.joins else "layer"))
    return [*lines, (_size(box.nodes[-1].shape), "size")]


def _size(shape: tuple[int, ...]) -> str:
    """Of one image."""
    return " x ".join(map(str, shape[1:]))


def _height(box: Box, texts: Words) -> int:
    return LINE * len(_lines(box, texts)) + 2 * PADDING


def _tops(boxes: Sequence[Box], texts: Words) -> list[int]:
    """Where each row begins."""
    tops = [MARGIN]
    for row in range(max(box.row for box in boxes)):
        tops.append(tops[-1] + max(_height(box, texts) for box in boxes if box.row == row) + GAP)
    return tops


def _left(column: int) -> int:
    return MARGIN + column * (WIDTH + BETWEEN)


def _right(column: int) -> int:
    return _left(column) + WIDTH


def _box(box: Box, top: int, texts: Words) -> Markup:
    left = _left(box.column)
    style = "box join" if box.nodes[0].joins else "box"
    marks = [tag("rect", x=left, y=top, width=WIDTH, height=_height(box, texts), rx=6, class_=style)]
    for number, (text, kind) in enumerate(_lines(box, texts)):
        x = left + WIDTH - 8 if kind == "size" else left + 8
        marks.append(tag("text", text, x=x, y=top + PADDING + 12 + LINE * number, class_=f"text {kind}"))
    whole = [" ".join(filter(None, (each.name, each.kind, each.size, _size(each.shape)))) for each in box.nodes]
    return tag("g", tag("title", "; ".join(whole)), *marks)


def _edge(edge: Edge, tops: Sequence[int], columns: dict[int, int], texts: Words) -> Markup:
    source, target = edge.source, edge.target
    below, above = tops[source.row] + _height(source, texts), tops[target.row]
    x, to = _left(source.column) + WIDTH // 2, _left(target.column) + WIDTH // 2
    style = "way shortcut" if edge.is_shortcut else "way"
    if edge.lane is not None:  # out of the side, down beside what it leads around, and into the side
        widest = max(columns[row] for row in range(source.row, target.row + 1))
        lane = _right(widest) + LANE * (edge.lane + 1)
        leave, enter = below - 12, above + 12
        start, end = _right(source.column), _right(target.column)
        path = (
            f"M{start} {leave}H{lane - CORNER}q{CORNER} 0 {CORNER} {CORNER}V{enter - CORNER}"
            f"q0 {CORNER} {-CORNER} {CORNER}H{end + ARROW}"
        )
        head = f"M{end} {enter}l{ARROW + 2} {-ARROW}v{2 * ARROW}z"
    elif source.column > target.column:  # from a branch beside the others, into the side
        enter, end = above + 12, _right(target.column)
        path = f"M{x} {below}V{enter - CORNER}q0 {CORNER} {-CORNER} {CORNER}H{end + ARROW}"
        head = f"M{end} {enter}l{ARROW + 2} {-ARROW}v{2 * ARROW}z"
    else:
        middle = (below + above) // 2
        path = (
            f"M{x} {below}C{x} {middle} {to} {middle} {to} {above - ARROW}"
            if x != to
            else f"M{x} {below}V{above - ARROW}"
        )
        head = f"M{to} {above}l{-ARROW} {-ARROW - 2}h{2 * ARROW}z"
    return tag("g", tag("path", d=path, class_="line"), tag("path", d=head, class_="head"), class_=style)
