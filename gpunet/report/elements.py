"""The pieces that the sections of the report are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from gpunet.markup import Markup, tag

__all__ = ["Part", "contents", "details", "exact", "key", "legend", "note", "percent", "scrolling", "section", "table"]


class Part(NamedTuple):
    """A part of a page.

    Attributes:
        name: its address within the page, without the "#".
        heading: what stands above it and in the list of contents.
        content: what it shows.
    """

    name: str
    heading: str
    content: Sequence[Markup | None]


def contents(parts: Iterable[Part], label: str) -> Markup:
    """Links to the parts of a page."""
    links = [tag("a", part.heading, href=f"#{part.name}") for part in parts]
    return tag("nav", *links, class_="contents", aria_label=label)


def section(heading: str, *parts: Markup | None, name: str | None = None) -> Markup:
    """A part of the page under its heading; parts that are None are left out."""
    return tag("section", tag("h2", heading), *parts, id=name)


def details(heading: str, *parts: Markup) -> Markup:
    """What is shown only to those who open it."""
    return tag("details", tag("summary", heading), *parts)


def note(*words: object) -> Markup:
    """A paragraph that says how to read what follows."""
    return tag("p", *words, class_="soft")


def table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], text: bool = False) -> Markup:
    """A table whose first column names the rows; where it is too wide it scrolls by itself."""
    style = "text" if text else None
    head = [tag("th", name, scope="col", class_="text" if not place else style) for place, name in enumerate(columns)]
    body = [
        tag("tr", tag("th", row[0], scope="row"), *(tag("td", cell, class_=style) for cell in row[1:])) for row in rows
    ]
    content = tag("table", tag("caption", caption), tag("thead", tag("tr", *head)), tag("tbody", *body))
    return scrolling(caption, content)


def scrolling(label: str, content: Markup, tall: bool = False) -> Markup:
    """What scrolls by itself where it is wider than the page, or, if `tall`, higher than a screen; with keys, too."""
    return tag("div", content, class_="scroll tall" if tall else "scroll", tabindex=0, role="region", aria_label=label)


def exact(name: str, value: float, write: Callable[[float], str]) -> Markup:
    """A rounded number that carries the exact one."""
    return tag("data", write(value), id=name, value=repr(value))


def key(style: str) -> Markup:
    """The sign of a series in a legend."""
    return tag("span", class_=f"key {style}")


def legend(entries: Iterable[tuple[str, str]]) -> Markup:
    """Which style is which series; a sign stays beside its name."""
    return tag("span", *(tag("span", key(style), name, class_="entry") for style, name in entries), class_="legend")


def percent(share: float) -> str:
    """A share in per cent."""
    return f"{share:.2%}"
