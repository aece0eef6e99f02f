"""Residual networks for ImageNet-sized images, with torchvision's module names so that its weights fit."""

from __future__ import annotations

from gpunet import functional as F
from gpunet.models.blocks import BasicBlock, Bottleneck, ResidualNetwork, projection_shortcut
from gpunet.nn import AdaptiveAvgPool2d, BatchNorm2d, Conv2d, Linear, MaxPool2d, Module, Sequential
from gpunet.tensor import Tensor

__all__ = ["ResNet", "resnet18", "resnet34", "resnet50"]


class ResNet(ResidualNetwork):
    """A 7x7 convolution and max pooling, four stages of residual blocks, average pooling and a fully connected layer.

    Args:
        block: BasicBlock or Bottleneck.
        layers: the number of blocks in each of the four stages.

    Shape:
        input: (N, in_channels, H, W), 224x224 in the paper. output: (N, num_classes) logits.

    Reference:
        He et al., "Deep residual learning for image recognition", 2016, table 1.
    """

    def __init__(
        self,
        block: type[BasicBlock | Bottleneck],
        layers: tuple[int, int, int, int],
        num_classes: int = 1000,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        self.conv1 = Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)  # (N, 64, H/2, W/2)
        self.bn1 = BatchNorm2d(64)
        self.maxpool = MaxPool2d(3, stride=2, padding=1)  # (N, 64, H/4, W/4)
        wide = block.expansion
        self.layer1 = _stage(block, layers[0], 64, 64, 1)  # (N, 64*wide, H/4, W/4)
        self.layer2 = _stage(block, layers[1], 64 * wide, 128, 2)  # (N, 128*wide, H/8, W/8)
        self.layer3 = _stage(block, layers[2], 128 * wide, 256, 2)  # (N, 256*wide, H/16, W/16)
        self.layer4 = _stage(block, layers[3], 256 * wide, 512, 2)  # (N, 512*wide, H/32, W/32)
        self.avgpool = AdaptiveAvgPool2d(1)
        self.fc = Linear(512 * wide, num_classes)
        self.init_filters()

    def forward(self, x: Tensor) -> Tensor:
        """Classify a batch of images."""
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))


def _stage(
    block: type[BasicBlock | Bottleneck], blocks: int, in_channels: int, channels: int, stride: int
) -> Sequential:
    out_channels = channels * block.expansion
    changes_size = stride != 1 or in_channels != out_channels
    downsample: Module | None = projection_shortcut(in_channels, out_channels, stride) if changes_size else None
    first = block(in_channels, channels, stride, downsample)
    return Sequential(first, *(block(out_channels, channels) for _ in range(blocks - 1)))


def resnet18(num_classes: int = 1000, in_channels: int = 3) -> ResNet:
    """ResNet-18 of He et al. 2016, table 1: 11,689,512 parameters."""
    return ResNet(BasicBlock, (2, 2, 2, 2), num_classes, in_channels)


def resnet34(num_classes: int = 1000, in_channels: int = 3) -> ResNet:
    """ResNet-34 of He et al. 2016, table 1: 21,797,672 parameters."""
    return ResNet(BasicBlock, (3, 4, 6, 3), num_classes, in_channels)


def resnet50(num_classes: int = 1000, in_channels: int = 3) -> ResNet:
    """ResNet-50 of He et al. 2016, table 1: 25,557,032 parameters."""
    return ResNet(Bottleneck, (3, 4, 6, 3), num_classes, in_channels)
