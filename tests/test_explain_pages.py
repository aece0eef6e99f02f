"""The pages of `gpunet explain`: files that are whole and need nothing else, and arithmetic that is gpunet's.

What runs in a browser is slow; each browser is started once and opens many pages, in frames as wide as a phone.
"""

import base64
import hashlib
import html
import json
import math
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import gpunet.functional as F
import gpunet.ops.dropout
from gpunet.backend import asarray, use_backend
from gpunet.errors import ArgumentError, FileError, GpunetError
from gpunet.explain import OPERATIONS, exercise, explain, lecture_exercise
from gpunet.explain import page as pages
from gpunet.explain.exercise import IMAGE_OPERATIONS, LOSSES
from gpunet.explain.grids import number
from gpunet.explain.operations import LECTURE
from gpunet.explain.page.build import document, operation_page, page_words
from gpunet.explain.page.state import page_data
from gpunet.explain.words import LANGUAGES, places_in
from gpunet.markup import tag
from gpunet.tensor import tensor
from tests.browser import Page, browser, contrast

FOLDER = Path(pages.__file__).parent
SCRIPTS = {path.name: path.read_text("utf-8") for path in FOLDER.glob("*.js")}
STYLE = (FOLDER / "page.css").read_text("utf-8")
IMAGES = IMAGE_OPERATIONS
WINDOWS = ("conv2d", "max_pool2d", "avg_pool2d")
MINUS, TIMES = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}"


@pytest.fixture(autouse=True)
def _on_numpy():
    with use_backend("numpy"):
        yield


@pytest.fixture(scope="module")
def lecture(tmp_path_factory):
    """The whole lecture in both languages: the folder."""
    folder = tmp_path_factory.mktemp("lecture") / "pages"
    assert pages.write_lecture(folder) == folder / "index.html"
    return folder


# Files


def test_every_operation_has_a_page_in_every_language(lecture):
    found = sorted(str(path.relative_to(lecture)) for path in lecture.rglob("*") if path.is_file())
    names = [f"{name}.html" for name in (*OPERATIONS, "coalescing", "index")]
    assert found == sorted(["index.html", *(f"{language}/{name}" for language in LANGUAGES for name in names)])


def test_one_language_needs_no_folder_of_its_own(tmp_path):
    assert pages.write_lecture(tmp_path, ["es"]) == tmp_path / "index.html"
    names = {f"{name}.html" for name in (*OPERATIONS, "coalescing", "index")}
    assert {path.name for path in tmp_path.iterdir()} == names
    text = (tmp_path / "conv2d.html").read_text("utf-8")
    assert Page(text).all("html") == [{"lang": "es"}]
    assert "English" not in Page(text[: text.index("<main")] + "</body></html>").texts


def test_pages_are_whole_and_come_from_nowhere_else(lecture):
    for path in lecture.rglob("*.html"):
        text = path.read_text("utf-8")
        page = Page(text)
        assert text.startswith("<!DOCTYPE html>\n")
        assert len(page.all("h1")) == 1
        assert "//" not in re.sub(r"<(script|style|pre)\b.*?</\1>", "", text, flags=re.DOTALL), (
            path
        )  # kernels have comments
        for name, attributes in page.tags:
            assert name not in ("link", "iframe", "object", "embed", "base", "form", "img")
            assert not {key for key in attributes if key.startswith("on") or key in ("src", "srcset", "style")}
        addresses = re.findall(r"https?://[^\s\"'`]+", text)
        assert set(addresses) <= {
            "http://www.w3.org/1998/Math/MathML",
            "http://www.w3.org/2000/svg",
        }  # names, not places
        assert not re.search(r"url\(|@import|\bfetch\(|XMLHttpRequest|\bimport\(|\beval\(|innerHTML|new Function", text)


def test_the_policy_allows_what_is_in_the_page_and_nothing_else(lecture):
    for path in lecture.rglob("*.html"):
        text = path.read_text("utf-8")
        (policy,) = [each["content"] for each in Page(text).all("meta") if "http-equiv" in each]
        rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
        assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
        assert "unsafe" not in policy
        for name, start in (("style-src", "<style>"), ("script-src", "<script>")):
            contents = re.findall(rf"{start}(.*?)</{start[1:]}", text, re.DOTALL)
            hashes = [base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in contents]
            assert rules[name] == (" ".join(f"'sha256-{each}'" for each in hashes) or "'none'")


def test_links_lead_to_pages(lecture):
    for path in lecture.rglob("*.html"):
        for attributes in Page(path.read_text("utf-8")).all("a"):
            assert (path.parent / attributes["href"]).is_file(), (path, attributes)
    way, name = [], "conv2d.html"
    while name is not None:
        way.append(name.removesuffix(".html"))
        page = Page((lecture / "es" / name).read_text("utf-8"))
        name = next((each["href"] for each in page.all("a") if each.get("rel") == "next"), None)
    assert tuple(way) == OPERATIONS
    switch = [each["href"] for each in page.all("a") if each.get("hreflang") == "en"]
    assert set(switch) == {f"../en/{OPERATIONS[-1]}.html"}


def test_nothing_that_is_given_becomes_markup():
    evil = "</script><script>alert('1')</script><!--"
    text = document(evil, "en", [tag("p", evil)], {"evil": evil}, ["arithmetic.js"])
    page = Page(text)
    assert [each.get("id") for each in page.all("script")] == ["exercise", None]
    (data,) = re.findall(r'id="exercise">(.*?)</script>', text)
    assert json.loads(data) == {"evil": evil}
    for name, script in SCRIPTS.items():
        assert "</" not in script, name
        assert "<!--" not in script, name


def test_a_single_page_has_no_links(tmp_path):
    out = pages.write_page(exercise("max_pool2d", kernel_size=3, stride=1), tmp_path / "page.html", "es")
    assert Page(out.read_text("utf-8")).all("a") == []


def test_where_nothing_can_be_written(tmp_path, monkeypatch):
    chosen = lecture_exercise("softmax")
    with pytest.raises(FileError, match="no folder"):
        pages.write_page(chosen, tmp_path / "nowhere" / "page.html")
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="cannot make the folder"):
        pages.write_lecture(tmp_path / "file")
    with pytest.raises(ArgumentError, match="language"):
        pages.write_page(chosen, tmp_path / "page.html", "fr")
    with pytest.raises(ArgumentError, match="language"):
        pages.write_lecture(tmp_path / "folder", ["es", "fr"])
    assert not (tmp_path / "folder").exists()  # nothing is begun that cannot be ended
    out = pages.write_page(chosen, tmp_path / "page.html")
    before = out.read_bytes()

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(FileError, match="No space left"):
        pages.write_page(lecture_exercise("sigmoid"), out)
    assert out.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "page.html"]


def test_the_kernels_are_those_of_the_sources(lecture):
    root = Path(gpunet.__file__).parents[1]
    for operation in ("conv2d", "max_pool2d", "adaptive_avg_pool2d", "batch_norm"):
        text = (lecture / "en" / f"{operation}.html").read_text("utf-8")
        shown = [html.unescape(each) for each in re.findall(r"<pre[^>]*><code>(.*?)</code></pre>", text, re.DOTALL)]
        launches = {each.kernel: each for each in explain(lecture_exercise(operation)).gpu.launches}
        assert len(shown) == len(launches)
        for code, launch in zip(shown, launches.values(), strict=True):
            source = (root / launch.file).read_text("utf-8")
            assert code in source
            assert code.count("{") == code.count("}") > 0
            assert f"{launch.kernel}(" in code
            assert "__global__" in code


