"""Every operation of gpunet.ops, put to the test from what it declares.

An operation that has no examples here fails. Its gradients are compared with finite differences, float16 with float64,
the emulated backend with NumPy, and the types of its results with a table of rules that does not know its attributes,
and with what PyTorch does.
"""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import gpunet.ops
from gpunet.amp import autocast
from gpunet.backend import asarray, manual_seed, to_cpu, use_backend
from gpunet.errors import DTypeError
from gpunet.ops import (
    activation,
    arithmetic,
    batchnorm,
    conv,
    conv_transpose,
    fold,
    formulas,
    groupnorm,
    linear,
    loss,
    matmul,
    pairs,
    pooling,
    reduction,
    resample,
    shaping,
    softmax,
    sync_batchnorm,
)
from gpunet.ops.adaptive_pooling import AdaptiveAvgPool2d, AdaptiveMaxPool2d
from gpunet.ops.dropout import Dropout
from gpunet.ops.elementary import PRECISE, TABLE, Elementary, PreciseElementary
from gpunet.ops.operation import Operation
from gpunet.ops.scatter import ScatterExtremum
from gpunet.ops.window import Window
from gpunet.tensor import apply, tensor
from gpunet.testing import gradcheck

for module in pkgutil.iter_modules(gpunet.ops.__path__, "gpunet.ops."):
    importlib.import_module(module.name)


def operations(parent=Operation):
    """Those of gpunet, without bases of others, and without InFloat32, which is a way to run others."""
    for each in parent.__subclasses__():
        if each.__module__.startswith("gpunet.ops.") and each.__name__ != "InFloat32":
            if not each.__name__.startswith("_") and each.__module__ != Operation.__module__:
                yield each.__name__
            yield from operations(each)


OPERATIONS = sorted(set(operations()))  # some have two parents


# -------------------------------------------------------------------------------------------------------- the examples


@dataclass(frozen=True)
class Example:
    """How to run an operation: as `make(*constants)` on inputs of these shapes, or on plain numbers."""

    make: Callable[..., Operation]
    inputs: tuple[Any, ...]
    constants: tuple[np.ndarray, ...] = ()
    """Arrays for the constructor; floats are given in the type that the operation computes in."""
    low: float = -1.0
    high: float = 1.0
    """The values lie between these: where the operation is defined and, but for corners, smooth."""
    differentiable: int = 9
    """So many of the inputs, from the first, have a gradient."""
    float32: int = 9
    """The inputs from here on stay float32 beside a float16 input."""


def taps(size, target, mode):
    return resample.interpolation(size, target, None, mode, False)


IMAGES = (2, 4, 6, 5)
WINDOW = Window((3, 2), (2, 1), ((1, 0), (1, 1)))
PROBABILITIES = np.random.default_rng(1).dirichlet(np.ones(4), 3)  # (3, 4)
PLACES = np.tile(np.array([[0, 6], [9, 15]]), (2, 2, 1, 1))
CONDITION = np.random.default_rng(2).random((3, 4)) < 0.5

