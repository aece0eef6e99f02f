"""PyTorch's own table of modules and what to try them with, run against the layers of the same names.

Every sample input of `module_db` goes through both libraries with the same parameters: output, gradients by inputs and
parameters, buffers afterwards. What PyTorch refuses must be an error here. Skipped without PyTorch.
"""

import inspect
import sys
import types
import unittest

import pytest

import gpunet.functional as F
from gpunet import nn
from gpunet.errors import GpunetError
from gpunet.tensor import Tensor, tensor
from tests.reference import close, upstream

LAYERS = sorted(
    name for name in nn.__all__ if inspect.isclass(getattr(nn, name)) and issubclass(getattr(nn, name), nn.Module)
)

# Layers that PyTorch's table does not have.
NOT_IN_THE_TABLE = {
    "AlphaDropout",
    "Dropout1d",
    "FeatureAlphaDropout",
    "Fold",
    "MaxUnpool2d",
    "StochasticDepth",
    "SyncBatchNorm",
    "Unflatten",
    "Unfold",
    "CosineSimilarity",
    "PairwiseDistance",
    "TripletMarginLoss",
    "ChannelShuffle",
    "PixelShuffle",
    "PixelUnshuffle",
    "Upsample",
    "UpsamplingBilinear2d",
    "UpsamplingNearest2d",
    "Dropout",
    "Dropout2d",
    "Flatten",
    "GlobalAvgPool2d",
    "Hardsigmoid",
    "Identity",
    "Module",
    "ModuleDict",
    "ModuleList",
    "ParameterDict",
    "ParameterList",
    "RReLU",
    "Sequential",
}

# What differs on purpose: a layer or function ("*" for all), words of the error, and why.
ON_PURPOSE = {
    ("*", "must have the same shape"): "losses whose input and target broadcast, of which PyTorch warns, are mistakes",
    ("*", "eps must be 0 or more"): "a negative eps is a mistake",
    ("avg_pool2d", "stride must be one whole number or two, got ()"): "nothing is no stride; None is the kernel size",
    ("batch_norm", "input must have shape"): "there are no channels in one dimension",
    ("cat", "there is no dimension 1 in shape (0,)"): "an old exception for empty Tensors",
    (
        "conv_transpose2d",
        "output_padding must be smaller than the stride",
    ): "conv2d brings no such sizes to the same one",
    ("cosine_similarity", "of a Tensor with 0 dimension(s)"): "a number is no vector",
    ("normalize", "of a Tensor with 0 dimension(s)"): "a number is no vector",
    ("interpolate", "takes pixels of a Tensor"): "there are no volumes",
    ("interpolate", "got 'trilinear'"): "there are no volumes",
    ("multi_margin_loss", "got ()"): "a number is no scores of classes",
    ("multilabel_margin_loss", "got () and ()"): "a number is no scores of classes",
}


@pytest.fixture(scope="module")
def table():
    """PyTorch's modules by name, and a function that makes their samples."""
    pytest.importorskip("torch")
    # Its tests are written for expecttest, whose one class it asks for on the way; the samples do without.
    sys.modules.setdefault("expecttest", types.SimpleNamespace(TestCase=unittest.TestCase))
    module = pytest.importorskip("torch.testing._internal.common_modules")
    return {info.name.removeprefix("nn."): info for info in module.module_db}


def test_layers_that_the_table_lacks_are_listed(table):
    assert {name for name in LAYERS if name not in table} == NOT_IN_THE_TABLE


@pytest.mark.filterwarnings("ignore")  # PyTorch's advice on sizes that broadcast, and on means
@pytest.mark.parametrize("layer", [name for name in LAYERS if name not in NOT_IN_THE_TABLE])
@pytest.mark.parametrize(
    ("backend", "dtype", "tolerance"),
    [
        ("numpy", "float64", 1e-9),
        pytest.param("numpy", "float32", 2e-4, marks=pytest.mark.slow),
        pytest.param("emulated", "float64", 1e-9, marks=pytest.mark.slow),
    ],
    indirect=["backend"],
)
def test_samples_of_pytorch(table, torch, backend, layer, dtype, tolerance):
    failed, count = [], 0
    for training in (True, False):
        torch.manual_seed(0)
        samples = table[layer].module_inputs_func(
            table[layer], device="cpu", dtype=getattr(torch, dtype), requires_grad=True, training=training
        )
        for number, sample in enumerate(samples):
            count += 1
            problem = compare(torch, layer, sample, dtype, training, tolerance)
            if problem and not on_purpose(layer, problem):
                failed.append(f"{number} ({'train' if training else 'eval'}, {sample.desc}): {problem}")
    assert not failed, f"{len(failed)} of {count}:\n" + "\n".join(failed)


def on_purpose(name, problem):
    return any(listed in (name, "*") and words in problem for listed, words in ON_PURPOSE)


