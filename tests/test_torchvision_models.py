"""torchvision's own model files, as they are written, with gpunet under the name of torch.

The files are taken from the installed wheel and run. Each network is compared with the same one of PyTorch, with the
same random weights: names, logits and gradients. So are the networks of `gpunet.models` that torchvision has, too.
"""

import functools
import importlib
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from gpunet import models, tensor
from gpunet.nn import init
from tests.under_torch_s_name import (
    Anything,
    check_network,
    importing,
    modules_of_gpunet,
    modules_of_pytorch,
    stand_in,
)

torch = pytest.importorskip("torch")
SPEC = importlib.util.find_spec("torchvision")  # where it is; whether its compiled part can be loaded is all the same
if SPEC is None:
    pytest.skip("torchvision is not installed: pip install 'gpunet[torchvision]'", allow_module_level=True)
FILES = Path(SPEC.origin).parent
pytestmark = pytest.mark.usefixtures("torch")  # on one thread


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
    return run_model_file(file, modules_of_gpunet())


@functools.cache
def of_pytorch(file):
    return run_model_file(file, modules_of_pytorch())


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


@each_model
def test_a_network_is_that_of_pytorch(file, name, width):
    settings = AUXILIARY.get(file, {})
    torch.manual_seed(0)
    theirs = getattr(of_pytorch(file), name)(**settings, num_classes=10)
    check_network(getattr(of_gpunet(file), name)(**settings, num_classes=10), theirs, torch, width)


# ------------------------------------------------------------------------------------------------------ gpunet.models

FILE_OF = {"alexnet": "alexnet", "vgg": "vgg", "densenet": "densenet", "mobilenet_v2": "mobilenetv2"}
FILE_OF |= {"convnext": "convnext", "": "resnet"}
QUICK = ("resnet18", "resnext50_32x4d", "densenet121", "mobilenet_v2")
LEFT_OUT = ("vgg13", "vgg13_bn", "vgg16", "vgg19", "vgg19_bn", "convnext_large")  # the same again, in gigabytes


def theirs_for(name, **settings):
    file = next(file for family, file in FILE_OF.items() if name.startswith(family))
    return getattr(of_pytorch(file), name)(**settings)


@pytest.mark.parametrize("name", models.LARGE_MODELS)
def test_our_networks_have_the_names_and_shapes_of_torchvision(name, undrawn):
    with torch.device("meta"):
        theirs = theirs_for(name)
    assert [(path, value.shape) for path, value in models.MODELS[name]().state_dict().items()] == [
        (path, tuple(value.shape)) for path, value in theirs.state_dict().items()
    ]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
        for name in models.LARGE_MODELS
        if name not in LEFT_OUT
    ],
)
def test_our_networks_compute_what_those_of_torchvision_compute(name, undrawn):
    torch.manual_seed(0)
    check_network(models.create_model(name, 10, 3), theirs_for(name, num_classes=10), torch, 64)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        pytest.param("resnet18", {"zero_init_residual": True}, id="zero_init_residual"),
        pytest.param("resnet50", {"zero_init_residual": True}, id="zero_init_residual of bottlenecks"),
        pytest.param("resnet50", {"groups": 2, "width_per_group": 40}, id="groups"),
        pytest.param("densenet121", {"bn_size": 2}, id="bn_size"),
        pytest.param("mobilenet_v2", {"width_mult": 0.35}, id="narrow"),
        pytest.param("mobilenet_v2", {"width_mult": 1.3, "dropout": 0.4}, id="wide"),
        pytest.param("convnext_tiny", {"layer_scale": 0.3}, id="layer_scale"),
    ],
)
def test_settings_are_those_of_torchvision(name, settings, undrawn):
    ours, theirs = models.MODELS[name](**settings), theirs_for(name, **settings)
    state = theirs.state_dict()
    assert {path: value.shape for path, value in ours.state_dict().items()} == {
        path: tuple(value.shape) for path, value in state.items()
    }
    for path, value in ours.state_dict().items():  # what is not drawn
        if state[path].ndim and bool((state[path] == state[path].flatten()[0]).all()):
            np.testing.assert_array_equal(value.numpy(), state[path].numpy(), err_msg=path)
    rates = [[each.p for each in net.modules() if hasattr(each, "p")] for net in (ours, theirs)]
    assert rates[0] == rates[1]


@pytest.mark.parametrize("name", ["densenet121", "convnext_tiny"])
def test_dropping_is_where_torchvision_has_it(name, undrawn):
    """By the probabilities, and for DenseNet by its setting: what is dropped is another draw."""
    ours, theirs = models.MODELS[name](), theirs_for(name)
    assert [each.p for each in ours.modules() if hasattr(each, "p")] == [
        each.p for each in theirs.modules() if hasattr(each, "p")
    ]
    if name == "densenet121":
        dropped = models.densenet121(drop_rate=0.5).features.denseblock1.denselayer1
        x = tensor(np.ones((4, 64, 8, 8), np.float32))
        init.ones_(dropped.norm1.bias), init.ones_(dropped.norm2.bias)
        init.constant_(dropped.conv1.weight, 1.0), init.constant_(dropped.conv2.weight, 1.0)
        assert 0.4 < (dropped(x).numpy() == 0).mean() < 0.6
        assert (dropped.eval()(x).numpy() != 0).all()


QUANTILES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)


@pytest.mark.parametrize(
    "name",
    [
        *("resnet18", "mobilenet_v2", "densenet121"),
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("alexnet", "vgg11", "convnext_tiny")),
    ],
)
def test_the_first_values_are_distributed_as_those_of_torchvision(name):
    """By quantiles, which tell uniform and normal distributions apart; 20 are six or more of their standard errors."""
    torch.manual_seed(0)
    ours, theirs = dict(models.MODELS[name]().named_parameters()), dict(theirs_for(name).named_parameters())
    for path, parameter in theirs.items():
        mine, right = ours[path].numpy().ravel(), parameter.detach().numpy().ravel()
        if (right == right[0]).all():
            assert (mine == right).all(), path
        elif right.size >= 1000:
            found, expected = np.quantile(mine, QUANTILES), np.quantile(right, QUANTILES)
            assert np.abs(found - expected).max() / right.std() < 20 / np.sqrt(right.size), path
        else:
            assert 0.5 < np.abs(mine).max() / np.abs(right).max() < 2, path
