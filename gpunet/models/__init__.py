"""Networks: LeNet-5, plain and residual networks for small images, residual networks for large ones."""

from collections.abc import Callable

from gpunet.errors import ArgumentError
from gpunet.models.blocks import BasicBlock, Bottleneck, PadShortcut, PlainBlock
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
from gpunet.models.lenet import LeNet5, lenet5
from gpunet.models.resnet import ResNet, resnet18, resnet34, resnet50
from gpunet.models.summary import LayerSummary, Summary, summary
from gpunet.nn import Module

__all__ = [
    "IMAGE_SIZES",
    "MODELS",
    "BasicBlock",
    "Bottleneck",
    "CifarResNet",
    "LayerSummary",
    "LeNet5",
    "PadShortcut",
    "PlainBlock",
    "ResNet",
    "Summary",
    "create_model",
    "lenet5",
    "plain8",
    "plain20",
    "plain32",
    "plain44",
    "plain56",
    "plain110",
    "resnet8",
    "resnet18",
    "resnet20",
    "resnet32",
    "resnet34",
    "resnet44",
    "resnet50",
    "resnet56",
    "resnet110",
    "summary",
]

MODELS: dict[str, Callable[..., Module]] = {
    build.__name__: build
    for build in (
        lenet5,
        resnet8,
        resnet20,
        resnet32,
        resnet44,
        resnet56,
        resnet110,
        plain8,
        plain20,
        plain32,
        plain44,
        plain56,
        plain110,
        resnet18,
        resnet34,
        resnet50,
    )
}
"""Every network by the name that the command line takes."""

IMAGE_SIZES = {"lenet5": 32}
"""The networks that take images of one size alone, and which; all others take any size."""


def create_model(name: str, num_classes: int, in_channels: int) -> Module:
    """Make a network by its name.

    Shape:
        the network takes (N, in_channels, H, W) and returns (N, num_classes) logits.

    Raises:
        ArgumentError: if there is no network of that name; the message lists those there are.
    """
    if name not in MODELS:
        raise ArgumentError(f"unknown model {name!r}; choose one of {', '.join(MODELS)}")
    return MODELS[name](num_classes=num_classes, in_channels=in_channels)
