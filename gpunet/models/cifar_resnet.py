"""Residual networks for small images, and their plain counterparts.

He, Zhang, Ren and Sun, "Deep residual learning for image recognition", 2016, section 4.2: depth 6n + 2, three stages of
n blocks with 16, 32 and 64 channels, and a factor of two in image size from stage to stage.
"""

from __future__ import annotations

from gpunet import functional as F
from gpunet.errors import ArgumentError
from gpunet.functional.checks import check_choice, whole_number
from gpunet.models.blocks import BasicBlock, PadShortcut, PlainBlock, conv3x3, projection_shortcut
from gpunet.models.initial import draw_filters
from gpunet.nn import AdaptiveAvgPool2d, BatchNorm2d, Linear, Module, Sequential
from gpunet.tensor import Tensor

__all__ = [
    "CifarResNet",
    "plain8",
    "plain20",
    "plain32",
    "plain44",
    "plain56",
    "plain110",
    "resnet8",
    "resnet20",
    "resnet32",
    "resnet44",
    "resnet56",
    "resnet110",
]


class CifarResNet(Module):
    """A 3x3 convolution, 3n blocks of two convolutions each, global average pooling and a fully connected layer.

    Args:
        depth: the number of layers with weights, 6n + 2.
        shortcut: where a block changes the size, "A" pads with zeros and "B" projects with a 1x1 convolution; "none"
            leaves out all shortcuts and makes the plain network.

    Shape:
        input: (N, in_channels, H, W), 32x32 in the paper. output: (N, num_classes) logits.

    Raises:
        ArgumentError: if the depth is not 6n + 2 or the shortcut is unknown.

    Reference:
        He et al., "Deep residual learning for image recognition", 2016, section 4.2.
    """

    def __init__(self, depth: int, num_classes: int = 10, in_channels: int = 3, shortcut: str = "A") -> None:
        super().__init__()
        if whole_number(depth, "depth", "CifarResNet", 8) % 6 != 2:
            raise ArgumentError(f"CifarResNet: depth must be 6n + 2 (8, 20, 32, 44, 56, 110, ...), got {depth}")
        check_choice(shortcut, ("A", "B", "none"), "shortcut", "CifarResNet")
        blocks = (depth - 2) // 6
        self.conv1 = conv3x3(in_channels, 16)
        self.bn1 = BatchNorm2d(16)
        self.layer1 = _stage(blocks, 16, 16, 1, shortcut)  # (N, 16, H, W)
        self.layer2 = _stage(blocks, 16, 32, 2, shortcut)  # (N, 32, H/2, W/2)
        self.layer3 = _stage(blocks, 32, 64, 2, shortcut)  # (N, 64, H/4, W/4)
        self.avgpool = AdaptiveAvgPool2d(1)
        self.fc = Linear(64, num_classes)
        draw_filters(self)

    def forward(self, x: Tensor) -> Tensor:
        """Classify a batch of images."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(self.avgpool(x).flatten(1))


def _stage(blocks: int, in_channels: int, channels: int, stride: int, shortcut: str) -> Sequential:
    first: Module
    rest: list[Module]
    if shortcut == "none":
        first = PlainBlock(in_channels, channels, stride)
        rest = [PlainBlock(channels, channels) for _ in range(blocks - 1)]
    else:
        make = PadShortcut if shortcut == "A" else projection_shortcut
        changes_size = stride != 1 or in_channels != channels
        first = BasicBlock(in_channels, channels, stride, make(in_channels, channels, stride) if changes_size else None)
        rest = [BasicBlock(channels, channels) for _ in range(blocks - 1)]
    return Sequential(first, *rest)


def resnet8(num_classes: int = 10, in_channels: int = 3, shortcut: str = "A") -> CifarResNet:
    """The smallest residual network of the family, for quick experiments: 8 layers, 0.08 M parameters."""
    return CifarResNet(8, num_classes, in_channels, shortcut)


def resnet20(num_classes: int = 10, in_channels: int = 3, shortcut: str = "A") -> CifarResNet:
    """ResNet-20 of He et al. 2016, section 4.2: 0.27 M parameters."""
    return CifarResNet(20, num_classes, in_channels, shortcut)


def resnet32(num_classes: int = 10, in_channels: int = 3, shortcut: str = "A") -> CifarResNet:
    """ResNet-32 of He et al. 2016, section 4.2: 0.46 M parameters."""
    return CifarResNet(32, num_classes, in_channels, shortcut)


def resnet44(num_classes: int = 10, in_channels: int = 3, shortcut: str = "A") -> CifarResNet:
    """ResNet-44 of He et al. 2016, section 4.2: 0.66 M parameters."""
    return CifarResNet(44, num_classes, in_channels, shortcut)


def resnet56(num_classes: int = 10, in_channels: int = 3, shortcut: str = "A") -> CifarResNet:
    """ResNet-56 of He et al. 2016, section 4.2: 0.85 M parameters."""
    return CifarResNet(56, num_classes, in_channels, shortcut)


def resnet110(num_classes: int = 10, in_channels: int = 3, shortcut: str = "A") -> CifarResNet:
    """ResNet-110 of He et al. 2016, section 4.2: 1.7 M parameters."""
    return CifarResNet(110, num_classes, in_channels, shortcut)


def plain8(num_classes: int = 10, in_channels: int = 3) -> CifarResNet:
    """`resnet8` without its shortcuts."""
    return CifarResNet(8, num_classes, in_channels, "none")


def plain20(num_classes: int = 10, in_channels: int = 3) -> CifarResNet:
    """`resnet20` without its shortcuts, the plain network of He et al. 2016, section 4.2."""
    return CifarResNet(20, num_classes, in_channels, "none")


def plain32(num_classes: int = 10, in_channels: int = 3) -> CifarResNet:
    """`resnet32` without its shortcuts, the plain network of He et al. 2016, section 4.2."""
    return CifarResNet(32, num_classes, in_channels, "none")


def plain44(num_classes: int = 10, in_channels: int = 3) -> CifarResNet:
    """`resnet44` without its shortcuts, the plain network of He et al. 2016, section 4.2."""
    return CifarResNet(44, num_classes, in_channels, "none")


def plain56(num_classes: int = 10, in_channels: int = 3) -> CifarResNet:
    """`resnet56` without its shortcuts, the plain network of He et al. 2016, section 4.2."""
    return CifarResNet(56, num_classes, in_channels, "none")


def plain110(num_classes: int = 10, in_channels: int = 3) -> CifarResNet:
    """`resnet110` without its shortcuts."""
    return CifarResNet(110, num_classes, in_channels, "none")
