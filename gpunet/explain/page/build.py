"""A page about one operation, as text: what does not change as HTML, and the scripts that compute the rest.

Style and scripts are in the page itself, and its policy allows these and nothing else, by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from gpunet.backend.kernels import kernel_source
from gpunet.explain.exercise import OPERATIONS, Exercise
from gpunet.explain.explanation import Explanation, explain
from gpunet.explain.launches import BESIDE, Launch
from gpunet.explain.operations import LECTURE
from gpunet.explain.page.state import page_data
from gpunet.explain.words import Words, words
from gpunet.markup import Markup, html_document, lines, tag
from gpunet.report.elements import details, section, table
from gpunet.report.style import STYLE
from gpunet.words import words as words_of

__all__ = ["Neighbours", "document", "links", "operation_page", "page_words"]

_PACKAGE = "gpunet.explain.page"
_SCRIPTS = (
    "arithmetic.js", "elements.js", "controls.js", "grid.js", "spelling.js", "charts.js", "im2col.js", "program.js",
    "page.js",
)  # fmt: skip


@dataclass(frozen=True)
class Neighbours:
    """Where the pages around a page are, as relative addresses.

    Attributes:
        index: the list of all pages; None on that list itself.
        previous, next: address and title of the pages before and after, where there are any.
        languages: the same page in each language that it is written in.
    """

    index: str | None = None
    previous: tuple[str, str] | None = None
    next: tuple[str, str] | None = None
    languages: Mapping[str, str] | None = None


def page_words(language: str) -> Words:
    """The texts that only pages need, in a language.

    Raises:
        ArgumentError: if there is no such language.
    """
    return words_of(language, _PACKAGE)


def operation_page(exercise: Exercise, language: str, neighbours: Neighbours | None = None) -> str:
    """The page of an exercise; with links if it is one of several pages.

    Raises:
        ArgumentError: if there is no such language.
    """
    texts, labels, operation = words(language), page_words(language), LECTURE[exercise.operation]
    explanation, told = explain(exercise), operation.texts[language]
    counted = None
    if neighbours is not None:
        place = labels("of_pages", page=OPERATIONS.index(operation.name) + 1, count=len(OPERATIONS))
        counted = tag("p", place, class_="kicker")
    header = tag(
        "header",
        None if neighbours is None else links(neighbours, labels),
        counted,
        tag("h1", told["title"]),
    )
    main = tag(
        "main",
        tag("noscript", tag("p", labels["noscript"], class_="notice")),
        tag("p", told["summary"], class_="summary"),
        _stage(told["where"], texts["heading.size" if explanation.steps else "heading.values"], labels),
        _product(texts) if explanation.matrices else None,
        section(
            texts["heading.why"],
            tag("p", told["why"]),
            tag("p", labels["paper"], " ", told["paper"], class_="soft"),
        ),
        _gpu(explanation, texts, labels),
        None if neighbours is None else links(neighbours, labels),
    )
    return document(told["title"], language, [header, main], page_data(exercise, labels), _SCRIPTS)


def document(title: str, language: str, parts: Sequence[Markup], data: Any = None, scripts: Sequence[str] = ()) -> str:
    """An HTML document with the style, and with the scripts and the data that they read, if there are any."""
    style = STYLE + _asset("page.css")
    programs = [_asset(name) for name in scripts]
    policy = (
        f"default-src 'none'; style-src {_hashes([style])}; script-src {_hashes(programs)}; "
        f"base-uri 'none'; form-action 'none'"
    )
    if data is not None:
        # Within a script nothing is escaped, so nothing in it may look like the end of one.
        written = Markup(json.dumps(data, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c"))
        parts = [*parts, tag("script", written, type="application/json", id="exercise")]
    body = tag("body", *parts, *(tag("script", Markup(program)) for program in programs))
    return html_document(f"{title} - gpunet", policy, style, body, language)


def _asset(name: str) -> str:
    return (importlib.resources.files(_PACKAGE) / name).read_text(encoding="utf-8")


def _hashes(contents: Sequence[str]) -> str:
    """What the policy calls these scripts or styles; it lets run what it has been told of, to the letter."""
    digests = [base64.b64encode(hashlib.sha256(content.encode()).digest()).decode() for content in contents]
    return " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"


# --------------------------------------------------------------------------------------------------- parts of a page


def links(neighbours: Neighbours, labels: Words) -> Markup:
    """Links to the pages around this one."""
    found = []
    if neighbours.previous is not None:
        address, title = neighbours.previous
        found.append(tag("a", "← ", title, href=address, rel="prev", title=labels["previous"]))
    if neighbours.index is not None:
        found.append(tag("a", labels["index"], href=neighbours.index))
    if neighbours.next is not None:
        address, title = neighbours.next
        found.append(tag("a", title, " →", href=address, rel="next", title=labels["next_page"]))
    languages = [
        tag("b", labels[f"language.{name}"], lang=name)
        if name == labels.language
        else tag("a", labels[f"language.{name}"], href=address, lang=name, hreflang=name)
        for name, address in (neighbours.languages or {}).items()
    ]
    switch = tag("span", *languages, class_="languages", role="group", aria_label=labels["languages"])
    return tag("nav", tag("span", *found), switch if len(languages) > 1 else None, aria_label=labels["pages"])


def _stage(where: str, heading: str, labels: Words) -> Markup:
    desk = tag(
        "div",
        tag("div", tag("div", id="general"), tag("p", where, class_="soft"), class_="general"),
        tag("div", tag("div", id="stage"), tag("div", id="below"), tag("div", id="picture"), class_="seen"),
        tag("div", tag("div", id="player"), tag("p", id="sum", aria_live="polite"), class_="dock"),
        tag("div", tag("h2", heading), tag("div", id="formulas"), class_="details"),
        id="desk",
    )
    settings = tag(
        "details",
        tag("summary", labels["settings"]),
        tag("div", id="buttons"),
        tag("div", id="settings", role="group", aria_label=labels["settings"]),
        id="controls",
        open="open",
    )
    return tag(
        "section",
        tag("h2", labels["stage"], class_="unseen"),
        tag("fieldset", tag("legend", labels["view"], class_="unseen"), id="views"),
        settings,
        tag("div", id="problem", role="alert"),
        tag("div", id="notices", role="status"),
        desk,
        tag("p", labels["stage.hint"], class_="soft hint"),
        id="workbench",
    )


def _product(texts: Words) -> Markup:
    papers = tag("p", texts["matrices.papers"], class_="soft")
    return section(texts["heading.matrices"], tag("div", id="product-sizes"), tag("div", id="product"), papers)


def _gpu(explanation: Explanation, texts: Words, labels: Words) -> Markup:
    gpu = explanation.gpu
    ways = {False: texts["gpu.forward"], True: texts["gpu.backward"]}
    parts: list[Markup] = [tag("p", texts("gpu.tape", operations=", ".join(gpu.operations)))]
    if gpu.launches:
        rows = [
            (tag("code", each.instance), ways[each.backward], each.items, each.grid, each.block, each.shared_bytes)
            for each in gpu.launches
        ]
        names = ("kernel", "direction", "threads", "grid", "block", "shared")
        parts += [
            tag("p", texts["gpu.kernels"]),
            table(labels["gpu.launches"], [labels[f"gpu.{name}"] for name in names], rows),
            tag("p", labels["gpu.opening"], class_="soft"),
        ]
        parts += [_kernel(launch, texts, labels) for launch in {each.kernel: each for each in gpu.launches}.values()]
    functions = {ways[backward]: names for backward, names in ((False, gpu.forward), (True, gpu.backward))}
    if any(set(names) - set(BESIDE) for names in functions.values()):
        parts.append(tag("p", texts["gpu.cupy" if gpu.launches else "gpu.only_cupy"]))
        parts += [tag("p", f"{way}: ", tag("code", ", ".join(names))) for way, names in functions.items() if names]
    return section(texts["heading.gpu"], *parts)


def _kernel(launch: Launch, texts: Words, labels: Words) -> Markup:
    heading = f"{launch.kernel}: {texts[f'kernel.{launch.kernel}']}"
    source = f"{launch.file}, {labels('gpu.code', line=launch.line)}"
    return details(heading, tag("p", source, class_="soft"), tag("pre", tag("code", lines(_code(launch))), tabindex=0))


def _code(launch: Launch) -> str:
    """The kernel in its source: from the comment above it to the brace that closes it."""
    name = PurePosixPath(launch.file).stem
    lines = kernel_source(name).partition(f'#line 1 "{name}.cu"\n')[2].splitlines()
    first = named = launch.line - 1
    while first > 0 and lines[first - 1].strip():
        first -= 1
    return "\n".join(lines[first : lines.index("}", named) + 1])
