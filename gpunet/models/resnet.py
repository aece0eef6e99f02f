"""Residual networks for ImageNet-sized images, with torchvision's module names so that its weights fit.

ResNet, ResNeXt and wide ResNet are one network: they differ in the blocks' 3x3 convolution.
"""

from __future__ import annotations

from typing import Any

from gpunet import functional as F
from gpunet.models.blocks import BasicBlock, Bottleneck, projection_shortcut
from gpunet.models.initial import draw_filters
from gpunet.nn import AdaptiveAvgPool2d, BatchNorm2d, Conv2d, Linear, MaxPool2d, Module, Sequential, init
from gpunet.tensor import Tensor

__all__ = [
    "ResNet",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "wide_resnet50_2",
    "wide_resnet101_2",
]


class ResNet(Module):
    """A 7x7 convolution and max pooling, four stages of residual blocks, average pooling and a fully connected layer.

    Args:
        block: BasicBlock or Bottleneck.
        layers: the number of blocks in each of the four stages.
        zero_init_residual: whether the last batch norm of each branch starts at 0, and each block as the identity.
        groups, width_per_group: of the 3x3 convolutions; see `Bottleneck`.

    Shape:
        input: (N, in_channels, H, W), 224x224 in the paper. output: (N, num_classes) logits.

    Raises:
        ArgumentError: if BasicBlock is to have other groups or another width.

    Reference:
        He et al., "Deep residual learning for image recognition", 2016, table 1.
    """

    def __init__(
        self,
        block: type[BasicBlock | Bottleneck],
        layers: tuple[int, int, int, int],
        num_classes: int = 1000,
        in_channels: int = 3,
        *,
        zero_init_residual: bool = False,
        groups: int = 1,
        width_per_group: int = 64,
    ) -> None:
        super().__init__()
        self.conv1 = Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)  # (N, 64, H/2, W/2)
        self.bn1 = BatchNorm2d(64)
        self.maxpool = MaxPool2d(3, stride=2, padding=1)  # (N, 64, H/4, W/4)
        grouped = {"groups": groups, "width_per_group": width_per_group}
        wide = block.expansion
        self.layer1 = _stage(block, layers[0], 64, 64, 1, **grouped)  # (N, 64*wide, H/4, W/4)
        self.layer2 = _stage(block, layers[1], 64 * wide, 128, 2, **grouped)  # (N, 128*wide, H/8, W/8)
        self.layer3 = _stage(block, layers[2], 128 * wide, 256, 2, **grouped)  # (N, 256*wide, H/16, W/16)
        self.layer4 = _stage(block, layers[3], 256 * wide, 512, 2, **grouped)  # (N, 512*wide, H/32, W/32)
        self.avgpool = AdaptiveAvgPool2d(1)
        self.fc = Linear(512 * wide, num_classes)
        draw_filters(self)
        if zero_init_residual:
            last = "bn2.weight" if block is BasicBlock else "bn3.weight"
            for name, parameter in self.named_parameters():
                if name.endswith(last):
                    init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """Classify a batch of images."""
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))


def _stage(
    block: type[BasicBlock | Bottleneck], blocks: int, in_channels: int, channels: int, stride: int, **grouped: Any
) -> Sequential:
    out_channels = channels * block.expansion
    changes_size = stride != 1 or in_channels != out_channels
    downsample: Module | None = projection_shortcut(in_channels, out_channels, stride) if changes_size else None
    first = block(in_channels, channels, stride, downsample=downsample, **grouped)
    return Sequential(first, *(block(out_channels, channels, **grouped) for _ in range(blocks - 1)))


def resnet18(num_classes: int = 1000, in_channels: int = 3, **settings: Any) -> ResNet:
    """ResNet-18 of He et al. 2016, table 1: 11,689,512 parameters; settings as in `ResNet`."""
    return ResNet(BasicBlock, (2, 2, 2, 2), num_classes, in_channels, **settings)


def resnet34(num_classes: int = 1000, in_channels: int = 3, **settings: Any) -> ResNet:
    """ResNet-34 of He et al. 2016, table 1: 21,797,672 parameters; settings as in `ResNet`."""
    return ResNet(BasicBlock, (3, 4, 6, 3), num_classes, in_channels, **settings)


def resnet50(num_classes: int = 1000, in_channels: int = 3, **settings: Any) -> ResNet:
    """ResNet-50 of He et al. 2016, table 1: 25,557,032 parameters; settings as in `ResNet`."""
    return ResNet(Bottleneck, (3, 4, 6, 3), num_classes, in_channels, **settings)


def resnet101(num_classes: int = 1000, in_channels: int = 3, **settings: Any) -> ResNet:
    """ResNet-101 of He et al. 2016, table 1: 44,549,160 parameters; settings as in `ResNet`."""
    return ResNet(Bottleneck, (3, 4, 23, 3), num_classes, in_channels, **settings)


def resnet152(num_classes: int = 1000, in_channels: int = 3, **settings: Any) -> ResNet:
    """ResNet-152 of He et al. 2016, table 1: 60,192,808 parameters; settings as in `ResNet`."""
    return ResNet(Bottleneck, (3, 8, 36, 3), num_classes, in_channels, **settings)


def resnext50_32x4d(num_classes: int = 1000, in_channels: int = 3, **settings: Any) -> ResNet:
    """ResNeXt-50 with 32 groups 4 wide, of Xie et al. 2017, table 1: 25,028,904 parameters; settings as in `ResNet`."""
    return ResNet(Bottleneck, (3, 4, 6, 3), num_classes, in_channels, groups=32, width_per_group=4, **settings)


def resnext101_32x8d(num_classes: int = 1000, in_channels: int = 3, **settings: Any) -> ResNet:
    """ResNeXt-101 with 32 groups 8 wide, of Xie et al. 2017: 88,791,336 parameters; settings as in `ResNet`."""
    return ResNet(Bottleneck, (3, 4, 23, 3), num_classes, in_channels, groups=32, width_per_group=8, **settings)


def resnext101_64x4d(num_classes: int = 1000, in_channels: int = 3, **settings: Any) -> ResNet:
    """ResNeXt-101 with 64 groups 4 wide, of Xie et al. 2017: 83,455,272 parameters; settings as in `ResNet`."""
    return ResNet(Bottleneck, (3, 4, 23, 3), num_classes, in_channels, groups=64, width_per_group=4, **settings)


def wide_resnet50_2(num_classes: int = 1000, in_channels: int = 3, **settings: Any) -> ResNet:
    """`resnet50` with 3x3 convolutions twice as wide: 68,883,240 parameters; settings as in `ResNet`."""
    return ResNet(Bottleneck, (3, 4, 6, 3), num_classes, in_channels, width_per_group=128, **settings)


def wide_resnet101_2(num_classes: int = 1000, in_channels: int = 3, **settings: Any) -> ResNet:
    """`resnet101` with 3x3 convolutions twice as wide: 126,886,696 parameters; settings as in `ResNet`."""
    return ResNet(Bottleneck, (3, 4, 23, 3), num_classes, in_channels, width_per_group=128, **settings)