EXAMPLES = {
    "Abs": [Example(arithmetic.Abs, ((3, 4),))],
    "AdaptiveAvgPool2d": [Example(lambda: AdaptiveAvgPool2d((3, 2)), (IMAGES,))],
    "AdaptiveMaxPool2d": [Example(lambda: AdaptiveMaxPool2d((3, 2)), (IMAGES,))],
    "Add": [Example(arithmetic.Add, ((2, 3, 4), (3, 1))), Example(arithmetic.Add, ((3, 4), 2.5))],
    "AvgPool2d": [Example(lambda: pooling.AvgPool2d(WINDOW, False, None), (IMAGES,))],
    "BatchNorm": [
        Example(lambda: batchnorm.BatchNorm(1e-5), (IMAGES, (4,), (4,)), float32=1),
        Example(lambda: batchnorm.BatchNorm(1e-5), ((9, 4),)),
    ],
    "BatchNormInference": [
        Example(
            lambda mean, var: batchnorm.BatchNormInference(1e-5, mean, var),
            (IMAGES, (4,), (4,)),
            constants=(np.array([0.5, -1, 0, 2]), np.array([1.0, 4, 0.5, 2])),
            float32=1,
        )
    ],
    "BinaryCrossEntropy": [
        Example(loss.BinaryCrossEntropy, ((3, 4), (3, 4)), low=0.1, high=0.9),
    ],
    "BinaryCrossEntropyWithLogits": [
        Example(loss.BinaryCrossEntropyWithLogits, ((3, 4), (3, 4)), low=0.1),
        Example(loss.BinaryCrossEntropyWithLogits, ((3, 4), (3, 4), (4,)), low=0.1),
    ],
    "Cast": [Example(lambda: shaping.Cast(np.float64), ((3, 4),))],
    "Clamp": [Example(lambda: arithmetic.Clamp(-0.5, 0.4), ((3, 4),))],
    "Concatenate": [Example(lambda: shaping.Concatenate(1), ((2, 3), (2, 1), (2, 4)))],
    "Conv2d": [
        Example(lambda: conv.Conv2d(WINDOW, 1), (IMAGES, (3, 4, 3, 2), (3,))),
        Example(lambda: conv.Conv2d(Window((3, 3)), 2), (IMAGES, (6, 2, 3, 3))),
        Example(lambda: conv.Conv2d(Window((1, 1)), 1), (IMAGES, (5, 4, 1, 1), (5,))),
    ],
    "CumulativeSum": [Example(lambda: reduction.CumulativeSum(0), ((3, 4),))],
    "Divide": [Example(arithmetic.Divide, ((3, 4), (4,)), low=0.5), Example(arithmetic.Divide, ((3, 4), 3.0))],
    "Dropout": [
        Example(lambda: Dropout(0.4, per_channel=False), ((3, 4),)),
        Example(lambda: Dropout(0.4, per_channel=True), (IMAGES,)),
    ],
    "Elementary": [
        Example(lambda name=name: Elementary(name), ((3, 4),), low=0.1, high=0.45)
        for name in sorted(TABLE.keys() - PRECISE - {"acosh"})
    ]
    + [Example(lambda: Elementary("acosh"), ((3, 4),), low=1.1, high=2)],
    "Exp": [Example(arithmetic.Exp, ((3, 4),))],
    "Expand": [Example(lambda: shaping.Expand((2, 3, 4)), ((3, 1),))],
    "ExpectedNegativeLog": [Example(loss.ExpectedNegativeLog, ((3, 4, 2), (3, 4, 2)), low=0.1)],
    "Extremum": [
        Example(lambda: reduction.Extremum((1,), False, largest=True), ((3, 4),)),
        Example(lambda: reduction.Extremum((0, 1), True, largest=False), ((3, 4),)),
    ],
    "GELU": [Example(activation.GELU, ((3, 4),))],
    "Index": [
        Example(lambda: shaping.Index((slice(None), 1)), ((3, 4),)),
        Example(lambda: shaping.Index(asarray(np.array([2, 0, 2]))), ((3, 4),)),
    ],
    "KLDivergence": [
        Example(lambda: loss.KLDivergence(False), ((3, 4), (3, 4)), low=0.1),
        Example(lambda: loss.KLDivergence(True), ((3, 4), (3, 4)), high=-0.1),
    ],
    "LeakyReLU": [Example(lambda: activation.LeakyReLU(0.1), ((3, 4),))],
    "Linear": [Example(linear.Linear, ((2, 3, 4), (5, 4), (5,))), Example(linear.Linear, ((3, 4), (5, 4)))],
    "Log": [Example(arithmetic.Log, ((3, 4),), low=0.5)],
    "LogSoftmax": [
        Example(lambda: softmax.LogSoftmax(1), ((3, 4),)),
        Example(lambda: softmax.LogSoftmax(0), ((3, 4),)),
    ],
    "MatMul": [
        Example(matmul.MatMul, ((3, 4), (4, 2))),
        Example(matmul.MatMul, ((2, 3, 4), (4,))),
        Example(matmul.MatMul, ((2, 1, 3, 4), (5, 4, 2))),
    ],
    "MaxPool2d": [Example(lambda: pooling.MaxPool2d(WINDOW), (IMAGES,))],
    "Maximum": [Example(arithmetic.Maximum, ((3, 4), (4,)))],
    "Mean": [
        Example(lambda: reduction.Mean((0, 2), False), ((2, 3, 4),)),
        Example(lambda: reduction.Mean((1,), True), ((2, 3, 4),)),
    ],
    "Minimum": [Example(arithmetic.Minimum, ((3, 4), (4,)))],
    "Multiply": [Example(arithmetic.Multiply, ((3, 4), (3, 1))), Example(arithmetic.Multiply, (2.5, (3, 4)))],
    "Negate": [Example(arithmetic.Negate, ((3, 4),))],
    "Norm": [
        Example(lambda p=p: reduction.Norm((1,), False, p), ((3, 4),), low=0.1) for p in (1.0, 2.0, 3.5, -1.0, np.inf)
    ],
    "Nothing": [Example(lambda: shaping.Nothing((0, 3)), ((0, 3, 4), (4,)))],
    "Pad": [Example(lambda: shaping.Pad(((0, 0), (1, 2)), 0.5), ((3, 4),))],
    "Permute": [Example(lambda: shaping.Permute((2, 0, 1)), ((2, 3, 4),))],
    "Power": [
        Example(arithmetic.Power, ((3, 4), (4,)), low=0.5, high=2),
        Example(arithmetic.Power, ((3, 4), 3)),
        Example(arithmetic.Power, (2.0, (3, 4))),
    ],
    "PreciseElementary": [
        Example(lambda name=name: PreciseElementary(name), ((3, 4),), low=0.1, high=0.9) for name in sorted(PRECISE)
    ],
    "Product": [
        Example(lambda: reduction.Product(1, False), ((3, 4),)),
        Example(lambda: reduction.Product(0, True), ((3, 4),)),
    ],
    "Put": [
        Example(lambda: shaping.Put((slice(None), asarray(np.array([2, 0]))), False), ((3, 4), (3, 2))),
        Example(lambda: shaping.Put(asarray(np.array([2, 0, 2])), True), ((3, 4), (3, 4))),
    ],
    "Pair": [
        *(
            Example(lambda name=name: pairs.Pair(name), ((3, 4), (4,)), low=0.4, high=0.9)
            for name in pairs.PAIRS
            if name != "copysign"
        ),
        Example(lambda: pairs.Pair("copysign"), ((3, 4), (3, 4)), low=0.4, high=0.9),
    ],
    "ReLU": [Example(activation.ReLU, ((3, 4),))],
    "Reciprocal": [Example(arithmetic.Reciprocal, (3.0, (3, 4)), low=0.5)],
    "Remainder": [Example(arithmetic.Remainder, ((3, 4), (4,)), low=0.4, high=0.9)],
    "Reshape": [Example(lambda: shaping.Reshape((6, 2)), ((3, 4),))],
    "ScatterExtremum": [
        Example(
            lambda largest=largest, own=own: ScatterExtremum((asarray(np.array([2, 0, 2, 2, 0])),), largest, own),
            ((4, 2), (5, 2)),
        )
        for largest in (True, False)
        for own in (True, False)
    ],
    "Same": [Example(shaping.Same, ((3, 4),))],
    "SiLU": [Example(activation.SiLU, ((3, 4),))],
    "Sigmoid": [Example(activation.Sigmoid, ((3, 4),))],
    "Softmax": [Example(lambda: softmax.Softmax(1), ((3, 4),)), Example(lambda: softmax.Softmax(0), ((3, 4),))],
    "Sqrt": [Example(arithmetic.Sqrt, ((3, 4),), low=0.5)],
    "SquaredError": [Example(loss.SquaredError, ((3, 4), (3, 4)))],
    "Subtract": [Example(arithmetic.Subtract, ((3, 4), (4,))), Example(arithmetic.Subtract, (1.5, (3, 4)))],
    "SyncBatchNorm": [Example(lambda: sync_batchnorm.SyncBatchNorm(1e-5), (IMAGES, (4,), (4,)), float32=1)],
    "Sum": [
        Example(lambda: reduction.Sum((0, 2), False), ((2, 3, 4),)),
        Example(lambda: reduction.Sum((1,), True), ((2, 3, 4),)),
    ],
    "Tanh": [Example(activation.Tanh, ((3, 4),))],
    "TanhGELU": [Example(activation.TanhGELU, ((3, 4),))],
    "Where": [Example(arithmetic.Where, ((3, 4), (4,)), constants=(CONDITION,))],
    "Written": [
        Example(lambda: shaping.Written([shaping.Permute((1, 0)), shaping.Index((1,))]), ((3, 4), (3,))),
        Example(lambda: shaping.Written([shaping.Index((slice(1, None), slice(None, 2)))]), ((3, 4), (2, 2))),
    ],
    "Diagonal": [Example(lambda: shaping.Diagonal((0, 1), 3), ((2, 3, 4),))],
    "ELU": [Example(lambda: formulas.ELU(1.5), ((3, 4),), low=-5, high=5)],
    "CELU": [Example(lambda: formulas.CELU(1.5), ((3, 4),), low=-5, high=5)],
    "SELU": [Example(lambda: formulas.SELU(), ((3, 4),), low=-5, high=5)],
    "Hardtanh": [Example(lambda: formulas.Hardtanh(-0.5, 0.6), ((3, 4),))],
    "Hardsigmoid": [Example(lambda: formulas.Hardsigmoid(), ((3, 4),), low=-5, high=5)],
    "Hardswish": [Example(lambda: formulas.Hardswish(), ((3, 4),), low=-5, high=5)],
    "Softplus": [Example(lambda: formulas.Softplus(2.0, 1.0), ((3, 4),))],
    "LogSigmoid": [Example(lambda: formulas.LogSigmoid(), ((3, 4),), low=-5, high=5)],
    "Mish": [Example(lambda: formulas.Mish(), ((3, 4),), low=-5, high=5)],
    "Softsign": [Example(lambda: formulas.Softsign(), ((3, 4),), low=-5, high=5)],
    "Tanhshrink": [Example(lambda: formulas.Tanhshrink(), ((3, 4),), low=-5, high=5)],
    "Softshrink": [Example(lambda: formulas.Softshrink(0.3), ((3, 4),))],
    "Hardshrink": [Example(lambda: formulas.Hardshrink(0.3), ((3, 4),))],
    "Threshold": [Example(lambda: formulas.Threshold(0.2, 0.7), ((3, 4),))],
    "PReLU": [Example(activation.PReLU, ((2, 4, 3), (4, 1))), Example(activation.PReLU, ((3, 4), ()))],
    "GroupNorm": [
        Example(lambda: groupnorm.GroupNorm(2, 1e-5), (IMAGES,)),
        Example(lambda: groupnorm.GroupNorm(4, 1e-5), (IMAGES,)),
    ],
    "LayerNorm": [Example(lambda: groupnorm.LayerNorm(2, 1e-5), ((2, 3, 4, 5),))],
    "ConvTranspose2d": [
        Example(lambda: conv_transpose.ConvTranspose2d(WINDOW, 1, (13, 4)), (IMAGES, (4, 3, 3, 2), (3,))),
        Example(lambda: conv_transpose.ConvTranspose2d(Window((3, 3), (2, 2)), 2, (14, 11)), (IMAGES, (4, 3, 3, 3))),
    ],
    "Interpolate": [
        Example(lambda: resample.Interpolate({2: taps(6, 9, "bilinear"), 3: taps(5, 3, "nearest")}), (IMAGES,)),
        Example(lambda: resample.Interpolate({2: taps(4, 9, "bicubic")}), ((2, 3, 4),)),
    ],
    "Repeat": [Example(lambda: resample.Repeat({1: [resample.repetition(4, 2, 1, "reflect")]}), ((3, 4),))],
    "AbsoluteError": [Example(loss.AbsoluteError, ((3, 4), (3, 4)))],
    "Huber": [Example(lambda: loss.Huber(0.6), ((3, 4), (3, 4)))],
    "SmoothL1": [Example(lambda: loss.SmoothL1(0.6), ((3, 4), (3, 4)))],
    "Fold": [Example(lambda: fold.Fold(WINDOW, (6, 5)), ((2, 24, 18),))],
    "MaxUnpool2d": [Example(lambda places: pooling.MaxUnpool2d(places, (4, 4)), ((2, 2, 2, 2),), constants=(PLACES,))],
    "Unfold": [
        Example(lambda: fold.Unfold(WINDOW), (IMAGES,)),
        Example(lambda: fold.Unfold(Window((1, 1))), (IMAGES,)),
    ],
}
KNOWN = [
    pytest.param(name, example, id=f"{name}{number or ''}")
    for name, examples in EXAMPLES.items()
    for number, example in enumerate(examples)
]
each_example = pytest.mark.parametrize(("name", "example"), KNOWN)