# Words and colours


def test_both_languages_have_the_same_words():
    english, spanish = page_words("en"), page_words("es")
    assert set(english) == set(spanish)
    assert {key: places_in(text) for key, text in english.items()} == {key: places_in(t) for key, t in spanish.items()}
    same = {key for key, text in english.items() if text == spanish[key] and re.search("[a-z]{3}", text)}
    allowed = {"language.en", "language.es", "lecture.kicker", "stride", "padding", "gpu.kernel", "bytes"}
    assert same == allowed | {"coalescing.byte"}


def test_every_word_is_used_and_exists():
    known = set(page_words("en"))
    python = "".join(path.read_text("utf-8") for path in FOLDER.glob("*.py"))
    scripts = "".join(SCRIPTS.values())
    quoted = set(re.findall(r"[\"'`]([\w.]+)[\"'`]", python + scripts))
    made = {f"product_{view}" for view in ("output", "input_gradient", "weight_gradient")}
    made |= {f"language.{name}" for name in LANGUAGES} | {f"group.{each.group}" for each in LECTURE.values()}
    made |= {
        "group.memory",
        *(name for each in LECTURE for name in page_data(lecture_exercise(each), page_words("en"))["fields"]),
    }
    made |= {f"coalescing.{name}" for name in ("requests", "asked", "sectors", "fewest_sectors")}
    made |= {f"gpu.{name}" for name in ("kernel", "direction", "threads", "grid", "block", "shared")}
    assert known - quoted - made == set()
    asked = set(re.findall(r"\bword\(\"(\w+)\"", scripts)) | set(re.findall(r"labels[\[(]\"([\w.]+)\"", python))
    asked |= set(re.findall(r"\? \"((?:cell|problem)_\w+)\"", scripts))
    assert asked - known == set()


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_contrast(mode):
    """WCAG 2.2: 4.5 for text."""
    ground = [("#fdfdfc", "#f4f3ef"), ("#1a1a19", "#0d0d0d")][mode]  # of gpunet.report.style
    colours = dict(re.findall(r"--([\w-]+): (#\w{6});", re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)[mode]))
    for text in ("hue-one", "hue-two", "hue-three", "hue-four", "wrong"):
        for behind in (*ground, colours["cell"]):
            assert contrast(colours[text], behind) >= 4.5, (text, behind)
    ink = ["#0b0b0b", "#f6f5f1"][mode]
    assert re.search(r"const most = this.small \? 100 : (\d+)", SCRIPTS["grid.js"])[1] == "45"
    assert contrast(ink, mixed(colours["hue-one"], colours["cell"], 0.45)) >= 4.5  # on the darkest pixel of a digit


def mixed(one, other, share):
    """color-mix(in srgb, one share, other)."""
    parts = [[int(colour[place : place + 2], 16) for place in (1, 3, 5)] for colour in (one, other)]
    return "#" + "".join(f"{round(share * a + (1 - share) * b):02x}" for a, b in zip(*parts, strict=True))


# What gpunet computes


def run(function, *arrays, gradient=None):
    """The output of a function of Tensors, and the gradients by them, in float64 and as nested lists."""
    leaves = [tensor(np.asarray(array, np.float64), requires_grad=True) for array in arrays]
    output = function(*leaves)
    output.backward(None if gradient is None else tensor(np.asarray(gradient, np.float64)))
    return output.numpy(), [np.zeros(leaf.shape) if leaf.grad is None else leaf.grad.numpy() for leaf in leaves]


def near(found, expected, what=""):
    np.testing.assert_allclose(np.asarray(found, np.float64), expected, rtol=1e-9, atol=1e-9, err_msg=str(what))


def images(function, image, *others, gradient=None):
    """As `run`, for one image (C, H, W)."""
    upstream = None if gradient is None else np.asarray(gradient, np.float64)[None]
    output, (by_image, *by_others) = run(function, np.asarray(image, np.float64)[None], *others, gradient=upstream)
    return output[0] if output.ndim else output, [by_image[0], *by_others]


def with_draws(draws):
    """`dropout` with these numbers in place of random ones."""

    def function(x, p):
        with pytest.MonkeyPatch.context() as patch:  # drawn in the order of memory, (N, H, W, C)
            patch.setattr(gpunet.ops.dropout, "uniform_rows", lambda shape: asarray(np.moveaxis(draws, 0, -1)[None]))
            return F.dropout(x, p)

    return function


def loss(function, case):
    """A loss of the case's numbers and targets."""
    target = tensor(np.array(case["target"], np.float64))
    return run(lambda x: function(x, target), case["x"])


def window_settings(case, *names):
    return [tuple(case["window"][name]) for name in names]


def loss_of_network(x, first, second, matrix, bias, label):
    x = F.max_pool2d(F.relu(F.conv2d(x / 16, first, padding=1)), 2)
    x = F.max_pool2d(F.relu(F.conv2d(x, second, padding=1)), 2)
    return F.cross_entropy(F.linear(x.flatten(1), matrix, bias), tensor([label]))


REFERENCES = {
    "conv2d": lambda c: images(
        lambda x, w: F.conv2d(x, w, None, *window_settings(c, "stride", "padding", "dilation")),
        c["image"], c["filters"], gradient=c["gradient"],
    ),
    "max_pool2d": lambda c: images(
        lambda x: F.max_pool2d(x, *window_settings(c, "kernel", "stride", "padding", "dilation")),
        c["image"], gradient=c["gradient"],
    ),
    "avg_pool2d": lambda c: images(
        lambda x: F.avg_pool2d(
            x, *window_settings(c, "kernel", "stride", "padding"), count_include_pad=c["count_padding"]
        ),
        c["image"], gradient=c["gradient"],
    ),
    "adaptive_avg_pool2d": lambda c: images(
        lambda x: F.adaptive_avg_pool2d(x, tuple(c["size"])), c["image"], gradient=c["gradient"]
    ),
    "dropout": lambda c: images(
        lambda x: with_draws(np.asarray(c["draws"], np.float64))(x, c["p"]), c["image"], gradient=c["gradient"]
    ),
    "batch_norm": lambda c: images(
        lambda x, gamma, beta: F.batch_norm(x, None, None, gamma, beta, training=True, eps=c["eps"]),
        c["image"], c["gamma"], c["beta"], gradient=c["gradient"],
    ),
    "softmax": lambda c: run(F.softmax, c["x"], gradient=c["gradient"]),
    "sigmoid": lambda c: run(F.sigmoid, c["x"], gradient=c["gradient"]),
    "relu": lambda c: images(F.relu, c["image"], gradient=c["gradient"]),
    "residual_block": lambda c: images(
        lambda x, w, v: F.relu(F.conv2d(F.relu(F.conv2d(x, w, padding=1)), v, padding=1) + x),
        c["image"], c["filters"], c["second"], gradient=c["gradient"],
    ),
    "network": lambda c: images(
        lambda x, w, v, m, b: loss_of_network(x, w, v, m, b, int(np.argmax(c["target"]))),
        c["image"], c["filters"], c["second"], c["matrix"], c["bias"],
    ),
    "linear": lambda c: run(F.linear, c["x"], c["weight"], c["bias"], gradient=c["gradient"]),
    "cross_entropy": lambda c: loss(lambda x, t: F.cross_entropy(x.unsqueeze(0), t.unsqueeze(0)), c),
    "binary_cross_entropy": lambda c: loss(F.binary_cross_entropy, c),
    "kl_div": lambda c: loss(lambda q, p: F.kl_div(q.log(), p, reduction="sum"), c),
}  # fmt: skip

