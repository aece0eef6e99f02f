"""Networks: LeNet-5, residual networks for small images, and torchvision's classifiers for large ones."""

from collections.abc import Callable

from gpunet.errors import ArgumentError
from gpunet.models.alexnet import AlexNet, alexnet
from gpunet.models.blocks import BasicBlock, Bottleneck, PadShortcut, PlainBlock, PreActBlock, PreActBottleneck
from gpunet.models.cifar_resnet import (
    CifarResNet,
    plain8,
    plain20,
    plain32,
    plain44,
    plain56,
    plain110,
    resnet8,
    resnet20,
    resnet32,
    resnet44,
    resnet56,
    resnet110,
)
from gpunet.models.convnext import ConvNeXt, convnext_base, convnext_large, convnext_small, convnext_tiny
from gpunet.models.densenet import DenseNet, densenet121, densenet161, densenet169, densenet201
from gpunet.models.lenet import LeNet5, lenet5
from gpunet.models.mobilenet import InvertedResidual, MobileNetV2, mobilenet_v2
from gpunet.models.preact_resnet import (
    PreActResNet,
    preact_resnet20,
    preact_resnet32,
    preact_resnet44,
    preact_resnet56,
    preact_resnet110,
    preact_resnet164,
)
from gpunet.models.resnet import (
    ResNet,
    resnet18,
    resnet34,
    resnet50,
    resnet101,
    resnet152,
    resnext50_32x4d,
    resnext101_32x8d,
    resnext101_64x4d,
    wide_resnet50_2,
    wide_resnet101_2,
)
from gpunet.models.summary import LayerSummary, Summary, summary
from gpunet.models.vgg import VGG, vgg11, vgg11_bn, vgg13, vgg13_bn, vgg16, vgg16_bn, vgg19, vgg19_bn
from gpunet.nn import Module
from gpunet.suggestions import suggestion

__all__ = [
    "IMAGE_SIZES",
    "LARGE_MODELS",
    "MODELS",
    "SMALLEST_IMAGES",
    "VGG",
    "AlexNet",
    "BasicBlock",
    "Bottleneck",
    "CifarResNet",
    "ConvNeXt",
    "DenseNet",
    "InvertedResidual",
    "LayerSummary",
    "LeNet5",
    "MobileNetV2",
    "PadShortcut",
    "PlainBlock",
    "PreActBlock",
    "PreActBottleneck",
    "PreActResNet",
    "ResNet",
    "Summary",
    "alexnet",
    "check_image_size",
    "convnext_base",
    "convnext_large",
    "convnext_small",
    "convnext_tiny",
    "create_model",
    "densenet121",
    "densenet161",
    "densenet169",
    "densenet201",
    "lenet5",
    "mobilenet_v2",
    "plain8",
    "plain20",
    "plain32",
    "plain44",
    "plain56",
    "plain110",
    "preact_resnet20",
    "preact_resnet32",
    "preact_resnet44",
    "preact_resnet56",
    "preact_resnet110",
    "preact_resnet164",
    "resnet8",
    "resnet18",
    "resnet20",
    "resnet32",
    "resnet34",
    "resnet44",
    "resnet50",
    "resnet56",
    "resnet101",
    "resnet110",
    "resnet152",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "summary",
    "vgg11",
    "vgg11_bn",
    "vgg13",
    "vgg13_bn",
    "vgg16",
    "vgg16_bn",
    "vgg19",
    "vgg19_bn",
    "wide_resnet50_2",
    "wide_resnet101_2",
]

_SMALL = (
    lenet5,
    *(resnet8, resnet20, resnet32, resnet44, resnet56, resnet110),
    *(plain8, plain20, plain32, plain44, plain56, plain110),
    *(preact_resnet20, preact_resnet32, preact_resnet44, preact_resnet56, preact_resnet110, preact_resnet164),
)
_LARGE = (
    alexnet,
    *(vgg11, vgg11_bn, vgg13, vgg13_bn, vgg16, vgg16_bn, vgg19, vgg19_bn),
    *(resnet18, resnet34, resnet50, resnet101, resnet152),
    *(resnext50_32x4d, resnext101_32x8d, resnext101_64x4d, wide_resnet50_2, wide_resnet101_2),
    *(densenet121, densenet161, densenet169, densenet201),
    mobilenet_v2,
    *(convnext_tiny, convnext_small, convnext_base, convnext_large),
)

LARGE_MODELS: dict[str, Callable[..., Module]] = {build.__name__: build for build in _LARGE}
"""The networks for ImageNet: those that torchvision has, too, under its names."""

MODELS: dict[str, Callable[..., Module]] = {build.__name__: build for build in _SMALL} | LARGE_MODELS
"""Every network by the name that the command line takes."""

IMAGE_SIZES = {"lenet5": 32}
"""The networks that take images of one size alone, and which; all others take any size, but see `SMALLEST_IMAGES`."""

SMALLEST_IMAGES = {
    name: size
    for family, size in (("alexnet", 63), ("vgg", 32), ("densenet", 29), ("convnext", 32))
    for name in MODELS
    if name.startswith(family)
}
"""The networks that leave nothing of images below a height and width, and which; all others leave something of any."""


def create_model(name: str, num_classes: int, in_channels: int) -> Module:
    """Make a network by its name.

    Shape:
        the network takes (N, in_channels, H, W) and returns (N, num_classes) logits.

    Raises:
        ArgumentError: if there is no network of that name; the message says which may be meant.
    """
    if name not in MODELS:
        raise ArgumentError(f"unknown model {name!r}; {suggestion(name, MODELS)}")
    return MODELS[name](num_classes=num_classes, in_channels=in_channels)


def check_image_size(name: str, height: int, width: int) -> None:
    """Make sure that a network takes images of that size.

    Raises:
        ArgumentError: if it does not, because it takes another alone, or leaves nothing of images so small.
    """
    exactly, least = IMAGE_SIZES.get(name), SMALLEST_IMAGES.get(name, 1)
    if exactly not in (None, height) or exactly not in (None, width):
        raise ArgumentError(f"{name} takes images of {exactly}x{exactly}, got {height}x{width}")
    if min(height, width) < least:
        raise ArgumentError(
            f"{name} takes images of {least}x{least} or more, got {height}x{width}: take larger ones or another model"
        )