def test_every_operation_has_examples():
    assert sorted(EXAMPLES) == OPERATIONS, "write examples of new operations into EXAMPLES, and into RULES"


def test_examples_are_of_the_operation_that_they_stand_for():
    for name, examples in EXAMPLES.items():
        for example in examples:
            assert type(example.make(*example.constants)).__name__ == name


def values(example):
    """Random inputs on the host, in float64; numbers as they are."""
    rng = np.random.default_rng(0)
    return [
        rng.uniform(example.low, example.high, each) if isinstance(each, tuple) else each for each in example.inputs
    ]


def run(example, inputs, computed=None):
    """The operation, with constants in the type that it computes in: that of the first Tensor, if nothing else."""
    computed = computed or next(each.dtype for each in inputs if hasattr(each, "requires_grad"))
    constants = [each.astype(computed) if each.dtype.kind == "f" else each for each in example.constants]
    manual_seed(3)
    return apply(example.make(*map(asarray, constants)), *inputs)


def as_tensors(example, dtype):
    return [
        each
        if not isinstance(each, np.ndarray)
        else tensor(
            each,
            np.float32 if position >= example.float32 and dtype == np.float16 else dtype,
            requires_grad=position < example.differentiable,
        )
        for position, each in enumerate(values(example))
    ]


