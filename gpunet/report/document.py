"""A page of HTML around the parts of a report: its style, its script, and the policy that lets nothing else in."""

from __future__ import annotations

import base64
import functools
import hashlib
import importlib.resources
from collections.abc import Sequence

from gpunet.markup import Markup, html_document, tag
from gpunet.report.elements import Part, contents, section
from gpunet.report.style import STYLE
from gpunet.words import Words

__all__ = ["document"]


def document(title: str, subtitle: str, notices: Sequence[str], parts: Sequence[Part], texts: Words) -> str:
    """The whole page. Nothing is loaded, and nothing runs but its own script, whatever the names of classes hold."""
    script = _asset("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    header = tag("header", tag("h1", title), tag("p", subtitle, class_="soft"), contents(parts, texts["page.contents"]))
    main = tag(
        "main",
        *(tag("p", text, class_="notice", role="note") for text in notices),
        *(section(part.heading, *part.content, name=part.name) for part in parts),
    )
    body = tag("body", header, main, tag("script", Markup(script)))
    return html_document(f"{title} - {texts['page.report']}", policy, STYLE + _asset("page.css"), body, texts.language)


@functools.cache
def _asset(name: str) -> str:
    return (importlib.resources.files("gpunet.report") / name).read_text(encoding="utf-8")
