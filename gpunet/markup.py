"""HTML and SVG, put together so that every tag is closed and no text can be taken for markup."""

from __future__ import annotations

import html
from collections.abc import Iterable

from gpunet.printable import printable

__all__ = ["Markup", "html_document", "joined", "lines", "tag"]

_VOID = {"br", "img", "input", "meta", "link", "wbr"}


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def tag(name: str, *children: object, **attributes: object) -> Markup:
    """An element. Children that are not Markup are text and get escaped; attributes that are None are left out.

    Control characters are no part of HTML, and show as escapes.

    An underscore in the name of an attribute stands for a hyphen, one at its end for nothing: `class_`, `aria_label`.

    Example:
        >>> tag("p", "1 < 2", tag("br"), class_="note")
        '<p class="note">1 &lt; 2<br></p>'
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_escaped(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{joined(children)}</{name}>")


def joined(parts: Iterable[object]) -> Markup:
    """Several pieces after one another; those that are not Markup get escaped, those that are None left out."""
    return Markup("".join(part if isinstance(part, Markup) else _escaped(part) for part in parts if part is not None))


def lines(text: str) -> Markup:
    """A text of several lines, such as a program; in others a newline shows as an escape."""
    return Markup("\n".join(_escaped(line) for line in text.split("\n")))


def _escaped(text: object) -> str:
    return html.escape(printable(text))


def html_document(title: str, policy: str, style: str, body: Markup, language: str) -> str:
    """A whole page of HTML that loads nothing but what the policy of its content allows."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", Markup(style)),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang=language)}\n"
