"""torchvision's own model files, as they are written, with gpunet under the name of torch.

The files are taken from the installed wheel and run: `import torch` gives them gpunet, `torch.nn` is `gpunet.nn`. Only
what registers models and describes their weights is a stand-in; it has nothing to do with networks. Each network is
compared with the same one of PyTorch, with the same random weights: names, logits and gradients.
"""

import contextlib
import functools
import importlib
import importlib.util
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import gpunet
from gpunet import tensor

torch = pytest.importorskip("torch")
SPEC = importlib.util.find_spec("torchvision")  # where it is; whether its compiled part can be loaded is all the same
if SPEC is None:
    pytest.skip("torchvision is not installed: pip install 'gpunet[torchvision]'", allow_module_level=True)
FILES = Path(SPEC.origin).parent
pytestmark = pytest.mark.usefixtures("torch")  # on one thread
UNDER_TORCH_S_NAME = ["nn", "nn.functional", "nn.init", "utils", "utils.checkpoint", "jit", "fx"]


class Anything:
    """Stands for descriptions of weights, presets of images, and whatever else a network does not consist of."""

    def __init__(self, *args, **kwargs):
        pass

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return self


class NoWeights:
    """The base of the tables of weights, none of which is asked for."""

    @classmethod
    def verify(cls, weights):
        return weights


def decorates_nothing(*args, **kwargs):
    return lambda function: function


def as_tuple(value, count):
    return tuple(value) if isinstance(value, tuple | list) else (value,) * count


STAND_INS = {  # of torchvision's own modules: the names that the files import
    "torchvision": {},
    "torchvision._utils": {"sequence_to_str": str},
    "torchvision.models": {},
    "torchvision.models._api": {"register_model": decorates_nothing, "Weights": Anything, "WeightsEnum": NoWeights},
    "torchvision.models._meta": {"_IMAGENET_CATEGORIES": []},
    "torchvision.ops": {},
    "torchvision.transforms": {},
    "torchvision.transforms._presets": {"ImageClassification": Anything, "InterpolationMode": Anything()},
    "torchvision.utils": {"_log_api_usage_once": lambda _: None, "_make_ntuple": as_tuple},
}
# Default arguments in ops/misc.py for what no classifier of images uses.
NOT_USED = [(gpunet.nn, "Conv3d"), (gpunet.nn, "BatchNorm3d"), (gpunet.nn.functional, "interpolate")]


def stand_in(name, names):
    made = types.ModuleType(name)
    vars(made).update(names, __path__=[])
    return made


def of_torch(names):
    return [name for name in names if name.partition(".")[0] in ("torch", "torchvision")]


@contextlib.contextmanager
def importing(modules):
    """Let the files find these modules, and nothing else of torch and torchvision."""
    before = {name: sys.modules.pop(name) for name in of_torch(list(sys.modules))}
    sys.modules.update(modules)
    lacking = [(place, name) for place, name in NOT_USED if not hasattr(place, name)]
    for place, name in lacking:
        setattr(place, name, None)
    try:
        yield
    finally:
        for place, name in lacking:
            delattr(place, name)
        for name in of_torch(list(sys.modules)):
            del sys.modules[name]
        sys.modules.update(before)


def run_file(name):
    """Run a file of torchvision, as the module of that name."""
    spec = importlib.util.spec_from_file_location(name, FILES.joinpath(*name.split(".")[1:]).with_suffix(".py"))
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made
    spec.loader.exec_module(made)
    return made


def run_model_file(name, under_torch_s_name):
    """What a file of models defines, run with a library under torch's name."""
    with importing({**under_torch_s_name, **{name: stand_in(name, names) for name, names in STAND_INS.items()}}):
        sys.modules["torchvision.ops"].StochasticDepth = run_file("torchvision.ops.stochastic_depth").StochasticDepth
        run_file("torchvision.ops.misc")
        run_file("torchvision.models._utils").handle_legacy_interface = decorates_nothing
        return run_file(f"torchvision.models.{name}")


@functools.cache
def of_gpunet(file):
    under = {f"torch.{name}": importlib.import_module(f"gpunet.{name}") for name in UNDER_TORCH_S_NAME}
    return run_model_file(file, {"torch": gpunet, **under})


@functools.cache
def of_pytorch(file):
    importlib.import_module("torch.fx")
    return run_model_file(file, {name: each for name, each in sys.modules.items() if name.split(".")[0] == "torch"})


