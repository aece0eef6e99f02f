"""The words of the operations, in English and in Spanish."""

from __future__ import annotations

from gpunet.words import LANGUAGES, Words, places_in
from gpunet.words import words as words_of

__all__ = ["LANGUAGES", "Words", "places_in", "words"]


def words(language: str, package: str = "gpunet.explain") -> Words:
    """The texts of a language, see `gpunet.words.words`.

    Example:
        >>> words("es")("conv2d.title")
        'Convolución'
    """
    return words_of(language, package)
