"""The sizes of the networks: the papers' numbers, torchvision's names. What they compute: test_models.py."""

import functools
import math

import numpy as np
import pytest

from gpunet.backend import manual_seed
from gpunet.models import LARGE_MODELS, MODELS, summary
from gpunet.nn import Conv2d, Linear

pytestmark = pytest.mark.usefixtures("numpy_backend")

LARGE = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3)}


@pytest.fixture(scope="module")
def of_the_paper():
    """Gives a network with the paper's numbers of classes and channels: each made once, and only looked at."""

    def make(name, **settings):
        manual_seed(0)
        return MODELS[name](**settings)

    return functools.cache(make)


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


SIZES = [
    *[("lenet5", {}, 61_706)],
    *[("resnet20", {}, 269_722), ("resnet20", {"shortcut": "B"}, 272_474), ("resnet32", {}, 464_154)],
    *[("resnet44", {}, 658_586), ("resnet56", {}, 853_018), ("resnet110", {}, 1_727_962)],
    *[("plain20", {}, 269_722), ("plain56", {}, 853_018)],
    *[("preact_resnet20", {}, 272_282), ("preact_resnet56", {}, 855_578), ("preact_resnet110", {}, 1_730_522)],
    *[("preact_resnet164", {}, 1_703_258)],
]
# torchvision's notes on its networks: parameters, and multiply-adds of an image of 224x224, in 1e9.
OF_TORCHVISION = {
    "alexnet": (61_100_840, 0.714),
    "vgg11": (132_863_336, 7.609),
    "vgg11_bn": (132_868_840, 7.609),
    "vgg13": (133_047_848, 11.308),
    "vgg13_bn": (133_053_736, 11.308),
    "vgg16": (138_357_544, 15.47),
    "vgg16_bn": (138_365_992, 15.47),
    "vgg19": (143_667_240, 19.632),
    "vgg19_bn": (143_678_248, 19.632),
    "resnet18": (11_689_512, 1.814),
    "resnet34": (21_797_672, 3.664),
    "resnet50": (25_557_032, 4.089),
    "resnet101": (44_549_160, 7.801),
    "resnet152": (60_192_808, 11.514),
    "resnext50_32x4d": (25_028_904, 4.23),
    "resnext101_32x8d": (88_791_336, 16.414),
    "resnext101_64x4d": (83_455_272, 15.46),
    "wide_resnet50_2": (68_883_240, 11.398),
    "wide_resnet101_2": (126_886_696, 22.753),
    "densenet121": (7_978_856, 2.834),
    "densenet161": (28_681_000, 7.728),
    "densenet169": (14_149_480, 3.36),
    "densenet201": (20_013_928, 4.291),
    "mobilenet_v2": (3_504_872, 0.301),
    "convnext_tiny": (28_589_128, 4.456),
    "convnext_small": (50_223_688, 8.684),
    "convnext_base": (88_591_464, 15.355),
    "convnext_large": (197_767_336, 34.361),
}


@pytest.mark.parametrize(("name", "settings", "parameters"), SIZES)
def test_parameter_counts_are_those_of_the_papers(name, settings, parameters, of_the_paper):
    assert count(of_the_paper(name, **settings)) == parameters


@pytest.mark.parametrize("name", LARGE_MODELS)
def test_large_networks_have_as_many_parameters_as_those_of_torchvision(name, undrawn):
    assert count(MODELS[name]()) == OF_TORCHVISION[name][0]
    assert f"{OF_TORCHVISION[name][0]:,} parameters" in MODELS[name].__doc__


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "mobilenet_v2" else pytest.mark.slow) for name in LARGE_MODELS]
)
def test_large_networks_take_as_many_multiply_adds_as_those_of_torchvision(name, undrawn):
    assert summary(MODELS[name](), (3, 224, 224)).multiply_adds == pytest.approx(OF_TORCHVISION[name][1] * 1e9, abs=6e5)


