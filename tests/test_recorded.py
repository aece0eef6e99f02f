"""Every function on inputs, outputs and gradients recorded from PyTorch (see recorded/record_functional.py).

The same cases show what must hold for every function: types of number, inputs left alone, any memory order.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

import gpunet.functional as F
from gpunet.tensor import tensor
from tests.reference import DIFFERENTIABLE, close

pytestmark = pytest.mark.usefixtures("backend")

with safe_open(Path(__file__).with_name("recorded") / "functional.safetensors", framework="numpy") as file:
    CASES = json.loads(file.metadata()["cases"])
    RECORDED = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (the file is no dict)

each_case = pytest.mark.parametrize("case", CASES)


def make_inputs(case, dtype="float64"):
    """The inputs of a case as Tensors, floats in the given type."""
    inputs = {}
    for name, (kind, _) in CASES[case][1].items():
        array = RECORDED[f"{case}/{name}"]
        inputs[name] = tensor(array, dtype if array.dtype.kind == "f" else None, requires_grad=kind in DIFFERENTIABLE)
    return inputs


def call(case, inputs):
    """The output, after backward."""
    function, _, settings = CASES[case]
    output = getattr(F, function)(**inputs, **settings)
    output.backward(tensor(RECORDED[f"{case}/upstream"], output.dtype))
    return output


def check(case, inputs, output, **tolerance):
    """Compare output, gradients and running statistics with the recorded ones."""
    close(output.numpy(), RECORDED[f"{case}/output"], **tolerance)
    for name, value in inputs.items():
        if value.requires_grad:
            close(value.grad.numpy(), RECORDED[f"{case}/{name}.grad"], **tolerance)
        elif name.startswith("running"):
            close(value.numpy(), RECORDED[f"{case}/{name}.after"], **tolerance)


@each_case
def test_float64_agrees_with_pytorch(case):
    inputs = make_inputs(case)
    check(case, inputs, call(case, inputs), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-5), ("float16", 2e-2)])
@each_case
def test_lower_precision_agrees_with_pytorch_and_stays_what_it_is(case, dtype, tolerance):
    inputs = make_inputs(case, dtype)
    output = call(case, inputs)
    assert output.dtype == dtype
    assert all(value.grad.dtype == dtype for value in inputs.values() if value.requires_grad)
    check(case, inputs, output, rtol=tolerance, atol=tolerance)


@each_case
def test_inputs_are_left_alone(case):
    inputs = make_inputs(case)
    call(case, inputs)
    for name, value in inputs.items():
        moves = any(CASES[case][2].get(each) for each in ("training", "use_input_stats"))
        if not (name.startswith("running") and moves):
            close(value.numpy(), RECORDED[f"{case}/{name}"], 0, 0)


def every_second(value):
    """The same Tensor, with a gap after each element in memory."""
    spread = tensor(np.repeat(value.numpy(), 2, axis=-1))[..., ::2].detach()
    spread.requires_grad = value.requires_grad
    return spread


def reversed_axes(value):
    """The same Tensor, with its axes reversed in memory."""
    turned = tensor(np.ascontiguousarray(value.numpy().T)).T.detach()
    turned.requires_grad = value.requires_grad
    return turned


@pytest.mark.parametrize("rearrange", [every_second, reversed_axes])
@each_case
def test_memory_order_of_the_inputs_does_not_matter(case, rearrange):
    inputs = {name: rearrange(value) for name, value in make_inputs(case).items()}
    check(case, inputs, call(case, inputs), rtol=1e-9, atol=1e-11)


@each_case
def test_nothing_is_recorded_for_constants(case):
    function, _, settings = CASES[case]
    inputs = {name: value.detach() for name, value in make_inputs(case).items()}
    assert not getattr(F, function)(**inputs, **settings).requires_grad


def test_every_function_is_recorded():
    elsewhere = {"cat", "stack", "flatten", "where", "maximum", "minimum"}  # tests/test_tensor.py
    elsewhere |= {"one_hot"}  # tests/test_torch_semantics.py
    elsewhere |= {"conv_transpose1d"}  # tests/test_against_torch.py
    elsewhere |= {"hardsigmoid"}  # tests/test_activation.py; PyTorch takes 1/6 in float32
    without_pytorch = {name for name in F.__all__ if "dropout" in name}  # random
    without_pytorch |= {"stochastic_depth", "global_avg_pool2d"}  # absent there
    assert {function for function, _, _ in CASES.values()} | elsewhere | without_pytorch == set(F.__all__)
