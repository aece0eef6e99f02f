"""Coalesced and strided access as text for a terminal."""

from __future__ import annotations

from gpunet.explain.coalescing import CHANNELS, COALESCING, SIDE, Reading, readings
from gpunet.explain.grids import Block, Paint, beside, grid
from gpunet.explain.words import Words
from gpunet.explain.writing import INDENT, Writer

__all__ = ["coalescing_text"]

FEW = 4  # sectors that stand below each other; more are parted in two


def coalescing_text(words: Words, paint: Paint, width: int = 80) -> str:
    """The three readings, in lines that fit the width, which is taken to be 80 columns at least."""
    writer = Writer(words, paint, max(width, 80))
    lines = [f"{paint(words('coalescing.title'), 'bold')}  {COALESCING}", *writer.sentence("coalescing.summary"), ""]
    lines += [*writer.sentence("coalescing.rule"), ""]
    lines += writer.sentence("coalescing.example", channels=CHANNELS, side=SIDE)
    for reading in readings():
        lines += [*writer.heading(f"coalescing.{reading.name}"), *writer.sentence(f"coalescing.{reading.name}")]
        lines += [f"{INDENT}{paint(reading.place, 'cyan')}", "", *_picture(reading, writer), ""]
        lines += _counted(reading, writer)
    lines += [*writer.heading("why"), *writer.sentence("coalescing.why"), *writer.sentence("coalescing.paper")]
    return "\n".join([*lines, *writer.sentence("coalescing.more")])


def _picture(reading: Reading, writer: Writer) -> list[str]:
    """A line for each sector: where it begins, and the lane that asks for each of its numbers."""
    cells = grid([each.lanes for each in reading.first], writer.paint)
    margin = len(str(reading.first[-1].begins))
    lines = [f"{each.begins:>{margin}}:{line}" for each, line in zip(reading.first, cells.lines, strict=True)]
    half = len(lines) if len(lines) <= FEW else -(-len(lines) // 2)
    blocks = [Block(lines[start : start + half], cells.width + margin + 1) for start in range(0, len(lines), half)]
    return [f"{INDENT}{line}" for line in beside(blocks, writer.width - len(INDENT))]


def _counted(reading: Reading, writer: Writer) -> list[str]:
    counts = {"requests": reading.requests, "asked": reading.asked, "sectors": reading.sectors}
    first = {"first": len(reading.first), "first_fewest": reading.fewest_sectors // reading.requests}
    return writer.sentence("coalescing.counted", **counts, fewest=reading.fewest_sectors, **first)
