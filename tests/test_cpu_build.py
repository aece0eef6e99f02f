"""The library of the CPU kernels: how it is built, found and refused; Python and C++ agree on every argument."""

import importlib
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import types
import zipfile
from pathlib import Path

import pytest

import gpunet.ops
from gpunet.backend import cpu_library
from gpunet.backend.cpu_kernels import KERNELS
from gpunet.errors import BackendError

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "raw_kernels" / "cpu"

pytestmark = pytest.mark.skipif(not cpu_library.on_tried_platform(), reason="CPU kernels are built on Linux x86-64")
needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++")


# Python and C++ agree


FIELD = re.compile(r"(const )?(\w+)(\s*[*]?\s*\w+(?:\s*,\s*[*]?\s*\w+)*);")


def structs():
    """For each struct its fields, [(type, name), ...]: the declarations in front of its first function."""
    text = re.sub(r"//[^\n]*", "", "\n".join(path.read_text(encoding="utf-8") for path in sorted(SOURCES.glob("*.h"))))
    found = {}
    for name, body in re.findall(r"struct (\w+)[^{;]*{(.*?)\n};", text, re.S):
        fields = []
        for line in body.splitlines():
            if line.strip().startswith("static"):  # belongs to the type, not to the arguments
                continue
            if "(" in line or line.strip().startswith(("struct", "template")):
                break
            for const, kind, names in FIELD.findall(line.strip()):
                shared = names.lstrip().startswith("*") and names.count("*") == 1 and "," in names
                for each in names.split(","):
                    pointer = "*" if "*" in each or shared else ""
                    fields.append((f"{const}{kind}{pointer}", each.strip(" *")))
        found[name] = fields
    return found


def declared_in_cpp():
    """For each kernel known to Python the fields of its struct, with those of structs within it."""
    known = structs()

    def fields(struct, argument):
        for kind, name in known[struct]:
            if kind in known:
                yield from fields(kind, argument)
            else:
                yield kind.replace("Winner", argument), name

    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(SOURCES.glob("*.h")))
    kernels = re.findall(r"^KERNEL\((\w+), (\w+)(?:<([\w ]+)>)?\)", text, re.M)
    return {name: list(fields(struct, argument)) for name, struct, argument in kernels}


def test_every_kernel_is_declared_as_its_source_says():
    """Pointers by type and name, numbers by how many there are: C++ gathers those of a window in a struct."""
    for module in (
        "gpunet.bench.peak",
        *(each.name for each in pkgutil.iter_modules(gpunet.ops.__path__, "gpunet.ops.")),
    ):
        importlib.import_module(module)
    cpp, python = declared_in_cpp(), {name: each for name, each in KERNELS.items() if not name.startswith("test_")}
    assert sorted(python) == sorted(cpp)
    for name, kernel in python.items():
        declared = [field.strip().rsplit(" ", 1) for field in kernel.signature.split(",")]
        pointers = [(kind.replace("?", ""), field) for kind, field in declared if "*" in kind]
        assert pointers == [(kind, field) for kind, field in cpp[name] if "*" in kind], name
        numbers = [kind for kind, _ in declared if "*" not in kind]
        assert numbers == [kind for kind, _ in cpp[name] if "*" not in kind], name


# What was built


@pytest.fixture
def library():
    if cpu_library.library() is None:
        pytest.skip("no CPU kernels were built")
    return cpu_library._file(cpu_library.build_name())


def test_the_library_exports_its_kernels_and_nothing_else(library):
    if shutil.which("nm") is None:
        pytest.skip("there is no nm")
    listed = subprocess.run(["nm", "-D", "--defined-only", str(library)], capture_output=True, text=True, check=True)
    symbols = {line.split()[-1] for line in listed.stdout.splitlines()}
    assert symbols == {*declared_in_cpp(), "run_on_threads", "source_hash"}


def test_the_library_needs_nothing_of_cpp(library):
    if shutil.which("readelf") is None:
        pytest.skip("there is no readelf")
    dynamic = subprocess.run(["readelf", "-d", str(library)], capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"NEEDED.*\[(.*)\]", dynamic)) <= {"libc.so.6", "libm.so.6", "libgcc_s.so.1"}


