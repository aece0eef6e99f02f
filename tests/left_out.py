"""What a run of the tests has left out, why, and what would run it: a line at its end."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

NEEDS = [  # what a test needs, how the reason for a skip names it, and how to get it
    ("a GPU", "cupy", "pip install -e '.[cuda13]' on a machine with one, then pytest -m gpu"),
    ("NVRTC", "NVRTC", "pip install -e '.[verify]'"),
    ("g++", r"g\+\+|compiler|CPU kernels|emulator", "apt install g++, then pip install again"),
    ("PyTorch", r"import 'torch", "pip install torch"),
    ("torchvision", "torchvision", "pip install -e '.[torchvision]'"),
    ("timm", "timm", "pip install -e '.[timm]'"),
    ("Sphinx", r"import '(sphinx|furo|myst_parser)'", "pip install -e '.[docs]'"),
    ("packages", r"import '|pooch|not installed", "pip install -e '.[test,full]'"),
    ("Chromium", "Chromium", "apt install chromium"),
    ("Node.js", r"Node\.js", "apt install nodejs"),
]
OTHERS = "for other reasons (pytest -rs names them)"  # such as another system, or that it would show nothing new


def left_out(reasons: Iterable[str], slow: int = 0) -> str:
    """In one line.

    Args:
        reasons: of each test that was skipped.
        slow: how many were not even begun, because they are marked as slow.
    """
    counts = Counter(map(_why, reasons))
    parts = [f"{count:,} {why}" for why, count in counts.most_common()]
    if slow:
        parts.append(f"{slow:,} are slow (pytest -m slow)")
    return f"left out: {'; '.join(parts)}" if parts else ""


def _why(reason: str) -> str:
    needed = (f"need {need} ({remedy})" for need, words, remedy in NEEDS if re.search(words, reason, re.IGNORECASE))
    return next(needed, OTHERS)
