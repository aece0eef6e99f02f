"""Words for people, in English and in Spanish, the language of the lecture: everything that is not a number or a name.

A package that says something to people has a words.json: for each key a text in each of LANGUAGES. A text may have
places for numbers and names, in braces.
"""

from __future__ import annotations

import importlib.resources
import json
import string
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from gpunet.errors import ArgumentError, FileError

__all__ = ["LANGUAGES", "Words", "places_in", "words"]

LANGUAGES = ("en", "es")


class Words(Mapping[str, str]):
    """The texts of one language by their keys; called with a key and what goes into its places, the finished text."""

    def __init__(self, language: str, texts: Mapping[str, str]) -> None:
        self.language = language
        self._texts = MappingProxyType(dict(texts))

    def __getitem__(self, key: str) -> str:
        return self._texts[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)

    def __call__(self, key: str, **places: Any) -> str:
        """The text with its places filled in."""
        return self._texts[key].format(**places)


def words(language: str, package: str) -> Words:
    """The texts of a language.

    Args:
        language: one of LANGUAGES.
        package: in which words.json lies.

    Raises:
        ArgumentError: if there is no such language.
        FileError: if the file is damaged.

    Example:
        >>> words("es", "gpunet.explain")("heading.why")
        'Por qué importa'
    """
    if language not in LANGUAGES:
        raise ArgumentError(f"there is no language {language!r}; there are {', '.join(LANGUAGES)}")
    file = importlib.resources.files(package) / "words.json"
    try:
        texts = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FileError(f"{file} cannot be read: {error}") from error
    if not isinstance(texts, dict) or not all(isinstance(text, list) and len(text) == 2 for text in texts.values()):
        raise FileError(f"{file} is damaged: it must hold a JSON object of texts in {len(LANGUAGES)} languages")
    return Words(language, {key: each[LANGUAGES.index(language)] for key, each in texts.items()})


def places_in(text: str) -> set[str]:
    """The names of the places in a text.

    Example:
        >>> sorted(places_in("{count} of {whole}"))
        ['count', 'whole']
    """
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}