@pytest.mark.parametrize("depth", [8, 20, 32, 44, 56, 110])
def test_small_networks_have_as_many_weighted_layers_as_their_name_says(depth, of_the_paper):
    for kind in ("resnet", "plain", "preact_resnet")[: 2 if depth == 8 else 3]:
        model = of_the_paper(f"{kind}{depth}")
        projections = 2 if kind == "preact_resnet" else 0
        assert sum(isinstance(module, Conv2d | Linear) for module in model.modules()) == depth + projections
        assert [len(stage) for stage in (model.layer1, model.layer2, model.layer3)] == [(depth - 2) // 6] * 3


def torchvision_names(layers, bottleneck):
    """The state_dict of torchvision's ResNet, from its definition."""

    def norm(name):
        parts = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
        return [f"{name}.{part}" for part in parts]

    names = ["conv1.weight", *norm("bn1")]
    for stage, blocks in enumerate(layers, start=1):
        for block in range(blocks):
            path = f"layer{stage}.{block}"
            for number in (1, 2, 3) if bottleneck else (1, 2):
                names += [f"{path}.conv{number}.weight", *norm(f"{path}.bn{number}")]
            if block == 0 and (stage > 1 or bottleneck):
                names += [f"{path}.downsample.0.weight", *norm(f"{path}.downsample.1")]
    return [*names, "fc.weight", "fc.bias"]


@pytest.mark.parametrize(("name", "entries"), [("resnet18", 122), ("resnet34", 218), ("resnet50", 320)])
def test_large_networks_have_the_names_of_torchvision(name, entries, of_the_paper):
    names = torchvision_names(LARGE[name], bottleneck=name == "resnet50")
    assert len(names) == entries
    assert list(of_the_paper(name).state_dict()) == names


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        (
            "resnet18",
            {
                "conv1.weight": (64, 3, 7, 7),
                "layer2.0.conv1.weight": (128, 64, 3, 3),
                "layer2.0.downsample.0.weight": (128, 64, 1, 1),
                "layer4.1.conv2.weight": (512, 512, 3, 3),
                "fc.weight": (1000, 512),
            },
        ),
        (
            "resnet50",
            {
                "layer1.0.conv1.weight": (64, 64, 1, 1),
                "layer1.0.conv3.weight": (256, 64, 1, 1),
                "layer1.0.downsample.0.weight": (256, 64, 1, 1),
                "layer2.0.conv1.weight": (128, 256, 1, 1),
                "layer2.0.conv2.weight": (128, 128, 3, 3),
                "layer4.2.bn3.running_var": (2048,),
                "fc.weight": (1000, 2048),
            },
        ),
    ],
)
def test_large_networks_have_the_shapes_of_torchvision(name, shapes, of_the_paper):
    state = of_the_paper(name).state_dict()
    assert {key: state[key].shape for key in shapes} == shapes


def test_the_bottleneck_has_its_stride_on_the_3x3(of_the_paper):
    block = of_the_paper("resnet50").layer2[0]
    assert (block.conv1.stride, block.conv2.stride, block.conv3.stride) == ((1, 1), (2, 2), (1, 1))


def test_filters_start_from_the_normal_distribution_of_he(of_the_paper):
    for model, name, fan_out in (("resnet18", "layer3.0.conv1", 256 * 9), ("resnet20", "layer3.0.conv1", 64 * 9)):
        values = dict(of_the_paper(model).named_modules())[name].weight.numpy()
        assert abs(values.std() / math.sqrt(2 / fan_out) - 1) < 0.02
        assert abs(values.mean()) < 1e-3
        assert np.abs(values).max() > 3 * values.std()  # which a uniform distribution never is


def test_what_small_classifiers_start_from(of_the_paper):
    """PyTorch counts the fan_out of a depthwise filter as if it reached all channels."""
    model = of_the_paper("mobilenet_v2")
    depthwise = model.features[17].conv[1][0].weight.numpy()
    assert abs(depthwise.std() / math.sqrt(2 / (960 * 9)) - 1) < 0.03
    assert abs(model.classifier[1].weight.numpy().std() / 0.01 - 1) < 0.02
    assert not model.classifier[1].bias.numpy().any()
    dense = of_the_paper("densenet121").features.denseblock1.denselayer1
    assert abs(dense.conv2.weight.numpy().std() / math.sqrt(2 / (128 * 9)) - 1) < 0.02  # fan_in


@pytest.mark.parametrize(("name", "multiply_adds"), [("resnet18", 1_814_073_344), ("resnet50", 4_089_184_256)])
def test_multiply_adds_are_those_of_the_literature(name, multiply_adds, of_the_paper):
    model = of_the_paper(name)
    result = summary(model, (3, 224, 224))
    assert result.multiply_adds == multiply_adds
    assert result.parameters == sum(layer.parameters for layer in result.layers) == count(model)
