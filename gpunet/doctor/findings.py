"""What of this machine gpunet can use: a list of findings, part by part, with the mend for each that is not in order.

Each part is looked at on its own, and whatever goes wrong while it is looked at becomes its finding: nothing here
raises because a machine is broken. GPU parts are asked twice, by themselves and through CuPy, because a machine often
has one without the other.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.metadata
import importlib.util
import os
import platform
import re
import shlex
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gpunet.backend.active import resolve
from gpunet.backend.cpu_library import REBUILD, UNTRIED, build_name, built, library, on_tried_platform
from gpunet.backend.probe import INSTALL_CUPY, INSTALL_DRIVER, probe_cupy
from gpunet.backend.tiles import cores, get_num_threads
from gpunet.doctor.nvrtc import find_nvrtc, nvrtc_version
from gpunet.emulator import Flavour, Module, compiler_command
from gpunet.emulator.compiler import INSTALL_COMPILER, cache_folder, default_flavour, user_cache_folder
from gpunet.errors import BackendError, GpunetError
from gpunet.version import __version__

__all__ = ["Finding", "Report", "examine"]

_TEST_KERNEL = 'extern "C" __global__ void twice(float* x) { x[threadIdx.x] *= 2; }'
_COMPUTE_MAJOR, _COMPUTE_MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_...
_NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE
_CUPY_WHEEL = re.compile(r"cupy(-cuda(?P<cuda>\d+)\w*|-rocm.*)?")
_REINSTALL_NUMPY = "pip install --force-reinstall numpy, whose wheels bring OpenBLAS"
_WITH_CTK = "install CuPy with what it needs of CUDA: " + INSTALL_CUPY


class Finding(NamedTuple):
    """One part: how it is, in one word and in detail, and what to do where that is not ok."""

    part: str
    state: str  # ok | missing | broken; none where it is not expected
    detail: str
    mend: str = ""


class Report(NamedTuple):
    """All findings, and what they mean for the backend."""

    asked: str
    """The backend that was asked for: auto, numpy, cupy or emulated."""
    backend: str
    """The one that is used: the same, but for auto."""
    problem: str
    """Why that one does not work; empty where it does."""
    findings: tuple[Finding, ...]

    def that_matter(self) -> list[Finding]:
        """Those that are worth a look: where no GPU is, nor is asked for, one line says so in place of all about it."""
        driver = next(each.state for each in self.findings if each.part == "driver")
        if "cupy" in (self.asked, self.backend) or driver != "missing":
            return list(self.findings)
        without = Finding("GPU", "none", "no NVIDIA driver; gpunet doctor --backend cupy says what a GPU would take")
        found = [each for each in self.findings if each.part not in _OF_GPU or each.state == "broken"]
        place = [each.part for each in self.findings].index(_OF_GPU[0])
        return [*found[:place], without, *found[place:]]


def examine(backend: str | None = None) -> Report:
    """Look at every part of this machine, and at one backend in particular.

    Args:
        backend: the one that is wanted; by default what GPUNET_BACKEND says, or auto.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # CuPy's, about what is found here, too
        findings = tuple(_guarded(part, look) for part, look in _PARTS.items())
        asked = backend or os.environ.get("GPUNET_BACKEND") or "auto"
        try:
            resolved = resolve(asked)
        except BackendError as error:
            return Report(asked, asked, str(error), findings)
    needed = [each for each in findings if each.part in _NEEDED_BY[resolved] and each.state not in _FINE[each.part]]
    return Report(asked, resolved, "; ".join(f"{each.part}: {each.detail}" for each in needed), findings)


def _guarded(part: str, look: Callable[[], tuple[str, ...]]) -> Finding:
    try:
        return Finding(part, *look())
    except Exception as error:
        return Finding(part, "broken", f"{type(error).__name__}: {error}", "reinstall it")


# ------------------------------------------------------------------------------------------------- the CPU and Python


def _gpunet() -> tuple[str, ...]:
    return "ok", f"{__version__} in {Path(__file__).parents[1]}"


def _python() -> tuple[str, ...]:
    return "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}, {sys.executable}"


def _numpy() -> tuple[str, ...]:
    if int(np.__version__.partition(".")[0]) < 2:
        return "broken", f"{np.__version__} is too old", "pip install 'numpy>=2'"
    ones = np.ones((64, 64), np.float32)
    if not (ones @ ones == 64).all():
        return "broken", f"{np.__version__} gives a wrong matrix product", _REINSTALL_NUMPY
    return "ok", np.__version__


def _blas() -> tuple[str, ...]:
    from threadpoolctl import threadpool_info  # here, because it takes long to import

    libraries = [each for each in threadpool_info() if each["user_api"] == "blas"]
    if not libraries:
        return (
            "missing",
            "none that threadpoolctl can hold to one thread; tiles may wait for each other",
            _REINSTALL_NUMPY,
        )
    listed = ", ".join(
        " ".join(str(each[key]) for key in ("internal_api", "version", "architecture") if each.get(key))
        for each in libraries
    )
    return "ok", f"{listed}, {libraries[0]['num_threads']} threads"


