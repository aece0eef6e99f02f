"""Every kernel of every pass, on every device, against the page: what the pass says in plain `xp`, in float64.

Nothing is listed here: passes and kernels are those that the modules of gpunet.ops declare. tests/passes/ has the
arguments; a pass without any fails, and so does a kernel that takes none of them.
"""

import contextlib
import importlib
import pkgutil

import numpy as np
import pytest

import gpunet.ops
import tests.passes
from gpunet.backend import asarray, cpu_kernels, to_cpu, use_backend
from gpunet.backend.cpu_library import library
from gpunet.errors import BackendError
from gpunet.ops.passes import PASSES, is_float32
from gpunet.tensor import tensor
from tests.passes import CASES

for package in (gpunet.ops, tests.passes):
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)

BACKENDS = {"cpu": "numpy", "cuda": "emulated"}
KERNELS = [
    pytest.param(name, device, number, id=f"{name}-{device}{number or ''}")
    for name, one in PASSES.items()
    for device, declared in one.kernels.items()
    for number in range(len(declared))
]


def on_device(device):
    """Switches to the backend of a device; skips the test where its kernels cannot run here."""
    if device == "cpu" and library() is None:
        pytest.skip("the CPU kernels are not built here")
    try:
        return use_backend(BACKENDS[device])
    except BackendError as error:
        pytest.skip(str(error))


