"""Finds a C++ compiler and builds libraries with it, each text once: the results are kept in the user's cache.

A build is two parts: the kernels, and the engine that runs them. They are compiled with different options, because only
the kernels' memory accesses are followed.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from gpunet.errors import BackendError, KernelError

__all__ = [
    "INSTALL_COMPILER",
    "Flavour",
    "build",
    "cache_folder",
    "compiler_command",
    "default_flavour",
    "shows_accesses",
    "user_cache_folder",
]

_HERE = Path(__file__).parent
INSTALL_COMPILER = "install one, such as the package g++ (apt install g++), or name one in GPUNET_CXX"
_LARGEST_FRAME = 65536  # bytes of local variables; memory_checks.cpp counts on it

_COMMON = ["-fPIC", "-fno-exceptions", "-fno-strict-aliasing", "-ffp-contract=off", "-I", str(_HERE)]
_KERNEL = [
    "-O1",
    "-g1",
    "-gdwarf-4",
    "-fno-delete-null-pointer-checks",
    "-fvisibility=hidden",
    f"-Werror=frame-larger-than={_LARGEST_FRAME}",
]
_ENGINE = ["-O2", "-g1", "-std=c++17", "-fvisibility=hidden"]
_FOLLOWED = [  # the checks whose functions memory_checks.cpp defines
    "-fsanitize=thread",
    "-fsanitize=alignment,bounds,signed-integer-overflow,shift-exponent,integer-divide-by-zero",
]
_CLANG_FOLLOWED = ["-fno-sanitize=local-bounds"]  # part of `bounds` there, but stops the program instead of calling us
_GCC_FOLLOWED = ["-fno-tree-sra"]  # which would copy a pack value by value; a GPU moves it as one
_ADDRESS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer"]
_THREAD = ["-fsanitize=thread"]


class Flavour(enum.Enum):
    """How kernels are built and run."""

    CHECKED = "checked"
    """On fibers, with the memory checks: what the emulated backend uses."""
    PORTABLE = "portable"
    """The same, switching fibers with ucontext.h also where there is a faster way."""
    ADDRESS = "address"
    """On fibers, under AddressSanitizer and UndefinedBehaviorSanitizer, whose library must be loaded already."""
    THREAD = "thread"
    """A program of its own, on the operating system's threads, under ThreadSanitizer."""


def default_flavour() -> Flavour:
    """What the environment variable GPUNET_EMULATOR says, such as "address"; CHECKED without it.

    Raises:
        BackendError: if it names none.
    """
    name = os.environ.get("GPUNET_EMULATOR") or Flavour.CHECKED.value
    if name not in (flavour.value for flavour in Flavour if flavour is not Flavour.THREAD):
        raise BackendError(f"GPUNET_EMULATOR must be checked, portable or address, got {name!r}")
    return Flavour(name)


def shows_accesses(flavour: Flavour) -> bool:
    """Whether kernels show their accesses as they are written: clang++ splits packs, and a sanitizer keeps them."""
    return flavour in (Flavour.CHECKED, Flavour.PORTABLE) and "clang" not in _version(tuple(compiler_command()))


def compiler_command() -> list[str]:
    """The C++ compiler: GPUNET_CXX, or else g++ or clang++, whichever is found first.

    Raises:
        BackendError: if there is none; the message names the package to install.
    """
    asked = os.environ.get("GPUNET_CXX")
    if asked:
        command = shlex.split(asked)
        if shutil.which(command[0]) is None:
            raise BackendError(f"the C++ compiler in GPUNET_CXX, {asked!r}, is not to be found; {INSTALL_COMPILER}")
        return command
    for name in ("g++", "clang++"):
        path = shutil.which(name)
        if path is not None:
            return [path]
    raise BackendError(f"running CUDA kernels on the CPU needs a C++ compiler, and there is none: {INSTALL_COMPILER}")


def user_cache_folder() -> Path:
    """Where builds should be kept: gpunet/emulator in XDG_CACHE_HOME or ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "gpunet" / "emulator"


def cache_folder() -> Path:
    """Where builds are kept: the user's cache folder, or one that ends with the process where that cannot be used."""
    folder = user_cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return Path(_temporary_folder().name)


@functools.cache
def _temporary_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="gpunet-emulator-")


