"""When, where and with what the run was made, and how to make it again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from gpunet.markup import Markup, joined, tag
from gpunet.report.elements import Part, note, table
from gpunet.report.record import RunRecord
from gpunet.words import Words

__all__ = ["again", "command", "shown"]


def again(record: RunRecord, texts: Words) -> Part:
    """The command that starts the same run, its environment and its settings."""
    noted = record.environment
    rows = [
        [texts[f"environment.{name}"], texts["environment.unknown"] if value is None else shown(name, value)]
        for name, value in noted.items()
        if name != "device" or value is not None
    ]
    settings = [[name, shown(name, value)] for name, value in record.settings.items() if name not in noted]
    words = command(record.settings)
    copy = tag("button", texts["again.copy"], type="button", class_="copy", data_done=texts["again.copied"], hidden="")
    heads = [texts[f"again.{head}"] for head in ("what", "value")]
    return Part(
        "again",
        texts["again.heading"],
        [
            tag("div", tag("pre", tag("code", _unbroken(words), id="command"), tabindex=0), copy, class_="command"),
            note(texts["again.how"]),
            tag(
                "div",
                table(texts["again.environment"], heads, rows, text=True),
                table(texts["again.settings"], [texts["again.setting"], texts["again.value"]], settings, text=True),
                class_="grid halves",
            ),
        ],
    )


def command(settings: Mapping[str, Any]) -> list[str]:
    """The command that starts the same run: its words, and each option in one piece with its value."""
    pieces = ["gpunet", "train"]
    for name, value in settings.items():
        option = "--" + name.replace("_", "-")
        if value is True:
            pieces.append(option)
        elif value is not False:
            values = value if isinstance(value, list) else [value]
            pieces += [f"{option} {shlex.quote(str(each))}" for each in values]
    return pieces


def shown(name: str, value: Any) -> str:
    """A setting, or what is noted of the environment, as text."""
    if name == "date":
        return str(value)[:16].replace("T", " ")
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _unbroken(pieces: list[str]) -> Markup:
    """Lines break between the pieces and not at the hyphens within; what is copied has one space between them."""
    first, *others = (tag("span", piece) for piece in pieces)
    return joined([first, *(part for span in others for part in (" ", span))])
