"""`gpunet doctor`, on machines of every kind: what is missing or broken is played by stand-ins."""

import configparser
import json
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from gpunet.backend import probe_cupy
from gpunet.cli import main
from gpunet.doctor import findings
from gpunet.doctor.findings import examine
from gpunet.emulator import compiler_command
from gpunet.errors import BackendError
from tests.test_backend import DriverError, fake_cupy

PARTS = [
    "gpunet", "Python", "NumPy", "BLAS", "threads", "CPU kernels", "CuPy", "driver", "devices", "NVRTC", "CUDA headers",
    "test kernel", "C++ compiler", "cache folder", "[full]", "[onnx]", "[tensorboard]", "[mpi]",
]  # fmt: skip


OF_GPU = ["CuPy", "driver", "devices", "NVRTC", "CUDA headers", "test kernel"]


class FakeDriver:
    """Stands for libcuda: a driver for one version of CUDA, with so many devices, or an error."""

    def __init__(self, version=13000, devices=1, error=0):
        self.version, self.devices, self.error = version, devices, error

    def cuDriverGetVersion(self, version):
        version._obj.value = self.version
        return self.error

    def cuInit(self, flags):
        return self.error

    def cuDeviceGetCount(self, number):
        number._obj.value = self.devices
        return 0

    def cuDeviceGet(self, device, ordinal):
        device._obj.value = ordinal

    def cuDeviceGetName(self, name, length, device):
        name.value = f"GPU {device.value}".encode()

    def cuDeviceTotalMem_v2(self, memory, device):
        memory._obj.value = 24 << 30

    def cuDeviceGetAttribute(self, value, attribute, device):
        value._obj.value = {75: 8, 76: 6}[attribute]


class Machine:
    """A machine without GPU parts, to which some can be added."""

    def __init__(self, monkeypatch, folder):
        self.patch, self.folder = monkeypatch, folder
        for name in ("GPUNET_BACKEND", "GPUNET_NUM_THREADS", "CUDA_PATH", "CUDA_HOME", "CONDA_PREFIX"):
            monkeypatch.delenv(name, raising=False)
        self.cupy(None)
        self.wheels()
        self.driver(None)
        monkeypatch.setattr(findings, "find_nvrtc", lambda: None)

    def cupy(self, module):
        self.patch.setitem(sys.modules, "cupy", module)
        probe_cupy.cache_clear()

    def working_cupy(self, **settings):
        module = fake_cupy(**settings)
        module.cuda.nvrtc = types.SimpleNamespace(getVersion=lambda: (13, 5))
        module.cuda.get_cuda_path = lambda: str(self.folder)
        self.cupy(module)
        return module

    def wheels(self, *names):
        found = [
            types.SimpleNamespace(metadata={"Name": name}, version="14.2.0") for name in (*names, "numpy", "cupyx")
        ]
        self.patch.setattr(findings.importlib.metadata, "distributions", lambda: found)

    def driver(self, library):
        def load():
            if library is None:
                raise OSError("libcuda.so.1: cannot open shared object file")
            return library

        self.patch.setattr(findings, "_load_driver", load)

    def finding(self, part):
        return next(finding for finding in examine("numpy").findings if finding.part == part)


@pytest.fixture
def machine(monkeypatch, tmp_path):
    yield Machine(monkeypatch, tmp_path)
    monkeypatch.undo()
    probe_cupy.cache_clear()


def test_a_machine_without_a_gpu(machine):
    report = examine()
    assert (report.asked, report.backend, report.problem) == ("auto", "numpy", "")
    assert [finding.part for finding in report.findings] == PARTS
    states = {finding.part: finding.state for finding in report.findings}
    assert {states[part] for part in PARTS[:3]} == {"ok"}
    assert {states[part] for part in ("CuPy", "driver", "devices", "NVRTC", "test kernel")} == {"missing"}
    assert [each.part for each in report.findings if (each.state == "ok") == bool(each.mend)] == []  # else each has one


