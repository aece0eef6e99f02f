"""What somebody may have meant who wrote a word that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["closest", "suggestion"]

FEW = 10  # so many names are listed beside a guess
LONGEST = 100  # letters that are looked at: comparing takes as long as the square of them


def closest(word: object, known: Iterable[str]) -> str | None:
    """The name that begins with the word, else the most like it, if any; capitals, hyphens and underscores aside.

    Example:
        >>> closest("ResNet-9", ["lenet5", "resnet8"])
        'resnet8'
    """
    names = {_plain(name): name for name in known}
    meant = _plain(word)[:LONGEST]
    begun = [name for name in names if meant.strip("_") and name.startswith(meant)]
    found = begun or difflib.get_close_matches(meant, names, 1)
    return names[found[0]] if found else None


def suggestion(word: object, known: Iterable[str]) -> str:
    """What to say behind `unknown model 'resnet9'; `: the name that may be meant, and all of them if they are few.

    Example:
        >>> suggestion("adm", ["sgd", "adam"])
        'choose one of sgd, adam; did you mean adam?'
        >>> suggestion("lion", ["sgd", "adam"])
        'choose one of sgd, adam'
    """
    names = list(known)
    guess = closest(word, names)
    listed = [f"choose one of {', '.join(names)}"] if guess is None or len(names) <= FEW else []
    return "; ".join(listed if guess is None else [*listed, f"did you mean {guess}?"])


def _plain(word: object) -> str:
    return str(word).lower().replace("-", "_")