# The same cases in JavaScript: all values of the steps, and by `sums` what the terms that are spelled out add up to.
IN_PAGE = """
const runAll = (operation) => ({ grids, settings }) => {
  const numbers = Object.entries(settings).filter(([, value]) => typeof value === "number");
  const given = { ...Object.fromEntries(numbers.map(([key, value]) => [key, [[[value]]]])), ...grids };
  const steps = STEPS[operation], trees = Object.fromEntries(steps.map((step) => [step.name, step.tree]));
  const values = computeSteps(steps, given, settings), sums = {};
  for (const { name, tree } of steps) {
    if (!["by_input", "by_weight"].includes(tree[0])) continue;
    sums[name] = makePlanes(shapeOf(values[name]), (place) =>
      sumOfProducts(gradientTerms(tree, trees, values, settings, place)));
  }
  const rows = operation === "conv2d" && im2col(grids.input, settings), pixels = rows && rowsArePixels(settings);
  return { values, sums, rows, pixels };
};
const answers = Object.fromEntries(Object.entries(CASES).map(([name, cases]) => [name, cases.map(runAll(name))]));
document.documentElement.setAttribute("data-answer", JSON.stringify(answers));
"""
STEPS = {name: page_data(lecture_exercise(name), page_words("en"))["steps"] for name in OPERATIONS}


def as_state(operation, case):
    """A case as the page holds it: planes and settings."""
    if "image" not in case:
        rows = {
            "input": case["x"],
            "target": case["target"],
            "gradient": case["gradient"],
            "bias": case.get("bias", [0]),
        }
        grids = {name: [[row]] for name, row in rows.items()} | {"weight": [case.get("weight", [[0]])]}
        return {"grids": grids, "settings": {"count": len(case["x"])}}
    grids = {"input": case["image"], "gradient": case["gradient"], "uniform": case.get("draws")}
    if operation == "network":
        grids |= {"matrix": [case["matrix"]], "bias": [[case["bias"]]], "target": [[case["target"]]]}
    for name, filters in (("weight", case.get("filters")), ("second_weight", case.get("second"))):
        if filters is not None:
            grids[name] = np.reshape(filters, (-1, *np.shape(filters)[2:])).tolist()
    if operation == "batch_norm":
        grids |= {name: [[[each]] for each in case[of]] for name, of in (("weight", "gamma"), ("bias", "beta"))}
    if operation == "residual_block":
        grids["factors"] = [[[0.5, -0.25]]]
    settings = {"height": len(case["image"][0]), "width": len(case["image"][0][0]), "channels": len(case["image"])}
    settings |= case.get("window", {}) | {name: case[name] for name in ("p", "eps", "count_padding") if name in case}
    return {"grids": grids, "settings": settings | {"output_size": case.get("size")}}


def pairs(rng, low, high):
    return rng.integers(low, high + 1, 2).tolist()


def window_case(rng, operation):
    """A window that fits an image, both drawn; small whole numbers, so that there are ties."""
    fits = False
    while not fits:
        size, kernel, dilation = rng.integers(1, 9, 2), rng.integers(1, 5, 2), rng.integers(1, 4, 2)
        padding, stride = rng.integers(0, 4, 2), rng.integers(1, 4, 2)
        if operation == "avg_pool2d":
            dilation[:] = 1
        extent = dilation * (kernel - 1) + 1
        out = (size + 2 * padding - extent) // stride + 1
        fits = (extent <= size + 2 * padding).all() and (out <= 12).all()
        if operation != "conv2d":  # no window may see nothing but padding, between its elements either
            fits &= (2 * padding <= extent).all() and (size >= dilation).all()
    channels, outputs = rng.integers(1, 4, 2)
    case = {"image": rng.integers(0, 4, (channels, *size)).tolist(), "count_padding": bool(rng.integers(2))}
    if operation == "conv2d":
        case["filters"] = rng.standard_normal((outputs, channels, *kernel)).tolist()
    case["window"] = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    case["window"] = {name: each.tolist() for name, each in case["window"].items()}
    case["gradient"] = rng.standard_normal((outputs if operation == "conv2d" else channels, *out)).tolist()
    return case


def image_case(rng, operation):
    shape = (rng.integers(1, 4), *(rng.integers(1, 8, 2) + (operation == "batch_norm")))
    case = {"image": rng.normal(1, 3, shape).tolist(), "gradient": rng.standard_normal(shape).tolist()}
    if operation == "relu":
        return case
    if operation == "network":
        case = {"image": rng.integers(0, 17, (1, 8, 8)).tolist(), "target": np.eye(10)[rng.integers(10)].tolist()}
        shapes = {"filters": (4, 1, 3, 3), "second": (4, 4, 3, 3), "matrix": (10, 16), "bias": 10}
        return case | {name: rng.standard_normal(shape).tolist() for name, shape in shapes.items()} | {"gradient": None}
    if operation == "residual_block":
        case |= {name: rng.standard_normal((shape[0], shape[0], 3, 3)).tolist() for name in ("filters", "second")}
        case["window"] = {"kernel": [3, 3], "stride": [1, 1], "padding": [1, 1], "dilation": [1, 1]}
    elif operation == "adaptive_avg_pool2d":
        case["size"] = pairs(rng, 1, 9)
        case["gradient"] = rng.standard_normal((shape[0], *case["size"])).tolist()
    elif operation == "dropout":
        case |= {"draws": rng.random(shape).tolist(), "p": float(rng.choice([0, 0.25, 0.5, 0.9, 1]))}
    else:
        case |= {"gamma": rng.standard_normal(shape[0]).tolist(), "beta": rng.standard_normal(shape[0]).tolist()}
        case["eps"] = float(rng.choice([1e-5, 0.5]))
    return case


def vector_case(rng, operation):
    count = int(rng.integers(2, 9))
    x = rng.normal(0, rng.choice([1, 10, 300]), count)
    target = rng.dirichlet(np.ones(count)) if rng.integers(2) else np.eye(count)[rng.integers(count)]
    if operation == "kl_div":
        x = rng.dirichlet(np.ones(count)) + 1e-6
    elif operation == "binary_cross_entropy":
        x, target = rng.uniform(1e-6, 1 - 1e-6, count), rng.choice([0.0, 1.0, 0.3], count)
    case = {"x": x.tolist(), "target": target.tolist(), "gradient": rng.standard_normal(count).tolist()}
    if operation == "linear":
        outputs = int(rng.integers(1, 6))
        for name, shape in (("weight", (outputs, count)), ("bias", outputs), ("gradient", outputs)):
            case[name] = rng.standard_normal(shape).tolist()
    return case


def cases_of(rng, operation):
    if operation in WINDOWS:
        return [window_case(rng, operation) for _ in range(60)]
    count = {"network": 1, "residual_block": 8}.get(operation, 30)
    return [(image_case if operation in IMAGES else vector_case)(rng, operation) for _ in range(count)]


CASES = {name: cases_of(np.random.default_rng(place), name) for place, name in enumerate(OPERATIONS)}


# In a browser


@pytest.fixture(scope="module")
def browse(tmp_path_factory):
    return browser(tmp_path_factory.mktemp)


def answer_of(shown):
    text, console = shown
    assert console == []
    return json.loads(Page(text).all("html")[0]["data-answer"])


