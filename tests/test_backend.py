"""Choosing a backend, probing CuPy, moving arrays. Stand-ins play CuPy, so that all of it runs anywhere."""

import importlib
import os
import subprocess
import sys
import types

import numpy as np
import pytest

import gpunet
from gpunet.backend import (
    active_backend,
    as_nchw,
    asarray,
    backend_of,
    check_active,
    probe_cupy,
    to_cpu,
    to_nhwc,
    use_backend,
    xp,
)
from gpunet.errors import BackendError


@pytest.fixture(autouse=True)
def _numpy_again():
    """Starts each test on NumPy and puts back whatever backend was active before."""
    with use_backend("numpy"):
        yield


@pytest.fixture
def fresh_probe(monkeypatch):
    """Lets the probe look again, now and after the test; `monkeypatch` is undone in between."""
    probe_cupy.cache_clear()
    yield
    monkeypatch.undo()
    probe_cupy.cache_clear()


class DriverError(RuntimeError):
    """Like `cupy.cuda.runtime.CUDARuntimeError`."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


class FakeArray:
    """Stands for `cupy.ndarray`; values live in a NumPy array."""

    def __init__(self, values):
        self.values = np.array(values)

    @property
    def dtype(self):
        return self.values.dtype

    @property
    def shape(self):
        return self.values.shape

    @property
    def strides(self):
        return self.values.strides

    def __getitem__(self, index):
        return self.values[index]

    def get(self):
        return self.values


FakeArray.__module__ = "cupy"


def fake_cupy(devices=1, answer=42, product=2.0):
    """A module that passes for CuPy; each argument may be an exception that is raised instead."""

    def get_device_count():
        if isinstance(devices, Exception):
            raise devices
        return devices

    def raw_kernel(source, name):
        def launch(grid, block, arguments):
            if isinstance(answer, Exception):
                raise answer
            arguments[0].values[0] = answer

        return launch

    def matmul(a, b):
        if isinstance(product, Exception):
            raise product
        return FakeArray(np.full((2, 2), product))

    cupy = types.ModuleType("cupy")
    cupy.ndarray = FakeArray
    cupy.cuda = types.SimpleNamespace(runtime=types.SimpleNamespace(getDeviceCount=get_device_count))
    cupy.zeros = lambda count, dtype: FakeArray(np.zeros(count, dtype))
    cupy.ones = lambda shape, dtype: FakeArray(np.ones(shape, dtype))
    cupy.matmul = matmul
    cupy.asarray = lambda values, dtype=None: values if isinstance(values, FakeArray) else FakeArray(values)
    cupy.RawKernel = raw_kernel
    cupy.exp = lambda x: "exp of CuPy"
    return cupy


@pytest.fixture
def cupy(fresh_probe, monkeypatch):
    """A stand-in for CuPy that works."""
    module = fake_cupy()
    monkeypatch.setitem(sys.modules, "cupy", module)
    return module


@pytest.fixture
def no_cupy(fresh_probe, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)  # importing it raises ModuleNotFoundError


def run_python(code, **environment):
    """Run a script in a fresh interpreter where CuPy cannot be imported."""
    return subprocess.run(
        [sys.executable, "-c", "import sys; sys.modules['cupy'] = None\n" + code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


# xp and use_backend


def test_xp_follows_the_backend(cupy):
    assert xp.exp is np.exp
    use_backend("cupy")
    assert active_backend() == gpunet.active_backend() == "cupy"
    assert xp.exp is cupy.exp
    assert xp.ndarray is FakeArray
    use_backend("numpy")
    assert active_backend() == "numpy"
    assert xp.exp is np.exp


@pytest.mark.parametrize("module", ["gpunet.ops.activation", "gpunet.backend.random", "gpunet.train.trainer"])
def test_modules_that_took_xp_before_a_switch_follow_it(cupy, module):
    early = importlib.import_module(module).xp
    assert early.exp is np.exp
    with use_backend("cupy"):
        assert early.exp is cupy.exp
    assert early.exp is np.exp


def test_names_that_only_one_backend_has(cupy):
    cupy.only_here = 1
    with use_backend("cupy"):
        assert xp.only_here == 1
    with pytest.raises(AttributeError, match="only_here"):
        _ = xp.only_here


def test_context_manager_nests(cupy):
    with use_backend("cupy"):
        with use_backend("numpy"):
            assert active_backend() == "numpy"
            with use_backend("cupy"):
                assert active_backend() == "cupy"
            assert active_backend() == "numpy"
        assert active_backend() == "cupy"
    assert active_backend() == "numpy"


def test_context_manager_restores_after_an_exception(cupy):
    with pytest.raises(ZeroDivisionError), use_backend("cupy"):
        _ = 1 / 0
    assert active_backend() == "numpy"


def test_function_form_inside_a_block_ends_with_the_block(cupy):
    with use_backend("numpy"):
        use_backend("cupy")
        assert active_backend() == "cupy"
    assert active_backend() == "numpy"


def test_auto_takes_cupy_where_it_works(cupy):
    with use_backend("auto"):
        assert active_backend() == "cupy"
    with use_backend():
        assert active_backend() == "cupy"


def test_auto_falls_back_to_numpy(no_cupy):
    with use_backend("auto"):
        assert active_backend() == "numpy"


@pytest.mark.parametrize("name", ["torch", "", "NumPy", None])
def test_unknown_backend(name):
    with pytest.raises(BackendError, match=r"unknown backend .*; choose one of auto, numpy, cupy"):
        use_backend(name)
    assert active_backend() == "numpy"


def test_cupy_that_cannot_work_says_why_and_what_to_do(no_cupy):
    with pytest.raises(BackendError) as caught:
        use_backend("cupy")
    assert "CuPy is not installed" in str(caught.value)
    assert "pip install 'gpunet[cuda13]'" in str(caught.value)
    assert active_backend() == "numpy"


def test_repr_shows_the_backend():
    assert repr(xp) == "<xp: numpy>"


# GPUNET_BACKEND


@pytest.mark.parametrize("value", ["numpy", "auto", ""])
def test_environment_names_the_backend(value):
    done = run_python("import gpunet; print(gpunet.active_backend())", GPUNET_BACKEND=value)
    assert (done.returncode, done.stdout) == (0, "numpy\n"), done.stderr


def test_environment_is_read_at_the_first_use():
    code = "import os, gpunet; os.environ['GPUNET_BACKEND'] = 'numpy'; print(gpunet.active_backend())"
    assert run_python(code, GPUNET_BACKEND="nonsense").stdout == "numpy\n"


def test_use_backend_goes_before_the_environment():
    code = "import gpunet; gpunet.use_backend('numpy'); print(gpunet.active_backend())"
    assert run_python(code, GPUNET_BACKEND="nonsense").stdout == "numpy\n"


@pytest.mark.parametrize(("value", "reason"), [("nonsense", "auto, numpy, cupy"), ("cupy", "CuPy is not installed")])
def test_environment_that_cannot_be_followed(value, reason):
    code = """
