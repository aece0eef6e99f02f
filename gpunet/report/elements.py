"""The pieces that the sections of the report are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gpunet.markup import Markup, tag

__all__ = ["details", "exact", "key", "percent", "scrolling", "section", "table"]


def section(heading: str, *parts: Markup | None) -> Markup:
    """A part of the page under its heading; parts that are None are left out."""
    return tag("section", tag("h2", heading), *parts)


def details(heading: str, *parts: Markup) -> Markup:
    """What is shown only to those who open it."""
    return tag("details", tag("summary", heading), *parts)


def table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], text: bool = False) -> Markup:
    """A table whose first column names the rows; where it is too wide it scrolls by itself."""
    style = "text" if text else None
    head = [tag("th", name, scope="col", class_="text" if not place else style) for place, name in enumerate(columns)]
    body = [
        tag("tr", tag("th", row[0], scope="row"), *(tag("td", cell, class_=style) for cell in row[1:])) for row in rows
    ]
    content = tag("table", tag("caption", caption), tag("thead", tag("tr", *head)), tag("tbody", *body))
    return scrolling(caption, content)


def scrolling(label: str, content: Markup) -> Markup:
    """What scrolls by itself where it is wider than the page, also with the keyboard."""
    return tag("div", content, class_="scroll", tabindex=0, role="region", aria_label=label)


def exact(name: str, value: float, write: Callable[[float], str]) -> Markup:
    """A rounded number that carries the exact one."""
    return tag("data", write(value), id=name, value=repr(value))


def key(style: str) -> Markup:
    """The sign of a series in a legend."""
    return tag("span", class_=f"key {style}")


def percent(share: float) -> str:
    """A share in per cent."""
    return f"{share:.2%}"