@pytest.fixture(scope="module")
def in_page(browse, tmp_path_factory):
    """What the page's arithmetic makes of all the cases."""
    path = tmp_path_factory.mktemp("arithmetic") / "page.html"
    cases = {name: [as_state(name, case) for case in each] for name, each in CASES.items()}
    data = f"const CASES = {json.dumps(cases)}, STEPS = {json.dumps(STEPS)};"
    script = f"{SCRIPTS['arithmetic.js']}\n{data}\n{IN_PAGE}"
    path.write_text(f'<!DOCTYPE html><html><meta charset="utf-8"><script>{script}</script></html>', "utf-8")
    return answer_of(browse(path))


@pytest.mark.slow
@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_arithmetic_of_the_page_is_gpunets(in_page, operation):
    for case, found in zip(CASES[operation], in_page[operation], strict=True):
        output, gradients = REFERENCES[operation](case)
        values = found["values"]
        near(np.reshape(values["output"], output.shape), output, case)
        names = [name for name in BY if f"{name}_gradient" in values]
        for name, expected in zip(names, gradients, strict=True):
            near(np.reshape(values[f"{name}_gradient"], expected.shape), expected, (name, case))
        for name, summed in found["sums"].items():
            near(summed, values[name], (name, case))


BY = ("input", "weight", "second_weight", "matrix", "bias")  # in this order the references give their gradients


@pytest.mark.slow
def test_numbers_are_written_as_on_a_terminal(browse, tmp_path):
    rng = np.random.default_rng(0)
    numbers = [
        *(10.0 ** rng.uniform(-7, 8, 300) * rng.choice([-1, 1], 300)),
        0,
        1,
        -17,
        123456789,
        1e9,
        0.1,
        1 / 3,
        0.5,
    ]
    numbers += [1.0625, -1.0625, 9.99996, 0.001, 0.00099999, 999999.5, 1e6 + 0.5, 12345.6, 5e-324]
    path = tmp_path / "numbers.html"
    show = SCRIPTS["elements.js"][SCRIPTS["elements.js"].index("function show") :].partition("\n}\n")[0] + "\n}"
    script = f"{show}\nconst shown = {json.dumps(numbers)}.map(show);"
    script += 'document.documentElement.setAttribute("data-answer", JSON.stringify(shown));'
    path.write_text(f'<!DOCTYPE html><html><meta charset="utf-8"><script>{script}</script></html>', "utf-8")
    shown = answer_of(browse(path))
    assert [text.replace(MINUS, "-") for text in shown] == [number(each) for each in numbers]


@pytest.mark.slow
def test_the_matrices_of_the_page_are_gpunets(in_page):
    for case, found in zip(CASES["conv2d"], in_page["conv2d"], strict=True):
        window = case["window"]
        made = explain(
            exercise(
                "conv2d", input=case["image"], weight=case["filters"],
                **{name: window[name] for name in ("stride", "padding", "dilation")},
            )
        ).matrices  # fmt: skip
        near(found["rows"], made.windows)
        assert found["pixels"] == (made.windows_bytes == 0)


# Whole pages

DRIVER = """
const control = (name, place) => `[data-grid="${name}"] [data-place="${place}"] :is(input, button)`;

function numbers(figure) {
  const planes = [];
  for (const cell of figure.querySelectorAll("[data-place]:not(.outside)")) {
    const [p, row, column] = cell.dataset.place.split(",");
    ((planes[p] ??= [])[row] ??= [])[column] = Number(cell.dataset.value);
  }
  return planes;
}

function look(d) {
  const all = (selector) => [...d.querySelectorAll(selector)];
  const text = (selector) => d.querySelector(selector)?.textContent;
  const cells = (selector) => all(`:is(#stage, #below) ${selector}`).map((cell) =>
    [cell.closest("[data-grid]").dataset.grid, cell.dataset.place]);
  const settings = {};
  for (const each of all("[data-field]")) {
    const value = each.type === "checkbox" ? each.checked : Number(each.value.replace(",", "."));
    (settings[each.dataset.field] ??= []).push(value);
  }
  return {
    settings, grids: Object.fromEntries(all("[data-grid]").map((figure) => [figure.dataset.grid, numbers(figure)])),
    touched: cells(".touched"), chosen: cells(".chosen"), lines: all("[data-grid=rows] .touched").length,
    notes: all("#stage .note").map((note) => note.textContent).filter(Boolean),
    sum: text("#sum"), result: Number(d.querySelector("#sum .result")?.dataset.value), formulas: text("#formulas"),
    problem: text("#problem"), notices: text("#notices"), wrong: all("[aria-invalid=true]").length,
    messages: all(".cell-problem:not([hidden])").map((each) => each.textContent),
    where: text(".where"), sizes: text("#product-sizes"), text: d.querySelector("#workbench").innerText,
    view: d.querySelector("#views :checked")?.value, focused: d.activeElement?.closest("[data-place]")?.dataset.place,
  };
}

function type(d, selector, text) {
  const input = d.querySelector(selector);
  input.focus();
  input.value = text;
  input.dispatchEvent(new Event("input", { bubbles: true }));
}
function set(d, name, text) {
  for (const each of d.querySelectorAll(`[data-field=${name}]`)) type(d, `#${each.id}`, text);
}
function press(d, key, selector = "body") {
  d.querySelector(selector).dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
}
function pick(d, selector, value) {
  const select = d.querySelector(selector);
  select.value = value;
  select.dispatchEvent(new Event("change"));
}
const click = (d, selector) => d.querySelector(selector).click();
const wait = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

onload = async () => {
  const frames = [...document.querySelectorAll("iframe")];
  const d = Object.fromEntries(frames.map((frame) => [frame.name, frame.contentDocument]));
  const answer = await (async () => { SCRIPT })();
  document.documentElement.setAttribute("data-answer", JSON.stringify(answer));
};
"""


def drive(browse, folder, texts, script, width=1280, height=900, **options):
    """Open pages in frames, as they are and with their policy, and run a script; `d.NAME` are their documents."""
    size = f"width:{width}px; height:{height}px"
    frames = "".join(
        f'<iframe name="{name}" style="border:0; {size}" srcdoc="{html.escape(text)}"></iframe>'
        for name, text in texts.items()
    )
    path = folder / "driver.html"
    head = '<!DOCTYPE html><html style="color-scheme: light dark"><meta charset="utf-8">'
    path.write_text(f"{head}<body>{frames}<script>{DRIVER.replace('SCRIPT', script)}</script></body></html>", "utf-8")
    return answer_of(browse(path, **options))


SOME_EXERCISES = {
    "conv2d": [
        {"input": (2, 5, 6), "kernel_size": (3, 2), "out_channels": 3, "stride": (2, 1), "padding": (1, 2)},
        {"input": (7, 7), "kernel_size": 2, "dilation": 3, "padding": 1, "chosen": (2, 3)},
        {"input": (3, 4, 4), "kernel_size": 1, "out_channels": 2},
    ],
    "max_pool2d": [
        {"input": (2, 6, 5), "kernel_size": 3, "stride": 2, "padding": 1},
        {"input": (8, 8), "kernel_size": 2, "stride": 1, "dilation": 2},
    ],
    "avg_pool2d": [{"input": (2, 7, 5), "kernel_size": (3, 2), "stride": (1, 2), "padding": (1, 1)}],
    "adaptive_avg_pool2d": [{"input": (2, 7, 5), "output_size": (4, 3)}, {"input": (3, 3), "output_size": 5}],
    "dropout": [{"input": (2, 3, 5), "p": 0.3, "seed": 3}],
    "relu": [{"input": [[[-1, 2]], [[0, -3]]]}],
    "residual_block": [{"input": (2, 3, 5), "chosen": (1, 2, 3)}],
    "network": [{"input": "digit 8", "target": 2}],
    "linear": [{"input": [1, -2], "weight": [[1, 2], [3, 4], [5, 6]], "bias": [0, 1, -1], "chosen": (2,)}],
    "batch_norm": [{"input": (3, 2, 4), "weight": [1, -2, 0.5], "bias": [0, 3, -1], "eps": 0.5, "gradient": "normal"}],
    "softmax": [{"input": [0.5, -3, 2, 7, 7], "chosen": (3,)}],
    "sigmoid": [{"input": [-9, 0.25, 4]}],
    "cross_entropy": [{"target": [0.1, 0.2, 0.3, 0.4]}, {"input": [1, 2, 3], "target": 0}],
    "binary_cross_entropy": [{"input": [0.999, 0.5], "target": [0.2, 1]}],
    "kl_div": [{"input": [0.25, 0.75], "target": [0.5, 0.5]}],
}


