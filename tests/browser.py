"""What tests of HTML pages share: pages and pictures taken apart, the contrast of colours, and a browser."""

from __future__ import annotations

import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

VOID = {"meta", "br", "img", "link", "input", "hr", "wbr"}

Browse = Callable[..., tuple[str, list[str]]]


class Page(HTMLParser):
    """A page taken apart; every tag must be closed in its place."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.tags, self.texts = [], [], {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, name, attributes):
        assert len({key for key, _ in attributes}) == len(attributes), (name, attributes)
        self.tags.append((name, dict(attributes)))
        if name not in VOID:
            self.open.append((name, dict(attributes).get("id")))

    def handle_startendtag(self, name, attributes):
        raise AssertionError(f"<{name}/> is no HTML")

    def handle_endtag(self, name):
        assert self.open.pop()[0] == name

    def handle_data(self, data):
        for _, identity in self.open:
            if identity:
                self.texts[identity] = self.texts.get(identity, "") + data

    def all(self, name):
        return [attributes for tag_name, attributes in self.tags if tag_name == name]

    def with_id(self, identity):
        (found,) = [attributes for _, attributes in self.tags if attributes.get("id") == identity]
        return found


def contrast(one: str, two: str) -> float:
    """The contrast of two colours, #rrggbb, as WCAG 2.2 defines it: from 1 to 21."""
    light, dark = sorted((_luminance(one), _luminance(two)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def read_png(content: bytes) -> np.ndarray:
    """A PNG file as this package writes it, taken apart by the specification: its pixels (H, W, channels)."""
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, position = [], 8
    while position < len(content):
        (length,) = struct.unpack_from(">I", content, position)
        kind, body = content[position + 4 : position + 8], content[position + 8 : position + 8 + length]
        (check,) = struct.unpack_from(">I", content, position + 8 + length)
        assert check == zlib.crc32(kind + body)
        chunks.append((kind, body))
        position += 12 + length
    assert [kind for kind, _ in chunks] == [b"IHDR", b"IDAT", b"IEND"]
    width, height, depth, colour, *rest = struct.unpack(">IIBBBBB", chunks[0][1])
    assert (depth, rest) == (8, [0, 0, 0])
    channels = {0: 1, 4: 2, 2: 3, 6: 4}[colour]
    rows = np.frombuffer(zlib.decompress(chunks[1][1]), np.uint8).reshape(height, 1 + width * channels)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape(height, width, channels)


def browser(make_folder: Callable[[str], Path]) -> Browse:
    """Opens a page in headless Chromium: the document as it stands there, and what was written to the console.

    Skips the test where there is no Chromium.
    """
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("there is no Chromium to be found")

    def open_page(path: Path, dark: bool = False, seconds: float = 0) -> tuple[str, list[str]]:
        """`seconds` is how long the page's own clock runs before the document is looked at; waiting takes no time."""
        flags = [
            "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--enable-logging=stderr",
            f"--user-data-dir={make_folder('profile')}", "--window-size=1300,900",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}", "--dump-dom",
            *([f"--virtual-time-budget={1000 * seconds:.0f}"] if seconds else []),
        ]  # fmt: skip
        done = subprocess.run([program, *flags, path.as_uri()], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]

    return open_page
