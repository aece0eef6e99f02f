"""Printing, whatever becomes of the output: the work goes on where nobody reads it and where it cannot be written.

A reader may leave, such as `head`; a terminal may vanish, a disk be full, an output have been closed from the start;
and its encoding may lack letters that the name of a class has.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO

from gpunet.errors import ArgumentError, FileError, GpunetError
from gpunet.printable import printable
from gpunet.terminal import fitted

__all__ = ["PrintableFormatter", "SteadyStream", "complain", "complain_of", "in_colour", "say", "steady_output", "tell"]

_CODES = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "cyan": 36}


class SteadyStream(io.TextIOBase):
    """Writes to another stream and never fails: letters that it lacks are escaped, what cannot be written is left out.

    Args:
        stream: None where there is none.

    Attributes:
        error: why something could not be written, if so.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self.stream = stream
        self.error: Exception | None = None

    def write(self, text: str) -> int:
        """Write what can be written, and take all of it as written."""
        try:
            self._tried("write", text)
        except UnicodeEncodeError:
            encoding = self.encoding
            self._tried("write", text.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def flush(self) -> None:
        """Hand on what is still here."""
        self._tried("flush")

    def isatty(self) -> bool:
        """Whether it goes to a terminal."""
        return bool(self._tried("isatty"))

    def fileno(self) -> int:
        """The number of the file; an OSError where there is none."""
        return super().fileno() if self.stream is None else self.stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """How letters become bytes."""
        return getattr(self.stream, "encoding", None) or "utf-8"

    def _tried(self, what: str, *arguments: Any) -> Any:
        try:
            return getattr(self.stream, what)(*arguments) if self.stream is not None else None
        except UnicodeEncodeError:
            raise
        except (OSError, ValueError) as error:  # ValueError: the stream is closed
            self.error = error


class PrintableFormatter(logging.Formatter):
    """What is logged, with escapes in the names of files; it may have several lines."""

    def format(self, record: logging.LogRecord) -> str:
        """The text of a message."""
        return fitted(printable(super().format(record), keep="\n"), "  ", sys.stderr)


@contextlib.contextmanager
def steady_output() -> Iterator[SteadyStream]:
    """While the block lasts, `sys.stdout`, which is given, and `sys.stderr` are steady."""
    _occupy_standard_files()
    before = sys.stdout, sys.stderr
    steady = SteadyStream(sys.stdout), SteadyStream(sys.stderr)
    sys.stdout, sys.stderr = steady
    try:
        yield steady[0]
    finally:
        sys.stdout, sys.stderr = before
        for stream in steady:
            stream.flush()
            if stream.error is not None:
                _let_go(stream)


def _occupy_standard_files() -> None:
    """Where input, output or errors are closed, open nowhere in their place: the next file would get their number.

    What is written there, by whatever library, would stand in that file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the smallest number that is free


def _let_go(stream: SteadyStream) -> None:
    """Send what could not be written nowhere, so that the interpreter does not complain of it at its end either."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def say(text: str) -> None:
    """Print a line at once, as it is."""
    print(text, flush=True)


def tell(text: str, indent: str = "") -> None:
    """Print what people read: broken between words where the terminal ends."""
    say(fitted(text, indent))


def complain(text: str) -> None:
    """Print on stderr what went wrong, or what else has to be known."""
    print(fitted(f"gpunet: {text}", "  ", sys.stderr), file=sys.stderr)


def complain_of(error: GpunetError) -> None:
    """Print an error on stderr."""
    # A newline stands in the name of a file; or, in other errors, in the words of a compiler.
    newline = "" if isinstance(error, ArgumentError | FileError) else "\n"
    complain(f"error: {printable(error, keep=newline)}")


def in_colour(text: str, colour: str) -> str:
    """The text in a colour or style where it goes to a terminal; as it is where NO_COLOR is set (no-color.org).

    The colours are red, green, yellow and cyan, the styles bold and dim.
    """
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not sys.stdout.isatty():
        return text
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m"
