"""Builds the CPU kernels, and makes of README.md what a package index shows; all else about it is in setup.cfg.

One shared library for each instruction set, from the same sources. They are plain libraries that ctypes opens: no
Python.h is needed, and one file serves every Python. Without a compiler the install goes on, and NumPy does the work.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shlex
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

SOURCES = Path("raw_kernels/cpu")
FLAGS = ["-std=c++17", "-O3", "-fPIC", "-shared", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"]
# Nothing of the C++ standard library, and no function that the linker could merge with that of another build.
FLAGS += ["-fno-exceptions", "-fno-rtti", "-fvisibility=hidden", "-Wall", "-Wextra", "-Wl,--as-needed"]
LIBRARIES = ["-lm", "-pthread"]
BUILDS = {
    "detect": ("detect.cpp", []),
    "kernels_v3": ("kernels.cpp", ["-march=x86-64-v3", "-DVECTOR_BYTES=32"]),
    "kernels_v4": ("kernels.cpp", ["-march=x86-64-v4", "-DVECTOR_BYTES=64", "-mprefer-vector-width=512"]),
}


REPOSITORY = os.environ.get("GPUNET_REPOSITORY", "").rstrip("/")
"""The address of the repository that a package is built from, such as https://github.com/OWNER/NAME: whoever publishes
packages says it (.github/workflows/packages.yml does), and nobody else can know."""


def version() -> str:
    """Read, not imported: NumPy need not be there yet."""
    return re.findall(r'__version__ = "(.*)"', Path("gpunet/version.py").read_text(encoding="utf-8"))[0]


def long_description() -> str:
    """README.md, whose links to files lead to this version in the repository; without one they are plain words."""

    def link(match: re.Match[str]) -> str:
        return f"[{match[1]}]({REPOSITORY}/blob/v{version()}/{match[2]})" if REPOSITORY else match[1]

    text = Path("README.md").read_text(encoding="utf-8")
    return re.sub(r"\[([^\]]+)\]\((?!https?:|#)([^)]+)\)", link, text)


def project_urls() -> dict[str, str]:
    """What a package index shows beside the description."""
    pages = {"Source": "", "Issues": "/issues", "Guides": f"/tree/v{version()}/docs"}
    pages["Changelog"] = f"/blob/v{version()}/CHANGELOG.md"
    return {name: REPOSITORY + page for name, page in pages.items()} if REPOSITORY else {}


def source_hash(folder: Path = SOURCES) -> str:
    """Of all files of the kernels; gpunet.backend.cpu_library computes the same."""
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.h"), *folder.glob("*.cpp")]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


class BuildKernels(build_ext):
    """Calls the C++ compiler itself: what it makes are not extension modules of Python."""

    def finalize_options(self) -> None:
        """All libraries at a time, and each of them anew: its sources include others."""
        super().finalize_options()
        self.parallel = self.parallel or True
        self.force = True

    def get_ext_filename(self, fullname: str) -> str:
        """Without the tag of a Python version."""
        return os.path.join(*fullname.split(".")) + ".so"

    def build_extension(self, ext: Extension) -> None:
        """Compile and link in one go; what fails is said, and nothing else depends on it."""
        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)  # a process may have the old one open, and a failure must not leave it there
        source, flags = BUILDS[ext.name.rpartition(".")[2]]
        compiler = shlex.split(os.environ.get("CXX") or "g++")
        hashed = f'-DSOURCE_HASH="{source_hash()}"'
        try:
            self.spawn([*compiler, *FLAGS, *flags, hashed, str(SOURCES / source), *LIBRARIES, "-o", str(target)])
        except Exception:
            self.warn(
                f"gpunet: {target.name} was not built; without it NumPy does the work, more slowly. It takes g++ or "
                f"clang++ (apt install g++); another compiler than g++ is named in CXX"
            )
            raise


class PlatformWheel(bdist_wheel):
    """With binaries the wheel is of a platform, but of no version of Python: py3-none-PLATFORM."""

    def get_tag(self) -> tuple[str, str, str]:
        """Python, ABI and platform of the wheel's name."""
        return "py3", "none", super().get_tag()[2]


def extensions() -> list[Extension]:
    """Where they were tried: Linux on x86-64."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return []
    return [
        Extension(f"gpunet.raw_kernels.cpu.{name}", [str(SOURCES / source)], optional=True)
        for name, (source, _) in BUILDS.items()
    ]


if __name__ == "__main__":
    commands: dict[str, type] = {"build_ext": BuildKernels, "bdist_wheel": PlatformWheel}
    setup(
        ext_modules=extensions(),
        cmdclass=commands,
        long_description=long_description(),
        long_description_content_type="text/markdown",
        project_urls=project_urls(),
    )