@each_example
def test_going_back_twice_gives_the_same_twice(numpy_backend, name, example):
    """As retain_graph=True does: what an operation has kept is neither let go nor written over."""
    inputs = as_tensors(example, np.float32)
    output = run(example, inputs)
    weights = tensor(np.random.default_rng(1).uniform(-1, 1, output.shape), output.dtype)
    both = []
    for _ in range(2):
        for each in inputs:
            if getattr(each, "requires_grad", False):
                each.grad = None
        output.backward(weights, retain_graph=True)
        both.append([each.grad.numpy().copy() for each in inputs if getattr(each, "requires_grad", False)])
    for one, other in zip(*both, strict=True):
        np.testing.assert_array_equal(one, other)


def with_gradients(example, dtype, computed=None):
    """The output, and the gradients of the inputs that have one, for a random gradient of the output."""
    inputs = as_tensors(example, dtype)
    output = run(example, inputs, computed)
    weights = np.random.default_rng(1).uniform(-1, 1, output.shape)
    output.backward(tensor(weights, output.dtype))
    return [output, *(each.grad for each in inputs if getattr(each, "requires_grad", False))]


# ------------------------------------------------------------------------------------------------------------ the tests


@each_example
def test_gradients_are_those_of_finite_differences(backend, name, example):
    inputs = as_tensors(example, np.float64)
    positions = [i for i, each in enumerate(inputs) if hasattr(each, "requires_grad")]

    def function(*moved):
        for position, each in zip(positions, moved, strict=True):
            inputs[position] = each
        return run(example, inputs)

    assert gradcheck(function, [inputs[position] for position in positions])


