"""Builds the CPU kernels; everything else about the package is in setup.cfg.

One shared library for each instruction set, from the same sources. They are plain libraries that ctypes opens: no
Python.h is needed, and one file serves every Python. Without a compiler the install goes on, and NumPy does the work.
"""

import hashlib
import os
import platform
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

SOURCES = Path("raw_kernels/cpu")
COMMON = ["-std=c++17", "-O3", "-fPIC", "-shared", "-ffp-contract=fast", "-fno-math-errno", "-fno-exceptions"]
COMMON += ["-fno-rtti", "-fvisibility=hidden", "-Wall", "-Wextra"]
BUILDS = {
    "detect": ("detect.cpp", []),
    "kernels_v3": ("kernels.cpp", ["-march=x86-64-v3", "-DVECTOR_BYTES=32"]),
    "kernels_v4": ("kernels.cpp", ["-march=x86-64-v4", "-DVECTOR_BYTES=64", "-mprefer-vector-width=512"]),
}


def source_hash() -> str:
    """Of all files of the kernels; gpunet.backend.cpu_library computes the same."""
    digest = hashlib.sha256()
    for path in sorted([*SOURCES.glob("*.h"), *SOURCES.glob("*.cpp")]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


class BuildKernels(build_ext):
    """Calls the C++ compiler itself: what it makes are not extension modules of Python."""

    def get_ext_filename(self, fullname: str) -> str:
        """Without the tag of a Python version."""
        return os.path.join(*fullname.split(".")) + ".so"

    def build_extension(self, ext: Extension) -> None:
        """Compile and link in one go."""
        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        source, flags = BUILDS[ext.name.rpartition(".")[2]]
        compiler = os.environ.get("CXX", "g++").split()
        self.spawn(
            [*compiler, *COMMON, *flags, f'-DSOURCE_HASH="{source_hash()}"', str(SOURCES / source), "-o", str(target)]
        )


class PlatformWheel(bdist_wheel):
    """The wheel holds binaries of a platform, but nothing of a version of Python: py3-none-PLATFORM."""

    def get_tag(self) -> tuple[str, str, str]:
        """Python, ABI and platform of the wheel's name."""
        return "py3", "none", super().get_tag()[2]


on_x86 = platform.machine().lower() in ("x86_64", "amd64") and sys.platform != "win32"
setup(
    ext_modules=[
        Extension(f"gpunet.raw_kernels.cpu.{name}", [str(SOURCES / source)], optional=True)
        for name, (source, _) in BUILDS.items()
    ]
    if on_x86
    else [],
    cmdclass={"build_ext": BuildKernels, "bdist_wheel": PlatformWheel},
)
