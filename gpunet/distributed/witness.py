"""A process that watches the ranks of its machine, and says which was killed.

Who is killed cannot speak, and the launcher ends the others before they notice. So one more process looks on, which the
launcher does not know. It holds the other end of a pipe from each rank: the system closes a pipe when a process dies,
and a rank that leaves in order says so before. It starts within hundredths of a second: it is this file alone, without
gpunet and NumPy.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

__all__ = ["call_witness", "dismiss_witness", "watched_by"]

GRACE = 5.0  # seconds until what the launcher has left is ended, too
PAUSE = 0.5
_ORDERLY = b"."

_pipe: int | None = None  # of this rank


@contextlib.contextmanager
def call_witness(pids: Mapping[int, int], size: int, host: str) -> Iterator[str | None]:
    """Start it; yields a folder with a pipe for each rank, which all must have opened when the block ends.

    None where the system has no such pipes (Windows): then nobody looks on.

    Args:
        pids: of the ranks of this machine.
        size: how many ranks there are on all of them.
    """
    if not hasattr(os, "mkfifo") or not sys.executable:
        yield None
        return
    folder = tempfile.mkdtemp(prefix="gpunet-")
    ends = []
    try:
        for rank in pids:
            os.mkfifo(Path(folder, str(rank)))
            ends.append(os.open(Path(folder, str(rank)), os.O_RDONLY | os.O_NONBLOCK))
        watched = [f"{end}:{rank}:{pid}" for end, (rank, pid) in zip(ends, pids.items(), strict=True)]
        command = [sys.executable, "-I", "-S", __file__, str(size), host, *watched]
        nowhere = subprocess.DEVNULL
        subprocess.Popen(command, stdin=nowhere, stdout=nowhere, pass_fds=ends, start_new_session=True)
        yield folder
    finally:
        for end in ends:
            os.close(end)
        shutil.rmtree(folder, ignore_errors=True)


def watched_by(folder: str | None, rank: int) -> None:
    """Open the pipe of this rank, which ends with it."""
    global _pipe
    if folder is not None:
        _pipe = os.open(Path(folder, str(rank)), os.O_WRONLY)


def dismiss_witness() -> None:
    """Tell it that this rank ends in order, or has said itself what went wrong."""
    global _pipe
    if _pipe is not None:
        with contextlib.suppress(OSError):
            os.write(_pipe, _ORDERLY)
            os.close(_pipe)
    _pipe = None


def _watch(size: str, host: str, watched: Sequence[str]) -> None:
    """Wait until all ranks have gone. When the first goes without a word say so, and end what is left after a while."""
    pipes = selectors.DefaultSelector()  # tells of what happens in its order
    for each in watched:
        pipes.register(int(each.partition(":")[0]), selectors.EVENT_READ, each)
    deadline = None
    while pipes.get_map() and (deadline is None or time.monotonic() < deadline):
        ready = [key for key, _ in pipes.select(timeout=PAUSE)]
        for key in ready or [each for each in pipes.get_map().values() if _is_gone(each.data)]:
            said = os.read(key.fd, 1) if ready else b""
            pipes.unregister(key.fd)
            if not said and deadline is None:
                _, rank, pid = key.data.split(":")
                who = f"rank {rank} of {size} (process {pid} on {host})"
                os.write(2, f"gpunet: error: {who} was killed, or ended before the others\n".encode())
                deadline = time.monotonic() + GRACE
    for key in pipes.get_map().values():
        with contextlib.suppress(OSError):
            os.kill(int(key.data.rpartition(":")[2]), signal.SIGKILL)


def _is_gone(watched: str) -> bool:
    """Whether the process is: one that ends before it has opened its pipe cannot close it."""
    try:
        os.kill(int(watched.rpartition(":")[2]), 0)
    except ProcessLookupError:
        return True
    return False


if __name__ == "__main__":
    _watch(sys.argv[1], sys.argv[2], sys.argv[3:])
