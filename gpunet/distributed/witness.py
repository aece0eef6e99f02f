"""A process that watches the ranks of its machine, and says which was killed.

Who is killed cannot speak, and the launcher ends the others before they notice. So one more process looks on, which the
launcher does not know. It starts within hundredths of a second: it is this file alone, without gpunet and NumPy.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

__all__ = ["call_witness", "dismiss_witness"]

GRACE = 5.0  # seconds until what the launcher has left is ended, too

_witness: int | None = None  # its process


def call_witness(pids: Mapping[int, int], size: int, host: str) -> int | None:
    """Start it; its process, or None where the system cannot tell of the end of a process that is no child (not Linux).

    Args:
        pids: of the ranks of this machine.
        size: how many ranks there are on all of them.
    """
    if not hasattr(os, "pidfd_open") or not sys.executable:
        return None
    watched = [f"{rank}:{pid}" for rank, pid in pids.items()]
    command = [sys.executable, "-I", "-S", __file__, str(size), host, *watched]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True).pid


def remember_witness(pid: int | None) -> None:
    """Note whom to dismiss; every rank of the machine may."""
    global _witness
    _witness = pid


def dismiss_witness() -> None:
    """Let it go, before ranks end that have nothing to hide."""
    global _witness
    if _witness is not None:
        with contextlib.suppress(OSError):
            os.kill(_witness, signal.SIGTERM)
    _witness = None


def _watch(size: str, host: str, watched: Sequence[str]) -> None:
    ended, by_file = select.epoll(), {}  # which tells of ends in their order
    for each in watched:
        with contextlib.suppress(ProcessLookupError):
            by_file[os.pidfd_open(int(each.partition(":")[2]))] = each
    for file in by_file:
        ended.register(file, select.EPOLLIN)
    (first, _), *others = ended.poll()
    rank, _, pid = by_file[first].partition(":")
    text = f"gpunet: error: rank {rank} of {size} (process {pid} on {host}) was killed, or ended before the others\n"
    os.write(2, text.encode())
    deadline = time.monotonic() + GRACE
    gone = {first, *(file for file, _ in others)}
    while len(gone) < len(by_file) and time.monotonic() < deadline:
        for file in gone:
            with contextlib.suppress(OSError):
                ended.unregister(file)
        gone |= {file for file, _ in ended.poll(0.1)}
    for file in by_file.keys() - gone:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(file, signal.SIGKILL)


if __name__ == "__main__":
    _watch(sys.argv[1], sys.argv[2], sys.argv[3:])