# A folder of its own, in which things go wrong


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A copy of the sources and libraries, from which the library is opened; nothing of it is remembered."""
    copy = tmp_path / "cpu"
    shutil.copytree(SOURCES, copy)
    monkeypatch.setattr(cpu_library, "_folder", lambda: copy)
    monkeypatch.delenv("GPUNET_CPU_BUILD", raising=False)
    for cached in (cpu_library.library, cpu_library.build_name):
        cached.cache_clear()
    yield copy
    for cached in (cpu_library.library, cpu_library.build_name):
        cached.cache_clear()


def test_without_libraries(folder, caplog):
    for path in folder.glob("*.so"):
        path.unlink()
    with caplog.at_level("INFO", "gpunet"):
        assert cpu_library.library() is None
    assert "no CPU kernels for this machine; NumPy does their work" in caplog.text
    assert cpu_library.built() == []


def test_other_sources(library, folder):
    (folder / "kernel.h").write_text("// changed\n")
    with pytest.raises(BackendError, match=r"built from other sources .* python setup.py build_ext --inplace"):
        cpu_library.library()


def test_a_damaged_library(library, folder):
    copy, whole = folder / library.name, library.read_bytes()
    for damaged in (b"", b"not a library", whole[:2000], whole[:-1], b"x" + whole[1:]):
        copy.write_bytes(damaged)
        with pytest.raises(BackendError, match="is damaged: it is no whole library; install gpunet again"):
            cpu_library.library()


def test_a_build_asked_for(library, folder, monkeypatch):
    monkeypatch.setenv("GPUNET_CPU_BUILD", "v3")
    assert cpu_library.build_name() == "v3"
    cpu_library.build_name.cache_clear()
    monkeypatch.setenv("GPUNET_CPU_BUILD", "v9")
    with pytest.raises(
        BackendError, match="GPUNET_CPU_BUILD asks for 'v9'; the builds that this machine can run are: "
    ):
        cpu_library.build_name()


def test_a_processor_that_is_too_old(library, folder, monkeypatch):
    monkeypatch.setattr(cpu_library, "_open", lambda path: types.SimpleNamespace(instruction_set=lambda: 0))
    assert cpu_library.build_name() is None
    assert cpu_library.built() != []


def test_kernels_can_be_turned_off(library):
    code = "from gpunet.backend.kernels import device; print(device())"
    for value, expected in (("0", "None"), ("1", "cpu")):
        environment = {**os.environ, "GPUNET_BACKEND": "numpy", "GPUNET_RAW_KERNELS": value}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
        assert done.stdout.strip() == expected, done.stderr


# Building


@pytest.fixture
def checkout(tmp_path):
    """The files that a build takes, without anything that was built."""
    copy = tmp_path / "checkout"
    left_out = shutil.ignore_patterns("*.so", "__pycache__")
    for name in ("gpunet", "raw_kernels"):
        shutil.copytree(ROOT / name, copy / name, ignore=left_out)
    for name in ("setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    return copy


def build(checkout, **environment):
    pytest.importorskip("setuptools")
    command = [sys.executable, "setup.py", "build_ext", "--inplace"]
    done = subprocess.run(
        command, cwd=checkout, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300
    )
    return done, sorted(path.name for path in (checkout / "raw_kernels/cpu").glob("*.so"))


@pytest.mark.parametrize("compiler", ["false", "no-such-compiler"])
def test_without_a_compiler_the_build_succeeds_and_says_so(checkout, compiler):
    done, libraries = build(checkout, CXX=compiler)
    assert done.returncode == 0
    assert libraries == []
    assert "kernels_v3.so was not built; without it NumPy does the work" in done.stdout + done.stderr


@needs_compiler
def test_a_compiler_that_lacks_an_instruction_set(checkout, tmp_path):
    compiler = tmp_path / "old-g++"
    compiler.write_text('#!/bin/sh\ncase "$*" in *x86-64-v4*) exit 1;; esac\nexec g++ "$@" -O0\n')
    compiler.chmod(0o755)
    done, libraries = build(checkout, CXX=str(compiler))
    assert done.returncode == 0
    assert libraries == ["detect.so", "kernels_v3.so"]


@pytest.mark.slow
@needs_compiler
def test_the_wheel_carries_libraries_for_every_python(checkout, tmp_path):
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--quiet",
        "-w",
        str(tmp_path),
    ]
    subprocess.run([*command, str(checkout)], check=True, capture_output=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    assert re.search(r"-py3-none-linux_x86_64\.whl$", wheel.name)
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
    assert {f"gpunet/raw_kernels/cpu/{name}.so" for name in ("detect", "kernels_v3", "kernels_v4")} <= names
    assert {f"gpunet/raw_kernels/cpu/{path.name}" for path in SOURCES.glob("*.h")} <= names