def _threads() -> tuple[str, ...]:
    asked, number = os.environ.get("GPUNET_NUM_THREADS", ""), get_num_threads()
    if asked and not (asked.isdecimal() and int(asked) > 0):
        mend = "set it to a whole number of 1 or more, or not at all"
        return "broken", f"GPUNET_NUM_THREADS is {asked!r}; using {number}", mend
    return "ok", f"{number}, on {cores()} cores"


def _cpu_kernels() -> tuple[str, ...]:
    names, used = built(), build_name()
    if used is None:
        there = f"only {' and '.join(names)}, which this processor cannot run" if names else "none were built"
        return "missing", f"{there}; NumPy does their work, more slowly", REBUILD if on_tried_platform() else UNTRIED
    library()  # raises where it is damaged, or of other sources
    if os.environ.get("GPUNET_RAW_KERNELS") == "0":
        return "ok", f"{used} could run, but GPUNET_RAW_KERNELS is 0"
    return "ok", f"{used}, of the builds {' and '.join(names)}"


# --------------------------------------------------------------------------------------------------------------- GPU


def _wheels() -> dict[str, str]:
    """The versions of the installed packages that bring the module `cupy`; there should be one at most."""
    found = {}
    for distribution in importlib.metadata.distributions():
        name = str(distribution.metadata["Name"]).lower()
        if _CUPY_WHEEL.fullmatch(name):
            found[name] = distribution.version
    return dict(sorted(found.items()))


def _cupy() -> tuple[str, ...]:
    wheels = _wheels()
    if len(wheels) > 1:
        mend = f"pip uninstall {' '.join(wheels)}, then install one: {INSTALL_CUPY}"
        return "broken", f"{' and '.join(wheels)} are both installed, over each other", mend
    probe = probe_cupy()
    if probe.status == "not-installed" and not wheels:
        return "missing", "not installed", probe.mend
    if not _cupy_imports():
        return "broken", probe.reason, probe.mend
    return "ok", ", ".join(f"{name} {version}" for name, version in wheels.items()) or "not from a wheel"


def _cupy_imports() -> bool:
    return probe_cupy().status not in ("not-installed", "broken-install")


def _load_driver() -> Any:
    return ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")


def _driver() -> tuple[str, ...]:
    try:
        library = _load_driver()
    except OSError:
        return "missing", "no NVIDIA driver", INSTALL_DRIVER
    version = ctypes.c_int()
    status = library.cuDriverGetVersion(ctypes.byref(version))
    if status != 0:
        return "broken", f"cuDriverGetVersion fails with error {status}", INSTALL_DRIVER
    text = f"for CUDA {version.value // 1000}.{version.value % 1000 // 10}"
    for name in _wheels():
        needs = _CUPY_WHEEL.fullmatch(name)
        if needs and needs["cuda"] and int(needs["cuda"]) > version.value // 1000:
            return "broken", f"{text}, too old for {name}", "update the NVIDIA driver, or install an older CuPy wheel"
    return "ok", text


def _devices() -> tuple[str, ...]:
    try:
        library = _load_driver()
    except OSError:
        return "missing", "no driver to ask for them", INSTALL_DRIVER
    number = ctypes.c_int()
    status = library.cuInit(0) or library.cuDeviceGetCount(ctypes.byref(number))
    if status not in (0, _NO_DEVICE):
        return "broken", f"the driver fails with error {status}", INSTALL_DRIVER
    if number.value == 0:
        return "missing", "the driver sees none", "check the card, and CUDA_VISIBLE_DEVICES if that is set"
    return "ok", "; ".join(_describe_device(library, ordinal) for ordinal in range(number.value))


def _describe_device(library: Any, ordinal: int) -> str:
    device, name, memory = ctypes.c_int(), ctypes.create_string_buffer(256), ctypes.c_size_t()
    library.cuDeviceGet(ctypes.byref(device), ordinal)
    library.cuDeviceGetName(name, len(name), device)
    library.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    capability = [ctypes.c_int(), ctypes.c_int()]
    for value, attribute in zip(capability, (_COMPUTE_MAJOR, _COMPUTE_MINOR), strict=True):
        library.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
    arch = "".join(str(value.value) for value in capability)
    return f"{name.value.decode(errors='replace')} (sm_{arch}, {memory.value / 2**30:.1f} GiB)"


def _nvrtc() -> tuple[str, ...]:
    if _cupy_imports():
        try:
            import cupy

            version = cupy.cuda.nvrtc.getVersion()
        except Exception as error:
            return "missing", f"CuPy does not find it: {error}", _WITH_CTK
        return "ok", "{}.{}, found by CuPy".format(*version)
    if find_nvrtc() is None:
        return "missing", "not installed", "pip install nvidia-cuda-nvrtc, for `gpunet kernels --compile`"
    return "ok", "{}.{}, for `gpunet kernels --compile`".format(*nvrtc_version())


