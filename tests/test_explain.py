"""`gpunet explain`: its numbers against the lecture, loops and the emulator's launches; its words and its options."""

import dataclasses
import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gpunet.emulator
import gpunet.emulator.module
from gpunet import functional as F
from gpunet.backend import active_backend, random_state, use_backend
from gpunet.cli import main
from gpunet.data.digits import Digits
from gpunet.doctor.nvrtc import compile_instances, find_nvrtc
from gpunet.errors import ArgumentError, BackendError, LabelError, ShapeError
from gpunet.explain import OPERATIONS, Explanation, as_json, exercise, explain, lecture_exercise, lecture_exercises
from gpunet.explain.exercise import IMAGE_OPERATIONS, LOSSES, SETTINGS
from gpunet.explain.launches import BESIDE, on_gpu
from gpunet.explain.operations import LECTURE
from gpunet.explain.terminal import terminal_text
from gpunet.explain.words import LANGUAGES, places_in, words
from gpunet.ops.activation import Sigmoid
from gpunet.ops.dropout import Dropout
from gpunet.ops.loss import BinaryCrossEntropy, ExpectedNegativeLog, KLDivergence
from gpunet.ops.softmax import LogSoftmax, Softmax
from gpunet.ops.window import Window
from gpunet.tensor import tensor
from tests import reference
from tests.reference import adaptive_spans, close, spans
from tests.runs import NO_KERNELS

ROOT = Path(__file__).parents[1]
ANSI = re.compile(r"\x1b\[\d+m")


def plain(text, colour):
    return text


def text_of(operation, language="en", **settings):
    return terminal_text(explain(exercise(operation, **settings)), words(language), plain)


# ------------------------------------------------------------------------------------------ the numbers of the lecture


@pytest.mark.parametrize(
    ("operation", "output"),
    [
        ("conv2d", [[8, 9, 4], [8, 3, 3], [6, 4, 7]]),
        ("max_pool2d", [[3, 1], [3, 3]]),
        ("avg_pool2d", [[2, 0.75], [1.25, 1.75]]),
        ("adaptive_avg_pool2d", [[2, 1.75, 0.75], [2, 1, 1], [1.25, 0.75, 1.75]]),
        ("dropout", [[2, 4, 0, 0], [4, 0, 2, 2], [6, 0, 0, 4], [0, 2, 4, 0]]),  # the slide shows one of the 2 as 6
    ],
)
def test_the_lecture_s_examples(operation, output):
    explanation = explain(lecture_exercise(operation))
    close(explanation.output, [output], 0, 0)
    for step in explanation.steps:
        assert explanation.output[step.sum.place] == step.sum.result == sum(term.product for term in step.sum.terms)


def test_the_products_of_the_first_slides():
    first, second, *_ = explain(lecture_exercise("conv2d")).steps
    assert [(term.value, term.factor) for term in first.sum.terms] == [(1, 1), (2, 0), (2, 2), (3, 1)]
    assert [(term.value, term.factor) for term in second.sum.terms] == [(2, 1), (1, 0), (3, 2), (1, 1)]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_steps_come_to_what_gpunet_computes(operation):
    """The formulas that text and page are made of, against the function and the tape."""
    explanation = explain(lecture_exercise(operation))
    values = explanation.products.values
    close(values["output"].reshape(explanation.output.shape), explanation.output)
    for name, gradient in explanation.gradients.items():
        close(values[f"{name}_gradient"].reshape(gradient.shape), gradient)


def test_dropout_draws_what_the_slide_says():
    uniform, mask = explain(lecture_exercise("dropout")).quantities
    assert [round(float(u), 1) for u in uniform.values[0, 0]] == [0.6, 0.8, 0.2, 0.1]
    assert np.array_equal(mask.values, np.where(uniform.values < 0.5, 0, 2))


def test_other_seeds_drop_others():
    outputs = [explain(exercise("dropout", seed=seed)).output for seed in (0, 1, 0)]
    assert np.array_equal(outputs[0], outputs[2])
    assert not np.array_equal(outputs[0], outputs[1])


# ---------------------------------------------------------------------------------------------- the numbers, by loops


CONVOLUTIONS = {
    "lecture": {},
    "padded": {"padding": 1},
    "stride": {"input": (7, 6), "kernel_size": (3, 2), "stride": (2, 3)},
    "all": {
        "input": (2, 7, 6),
        "kernel_size": (2, 3),
        "out_channels": 3,
        "stride": (1, 2),
        "padding": (2, 1),
        "dilation": (2, 1),
        "chosen": (2, 1, 1),
    },
    "gradient": {"gradient": [[1, 2, 0], [0, -1, 3], [0.5, 0, 1]]},
    "1x1": {"input": (3, 4, 5), "kernel_size": 1, "out_channels": 2},
    "row": {"input": [1, 2, 3, 4], "weight": [1, -1]},
}


