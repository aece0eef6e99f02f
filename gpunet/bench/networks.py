"""The networks that are measured: one source text for both libraries, written as torchvision writes its models.

`define(nn, F)` gives the networks of the library whose `nn` and `functional` it is handed: gpunet's or PyTorch's. The
classes are made inside of it because their base is that library's Module. What is not written here comes from
`gpunet.models` and from torchvision.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpunet.models import MODELS

__all__ = ["BENCH_MODELS", "define"]

Image = tuple[int, int, int]
Build = Callable[[int, Image], Any]
"""Makes a network for so many classes and images (C, H, W)."""

CIFAR_DEPTHS = (8, 20, 32, 44, 56, 110)
BENCH_MODELS = (*MODELS, "small_cnn", "mobile_block")
"""The networks that can be measured."""


def define(nn: Any, F: Any) -> dict[str, Build]:  # noqa: N803  (the name that everybody uses)
    """For each network what builds it."""

    def conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> Any:
        return nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)

    def conv1x1(in_channels: int, out_channels: int, stride: int = 1) -> Any:
        return nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)

    class BasicBlock(nn.Module):
        """With a shortcut, or as a plain block without one."""

        expansion = 1

        def __init__(
            self, in_channels: int, channels: int, stride: int = 1, downsample: Any = None, plain: bool = False
        ) -> None:
            super().__init__()
            self.conv1 = conv3x3(in_channels, channels, stride)
            self.bn1 = nn.BatchNorm2d(channels)
            self.conv2 = conv3x3(channels, channels)
            self.bn2 = nn.BatchNorm2d(channels)
            self.relu = nn.ReLU(inplace=True)
            self.downsample = downsample
            self.plain = plain

        def forward(self, x: Any) -> Any:
            out = self.relu(self.bn1(self.conv1(x)))
            out = self.bn2(self.conv2(out))
            if not self.plain:
                out += x if self.downsample is None else self.downsample(x)
            return self.relu(out)

    class Bottleneck(nn.Module):
        expansion = 4

        def __init__(self, in_channels: int, channels: int, stride: int = 1, downsample: Any = None) -> None:
            super().__init__()
            self.conv1 = conv1x1(in_channels, channels)
            self.bn1 = nn.BatchNorm2d(channels)
            self.conv2 = conv3x3(channels, channels, stride)
            self.bn2 = nn.BatchNorm2d(channels)
            self.conv3 = conv1x1(channels, channels * self.expansion)
            self.bn3 = nn.BatchNorm2d(channels * self.expansion)
            self.relu = nn.ReLU(inplace=True)
            self.downsample = downsample

        def forward(self, x: Any) -> Any:
            out = self.relu(self.bn1(self.conv1(x)))
            out = self.relu(self.bn2(self.conv2(out)))
            out = self.bn3(self.conv3(out))
            out += x if self.downsample is None else self.downsample(x)
            return self.relu(out)

    class PadShortcut(nn.Module):
        def __init__(self, added: int) -> None:
            super().__init__()
            self.added = (added // 2, added - added // 2)

        def forward(self, x: Any) -> Any:
            return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, *self.added))

    class CifarResNet(nn.Module):
        def __init__(self, depth: int, plain: bool, num_classes: int, in_channels: int) -> None:
            super().__init__()
            self.conv1 = conv3x3(in_channels, 16)
            self.bn1 = nn.BatchNorm2d(16)
            self.relu = nn.ReLU(inplace=True)
            blocks = (depth - 2) // 6
            for number, channels in enumerate((16, 32, 64), start=1):
                narrow = 16 if number == 1 else channels // 2
                shortcut = None if plain or number == 1 else PadShortcut(channels - narrow)
                first = BasicBlock(narrow, channels, 1 if number == 1 else 2, shortcut, plain)
                rest = [BasicBlock(channels, channels, plain=plain) for _ in range(blocks - 1)]
                setattr(self, f"layer{number}", nn.Sequential(first, *rest))
            self.avgpool = nn.AdaptiveAvgPool2d(1)
            self.fc = nn.Linear(64, num_classes)

        def forward(self, x: Any) -> Any:
            x = self.relu(self.bn1(self.conv1(x)))
            x = self.layer3(self.layer2(self.layer1(x)))
            return self.fc(self.avgpool(x).flatten(1))

    class ResNet(nn.Module):
        def __init__(self, block: Any, layers: tuple[int, ...], num_classes: int, in_channels: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
            self.bn1 = nn.BatchNorm2d(64)
            self.relu = nn.ReLU(inplace=True)
            self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
            inputs = 64
            for number, (blocks, channels) in enumerate(zip(layers, (64, 128, 256, 512), strict=True), start=1):
                outputs, stride = channels * block.expansion, 1 if number == 1 else 2
                project = stride != 1 or inputs != outputs
                shortcut = nn.Sequential(conv1x1(inputs, outputs, stride), nn.BatchNorm2d(outputs)) if project else None
                first = block(inputs, channels, stride, shortcut)
                setattr(
                    self, f"layer{number}", nn.Sequential(first, *(block(outputs, channels) for _ in range(1, blocks)))
                )
                inputs = outputs
            self.avgpool = nn.AdaptiveAvgPool2d(1)
            self.fc = nn.Linear(inputs, num_classes)

        def forward(self, x: Any) -> Any:
            x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
            x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
            return self.fc(self.avgpool(x).flatten(1))

    class LeNet5(nn.Module):
        def __init__(self, num_classes: int, in_channels: int) -> None:
            super().__init__()
            first = (nn.Conv2d(in_channels, 6, 5), nn.Tanh(), nn.AvgPool2d(2))
            self.features = nn.Sequential(*first, nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2))
            hidden = (nn.Flatten(), nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh())
            self.classifier = nn.Sequential(*hidden, nn.Linear(84, num_classes))

        def forward(self, x: Any) -> Any:
            return self.classifier(self.features(x))

    def small_cnn(num_classes: int, image: Image) -> Any:
        channels, height, width = image
        return nn.Sequential(
            conv3x3(channels, 32),
            nn.BatchNorm2d(32),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            conv3x3(32, 64),
            nn.BatchNorm2d(64),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(64 * (height // 4) * (width // 4), num_classes),
        )

    def mobile_block(num_classes: int, image: Image) -> Any:
        """A 3x3 convolution of each channel on its own, then a 1x1 one across them (MobileNet)."""
        channels = image[0]
        return nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            conv1x1(channels, 2 * channels),
            nn.BatchNorm2d(2 * channels),
            nn.ReLU(inplace=True),
        )

    def cifar(depth: int, plain: bool) -> Build:
        return lambda num_classes, image: CifarResNet(depth, plain, num_classes, image[0])

    def resnet(block: Any, layers: tuple[int, ...]) -> Build:
        return lambda num_classes, image: ResNet(block, layers, num_classes, image[0])

    return {
        "lenet5": lambda num_classes, image: LeNet5(num_classes, image[0]),
        **{f"resnet{depth}": cifar(depth, plain=False) for depth in CIFAR_DEPTHS},
        **{f"plain{depth}": cifar(depth, plain=True) for depth in CIFAR_DEPTHS},
        "resnet18": resnet(BasicBlock, (2, 2, 2, 2)),
        "resnet34": resnet(BasicBlock, (3, 4, 6, 3)),
        "resnet50": resnet(Bottleneck, (3, 4, 6, 3)),
        "small_cnn": small_cnn,
        "mobile_block": mobile_block,
    }
