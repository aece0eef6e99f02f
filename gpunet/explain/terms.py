"""A sum written out: which numbers are multiplied with which, and what they come to."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Sum", "Term"]


class Term(NamedTuple):
    """One product of a sum.

    Attributes:
        place: where the value stands: in the image, which it lies outside of where it is padding, or in the output.
        value: the number there; 0 in the padding.
        factor: what it is multiplied with.
    """

    place: tuple[int, ...]
    value: float
    factor: float

    @property
    def product(self) -> float:
        """The value times the factor."""
        return self.value * self.factor


class Sum(NamedTuple):
    """An element of an array as a sum of products.

    Attributes:
        of: the array: "output", "input" for the gradient by the input, "weight" for that by the filters.
        place: of the element.
        terms: what is added up.
        result: what it comes to.
    """

    of: str
    place: tuple[int, ...]
    terms: tuple[Term, ...]
    result: float
