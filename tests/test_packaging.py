"""What is in the packages that users install: built as they would be, from a copy of the sources."""

import configparser
import email
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from gpunet.version import __version__
from tests.test_versions import PAIRS

ROOT = Path(__file__).parents[1]
KERNELS = sorted(path.name for path in (ROOT / "raw_kernels").iterdir() if path.suffix in (".cu", ".cuh"))


def data_files():
    """Everything that is not a module, under the names that it has in the wheel."""
    inside = [path.relative_to(ROOT) for path in (ROOT / "gpunet").rglob("*") if path.is_file()]
    inside = [path for path in inside if path.suffix not in (".py", ".pyc")]
    inside = [path for path in inside if not any(part.startswith(".") for part in path.parts)]  # caches of tools
    return {path.as_posix() for path in inside} | {f"gpunet/raw_kernels/{name}" for name in KERNELS}


def packages_in_setup_cfg():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config["options"]["packages"].split()


def test_every_package_stands_in_setup_cfg():
    """The list is written by hand, because `find:` would leave raw_kernels out."""
    folders = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "gpunet").rglob("__init__.py")}
    assert sorted(packages_in_setup_cfg()) == sorted({*folders, "gpunet.raw_kernels", "gpunet.raw_kernels.cpu"})


def test_every_folder_with_modules_is_a_package():
    folders = {path.parent for path in (ROOT / "gpunet").rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The wheel and the sdist; the wheel is built from what is in the sdist."""
    for needed in ("build", "setuptools"):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed")
    source = tmp_path_factory.mktemp("source") / "gpunet"
    left_out = shutil.ignore_patterns(".*", "*.egg-info", "__pycache__", "build", "dist", "runs")
    shutil.copytree(ROOT, source, ignore=left_out)  # building leaves files behind, and may find old ones
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source)]
    quick = tmp_path_factory.mktemp("compiler") / "g++"  # what the libraries compute is not looked at here
    quick.write_text('#!/bin/sh\nexec g++ "$@" -O0\n')
    quick.chmod(0o755)
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, "CXX": str(quick)})
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
    return wheel, sdist


@pytest.fixture(scope="module")
def wheel_names(built):
    with zipfile.ZipFile(built[0]) as file:
        return set(file.namelist())


@pytest.fixture(scope="module")
def sdist_names(built):
    with tarfile.open(built[1]) as file:
        return {name.partition("/")[2] for name in file.getnames()}


def test_the_wheel_holds_every_module(wheel_names):
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "gpunet").rglob("*.py")}
    assert sorted(modules - wheel_names) == []


def test_the_wheel_holds_kernels_and_data(wheel_names):
    assert {"gpunet/raw_kernels/pooling.cu", "gpunet/data/digits.safetensors", "gpunet/py.typed"} <= data_files()
    assert sorted(data_files() - wheel_names) == []


def test_the_wheel_holds_nothing_else(wheel_names):
    strangers = [name for name in wheel_names if not name.startswith("gpunet/") and ".dist-info/" not in name]
    assert strangers == []
    endings = {Path(name).suffix for name in wheel_names if name.startswith("gpunet/")}
    sources = {".py", ".cu", ".cuh", ".h", ".hpp", ".cpp"}
    assert endings <= {*sources, ".so", ".safetensors", ".typed", ".json", ".css", ".js"}
    assert [name for name in wheel_names if "test_" in name or "__pycache__" in name] == []


def test_the_wheel_is_for_every_python_of_a_platform(built):
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")  # for which the CPU kernels are compiled
    assert built[0].name.endswith((f"-py3-none-{platform}.whl", "-py3-none-any.whl"))


def test_the_wheel_names_licence_and_command(built, wheel_names):
    (entry_points,) = [name for name in wheel_names if name.endswith("entry_points.txt")]
    assert [name for name in wheel_names if name.endswith("licenses/LICENSE")]
    with zipfile.ZipFile(built[0]) as file:
        assert "gpunet = gpunet.cli:main" in file.read(entry_points).decode()
        (metadata,) = [name for name in wheel_names if name.endswith(".dist-info/METADATA")]
        required = [line for line in file.read(metadata).decode().splitlines() if line.startswith("Requires-Dist")]
    required = [line for line in required if "extra ==" not in line and "python_version" not in line]  # tomli for 3.10
    always = sorted(line.split()[1].partition(">")[0] for line in required)
    assert always == ["numpy", "safetensors", "threadpoolctl", "tqdm"]  # CuPy, above all, is a choice


def test_the_sdist_holds_what_a_build_needs(sdist_names):
    kernels = {f"raw_kernels/{name}" for name in [*KERNELS, "__init__.py"]}
    others = {"setup.cfg", "pyproject.toml", "LICENSE", "README.md"}
    others |= {name for name in data_files() if "raw_kernels" not in name}
    assert sorted((kernels | others) - sdist_names) == []


def test_the_sdist_holds_all_that_is_under_version_control(sdist_names):
    """But what is for this repository alone: its checks, and what it ignores."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("this is no repository")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    expected = {name for name in listed if (ROOT / name).is_file() and not name.startswith(".")}
    assert sorted(expected - sdist_names) == []
    made = {"PKG-INFO"} | {name for name in sdist_names if name.startswith("gpunet.egg-info")}
    strangers = [name for name in sdist_names - expected - made if Path(name).suffix]
    untracked = subprocess.run(
        ["git", "ls-files", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    assert sorted(set(strangers) - set(untracked)) == []


def description(wheel):
    """The metadata of a wheel."""
    with zipfile.ZipFile(wheel) as file:
        (name,) = [name for name in file.namelist() if name.endswith(".dist-info/METADATA")]
        return email.message_from_bytes(file.read(name))


def test_an_index_is_shown_no_link_that_it_would_break(built):
    """Without the address of a repository, which nobody but a publisher knows, what leads to files is plain words."""
    text = description(built[0]).get_payload()
    assert re.search(r"\]\(https://", text)
    assert re.findall(r"\]\((?!https?:|#)", text) == []
    assert description(built[0]).get_all("Project-URL") is None


def test_a_publisher_says_where_links_lead(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("GPUNET_REPOSITORY", "https://example.org/someone/gpunet/")
    setup = importlib.util.module_from_spec(
        importlib.util.spec_from_file_location("setup_of_gpunet", ROOT / "setup.py")
    )
    setup.__spec__.loader.exec_module(setup)
    linked = re.findall(r"\]\(https://example.org/someone/gpunet/blob/v([\d.]+)/([^)#]+)", setup.long_description())
    assert linked
    assert {version for version, _ in linked} == {__version__}
    assert [path for _, path in linked if not (ROOT / path).exists()] == []
    assert setup.project_urls()["Issues"] == "https://example.org/someone/gpunet/issues"


def test_the_pythons_that_are_named_are_those_that_are_allowed_and_tried(built):
    classifiers = description(built[0]).get_all("Classifier")
    named = {each.rpartition(" ")[2] for each in classifiers if re.search(r":: 3\.\d+$", each)}
    assert {python for python, _ in PAIRS} < named
    assert min(named, key=lambda python: int(python.partition(".")[2])) == "3.10"
    assert "Requires-Python: >=3.10" in str(description(built[0]))
    wheels = re.search(r'^build = "cp3{([\d,]+)}-', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert {f"3.{minor}" for minor in wheels[1].split(",")} == named


def test_the_citation_is_of_this_version():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {__version__}\n" in citation
    assert re.search(r"^cff-version: 1\.2\.0\n", citation)
    assert {line.partition(":")[0] for line in citation.splitlines() if line[0] not in " "} >= {
        "message",
        "title",
        "authors",
    }


def test_the_workflow_calls_what_everybody_can_call():
    assert "run: bash .ci/run" in (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")


@pytest.mark.slow
def test_twine_has_nothing_to_say(built):
    pytest.importorskip("twine")
    command = [sys.executable, "-m", "twine", "check", "--strict", *map(str, built)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_installed_wheel_works(built, tmp_path):
    target = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet", "--target", str(target)]
    subprocess.run([*pip, str(built[0])], check=True, capture_output=True, timeout=120)
    code = """
import gpunet, gpunet.cli, gpunet.raw_kernels
from pathlib import Path
from gpunet.backend.kernels import kernel_names, kernel_source

for module in (gpunet, gpunet.raw_kernels):
    assert Path(module.__file__).is_relative_to(Path.cwd() / "site"), module.__file__
assert "pooling" in kernel_names(), kernel_names()
assert "__global__" in kernel_source("pooling")
assert len(gpunet.data.Digits()) == 1437
print(gpunet.cli.main(["evaluate", "nowhere"]))
"""
    environment = {**os.environ, "PYTHONPATH": str(target), "GPUNET_BACKEND": "numpy"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "1\n", done.stderr