import gpunet
for attempt in range(2):  # the first failure must not leave a half-chosen backend
    try:
        gpunet.tensor([1.0])
    except gpunet.errors.BackendError as error:
        print(error)
"""
    done = run_python(code, GPUNET_BACKEND=value)
    lines = done.stdout.splitlines()
    assert len(lines) == 2, done.stderr
    assert all(reason in line for line in lines)


def test_environment_that_cannot_be_followed_on_the_command_line(tmp_path):
    done = run_python(
        f"from gpunet.cli import main; sys.exit(main(['train', '--out', {str(tmp_path / 'run')!r}]))",
        GPUNET_BACKEND="nonsense",
    )
    assert done.returncode == 1
    assert "gpunet: error: unknown backend 'nonsense'; choose one of auto, numpy, cupy" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_fallback_is_logged_once():
    code = """
import logging
logging.basicConfig(level=logging.INFO)
import gpunet
gpunet.tensor([1.0])
for name in ("auto", "numpy", "auto"):
    gpunet.use_backend(name)
    gpunet.tensor([1.0])
"""
    done = run_python(code, GPUNET_BACKEND="")
    assert done.stderr.splitlines() == ["INFO:gpunet:no GPU in use (CuPy is not installed); running on NumPy"]


def test_numpy_by_choice_logs_nothing():
    code = "import logging; logging.basicConfig(level=logging.INFO); import gpunet; gpunet.tensor([1.0])"
    assert run_python(code, GPUNET_BACKEND="numpy").stderr == ""


def test_import_stays_light():
    code = """