def build(text: str, options: Sequence[str] = (), flavour: Flavour = Flavour.CHECKED) -> Path:
    """The library, or for Flavour.THREAD the program, made from the kernels' text by `source.translation_unit`.

    Several processes may build the same at once: each works in a folder of its own and then moves the result in place.

    Raises:
        BackendError: if there is no compiler, or it cannot build the engine.
        KernelError: if the text does not compile; the message has the compiler's words, with file and line.
    """
    command = compiler_command()
    version = _version(tuple(command))
    kernel_flags = _COMMON + _KERNEL + _instrumentation(flavour, version) + ["-std=c++17", *options]
    key = _hash(version, *kernel_flags, flavour.value, text, _engine_text())
    product = cache_folder() / f"{key}{'' if flavour is Flavour.THREAD else '.so'}"
    if product.exists():
        return product
    with _workshop(product) as folder:
        unit = folder / "kernels.cpp"
        unit.write_text(text, encoding="utf-8")
        compiled = _run([*command, *kernel_flags, "-c", str(unit), "-o", str(folder / "kernels.o")])
        if compiled.returncode:
            raise KernelError(f"the kernel does not compile:\n{_readable(compiled.stderr)}")
        parts = [str(folder / "kernels.o"), str(_engine(command, version, flavour))]
        shape = ["-shared"] if flavour is not Flavour.THREAD else []
        _checked_run(
            [*command, *shape, *_runtime(flavour, version), *parts, "-o", str(folder / "product"), "-ldl", "-lm"]
        )
        os.replace(folder / "product", product)
    return product


def _engine(command: list[str], version: str, flavour: Flavour) -> Path:
    """The engine as one object file: the same for all kernels, so that it is compiled once."""
    flags = _COMMON + _ENGINE
    sources = ["engine.cpp", "memory_checks.cpp", "fibers.cpp"]
    if flavour is Flavour.PORTABLE:
        flags = [*flags, "-DGPUNET_UCONTEXT"]
    if flavour is Flavour.ADDRESS:
        flags = [*flags, "-DGPUNET_SANITIZED", "-DGPUNET_ASAN", *_ADDRESS]
    if flavour is Flavour.THREAD:
        flags = [*flags, "-DGPUNET_SANITIZED"]
        sources = ["engine.cpp", "memory_checks.cpp", "os_threads.cpp", "race_main.cpp"]
    key = _hash(version, *flags, *sources, _engine_text())
    product = cache_folder() / f"{key}.o"
    if product.exists():
        return product
    with _workshop(product) as folder:
        unit = folder / "whole_engine.cpp"
        unit.write_text("".join(f'#include "{name}"\n' for name in sources), encoding="utf-8")
        _checked_run([*command, *flags, "-c", str(unit), "-o", str(folder / "product")])
        os.replace(folder / "product", product)
    return product


@functools.cache
def _engine_text() -> str:
    return "".join(path.read_text(encoding="utf-8") for path in sorted([*_HERE.glob("*.h"), *_HERE.glob("*.cpp")]))


def _instrumentation(flavour: Flavour, version: str) -> list[str]:
    if flavour is Flavour.ADDRESS:
        return _ADDRESS
    if flavour is Flavour.THREAD:
        return _THREAD
    return _FOLLOWED + (_CLANG_FOLLOWED if "clang" in version else _GCC_FOLLOWED)


def _runtime(flavour: Flavour, version: str) -> list[str]:
    """What the linker adds: the library of the sanitizer, where it is a real one."""
    if flavour is Flavour.ADDRESS:
        return _ADDRESS[:1] + (["-shared-libasan"] if "clang" in version else [])
    return [*_THREAD, "-pthread"] if flavour is Flavour.THREAD else []


@contextlib.contextmanager
def _workshop(product: Path) -> Iterator[Path]:
    """A folder beside the product, on the same disk, so that the product can be moved in place in one step."""
    with tempfile.TemporaryDirectory(dir=product.parent, prefix="building-") as folder:
        yield Path(folder)


@functools.cache
def _version(command: tuple[str, ...]) -> str:
    return " ".join(command) + _checked_run([*command, "--version"]).stdout


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LC_ALL": "C", "LD_PRELOAD": ""}  # a preloaded sanitizer is not meant for the compiler
    return subprocess.run(command, capture_output=True, text=True, errors="replace", env=environment, check=False)


def _checked_run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    done = _run(command)
    if done.returncode:
        raise BackendError(
            f"the C++ compiler does not work here: {shlex.join(command)} failed:\n{_readable(done.stderr)}"
        )
    return done


def _readable(messages: str) -> str:
    """The first errors of a compiler, without the notes around them."""
    lines = messages.splitlines()
    errors = [i for i, line in enumerate(lines) if ": error: " in line or ": fatal error: " in line]
    shown = [lines[j] for i in errors[:5] for j in range(i, min(i + 3, len(lines))) if j == i or j not in errors]
    return "\n".join(shown or lines[-20:])