@each_example
def test_the_emulated_backend_gives_what_numpy_gives(name, example, counters):
    if name == "Dropout":
        pytest.skip("each backend draws its own random numbers")
    theirs = [to_cpu(each.array) for each in with_gradients(example, np.float32)]
    with use_backend("numpy"):
        ours = [each.array for each in with_gradients(example, np.float32)]
    for one, other in zip(ours, theirs, strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-6)


@each_example
def test_float16_is_float64_rounded_a_few_times(backend, name, example):
    half = with_gradients(example, np.float16)
    exact = with_gradients(example, np.float64)
    for one, other in zip(half, exact, strict=True):
        largest = np.abs(other.numpy()).max(initial=0)
        np.testing.assert_allclose(to_cpu(one.array).astype(np.float64), other.numpy(), rtol=0, atol=6e-3 * largest)


# Many numbers, all 1, for each operation that adds up: what float16 cannot count to, since 2048 + 1 = 2048 there.
MANY = 6000
SUMS = {
    "AvgPool2d": (lambda: pooling.AvgPool2d(Window((80, 75)), True, 1), [(1, 2, 80, 75)]),
    "BatchNorm": (lambda: batchnorm.BatchNorm(1e-5), [(MANY, 2)]),
    "SyncBatchNorm": (lambda: sync_batchnorm.SyncBatchNorm(1e-5), [(MANY, 2)]),
    "BatchNormInference": (
        lambda: batchnorm.BatchNormInference(1e-5, *(asarray(np.float32([i, i])) for i in (0, 1))),
        [(MANY, 2)],
    ),
    "Conv2d": (lambda: conv.Conv2d(Window((1, 1)), 1), [(1, MANY, 1, 1), (2, MANY, 1, 1)]),
    "CumulativeSum": (lambda: reduction.CumulativeSum(0), [(MANY, 2)]),
    "ExpectedNegativeLog": (loss.ExpectedNegativeLog, [(1, MANY), (1, MANY)]),
    "ConvTranspose2d": (
        lambda: conv_transpose.ConvTranspose2d(Window((1, 1)), 1, (1, 1)),
        [(1, MANY, 1, 1), (MANY, 2, 1, 1)],
    ),
    "GroupNorm": (lambda: groupnorm.GroupNorm(1, 1e-5), [(2, MANY)]),
    "LayerNorm": (lambda: groupnorm.LayerNorm(1, 1e-5), [(2, MANY)]),
    "Linear": (linear.Linear, [(1, MANY), (2, MANY)]),
    "LogSoftmax": (lambda: softmax.LogSoftmax(0), [(MANY, 2)]),
    "MatMul": (matmul.MatMul, [(2, MANY), (MANY, 3)]),
    "Mean": (lambda: reduction.Mean((0,), False), [(MANY, 2)]),
    "Norm": (lambda: reduction.Norm((0,), False, 2.0), [(MANY, 2)]),
    "Softmax": (lambda: softmax.Softmax(0), [(MANY, 2)]),
    "Sum": (lambda: reduction.Sum((0,), False), [(MANY, 2)]),
}
ALL_ONES = {  # what comes out
    "BatchNorm": 0,
    "SyncBatchNorm": 0,
    "BatchNormInference": 1 / np.sqrt(1 + 1e-5),
    "CumulativeSum": np.arange(1, MANY + 1).repeat(2).reshape(MANY, 2),
    "ExpectedNegativeLog": -MANY,
    "GroupNorm": 0,
    "LayerNorm": 0,
    "LogSoftmax": -np.log(MANY),
    "Mean": 1,
    "Norm": np.sqrt(MANY),
    "Softmax": 1 / MANY,
}


