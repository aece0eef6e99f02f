"""Steps of optimizers, and unscaling: many arrays in one launch, against the page on NumPy in float64."""

import numpy as np
import pytest

from gpunet import optim
from gpunet.backend import kernels, to_cpu, use_backend, xp
from gpunet.backend.kernel_table import SGD, UNSCALE
from gpunet.backend.kernels import CHUNK, TableLaunch
from gpunet.errors import BackendError, DTypeError, KernelError, ShapeError
from gpunet.optim import at_once
from gpunet.tensor import tensor
from tests import test_kernels as suite

pytestmark = suite.pytestmark

SHAPES = [(1,), (7, 3), (CHUNK,), (CHUNK + 1,), (0,), (4, 3, 5, 2), (3 * CHUNK - 1,), (6, 2, 1, 1)]
SETTINGS = {
    "sgd": (optim.SGD, {"lr": 0.1}),
    "decay": (optim.SGD, {"lr": 0.1, "weight_decay": 0.2}),
    "momentum": (optim.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.2}),
    "nesterov": (optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    "adam": (optim.Adam, {"lr": 0.1, "weight_decay": 0.2, "eps": 1e-2}),  # float16 squares are soon 0
    "amsgrad": (optim.Adam, {"lr": 0.1, "amsgrad": True}),
    "adamw": (optim.AdamW, {"lr": 0.1, "weight_decay": 0.2, "betas": (0.7, 0.9)}),
}
TOLERANCE = {"float16": 1e-2, "float32": 1e-5, "float64": 1e-12}


def steps(backend, kind, settings, dtype, shapes, count=3):
    """Weights after some steps, and what was launched in the last."""
    rng = np.random.default_rng(0)
    with use_backend(backend):
        weights = [tensor(_drawn(rng, shape, dtype), requires_grad=True) for shape in shapes]
        weights = [_channels_last(each) for each in weights]
        optimizer = kind(weights, **settings)
        for _ in range(count):
            for each in weights:
                each.grad = tensor(_drawn(rng, each.shape, dtype))
                each.grad.data = _channels_last(each.grad).array
            if backend == "emulated":
                xp.counters.reset()
            optimizer.step()
        launched = dict(xp.counters.launches_of) if backend == "emulated" else {}
        return [to_cpu(each.array) for each in weights], launched


def _drawn(rng, shape, dtype):
    return (rng.integers(-8, 8, shape) / 8 + 0.0625).astype("float16").astype(dtype)