def _headers() -> tuple[str, ...]:
    for folder in _header_folders():
        if (folder / "cuda_fp16.h").is_file():
            return "ok", str(folder)
    return "missing", "no cuda_fp16.h, which CuPy's own kernels include", _WITH_CTK


def _header_folders() -> list[Path]:
    """Where CuPy says that CUDA is; else installed packages, a CUDA toolkit, a conda environment."""
    if _cupy_imports():
        import cupy

        path = cupy.cuda.get_cuda_path()
        if path is not None:
            return [Path(path) / "include"]
    packages = importlib.util.find_spec("nvidia")
    locations = packages.submodule_search_locations if packages is not None else None
    roots = [Path(place) / part for place in locations or () for part in ("cu13", "cuda_runtime")]
    roots += [Path(os.environ[name]) for name in ("CUDA_PATH", "CUDA_HOME") if os.environ.get(name)]
    roots.append(Path("/usr/local/cuda"))
    if os.environ.get("CONDA_PREFIX"):
        roots += sorted(Path(os.environ["CONDA_PREFIX"]).glob("targets/*"))
    return [root / "include" for root in roots]


def _test_kernel() -> tuple[str, ...]:
    probe = probe_cupy()
    if probe.ok:
        return "ok", f"ran on the first of {probe.reason}"
    waiting = probe.status in ("not-installed", "no-driver", "no-device")
    return "missing" if waiting else "broken", probe.reason, probe.mend


# ---------------------------------------------------------------------------------------------------------- emulator


def _compiler() -> tuple[str, ...]:
    try:
        command = shlex.join(compiler_command())
    except BackendError as error:
        return "missing", str(error).removesuffix(INSTALL_COMPILER).rstrip(" :;"), INSTALL_COMPILER
    values = np.arange(4, dtype=np.float32)
    try:
        default_flavour()
        Module(_TEST_KERNEL, flavour=Flavour.CHECKED).launch("twice", (1, 1, 1), (4, 1, 1), [values])
    except (GpunetError, OSError) as error:
        return "broken", str(error), INSTALL_COMPILER
    if values.tolist() != [0, 2, 4, 6]:
        return "broken", f"a kernel compiled by {command} gives wrong numbers", INSTALL_COMPILER
    return "ok", f"{command}: a test kernel ran on the CPU"


def _cache() -> tuple[str, ...]:
    wanted = user_cache_folder()
    if cache_folder() == wanted:
        return "ok", str(wanted)
    mend = "make it a folder that can be written, or name another in XDG_CACHE_HOME"
    return "broken", f"{wanted} cannot be written; every process compiles its kernels anew", mend


# ------------------------------------------------------------------------------------------------------------ extras


EXTRAS = {
    "full": {
        "Pillow": "image files",
        "matplotlib": "pictures of gpunet gradients and gpunet.visualize",
        "pooch": "datasets to be downloaded",
    },
    "onnx": {"onnx": "gpunet export and gpunet.onnx"},
    "tensorboard": {"tensorboardX": "gpunet train --tensorboard"},
    "mpi": {"mpi4py": "mpiexec -n N gpunet train", "mpich": "mpiexec, unless the system has one"},
}
"""The optional packages of each extra, and what they are for."""


def _extra(name: str) -> tuple[str, ...]:
    versions, missing = [], []
    for package, purpose in EXTRAS[name].items():
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(f"{package}, for {purpose}")
    if missing:
        return "missing", "; ".join(missing), f"pip install 'gpunet[{name}]'"
    return "ok", ", ".join(versions)


_PARTS: dict[str, Callable[[], tuple[str, ...]]] = {
    "gpunet": _gpunet,
    "Python": _python,
    "NumPy": _numpy,
    "BLAS": _blas,
    "threads": _threads,
    "CPU kernels": _cpu_kernels,
    "CuPy": _cupy,
    "driver": _driver,
    "devices": _devices,
    "NVRTC": _nvrtc,
    "CUDA headers": _headers,
    "test kernel": _test_kernel,
    "C++ compiler": _compiler,
    "cache folder": _cache,
    **{f"[{name}]": functools.partial(_extra, name) for name in EXTRAS},
}
_OF_GPU = ("CuPy", "driver", "devices", "NVRTC", "CUDA headers", "test kernel")
_FINE = {part: ("ok", "missing") if part == "CPU kernels" else ("ok",) for part in _PARTS}  # NumPy does without
_NEEDED_BY = {
    "numpy": ("NumPy", "CPU kernels"),
    "cupy": ("NumPy", "CuPy", "test kernel"),
    "emulated": ("NumPy", "C++ compiler"),
}