def test_what_adds_up_declares_it():
    assert sorted(SUMS) == [name for name in OPERATIONS if declared(name).sums]


@pytest.mark.parametrize("name", SUMS)
def test_sums_of_float16_do_not_stop_growing(backend, name):
    make, shapes = SUMS[name]
    output = apply(make(), *(tensor(np.ones(shape, np.float16)) for shape in shapes))
    assert output.dtype == np.float16
    np.testing.assert_allclose(to_cpu(output.array).astype(np.float64), ALL_ONES.get(name, MANY), rtol=2.0**-10)


# -------------------------------------------------------------------------------------------------- types of numbers

# What becomes of the types of the inputs. Under autocast: float16 for products, float32 for what needs it; the wider
# of several Tensors; or nothing. Outside: the wider; an error for layers and losses; or nothing.
PRODUCT, PRECISE, WIDER, GIVEN = "product", "precise", "wider", "given"
RULES = dict.fromkeys(OPERATIONS, GIVEN)
RULES.update(dict.fromkeys(["Conv2d", "ConvTranspose2d", "Linear", "MatMul", "PReLU"], PRODUCT))
RULES.update(dict.fromkeys(["Softmax", "LogSoftmax", "Sum", "Mean", "Exp", "Log", "Power", "Reciprocal"], PRECISE))
RULES.update(dict.fromkeys(["ExpectedNegativeLog", "BinaryCrossEntropy", "BinaryCrossEntropyWithLogits"], PRECISE))
RULES.update(
    dict.fromkeys(
        [
            "KLDivergence",
            "SquaredError",
            "AbsoluteError",
            "Huber",
            "SmoothL1",
            "Softplus",
            "GroupNorm",
            "LayerNorm",
            "Interpolate",
        ],
        PRECISE,
    )
)
RULES.update(dict.fromkeys(["Add", "Subtract", "Multiply", "Divide", "Maximum", "Minimum", "Where"], WIDER))
RULES.update(dict.fromkeys(["Concatenate", "Put", "ScatterExtremum", "Remainder", "Pair", "Written"], WIDER))
RULES.update(dict.fromkeys(["CumulativeSum", "Norm", "PreciseElementary", "Product"], PRECISE))
REFUSES = {  # Tensors of different types outside of autocast: the function that is named, and its inputs
    "Conv2d": ("conv2d", "input", "weight"),
    "ConvTranspose2d": ("conv_transpose2d", "input", "weight"),
    "Linear": ("linear", "input", "weight"),
    "PReLU": ("prelu", "input", "weight"),
    "BinaryCrossEntropy": ("binary_cross_entropy", "input", "target"),
    "BinaryCrossEntropyWithLogits": ("binary_cross_entropy_with_logits", "input", "target"),
    "KLDivergence": ("kl_div", "input", "target"),
    "SquaredError": ("mse_loss", "input", "target"),
    "AbsoluteError": ("l1_loss", "input", "target"),
    "Huber": ("huber_loss", "input", "target"),
    "SmoothL1": ("smooth_l1_loss", "input", "target"),
}
HALF, SINGLE, DOUBLE = np.float16, np.float32, np.float64
RESULTS = {
    PRODUCT: {HALF: HALF, SINGLE: HALF, DOUBLE: DOUBLE},
    PRECISE: {HALF: SINGLE, SINGLE: SINGLE, DOUBLE: DOUBLE},
    WIDER: {HALF: HALF, SINGLE: SINGLE, DOUBLE: DOUBLE},
    GIVEN: {HALF: HALF, SINGLE: SINGLE, DOUBLE: DOUBLE},
}


