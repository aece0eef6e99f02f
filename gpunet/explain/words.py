"""What the explanations of several operations say; what only one says stands in its own file."""

from __future__ import annotations

from gpunet.words import LANGUAGES, Words, places_in
from gpunet.words import words as words_of

__all__ = ["LANGUAGES", "Words", "places_in", "words"]


def words(language: str) -> Words:
    """The texts of a language, see `gpunet.words.words`.

    Raises:
        ArgumentError: if there is no such language.
        FileError: if the file is damaged.
    """
    return words_of(language, "gpunet.explain")