import gpunet
heavy = {"cupy", "matplotlib", "PIL", "tqdm", "threadpoolctl", "torch", "gpunet.cli"}
print(sorted(heavy & {name for name, module in sys.modules.items() if module is not None}))
"""
    done = run_python(code)
    assert done.stdout == "[]\n", done.stderr


# The probe


def test_probe_works(cupy):
    probe = probe_cupy()
    assert probe.ok
    assert probe.status == "ok"
    assert probe.reason == "1 CUDA device(s)"


def test_probe_not_installed(no_cupy):
    probe = probe_cupy()
    assert not probe.ok
    assert (probe.status, probe.reason) == ("not-installed", "CuPy is not installed")
    assert "gpunet[cuda13]" in probe.mend


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise ImportError('libcublas.so.12: no such file')", "ImportError: libcublas.so.12: no such file"),
        ("raise RuntimeError('compiled against another NumPy')", "RuntimeError: compiled against another NumPy"),
        ("import a_module_that_is_missing", "No module named 'a_module_that_is_missing'"),
        ("", "cuda"),  # what a half-removed wheel leaves behind can be imported, but is empty
    ],
)
def test_probe_broken_install(fresh_probe, monkeypatch, tmp_path, source, reason):
    (tmp_path / "cupy.py").write_text(source)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    try:
        probe = probe_cupy()
    finally:
        sys.modules.pop("cupy", None)
    assert probe.status == "broken-install"
    assert reason in probe.reason
    assert "uninstall every cupy wheel" in probe.mend


@pytest.mark.parametrize(
    ("module", "status", "reason", "mend"),
    [
        (
            fake_cupy(devices=DriverError(35, "cudaErrorInsufficientDriver: driver is insufficient")),
            "no-driver",
            "cudaErrorInsufficientDriver",
            "NVIDIA driver",
        ),
        (
            fake_cupy(devices=DriverError(100, "cudaErrorNoDevice: no CUDA-capable device is detected")),
            "no-device",
            "cudaErrorNoDevice",
            "nvidia-smi",
        ),
        (fake_cupy(devices=RuntimeError("something else")), "no-device", "something else", "nvidia-smi"),
        (fake_cupy(devices=0), "no-device", "no device", "nvidia-smi"),
        (
            fake_cupy(answer=RuntimeError("libnvrtc.so.12: cannot open shared object file")),
            "no-compiler",
            "a test kernel did not run: RuntimeError: libnvrtc",
            "uninstall every cupy wheel",
        ),
        (
            fake_cupy(product=RuntimeError("libcublas.so.12: cannot open shared object file")),
            "no-library",
            "RuntimeError: libcublas",
            "uninstall every cupy wheel",
        ),
        (fake_cupy(product=0.0), "broken-device", "gave 0 instead of 2", "NVIDIA driver"),
        (fake_cupy(answer=41), "broken-device", "answered 41 instead of 42", "NVIDIA driver"),
    ],
)
def test_probe_stages(fresh_probe, monkeypatch, module, status, reason, mend):
    monkeypatch.setitem(sys.modules, "cupy", module)
    probe = probe_cupy()
    assert not probe.ok
    assert probe.status == status
    assert reason in probe.reason
    assert mend in probe.mend
    with pytest.raises(BackendError, match="the cupy backend cannot be used") as caught:
        use_backend("cupy")
    assert probe.reason in str(caught.value)
    assert probe.mend in str(caught.value)
    with use_backend("auto"):
        assert active_backend() == "numpy"


def test_probe_runs_once(cupy):
    looks = []
    cupy.cuda.runtime.getDeviceCount = lambda: looks.append(1) or 1
    for name in ("cupy", "auto", "cupy"):
        with use_backend(name):
            pass
    assert probe_cupy() is probe_cupy()
    assert len(looks) == 1


# Arrays


def test_a_tensor_is_read_as_an_array_on_numpy_alone(backend):
    values = gpunet.tensor([1.0, 2.0])
    if backend == "numpy":
        assert to_cpu(values).tolist() == asarray(values).tolist() == [1, 2]
    else:
        for read in (to_cpu, asarray):
            with pytest.raises(BackendError, match=r"t\.numpy\(\) copies its values"):
                read(values)


def test_to_cpu_and_asarray(backend):
    array = asarray([[1, 2], [3, 4]], dtype="float32")
    assert isinstance(array, xp.ndarray)
    assert backend_of(array) == backend
    on_host = to_cpu(array)
    assert type(on_host) is np.ndarray
    assert on_host.dtype == np.float32
    np.testing.assert_array_equal(on_host, [[1, 2], [3, 4]])


def test_no_copy_where_none_is_needed(backend):
    array = xp.arange(3)
    assert asarray(array) is array
    if backend == "numpy":
        assert to_cpu(array) is array


def test_arrays_move_between_backends(cupy):
    on_host = np.arange(3)
    with use_backend("cupy"):
        there = asarray(on_host)
        assert type(there) is FakeArray
        assert asarray(there) is there
    np.testing.assert_array_equal(to_cpu(there), on_host)
    assert type(asarray(there)) is np.ndarray


def test_check_active():
    check_active(np.zeros(2), "input")
    with pytest.raises(BackendError, match="conv2d: input is an array of cupy, but the active backend is numpy"):
        check_active(FakeArray([1.0]), "conv2d: input")


@pytest.mark.parametrize("operation", [lambda x: x + 1, lambda x: x.sum(), gpunet.functional.relu])
def test_a_tensor_from_before_a_switch_is_refused(cupy, operation):
    x = gpunet.tensor([1.0, 2.0])
    with use_backend("cupy"), pytest.raises(BackendError, match=r"is an array of numpy.*active backend is cupy"):
        operation(x)


def test_two_backends_in_one_operation(cupy):
    x = gpunet.tensor([1.0, 2.0])
    y = gpunet.tensor([1.0, 2.0])
    y.data = FakeArray(y.array)
    with pytest.raises(BackendError, match=r"is an array of cupy.*active backend is numpy"):
        x + y


def test_channels_last(backend, rng):
    values = rng.standard_normal((2, 3, 4, 5)).astype(np.float32)
    nhwc = to_nhwc(asarray(values))
    assert nhwc.shape == (2, 4, 5, 3)
    assert nhwc.flags.c_contiguous
    x = as_nchw(nhwc)
    np.testing.assert_array_equal(to_cpu(x), values)
    assert x.strides == nhwc.transpose(0, 3, 1, 2).strides
    assert xp.shares_memory(to_nhwc(x), x) if backend == "numpy" else to_nhwc(x).data.ptr == x.data.ptr
