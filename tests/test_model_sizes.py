"""The sizes of the networks: the papers' numbers, torchvision's names. What they compute: test_models.py."""

import functools
import math

import numpy as np
import pytest

from gpunet.backend import manual_seed
from gpunet.models import MODELS, summary
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
    *[("resnet18", {}, 11_689_512), ("resnet34", {}, 21_797_672), ("resnet50", {}, 25_557_032)],
]


@pytest.mark.parametrize(("name", "settings", "parameters"), SIZES)
def test_parameter_counts_are_those_of_the_papers(name, settings, parameters, of_the_paper):
    assert count(of_the_paper(name, **settings)) == parameters


@pytest.mark.parametrize("depth", [8, 20, 32, 44, 56, 110])
def test_small_networks_have_as_many_weighted_layers_as_their_name_says(depth, of_the_paper):
    for kind in ("resnet", "plain"):
        model = of_the_paper(f"{kind}{depth}")
        assert sum(isinstance(module, Conv2d | Linear) for module in model.modules()) == depth
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
    assert (block.conv1.stride, block.conv2.stride, block.conv3.stride) == (1, 2, 1)


def test_filters_start_from_the_normal_distribution_of_he(of_the_paper):
    for model, name, fan_out in (("resnet18", "layer3.0.conv1", 256 * 9), ("resnet20", "layer3.0.conv1", 64 * 9)):
        values = dict(of_the_paper(model).named_modules())[name].weight.numpy()
        assert abs(values.std() / math.sqrt(2 / fan_out) - 1) < 0.02
        assert abs(values.mean()) < 1e-3
        assert np.abs(values).max() > 3 * values.std()  # which a uniform distribution never is


@pytest.mark.parametrize(("name", "multiply_adds"), [("resnet18", 1_814_073_344), ("resnet50", 4_089_184_256)])
def test_multiply_adds_are_those_of_the_literature(name, multiply_adds, of_the_paper):
    model = of_the_paper(name)
    result = summary(model, (3, 224, 224))
    assert result.multiply_adds == multiply_adds
    assert result.parameters == sum(layer.parameters for layer in result.layers) == count(model)
