"""Pre-activation residual networks for small images: batch norm and ReLU before each convolution.

He, Zhang, Ren and Sun, "Identity mappings in deep residual networks", 2016: as `cifar_resnet`, but nothing stands on
the way of the shortcuts, so that networks of hundreds of layers still learn.
"""

from __future__ import annotations

from gpunet import functional as F
from gpunet.errors import ArgumentError
from gpunet.functional.checks import whole_number
from gpunet.models.blocks import PreActBlock, PreActBottleneck, conv1x1, conv3x3
from gpunet.models.initial import draw_filters
from gpunet.nn import AdaptiveAvgPool2d, BatchNorm2d, Identity, Linear, Module, Sequential
from gpunet.tensor import Tensor

__all__ = [
    "PreActResNet",
    "preact_resnet20",
    "preact_resnet32",
    "preact_resnet44",
    "preact_resnet56",
    "preact_resnet110",
    "preact_resnet164",
]


class PreActResNet(Module):
    """A 3x3 convolution, 3n pre-activation blocks, batch norm, ReLU, average pooling and a fully connected layer.

    Args:
        depth: the number of layers with weights, 6n + 2 with PreActBlock and 9n + 2 with PreActBottleneck.
        block: PreActBlock or PreActBottleneck.

    Shape:
        input: (N, in_channels, H, W), 32x32 in the paper. output: (N, num_classes) logits.

    Raises:
        ArgumentError: if no whole number of blocks makes that depth.

    Reference:
        He et al., "Identity mappings in deep residual networks", 2016.
    """

    def __init__(
        self,
        depth: int,
        num_classes: int = 10,
        in_channels: int = 3,
        block: type[PreActBlock | PreActBottleneck] = PreActBlock,
    ) -> None:
        super().__init__()
        each = 3 * block.layers
        if whole_number(depth, "depth", "PreActResNet", each + 2) % each != 2:
            raise ArgumentError(f"PreActResNet: depth must be {each}n + 2 with {block.__name__}, got {depth}")
        blocks = depth // each
        wide = block.expansion
        self.conv1 = conv3x3(in_channels, 16)
        self.layer1 = _stage(block, blocks, 16, 16, 1)  # (N, 16*wide, H, W)
        self.layer2 = _stage(block, blocks, 16 * wide, 32, 2)  # (N, 32*wide, H/2, W/2)
        self.layer3 = _stage(block, blocks, 32 * wide, 64, 2)  # (N, 64*wide, H/4, W/4)
        self.bn = BatchNorm2d(64 * wide)
        self.avgpool = AdaptiveAvgPool2d(1)
        self.fc = Linear(64 * wide, num_classes)
        draw_filters(self)

    def forward(self, x: Tensor) -> Tensor:
        """Classify a batch of images."""
        x = self.layer3(self.layer2(self.layer1(self.conv1(x))))
        x = F.relu(self.bn(x))  # the last sum has no activation of its own
        return self.fc(self.avgpool(x).flatten(1))


def _stage(
    block: type[PreActBlock | PreActBottleneck], blocks: int, in_channels: int, channels: int, stride: int
) -> Sequential:
    out_channels = channels * block.expansion
    if stride != 1 or in_channels != out_channels:
        shortcut: Module = conv1x1(in_channels, out_channels, stride)
    else:
        shortcut = Identity()  # of relu(bn(x)): behind the first convolution the paper activates what both paths get
    first = block(in_channels, channels, stride, shortcut)
    return Sequential(first, *(block(out_channels, channels) for _ in range(blocks - 1)))


def preact_resnet20(num_classes: int = 10, in_channels: int = 3) -> PreActResNet:
    """`resnet20` with pre-activation: 272,282 parameters."""
    return PreActResNet(20, num_classes, in_channels)


def preact_resnet32(num_classes: int = 10, in_channels: int = 3) -> PreActResNet:
    """`resnet32` with pre-activation: 466,714 parameters."""
    return PreActResNet(32, num_classes, in_channels)


def preact_resnet44(num_classes: int = 10, in_channels: int = 3) -> PreActResNet:
    """`resnet44` with pre-activation: 661,146 parameters."""
    return PreActResNet(44, num_classes, in_channels)


def preact_resnet56(num_classes: int = 10, in_channels: int = 3) -> PreActResNet:
    """`resnet56` with pre-activation: 855,578 parameters."""
    return PreActResNet(56, num_classes, in_channels)


def preact_resnet110(num_classes: int = 10, in_channels: int = 3) -> PreActResNet:
    """ResNet-110 of He et al. 2016, "Identity mappings", table 2: 1.7 M parameters."""
    return PreActResNet(110, num_classes, in_channels)


def preact_resnet164(num_classes: int = 10, in_channels: int = 3) -> PreActResNet:
    """ResNet-164 of He et al. 2016, "Identity mappings", table 4, of bottlenecks: 1.7 M parameters."""
    return PreActResNet(164, num_classes, in_channels, PreActBottleneck)
