"""Every function side by side with PyTorch over random configurations, forward and backward; skipped without it."""

import inspect
import math

import numpy as np
import pytest

import gpunet.functional as F
from gpunet.tensor import tensor
from tests.reference import DIFFERENTIABLE, close, draw, upstream

pytestmark = pytest.mark.usefixtures("backend")


# --------------------------------------------------------------------------- a random configuration of each function:
# the kind and shape of its inputs (see tests/reference.py), and its settings


def chance(rng, p=0.5):
    return bool(rng.random() < p)


def whole(rng, low, high):
    return int(rng.integers(low, high + 1))


def one_or_two(rng, low, high):
    return whole(rng, low, high) if chance(rng) else [whole(rng, low, high), whole(rng, low, high)]


def both(value):
    return value if isinstance(value, list) else [value, value]


def image_size(rng, kernel, dilation=1, padding=0):
    """A height and a width into which the window fits."""
    return [
        max(1, d * (k - 1) + 1 - 2 * p) + whole(rng, 0, 5)
        for k, d, p in zip(both(kernel), both(dilation), both(padding), strict=True)
    ]


def conv2d(rng):
    groups, kernel, dilation, padding = whole(rng, 1, 3), [whole(rng, 1, 3), whole(rng, 1, 4)], one_or_two(rng, 1, 3), 0
    settings = {"dilation": dilation, "groups": groups}
    if chance(rng, 0.15) and all(k % 2 for k in kernel):  # PyTorch warns of "same" with even kernels
        settings["padding"] = "same"
    else:
        padding = settings["padding"] = one_or_two(rng, 0, 2)
        settings["stride"] = one_or_two(rng, 1, 3)
    channels, outputs = groups * whole(rng, 1, 3), groups * whole(rng, 1, 3)
    inputs = {
        "input": ["normal", [whole(rng, 1, 4), channels, *image_size(rng, kernel, dilation, padding)]],
        "weight": ["normal", [outputs, channels // groups, *kernel]],
    }
    return inputs | ({"bias": ["normal", [outputs]]} if chance(rng) else {}), settings


def linear(rng):
    features, outputs = whole(rng, 1, 6), whole(rng, 1, 5)
    leading = [whole(rng, 1, 4) for _ in range(whole(rng, 1, 3))]
    inputs = {"input": ["normal", [*leading, features]], "weight": ["normal", [outputs, features]]}
    return inputs | ({"bias": ["normal", [outputs]]} if chance(rng) else {}), {}


def pool(rng, dilation=1):
    kernel = one_or_two(rng, 1, 4)
    padding = [whole(rng, 0, k // 2) for k in both(kernel)]
    settings = {"kernel_size": kernel, "padding": padding, "ceil_mode": chance(rng)}
    if chance(rng):
        settings["stride"] = one_or_two(rng, 1, 4)
    size = image_size(rng, kernel, dilation)  # every window sees something of the image
    return {"input": ["normal", [whole(rng, 1, 3), whole(rng, 1, 4), *size]]}, settings


def max_pool2d(rng):
    dilation = one_or_two(rng, 1, 3)
    inputs, settings = pool(rng, dilation)
    return inputs, {**settings, "dilation": dilation}


def avg_pool2d(rng):
    inputs, settings = pool(rng)
    settings["count_include_pad"] = chance(rng)
    if chance(rng, 0.2):
        settings["divisor_override"] = whole(rng, 1, 5)
    return inputs, settings


def adaptive_pool2d(rng):
    output = whole(rng, 1, 9) if chance(rng) else [None if chance(rng, 0.2) else whole(rng, 1, 9) for _ in range(2)]
    return {"input": ["normal", [whole(rng, 1, 3), whole(rng, 1, 4), whole(rng, 1, 9), whole(rng, 1, 9)]]}, {
        "output_size": output
    }


def batch_norm(rng):
    shape = [whole(rng, 2, 6), whole(rng, 1, 5), *(whole(rng, 1, 5) for _ in range(whole(rng, 0, 2)))]
    training = chance(rng)
    inputs = {"input": ["normal", shape]}
    if chance(rng) or not training:
        inputs |= {"running_mean": ["constant", shape[1:2]], "running_var": ["constant", shape[1:2]]}
    else:
        inputs |= {"running_mean": None, "running_var": None}
    if chance(rng):
        inputs |= {"weight": ["normal", shape[1:2]], "bias": ["normal", shape[1:2]]}
    return inputs, {"training": training, "momentum": float(rng.random()), "eps": float(10.0 ** -whole(rng, 2, 6))}


def activation(rng):
    return {"input": ["normal", [whole(rng, 0, 5) for _ in range(whole(rng, 0, 4))]]}, {}


def leaky_relu(rng):
    return activation(rng)[0], {"negative_slope": float(rng.random())}


def gelu(rng):
    return activation(rng)[0], {"approximate": "tanh" if chance(rng) else "none"}


def softmax(rng):
    shape = [whole(rng, 1, 5) for _ in range(whole(rng, 1, 4))]
    return {"input": ["normal", shape]}, {"dim": whole(rng, -len(shape), len(shape) - 1)}


def reduction(rng, *more):
    return {"reduction": str(rng.choice(["mean", "sum", "none", *more]))}


def class_shapes(rng):
    rows, further = whole(rng, 1, 6), [whole(rng, 1, 3) for _ in range(whole(rng, 0, 2))]
    return [rows, 4, *further], [rows, *further]


def nll_loss(rng):
    shape, rows = class_shapes(rng)
    inputs = {"input": ["normal", shape], "target": ["labels", rows]}
    settings = reduction(rng)
    if chance(rng):
        inputs["weight"] = ["constant", [4]]
    if chance(rng) and math.prod(rows) > 8:  # some rows are left
        settings["ignore_index"] = whole(rng, 0, 3)
    return inputs, settings


def cross_entropy(rng):
    inputs, settings = nll_loss(rng)
    if chance(rng):
        settings["label_smoothing"] = float(rng.random())
    if chance(rng, 0.4):
        inputs["target"] = ["distribution", inputs["input"][1]]
        settings.pop("ignore_index", None)
    return inputs, settings


def pair(rng, kind="normal", target="constant"):
    shape = [whole(rng, 1, 5) for _ in range(whole(rng, 1, 3))]
    return {"input": [kind, shape], "target": [target, shape]}, reduction(rng)


def binary_cross_entropy(rng, kind="uniform"):
    inputs, settings = pair(rng, kind)
    if chance(rng):
        inputs["weight"] = ["constant", inputs["input"][1][-whole(rng, 1, 3) :]]
    return inputs, settings


def binary_cross_entropy_with_logits(rng):
    inputs, settings = binary_cross_entropy(rng, "normal")
    if chance(rng):
        inputs["pos_weight"] = ["constant", inputs["input"][1][-1:]]
    return inputs, settings


def kl_div(rng):
    inputs, _ = pair(rng)
    return inputs, {**reduction(rng, "batchmean"), "log_target": chance(rng)}


def mse_loss(rng):
    return pair(rng, target="normal")


def pad(rng):
    shape = [whole(rng, 1, 4) for _ in range(whole(rng, 1, 4))]
    widths = [whole(rng, 0, 3) for _ in range(2 * whole(rng, 1, len(shape)))]
    return {"input": ["normal", shape]}, {"pad": widths, "value": float(rng.standard_normal())}


CONFIGURATIONS = {  # how to draw one, and how many
    "conv2d": (conv2d, 120),
    "linear": (linear, 10),
    "max_pool2d": (max_pool2d, 60),
    "avg_pool2d": (avg_pool2d, 60),
    "adaptive_avg_pool2d": (adaptive_pool2d, 20),
    "adaptive_max_pool2d": (adaptive_pool2d, 20),
    "batch_norm": (batch_norm, 40),
    "relu": (activation, 4),
    "leaky_relu": (leaky_relu, 4),
    "sigmoid": (activation, 4),
    "tanh": (activation, 4),
    "silu": (activation, 4),
    "gelu": (gelu, 8),
    "softmax": (softmax, 15),
    "log_softmax": (softmax, 15),
    "cross_entropy": (cross_entropy, 60),
    "nll_loss": (nll_loss, 25),
    "binary_cross_entropy": (binary_cross_entropy, 15),
    "binary_cross_entropy_with_logits": (binary_cross_entropy_with_logits, 25),
    "kl_div": (kl_div, 15),
    "mse_loss": (mse_loss, 10),
    "pad": (pad, 10),
}


def side_by_side(function, arrays, settings, differentiable, torch):
    """What gpunet and PyTorch make of the same inputs, each as [inputs after the call, output, gradients]."""
    results = []
    for library, make, order in ((F, tensor, "K"), (torch.nn.functional, torch.tensor, "C")):
        inputs = {
            name: None if array is None else make(array.copy(order), requires_grad=name in differentiable)
            for name, array in arrays.items()
        }
        output = getattr(library, function)(**inputs, **settings)
        output.backward(make(upstream(tuple(output.shape)).astype(arrays["input"].dtype)))
        after = [value.detach().numpy() for value in inputs.values() if value is not None]
        results.append([after, output.detach().numpy(), [inputs[name].grad.numpy() for name in differentiable]])
    return results


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")  # PyTorch's advice on kl_div
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-9), ("float32", 1e-4)])
@pytest.mark.parametrize(
    ("function", "seed"),
    [(function, seed) for function, (_, count) in CONFIGURATIONS.items() for seed in range(count)],
)
def test_random_configuration(function, seed, dtype, tolerance, torch):
    rng = np.random.default_rng([seed, *function.encode()])
    kinds, settings = CONFIGURATIONS[function][0](rng)
    arrays = {name: None if kind is None else draw(*kind, rng) for name, kind in kinds.items()}
    for name, array in arrays.items():
        if array is not None:  # every other configuration has its axes reversed in memory
            arrays[name] = array.astype(dtype if array.dtype.kind == "f" else array.dtype, order="CF"[seed % 2])
    differentiable = [name for name, kind in kinds.items() if kind is not None and kind[0] in DIFFERENTIABLE]
    ours, theirs = side_by_side(function, arrays, settings, differentiable, torch)
    close(ours, theirs, tolerance, tolerance)
    assert {each.dtype for each in (ours[1], *ours[2])} == {np.dtype(dtype)}


# ------------------------------------------------------------------------------------------ expressions both understand

EXPRESSIONS = [
    lambda a, b: a + b * 2 - 3 / a,
    lambda a, b: (a * b[0]) ** 2 + 2**b,
    lambda a, b: a**b,
    lambda a, b: a @ b.T,
    lambda a, b: a.matmul(b.transpose(0, 1)).sum(0),
    lambda a, b: -(a.exp() + b.log() + a.sqrt()).abs(),
    lambda a, b: a.clamp(0.8, 1.5) + b.clamp(min=1.0) + b.clamp(max=0.9),
    lambda a, b: a.sum(1, keepdim=True) * b.mean((0, 1)),
    lambda a, b: a.var() + b.var(0).sum() + a.var(1, correction=0).mean(),
    lambda a, b: a.max(1).values + b.min(1, keepdim=True).values[:, 0],
    lambda a, b: a.max() * b.min(),
    lambda a, b: a[:, 1:3].reshape(-1) * b[[0, 2, 0], 1].sum(),
    lambda a, b: a[a > 1].sum() + b[..., None].squeeze(-1).unsqueeze(0).sum(),
    lambda a, b: a.flatten() + b.T.flatten(),
    lambda a, b: a[:1].expand(3, -1) * b.view(4, 3).permute(1, 0),
    lambda a, b: a.float() * b.half().double(),
    lambda a, b: a.clone() * b.detach() + b,
    lambda a, b: (a > b).double() * a + (a == a).double() * b,
    lambda a, b: a[[1, 1]] @ b[2] + a[0].matmul(b.T)[:2],
]


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=lambda f: inspect.getsource(f).strip().partition(": ")[2][:-1])
def test_expression(expression, torch, rng):
    arrays = [rng.uniform(0.5, 2.0, (3, 4)) for _ in range(2)]
    results = []
    for make in (tensor, torch.tensor):
        inputs = [make(array, requires_grad=True) for array in arrays]
        output = expression(*inputs)
        output.backward(make(upstream(tuple(output.shape))))
        results.append([output.detach().numpy(), *(each.grad.numpy() for each in inputs)])
    close(*results)