def _channels_last(x):
    if x.ndim == 4:
        x.data = xp.ascontiguousarray(x.array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    return x


@pytest.mark.parametrize("kind", SETTINGS)
def test_a_step_is_that_of_the_page_in_one_launch(kind, dtype):
    made, launched = steps("emulated", *SETTINGS[kind], dtype, SHAPES)
    expected, _ = steps("numpy", *SETTINGS[kind], "float64", SHAPES)
    assert launched == ({"sgd": 1} if SETTINGS[kind][0] is optim.SGD else {"begin_adam": 1, "adam": 1})
    for one, right in zip(made, expected, strict=True):
        assert one.dtype == dtype
        np.testing.assert_allclose(one, right, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_more_arrays_than_a_table_holds_take_several_launches():
    shapes = [(1 + i % 5,) for i in range(2 * SGD.parameters[0].most + 1)]
    made, launched = steps("emulated", *SETTINGS["momentum"], "float32", shapes)
    expected, _ = steps("numpy", *SETTINGS["momentum"], "float64", shapes)
    assert launched == {"sgd": 3}
    for one, right in zip(made, expected, strict=True):
        np.testing.assert_allclose(one, right, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["momentum", "amsgrad"])
def test_what_was_loaded_is_updated_in_one_launch_too(kind, counters):
    make, settings = SETTINGS[kind]
    weight = _channels_last(tensor(np.ones((4, 3, 5, 2), np.float32), requires_grad=True))
    optimizer = make([weight], **settings)
    for _ in range(2):
        weight.grad = tensor(np.ones(weight.shape, np.float32))
        weight.grad = _channels_last(weight.grad)
        counters.reset()
        optimizer.step()
        assert sum(counters.launches_of.values()) == (1 if make is optim.SGD else 2)
        optimizer.load_state_dict(optimizer.state_dict())


def test_a_step_with_the_settings_of_the_last_is_one_launch_and_nothing_else(counters):
    weight = tensor(np.ones(5, np.float32), requires_grad=True)
    optimizer = optim.SGD([weight], lr=0.5, momentum=0.5)
    weight.grad = tensor(np.ones(5, np.float32))
    for expected in (4 + 1, 0, 0):  # the numbers that the kernel reads, and a velocity of zeros
        counters.reset()
        optimizer.step()
        assert (counters.launches, counters.functions.total()) == (1, expected)
    optimizer.param_groups[0]["lr"] = 0.25
    counters.reset()
    optimizer.step()
    assert (counters.launches, counters.functions.total()) == (1, 1)


@pytest.mark.parametrize("bad", [None, np.nan, np.inf, -np.inf])
def test_gradients_are_unscaled_and_the_one_that_is_not_finite_is_found(bad):
    with use_backend("emulated"):
        grads = [np.arange(size, dtype=dtype) for size in (3, 2 * CHUNK + 5) for dtype in ("float32", "float64")]
        if bad is not None:
            grads[3][-1] = bad
        given = [xp.asarray(each) for each in grads]
        assert bool(at_once.unscale(given, xp.full(1, 0.25))) == (bad is None)
        for one, right in zip(given, grads, strict=True):
            np.testing.assert_array_equal(one.get(), right / 4)


def test_a_gradient_that_two_parameters_share_is_left_to_the_page():
    with use_backend("emulated"):
        grad = xp.ones(5, dtype=xp.float32)
        assert at_once.unscale([grad, grad], xp.ones(1)) is None
        assert (grad.get() == 1).all()


def test_parameters_that_share_memory_are_updated_one_after_the_other():
    with use_backend("emulated"):
        memory = xp.ones(6, dtype=xp.float32)
        weights = [tensor(np.zeros(6, np.float32), requires_grad=True) for _ in range(2)]
        for each in weights:
            each.data = memory
            each.grad = tensor(np.ones(6, np.float32))
        optim.SGD(weights, lr=0.25).step()
        np.testing.assert_array_equal(memory.get(), 0.5)


def test_a_formula_of_a_subclass_is_not_passed_over():
    class Still(optim.SGD):
        def _update(self, param, grad, state, group):
            pass

    with use_backend("emulated"):
        weight = tensor([1.0], requires_grad=True)
        weight.grad = tensor([1.0])
        Still([weight], lr=0.5).step()
        assert weight.item() == 1


@pytest.mark.parametrize("kind", SETTINGS)
def test_a_step_is_left_out_where_the_device_says_so(kind):
    make, settings = SETTINGS[kind]
    with use_backend("emulated"):
        weights = [tensor(np.arange(size, dtype=np.float32), requires_grad=True) for size in (3, CHUNK + 1)]
        optimizer = make(weights, **settings)
        for each in weights:
            each.grad = tensor(np.ones(each.shape, np.float32))
        optimizer.step()
        before = [to_cpu(each.array).copy() for each in weights], optimizer.state_dict()
        for go in (False, False, True):
            optimizer.step_if(xp.asarray(go))
            if not go:
                np.testing.assert_equal([to_cpu(each.array) for each in weights], before[0])
                np.testing.assert_equal(optimizer.state_dict(), before[1])
        assert all((to_cpu(each.array) < values).all() for each, values in zip(weights, before[0], strict=True))


@pytest.mark.parametrize("interval", [1, 3])
def test_the_scale_grows_and_shrinks_as_it_is_written(interval):
    """Beside the rule in plain Python; the largest scale is passed over, and met."""
    rng = np.random.default_rng(0)
    scale, good, growth, backoff, largest = 3.0, 0, 4.0, 0.375, 700.0
    with use_backend("emulated"):
        numbers = xp.asarray(np.array([scale, 1 / scale, good]))
        for finite in rng.random(60) < 0.8:
            at_once.rescale(numbers, xp.asarray(finite), growth, backoff, interval, largest)
            good = good + 1 if finite else 0
            if not finite:
                scale *= backoff
            elif good == interval:
                scale, good = (scale * growth if scale * growth <= largest else scale), 0
            np.testing.assert_array_equal(numbers.get(), [scale, 1 / scale, good])


def ones(size, dtype="float32"):
    return xp.ones(size, dtype=dtype)


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        (lambda: [[ones(3)], [ones(4)], None], ShapeError, "must be of one size"),
        (lambda: [[ones(3)], [ones(3, "float64")], None], DTypeError, "must be of one type"),
        (lambda: [[ones(3, "int32")], [ones(3, "int32")], None], DTypeError, "float16 or float32 or float64"),
        (lambda: [[np.ones(3)], [ones(3)], None], BackendError, "must be an array of emulated"),
        (lambda: [[ones(6)[::2]], [ones(3)], None], ShapeError, "must be C-contiguous"),
    ],
)
def test_a_table_is_checked_like_other_arrays(columns, error, message):
    with use_backend("emulated"), pytest.raises(error, match=f"sgd: tensors {message}|sgd: .*{message}"):
        TableLaunch(SGD, columns(), xp.zeros(4), xp.ones(1, dtype=xp.uint8), 0, 0)


