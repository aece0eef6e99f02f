"""The page about coalesced and strided access: the sectors of a warp's first request, and what the launch comes to."""

from __future__ import annotations

from gpunet.explain.coalescing import CHANNELS, SIDE, Reading, Sector, readings
from gpunet.explain.page.build import Neighbours, document, links, page_words
from gpunet.explain.words import Words, words
from gpunet.markup import Markup, tag
from gpunet.report.elements import section, table

__all__ = ["coalescing_page", "coalescing_thumbnail"]

_HUES = {"nhwc": "hue-three", "nchw": "hue-two", "packs": "hue-three"}
_COUNTS = ("requests", "asked", "sectors", "fewest_sectors")


def coalescing_page(language: str, neighbours: Neighbours | None = None) -> str:
    """The page, in a language; with links if it is one of several.

    Raises:
        ArgumentError: if there is no such language.
    """
    texts, labels, known = words(language), page_words(language), readings()
    header = tag(
        "header",
        None if neighbours is None else links(neighbours, labels),
        tag("p", labels["group.memory"], class_="kicker"),
        tag("h1", texts["coalescing.title"]),
        tag("p", texts["coalescing.summary"], class_="summary"),
    )
    rows = [(texts[f"heading.coalescing.{each.name}"], *(getattr(each, count) for count in _COUNTS)) for each in known]
    main = tag(
        "main",
        tag("p", texts["coalescing.rule"]),
        tag("p", texts("coalescing.example", channels=CHANNELS, side=SIDE)),
        *(_reading(each, texts, labels) for each in known),
        section(
            labels["coalescing.launch"],
            table(labels["coalescing.reads"], ["", *(labels[f"coalescing.{name}"] for name in _COUNTS)], rows),
            tag("p", texts["coalescing.more"], class_="soft"),
        ),
        section(
            texts["heading.why"],
            tag("p", texts["coalescing.why"]),
            tag("p", labels["paper"], " ", texts["coalescing.paper"], class_="soft"),
        ),
    )
    return document(texts["coalescing.title"], language, [header, main])


def _reading(reading: Reading, texts: Words, labels: Words) -> Markup:
    fewest = reading.fewest_sectors // reading.requests
    told = labels("coalescing.request", sectors=len(reading.first), fewest=fewest)
    picture = tag("div", *(_sector(each, labels) for each in reading.first), class_="sectors")
    return section(
        texts[f"heading.coalescing.{reading.name}"],
        tag("p", texts[f"coalescing.{reading.name}"]),
        tag("p", tag("code", reading.place)),
        tag("figure", tag("figcaption", told), picture, class_=_HUES[reading.name]),
    )


def _sector(sector: Sector, labels: Words) -> Markup:
    """Its first byte, and a cell for each of its numbers with the lane that asks for it."""
    cells = [
        tag("span", "·" if lane is None else lane, class_=None if lane is None else "asked") for lane in sector.lanes
    ]
    return tag("div", tag("b", labels("coalescing.byte", byte=sector.begins)), *cells, class_="sector")


def coalescing_thumbnail() -> Markup:
    """Four full sectors, and beside them sectors of which one number each is asked for."""
    nhwc, nchw = (reading.first for reading in readings()[:2])
    marks = [*_small(nhwc[:4], 0, "fill-three"), *_small(nchw[:8], 76, "fill-two")]
    return tag("svg", *marks, viewBox="0 0 140 64", aria_hidden="true")


def _small(sectors: tuple[Sector, ...], left: int, style: str) -> list[Markup]:
    return [
        tag(
            "rect",
            x=left + 8 * column,
            y=8 * row,
            width=7,
            height=7,
            fill_opacity=0.15 if lane is None else 0.9,
            class_=style,
        )
        for row, sector in enumerate(sectors)
        for column, lane in enumerate(sector.lanes)
    ]
