"""Where and when a run was made: what a report says of it, and what nobody could find out afterwards."""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
import re
from pathlib import Path
from typing import Any

from gpunet.backend import active_backend, get_num_threads, xp

__all__ = ["checkout_commit", "environment", "processor_name"]

PACKAGE = Path(__file__).parent.parent
_LARGEST = 1 << 20  # bytes of a file that is asked for a name or a commit


def environment() -> dict[str, Any]:
    """The date, the machine and the sources, as texts and numbers for the files of a run; None is what is not known."""
    return {
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "system": platform.platform(),
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "threads": get_num_threads(),
        "device": _device_name() if active_backend() == "cupy" else None,
        "commit": checkout_commit(PACKAGE.parent),
    }


def checkout_commit(folder: Path) -> str | None:
    """The commit that is checked out in a folder, read from git's files; None where it is no checkout.

    Whether files have been changed since is not looked into.
    """
    git = folder / ".git"
    if git.is_file():  # a worktree: the file says where its own files are
        git = folder / _text(git).removeprefix("gitdir:").strip()
    head = _text(git / "HEAD")
    reference = head.removeprefix("ref:").strip()
    if head.startswith("ref:"):
        common = git / (_text(git / "commondir") or ".")
        packed = re.search(rf"^(\w+) {re.escape(reference)}$", _text(common / "packed-refs"), re.MULTILINE)
        reference = _text(common / reference) or (packed[1] if packed else "")
    return reference if re.fullmatch("[0-9a-f]{40,64}", reference) else None


def _device_name() -> str:
    """The name of the GPU."""
    name: bytes = xp.cuda.runtime.getDeviceProperties(xp.cuda.Device().id)["name"]
    return name.decode(errors="replace")


def processor_name() -> str | None:
    """The name that the processor gives itself: Linux knows it, other systems know the family at least."""
    named = re.search(r"^model name\s*:\s*(.+)$", _text(Path("/proc/cpuinfo")), re.MULTILINE)
    return named[1] if named else platform.processor() or platform.machine() or None


def _text(path: Path) -> str:
    """What a small file holds; nothing where there is none."""
    with contextlib.suppress(OSError), path.open(encoding="utf-8", errors="replace") as file:
        return file.read(_LARGEST).strip()
    return ""
