"""PyTorch's own test inputs for functions of its module itself, such as torch.sort, run with PyTorch and with gpunet.

Whatever of its table (`torch.testing._internal`) has a namesake here is compared: values, shapes, types and gradients.
What differs on purpose is listed, with the reason; everything else must be the same. `test_torch_modules` does so for
layers and their functions.
"""

import re
import sys
import types
import unittest

import numpy as np
import pytest

import gpunet

torch = pytest.importorskip("torch")
# Its tests are written for expecttest, whose one class it asks for on the way; the samples do without.
sys.modules.setdefault("expecttest", types.SimpleNamespace(TestCase=unittest.TestCase))
common = pytest.importorskip("torch.testing._internal.common_methods_invocations")
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("torch")]

RANDOM = re.compile("rand|normal|bernoulli|multinomial|empty|dropout")  # only shapes and types are compared
DIFFERS = {  # functions, words of our error, and why
    (".*", "of a Tensor with 0 dimension"): "a single number has no dimension; only sums and the like take 0 for one",
    ("gather|scatter.*", "index must have"): "an index has as many dimensions as the input, even where it is empty",
    ("unique.*", "slices along a dimension"): "values are compared, not slices along a dimension",
    ("cat|hstack|vstack|concat.*", "cat: "): "an empty vector does not pass for a Tensor of any shape",
    ("norm", "got 'nuc'"): "the nuclear norm needs singular values",
    ("normal", "argument 'layout'"): "there is one layout",
    ("scatter_reduce", "reduce must be one of"): "products of what comes to one place are left out",
    ("tensordot", "the sizes differ"): "sizes that differ are an error, also where one of them is 1",
}
MOST = 12  # samples of a function in the ordinary run; all of them are slow


def namesake(name):
    """Our function of a name in the table."""
    place = getattr(gpunet, name, None)
    return place if isinstance(place, types.FunctionType) else None


LEFT_OUT = {  # of PyTorch's table
    "normal_in_place": "is a method",
    "div_floor_rounding": "has no history here, where PyTorch has one whose gradients are 0",
}
TABLE = {
    op.formatted_name: op for op in common.op_db if namesake(op.name) is not None and op.formatted_name not in LEFT_OUT
}
ROUGH = {"cov": {"rtol": 1e-4, "atol": 1e-4}}  # PyTorch divides by float32 numbers where there are weights
OTHER_ORDER = {  # PyTorch's table calls these with the arguments in another order
    "einsum": lambda tensors, equation: gpunet.einsum(equation, tensors),
    "where": lambda input, condition, other: gpunet.where(condition, input, other),
}


def translated(value):
    """A value of PyTorch as one of gpunet."""
    if isinstance(value, torch.Tensor):
        return gpunet.tensor(value.detach().numpy(), requires_grad=value.requires_grad)
    if str(value) == "cpu":  # where everything lies in PyTorch
        return "cuda" if gpunet.cuda.is_available() else "cpu"
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    if isinstance(value, list | tuple):
        return [translated(each) for each in value] if isinstance(value, list) else tuple(map(translated, value))
    if isinstance(value, dict):
        return {name: translated(each) for name, each in value.items()}
    return value


def flat(value):
    """All that lists and dictionaries consist of."""
    if isinstance(value, dict):
        value = list(value.values())
    return [each for part in value for each in flat(part)] if isinstance(value, list | tuple) else [value]


def with_gradient(values):
    return [each for each in values if getattr(each, "requires_grad", False)]


def go_back(outputs, tensor):
    """A random sum of all outputs, and its gradients."""
    rng = np.random.default_rng(0)
    weights = [tensor(rng.uniform(-1, 1, tuple(each.shape)).astype(str(each.dtype)[-7:])) for each in outputs]
    sum((each * weight).sum() for each, weight in zip(outputs, weights, strict=True)).backward()


def compare(op, sample, tolerance):
    theirs = [sample.input, *sample.args]
    for each in with_gradient(flat([theirs, sample.kwargs])):
        each.grad = None  # samples share them
    mine, settings = translated(theirs), translated(sample.kwargs)
    right = flat(op.op(*theirs, **sample.kwargs))
    got = flat(OTHER_ORDER.get(op.name, namesake(op.name))(*mine, **settings))
    for one, other in zip(got, right, strict=True):
        if not isinstance(other, torch.Tensor):
            assert one == other
            continue
        assert (one.shape, str(one.dtype)) == (tuple(other.shape), str(other.dtype).removeprefix("torch."))
        if not RANDOM.search(op.name):
            np.testing.assert_allclose(one.detach().numpy(), other.detach().numpy(), **tolerance)
            assert one.requires_grad == other.requires_grad
    if RANDOM.search(op.name) or not with_gradient(right):
        return
    go_back(with_gradient(got), gpunet.tensor)
    go_back(with_gradient(right), torch.from_numpy)
    inputs = with_gradient(flat([mine, settings])), with_gradient(flat([theirs, sample.kwargs]))
    for one, other in zip(*inputs, strict=True):
        if other.grad is not None:
            np.testing.assert_allclose(
                0 if one.grad is None else one.grad.numpy(), other.grad.numpy(force=True), **tolerance
            )


def on_purpose(name, error):
    return any(re.fullmatch(who, name) and words in str(error) for who, words in DIFFERS)


def samples_of(op, dtype):
    if dtype not in op.supported_dtypes("cpu"):
        dtype = torch.int64
    torch.manual_seed(0)
    return list(op.sample_inputs("cpu", dtype, requires_grad=op.supports_autograd and dtype.is_floating_point))


def check(op, samples, tolerance):
    problems = []
    tolerance = ROUGH.get(op.name, tolerance)
    for sample in samples:
        try:
            compare(op, sample, tolerance)
        except Exception as error:
            if not on_purpose(op.name, error):
                problems.append(f"{type(error).__name__}: {' '.join(str(error).split())[:300]} in {sample.summary()}")
    assert not problems, f"{len(problems)} of {len(samples)}, first: {problems[0]}"


@pytest.mark.parametrize("name", TABLE)
def test_samples_of_pytorch(name, numpy_backend):
    samples = samples_of(TABLE[name], torch.float64)
    check(TABLE[name], samples[:: -(-len(samples) // MOST)], {"rtol": 1e-7, "atol": 1e-9})