@pytest.fixture(params=CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def convolution(request):
    return explain(exercise("conv2d", **request.param))


def settings_of(window):
    return window.stride, (window.padding[0][0], window.padding[1][0]), window.dilation


def test_convolution_is_the_loop(convolution):
    chosen = convolution.exercise
    settings = settings_of(chosen.window)
    expected = reference.conv2d(chosen.input[None], chosen.weight, None, *settings)[0]
    close(convolution.output, expected)
    dx, dweight, _ = reference.conv2d_gradients(chosen.input[None], chosen.weight, chosen.gradient[None], *settings)
    close(convolution.gradients["input"], dx[0])
    close(convolution.gradients["weight"], dweight)


def test_windows_of_a_convolution_hold_what_lies_below_the_filter(convolution):
    chosen = convolution.exercise
    assert [step.sum.place for step in convolution.steps] == list(np.ndindex(convolution.output.shape))
    _, height, width = chosen.input.shape
    (sh, sw), (ph, pw), (dh, dw) = settings_of(chosen.window)
    for step in convolution.steps:
        o, k, l = step.sum.place  # noqa: E741
        assert len(step.sum.terms) == chosen.weight[0].size
        for (c, i, j), term in zip(np.ndindex(chosen.weight.shape[1:]), step.sum.terms, strict=True):
            row, column = sh * k + dh * i - ph, sw * l + dw * j - pw
            inside = 0 <= row < height and 0 <= column < width
            assert term.place == (c, row, column)
            assert row in step.rows
            assert column in step.columns
            assert term.value == (chosen.input[c, row, column] if inside else 0)
            assert term.factor == chosen.weight[o, c, i, j]
        assert step.sum.result == pytest.approx(convolution.output[step.sum.place])


def test_sums_of_the_gradient_come_to_the_gradient(convolution):
    by_pixel, by_element = convolution.sums
    assert by_pixel.result == pytest.approx(convolution.gradients["input"][by_pixel.place])
    assert by_element.result == pytest.approx(convolution.gradients["weight"][by_element.place])
    gradient = convolution.exercise.gradient
    for term in (*by_pixel.terms, *by_element.terms):
        assert term.value == gradient[term.place]
    seeing = [step for step in convolution.steps if by_pixel.place in [term.place for term in step.sum.terms]]
    assert [term.place for term in by_pixel.terms] == [step.sum.place for step in seeing]


POOLS = {
    "lecture": {},
    "overlapping": {"input": (6, 5), "kernel_size": 3, "stride": 1, "padding": 1},
    "channels": {"input": (2, 5, 6), "kernel_size": (2, 3), "stride": (2, 1), "chosen": (1, 1, 0)},
    "gradient": {"gradient": [[1, 2], [3, -4]]},
}


@pytest.mark.parametrize("settings", POOLS.values(), ids=POOLS)
def test_max_pooling_is_the_loop(settings):
    explanation = explain(exercise("max_pool2d", **settings))
    assert_pool(explanation, reference.max_pool, reference.max_pool_gradient)
    for step in explanation.steps:
        assert sorted(term.factor for term in step.sum.terms) == [0] * (len(step.sum.terms) - 1) + [1]


def test_max_pooling_with_gaps_is_the_loop():
    explanation = explain(exercise("max_pool2d", input=(7, 7), dilation=2, stride=1, padding=1))
    assert_pool(explanation, reference.max_pool, reference.max_pool_gradient)


@pytest.mark.parametrize("settings", POOLS.values(), ids=POOLS)
def test_average_pooling_is_the_loop(settings):
    explanation = explain(exercise("avg_pool2d", **settings))
    kh, kw = explanation.exercise.window.kernel
    assert_pool(explanation, reference.avg_pool, reference.avg_pool_gradient, lambda *place: kh * kw)


def assert_pool(explanation, forward, backward, *rule):
    chosen = explanation.exercise
    axes = zip(chosen.input.shape[1:], chosen.window.kernel, *settings_of(chosen.window), strict=True)
    rows, columns = (spans(*axis) for axis in axes)
    close(explanation.output, forward(chosen.input[None], rows, columns, *rule)[0])
    gradient = backward(chosen.input[None], chosen.gradient[None], rows, columns, *rule)[0]
    close(explanation.gradients["input"], gradient)
    for step in explanation.steps:
        _, k, l = step.sum.place  # noqa: E741
        assert (list(step.rows), list(step.columns)) == (rows[k], columns[l])
        assert step.sum.result == pytest.approx(explanation.output[step.sum.place])
    (by_pixel,) = explanation.sums
    assert by_pixel.result == pytest.approx(gradient[by_pixel.place])


@pytest.mark.parametrize("size", [3, (1, 1), (2, 5), (7, 4)])
def test_adaptive_pooling_is_the_loop(size):
    explanation = explain(exercise("adaptive_avg_pool2d", input=(5, 6), output_size=size))
    chosen = explanation.exercise
    rows, columns = (adaptive_spans(*axis) for axis in zip(chosen.input.shape[1:], chosen.output_size, strict=True))
    close(explanation.output, reference.avg_pool(chosen.input[None], rows, columns, lambda *place: place[-1])[0])
    for step in explanation.steps:
        _, k, l = step.sum.place  # noqa: E741
        assert (list(step.rows), list(step.columns)) == (rows[k], columns[l])


@pytest.mark.parametrize(
    ("settings", "rows", "columns"),
    [
        ({}, (4, 0, 1, 2, 1, 3), (4, 0, 1, 2, 1, 3)),
        ({"input": (9, 7), "kernel_size": (3, 2), "padding": (1, 0), "dilation": 2, "stride": (3, 1)}, None, None),
    ],
)
def test_output_sizes(settings, rows, columns):
    explanation = explain(exercise("conv2d", **settings))
    for size, expected, length in zip(explanation.sizes, (rows, columns), explanation.output.shape[1:], strict=True):
        assert expected is None or size == expected
        reach = size.dilation * (size.kernel - 1) + 1
        starts = range(-size.padding, size.input + size.padding - reach + 1, size.stride)
        assert len(starts) == size.output == length


def quantity(explanation, name):
    (found,) = [each.values for each in explanation.quantities if each.name == name]
    return found


def test_batch_norm_is_the_loop():
    settings = {"input": (2, 3, 4), "weight": [2, -1], "bias": [0.5, 3], "eps": 0.1, "chosen": (1, 2, 0)}
    explanation = explain(exercise("batch_norm", **settings))
    chosen = explanation.exercise
    y, mean, var = reference.batch_norm(chosen.input[None], chosen.weight, chosen.bias, 0.1)
    close(explanation.output, y[0])
    close(quantity(explanation, "mean"), mean)
    close(quantity(explanation, "variance"), var)
    gradients = reference.batch_norm_gradients(chosen.input[None], chosen.gradient[None], chosen.weight, 0.1)
    for name, expected in zip(("input", "weight", "bias"), (gradients[0][0], *gradients[1:]), strict=True):
        close(explanation.gradients[name], expected)
    assert chosen.gradient.sum() == chosen.gradient[1, 2, 0] == 1


def test_softmax_is_the_formula():
    explanation = explain(exercise("softmax", input=[1, 2, 0.5], chosen=(1,)))
    close(explanation.output, reference.softmax([1, 2, 0.5]))
    close(explanation.gradients["input"], reference.softmax_gradient([1, 2, 0.5], [0, 1, 0]))


def differences(function, x, step=1e-6):
    """The gradient of a function of some numbers, by finite differences."""
    sides = [[function(x + sign * step * unit) for sign in (1, -1)] for unit in np.eye(len(x))]
    return [(more - less) / (2 * step) for more, less in sides]


FORMULAS = {
    "sigmoid": lambda x, t: float((1 / (1 + np.exp(-x))).sum()),
    "kl_div": lambda x, t: float(sum(p * np.log(p / q) for p, q in zip(t, x, strict=True) if p > 0)),
    "binary_cross_entropy": lambda x, t: float((-t * np.log(x) - (1 - t) * np.log(1 - x)).mean()),
    "cross_entropy": lambda x, t: float(-(t * np.log(np.exp(x) / np.exp(x).sum())).sum()),
}


@pytest.mark.parametrize(
    ("operation", "settings"),
    [
        ("sigmoid", {}),
        ("kl_div", {}),
        ("kl_div", {"input": [0.5, 0.5]}),
        ("binary_cross_entropy", {}),
        ("binary_cross_entropy", {"input": [0.3], "target": [0.25]}),
        ("cross_entropy", {}),
        ("cross_entropy", {"input": [0, 1], "target": 1}),
        ("cross_entropy", {"target": [0.1, 0.2, 0.3, 0.4]}),
    ],
)
def test_what_works_on_numbers_is_its_formula(operation, settings):
    explanation = explain(exercise(operation, **settings))
    chosen = explanation.exercise

    def formula(x):
        return FORMULAS[operation](x, chosen.target)

    assert explanation.output.sum() == pytest.approx(formula(chosen.input))
    close(explanation.gradients["input"], differences(formula, chosen.input), 1e-6, 1e-8)


def test_linear_is_the_loop():
    weight, bias = [[1, -2, 0.5, 3], [0, 4, 1, 1], [2, 2, -1, 0]], [1, 0, -2]
    explanation = explain(exercise("linear", input=[2, 1, 0, -3], weight=weight, bias=bias, gradient=[1, 0.5, -2]))
    rows = [sum(w * x for w, x in zip(row, [2, 1, 0, -3], strict=True)) for row in weight]
    close(explanation.output, [row + b for row, b in zip(rows, bias, strict=True)])
    close(explanation.gradients["input"], [1 - 4, -2 + 2 - 4, 0.5 + 0.5 + 2, 3 + 0.5])
    close(explanation.gradients["weight"], np.outer([1, 0.5, -2], [2, 1, 0, -3]))
    close(explanation.gradients["bias"], [1, 0.5, -2])


def test_relu_lets_through_what_is_positive():
    explanation = explain(exercise("relu", input=[[-1, 0], [2, 0.5]], gradient=[[3, 4], [5, -6]]))
    assert explanation.output.tolist() == [[[0, 0], [2, 0.5]]]
    assert explanation.gradients["input"].tolist() == [[[0, 0], [5, -6]]]


def test_the_residual_block_is_its_loops(rng):
    """With two channels, filters of 3x3 and a gradient of its own; the gradients by finite differences."""
    x, first, second = (rng.integers(-2, 3, shape).astype(float) for shape in ((2, 4, 5), (2, 2, 3, 3), (2, 2, 3, 3)))
    upstream = rng.standard_normal((2, 4, 5))
    settings = {"weight": first, "second_weight": second, "gradient": upstream}
    explanation = explain(exercise("residual_block", input=x + 0.25, **settings))

    def block(x, first, second):
        hidden = np.maximum(reference.conv2d(x[None], first, padding=(1, 1)), 0)
        return np.maximum(reference.conv2d(hidden, second, padding=(1, 1))[0] + x, 0)

    close(explanation.output, block(x + 0.25, first, second))
    place = (1, 2, 3)
    for name, array, nudged in (
        ("input", x + 0.25, lambda each: (each, first, second)),
        ("weight", first, lambda each: (x + 0.25, each, second)),
        ("second_weight", second, lambda each: (x + 0.25, first, each)),
    ):
        at = place if array.ndim == 3 else (1, 0, 2, 1)
        step = np.zeros(array.shape)
        step[at] = 1e-6
        more, less = (float((block(*nudged(array + sign * step)) * upstream).sum()) for sign in (1, -1))
        close(explanation.gradients[name][at], (more - less) / 2e-6, 1e-6, 1e-6)


def test_the_shortcut_passes_the_gradient_on_whole():
    """dx is what comes through the convolutions, and ds itself: filters of 0 leave ds alone."""
    zeros = np.zeros((3, 3))
    explanation = explain(exercise("residual_block", weight=zeros, second_weight=zeros))
    assert quantity(explanation, "branch").any() == quantity(explanation, "branch_gradient").any() == False  # noqa: E712
    close(explanation.gradients["input"], quantity(explanation, "total_gradient"))
    explanation = explain(lecture_exercise("residual_block"))
    sum_of_both = quantity(explanation, "branch_gradient") + quantity(explanation, "total_gradient")
    close(explanation.gradients["input"], sum_of_both)


def test_the_network_knows_digits_that_it_has_not_seen():
    """Its weights, in NumPy alone."""
    data = Digits(train=False)
    weights = lecture_exercise("network")
    x = data.images / 16
    for filters in (weights.weight, weights.second_weight):
        x = convolved(x, filters)
        n, c, h, w = x.shape
        x = x.reshape(n, c, h // 2, 2, w // 2, 2).max(axis=(3, 5))
    logits = x.reshape(len(x), -1) @ weights.matrix.T + weights.bias
    assert (logits.argmax(axis=1) == data.labels).mean() > 0.95
    explanation = explain(lecture_exercise("network"))
    place = next(k for k, image in enumerate(data.images) if np.array_equal(image, explanation.exercise.input))
    close(explanation.products.values["logits"].ravel(), logits[place])


def convolved(x, filters):
    """conv2d with a padding of 1 and its ReLU, as a sum over the nine elements of the filters."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    h, w = x.shape[2:]
    parts = (
        np.einsum("nchw,oc->nohw", padded[:, :, i : i + h, j : j + w], filters[:, :, i, j]) for i, j in np.ndindex(3, 3)
    )
    return np.maximum(sum(parts), 0)


@pytest.mark.slow
def test_the_network_can_be_trained_again(numpy_backend):
    from tools.make_network import SCALE, trained

    data = Digits(train=False)
    logits = trained()(tensor(data.images.astype(np.float32) / SCALE)).numpy()
    assert (logits.argmax(axis=1) == data.labels).mean() > 0.93


def test_the_gradient_of_the_network_by_finite_differences():
    chosen = exercise("network", input="digit 8", target=3)
    explanation = explain(chosen)

    def loss(image):
        return float(explain(exercise("network", input=image.tolist(), target=3)).output)

    for place in ((0, 2, 3), (0, 5, 4)):
        step = np.zeros((1, 8, 8))
        step[place] = 1e-4
        more, less = loss(chosen.input + step), loss(chosen.input - step)
        close(explanation.gradients["input"][place], (more - less) / 2e-4, 1e-4, 1e-7)


def test_the_product_of_the_factors_of_a_chain():
    factors = [0.5, -0.25, 0.5]
    values = explain(exercise("residual_block", factors=factors)).products.values
    close(values["plain"], [[[0.5, -0.125, -0.0625]]])
    close(values["residual"], [[[1.5, 1.125, 1.6875]]])


def test_the_entropies_add_up():
    explanation = explain(lecture_exercise("kl_div"))
    close(quantity(explanation, "parts").sum(), explanation.output)
    close(quantity(explanation, "cross_entropy") - quantity(explanation, "entropy"), explanation.output)


def test_the_gradient_by_the_logit_is_a_difference():
    explanation = explain(lecture_exercise("binary_cross_entropy"))
    close(1 / (1 + np.exp(-quantity(explanation, "logits"))), explanation.exercise.input)
    close(quantity(explanation, "logit_gradient"), (explanation.exercise.input - explanation.exercise.target) / 3)


# ------------------------------------------------------------------------------------------------------------ matrices


def test_im2col_makes_the_convolution_a_product(convolution):
    matrices, window = convolution.matrices, convolution.exercise.window
    outputs, channels, kh, kw = convolution.exercise.weight.shape
    output = convolution.output.reshape(outputs, -1).T
    positions = len(output)
    assert matrices.size == (positions, kh * kw * channels, outputs)
    assert matrices.flops == 2 * sum(len(step.sum.terms) for step in convolution.steps)
    assert matrices.image_bytes == 4 * convolution.exercise.input.size
    assert matrices.windows_bytes == (0 if window.is_pointwise else 4 * positions * kh * kw * channels)
    close(matrices.windows @ matrices.filters, output)


def test_a_row_is_a_window_with_the_channels_of_a_pixel_side_by_side(convolution):
    matrices, (_, channels, kh, kw) = convolution.matrices, convolution.exercise.weight.shape
    steps = [step for step in convolution.steps if step.sum.place[0] == 0]
    for row, step in zip(matrices.windows, steps, strict=True):  # terms are counted channel after channel
        values = np.reshape([term.value for term in step.sum.terms], (channels, kh, kw))
        np.testing.assert_array_equal(row, np.moveaxis(values, 0, -1).ravel())


def test_sizes_of_the_lecture_s_matrices():
    matrices = explain(lecture_exercise("conv2d")).matrices
    assert matrices.windows.tolist() == [
        [1, 2, 2, 3], [2, 1, 3, 1], [1, 0, 1, 1], [2, 3, 3, 0], [3, 1, 0, 0], [1, 1, 0, 2], [3, 0, 1, 1], [0, 0, 1, 2],
        [0, 2, 2, 3],
    ]  # fmt: skip
    assert matrices.filters.tolist() == [[1], [0], [2], [1]]
    assert (matrices.size, matrices.flops, matrices.windows_bytes) == ((9, 4, 1), 72, 144)
    assert matrices.image_bytes == 64


# --------------------------------------------------------------------------------------------------------------- a GPU


def large(operation, channels, **settings):
    """An exercise with an image that is too large to be shown but fills several blocks."""
    image = np.random.default_rng(0).standard_normal((channels, 33, 30))
    if operation == "conv2d":
        weight = np.random.default_rng(1).standard_normal((8, channels, *settings["window"].kernel))
        settings = {**settings, "weight": weight, "gradient": None}
    if operation == "batch_norm":
        settings = {"weight": np.ones(channels), "bias": np.zeros(channels)}
    return dataclasses.replace(lecture_exercise(operation), input=image, **settings)


WINDOWS = {
    "2x2": Window((2, 2), (2, 2)),
    "3x3": Window((3, 3), padding=((1, 1), (1, 1))),
    "stride": Window((3, 2), (2, 3), ((1, 1), (0, 0))),
    "gaps": Window((2, 3), (1, 1), ((1, 1), (2, 2)), (2, 3)),
}
EXERCISES = {
    **{operation: lecture_exercise(operation) for operation in OPERATIONS},
    "1x1": exercise("conv2d", kernel_size=1),
    **{f"conv2d, {name}, {c}": large("conv2d", c, window=window) for name, window in WINDOWS.items() for c in (3, 8)},
    **{f"max_pool2d, {name}": large("max_pool2d", 8, window=WINDOWS[name]) for name in ("2x2", "3x3")},
    "avg_pool2d, 3 channels": large("avg_pool2d", 3, window=WINDOWS["3x3"]),
    "adaptive_avg_pool2d, 8 channels": large("adaptive_avg_pool2d", 8, output_size=(20, 20)),
    "batch_norm, 36 channels": large("batch_norm", 36),
    "batch_norm, 70 channels": large("batch_norm", 70),
}


@pytest.fixture
def launched(monkeypatch):
    """The emulated backend, and what is launched there: kernels with their template arguments, grids and blocks."""
    try:
        switch = use_backend("emulated")
    except BackendError as error:
        pytest.skip(str(error))
    noted = []
    launch = gpunet.emulator.module.Module.launch

    def note(self, name, grid, block, arguments, shared_mem=0):
        count = next((int(each) for each in arguments if isinstance(each, np.int64)), None)  # the first i64
        noted.append((name, grid, block, shared_mem, count))
        return launch(self, name, grid, block, arguments, shared_mem)

    monkeypatch.setattr(gpunet.emulator.module.Module, "launch", note)
    with switch:
        yield noted


def small_network(x, chosen):
    """As tools/make_network.py has trained it."""
    first, second, matrix, bias = (
        tensor(getattr(chosen, name).astype(np.float32), requires_grad=True)
        for name in ("weight", "second_weight", "matrix", "bias")
    )
    x = F.max_pool2d(F.relu(F.conv2d(x / 16, first, padding=1)), 2)
    x = F.max_pool2d(F.relu(F.conv2d(x, second, padding=1)), 2)
    return F.cross_entropy(F.linear(x.flatten(1), matrix, bias), tensor([chosen.label]))


def on_device(chosen):
    """Run an exercise in float32 on the active backend, forward; what is to be run backward."""
    x = tensor((chosen.input[None] if chosen.input.ndim == 3 else chosen.input).astype(np.float32), requires_grad=True)
    weight, second, bias, target = (
        None if values is None else tensor(values.astype(np.float32), requires_grad=name != "target")
        for name in ("weight", "second_weight", "bias", "target")
        for values in [getattr(chosen, name)]
    )
    window = chosen.window or Window((1, 1))
    stride, padding, dilation = settings_of(window)
    return {
        "conv2d": lambda: F.conv2d(x, weight, None, stride, padding, dilation),
        "max_pool2d": lambda: F.max_pool2d(x, window.kernel, stride, padding, dilation),
        "avg_pool2d": lambda: F.avg_pool2d(x, window.kernel, stride, padding),
        "adaptive_avg_pool2d": lambda: F.adaptive_avg_pool2d(x, chosen.output_size),
        "dropout": lambda: F.dropout(x, chosen.p),
        "batch_norm": lambda: F.batch_norm(x, None, None, weight, bias, training=True),
        "sigmoid": lambda: F.sigmoid(x),
        "softmax": lambda: F.softmax(x),
        "kl_div": lambda: F.kl_div(x.log(), target, reduction="sum"),
        "binary_cross_entropy": lambda: F.binary_cross_entropy(x, target),
        "cross_entropy": lambda: F.cross_entropy(x.unsqueeze(0), target.unsqueeze(0)),
        "relu": lambda: F.relu(x),
        "linear": lambda: F.linear(x, weight, bias),
        "network": lambda: small_network(x, chosen),
        "residual_block": lambda: F.relu(
            F.conv2d(F.relu(F.conv2d(x, weight, None, stride, padding)), second, None, stride, padding) + x
        ),
    }[chosen.operation]()


@pytest.mark.parametrize("chosen", EXERCISES.values(), ids=EXERCISES)
def test_launches_are_those_of_the_emulator(chosen, launched):
    output = on_device(chosen)
    _ = output.array  # the last pass of batch norm waits until somebody looks
    forward = len(launched)
    output.backward(tensor(np.ones(output.shape, np.float32)) if output.ndim else None)
    with use_backend("numpy"):
        expected = on_gpu(chosen).launches
    told = [(each.instance, (each.grid, 1, 1), (each.block, 1, 1), 0) for each in expected]
    assert told == [each[:-1] for each in launched]
    assert [each.backward for each in expected] == [False] * forward + [True] * (len(launched) - forward)
    for each, (*_, count) in zip(expected, launched, strict=True):
        assert (each.grid - 1) * each.block < each.items <= each.grid * each.block
        assert chosen.operation == "batch_norm" or each.items == count


def test_large_exercises_fill_several_blocks():
    """So the test above would notice a wrong count."""
    with use_backend("numpy"):
        grids = {
            name: max((each.grid for each in on_gpu(chosen).launches), default=0) for name, chosen in EXERCISES.items()
        }
    assert all(grid > 1 for name, grid in grids.items() if name not in OPERATIONS and name != "1x1")


def test_the_tape_is_recorded():
    ran = {operation: explain(lecture_exercise(operation)).gpu.operations for operation in OPERATIONS}
    assert ran["max_pool2d"] == ("gpunet.ops.pooling.MaxPool2d",)
    assert [name.rpartition(".")[2] for name in ran["residual_block"]] == ["Conv2d", "ReLU", "Add"]
    for names in ran.values():
        for name in names:
            module, _, kind = name.rpartition(".")
            assert hasattr(importlib.import_module(module), kind)


@pytest.mark.parametrize("operation", IMAGE_OPERATIONS)
def test_kernels_stand_where_it_says(operation):
    launches = explain(lecture_exercise(operation)).gpu.launches
    assert launches
    for launch in launches:
        line = (ROOT / launch.file).read_text(encoding="utf-8").splitlines()[launch.line - 1]
        assert re.search(rf"\b{launch.kernel}\(", line)
        assert launch.instance.partition("<")[0] == launch.kernel
        assert f"kernel.{launch.kernel}" in words("es")


def test_shared_memory_is_what_blocks_declare():
    shared = {launch.kernel: launch.shared_bytes for launch in explain(lecture_exercise("batch_norm")).gpu.launches}
    moments, sums = 256 * 3 * 8, 256 * 2 * 8  # three and two doubles for each thread
    assert {name: size for name, size in shared.items() if size} == {
        "batch_norm_statistics": moments,
        "batch_norm_sums": sums,
    }


@pytest.mark.skipif(find_nvrtc() is None, reason="NVRTC is not installed")
def test_shared_memory_is_what_the_compiler_finds():
    from gpunet.backend.kernel_table import KERNELS

    expressions = {i.expression: i for kernel in KERNELS for i in kernel.instances() if kernel.source == "batchnorm"}
    launches = explain(lecture_exercise("batch_norm")).gpu.launches
    compiled = compile_instances([expressions[each.instance] for each in launches], "sm_80")
    assert [each.shared_bytes for each in compiled] == [each.shared_bytes for each in launches]


class Listening(np.ndarray):
    """An array that notes the functions that are called on it, and makes what they return listen, too."""

    def __array_finalize__(self, other):
        self.called = getattr(other, "called", None)

    def __array_ufunc__(self, ufunc, method, *inputs, **settings):
        name = ufunc.__name__ if method == "__call__" else {"add": "sum", "maximum": "max"}[ufunc.__name__]
        return self._noted(name, getattr(ufunc, method), inputs, settings)

    def __array_function__(self, function, types, inputs, settings):
        return self._noted(function.__name__, function, inputs, settings)

    def _noted(self, name, function, inputs, settings):
        self.called.append(name)
        settings = {key: tuple(map(deaf, value)) if key == "out" else value for key, value in settings.items()}
        return listening(function(*map(deaf, inputs), **settings), self.called)


def deaf(value):
    return value.view(np.ndarray) if isinstance(value, Listening) else value


def listening(value, called):
    array = np.asarray(value).view(Listening)
    array.called = called
    return array


DISTRIBUTION = np.array([[0, 0.1, 0.8, 0.1]])
ONLY_CUPY = {  # operations and targets, and what is done to what is not the input: masks, targets, the last sum
    "dropout": ([(Dropout(0.5, False),)], {"random.Generator.random", "greater_equal", "add"}),
    "sigmoid": ([(Sigmoid(),)], set()),
    "softmax": ([(Softmax(1),)], set()),
    "kl_div": ([(KLDivergence(False), DISTRIBUTION)], {"equal", "log", "sum", "negative", "divide"}),
    "binary_cross_entropy": ([(BinaryCrossEntropy(), DISTRIBUTION)], {"greater", "sum", "divide"}),
    "cross_entropy": (
        [(LogSoftmax(1),), (ExpectedNegativeLog(), DISTRIBUTION)],
        {"arange", "equal", "not_equal", "negative", "divide", "multiply", "where"},
    ),
}


@pytest.mark.parametrize("operation", ONLY_CUPY)
def test_functions_of_cupy_are_those_that_are_called(operation):
    operations, beside = ONLY_CUPY[operation]
    gpu = explain(lecture_exercise(operation)).gpu
    called = []
    with use_backend("numpy"):
        values = listening(np.array([[0.1, 0.2, 0.3, 0.4]]), called)
        for each, *target in operations:
            values = each.forward(values, *target)
        assert set(called) <= set(gpu.forward) <= set(called) | beside | set(BESIDE)
        called.clear()
        gradient = listening(np.ones(values.shape), called)
        for each, *_ in reversed(operations):
            gradient = each.backward(gradient)[0]
        assert set(called) <= set(gpu.backward) <= set(called) | beside | set(BESIDE)
    assert [each.kernel for each in gpu.launches] == ["uniform"] * (operation == "dropout")


def test_no_compiler_is_needed(monkeypatch):
    def missing():
        raise AssertionError("asked for a compiler")

    monkeypatch.setattr(gpunet.emulator, "compiler_command", missing)
    for chosen in lecture_exercises():
        assert "launches" in as_json(explain(chosen))["gpu"]


def test_nothing_is_left_behind(backend):
    before = random_state()
    for chosen in lecture_exercises():
        explain(chosen)
    assert random_state() == before
    assert active_backend() == backend


# --------------------------------------------------------------------------------------------------------------- words


def texts_of(language):
    """All that is said, by keys: what everybody says, and what each operation does."""
    own = {f"{name}.{key}": text for name, each in LECTURE.items() for key, text in each.texts[language].items()}
    return {**words(language), **own}


def test_both_languages_have_the_same_texts():
    english, spanish = (texts_of(language) for language in LANGUAGES)
    assert list(english) == list(spanish)
    for key in english:
        assert english[key].strip()
        assert spanish[key].strip()
        assert places_in(english[key]) == places_in(spanish[key]), key
        assert english[key].count("\n") == spanish[key].count("\n"), key
        assert "  " not in english[key].strip() or key.endswith(".backward"), key


def test_spanish_is_not_english():
    english, spanish = (texts_of(language) for language in LANGUAGES)
    same = {key for key in english if english[key] == spanish[key]}
    allowed = ("title", "formula", "backward", "paper", "zero")  # names, formulas, numbers
    assert {key for key in same if not key.endswith(allowed)} == set()


def test_every_operation_has_its_texts_and_no_others():
    """Beyond those of every operation there are those of its quantities, and of what it has besides."""
    for each in LECTURE.values():
        texts = set(each.texts["en"])
        assert texts >= {"title", "summary", "formula", "where", "backward", "why", "paper"}
        assert ("picture" in texts) == (each.picture is not None)
        assert ("problem" in texts) == (each.problem is not None)
        own = texts - {
            "title",
            "summary",
            "formula",
            "where",
            "backward",
            "why",
            "paper",
            "picture",
            "problem",
            "remark",
        }
        assert own <= {step.name for step in each.all_steps} | set(each.grids)


def test_no_text_is_left_over():
    """Each key stands in a source, or is put together there from a beginning and an end."""
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "gpunet" / "explain").rglob("*.py"))
    built = {"kernel", "backward", "heading", "coalescing"}
    left = [
        key for key in words("en") if not re.search(f"[\"']{key}[\"']", sources) and key.partition(".")[0] not in built
    ]
    assert [key for key in left if key not in ("gpu.forward", "gpu.backward")] == []


def test_a_language_that_there_is_not():
    with pytest.raises(ArgumentError, match="no language 'fr'; there are en, es"):
        words("fr")


# ---------------------------------------------------------------------------------------------------------------- text


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_text_fits_a_terminal_and_is_plain(operation, language):
    text = text_of(operation, language)
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text
    assert "{" not in text
    for heading in ("backward", "gpu", "why"):
        assert words(language)(f"heading.{heading}") in text.splitlines()


def test_text_of_the_lecture_s_convolution():
    text = text_of("conv2d")
    for line in (
        "  H'            = ⌊(H - K + 2P) / S⌋ + 1",
        "  rows, columns = ⌊(4 - 2 + 2·0) / 1⌋ + 1 = 3",
        "  [1][2] 1  0     1 [2][1] 0     1  2 [1][0]    1  2  1  0     1  2  1  0",
        "  [2][3] 1  1     2 [3][1] 1     2  3 [1][1]   [2][3] 1  1     2 [3][1] 1",
        "  O[0,0] = 1·1 + 2·0 + 2·2 + 3·1 = 1 + 0 + 4 + 3 = 8",
        "  [1][2][2][3]    1             [8]",
        "  dI[1,1] = 1·1 + 1·2 + 1·0 + 1·1 = 1 + 2 + 0 + 1 = 4",
        "  forward   im2col<float, 1>",
        "            threads 36, grid 1, block 256, shared memory 0 bytes",
    ):
        assert line in text.splitlines()


@pytest.mark.parametrize(
    ("operation", "settings", "lines"),
    [
        ("conv2d", {"chosen": (1, 2)}, ["  O[1,2] = 1·1 + 1·0 + 0·2 + 2·1 = 1 + 0 + 0 + 2 = 3"]),
        ("conv2d", {"dilation": 2}, ["  rows, columns = ⌊(4 - 2·(2-1) - 1 + 2·0) / 1⌋ + 1 = 2"]),
        (
            "conv2d",
            {"padding": 1},
            ["  [·][·] ·  ·  ·  ·     · [·][·] ·  ·  ·     ·  · [·][·] ·  ·", "  A dot is padding: 0."],
        ),
        ("max_pool2d", {"chosen": (0, 1)}, ["  O[0,1] = max(1, 0, 1, 1) = 1"]),
        ("max_pool2d", {"kernel_size": 3, "padding": 1}, ["  A dot is padding: it never wins."]),
        ("avg_pool2d", {}, ["  O[0,0] = (1 + 2 + 2 + 3) / 4 = 2"]),
        ("avg_pool2d", {"input": [[-1, 2], [0, 1]]}, ["  O[0,0] = ((-1) + 2 + 0 + 1) / 4 = 0.5"]),
        ("adaptive_avg_pool2d", {"chosen": (0, 1)}, ["  columns  ⌊1·4/3⌋ .. ⌈2·4/3⌉-1 = 1 .. 2"]),
        ("dropout", {}, ["  m[0,0]: 0.5692 ≥ 0.5 → 1 / (1 - 0.5) = 2", "  O[0,0] = 1 · 2 = 2"]),
        ("dropout", {"chosen": (0, 2)}, ["  m[0,2]: 0.1973 < 0.5 → 0", "  O[0,2] = 1 · 0 = 0"]),
        ("batch_norm", {}, ["  x̂[0,0] = (1 - 1.438) / 0.998 = -0.4384", "  O[0,0] = (-0.4384) · 1 + 0 = -0.4384"]),
        ("relu", {"chosen": (0, 1)}, ["  O[0,1] = max(-2, 0) = 0", "  dI[0,1]: -2 ≤ 0 → 0"]),
        ("linear", {}, ["  y[0] = 1·1 + 2·0 + 3·(-1) + 1 = 1 + 0 + (-3) + 1 = -1", "  dx[0] = 1·1 + 1·2 = 1 + 2 = 3"]),
        ("residual_block", {"chosen": (1, 1)}, ["  s[1,1] = (-1) + 3 = 2", "  dx[1,1] = 2 + 1 · 1 = 3"]),
        ("sigmoid", {}, ["  (1 + e⁻ˣ)[0] = 1 + 7.389 = 8.389", "  y[0] = 1 / 8.389 = 0.1192"]),
        ("softmax", {}, ["  y[0] = 0.1353 / 1.553 = 0.08714"]),
        (
            "kl_div",
            {},
            [
                "  (p log(p/q))[2]: 0.8 > 0 → 0.8 · log(0.8 / 0.7) = 0.1068",
                "  KL = 0 + 0.2303 + 0.1068 + (-0.06419) = 0.2729",
            ],
        ),
        ("binary_cross_entropy", {}, ["  L = (0.1054 + 0.2231 + 0.5108) / 3 = 0.2798"]),
        ("cross_entropy", {}, ["  L = 0 + 0 + 0.4402 + 0 = 0.4402", "  (y - t)[2] = 0.6439 - 1 = -0.3561"]),
    ],
)
def test_formulas_have_the_numbers_in_them(operation, settings, lines):
    text = text_of(operation, **settings).splitlines()
    assert [line for line in lines if line not in text] == []


def test_the_chosen_window_has_a_colour_of_its_own():
    cells = []
    explanation = explain(exercise("max_pool2d", chosen=(1, 0)))
    terminal_text(explanation, words("en"), lambda text, colour: cells.append((text, colour)) or text)
    assert [text for text, colour in cells if colour == "green"] == [
        "[3]",
        "[3]",
        "[0]",
        "[1]",
        "[1]",
    ]  # O, and a window
    assert len([text for text, colour in cells if colour == "yellow"]) == 3 * 4


def test_of_many_windows_the_first_and_the_chosen_are_shown():
    text = text_of("conv2d", input=(12, 12), chosen=(10, 9))
    assert "O[0,0] = " in text
    assert text.count("O[10,9] = ") == 2  # the frame, and the products
    assert "... and 119 more positions" in text
    assert len(text.splitlines()) < 200


def test_channels_have_their_names():
    text = text_of("conv2d", input=(2, 4, 4), out_channels=2, chosen=(1, 0, 0))
    assert re.search(r"I\[0\] +I\[1\] +F\[0,0\] +F\[0,1\]", text)
    for o, c in np.ndindex(2, 2):  # all filters are there, whichever the chosen element is made of
        assert [len(re.findall(rf" {name}\[{o},{c}\]\s", text)) for name in ("F", "dF")] == [1, 1]
    assert "channel 0 of 2; the window is at the same place in all of them" in text
    assert "O[1,0,0] = " in text
    assert "O[0,0,0] = " not in text


def test_colours_change_nothing_but_the_colour():
    explanation = explain(lecture_exercise("max_pool2d"))
    painted = terminal_text(explanation, words("en"), lambda text, colour: f"\x1b[31m{text}\x1b[0m")
    assert ANSI.sub("", painted).replace(" ", "") == terminal_text(explanation, words("en"), plain).replace(" ", "")
    assert painted.count("\x1b[31m[1]\x1b[0m") > 3


# -------------------------------------------------------------------------------------------------- what makes no sense


@pytest.mark.parametrize(
    ("operation", "settings", "error", "message"),
    [
        ("conv3d", {}, ArgumentError, "there is no operation 'conv3d'; there are conv2d, max_pool2d"),
        ("softmax", {"kernel_size": 2}, ArgumentError, "softmax has no kernel_size; it takes input, gradient"),
        ("conv2d", {"kernel_size": 5}, ShapeError, "the window is larger than the padded input: height 4"),
        ("conv2d", {"kernel_size": 10**9}, ShapeError, "the window is larger than the padded input"),
        ("conv2d", {"kernel_size": 0}, ArgumentError, "kernel_size must be 1 or more"),
        ("conv2d", {"stride": 0}, ArgumentError, "stride must be 1 or more"),
        ("conv2d", {"padding": -1}, ArgumentError, "padding must be 0 or more"),
        ("conv2d", {"padding": 7}, ArgumentError, "the padded image is 18x18, but at most 16x16 can be shown"),
        ("conv2d", {"padding": 5}, ArgumentError, "the output is 13x13, but at most 12x12 can be shown"),
        ("conv2d", {"out_channels": 5}, ArgumentError, "at most 4 filters can be shown, got 5"),
        ("conv2d", {"weight": [[1]], "kernel_size": 1}, ArgumentError, "give the filter itself, or kernel_size"),
        ("conv2d", {"weight": np.ones((1, 2, 2, 2))}, ShapeError, "as many channels as the image, 1, got 2"),
        ("conv2d", {"weight": np.ones((1, 1, 1, 2, 2))}, ShapeError, "weight must be"),
        ("conv2d", {"input": (13, 4)}, ArgumentError, "up to 4 channels can be shown, got 1 channel.s. of 13x4"),
        ("conv2d", {"input": (5, 4, 4)}, ArgumentError, "got 5 channel"),
        ("conv2d", {"input": (0, 4)}, ArgumentError, "got 1 channel.s. of 0x4"),
        ("conv2d", {"input": (1, 1, 4, 4)}, ShapeError, "the size of an image is"),
        ("conv2d", {"input": [[1, 2], [3]]}, ShapeError, "in rows of the same length"),
        ("conv2d", {"input": []}, ShapeError, "input holds no numbers"),
        ("conv2d", {"input": [[1000, 0]]}, ArgumentError, "numbers between -1000 and 1000"),
        ("conv2d", {"input": [[float("nan"), 0]]}, ArgumentError, "numbers between"),
        ("conv2d", {"input": np.ones((1, 1, 4, 4))}, ShapeError, "input must be an image"),
        ("conv2d", {"chosen": (3, 0)}, ArgumentError, r"the chosen element must be channel, row and column within"),
        ("conv2d", {"chosen": (0,)}, ArgumentError, "the chosen element must be"),
        ("conv2d", {"chosen": (-1, 0)}, ArgumentError, "chosen must be 0 or more"),
        ("conv2d", {"gradient": [[1, 2]]}, ShapeError, r"gradient must have the shape of the output, \(1, 3, 3\)"),
        ("max_pool2d", {"padding": 2}, ArgumentError, "padding must be at most half the window"),
        (
            "max_pool2d",
            {"input": (2, 8), "kernel_size": (2, 1), "dilation": (5, 1), "padding": (3, 0), "stride": 1},
            ArgumentError,
            "a window sees nothing but padding",
        ),
        ("avg_pool2d", {"dilation": 2}, ArgumentError, "avg_pool2d has no dilation"),
        ("adaptive_avg_pool2d", {"output_size": 0}, ArgumentError, "output_size must be 1 or more"),
        ("adaptive_avg_pool2d", {"output_size": 10**9}, ArgumentError, "at most 12x12 can be shown"),
        ("dropout", {"p": 1.5}, ArgumentError, r"p must lie within \[0, 1\], got 1.5"),
        ("dropout", {"seed": -1}, ArgumentError, "seed must be 0 or more"),
        ("batch_norm", {"input": (1, 1)}, ShapeError, "a channel of one pixel has no variance"),
        ("batch_norm", {"weight": [1, 2]}, ShapeError, "weight must be one number for each channel, 1"),
        ("batch_norm", {"eps": 0}, ArgumentError, "eps must be a number above 0"),
        ("softmax", {"input": [1]}, ShapeError, "input must be 2 to 12 numbers in one row"),
        ("sigmoid", {"input": [[1, 2]]}, ShapeError, "in one row"),
        ("sigmoid", {"input": [-701]}, ArgumentError, "input must be above -700"),
        ("kl_div", {"input": [0.5, 0.6]}, LabelError, "input must be a distribution"),
        ("kl_div", {"input": [0, 1]}, LabelError, r"input \(q\) must be above 0"),
        ("kl_div", {"target": [1, 0]}, ShapeError, "target must have as many numbers as input, 4, got 2"),
        ("binary_cross_entropy", {"input": [1.0]}, LabelError, "probabilities from 1e-09 to 1 - 1e-09"),
        ("binary_cross_entropy", {"target": [1, 2, 0]}, LabelError, "target must be probabilities within"),
        (
            "cross_entropy",
            {"target": 4},
            LabelError,
            "target must be a class, 0 .. 3 for 4 logits, or a distribution, got 4",
        ),
        ("cross_entropy", {"target": -1}, LabelError, "target must be a class, .* got -1"),
        ("cross_entropy", {"target": 1.5}, LabelError, "target must be a class, .* got 1.5"),
        ("cross_entropy", {"target": []}, LabelError, r"target must be a class, .* got \[\]"),
        ("cross_entropy", {"target": True}, LabelError, "target must be a class, .* got True"),
        ("cross_entropy", {"target": "cat"}, LabelError, "target must be a class, .* got cat"),
        ("cross_entropy", {"target": [0.5, 0.5]}, ShapeError, "target must have as many numbers as input, 4, got 2"),
        ("cross_entropy", {"target": [0.5, 0.5, 0.5, 0]}, LabelError, "target must be a distribution"),
    ],
)
def test_exercises_that_make_no_sense(operation, settings, error, message):
    with pytest.raises(error, match=message):
        exercise(operation, **settings)


EXTREMES = [
    ("sigmoid", {"input": [-700, 999]}),
    ("softmax", {"input": [-999, 999, 0]}),
    ("cross_entropy", {"input": [-999, 999, 0], "target": 0}),
    ("binary_cross_entropy", {"input": [1e-9, 1 - 1e-9], "target": [1, 0]}),
    ("kl_div", {"input": [1e-300, 1 - 1e-300], "target": [0.5, 0.5]}),
    ("dropout", {"p": 1.0}),
    ("dropout", {"p": 0.0}),
    ("batch_norm", {"input": [[2, 2], [2, 2]]}),
    ("max_pool2d", {"input": [[-1, -2], [-3, -999]], "padding": 1}),
    ("conv2d", {"input": (4, 12, 12), "out_channels": 4, "kernel_size": 5, "padding": 2, "chosen": (3, 11, 11)}),
    ("conv2d", {"input": (1, 1), "kernel_size": 3, "padding": 1, "stride": 5}),
    ("conv2d", {"input": (1, 1), "kernel_size": 1, "padding": 1, "stride": 5}),
]


@pytest.mark.parametrize(("operation", "settings"), EXTREMES)
def test_extremes_are_told_in_finite_numbers(operation, settings):
    explanation = explain(exercise(operation, **settings))
    json.dumps(as_json(explanation), allow_nan=False)
    for language in LANGUAGES:
        text = terminal_text(explanation, words(language), plain)
        assert not re.search(r"\b(nan|inf)\b", text)
        assert not re.search(r"(?<![\d.])-0(?![.\d])(?! [/·])", text)


def test_settings_are_those_that_makers_know():
    """Every setting of every operation changes something."""
    others = {
        "input": {**dict.fromkeys(IMAGE_OPERATIONS, (5, 5)), "network": "digit 5"}
        | {"binary_cross_entropy": [0.5, 0.1, 0.7], "linear": [0, 1, 1]},
        "weight": {"conv2d": [[1, 1], [1, 1]], "batch_norm": [2], "linear": [[1, 1, 1], [2, 2, 2]]}
        | {"residual_block": np.ones((3, 3))},
        "second_weight": {"residual_block": np.ones((3, 3))},
        "factors": {"residual_block": [0.1, 0.2]},
        "bias": {"batch_norm": [2], "linear": [2, 2]},
        "target": {"kl_div": [0, 0, 1, 0], "binary_cross_entropy": [0, 0, 0], "cross_entropy": 1, "network": 1},
        "gradient": {},
    }
    single = {"kernel_size": 3, "out_channels": 2, "stride": 3, "padding": 1, "dilation": 2, "output_size": 2, "p": 0.1}
    single |= {"seed": 3, "eps": 1.0}
    for operation, names in SETTINGS.items():
        usual = explain(lecture_exercise(operation))
        assert ("gradient" in names) == (operation not in LOSSES)
        for name in names:
            if name == "gradient":
                value = 2 * usual.exercise.gradient
            else:
                value = single.get(name) or others[name].get(operation, [0.4, 0.3, 0.2, 0.1])
            changed = explain(exercise(operation, **{name: value}))
            before, after = (each.products.values for each in (usual, changed))
            assert not all(np.array_equal(before[each], after[each]) for each in before), (operation, name)


# -------------------------------------------------------------------------------------------------------- command line


def said(capsys, *arguments):
    assert main(["explain", *arguments]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_the_command_of_the_lecture(capsys):
    options = ["--input", "4x4", "--kernel", "2", "--stride", "1", "--padding", "0"]
    assert said(capsys, "conv2d", *options) == said(capsys, "conv2d") == text_of("conv2d") + "\n"


def test_options_reach_the_exercise(capsys):
    options = ["--image", "1 2 3; 4 5 6; 7 8 9", "--filter", "1 0; 0 -1", "--element", "1,1", "--gradient", "0 0; 0 2"]
    result = json.loads(said(capsys, "conv2d", "--json", *options))
    assert result["output"] == [[[-4, -4], [-4, -4]]]
    assert result["gradients"]["input"] == [[[0, 0, 0], [0, 2, 0], [0, 0, -2]]]
    assert result["exercise"]["chosen"] == [0, 1, 1]

    result = json.loads(said(capsys, "conv2d", "--json", "--input", "2x6x5", "--kernel", "2x3", "--out-channels", "3",
                             "--stride", "2x1", "--padding", "1x0", "--dilation", "1x2"))  # fmt: skip
    assert np.shape(result["exercise"]["weight"]) == (3, 2, 2, 3)
    assert np.shape(result["output"]) == (3, 4, 1)

    result = json.loads(said(capsys, "batch_norm", "--json", "--image", "1 2|3 5", "--gamma", "2 3", "--beta=-1,1"))
    close(result["output"], [[[-3, 1]], [[-2, 4]]], 1e-4)

    assert json.loads(said(capsys, "adaptive_avg_pool2d", "--json", "--output-size", "1"))["output"] == [[[23 / 16]]]
    assert json.loads(said(capsys, "dropout", "--json", "--p", "1", "--seed", "4"))["output"] == [
        np.zeros((4, 4)).tolist()
    ]
    assert json.loads(said(capsys, "batch_norm", "--json", "--eps", "2"))["exercise"]["eps"] == 2
    assert (
        json.loads(said(capsys, "cross_entropy", "--json", "--input", "-1 1", "--target", "1"))["exercise"]["label"]
        == 1
    )
    assert json.loads(said(capsys, "kl_div", "--json", "--input", "0.5 0.5", "--target", "0.5 0.5"))["output"] == 0


@pytest.mark.parametrize("operation", OPERATIONS)
def test_json_is_all_that_is_printed(operation, capsys):
    out = said(capsys, operation, "--json")
    assert out.count("\n") == 1
    result = json.loads(out, parse_constant=lambda constant: pytest.fail(f"{constant} in the JSON"))
    expected = explain(lecture_exercise(operation))
    close(result["output"], expected.output.tolist(), 0, 0)
    assert result["exercise"]["operation"] == operation
    assert set(result) == {field.name for field in dataclasses.fields(Explanation)} - {"products"}


def test_a_digit_is_an_image(capsys):
    result = json.loads(said(capsys, "max_pool2d", "--json", "--input", "digit 3"))
    image = np.array(result["exercise"]["input"])
    assert image.shape == (1, 8, 8)
    assert any(np.array_equal(image, each) for each in Digits(train=False).images)
    assert np.array(result["output"]).tolist() == [image[0].reshape(4, 2, 4, 2).max(axis=(1, 3)).tolist()]
    result = json.loads(said(capsys, "linear", "--json", "--input", "1 2", "--weight", "1 0; 2 3", "--bias", "1 1"))
    assert result["output"] == [2, 9]


def test_without_an_operation_they_are_listed(capsys):
    out = said(capsys)
    listed = [line.split()[0] for line in out.splitlines() if not line.startswith(" ")]
    assert listed == [*OPERATIONS, "coalescing"]
    assert "De cada ventana se conserva solo el valor más grande." in said(capsys, "--lang", "es")


def test_all_of_them(capsys):
    out = said(capsys, "--all", "--lang", "es")
    titles = [LECTURE[operation].texts["es"]["title"] for operation in OPERATIONS]
    assert [
        line.partition("  ")[0] for line in out.splitlines() if line.endswith(tuple(f"  {o}" for o in OPERATIONS))
    ] == titles
    results = json.loads(said(capsys, "--all", "--json"))
    assert [result["exercise"]["operation"] for result in results] == list(OPERATIONS)


def test_pages_are_written(capsys, tmp_path):
    page = tmp_path / "page.html"
    assert said(capsys, "max_pool2d", "--html", str(page), "--lang", "es") == f"written to {page}\n"
    assert "De cada ventana se conserva solo el valor" in page.read_text(encoding="utf-8")
    folder = tmp_path / "lecture"
    assert said(capsys, "--all", "--html", str(folder)) == f"written to {folder / 'index.html'}\n"
    assert sorted(path.name for path in folder.iterdir()) == ["en", "es", "index.html"]
    only = tmp_path / "only"
    said(capsys, "--all", "--html", str(only), "--lang", "en")
    written = {path.name for path in only.iterdir()}
    assert written == {f"{name}.html" for name in (*OPERATIONS, "coalescing", "index")}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["softmax", "--kernel", "2", "--p", "0.5"], "softmax has no --kernel, --p; it takes --input, --gradient"),
        (
            ["batch_norm", "--filter", "1"],
            "batch_norm has no --filter; it takes --input, --image, --gamma, --beta, --eps",
        ),
        (["conv2d", "--gamma", "1"], "conv2d has no --gamma"),
        (["softmax", "--image", "1 2"], "softmax has no --image"),
        (["softmax", "--input", "4x4"], "softmax works on numbers"),
        (["softmax", "--input", "digit 1"], "softmax works on numbers"),
        (["linear", "--gamma", "1"], "linear has no --gamma; it takes --input, --weight, --bias, --gradient"),
        (["--json"], "name an operation, or give --all for all of them"),
        (["--kernel", "2"], "name an operation"),
        (["--all", "conv2d"], "--all shows the operations as the lecture has them"),
        (["--all", "--kernel", "2"], "--all shows the operations"),
        (["coalescing", "--stride", "2"], "coalescing has no numbers to choose"),
        (["coalescing", "--element", "0"], "coalescing has no numbers to choose"),
    ],
)
def test_options_that_do_not_go_together(arguments, message, capsys):
    with pytest.raises(SystemExit) as left:
        main(["explain", *arguments])
    assert left.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    usage, error = err.splitlines()
    assert usage.startswith("usage: gpunet explain")
    assert error.startswith("gpunet explain: error: ")
    assert message in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["linear", "--weight", "1 2"], "a column for each of the 3 numbers"),
        (["residual_block", "--filter", "1 2; 3 4"], "the sides of weight must be odd"),
        (["conv2d", "--kernel", "7"], "the window is larger than the padded input"),
        (["dropout", "--p", "2"], r"p must lie within [0, 1], got 2.0"),
        (["cross_entropy", "--target", "9"], "target must be a class, 0 .. 3"),
        (["max_pool2d", "--image", "1 2; 3"], "in rows of the same length"),
        (["conv2d", "--input", "40x40"], "got 1 channel(s) of 40x40"),
        (["conv2d", "--html", "nowhere/page.html"], "there is no folder nowhere"),
        (["coalescing", "--html", "nowhere/page.html"], "there is no folder nowhere"),
    ],
)
def test_what_is_refused_is_explained(arguments, message, capsys):
    assert main(["explain", *arguments]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("gpunet: error: explain") or "nowhere" in err
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["conv3d"], "invalid choice: 'conv3d'"),
        (["conv2d", "--input", "4xa"], "expected numbers such as"),
        (["conv2d", "--kernel", "2x2x2"], "expected a whole number, or two such as 2x3"),
        (["conv2d", "--kernel", "-1"], "expected"),
        (["conv2d", "--element", "0;1"], "expected indices such as 0,1"),
        (["conv2d", "--filter", "1 b"], "expected numbers such as"),
        (["conv2d", "--out-channels", "x"], "invalid int value"),
        (["dropout", "--p", "half"], "invalid float value"),
        (["conv2d", "--lang", "fr"], "invalid choice: 'fr'"),
        (["conv2d", "--json", "--html", "x"], "not allowed with argument --json"),
        (["conv2d", "--input", "4x4", "--image", "1"], "not allowed with argument --input"),
    ],
)
def test_what_is_not_understood(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["explain", *arguments])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def run_python(arguments, **settings):
    environment = {**os.environ, "GPUNET_BACKEND": "numpy", **settings}
    return subprocess.run(
        arguments, capture_output=True, text=True, encoding="utf-8", timeout=60, env=environment, cwd=ROOT, check=False
    )


@pytest.mark.skipif(os.name != "posix", reason="pipes as on POSIX")
def test_a_closed_pipe_is_no_error():
    done = run_python(["bash", "-c", f"set -o pipefail; {sys.executable} -m gpunet explain --all | head -n 1"])
    assert (done.returncode, done.stdout, done.stderr) == (0, "Convolution  conv2d\n", NO_KERNELS)


def test_a_terminal_without_greek_letters():
    done = run_python([sys.executable, "-m", "gpunet", "explain", "batch_norm"], PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "O = (I - ?) / ?(?? + ?) ? ? + ?" in done.stdout


def test_the_terminal_decides_about_colours(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[33m[2]\x1b[0m" in said(capsys, "max_pool2d")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in said(capsys, "max_pool2d")


def test_wide_terminals_are_used(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    assert max(map(len, said(capsys, "conv2d").splitlines())) in range(81, 101)
    monkeypatch.setenv("COLUMNS", "40")
    assert said(capsys, "conv2d") == text_of("conv2d") + "\n"