def declared(name):
    (found,) = {type(example.make(*example.constants)) for example in EXAMPLES[name]}
    return found


@each_example
@pytest.mark.parametrize("dtype", [HALF, SINGLE, DOUBLE])
def test_the_type_of_results_and_gradients_under_autocast(backend, name, example, dtype):
    expected = RESULTS[RULES[name]][dtype]
    inputs = as_tensors(example, dtype)
    with autocast():
        output = run(example, inputs, expected)
    assert output.dtype == (DOUBLE if name == "Cast" else expected)
    output.backward(tensor(np.ones(output.shape), output.dtype))
    for each in inputs:
        if getattr(each, "requires_grad", False):
            assert each.grad.dtype == each.dtype


@each_example
def test_tensors_of_two_types(name, example, numpy_backend):
    inputs = as_tensors(example, SINGLE)
    if len([each for each in inputs if hasattr(each, "requires_grad")]) < 2:
        pytest.skip("it has one Tensor")
    if "BatchNorm" in name:  # the parameters stay float32 beside a float16 input, and the other way round
        inputs[1] = inputs[1].double()
        with pytest.raises(DTypeError, match=r"^batch_norm: .* input is float32, weight is float64, bias is float32"):
            run(example, inputs)
        return
    inputs[0] = tensor(values(example)[0], HALF, requires_grad=True)
    if name in REFUSES:
        function, first, second = REFUSES[name]
        message = f"^{function}: all Tensors must .* {first} is float16, {second} is float32"
        with pytest.raises(DTypeError, match=message):
            run(example, inputs)
    else:
        assert run(example, inputs, SINGLE).dtype == SINGLE
    with autocast():
        output = run(example, inputs)
    assert output.dtype == (HALF if RULES[name] == PRODUCT else SINGLE)
    output.backward(tensor(np.ones(output.shape), output.dtype))
    assert inputs[0].grad.dtype == HALF


