"""`gpunet explain coalescing`: its figures are those of real kernels, as the emulator counts them; text and page."""

import json
import re

import numpy as np
import pytest

from gpunet.backend.kernels import BLOCK, kernel_source
from gpunet.cli import main
from gpunet.emulator import Module, record_traffic
from gpunet.explain.coalescing import CHANNELS, KERNEL, SIDE, readings
from gpunet.explain.page.coalescing import coalescing_page
from gpunet.explain.terminal_coalescing import coalescing_text
from gpunet.explain.words import LANGUAGES, words
from gpunet.functional import max_pool2d
from gpunet.tensor import tensor
from tests.browser import Page
from tests.test_kernels import STUDENTS, on_device
from tests.test_traffic import pytestmark as needs_counts

READINGS = {reading.name: reading for reading in readings()}
IMAGE = (1, SIDE, SIDE, CHANNELS)
NHWC = "offset_of(out.image, row, column, out.channel, height, width, channels)"
NCHW = "((out.image * channels + out.channel) * height + row) * width + column"


def counted(text):
    """What a student's max pooling reads of the image, one value a thread."""
    instance = "of_a_student<float, unsigned char>"
    module = Module(kernel_source("pooling") + text.replace(" max_pool2d_forward(", " of_a_student("), [instance])
    x, y = np.zeros(IMAGE, np.float32), np.zeros(np.prod(IMAGE) // KERNEL**2, np.float32)
    sizes = (SIDE, SIDE, CHANNELS, SIDE // 2, SIDE // 2, KERNEL, KERNEL, KERNEL, KERNEL, 0, 0, 1, 1, 0)
    numbers = [np.int64(y.size), *map(np.int32, sizes)]
    with record_traffic() as launches:
        module.launch(instance, (-(-y.size // BLOCK), 1, 1), (BLOCK, 1, 1), [x, y, y.astype(np.uint8), *numbers])
    return launches[0].arrays[0]


@needs_counts
@pytest.mark.parametrize(("name", "place"), [("nhwc", NHWC), ("nchw", NCHW)])
def test_figures_are_those_of_a_students_kernel(name, place):
    _, text = STUDENTS["max_pool2d_forward"]
    assert text.count(NHWC) == 1
    found, reading = counted(text.replace(NHWC, place)), READINGS[name]
    assert (found.asked, found.sectors, found.fewest_sectors) == (
        reading.asked,
        reading.sectors,
        reading.fewest_sectors,
    )


@needs_counts
def test_figures_are_those_of_the_shipped_kernel():
    def pool(x):
        return (max_pool2d(tensor(x).permute(0, 3, 1, 2), KERNEL).array,)

    with record_traffic() as launches:
        on_device(pool, np.zeros(IMAGE, np.float32))
    [launch] = launches
    found, reading = launch.arrays[0], READINGS["packs"]
    assert launch.kernel == "max_pool2d_forward<float, unsigned char, 4>"
    assert (found.asked, found.sectors, found.fewest_sectors) == (
        reading.asked,
        reading.sectors,
        reading.fewest_sectors,
    )


def test_the_first_request():
    """Lane t reads channel t, or channels 4t % 32 .. of pixel (0, 2 * (t // 8))."""
    assert [each.begins for each in READINGS["nhwc"].first] == [0, 32, 64, 96]
    assert [lane for each in READINGS["nhwc"].first for lane in each.lanes] == list(range(32))
    assert [each.begins for each in READINGS["nchw"].first] == [256 * lane for lane in range(32)]
    assert [each.lanes for each in READINGS["nchw"].first] == [(lane, *[None] * 7) for lane in range(32)]
    begins = [4 * (2 * (lane // 8) * CHANNELS + lane * 4 % 32) for lane in range(0, 32, 2)]
    assert [each.begins for each in READINGS["packs"].first] == begins
    assert [each.lanes for each in READINGS["packs"].first] == [
        (t, t, t, t, t + 1, t + 1, t + 1, t + 1) for t in range(0, 32, 2)
    ]
    assert [each.requests for each in READINGS.values()] == [64, 64, 16]


@pytest.mark.parametrize("language", LANGUAGES)
def test_text(language, capsys):
    assert main(["explain", "coalescing", "--lang", language]) == 0
    out = capsys.readouterr().out
    assert out == coalescing_text(words(language), lambda text, colour: text) + "\n"
    assert max(map(len, out.splitlines())) <= 80
    assert re.search(r"^  32:  8   9  10  11  12  13  14  15$", out, re.MULTILINE)
    assert re.search(r"^   256:  1   ·   ·   ·   ·   ·   ·   ·    4352: 17   ·", out, re.MULTILINE)
    flat = " ".join(out.split())
    assert ("touch 2048 sectors of 32 bytes, and 256 would do" in flat) == (language == "en")


def test_json(capsys):
    assert main(["explain", "coalescing", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["topic"] == "coalescing"
    assert [(each["name"], each["sectors"]) for each in told["readings"]] == [
        ("nhwc", 256),
        ("nchw", 2048),
        ("packs", 256),
    ]
    assert told["readings"][1]["first"][1] == {"begins": 256, "lanes": [1, *[None] * 7]}


@pytest.mark.parametrize("language", LANGUAGES)
def test_page(language, tmp_path, capsys):
    path = tmp_path / "page.html"
    assert main(["explain", "coalescing", "--html", str(path), "--lang", language]) == 0
    text = path.read_text("utf-8")
    assert text == coalescing_page(language)
    page = Page(text)
    assert page.all("html") == [{"lang": language}]
    assert page.all("a") == page.all("script") == []
    assert text.count('class="asked"') == 32 + 32 + 4 * 32
    assert text.count('class="sector"') == 4 + 32 + 16
    assert "<td>2048</td>" in text
