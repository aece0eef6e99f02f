"""The site builds without a warning, its links lead somewhere, its search finds what is asked, it needs no network."""

import functools
import http.server
import inspect
import os
import re
import subprocess
import sys
import threading
import urllib.parse
from html.parser import HTMLParser
from pathlib import Path

import pytest

import gpunet.data.transforms
import gpunet.models
from gpunet import errors, functional, nn, optim
from tests.browser import browser

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
QUESTIONS = {
    "how does conv2d work here": "conv2d.html",
    "why is my loss NaN": "nan.html",
    "how do I use my own images": "own_images.html",
    "does it use my GPU": "gpu.html",
    "how do I add a layer": "own_layer.html",
    "resume": "resume.html",
    "own operation": "own_operation.html",
    "cuda kernel without gpu": "kernels.html",
}


class Links(HTMLParser):
    """What a page leads to, what it loads, and the places in it."""

    def __init__(self, text):
        super().__init__()
        self.links, self.loaded, self.places, self.pictures = [], [], set(), []
        self.feed(text)

    def handle_starttag(self, name, attributes):
        values = dict(attributes)
        self.places |= {values[key] for key in ("id", "name") if values.get(key)}
        if name == "a" and values.get("href"):
            self.links.append(values["href"])
        if name in ("script", "img", "iframe") and values.get("src"):
            self.loaded.append(values["src"])
        if name == "link" and "stylesheet" in values.get("rel", ""):
            self.loaded.append(values["href"])
        if name == "img":
            self.pictures.append(values)


def build(out):
    """As `.ci/run` does it."""
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", str(DOCS), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """What GPUNET_SITE names, where somebody has just built it, or a new one."""
    pytest.importorskip("sphinx")
    pytest.importorskip("furo")
    pytest.importorskip("myst_parser")
    made = os.environ.get("GPUNET_SITE")
    return Path(made).resolve() if made else build(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def pages(site):
    """Sphinx's own; those of the lecture and the report have tests of their own."""
    paths = [path for path in site.rglob("*.html") if path.relative_to(site).parts[0] not in ("lecture", "report.html")]
    return {path: Links(path.read_text(encoding="utf-8")) for path in paths}


def in_markdown():
    return {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md")}


@pytest.mark.slow
def test_every_page_is_there(site):
    assert [name for name in in_markdown() if not (site / f"{name}.html").is_file()] == []
    assert (site / "report.html").is_file()
    assert {path.name for path in (site / "lecture" / "en").glob("*.html")} >= {"conv2d.html", "max_pool2d.html"}


@pytest.mark.slow
def test_links_lead_to_places(site, pages):
    wrong = []
    for path, page in pages.items():
        for link in page.links + page.loaded:
            address, _, place = link.partition("#")
            if re.match(r"https?:|mailto:|data:", address):
                continue
            target = (path.parent / urllib.parse.unquote(address.partition("?")[0])).resolve() if address else path
            there = pages[target].places if target in pages else {place}
            if not target.exists() or (place and urllib.parse.unquote(place) not in there):
                wrong.append(f"{path.relative_to(site)}: {link}")
    assert wrong == []


@pytest.mark.slow
def test_links_into_the_sources_lead_to_the_line(site, pages):
    """The line that a guide names is there, and has the name: what was changed since would be another line."""
    guide = (site / "conv2d.html").read_text(encoding="utf-8")
    linked = re.findall(r'href="(sources/[^"#]+)\.html#L-(\d+)"[^>]*><code[^>]*><span[^>]*>([\w.]+)<', guide)
    assert len(linked) >= 4
    for name, line, text in linked:
        source = (ROOT / name.removeprefix("sources/")).read_text(encoding="utf-8").splitlines()[int(line) - 1]
        assert text.partition(".")[0] in source, (name, line)


@pytest.mark.slow
def test_nothing_is_loaded_from_elsewhere(site, pages):
    wrong = [
        f"{path}: {name}" for path, page in pages.items() for name in page.loaded if re.match(r"(https?:)?//", name)
    ]
    assert wrong == []
    styles = list(site.rglob("*.css"))
    assert styles
    for path in styles:
        assert not re.search(r"url\([\"']?(?:https?:)?//|@import", path.read_text(encoding="utf-8")), path


@pytest.mark.slow
def test_pictures_have_words(pages):
    pictures = [picture for page in pages.values() for picture in page.pictures]
    assert len(pictures) > 10
    assert [picture for picture in pictures if not picture.get("alt")] == []


@pytest.mark.slow
def test_spanish_pages_say_so(site):
    assert re.search(r'<html[^>]* lang="es"', (site / "es" / "start.html").read_text(encoding="utf-8"))
    assert re.search(r'<html[^>]* lang="en"', (site / "start.html").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_the_reference_has_all_that_is_public(site):
    """Each name that PyTorch's users know, or that a package of gpunet for users lists."""
    from sphinx.util.inventory import InventoryFile

    with (site / "objects.inv").open("rb") as file:
        inventory = InventoryFile.load(file, "", lambda base, name: name)
    known = {name for kind in inventory for name in inventory[kind]}
    wrong = []
    for module in (
        functional,
        nn,
        nn.init,
        nn.utils,
        optim,
        gpunet.data,
        gpunet.data.transforms,
        gpunet.models,
        errors,
    ):
        names = [
            name
            for name in module.__all__
            if inspect.isfunction(value := getattr(module, name)) or inspect.isclass(value)
        ]
        wrong += [f"{module.__name__}.{name}" for name in names if f"{module.__name__}.{name}" not in known]
    assert wrong == []


@pytest.mark.slow
def test_the_reference_leads_to_the_sources(site):
    """From a class to the line that begins it."""
    text = (site / "api" / "nn.html").read_text(encoding="utf-8")
    linked = re.findall(r'id="gpunet\.nn\.(\w+)">.*?href="\.\./sources/(\S+)\.html#L-(\d+)"', text, flags=re.DOTALL)
    assert len(linked) > 50
    for name, path, line in linked:
        lines = (ROOT / path).read_text(encoding="utf-8").splitlines()[int(line) - 1 :]
        first = next(each for each in lines if not each.startswith("@"))
        assert re.match(rf"(class|def) {name}\b", first), name


# --------------------------------------------------------------------------------------------------------- a browser


@pytest.fixture(scope="module")
def served(site):
    """The address of the site on this machine."""
    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Writes no log."""

    def log_message(self, *words):
        """Nothing."""


class Address(str):
    """An address where the browser of the other tests takes a path."""

    def as_uri(self):
        return str(self)


@pytest.fixture(scope="module")
def browse(tmp_path_factory):
    return browser(tmp_path_factory.mktemp)


@pytest.mark.slow
@pytest.mark.parametrize("question", QUESTIONS)
def test_the_search_finds_the_page(question, served, browse):
    text, _ = browse(Address(f"{served}/search.html?q={urllib.parse.quote_plus(question)}"), seconds=8)
    found = re.findall(r'<li class="[^"]*"><a href="([^"?#]+)', text[text.index('id="search-results"') :])
    assert QUESTIONS[question] in list(dict.fromkeys(found))[:3], found[:10]


@pytest.mark.slow
@pytest.mark.parametrize("page", ["index.html", "start.html", "lecture.html", "es/start.html", "api/nn.html"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_browser_has_nothing_to_complain_about(page, dark, site, browse):
    text, complaints = browse(site / page, dark=dark, seconds=2)
    assert "</footer>" in text
    assert complaints == []