# The same in PyTorch, which tells the types of results on a GPU that is not there. What it cannot say is left out:
# moving values, choosing between them and pooling have no rule there, and take what they are given. (Batch norm is in
# test_amp.)
TORCH = {
    "AbsoluteError": lambda torch, x: torch.nn.functional.l1_loss(x, x),
    "Huber": lambda torch, x: torch.nn.functional.huber_loss(x, x),
    "SmoothL1": lambda torch, x: torch.nn.functional.smooth_l1_loss(x, x),
    "ConvTranspose2d": lambda torch, x: torch.nn.functional.conv_transpose2d(
        x.new_empty((2, 3, 5, 5)), x.new_empty((3, 6, 3, 3))
    ),
    "GroupNorm": lambda torch, x: torch.nn.functional.group_norm(x, 2),
    "LayerNorm": lambda torch, x: torch.nn.functional.layer_norm(x, (4,)),
    "Abs": lambda torch, x: torch.abs(x),
    "Add": lambda torch, x: x + x.float(),
    "BinaryCrossEntropyWithLogits": lambda torch, x: torch.nn.functional.binary_cross_entropy_with_logits(x, x),
    "Clamp": lambda torch, x: torch.clamp(x, 0, 1),
    "Conv2d": lambda torch, x: torch.nn.functional.conv2d(x.new_empty((2, 3, 5, 5)), x.new_empty((6, 3, 3, 3))),
    "Divide": lambda torch, x: x / x,
    "Exp": lambda torch, x: x.exp(),
    "ExpectedNegativeLog": lambda torch, x: torch.nn.functional.nll_loss(x, torch.argmax(x, 1)),
    "KLDivergence": lambda torch, x: torch.nn.functional.kl_div(x, x, reduction="sum"),
    "Linear": lambda torch, x: torch.nn.functional.linear(x, x),
    "Log": lambda torch, x: x.log(),
    "LogSoftmax": lambda torch, x: torch.log_softmax(x, 1),
    "MatMul": lambda torch, x: x @ x,
    "Multiply": lambda torch, x: x * x,
    "Negate": lambda torch, x: -x,
    "Power": lambda torch, x: x**3,
    "ReLU": lambda torch, x: torch.relu(x),
    "Reciprocal": lambda torch, x: 1 / x,
    "Sigmoid": lambda torch, x: torch.sigmoid(x),
    "Softmax": lambda torch, x: torch.softmax(x, 1),
    "Sqrt": lambda torch, x: x.sqrt(),
    "SquaredError": lambda torch, x: torch.nn.functional.mse_loss(x, x),
    "Subtract": lambda torch, x: x - x,
    "Sum": lambda torch, x: x.sum(),
    "Tanh": lambda torch, x: torch.tanh(x),
    "CumulativeSum": lambda torch, x: x.cumsum(0),
    "Norm": lambda torch, x: x.norm(),
    "PreciseElementary": lambda torch, x: x.log1p(),
    "Product": lambda torch, x: x.prod(),
    "ELU": lambda torch, x: torch.nn.functional.elu(x),
    "CELU": lambda torch, x: torch.nn.functional.celu(x),
    "SELU": lambda torch, x: torch.nn.functional.selu(x),
    "Hardtanh": lambda torch, x: torch.nn.functional.hardtanh(x),
    "Hardsigmoid": lambda torch, x: torch.nn.functional.hardsigmoid(x),
    "Hardswish": lambda torch, x: torch.nn.functional.hardswish(x),
    "Softplus": lambda torch, x: torch.nn.functional.softplus(x),
    "LogSigmoid": lambda torch, x: torch.nn.functional.logsigmoid(x),
    "Mish": lambda torch, x: torch.nn.functional.mish(x),
    "Softsign": lambda torch, x: torch.nn.functional.softsign(x),
    "Tanhshrink": lambda torch, x: torch.nn.functional.tanhshrink(x),
    "Softshrink": lambda torch, x: torch.nn.functional.softshrink(x),
    "Hardshrink": lambda torch, x: torch.nn.functional.hardshrink(x),
    "Threshold": lambda torch, x: torch.nn.functional.threshold(x, 0, 1),
    "PReLU": lambda torch, x: torch.nn.functional.prelu(x, x.new_empty(4)),
}


@pytest.mark.parametrize("name", TORCH)
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_the_rules_are_those_of_pytorch(name, dtype):
    torch = pytest.importorskip("torch")
    fake = pytest.importorskip("torch._subclasses.fake_tensor")
    before = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    with fake.FakeTensorMode():
        x = torch.empty((4, 4), dtype=getattr(torch, dtype), device="cuda")
        try:
            torch.set_autocast_enabled("cuda", True)  # torch.autocast refuses where there is no GPU
            torch.set_autocast_dtype("cuda", torch.float16)
            result = TORCH[name](torch, x)
        finally:
            torch.set_autocast_enabled("cuda", before[0])
            torch.set_autocast_dtype("cuda", before[1])
    rule = "float32" if name == "Add" else np.dtype(RESULTS[RULES[name]][getattr(np, dtype)]).name  # x + x.float()
    assert str(result.dtype) == f"torch.{rule}"