def test_a_machine_with_a_gpu(machine):
    machine.working_cupy()
    machine.wheels("cupy-cuda13x")
    machine.driver(FakeDriver(devices=2))
    (machine.folder / "include").mkdir()
    (machine.folder / "include" / "cuda_fp16.h").touch()
    report = examine()
    assert (report.asked, report.backend, report.problem) == ("auto", "cupy", "")
    details = {finding.part: finding.detail for finding in report.findings if finding.state == "ok"}
    assert details["CuPy"] == "cupy-cuda13x 14.2.0"
    assert details["driver"] == "for CUDA 13.0"
    assert details["devices"] == "GPU 0 (sm_86, 24.0 GiB); GPU 1 (sm_86, 24.0 GiB)"
    assert details["NVRTC"] == "13.5, found by CuPy"
    assert details["CUDA headers"] == str(machine.folder / "include")
    assert "1 CUDA device" in details["test kernel"]


# What is broken


def test_a_library_that_cupy_cannot_load(machine):
    """The test kernel runs, and so does every element-wise function; only products need cuBLAS."""
    machine.working_cupy(product=RuntimeError("libcublas.so.13: cannot open shared object file"))
    report = examine()
    assert report.backend == "numpy"
    finding = machine.finding("test kernel")
    assert finding.state == "broken"
    assert "libcublas" in finding.detail
    assert "uninstall every cupy wheel" in finding.mend


def test_two_wheels_of_cupy_are_an_error_with_the_fix(machine):
    machine.working_cupy()
    machine.wheels("cupy-cuda12x", "cupy-cuda13x")
    finding = machine.finding("CuPy")
    assert finding.state == "broken"
    assert "cupy-cuda12x and cupy-cuda13x are both installed" in finding.detail
    assert finding.mend.startswith("pip uninstall cupy-cuda12x cupy-cuda13x, then install one: pip install ")
    report = examine("auto")
    assert report.backend == "cupy"
    assert "are both installed" in report.problem  # also where the test kernel happens to run


def test_a_wheel_that_is_listed_twice_is_one(machine):
    machine.working_cupy()
    machine.wheels("cupy-cuda13x", "CuPy-cuda13x")
    assert machine.finding("CuPy")[1:3] == ("ok", "cupy-cuda13x 14.2.0")


@pytest.mark.parametrize("wheels", [(), ("cupy-cuda12x",)])
def test_cupy_that_cannot_be_imported(machine, wheels):
    machine.cupy(types.ModuleType("cupy"))  # what a half-removed wheel leaves behind
    machine.wheels(*wheels)
    finding = machine.finding("CuPy")
    assert finding.state == "broken"
    assert "pip uninstall" in finding.mend
    assert examine("auto").backend == "numpy"


def test_a_wheel_without_its_module(machine):
    machine.wheels("cupy-cuda12x")
    assert machine.finding("CuPy").state == "broken"


@pytest.mark.parametrize(
    ("driver", "state", "words"),
    [
        (None, "missing", "no NVIDIA driver"),
        (FakeDriver(12080), "broken", "for CUDA 12.8, too old for cupy-cuda13x"),
        (FakeDriver(13010), "ok", "for CUDA 13.1"),
        (FakeDriver(error=999), "broken", "error 999"),
        (object(), "broken", "AttributeError"),
    ],
    ids=["none", "old", "new", "failing", "another library"],
)
def test_driver(machine, driver, state, words):
    machine.wheels("cupy-cuda13x")
    machine.driver(driver)
    finding = machine.finding("driver")
    assert finding.state == state
    assert words in finding.detail


@pytest.mark.parametrize(
    ("driver", "state", "words"),
    [
        (None, "missing", "no driver"),
        (FakeDriver(devices=0), "missing", "sees none"),
        (FakeDriver(error=100), "missing", "sees none"),
        (FakeDriver(error=803), "broken", "error 803"),
        (object(), "broken", "AttributeError"),
    ],
    ids=["no driver", "none", "none, as an error", "failing", "another library"],
)
def test_devices(machine, driver, state, words):
    machine.driver(driver)
    finding = machine.finding("devices")
    assert finding.state == state
    assert words in finding.detail


def test_cupy_without_nvrtc_and_headers(machine):
    def fail():
        raise ImportError("libnvrtc.so.13: cannot open shared object file")

    machine.working_cupy().cuda.nvrtc.getVersion = fail
    for part in ("NVRTC", "CUDA headers"):
        finding = machine.finding(part)
        assert finding.state == "missing"
        assert "gpunet[cuda13]" in finding.mend