def test_what_a_table_does_not_lead_to_is_out_of_bounds(monkeypatch):
    def too_long(kernel, parameter, columns):
        for table, blocks in tables(kernel, parameter, columns):
            table["size"][0] += 1
            yield table, blocks

    tables = kernels._tables
    monkeypatch.setattr(kernels, "_tables", too_long)
    with use_backend("emulated"), pytest.raises(KernelError, match="out of bounds"):
        TableLaunch(UNSCALE, [[ones(3)]], xp.ones(1), per_block=xp.zeros(1, dtype=xp.uint8))()


def test_a_struct_of_another_size_is_refused():
    with use_backend("emulated"):
        kernel = kernels._function("emulated", UNSCALE, (np.dtype(np.float32),), 1)
        arguments = np.zeros((), [("at", np.uint64)]), xp.ones(1), xp.zeros(1, dtype=xp.uint8)
        with pytest.raises(KernelError, match="struct of 8 bytes"):
            kernel((1,), (32,), arguments)


def test_an_argument_of_a_table_launch_keeps_its_type():
    with use_backend("emulated"):
        run = TableLaunch(UNSCALE, [[ones(3)]], xp.ones(1), per_block=xp.zeros(1, dtype=xp.uint8))
        with pytest.raises(DTypeError, match="must stay float64, got float32"):
            run.share(1, ones(1))


@pytest.fixture(params=suite.DTYPES)
def dtype(request):
    return request.param


def students(name, *arguments):
    """Run what a student would write for a kernel on arrays of 5 numbers: the arrays afterwards."""
    with use_backend("emulated"):
        source, text = suite.STUDENTS[name]
        text = text.replace(f" {name}(", f" students_{name}(")
        module = xp.RawModule(code=kernels.kernel_source(source) + text, name_expressions=[f"students_{name}<float>"])
        given = [xp.asarray(each) if isinstance(each, np.ndarray) else each for each in arguments]
        module.get_function(f"students_{name}<float>")((1,), (256,), tuple(given))
        return [each.get() for each in given if isinstance(each, xp.ndarray)]


def test_what_a_student_would_write(rng):
    f, count = np.float32, np.int64(5)
    w, g, mean, square = (np.abs(rng.standard_normal(5)).astype(f) for _ in range(4))
    made = students("sgd", w, g, mean, count, f(0.1), f(0.9))
    np.testing.assert_allclose(made[2], 0.9 * mean + g, rtol=1e-5)
    np.testing.assert_allclose(made[0], w - 0.1 * (0.9 * mean + g), rtol=1e-5, atol=1e-6)
    made = students("adam", w, g, mean, square, count, f(0.1), f(0.9), f(0.8), f(0.7), f(1e-3))
    m, s = 0.9 * mean + 0.1 * g, 0.8 * square + 0.2 * g * g
    np.testing.assert_allclose(made[0], w - 0.1 * m / (np.sqrt(s) / 0.7 + 1e-3), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(made[2:], [m, s], rtol=1e-5)
    g[2] = np.inf
    made = students("unscale", g, np.ones(1, np.uint8), count, f(0.5))
    np.testing.assert_array_equal(made[0], g / 2)
    assert made[1] == 0
