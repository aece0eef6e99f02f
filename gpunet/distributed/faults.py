"""One rank fails. The others would wait for it for ever, so all end; what is said names the rank."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from types import TracebackType

from gpunet import errors
from gpunet.distributed.witness import dismiss_witness
from gpunet.errors import GpunetError, ProcessError
from gpunet.printable import printable
from gpunet.ranks import communicator

__all__ = ["ends_all", "install_hook", "together"]


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Around work that each rank does for itself: an error of one is an error of all, when all are through.

    Raises:
        GpunetError: on every rank, the error of the first that has one; the message says which ranks.
    """
    error: GpunetError | None = None
    try:
        yield
    except GpunetError as caught:
        error = caught
    ranks = communicator()
    if ranks.size == 1:
        if error is not None:
            raise error
        return
    said = ranks.gather(None if error is None else [type(error).__name__, str(error)])
    failed = [rank for rank, each in enumerate(said) if each is not None]
    if not failed:
        return
    kind, message = said[failed[0]]
    alike = [rank for rank in failed if said[rank] == said[failed[0]]]
    if error is not None and len(alike) == ranks.size:
        raise error.everywhere()
    who = f"rank{'s' * (len(alike) > 1)} {', '.join(map(str, alike))}"
    raise getattr(errors, kind, ProcessError)(f"{who}: {message}").everywhere() from error


def ends_all(error: BaseException) -> int:
    """Say what has ended this rank, and end the others; the exit code, where they end of themselves.

    Where all have failed alike, rank 0 says so, and each goes its way when that is said. Else this rank speaks for
    itself, and takes the others with it.
    """
    ranks = communicator()
    alike = isinstance(error, GpunetError) and error.is_everywhere
    interrupted = isinstance(error, KeyboardInterrupt)
    code = 130 if interrupted else 1
    if not alike or ranks.rank == 0:
        who = "" if alike else f"rank {ranks.rank} of {ranks.size}: "
        with contextlib.suppress(OSError, ValueError):
            print(f"gpunet: {who}stopped" if interrupted else f"gpunet: error: {who}{_words(error)}", file=sys.stderr)
            sys.stderr.flush()
    if alike:
        ranks.barrier()
        return code
    dismiss_witness()
    ranks.abort(code)
    os._exit(code)  # to abort may take its time


def _words(error: BaseException) -> str:
    newline = "" if isinstance(error, errors.ArgumentError | errors.FileError) else "\n"
    kind = "" if isinstance(error, GpunetError) else f"{type(error).__name__}: "
    return printable(f"{kind}{error}", keep=newline)


def install_hook() -> None:
    """Let an exception that nobody catches end all ranks, where Python would end this one alone."""
    before = sys.excepthook

    def end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        alike = isinstance(error, GpunetError) and error.is_everywhere
        if not alike or communicator().rank == 0:
            before(kind, error, trace)
        if communicator().size > 1:
            ends_all(error)

    sys.excepthook = end
