"""How sentences, headings and sums become lines of a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from gpunet.explain.grids import Block, Paint, beside, bracketed, number
from gpunet.explain.products import Term
from gpunet.explain.words import Words

__all__ = ["INDENT", "Writer", "element"]

INDENT = "  "
MOST_TERMS = 36  # of a sum that is written out


@dataclass(frozen=True)
class Writer:
    """Writes for one reader.

    Attributes:
        words: in the reader's language.
        paint: gives texts their colours.
        width: of the terminal.
    """

    words: Words
    paint: Paint
    width: int

    def heading(self, key: str) -> list[str]:
        """An empty line and the heading."""
        return ["", self.paint(self.words(f"heading.{key}"), "bold")]

    def sentence(self, key: str, **places: object) -> list[str]:
        """A text of the catalogue, in lines that fit."""
        return self.wrapped(self.words(key, **places))

    def wrapped(self, text: str, hanging: str = INDENT) -> list[str]:
        """Any text in lines that fit, at spaces alone; `hanging` stands before all but the first."""
        return textwrap.wrap(
            text,
            self.width,
            initial_indent=INDENT,
            subsequent_indent=hanging,
            break_on_hyphens=False,
            break_long_words=False,
        )

    def blocks(self, blocks: Sequence[Block]) -> list[str]:
        """Blocks side by side, or below each other where they do not fit."""
        return [f"{INDENT}{line}".rstrip() for line in beside(blocks, self.width - len(INDENT))]

    def products(self, name: str, terms: Sequence[Term], result: float, bias: float | None = None) -> list[str]:
        """A sum of products, written out: factors, then products, then the result."""
        shown = terms[:MOST_TERMS]
        rest = ([] if len(terms) == len(shown) else ["..."]) + ([] if bias is None else [bracketed(bias)])
        factors = " + ".join([f"{bracketed(term.value)}·{bracketed(term.factor)}" for term in shown] + rest)
        products = " + ".join([bracketed(term.product) for term in shown] + rest)
        middle = f" = {products}" if len(terms) > 1 else ""
        return self.wrapped(f"{name} = {factors}{middle} = {number(result)}", INDENT * 3)


def element(name: str, place: Sequence[int], shape: Sequence[int]) -> str:
    """An element of an array as text; where there is one channel or one filter only, its index is left out.

    Example:
        >>> element("O", (0, 1, 2), (1, 3, 3)), element("O", (1, 1, 2), (2, 3, 3))
        ('O[1,2]', 'O[1,1,2]')
    """
    leading = len(place) - 2 if len(place) > 2 and all(size == 1 for size in shape[:-2]) else 0
    return f"{name}[{','.join(map(str, place[leading:]))}]"
