"""Pages that gpunet itself writes while the site is built: the lecture's, the report of a run, the help of commands."""

from __future__ import annotations

import contextlib
import html
import io
import os
import re
import shutil
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from gpunet.cli import main

__all__ = ["MADE", "setup"]

MADE = Path(__file__).parents[1] / "made"
LECTURE, RUN = MADE / "lecture", MADE / "run"


def command(*words: str) -> str:
    """What a command prints; it is an error if it fails."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
        try:
            code = main(words)
        except SystemExit as leaving:  # after --help
            code = int(leaving.code or 0)
    if code:
        raise RuntimeError(f"gpunet {' '.join(words)} ended with {code}")
    return printed.getvalue()


def make(app: Sphinx) -> None:
    """Write the lecture's pages, train a network, and write its report."""
    for path in (LECTURE, RUN):
        shutil.rmtree(path, ignore_errors=True)
    command("explain", "--all", "--html", str(LECTURE))
    command("train", "--backend", "numpy", "--epochs", "8", "--out", str(RUN))
    command("report", str(RUN))


def copy(app: Sphinx, error: Exception | None) -> None:
    """Put these pages beside the others."""
    if error is None and app.builder.format == "html":
        shutil.copytree(LECTURE, Path(app.outdir) / "lecture", dirs_exist_ok=True)
        shutil.copy(RUN / "report.html", Path(app.outdir) / "report.html")


class Lecture(SphinxDirective):
    """`{lecture} LANGUAGE OPERATION`: a page of the lecture within this one; without OPERATION a list of all."""

    required_arguments, optional_arguments = 1, 1

    def run(self) -> list[nodes.Node]:
        """Frame or list, with links to the pages by themselves."""
        language, *operation = self.arguments
        here = self.env.docname.count("/") * "../" + "lecture/"
        if operation:
            path = LECTURE / language / f"{operation[0]}.html"
            title = _title(path)
            frame = (
                f'<iframe class="lecture" src="{here}{language}/{path.name}" title="{title}" loading="lazy"></iframe>'
            )
            link = f'<p><a href="{here}{language}/{path.name}">{title} &#8599;</a></p>'
            return [nodes.raw("", frame + link, format="html")]
        paths = _in_their_order(LECTURE / language)
        items = "".join(f'<li><a href="{here}{language}/{path.name}">{_title(path)}</a></li>' for path in paths)
        return [nodes.raw("", f"<ul>{items}</ul>", format="html")]


def _in_their_order(folder: Path) -> list[Path]:
    """The pages in the order in which their index names them."""
    index = (folder / "index.html").read_text(encoding="utf-8")
    named = [folder / name for name in re.findall(r'href="(\w+\.html)"', index) if name != "index.html"]
    return [path for path in dict.fromkeys(named) if path.exists()]


def _title(path: Path) -> str:
    found = re.search(r"<title>(.*?)(?: - gpunet)?</title>", path.read_text(encoding="utf-8"))
    return html.escape(html.unescape(found[1])) if found else path.stem


class Help(SphinxDirective):
    """`{help} train`: what `gpunet train --help` prints."""

    required_arguments = 1
    final_argument_whitespace = True
    option_spec = {"class": directives.class_option}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        """As a block of text."""
        before = {name: os.environ.get(name) for name in ("COLUMNS", "NO_COLOR")}
        os.environ.update(COLUMNS="88", NO_COLOR="1")
        try:
            text = command(*self.arguments[0].split(), "--help")
        finally:
            for name, value in before.items():
                os.environ.pop(name, None) if value is None else os.environ.update({name: value})
        return [nodes.literal_block(text, text, language="text")]


def language(app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Say of pages under es/ that they are Spanish, for those who have them read aloud, or hyphenated."""
    if pagename.startswith("es/"):
        context["language"] = "es"


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_directive("lecture", Lecture)
    app.add_directive("help", Help)
    app.connect("builder-inited", make)
    app.connect("html-page-context", language)
    app.connect("build-finished", copy)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
