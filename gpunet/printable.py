"""Names that others have chosen, of classes and of files, as they may stand on a terminal or on a page.

A name can hold anything: a newline that begins a line of its own, a sequence that colours a terminal or moves its
cursor, a mark that turns the direction of what follows, bytes that are no letters.
"""

from __future__ import annotations

import re

__all__ = ["printable"]

# C0 and C1 controls; separators of lines and paragraphs; marks of direction; halves of a character, and lone bytes.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: object, keep: str = "") -> str:
    r"""The text with escapes such as \n or \x1b in the places of what would do something else than be seen.

    Args:
        keep: unsafe characters that stay: a newline in a text of several lines.

    Example:
        >>> print(printable("cat\n\x1b[31mdog"))
        cat\n\x1b[31mdog
    """
    return _UNSAFE.sub(lambda found: found[0] if found[0] in keep else _escaped(found[0]), str(text))


def _escaped(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # how Python keeps a byte of a file's name that is not UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()
