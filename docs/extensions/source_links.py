"""Links into the sources: `[im2col](../raw_kernels/im2col.cu#im2col)` leads to that line of this very version.

Written so, a link works where the repository is looked at, too. On the site every file that is linked becomes a page,
and what follows the # is a name, whose line is looked up while the site is built: it cannot lead elsewhere.
"""

from __future__ import annotations

import html
import importlib
import inspect
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from markdown_it import MarkdownIt
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import CppLexer, PythonLexer, TextLexer, get_lexer_for_filename
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.osutil import relative_uri

__all__ = ["linkcode_resolve", "setup"]

DOCS = Path(__file__).parents[1]
ROOT = DOCS.parent
SCHEME = "source:"

logger = logging.getLogger(__name__)


def rewrite_links(app: Sphinx, docname: str, source: list[str]) -> None:
    """Let what the page includes stand in it, and links that lead out of docs/ lead to the pages of sources."""
    here = (DOCS / docname).parent
    text = re.sub(r"^```{include} (\S+)\n```$", lambda match: _included(here, match[1]), source[0], flags=re.MULTILINE)
    source[0] = _rewritten(text, here, here)


def _included(here: Path, name: str) -> str:
    """A file of the repository without its title, for the page has its own."""
    path = (here / name).resolve()
    return _rewritten(path.read_text(encoding="utf-8").partition("\n")[2], path.parent, here)


def _rewritten(text: str, base: Path, here: Path) -> str:
    def one(match: re.Match[str]) -> str:
        name, mark, fragment = match[1].partition("#")
        path = Path(os.path.normpath(base / name))
        if ":" in match[1] or not name or not path.is_relative_to(ROOT) or not path.exists():
            return match[0]
        if path.is_relative_to(DOCS):
            return f"]({os.path.relpath(path, here)}{mark}{fragment})"
        return f"]({SCHEME}{path.relative_to(ROOT).as_posix()}{mark}{fragment})"

    return re.sub(r"\]\(([^)\s]+)\)", one, text)


def line_of(name: str, text: str) -> int | None:
    """Where a name is defined: its class, function or value in Python, in C++ its first line that is no comment."""
    word = re.escape(name)
    python = rf"^\s*(?:async )?(?:def|class) {word}\b|^{word}\b.*="
    other = rf"^(?!\s*(?://|#|\*)).*\b{word}\b"
    for pattern in (python, other):
        if found := re.search(pattern, text, flags=re.MULTILINE):
            return text.count("\n", 0, found.end()) + 1
    return None


def linkcode_resolve(domain: str, info: dict[str, str]) -> str | None:
    """What `[source]` beside an object of the reference leads to: the lines that define it."""
    try:
        found: Any = importlib.import_module(info["module"])
        for name in info["fullname"].split("."):
            found = getattr(found, name)
        found = inspect.unwrap(getattr(found, "fget", found))  # the function behind a property
        path, line = Path(inspect.getsourcefile(found) or ""), inspect.getsourcelines(found)[1]
    except (AttributeError, ImportError, OSError, TypeError, ValueError):
        return None  # a value, which has no lines of its own
    return f"{SCHEME}{path.relative_to(ROOT).as_posix()}#L-{line}" if path.is_relative_to(ROOT) else None


def resolve(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Give the links of a page the addresses of pages and lines."""
    for node in doctree.findall(nodes.reference):
        if not node.get("refuri", "").startswith(SCHEME):
            continue
        name, _, fragment = node["refuri"].removeprefix(SCHEME).partition("#")
        line = f"#{fragment}" if fragment else ""
        if fragment and not re.fullmatch(r"L-\d+", fragment):
            found = line_of(fragment, (ROOT / name).read_text(encoding="utf-8"))
            if found is None:
                logger.warning("%s has no %s", name, fragment, location=node)
            line = f"#L-{found}"
        assert app.builder is not None
        target = app.builder.get_target_uri(_page(name))
        node["refuri"] = relative_uri(app.builder.get_target_uri(docname), target) + line
        node["internal"] = True


def _page(name: str) -> str:
    return f"sources/{name.rstrip('/')}"


def _linked(app: Sphinx) -> set[str]:
    """The files and folders that pages lead to, and what lies in the folders."""
    linked = set()
    for docname in app.env.found_docs:
        for node in app.env.get_doctree(docname).findall(nodes.reference):
            if node.get("refuri", "").startswith(SCHEME):
                linked.add(node["refuri"].removeprefix(SCHEME).partition("#")[0].rstrip("/"))
    inside = {path.relative_to(ROOT).as_posix() for name in linked if (ROOT / name).is_dir() for path in _files(name)}
    return linked | inside


def _files(name: str) -> list[Path]:
    """The texts in a folder."""
    suffixes = {".py", ".cu", ".cuh", ".h", ".cpp", ".md"}
    return sorted(path for path in (ROOT / name).iterdir() if path.suffix in suffixes)


def pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """A page for each file, with an anchor at each line."""
    linked = _linked(app)
    for name in sorted(linked):
        if (ROOT / name).is_dir():
            items = "".join(
                f'<li><a href="{path.parent.name}/{path.name}.html">{path.name}</a></li>' for path in _files(name)
            )
            body = f"<ul>{items}</ul>"
        elif name.endswith(".ipynb"):
            body = _notebook(ROOT / name, linked)
        else:
            try:
                lexer = CppLexer() if name.endswith((".cu", ".cuh")) else get_lexer_for_filename(name)
            except ValueError:
                lexer = TextLexer()
            formatter = HtmlFormatter(linenos="inline", lineanchors="L", anchorlinenos=True, cssclass="highlight")
            body = highlight((ROOT / name).read_text(encoding="utf-8"), lexer, formatter)
        yield _page(name), {"title": name, "body": f"<h1>{name}</h1>{body}"}, "page.html"


def _notebook(path: Path, linked: set[str]) -> str:
    """Its cells, with what they showed when it was kept; its links lead to files that have a page, too."""

    def link(match: re.Match[str]) -> str:
        target = Path(os.path.normpath(path.parent / match[1])).relative_to(ROOT).as_posix()
        return f'href="{match[1]}.html"' if target in linked else ""

    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(re.sub(r'href="(?!https?:|#)([^"]+)"', link, MarkdownIt().render(text)))
            continue
        parts.append(highlight(text, PythonLexer(), HtmlFormatter(cssclass="highlight")))
        for output in cell["outputs"]:
            data = output.get("data", {})
            if "text/html" in data:
                parts.append("".join(data["text/html"]))
            elif "image/png" in data:
                parts.append(f'<img alt="what the cell above shows" src="data:image/png;base64,{data["image/png"]}">')
            else:
                text = "".join(output.get("text") or data.get("text/plain") or output.get("traceback", ""))
                parts.append(f"<pre>{html.escape(text)}</pre>")
    return "".join(parts)


def navigation(app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """All pages of a folder of sources share one navigation, which takes longer to make than the page itself."""
    if not pagename.startswith("sources/"):
        return
    folder, make = pagename.rpartition("/")[0], context["toctree"]

    def toctree(**settings: Any) -> str:
        if folder not in _navigation:
            _navigation[folder] = make(**settings)
        return _navigation[folder]

    context["toctree"] = toctree


_navigation: dict[str, str] = {}


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("source-read", rewrite_links)
    app.connect("doctree-resolved", resolve)
    app.connect("html-collect-pages", pages)
    app.connect("html-page-context", navigation, priority=400)  # before the theme asks for it
    return {"parallel_read_safe": True, "parallel_write_safe": True}