def exercises():
    made = {f"lecture_{operation}": lecture_exercise(operation) for operation in OPERATIONS}
    for operation, list_of_settings in SOME_EXERCISES.items():
        for place, settings in enumerate(list_of_settings):
            if settings.get("gradient") == "normal":
                shape = settings["input"]
                settings = {**settings, "gradient": np.random.default_rng(0).standard_normal(shape).tolist()}
            made[f"{operation}_{place}"] = exercise(operation, **settings)
    return made


@pytest.mark.slow
def test_pages_show_what_gpunet_computes(browse, tmp_path):
    made = exercises()
    texts = {name: operation_page(each, "en") for name, each in made.items()}
    script = "return Object.fromEntries(Object.entries(d).map(([name, page]) => [name, look(page)]));"
    for name, shown in drive(browse, tmp_path, texts, script).items():
        one, grids = made[name], shown["grids"]
        explained = explain(one)
        near(np.reshape(grids["output"], explained.output.shape), explained.output)
        shape = explained.gradients["input"].shape
        near(np.reshape(grids["input_gradient"], shape), explained.gradients["input"], name)
        near(np.reshape(grids["input"], shape), one.input, name)
        for by in BY:
            if f"{by}_gradient" in grids:
                expected = explained.gradients[by]
                near(np.reshape(grids[f"{by}_gradient"], expected.shape), expected, (name, by))
        for key, planes in grids.items():  # all that is shown, step by step
            if key in {**LECTURE[one.operation].grids, **LECTURE[one.operation].trees}:
                near(np.array(planes), explained.products.values[key], (name, key))
        if one.operation not in LOSSES:
            near(shown["result"], explained.output[one.chosen], name)
        padded = [0] * (3 - len(one.chosen)) + list(one.chosen)
        assert [place for _, place in shown["chosen"]] == [",".join(map(str, padded))], name
        if explained.steps and explained.sizes is not None:
            for size in explained.sizes:
                numbers = f"{size.input}+2·{size.padding}{MINUS}"
                assert numbers in shown["formulas"].replace(" ", ""), name
                assert f"⌋+1={size.output}" in shown["formulas"].replace(" ", ""), name


# A walk: changes one after the other, and after each the page as it stands. "padding 1" is typed into that field,
# "input 0,1,2 1,5" into that cell of a grid; a word alone is a button, or a setting that is switched.
WALKS = {
    "conv2d": f"input 0,1,2 1,5; weight 0,1,0 -2.25; padding 1; stride 2; gradient 0,1,1 {MINUS}3; kernel 3; "
    "channels 2; filters 3; weight 5,0,1 4; dilation 2; height 9; width 3; kernel 5; padding 6; padding 3; random; "
    "channels 1; dilation 1; kernel 1; padding 0; stride 1; reset",
    "max_pool2d": "digit=5; reset; input 0,0,0 3; input 0,0,1 3.0; stride 1; gradient 0,0,1 .5; padding 1; padding 2; "
    "kernel 4; dilation 2; padding 3; height 1; height 12; padding 2; random; width 11; channels 3",
    "avg_pool2d": "stride 1; padding 1; count_padding; gradient 0,2,0 7; kernel 3; random; kernel 9; reset",
    "adaptive_avg_pool2d": "output_size 2; width 7; gradient 0,1,1 -1; output_size 12; random; channels 2",
    "relu": "input 0,0,0 -4; gradient 0,1,1 5; channels 2; random; height 6",
    "residual_block": "input 0,0,0 -4; weight 0,1,1 2; second_weight 0,0,0 -3; gradient 0,1,1 5; factors 0,0,1 0.7; "
    "layers 3; channels 2; width 6; random; height 1; reset",
    "network": "label 0; digit=9; digit=4; label 7; reset",
    "linear": "input 0,0,1 -4; weight 0,1,1 2.5; bias 0,0,1 3; gradient 0,0,1 5; count 5; outputs 4; random; outputs 1",
    "dropout": "p 0.25; uniform 0,0,3 0.25; gradient 0,0,3 8; p 0; p 1; p 0,5; draw; height 6; random",
    "batch_norm": "weight 0,0,0 2; bias 0,0,0 -1; eps 0.5; channels 2; weight 1,0,0 3; random; height 1; "
    "width 1; width 3",
    "softmax": "input 0,0,1 2.5; gradient 0,0,2 -4; count 7; random",
    "sigmoid": "input 0,0,1 -30; gradient 0,0,1 2; count 1; random",
    "cross_entropy": "label 0; input 0,0,3 9; target 0,0,3 0.5; normalise; count 6; random; label 5",
    "binary_cross_entropy": "input 0,0,0 0.001; target 0,0,1 0.4; count 8; random",
    "kl_div": "target 0,0,0 0.2; normalise; input 0,0,1 0; input 0,0,1 0.3; random; count 3; input 0,0,2 0.5",
}
WALKS = {operation: walk.split("; ") for operation, walk in WALKS.items()}


def action(page, step):
    """A step as JavaScript."""
    words = step.split(" ")
    if step.startswith("digit="):
        return f"pick({page}, '[data-do=digit]', '{step.removeprefix('digit=')}')"
    if len(words) == 3:
        return f"type({page}, control('{words[0]}', '{words[1]}'), '{words[2]}')"
    if len(words) == 2:
        return f"set({page}, '{words[0]}', '{words[1]}')"
    return f"click({page}, '[data-do={step}], [type=checkbox][data-field={step}]')"


@pytest.fixture(scope="module")
def walks(browse, tmp_path_factory):
    """The pages of the lecture after each step of their walks."""
    with use_backend("numpy"):
        texts = {operation: operation_page(lecture_exercise(operation), "es") for operation in OPERATIONS}
    script = "const seen = {};\n"
    for operation, steps in WALKS.items():
        page = f"d.{operation}"
        script += f"seen.{operation} = [];\n"
        for step in steps:
            script += f"{action(page, step)};\nseen.{operation}.push(look({page}));\n"
    return drive(browse, tmp_path_factory.mktemp("walks"), texts, script + "return seen;")


