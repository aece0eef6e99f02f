"""The network: as a graph with its shortcuts, and as a table of its layers."""

from __future__ import annotations

from gpunet.markup import tag
from gpunet.report.elements import Part, note, scrolling, table
from gpunet.report.examine import Examination
from gpunet.report.network_drawing import network_drawing
from gpunet.words import Words

__all__ = ["network"]


def network(examined: Examination, texts: Words) -> Part:
    """What the network consists of, recorded while it ran."""
    layers = examined.layers
    rows = [
        [
            each.name,
            each.kind,
            " x ".join(map(str, each.output_shape[1:])),
            f"{each.parameters:,}",
            f"{each.multiply_adds:,}",
        ]
        for each in layers.layers
    ]
    rows.append([texts["network.total"], "", "", f"{layers.parameters:,}", f"{layers.multiply_adds:,}"])
    heads = [texts[f"network.{head}"] for head in ("layer", "kind", "output", "parameters", "multiply_adds")]
    title = texts["network.graph"]
    return Part(
        "network",
        texts["network.heading"],
        [
            note(texts["network.how"]),
            tag(
                "div",
                scrolling(title, network_drawing(title, examined.graph, texts), tall=True),
                tag("div", table(texts["network.table"], heads, rows), class_="filled limited"),
                class_="beside",
            ),
        ],
    )
