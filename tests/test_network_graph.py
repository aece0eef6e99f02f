"""The graph of a network, read off the tape, against what its paper says; and its drawing against the graph."""

import re

import numpy as np
import pytest

import gpunet
from gpunet import nn
from gpunet.models import MODELS, create_model
from gpunet.report.boxes import boxes_of
from gpunet.report.network_drawing import network_drawing
from gpunet.tensor import tensor
from gpunet.visualize import network_graph
from gpunet.words import words
from tests.browser import Page
from tests.runs import HEAVY

ENGLISH = words("en", "gpunet.report")


def graph_of(model, channels=1, side=8):
    return network_graph(model, tensor(np.zeros((1, channels, side, side), np.float32)))


def consumers(graph, number):
    return [place for place, node in enumerate(graph) if number in node.inputs]


@pytest.mark.parametrize(("depth", "blocks"), [(8, 1), (20, 3)])
def test_a_residual_network_has_a_shortcut_around_each_block(depth, blocks):
    graph = graph_of(create_model(f"resnet{depth}", 10, 1))
    joins = [node for node in graph if node.joins]
    assert [node.kind for node in joins] == ["Add"] * 3 * blocks
    for place, join in enumerate(joins):
        last, shortcut = (graph[number] for number in join.inputs)
        assert last.name.endswith(".bn2")
        changes_size = place > 0 and place % blocks == 0
        assert shortcut.kind == ("PadShortcut" if changes_size else "ReLU")
        start = shortcut.inputs[0] if changes_size else join.inputs[1]
        assert sorted(graph[number].kind for number in consumers(graph, start)) == (
            ["Conv2d", "PadShortcut"] if changes_size else ["Add", "Conv2d"]
        )


def test_a_plain_network_has_none():
    graph = graph_of(create_model("plain20", 10, 1))
    assert not any(node.joins for node in graph)
    assert [node.inputs for node in graph] == [(), *((number,) for number in range(len(graph) - 1))]


def test_every_convolution_is_there_once_with_its_shape():
    model = create_model("resnet20", 10, 3)
    graph = graph_of(model, 3, 32)
    named = {name for name, module in model.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}
    assert [node.name for node in graph if node.kind in ("Conv2d", "Linear")] == sorted(
        named, key=[node.name for node in graph].index
    )
    shapes = {node.name: node.shape for node in graph}
    assert (shapes["conv1"], shapes["layer2.0.conv1"]) == ((1, 16, 32, 32), (1, 32, 16, 16))
    sizes = {node.name: node.size for node in graph}
    assert (sizes["conv1"], sizes["layer2.0.conv1"], sizes["fc"]) == ("3x3, 16", "3x3, 32, /2", "10")
    assert all(number < place for place, node in enumerate(graph) for number in node.inputs)


class Odd(nn.Module):
    """A layer that runs twice, one in place, one that does nothing, a concatenation, the input used late."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.nothing = nn.Identity()
        self.unused = nn.Linear(3, 3)

    def forward(self, x):
        once = self.relu(self.conv(x))
        twice = self.nothing(self.conv(once)) + 1
        return gpunet.cat([twice, x], 1)


def test_what_networks_do_beside_layers():
    graph = graph_of(Odd(), 2)
    assert [node.name for node in graph if node.kind == "Conv2d"] == ["conv", "conv"]
    assert [node.kind for node in graph if node.joins] == ["Concatenate"]  # a number added is no way that comes back
    assert graph[-1].kind == "Concatenate"
    assert 0 in graph[-1].inputs
    assert not any(node.kind in ("Identity", "Linear") for node in graph)


QUICK = {"lenet5", "resnet8", "plain20", "preact_resnet20", "mobilenet_v2"}
EVERY = [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
    for name in sorted(set(MODELS) - HEAVY - {"alexnet"})
]


@pytest.mark.parametrize("name", EVERY)
def test_every_network_can_be_drawn(name):
    side = 32 if name == "lenet5" or "resnet" in name or "plain" in name else 64
    graph = graph_of(create_model(name, 10, 3), 3, side)
    boxes, edges = boxes_of(graph)
    assert [node for box in boxes for node in box.nodes] != []
    assert sum(len(box.nodes) for box in boxes) == len(graph)
    assert all(source.row < box.row for box in boxes for source in box.inputs)
    places = [(box.row, box.column) for box in boxes]
    assert len(set(places)) == len(places)
    lanes = [(edge.lane, edge.source.row, edge.target.row) for edge in edges if edge.lane is not None]
    for lane, start, end in lanes:  # none lies on another
        assert not [other for other in lanes if other[0] == lane and start < other[1] < end]
    drawing = network_drawing("The network", graph, ENGLISH)
    page = Page(drawing)
    assert len([each for each in page.all("rect") if each["class"].startswith("box")]) == len(boxes)
    assert len(re.findall(r'class="way( shortcut)?"', drawing)) == len(edges)
    width = float(page.all("svg")[0]["width"])
    assert all(float(each["x"]) + float(each["width"]) <= width for each in page.all("rect"))


def test_the_shortcuts_of_the_drawing_are_those_of_the_network():
    boxes, edges = boxes_of(graph_of(create_model("resnet8", 10, 1)))
    shortcuts = [(edge.source.name, edge.target.name, edge.lane) for edge in edges if edge.is_shortcut]
    assert shortcuts == [
        ("", None, 0),  # around layer1.0
        (None, "layer2.0", None), ("layer2.0", None, None),  # the two halves of a shortcut with a layer on it
        (None, "layer3.0", None), ("layer3.0", None, None),
    ]  # fmt: skip
    assert max(box.column for box in boxes) == 1