def case_of(operation, seen):
    """What the page shows as its input, as a case for the references."""
    grids, settings = seen["grids"], {name: values[0] for name, values in seen["settings"].items()}
    case = {"image": grids["input"], "gradient": grids.get("gradient"), **settings}
    if operation == "network":
        made = lecture_exercise("network")
        case |= {"filters": made.weight, "second": made.second_weight, "matrix": made.matrix, "bias": made.bias}
        return case | {"target": np.ravel(grids["target"])}
    if operation not in IMAGES:
        row = {name: grids[name][0][0] for name in ("input", "target", "gradient", "bias") if name in grids}
        return {"x": row["input"], **row, "weight": grids.get("weight", [None])[0]}
    if operation in WINDOWS:
        names = ("kernel", "stride", "padding", "dilation")
        case["window"] = {name: [settings.get(name, 1)] * 2 for name in names}
    if operation == "conv2d":
        kernel = settings["kernel"]
        case["filters"] = np.reshape(grids["weight"], (settings["filters"], settings["channels"], kernel, kernel))
    elif operation == "adaptive_avg_pool2d":
        case["size"] = [settings["output_size"]] * 2
    elif operation == "dropout":
        case["draws"] = grids["uniform"]
    elif operation == "residual_block":
        shape = (settings["channels"], settings["channels"], 3, 3)
        case |= {"filters": np.reshape(grids["weight"], shape), "second": np.reshape(grids["second_weight"], shape)}
    elif operation == "batch_norm":
        case |= {"gamma": np.ravel(grids["weight"]), "beta": np.ravel(grids["bias"])}
    return case


def is_refused(operation, case):
    """Whether gpunet's own exercises refuse these settings."""
    settings = {"input": case.get("image", case.get("x"))}
    if operation in WINDOWS:
        settings |= case["window"]
        settings["kernel_size"] = settings.pop("kernel")
        if operation == "avg_pool2d":
            del settings["dilation"]
    elif operation == "kl_div":
        settings["target"] = case["target"]
    try:
        exercise(operation, **settings)
    except GpunetError:
        return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_a_reader_changes_changes_output_and_gradient(walks, operation):
    refused = 0
    for step, seen in zip(WALKS[operation], walks[operation], strict=True):
        case = case_of(operation, seen)
        if operation in WINDOWS or operation == "batch_norm":
            assert bool(seen["problem"]) == is_refused(operation, case), step
        assert "NaN" not in seen["text"], step
        assert "undefined" not in seen["text"], step
        assert seen["wrong"] == 0, step
        if seen["problem"]:
            refused += 1
            assert seen["grids"].get("output", []) == [], step
            continue
        output, gradients = REFERENCES[operation](case)
        near(np.reshape(seen["grids"]["output"], output.shape), output, step)
        names = [f"{name}_gradient" for name in BY if f"{name}_gradient" in seen["grids"]]
        for name, expected in zip(names, gradients, strict=True):
            near(np.reshape(seen["grids"][name], expected.shape), expected, (step, name))
    assert refused == {"conv2d": 2, "max_pool2d": 3, "avg_pool2d": 1, "batch_norm": 1, "kl_div": 1}.get(operation, 0)


@pytest.mark.slow
def test_the_walk_of_the_convolution(walks):
    """What was typed has arrived, and formula, matrix and sizes follow."""
    steps = dict(zip(WALKS["conv2d"], walks["conv2d"], strict=True))
    assert steps["input 0,1,2 1,5"]["grids"]["input"][0][1][2] == 1.5
    assert steps[f"gradient 0,1,1 {MINUS}3"]["grids"]["gradient"][0][1][1] == -3
    before, after = steps["padding 1"], steps["stride 2"]
    assert f"4+2·1{MINUS}1·(2{MINUS}1){MINUS}1" in after["formulas"].replace(" ", "")
    assert "⌋+1=5" in before["formulas"].replace(" ", "")
    assert "⌋+1=3" in after["formulas"].replace(" ", "")
    assert np.shape(before["grids"]["rows"]) == (1, 25, 4)
    assert np.shape(after["grids"]["rows"]) == (1, 9, 4)
    assert f"(9 {TIMES} 4) · (4 {TIMES} 1)" in after["sizes"]
    assert "144 bytes" in after["sizes"]
    near(np.ravel(after["grids"]["product"]), np.ravel(after["grids"]["output"]))
    assert "ancho: con tamaño 5 y dilatación 2 abarca 9" in steps["kernel 5"]["problem"]
    assert steps["reset"]["grids"]["input"] == [[[1, 2, 1, 0], [2, 3, 1, 1], [3, 0, 0, 2], [1, 1, 2, 3]]]
    assert steps["reset"]["grids"]["output"] == [[[8, 9, 4], [8, 3, 3], [6, 4, 7]]]


@pytest.mark.slow
def test_the_sum_of_a_distribution_is_told(walks):
    steps = dict(zip(WALKS["cross_entropy"], walks["cross_entropy"], strict=True))
    assert "suma 1.5 y no 1" in steps["target 0,0,3 0.5"]["notices"]
    assert steps["normalise"]["notices"] == ""
    assert steps["label 5"]["grids"]["target"] == [[[0, 0, 0, 0, 0, 1]]]
    steps = dict(zip(WALKS["kl_div"], walks["kl_div"], strict=True))
    assert "infinita" in steps["input 0,0,1 0"]["problem"]


@pytest.mark.slow
def test_filters_keep_their_channels_when_there_are_more(browse, tmp_path):
    texts = {"page": operation_page(exercise("conv2d", input=(2, 4, 4), out_channels=2), "en")}
    script = "const seen = look(d.page); set(d.page, 'channels', '3'); return [seen, look(d.page)];"
    before, after = (np.array(seen["grids"]["weight"]) for seen in drive(browse, tmp_path, texts, script))
    assert (before.shape, after.shape) == ((4, 2, 2), (6, 2, 2))
    np.testing.assert_array_equal(after.reshape(2, 3, 2, 2)[:, :2], before.reshape(2, 2, 2, 2))


