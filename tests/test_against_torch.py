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


def conv1d(rng):
    return of_one_row(*conv2d(rng))


def of_one_row(inputs, settings):
    """Images and windows of which only the rows are kept."""
    size = {
        name: [kind, [size for axis, size in enumerate(shape) if axis != 2]] for name, (kind, shape) in inputs.items()
    }
    return size, {name: value[1] if isinstance(value, list) else value for name, value in settings.items()}


def conv_transpose2d(rng):
    groups, dilation, stride = whole(rng, 1, 3), one_or_two(rng, 1, 3), one_or_two(rng, 1, 3)
    channels, outputs, kernel = (
        groups * whole(rng, 1, 3),
        groups * whole(rng, 1, 3),
        [whole(rng, 1, 3), whole(rng, 1, 4)],
    )
    inputs = {
        "input": ["normal", [whole(rng, 1, 3), channels, whole(rng, 2, 5), whole(rng, 2, 5)]],
        "weight": ["normal", [channels, outputs // groups, *kernel]],
    }
    settings = {"stride": stride, "dilation": dilation, "groups": groups}
    settings["output_padding"] = [whole(rng, 0, step - 1) for step in both(stride)]
    settings["padding"] = [whole(rng, 0, d * (k - 1) // 2) for d, k in zip(both(dilation), kernel, strict=True)]
    return inputs | ({"bias": ["normal", [outputs]]} if chance(rng) else {}), settings


def conv_transpose1d(rng):
    return of_one_row(*conv_transpose2d(rng))


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


def pool1d(rng):
    """Of sequences what `pool` says of columns."""
    inputs, settings = pool(rng)
    shape = inputs["input"][1]
    settings = {name: value[1] if isinstance(value, list) else value for name, value in settings.items()}
    return {"input": ["normal", [*shape[:2], shape[3]]]}, settings


def lp_pool2d(rng):
    inputs, settings = pool(rng)
    settings.pop("padding")
    shape, kernel = inputs["input"][1], both(settings["kernel_size"])
    shape[2:] = [max(size, k) for size, k in zip(shape[2:], kernel, strict=True)]
    return {"input": ["uniform", shape]}, {**settings, "norm_type": float(rng.choice([1, 2, 3]))}


def unfold(rng):
    kernel, dilation, padding = one_or_two(rng, 1, 3), one_or_two(rng, 1, 2), one_or_two(rng, 0, 2)
    size = image_size(rng, kernel, dilation, padding)
    settings = {"kernel_size": kernel, "dilation": dilation, "padding": padding, "stride": one_or_two(rng, 1, 3)}
    return {"input": ["normal", [whole(rng, 1, 3), whole(rng, 1, 3), *size]]}, settings


def fold(rng):
    inputs, settings = unfold(rng)
    n, channels, *size = inputs["input"][1]
    names = ("kernel_size", "dilation", "padding", "stride")
    geometry = zip(size, *(both(settings[name]) for name in names), strict=True)
    columns = math.prod((length + 2 * p - d * (k - 1) - 1) // s + 1 for length, k, d, p, s in geometry)
    elements = math.prod(both(settings["kernel_size"]))
    return {"input": ["normal", [n, channels * elements, columns]]}, {**settings, "output_size": size}


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


def affine(rng, shape):
    """A weight and a bias, the former alone, or none: PyTorch's group_norm does not survive a bias alone."""
    return {name: ["normal", shape] for name in ["weight", "bias"][: whole(rng, 0, 2)]}


def group_norm(rng):
    groups = whole(rng, 1, 3)
    shape = [whole(rng, 1, 3), groups * whole(rng, 1, 3), *(whole(rng, 2, 4) for _ in range(whole(rng, 1, 2)))]
    return {"input": ["normal", shape]} | affine(rng, shape[1:2]), {"num_groups": groups}


def instance_norm(rng):
    shape = [whole(rng, 1, 4), whole(rng, 1, 5), whole(rng, 2, 5), whole(rng, 1, 5)]
    inputs = {"input": ["normal", shape]} | affine(rng, shape[1:2])
    if chance(rng):
        inputs |= {"running_mean": ["constant", shape[1:2]], "running_var": ["constant", shape[1:2]]}
        return inputs, {"momentum": float(rng.random()), "use_input_stats": chance(rng)}
    return inputs, {"eps": float(10.0 ** -whole(rng, 2, 6))}


def layer_norm(rng):
    shape = [whole(rng, 2, 4) for _ in range(whole(rng, 1, 4))]
    last = shape[-whole(rng, 1, len(shape)) :]
    return {"input": ["normal", shape]} | affine(rng, last), {"normalized_shape": last}


def rms_norm(rng):
    inputs, settings = layer_norm(rng)
    inputs.pop("bias", None)
    return inputs, settings | ({"eps": 0.01} if chance(rng) else {})


def local_response_norm(rng):
    shape = [whole(rng, 1, 3), whole(rng, 1, 7), *(whole(rng, 1, 4) for _ in range(whole(rng, 1, 2)))]
    return {"input": ["normal", shape]}, {"size": whole(rng, 1, 6), "alpha": 0.3, "beta": 0.6, "k": 1.2}


def activation(rng):
    return {"input": ["normal", [whole(rng, 0, 5) for _ in range(whole(rng, 0, 4))]]}, {}


def leaky_relu(rng):
    return activation(rng)[0], {"negative_slope": float(rng.random())}


def gelu(rng):
    return activation(rng)[0], {"approximate": "tanh" if chance(rng) else "none"}


def threshold(rng):
    return activation(rng)[0], {"threshold": float(rng.standard_normal()), "value": float(rng.standard_normal())}


def prelu(rng):
    shape = [whole(rng, 1, 5) for _ in range(whole(rng, 1, 4))]
    slopes = shape[1] if len(shape) > 1 and chance(rng) else 1
    return {"input": ["normal", shape], "weight": ["normal", [slopes]]}, {}


def glu(rng):
    shape = [2 * whole(rng, 1, 3) for _ in range(whole(rng, 1, 4))]
    return {"input": ["normal", shape]}, {"dim": whole(rng, -len(shape), len(shape) - 1)}


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


def interpolate(rng):
    mode = str(rng.choice(["nearest", "nearest-exact", "linear", "bilinear", "bicubic", "area"]))
    dims = {"linear": 1, "nearest": whole(rng, 1, 2)}.get(mode, 2)
    shape = [whole(rng, 1, 3), whole(rng, 1, 4), *(whole(rng, 1, 7) for _ in range(dims))]
    settings = {"mode": mode}
    if chance(rng):
        settings["size"] = [whole(rng, 1, 12) for _ in range(dims)]
    else:
        settings["scale_factor"] = [float(rng.uniform(1, 3)) for _ in range(dims)] if chance(rng) else 2.0
        settings["recompute_scale_factor"] = chance(rng)
    if "linear" in mode or "cubic" in mode:
        settings["align_corners"] = chance(rng)
    return {"input": ["normal", shape]}, settings


def pixel_shuffle(rng):
    r = whole(rng, 1, 3)
    shape = [*(whole(rng, 1, 3) for _ in range(whole(rng, 0, 2))), whole(rng, 1, 3) * r * r, whole(rng, 1, 4), 3]
    return {"input": ["normal", shape]}, {"upscale_factor": r}


def pixel_unshuffle(rng):
    r = whole(rng, 1, 3)
    shape = [*(whole(rng, 1, 3) for _ in range(whole(rng, 0, 2))), whole(rng, 1, 3), r * whole(rng, 1, 3), 2 * r]
    return {"input": ["normal", shape]}, {"downscale_factor": r}


def smooth_l1_loss(rng):
    inputs, settings = mse_loss(rng)
    return inputs, settings | {"beta": float(rng.choice([0.0, 0.3, 1.0]))}


def huber_loss(rng):
    inputs, settings = mse_loss(rng)
    return inputs, settings | {"delta": float(rng.uniform(0.2, 2))}


def signs(rng, inputs, rows=None):
    """A loss of Tensors, and targets of 1 and -1."""
    shape = [whole(rng, 2, 5) for _ in range(2)]
    return {name: ["normal", shape] for name in inputs} | {"target": ["signs", shape[:rows]]}, {
        **reduction(rng),
        "margin": float(rng.uniform(0, 1)),
    }


def soft_margin_loss(rng):
    inputs, settings = signs(rng, ["input"])
    settings.pop("margin")
    return inputs, settings


def multi_margin_loss(rng):
    rows = whole(rng, 1, 5)
    inputs = {"input": ["normal", [rows, 4]], "target": ["labels", [rows]]}
    if chance(rng):
        inputs["weight"] = ["constant", [4]]
    return inputs, {**reduction(rng), "p": whole(rng, 1, 2), "margin": float(rng.uniform(0.1, 2))}


def triplet_margin_loss(rng):
    shape = [whole(rng, 2, 5) for _ in range(whole(rng, 1, 2))]
    inputs = {name: ["normal", shape] for name in ("anchor", "positive", "negative")}
    return inputs, {**reduction(rng), "swap": chance(rng), "p": float(rng.choice([1, 2, 3, math.inf]))}


def poisson_nll_loss(rng):
    inputs, settings = pair(rng, "uniform")
    inputs["target"] = ["labels", inputs["input"][1]]
    return inputs, {**settings, "log_input": chance(rng)}


def gaussian_nll_loss(rng):
    inputs, settings = mse_loss(rng)
    shape = inputs["input"][1]
    return inputs | {"var": ["uniform", shape if chance(rng) else shape[:-1]]}, {**settings, "full": chance(rng)}


def vectors(rng):
    shape = [whole(rng, 2, 4) for _ in range(whole(rng, 2, 3))]
    return {"x1": ["normal", shape], "x2": ["normal", shape]}, {"dim": whole(rng, 0, 1)}


def normalize(rng):
    return {"input": ["normal", vectors(rng)[0]["x1"][1]]}, {"dim": whole(rng, 0, 1), "p": float(rng.choice([1, 2, 3]))}


def repeating_pad(rng):
    mode = str(rng.choice(["reflect", "replicate", "circular"]))
    dims = whole(rng, 1, 2)
    shape = [whole(rng, 1, 3) for _ in range(whole(rng, 1, 2))] + [whole(rng, 2, 5) for _ in range(dims)]
    most = {"reflect": 1, "circular": 0, "replicate": -2}[mode]
    widths = [whole(rng, 0, size - most) for size in reversed(shape[-dims:]) for _ in range(2)]
    return {"input": ["normal", shape]}, {"pad": widths, "mode": mode}


def pad(rng):
    if chance(rng):
        return repeating_pad(rng)
    shape = [whole(rng, 1, 4) for _ in range(whole(rng, 1, 4))]
    widths = [whole(rng, 0, 3) for _ in range(2 * whole(rng, 1, len(shape)))]
    if shape[-1] > 2 and chance(rng):
        widths[whole(rng, 0, 1)] = -1
    return {"input": ["normal", shape]}, {"pad": widths, "value": float(rng.standard_normal())}


TABLE = [
    "relu6",
    "elu",
    "selu",
    "celu",
    "hardtanh",
    "hardswish",
    "mish",
    "softplus",
    "softsign",
    "logsigmoid",
    "tanhshrink",
    "softshrink",
    "hardshrink",
]  # activations of one formula
CONFIGURATIONS = {  # how to draw one, and how many
    "conv2d": (conv2d, 120),
    "linear": (linear, 10),
    "max_pool2d": (max_pool2d, 60),
    "avg_pool2d": (avg_pool2d, 60),
    "max_pool1d": (pool1d, 12),
    "avg_pool1d": (pool1d, 12),
    "lp_pool2d": (lp_pool2d, 10),
    "unfold": (unfold, 12),
    "fold": (fold, 12),
    "adaptive_avg_pool2d": (adaptive_pool2d, 20),
    "adaptive_max_pool2d": (adaptive_pool2d, 20),
    "batch_norm": (batch_norm, 40),
    "group_norm": (group_norm, 12),
    "instance_norm": (instance_norm, 10),
    "layer_norm": (layer_norm, 12),
    "rms_norm": (rms_norm, 6),
    "local_response_norm": (local_response_norm, 8),
    "relu": (activation, 4),
    "leaky_relu": (leaky_relu, 4),
    "sigmoid": (activation, 4),
    "tanh": (activation, 4),
    "silu": (activation, 4),
    "gelu": (gelu, 8),
    **dict.fromkeys(TABLE, (activation, 2)),
    "threshold": (threshold, 4),
    "prelu": (prelu, 8),
    "glu": (glu, 4),
    "softmin": (softmax, 4),
    "softmax": (softmax, 15),
    "log_softmax": (softmax, 15),
    "cross_entropy": (cross_entropy, 60),
    "nll_loss": (nll_loss, 25),
    "binary_cross_entropy": (binary_cross_entropy, 15),
    "binary_cross_entropy_with_logits": (binary_cross_entropy_with_logits, 25),
    "kl_div": (kl_div, 15),
    "mse_loss": (mse_loss, 10),
    "l1_loss": (mse_loss, 6),
    "smooth_l1_loss": (smooth_l1_loss, 8),
    "huber_loss": (huber_loss, 6),
    "hinge_embedding_loss": (lambda rng: signs(rng, ["input"]), 6),
    "soft_margin_loss": (soft_margin_loss, 6),
    "multilabel_soft_margin_loss": (lambda rng: pair(rng), 6),
    "margin_ranking_loss": (lambda rng: signs(rng, ["input1", "input2"]), 6),
    "cosine_embedding_loss": (lambda rng: signs(rng, ["input1", "input2"], -1), 6),
    "multi_margin_loss": (multi_margin_loss, 10),
    "triplet_margin_loss": (triplet_margin_loss, 10),
    "poisson_nll_loss": (poisson_nll_loss, 10),
    "gaussian_nll_loss": (gaussian_nll_loss, 10),
    "cosine_similarity": (vectors, 6),
    "normalize": (normalize, 6),
    "pad": (pad, 30),
    "conv1d": (conv1d, 12),
    "conv_transpose2d": (conv_transpose2d, 30),
    "conv_transpose1d": (conv_transpose1d, 12),
    "interpolate": (interpolate, 60),
    "pixel_shuffle": (pixel_shuffle, 6),
    "pixel_unshuffle": (pixel_unshuffle, 6),
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
        dtype = next(array.dtype for array in arrays.values() if array is not None and array.dtype.kind == "f")
        output.backward(make(upstream(tuple(output.shape)).astype(dtype)))
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
CORNERS = [*SPECIAL, 3.0, -3.0, 6.0, 0.5, -0.5, 20.0, 21.0]
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
        # PyTorch has 1/6 as float32 in hardsigmoid, and its slope of softsign far out cancels.
        *((name, CORNERS, {}) for name in sorted({*TABLE, "hardsigmoid"} - {"softsign"})),
        ("threshold", CORNERS, {"threshold": 1.0, "value": 5.0}),
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
        if function in ("elu", "celu", "selu"):  # whose slope at NaN PyTorch has as NaN or 1, as the processor is
            defined &= ~np.isnan(arrays["input"])
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