# The file, the model, the width of the images, and whether it is quick. The images are small, but not so small that
# batch norm sees one pixel of each image at the end; for inception's auxiliary output they cannot be smaller.
MODELS = [
    ("alexnet", "alexnet", 64, False),
    ("vgg", "vgg11", 32, False),
    ("vgg", "vgg16_bn", 32, False),
    ("resnet", "resnet18", 64, True),
    ("resnet", "resnet50", 64, False),
    ("resnet", "resnet152", 64, False),
    ("resnet", "resnext50_32x4d", 64, False),
    ("resnet", "wide_resnet50_2", 64, False),
    ("densenet", "densenet121", 64, True),
    ("squeezenet", "squeezenet1_0", 64, False),
    ("squeezenet", "squeezenet1_1", 64, True),
    ("mobilenetv2", "mobilenet_v2", 64, True),
    ("mobilenetv3", "mobilenet_v3_small", 64, True),
    ("mobilenetv3", "mobilenet_v3_large", 64, False),
    ("shufflenetv2", "shufflenet_v2_x0_5", 64, True),
    ("shufflenetv2", "shufflenet_v2_x1_0", 64, False),
    ("googlenet", "googlenet", 64, True),
    ("inception", "inception_v3", 299, False),
    ("efficientnet", "efficientnet_b0", 64, False),
    ("efficientnet", "efficientnet_v2_s", 64, False),
    ("regnet", "regnet_y_400mf", 64, False),
    ("regnet", "regnet_x_400mf", 64, True),
    ("mnasnet", "mnasnet0_5", 64, True),
    ("mnasnet", "mnasnet1_0", 64, False),
    ("convnext", "convnext_tiny", 64, False),
]
AUXILIARY = {"googlenet": {"aux_logits": True, "init_weights": True}, "inception": {"init_weights": True}}
each_model = pytest.mark.parametrize(
    ("file", "name", "width"),
    [
        pytest.param(file, name, width, id=name, marks=() if quick else pytest.mark.slow)
        for file, name, width, quick in MODELS
    ],
)


def outputs_of(output):
    """All outputs in a list: googlenet and inception have auxiliary ones while they train."""
    return list(output) if isinstance(output, tuple) else [output]


def without_chance(model):
    """Dropout and stochastic depth draw other random numbers: here they drop nothing."""
    for each in model.modules():
        if type(each).__name__ in ("Dropout", "Dropout2d", "StochasticDepth"):
            each.p = 0.0
    return model


@each_model
def test_a_network_is_that_of_pytorch(file, name, width):
    settings = AUXILIARY.get(file, {})
    torch.manual_seed(0)
    theirs = without_chance(getattr(of_pytorch(file), name)(**settings, num_classes=10))
    ours = without_chance(getattr(of_gpunet(file), name)(**settings, num_classes=10))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    x = np.random.default_rng(0).standard_normal((4, 3, width, width)).astype(np.float32)
    check_outputs(ours.eval()(tensor(x)), theirs.eval()(torch.from_numpy(x)))
    # Where a hundred layers normalise a few images, float32 is noise in both; and so are gradients that nearly cancel.
    mine = ours.train().double()(tensor(x).double())
    right = theirs.train().double()(torch.from_numpy(x).double())
    check_outputs(mine, right)
    expected = gradients(theirs, right, torch.from_numpy)
    largest = max(np.abs(each).max() for each in expected.values())
    for path, gradient in gradients(ours, mine, tensor).items():
        atol = 1e-3 * np.abs(expected[path]).max() + 1e-9 * largest
        np.testing.assert_allclose(gradient, expected[path], rtol=0, atol=atol, err_msg=path)
    for path, statistic in ours.named_buffers():
        expected = theirs.get_buffer(path).numpy()
        np.testing.assert_allclose(statistic.numpy(), expected, rtol=1e-4, atol=1e-4, err_msg=path)


def check_outputs(mine, right):
    for one, other in zip(outputs_of(mine), outputs_of(right), strict=True):
        other = other.detach().numpy()
        np.testing.assert_allclose(one.detach().numpy(), other, rtol=0, atol=1e-4 * max(1, np.abs(other).max()))


def gradients(model, output, tensor):
    """Of a random sum of all outputs, by the parameters."""
    outputs = outputs_of(output)
    weights = [np.random.default_rng(i).standard_normal(tuple(each.shape)) for i, each in enumerate(outputs)]
    sum((each * tensor(weight)).sum() for each, weight in zip(outputs, weights, strict=True)).backward()
    return {path: parameter.grad.numpy() for path, parameter in model.named_parameters()}
