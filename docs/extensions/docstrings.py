"""Docstrings as they are written here: plain text, `code` in single backticks, names without their modules.

reStructuredText would take a lone asterisk for the beginning of emphasis, and a name in backticks for a reference that
must exist. Here `Tensor` becomes a link where there is one thing of that name, and is code where there is not.
"""

from __future__ import annotations

import re
import sys
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.roles import XRefRole
from sphinx.util.nodes import make_refnode

__all__ = ["setup"]

NOT_IN_THE_REFERENCE = {"ModeSwitch", "ChannelNorm"}
"""Base classes that several modules share, but nobody derives from or calls."""

NAME = re.compile(r"[A-Za-z_][\w.]*(?:\(\))?")


class PerhapsALink(XRefRole):
    """`text` of a docstring: a link where it is a name that the reference knows, otherwise code."""

    def __init__(self) -> None:
        super().__init__(innernodeclass=nodes.literal)

    def process_link(
        self, env: BuildEnvironment, refnode: nodes.Element, has_explicit_title: bool, title: str, target: str
    ) -> tuple[str, str]:
        """Mark it as one that may lead nowhere."""
        refnode["refdomain"], refnode["reftype"] = "py", "obj"
        refnode["perhaps"] = True
        for key in ("module", "class"):
            refnode[f"py:{key}"] = env.ref_context.get(f"py:{key}")
        return title, target.removesuffix("()") if NAME.fullmatch(target) else ""


def to_rst(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Say in reStructuredText what a docstring says: its formulas and programs, its `code`, its plain text."""
    made: list[str] = []
    text: list[str] = []  # lines that wait to be escaped together: `code` may reach over a line's end
    before, verbatim = 0, 0  # how far the line before is indented, and a formula or example, if there is one
    for number, line in enumerate(lines):
        blank, indent = not line.strip(), len(line) - len(line.lstrip())
        if verbatim and (blank or indent >= verbatim):
            made.append(line)
            continue
        example = line.lstrip().startswith(">>> ")
        if example or (number and not blank and not lines[number - 1].strip() and indent > before):
            made += [*_escaped(text), *([] if example else [" " * before + "::", ""]), line]
            text, verbatim = [], indent
            continue
        verbatim = 0
        text.append(line)
        before = before if blank else indent
    lines[:] = made + _escaped(text)
    _make_fields(lines)
    if what in ("attribute", "property", "data") and lines:
        lines[0] = f": {lines[0]}"  # napoleon would take words before the first colon for a type


def _make_fields(lines: list[str]) -> None:
    """Sections that napoleon does not know become fields: a paragraph, or an item for each line that ends one."""
    for title in ("Shape", "Reference"):
        if f"{title}:" not in lines:
            continue
        first = lines.index(f"{title}:")
        last = next((n for n in range(first + 1, len(lines)) if lines[n] and lines[n][0] != " "), len(lines))
        items = re.split(r"(?<=\.)\n", "\n".join(line.strip() for line in lines[first + 1 : last]).strip())
        field = [f":{title}: {' '.join(items[0].split())}"]
        if len(items) > 1:
            field = [f":{title}:", *(f"    * {' '.join(item.split())}" for item in items)]
        lines[first:last] = [*field, ""]


def _escaped(lines: list[str]) -> list[str]:
    """Markup of `code`, and none of anything else."""
    parts = re.split(r"(``?[^`]+``?)", "\n".join(lines))
    for number, part in enumerate(parts):
        if number % 2 == 0:
            parts[number] = re.sub(r"[*|]|(?<=\w)_(?!\w)", r"\\\g<0>", part)
        elif not part.startswith("``"):
            code = re.sub(r"\s+", " ", part.strip("`"))
            parts[number] = f":perhaps:`{code}`" if NAME.fullmatch(code) else f"``{code}``"
        if number % 2 and re.match(r"\w", parts[number + 1]):  # `Tensor`s
            parts[number] += "\\ "
    return "".join(parts).split("\n") if lines else []


def public_bases(app: Sphinx, name: str, obj: type, options: Any, bases: list[Any]) -> None:
    """In place of a base class that is not public, the one above it."""
    for number, base in enumerate(bases):
        if isinstance(base, type):
            bases[number] = next(each for each in base.__mro__ if _is_public(each))


def _is_public(base: type) -> bool:
    public = getattr(sys.modules[base.__module__], "__all__", None)
    inner = base.__module__.startswith("gpunet.") and (public is None or base.__name__ not in public)
    return not inner and base.__name__ not in NOT_IN_THE_REFERENCE


def readable_defaults(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """`...` for a default of a dataclass that is made anew each time, which no signature can show."""
    return signature and signature.replace("<factory>", "..."), returns


def skip(app: Sphinx, what: str, name: str, obj: Any, skipped: bool, options: Any) -> bool | None:
    """Leave out what nobody calls, and fields of named tuples: `Attributes:` says what they are."""
    alias = str(getattr(obj, "__doc__", "")).startswith("Alias for field number")
    return True if alias or name == "extra_repr" else None


def find(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, content: nodes.Element
) -> nodes.Element | None:
    """A name without its module: the only thing in the reference that is called so."""
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    a_name = bool(target) and (target != target.lower() or "." in target or not node.get("perhaps"))
    kinds = {"class": ("class", "type"), "exc": ("exception",)}.get(node["reftype"])
    found = _only_one(env.domains["py"].objects, target, kinds) if a_name else None
    if found is not None:
        name, entry = found
        assert app.builder is not None
        return make_refnode(app.builder, node.get("refdoc", ""), entry.docname, entry.node_id, content, name)
    return content if node.get("perhaps") else None


def _only_one(objects: dict[str, Any], target: str, kinds: tuple[str, ...] | None) -> tuple[str, Any] | None:
    """The object of one of these kinds, or of any, whose name ends so, if there is just one."""
    ending = "." + target.removeprefix("gpunet.").rpartition(".")[2] if target.startswith("gpunet.") else "." + target
    places = {(entry.docname, entry.node_id): (name, entry) for name, entry in objects.items() if name.endswith(ending)}
    real = [each for each in places.values() if not each[1].aliased and (kinds is None or each[1].objtype in kinds)]
    return real[0] if len(real) == 1 else None


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_role("perhaps", PerhapsALink())
    app.connect("autodoc-process-docstring", to_rst, priority=400)  # before napoleon, which makes fields of sections
    app.connect("autodoc-skip-member", skip)
    app.connect("autodoc-process-signature", readable_defaults)
    app.connect("autodoc-process-bases", public_bases)
    app.connect("missing-reference", find)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