def test_filters_and_channels_are_counted_apart():
    """2 filters of 3 channels are 2 x 3 x 3 x 3, not 6 planes of 3 x 3; and each element has its own four indices."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no Node.js to be found")
    grid = SCRIPTS["grid.js"]
    script = f"""const fake = () => ({{
        append() {{}}, replaceChildren() {{}}, addEventListener() {{}}, setAttribute() {{}},
        querySelector: () => null, classList: {{ add() {{}}, toggle() {{}} }}, style: {{}}, dataset: {{}} }});
      const made = [], make = (name, attributes = {{}}, ...children) => {{
        const element = Object.assign(fake(), {{ name, attributes, children }});
        made.push(element);
        return element;
      }};
      const makeButton = (attributes) => make("button", attributes), named = String, show = String, word = String;
      {SCRIPTS["arithmetic.js"]}{grid}
      const weight = makePlanes([6, 3, 3], () => 1);
      const shown = new Grid("weight", {{ symbol: "F", hue: "two", choose: () => null }});
      const layout = {{ down: 3, channels: 3 }};
      shown.update(weight, layout);
      const labels = made.filter(({{ name }}) => name === "button").map(({{ attributes }}) => attributes["aria-label"]);
      console.log(JSON.stringify([shown.size.textContent, labels]));"""
    done = subprocess.run([node, "-e", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    size, labels = json.loads(done.stdout)
    assert size == f" {TIMES} ".join("2333")
    assert labels == [f"F[{o},{c},{i},{j}]" for o, c, i, j in np.ndindex(2, 3, 3, 3)]


@pytest.mark.slow
def test_the_numbers_of_the_start_come_back(browse, tmp_path):
    """Also those of a filter that has had fewer channels, and of a target that has been a class."""
    made = {
        "conv": exercise("conv2d", **SOME_EXERCISES["conv2d"][0]),
        "entropy": exercise("cross_entropy", target=[0.1, 0.2, 0.3, 0.4]),
        "drop": lecture_exercise("dropout"),
    }
    script = """
    const opened = Object.values(d).map((page) => look(page).grids);
    set(d.conv, "channels", "1"); set(d.conv, "filters", "4"); set(d.conv, "stride", "3"); set(d.entropy, "label", "0");
    set(d.drop, "height", "2"); click(d.drop, "[data-do=draw]");
    const changed = Object.values(d).map((page) => look(page).grids);
    for (const page of Object.values(d)) click(page, "[data-do=reset]");
    return [opened, changed, Object.values(d).map((page) => look(page).grids)];
    """
    texts = {name: operation_page(each, "en") for name, each in made.items()}
    for opened, changed, back in zip(*drive(browse, tmp_path, texts, script), strict=True):
        assert opened == back
        assert opened != changed


@pytest.mark.slow
def test_the_curve_of_binary_cross_entropy_has_no_ends_that_are_not_there(browse, tmp_path):
    """It leaves the picture at the top, where it is infinite, and is not flat there; every point is on its curve."""
    made = [
        exercise("binary_cross_entropy", input=y, target=t) for y, t in (([0.9, 0.2], [1, 0]), ([1e-9, 0.5], [1, 1]))
    ]
    texts = {f"page{place}": operation_page(each, "en") for place, each in enumerate(made)}
    script = """return Object.values(d).map((page) => ({
      paths: [...page.querySelectorAll("#picture path")].map((each) => each.getAttribute("d")),
      dots: [...page.querySelectorAll("#picture circle")].map((each) => Number(each.getAttribute("cy"))) }));"""
    left, right, top, bottom = 54, 404, 16, 186
    for drawn, one, largest in zip(drive(browse, tmp_path, texts, script), made, (4, 22), strict=True):
        assert len(drawn["paths"]) == 2
        for path, right_class in zip(drawn["paths"], (1, 0), strict=True):
            places = np.array([list(map(float, each.split())) for each in path[1:].split("L")])
            share, loss = (places[:, 0] - left) / (right - left), (bottom - places[:, 1]) / (bottom - top) * largest
            likely = share if right_class else 1 - share
            for each, height in zip(likely, loss, strict=True):  # to a hundredth of a pixel along either axis
                low, high = -math.log(min(each + 1e-4, 1)), -math.log(max(each - 1e-4, 1e-12))
                assert low - 0.01 <= height <= high + 0.01
            assert loss.max() == pytest.approx(largest, abs=0.01)
            assert (np.sort(loss)[-2:] < largest - 0.01).any()  # not two points at the top
        terms = [-t * math.log(y) - (1 - t) * math.log(1 - y) for y, t in zip(one.input, one.target, strict=True)]
        heights = (bottom - np.array(drawn["dots"])) / (bottom - top) * largest
        np.testing.assert_allclose(heights, terms, rtol=1e-9)


# Stepping, choosing, keys, and what cannot be read


@pytest.fixture(scope="module")
def stepped(browse, tmp_path_factory):
    """The convolution of the lecture, in English, after each of some actions."""
    script = """
    const p = d.page, seen = {};
    const see = (name) => { seen[name] = look(p); };
    see("start");
    click(p, "[data-do=next]"); see("next");
    click(p, "[data-do=back]"); click(p, "[data-do=back]"); see("around");
    click(p, "[data-do=first]"); press(p, "ArrowRight"); press(p, "ArrowRight"); press(p, "ArrowLeft"); see("keys");
    const slider = p.querySelector("[type=range]");
    slider.value = 5; slider.dispatchEvent(new Event("input")); see("slider");
    click(p, control("output", "0,2,1")); see("click");
    p.querySelector(control("output", "0,2,1")).focus();
    press(p, "ArrowUp", control("output", "0,2,1")); see("up");
    click(p, control("input_gradient", "0,1,2")); see("input");
    click(p, control("weight_gradient", "0,1,0")); see("weight");
    click(p, "[value=output]"); see("forward");
    p.querySelector(control("input", "0,0,0")).focus();
    press(p, "ArrowRight", control("input", "0,0,0")); seen.moved = look(p).focused;
    press(p, "ArrowDown", control("input", "0,0,1")); seen.moved_down = look(p).focused;
    p.activeElement.blur();
    press(p, " ");
    seen.playing = p.querySelector("[data-do=play]").getAttribute("aria-label");
    await wait(2500); see("played"); press(p, " "); await wait(2500); see("paused");
    type(p, control("input", "0,0,0"), "one"); see("no_number");
    type(p, control("weight", "0,0,0"), ""); see("two_wrong");
    type(p, control("weight", "0,0,0"), "1"); type(p, control("input", "0,0,0"), "99999"); see("too_large");
    type(p, control("input", "0,0,0"), "1.5e0"); see("mended");
    set(p, "stride", "0"); see("no_stride");
    set(p, "stride", "1.5"); see("half_stride");
    set(p, "stride", "two"); see("word");
    set(p, "stride", "1"); see("stride");
    type(p, control("input", "0,0,0"), "x"); click(p, "[data-do=reset]"); see("reset");
    seen.network = p.defaultView.performance.getEntriesByType("resource").length;
    seen.stops = p.querySelectorAll("[data-grid=input] [tabindex='0']").length;
    const named = (each) => each.getAttribute("aria-label") || each.labels?.length || each.textContent.trim();
    seen.unlabelled = [...p.querySelectorAll("input, button, select")].filter((each) => !named(each)).length;
    return seen;
    """
    with use_backend("numpy"):
        texts = {"page": operation_page(lecture_exercise("conv2d"), "en")}
    return drive(browse, tmp_path_factory.mktemp("steps"), texts, script, seconds=30)


def chosen(seen):
    return [place for _, place in seen["chosen"]]


@pytest.mark.slow
def test_stepping(stepped):
    assert [chosen(stepped[name]) for name in ("start", "next", "around", "keys", "slider", "click", "up")] == [
        [place] for place in ("0,0,0", "0,0,1", "0,2,2", "0,0,1", "0,1,2", "0,2,1", "0,1,1")
    ]
    assert stepped["next"]["sum"] == "O[0,1] = 2·1 + 1·0 + 3·2 + 1·1 = 9"
    assert stepped["next"]["where"] == "2 / 9"
    window = {("input", place) for place in ("0,0,1", "0,0,2", "0,1,1", "0,1,2")}
    filters = {("weight", place) for place in ("0,0,0", "0,0,1", "0,1,0", "0,1,1")}
    assert set(map(tuple, stepped["next"]["touched"])) == window | filters
    assert stepped["next"]["notes"] == [f"{TIMES}{factor}" for factor in (1, 0, 2, 1)]
    assert stepped["next"]["lines"] == 4  # one row of im2col


@pytest.mark.slow
def test_the_way_back(stepped):
    seen = stepped["input"]
    assert seen["view"] == "input_gradient"
    assert seen["sum"] == "∂L/∂I[1,2] = 1·1 + 1·2 + 1·0 + 1·1 = 4"
    fed = {place for grid, place in seen["touched"] if grid == "output"}
    assert fed == {"0,0,1", "0,0,2", "0,1,1", "0,1,2"}  # windows of 2x2 that see pixel (1, 2)
    assert seen["lines"] == 4  # places in im2col
    seen = stepped["weight"]
    assert seen["view"] == "weight_gradient"
    assert seen["sum"].endswith("= 13")
    assert seen["sum"].count("·") == 9
    assert seen["lines"] == 9  # a column of im2col
    assert stepped["forward"]["view"] == "output"


@pytest.mark.slow
def test_keys_and_play(stepped):
    assert stepped["moved"] == "0,0,1"
    assert stepped["moved_down"] == "0,1,1"
    assert stepped["playing"] == "pause"
    assert stepped["played"]["where"] == "3 / 9"  # one element a second
    assert stepped["paused"]["where"] == "3 / 9"
    assert stepped["stops"] == 1


@pytest.mark.slow
def test_what_cannot_be_read_is_explained_and_changes_nothing(stepped):
    good = [[[8, 9, 4], [8, 3, 3], [6, 4, 7]]]
    seen = stepped["no_number"]
    assert seen["messages"] == ["I[0,0]: “one” is not a number. The page goes on with 1."]
    assert (seen["wrong"], seen["grids"]["output"]) == (1, good)
    assert len(stepped["two_wrong"]["messages"]) == 2
    assert "empty" in stepped["two_wrong"]["messages"][1]
    assert "too large" in stepped["too_large"]["messages"][0]
    assert stepped["mended"]["messages"] == []
    assert stepped["mended"]["grids"]["output"] == [[[8.5, 9, 4], [8, 3, 3], [6, 4, 7]]]
    assert "between 1 and 12" in stepped["no_stride"]["messages"][0]
    assert "whole number" in stepped["half_stride"]["messages"][0]
    assert "“two” is not a number." in stepped["word"]["messages"][0]
    assert np.shape(stepped["word"]["grids"]["output"]) == (1, 3, 3)
    assert (stepped["stride"]["wrong"], stepped["stride"]["messages"]) == (0, [])
    assert (stepped["reset"]["wrong"], stepped["reset"]["grids"]["output"]) == (0, good)


@pytest.mark.slow
def test_nothing_is_fetched_and_every_control_has_a_name(stepped):
    assert stepped["network"] == 0
    assert stepped["unlabelled"] == 0


# How it looks


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("width", [1280, 390], ids=["desktop", "phone"])
def test_pages_fit_and_speak_one_language(browse, lecture, tmp_path, language, width, dark):
    folder = lecture / language
    texts = {path.stem: path.read_text("utf-8") for path in folder.glob("*.html")}
    large = {"input": (2, 12, 12), "kernel_size": 3, "padding": 1, "out_channels": 2}
    texts["large"] = operation_page(exercise("conv2d", **large), language)
    script = """
    const measure = (page) => {
      const width = page.defaultView.innerWidth, style = page.defaultView.getComputedStyle(page.body);
      const all = (selector) => [...page.querySelectorAll(selector)];
      const own = ".scroll, #stage, #views, nav, svg, script, style, pre"; // these scroll by themselves
      const free = all("body *").filter((each) => !each.closest(own));
      const beyond = free.filter((each) => each.getBoundingClientRect().right > width + 0.5);
      return {
        width, scroll: page.documentElement.scrollWidth, beyond: beyond.map((each) => each.outerHTML.slice(0, 80)),
        cut: all("#stage .number").filter((each) => each.scrollWidth > each.clientWidth + 1).length,
        ground: style.backgroundColor, text: page.body.innerText };
    };
    return Object.fromEntries(Object.entries(d).map(([name, page]) => [name, measure(page)]));
    """
    for name, seen in drive(browse, tmp_path, texts, script, width, dark=dark).items():
        assert seen["width"] == seen["scroll"] == width, name
        assert (seen["beyond"], seen["cut"]) == ([], 0), name
        brightness = sum(map(int, re.findall(r"\d+", seen["ground"])[:3]))
        assert (brightness < 100) if dark else (brightness > 600)
        assert not re.search(r"undefined|NaN|\[object|\{\w+\}", seen["text"]), name
        assert not set(re.findall(r"[\w.]+", seen["text"])) & {key for key in page_words(language) if "_" in key}, name
        other = {"en": "Por qué importa", "es": "Why it matters"}[language]
        assert other not in seen["text"], name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "height"), [(390, 844), (844, 390), (1280, 900)], ids=["phone", "landscape", "desktop"]
)
def test_the_numbers_come_first_and_letters_are_large_enough(browse, lecture, tmp_path, width, height):
    """On the first screen stands a whole grid; a phone has the settings folded, and a player that is small."""
    names = [path.stem for path in (lecture / "en").glob("*.html") if path.stem not in ("index", "coalescing")]
    texts = {name: (lecture / "en" / f"{name}.html").read_text("utf-8") for name in names}
    script = """
    const measure = (page) => {
      const view = page.defaultView, small = [], walk = page.createTreeWalker(page.body, NodeFilter.SHOW_TEXT);
      while (walk.nextNode()) {
        const text = walk.currentNode, element = text.parentElement;
        if (!text.textContent.trim() || element.closest("script, style, .unseen, noscript")) continue;
        let size = parseFloat(view.getComputedStyle(element).fontSize);
        const picture = element.closest("svg");
        if (picture) size *= picture.getBoundingClientRect().width / picture.viewBox.baseVal.width;
        if (size > 0 && size < 12) small.push(`${size} ${text.textContent}`);
      }
      const box = (selector) => page.querySelector(selector).getBoundingClientRect();
      return { small, grid: box("#stage .cells").bottom, open: page.querySelector("#controls").open,
        player: box("#player").height, settings: box("#settings").top, stage: box("#stage").top };
    };
    return Object.fromEntries(Object.entries(d).map(([name, page]) => [name, measure(page)]));
    """
    seen = drive(browse, tmp_path, texts, script, width, height=height)
    for name, found in seen.items():
        assert found["small"] == [], name
        assert found["grid"] < height, name
        assert found["open"] == (width == 1280), name
        if width != 1280:
            assert found["player"] < 50, name


@pytest.mark.slow
def test_a_digit_is_shown_as_a_picture(browse, tmp_path):
    texts = {"page": operation_page(lecture_exercise("conv2d"), "en")}
    script = """pick(d.page, "[data-do=digit]", "7");
    const shades = [...d.page.querySelectorAll("[data-grid=input] .shaded")].map((each) =>
      parseInt(each.style.getPropertyValue("--share")));
    return [look(d.page), shades[0], Math.max(...shades)];"""
    seen, corner, darkest = drive(browse, tmp_path, texts, script)
    image = exercise("conv2d", input="digit 7").input
    assert seen["grids"]["input"] == image.tolist()
    assert np.shape(seen["grids"]["output"]) == (1, 7, 7)
    assert (corner, darkest) == (0, 45)


@pytest.mark.slow
def test_every_number_of_the_network_can_be_chosen(browse, tmp_path):
    """From the probability down to a pixel and a weight; the sum says what it is made of, and the places are marked."""
    texts = {"page": operation_page(lecture_exercise("network"), "en")}
    script = """
    const p = d.page, seen = {};
    const choose = (grid, place) => { click(p, control(grid, place)); seen[grid] = look(p); };
    choose("probabilities", "0,0,3"); choose("logits", "0,0,3"); choose("second_pool", "3,1,1");
    choose("second", "2,1,3"); choose("first_relu", "1,4,4"); choose("first", "1,4,4");
    choose("weight_gradient", "1,2,0"); choose("input", "0,4,4");
    return seen;"""
    seen = drive(browse, tmp_path, texts, script)
    values = explain(lecture_exercise("network")).products.values
    for grid, found in seen.items():
        view = "input_gradient" if grid == "input" else grid  # a pixel leads to the gradient by it
        assert found.get("view") in (view, None), grid
        ((chosen_grid, place),) = found["chosen"]
        assert chosen_grid == view
        near(found["result"], values[view][tuple(map(int, place.split(",")))], grid)
    assert len([place for name, place in seen["second"]["touched"] if name == "first_pool"]) == 4 * 6  # at the edge
    assert ["second_pool", "3,1,1"] in seen["logits"]["touched"]
    assert ["first_gradient", "1,0,0"] in seen["weight_gradient"]["touched"]
    assert seen["first"]["sum"].startswith("a₁[1,4,4] = ")