# --------------------------------------------------------------------------------------------------- NaN and infinities

NAN, INF = math.nan, math.inf
SPECIAL = [NAN, INF, -INF, 0.0, -0.0, 1.0, -1.0, 1e4, -1e4, 100.0, -100.0, 1e-30, -1e-30]
SPECIAL_ROWS = [[0, NAN, 1], [0, INF, 1], [0, -INF, 1], [INF, INF, 0], [-INF, -INF, -INF], [1e4, -1e4, 0], [1, 2, 3]]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("function", "x", "settings"),
    [
        ("relu", SPECIAL, {}),
        ("leaky_relu", SPECIAL, {}),
        ("sigmoid", SPECIAL, {}),
        ("tanh", SPECIAL, {}),
        ("silu", SPECIAL, {}),
        ("gelu", SPECIAL, {}),
        ("gelu", SPECIAL, {"approximate": "tanh"}),
        ("softmax", SPECIAL_ROWS, {"dim": 1}),
        ("log_softmax", SPECIAL_ROWS, {"dim": 1}),
        *(("cross_entropy", SPECIAL_ROWS, {"target": np.full(7, c), "reduction": "none"}) for c in range(3)),
    ],
)
def test_special_values_where_pytorch_defines_the_result(function, x, settings, dtype, torch):
    arrays = {"input": np.array(x, dtype)}
    if "target" in settings:
        settings = dict(settings)
        arrays["target"] = settings.pop("target")
    with np.errstate(all="ignore"):
        ours, theirs = side_by_side(function, arrays, settings, ["input"], torch)
    for actual, expected in ((ours[1], theirs[1]), (ours[2][0], theirs[2][0])):
        defined = ~np.isnan(expected)
        close(actual[defined], expected[defined], 1e-5, 1e-30)


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize(
    ("function", "settings"),
    [
        ("max_pool2d", {"kernel_size": 3, "stride": 2, "padding": 1}),
        ("max_pool2d", {"kernel_size": 2, "ceil_mode": True}),
        ("avg_pool2d", {"kernel_size": 3, "stride": 1, "padding": 1}),
        ("adaptive_max_pool2d", {"output_size": 3}),
        ("adaptive_avg_pool2d", {"output_size": 3}),
    ],
)
def test_special_values_in_pooling(function, settings, value, torch, rng):
    x = rng.standard_normal((2, 3, 7, 8))
    x[0, 1, 2, 3] = value
    if value == -INF:
        x[1, :, :4, :4] = value  # whole windows of it
    ours, theirs = side_by_side(function, {"input": x}, settings, ["input"], torch)
    close(ours, theirs)


def test_special_values_in_convolution(torch, rng):
    x, weight = rng.standard_normal((1, 2, 6, 6)), rng.standard_normal((3, 2, 3, 3))
    x[0, 0, 1, 1], x[0, 1, 4, 4] = NAN, INF
    arrays = {"input": x, "weight": weight}
    with np.errstate(invalid="ignore"):
        ours, theirs = side_by_side("conv2d", arrays, {"padding": 1}, ["input", "weight"], torch)
    close(ours, theirs)