def test_a_device_whose_kernels_do_not_run(machine):
    machine.working_cupy(answer=RuntimeError("nvrtc: error: failed to load builtins"))
    finding = machine.finding("test kernel")
    assert finding.state == "broken"
    assert "failed to load builtins" in finding.detail
    machine.working_cupy(devices=DriverError(35, "driver version is insufficient"))
    assert machine.finding("test kernel").state == "missing"


def test_nvrtc_without_cupy_is_good_for_compiling(machine, monkeypatch):
    monkeypatch.setattr(findings, "find_nvrtc", lambda: "libnvrtc.so.13")
    monkeypatch.setattr(findings, "nvrtc_version", lambda: (13, 5))
    assert machine.finding("NVRTC")[1:3] == ("ok", "13.5, for `gpunet kernels --compile`")


def test_headers_of_a_toolkit(machine, monkeypatch):
    (machine.folder / "include").mkdir()
    (machine.folder / "include" / "cuda_fp16.h").touch()
    monkeypatch.setattr(findings.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("CUDA_PATH", str(machine.folder))
    assert machine.finding("CUDA headers")[1:3] == ("ok", str(machine.folder / "include"))


@pytest.mark.parametrize(
    ("settings", "state", "words"),
    [
        ({"GPUNET_CXX": "", "PATH": ""}, "missing", "there is none"),
        ({"GPUNET_CXX": "no-such-compiler"}, "missing", "'no-such-compiler', is not to be found"),
        ({"GPUNET_CXX": "false"}, "broken", "does not work here"),
        ({"GPUNET_EMULATOR": "fast"}, "broken", "GPUNET_EMULATOR must be"),
    ],
    ids=["none", "not to be found", "failing", "no such flavour"],
)
def test_compiler(machine, monkeypatch, settings, state, words):
    if "GPUNET_EMULATOR" in settings:
        needs_compiler()
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    finding = machine.finding("C++ compiler")
    assert finding.state == state
    assert words in finding.detail
    assert "apt install g++" in finding.mend
    assert examine("emulated").problem
    assert examine("numpy").problem == ""


def needs_compiler():
    try:
        compiler_command()
    except BackendError as error:
        pytest.skip(str(error))


def test_compiler_that_works(machine):
    needs_compiler()
    assert machine.finding("C++ compiler").state == "ok"
    assert examine("emulated").problem == ""


def test_cache_that_cannot_be_written(machine, monkeypatch):
    (machine.folder / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(machine.folder / "file"))
    finding = machine.finding("cache folder")
    assert finding.state == "broken"
    assert "XDG_CACHE_HOME" in finding.mend
    monkeypatch.setenv("XDG_CACHE_HOME", str(machine.folder / "cache"))
    assert machine.finding("cache folder").state == "ok"


@pytest.mark.parametrize(("text", "state"), [("many", "broken"), ("0", "broken"), ("3", "ok"), ("", "ok")])
def test_threads(machine, monkeypatch, text, state):
    monkeypatch.setenv("GPUNET_NUM_THREADS", text)
    assert machine.finding("threads").state == state


def test_numpy_that_is_too_old_is_not_good_enough(machine, monkeypatch):
    monkeypatch.setattr(np, "__version__", "1.26.4")
    assert machine.finding("NumPy")[1:] == ("broken", "1.26.4 is too old", "pip install 'numpy>=2'")
    assert "too old" in examine("numpy").problem


def test_blas_that_is_unknown(machine, monkeypatch):
    monkeypatch.setattr("threadpoolctl.threadpool_info", lambda: [])
    assert machine.finding("BLAS").state == "missing"


@pytest.mark.parametrize("part", PARTS)
def test_nothing_crashes(machine, monkeypatch, part):
    def fail():
        raise RuntimeError("what nobody has thought of")

    monkeypatch.setitem(findings._PARTS, part, fail)
    finding = machine.finding(part)
    assert finding.state == "broken"
    assert finding.detail == "RuntimeError: what nobody has thought of"


# The command


@pytest.mark.parametrize(
    ("option", "variable", "backend", "code"),
    [
        ([], "", "numpy", 0),
        (["--backend", "auto"], "cupy", "numpy", 0),
        (["--backend", "numpy"], "cupy", "numpy", 0),
        (["--backend", "cupy"], "numpy", "cupy", 1),
        ([], "cupy", "cupy", 1),
        ([], "numpy", "numpy", 0),
        ([], "torch", "torch", 1),
    ],
)
def test_exit_code_and_json(machine, monkeypatch, capsys, option, variable, backend, code):
    monkeypatch.setenv("GPUNET_BACKEND", variable)
    assert main(["doctor", *option, "--json"]) == code
    out, err = capsys.readouterr()
    assert err == ""
    assert out.count("\n") == 1
    result = json.loads(out)
    assert set(result) == {"asked", "backend", "works", "problem", "parts"}
    assert (result["backend"], result["works"]) == (backend, code == 0)
    assert [part["part"] for part in result["parts"]] == PARTS
    assert set(result["parts"][0]) == {"part", "state", "detail", "mend"}


def test_lines(machine, capsys):
    assert main(["doctor"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "\x1b" not in out
    lines = out.splitlines()
    begun = [line.split()[0] for line in lines if not line.startswith(" ") and line]
    assert set(begun[:-1]) <= {"ok", "missing", "broken", "none"}
    assert len(begun) == len(PARTS) - len(OF_GPU) + 2  # one line for all of the GPU, and the last
    assert any(line.startswith("none     GPU           no NVIDIA driver") for line in lines)
    assert lines[-1] == "backend numpy (auto) works"


def test_all_about_the_gpu_is_said_where_it_is_asked_for(machine, capsys):
    assert main(["doctor", "--backend", "cupy"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [part for part in PARTS if not any(line[9:].startswith(part) for line in lines)] == []
    place = lines.index("missing  CuPy          not installed")
    assert lines[place + 1].strip().startswith("to mend it: pip install 'gpunet[cuda13]'")
    assert lines[-1].startswith("backend cupy does not work: ")


def shown(report):
    return [finding.part for finding in report.that_matter()]


def test_gpu_parts_matter_where_a_driver_is_or_where_they_are_broken(machine):
    cpu = [part for part in PARTS if part not in OF_GPU]
    assert shown(examine("numpy")) == [*cpu[:6], "GPU", *cpu[6:]]
    machine.working_cupy()
    machine.wheels("cupy-cuda12x", "cupy-cuda13x")
    assert shown(examine("numpy")) == [*cpu[:6], "GPU", "CuPy", *cpu[6:]]
    machine.driver(FakeDriver())
    assert shown(examine("numpy")) == PARTS


def test_extras_that_are_missing_are_named(machine, monkeypatch):
    there = {"pooch": "1.8.2", "onnx": "1.17.0"}

    def version(package):
        if package not in there:
            raise findings.importlib.metadata.PackageNotFoundError(package)
        return there[package]

    monkeypatch.setattr(findings.importlib.metadata, "version", version)
    full = machine.finding("[full]")
    assert full.state == "missing"
    assert full.detail.startswith("Pillow, for image files; matplotlib, for ")
    assert "pooch" not in full.detail
    assert full.mend == "pip install 'gpunet[full]'"
    assert machine.finding("[onnx]")[1:] == ("ok", "onnx 1.17.0", "")
    assert machine.finding("[tensorboard]").mend == "pip install 'gpunet[tensorboard]'"
    assert examine("numpy").problem == ""


def test_extras_are_those_of_the_package():
    written = configparser.ConfigParser()
    written.read(Path(__file__).parents[1] / "setup.cfg")
    for name, packages in findings.EXTRAS.items():
        wanted = re.findall(r"^([\w-]+)", written["options.extras_require"][name], re.MULTILINE)
        assert sorted(map(str.lower, packages)) == sorted(map(str.lower, wanted))


@pytest.mark.parametrize(
    ("terminal", "settings", "coloured"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"NO_COLOR": ""}, True),
        (True, {"TERM": "dumb"}, False),
    ],
)
def test_colours_are_for_terminals(machine, monkeypatch, capsys, terminal, settings, coloured):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert ("\x1b[32mok       \x1b[0mPython" in out) == coloured
    assert ("\x1b" in out) == coloured