def compare(torch, layer, sample, dtype, training, tolerance):
    """What differs between the two libraries for one sample; nothing if all is well."""
    made, given = sample.constructor_input, sample.forward_input
    theirs = getattr(torch.nn, layer)(*made.args, **made.kwargs).to(getattr(torch, dtype)).train(training)
    try:
        mine = getattr(nn, layer)(*converted(made.args, ours), **converted(made.kwargs, ours)).to(dtype).train(training)
        mine.load_state_dict(theirs.state_dict())
    except (GpunetError, TypeError) as error:
        return f"{error!r} where the layer is made"
    return difference(theirs, mine, given, tolerance)


def difference(theirs, mine, given, tolerance):
    """What differs in the results of two layers or functions; nothing if all is well."""
    expected, actual = (results(*each) for each in ((theirs, converted(given, leaf)), (mine, converted(given, ours))))
    if isinstance(expected, Exception) or isinstance(actual, Exception):
        if isinstance(expected, Exception) and isinstance(actual, GpunetError):
            return ""  # refused by both
        return f"{described(actual)}, where PyTorch has {described(expected)}"
    if expected.keys() != actual.keys():
        return f"{sorted(expected.keys() ^ actual.keys())} in one library only"
    for name, value in expected.items():
        try:
            assert actual[name].dtype == value.dtype
            close(actual[name], value, tolerance, tolerance)
        except AssertionError as error:
            return f"{name}: {' '.join(str(error).split())[:300]}"
    return ""


# ------------------------------------------------------------------------------------------------------- functions

BY_CHANCE = {"alpha_dropout", "dropout", "dropout2d", "feature_alpha_dropout", "rrelu"}
ARGUMENTS_DIFFER = {"where"}  # in the table they are those of a method


@pytest.fixture(scope="module")
def functions():
    """PyTorch's table of functions, and what to try them with: name -> its entries."""
    pytest.importorskip("torch")
    sys.modules.setdefault("expecttest", types.SimpleNamespace(TestCase=unittest.TestCase))
    module = pytest.importorskip("torch.testing._internal.common_methods_invocations")
    table = {}
    for info in module.op_db:
        table.setdefault(info.name.removeprefix("nn.functional."), []).append(info)
    return table


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name in F.__all__ if name not in BY_CHANCE | ARGUMENTS_DIFFER])
def test_samples_of_functions(functions, torch, numpy_backend, name):
    failed, count = [], 0
    for info in functions.get(name, ()):
        theirs = getattr(torch.nn.functional, name, None) or getattr(torch, name)
        torch.manual_seed(0)
        for number, sample in enumerate(info.sample_inputs("cpu", torch.float64, requires_grad=info.supports_autograd)):
            count += 1
            given = types.SimpleNamespace(args=(sample.input, *sample.args), kwargs=sample.kwargs)
            problem = difference(theirs, getattr(F, name), given, 1e-7)
            if problem and not on_purpose(name, problem):
                shapes = [tuple(each.shape) if hasattr(each, "shape") else each for each in given.args]
                failed.append(f"{number}: {shapes} {given.kwargs}: {problem}")
    assert not failed, f"{len(failed)} of {count}:\n" + "\n".join(failed)


# -------------------------------------------------------------------------------------------------- both libraries


def converted(given, convert):
    """Arguments with each Tensor of PyTorch converted."""
    if isinstance(given, tuple | list):
        return type(given)(converted(each, convert) for each in given)
    if isinstance(given, dict):
        return {name: converted(each, convert) for name, each in given.items()}
    if hasattr(given, "kwargs"):
        return types.SimpleNamespace(args=converted(given.args, convert), kwargs=converted(given.kwargs, convert))
    if hasattr(given, "is_floating_point") and not hasattr(given, "requires_grad"):  # a type of number
        return given if convert is leaf else str(given).removeprefix("torch.")
    return convert(given) if hasattr(given, "requires_grad") else given


def ours(given):
    return tensor(given.detach().numpy(), requires_grad=given.requires_grad)


def leaf(given):
    """A Tensor that keeps its gradient, which results do not."""
    return given.detach().clone().requires_grad_(given.requires_grad)


def results(layer, given):
    """What comes out of a layer or function, the gradients and buffers that it leaves, by name; or the error."""
    inputs = {str(name): each for name, each in (*enumerate(given.args), *given.kwargs.items())}
    try:
        outputs = layer(*given.args, **given.kwargs)
    except Exception as error:
        return error
    found = {}
    for number, output in enumerate(outputs if isinstance(outputs, tuple) else (outputs,)):
        found[f"output {number}"] = output.detach().numpy()
        if output.requires_grad:
            weights = upstream(tuple(output.shape)).astype(found[f"output {number}"].dtype)
            output.backward(tensor(weights) if isinstance(output, Tensor) else output.new_tensor(weights))
    is_layer = hasattr(layer, "named_parameters")
    for name, each in (*inputs.items(), *(layer.named_parameters() if is_layer else ())):
        if getattr(each, "grad", None) is not None:
            found[f"gradient of {name}"] = each.grad.numpy()
    return found | {name: each.numpy() for name, each in (layer.named_buffers() if is_layer else ())}


def described(result):
    return repr(result) if isinstance(result, Exception) else "an output"