@contextlib.contextmanager
def without_kernels():
    """Pages call passes, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gpunet.backend.kernels._turned_off", True)
        yield


# Arguments and results: arrays, or tuples of them, such as a NamedTuple


def each_array(function, value):
    """The same value, with the function of every array in it."""
    if hasattr(value, "strides") and not isinstance(value, type):
        return function(value)
    if isinstance(value, tuple):
        parts = [each_array(function, part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return value


def arrays_in(value):
    found = []
    each_array(found.append, tuple(value) if isinstance(value, tuple) else (value,))
    return found


def in_float64(array):
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def on_backend(array):
    """With the same order of axes in memory."""
    order = sorted(range(array.ndim), key=lambda axis: -array.strides[axis])
    inner = asarray(np.array(array.transpose(order), order="C"))
    return inner.transpose([order.index(axis) for axis in range(array.ndim)])


def misaligned(array):
    """A copy, with the same order of axes, that begins one number after the beginning of its memory."""
    order = sorted(range(array.ndim), key=lambda axis: -array.strides[axis])
    memory = np.empty(array.size + 1, array.dtype)[1:]
    copy = memory.reshape([array.shape[axis] for axis in order]).transpose([order.index(a) for a in range(array.ndim)])
    copy[...] = array
    return copy


def with_special_values(rng, case):
    """NaN and infinities, or infinity alone, in a few places of every array of floats, sometimes at its beginning."""
    values = (np.nan, np.inf, -np.inf) if rng.random() < 0.5 else (np.inf,)
    at_first = rng.random() < 0.3

    def put(array):
        array = array.copy(order="K")
        if array.dtype.kind == "f" and array.size:
            if at_first:
                array[(0,) * array.ndim] = values[-1]
            for value in () if at_first else values:
                array[tuple(rng.integers(size) for size in array.shape)] = value
        return array

    return each_array(put, case)


def spared(name, case):
    """What a pass is called with: a copy where it may write over it, since the case is still needed."""
    return each_array(lambda array: array.copy(order="K"), case) if CASES[name].in_place else case


def call(function, arguments):
    """The results, copied to the host: some passes lend memory of their own."""
    with np.errstate(all="ignore"):
        return [to_cpu(array).copy() for array in arrays_in(function(*arguments))]


def as_given(*arguments):
    return arguments


def assert_same_bits(a, b):
    for one, other in zip(a, b, strict=True):
        assert one.dtype == other.dtype
        assert np.ascontiguousarray(one).tobytes() == np.ascontiguousarray(other).tobytes()


def assert_near(got, page, exact, tolerance):
    """Shapes and types as on the page, values as on the page in float64."""
    assert [(each.shape, each.dtype) for each in got] == [(each.shape, each.dtype) for each in page]
    for one, want in zip(got, exact, strict=True):
        if one.dtype.kind != "f":
            np.testing.assert_array_equal(one, want)
        elif one.size:
            allowed = 2e-3 if one.dtype == np.float16 else tolerance
            np.testing.assert_allclose(one, want, rtol=0, atol=allowed * max(np.abs(want).max(), 1e-30))


# The tests


@pytest.mark.parametrize("name", PASSES)
def test_every_pass_has_cases(name):
    assert name in CASES, f"add cases of {name} to tests/passes/"


def test_cases_are_of_passes():
    assert set(CASES) <= set(PASSES)


@pytest.mark.parametrize("name", PASSES)
def test_the_page_on_the_emulated_backend(name, rng, numpy_backend):
    for case in CASES[name].make(rng):
        with without_kernels():
            want = call(PASSES[name].page, spared(name, case))
            with on_device("cuda"):
                got = call(PASSES[name].page, each_array(on_backend, spared(name, case)))
        assert_near(got, want, want, CASES[name].tolerance)


@pytest.mark.parametrize(("name", "device", "number"), KERNELS)
def test_a_kernel_is_the_page(name, device, number, rng, numpy_backend):
    one, kernel = PASSES[name], PASSES[name].kernels[device][number]
    taken = 0
    for case in CASES[name].make(rng):
        with on_device(device):
            arguments = each_array(on_backend, spared(name, case))
            if not kernel.takes(*arguments):
                continue
            taken += 1
            before = call(as_given, arguments)
            got = call(kernel.run, arguments)
            if not CASES[name].in_place:
                assert_same_bits(call(as_given, arguments), before)  # what it was given is as it was
        with without_kernels():
            page, exact = call(one.page, spared(name, case)), call(one.page, each_array(in_float64, spared(name, case)))
        assert_near(got, page, exact, CASES[name].tolerance)
    assert taken, f"no case of {name} is for this kernel"


@pytest.mark.parametrize(("name", "device", "number"), KERNELS)
def test_nan_and_infinity_in_a_kernel_are_those_of_the_page(name, device, number, rng, numpy_backend):
    if not CASES[name].special:
        pytest.skip("they cannot occur here")
    one, kernel = PASSES[name], PASSES[name].kernels[device][number]
    for case in CASES[name].make(rng):
        case = with_special_values(rng, case)
        with on_device(device):
            arguments = each_array(on_backend, spared(name, case))
            if not kernel.takes(*arguments):
                continue
            got = call(kernel.run, arguments)
        with without_kernels():
            page = call(one.page, case)
        for value, want in zip(got, page, strict=True):
            for special in (np.isnan, np.isposinf, np.isneginf):
                np.testing.assert_array_equal(special(value), special(want))


@pytest.mark.parametrize(("name", "device", "number"), KERNELS)
def test_a_cpu_kernel_gives_the_same_bits_wherever_arrays_begin_and_on_any_number_of_threads(
    name, device, number, rng, numpy_backend, threads, monkeypatch
):
    if device != "cpu":
        pytest.skip("tests/test_kernels.py runs CUDA kernels in several orders of threads")
    kernel = PASSES[name].kernels[device][number]
    monkeypatch.setattr(cpu_kernels, "LEAST_WORK", 1)  # so that small work is shared, too
    for case in CASES[name].make(rng):
        with on_device(device):
            if kernel.takes(*case):
                threads(1)
                alone = call(kernel.run, spared(name, case))
                threads(3)
                assert_same_bits(call(kernel.run, spared(name, case)), alone)
                assert_same_bits(call(kernel.run, each_array(misaligned, case)), alone)


def test_an_array_whose_type_is_another_object_of_numpy_is_float32_all_the_same(numpy_backend):
    other = np.dtype(np.float32).newbyteorder("=")
    assert other is not np.dtype(np.float32)
    x = np.arange(6, dtype=np.float32).reshape(2, 3).astype(other)
    assert x.dtype is other
    assert is_float32(x, x.astype(np.float32), np.arange(3))
    assert tensor([1, 2], dtype=other).array.dtype is np.dtype(np.float32)
