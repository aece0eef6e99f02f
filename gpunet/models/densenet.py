"""DenseNet: every layer sees all before it, with torchvision's module names so that its weights fit."""

from __future__ import annotations

from typing import Any

from gpunet import functional as F
from gpunet.functional.checks import probability
from gpunet.models.blocks import conv1x1, conv3x3
from gpunet.models.initial import draw_filters, zero_biases
from gpunet.nn import AvgPool2d, BatchNorm2d, Conv2d, Linear, MaxPool2d, Module, ReLU, Sequential
from gpunet.tensor import Tensor

__all__ = ["DenseNet", "densenet121", "densenet161", "densenet169", "densenet201"]


class _DenseLayer(Module):
    """Batch norm, ReLU and 1x1 convolution, then the same with 3x3: a few new channels, made of all there are."""

    def __init__(self, in_channels: int, growth_rate: int, bn_size: int, drop_rate: float) -> None:
        super().__init__()
        self.norm1 = BatchNorm2d(in_channels)
        self.conv1 = conv1x1(in_channels, bn_size * growth_rate)
        self.norm2 = BatchNorm2d(bn_size * growth_rate)
        self.conv2 = conv3x3(bn_size * growth_rate, growth_rate)
        self.drop_rate = probability(drop_rate, "drop_rate", "DenseNet")

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, growth_rate, H, W)."""
        out = self.conv1(F.relu(self.norm1(x)))
        out = self.conv2(F.relu(self.norm2(out)))
        return F.dropout(out, self.drop_rate, self.training)


class _DenseBlock(Module):
    """Layers each of which adds its channels to those that all before it have left."""

    def __init__(self, layers: int, in_channels: int, growth_rate: int, bn_size: int, drop_rate: float) -> None:
        super().__init__()
        for number in range(layers):
            layer = _DenseLayer(in_channels + number * growth_rate, growth_rate, bn_size, drop_rate)
            self.add_module(f"denselayer{number + 1}", layer)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, in_channels + layers*growth_rate, H, W)."""
        for layer in self.children():
            x = F.cat([x, layer(x)], 1)
        return x


class _Transition(Module):
    """Between two blocks: half the channels, and images of half the size."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.norm = BatchNorm2d(in_channels)
        self.conv = conv1x1(in_channels, in_channels // 2)
        self.pool = AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, in_channels/2, H/2, W/2)."""
        return self.pool(self.conv(F.relu(self.norm(x))))


class DenseNet(Module):
    """A 7x7 convolution and max pooling, four dense blocks with transitions between them, and a fully connected layer.

    Where a residual block adds what it has made to what came in, a dense one puts it alongside: `[x, F(x)]`.

    Args:
        growth_rate: how many channels each layer adds, the paper's k.
        block_config: the number of layers in each of the four blocks.
        num_init_features: how many channels the first block gets.
        bn_size: how many times k channels the 1x1 convolution of a layer has.
        drop_rate: how likely a value that a layer adds is dropped while training.

    Shape:
        input: (N, in_channels, H, W), 29x29 or more, 224x224 in the paper. output: (N, num_classes) logits.

    Reference:
        Huang, Liu, van der Maaten and Weinberger, "Densely connected convolutional networks", 2017, table 1.
    """

    def __init__(
        self,
        growth_rate: int = 32,
        block_config: tuple[int, int, int, int] = (6, 12, 24, 16),
        num_init_features: int = 64,
        bn_size: int = 4,
        drop_rate: float = 0.0,
        num_classes: int = 1000,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        channels = num_init_features
        features: dict[str, Module] = {
            "conv0": Conv2d(in_channels, channels, 7, stride=2, padding=3, bias=False),  # (N, channels, H/2, W/2)
            "norm0": BatchNorm2d(channels),
            "relu0": ReLU(),
            "pool0": MaxPool2d(3, stride=2, padding=1),  # (N, channels, H/4, W/4)
        }
        for number, layers in enumerate(block_config, start=1):
            if number > 1:
                features[f"transition{number - 1}"] = _Transition(channels)  # half the channels, half the size
                channels //= 2
            features[f"denseblock{number}"] = _DenseBlock(layers, channels, growth_rate, bn_size, drop_rate)
            channels += layers * growth_rate
        features["norm5"] = BatchNorm2d(channels)  # (N, channels, H/32, W/32)
        self.features = Sequential(features)
        self.classifier = Linear(channels, num_classes)
        draw_filters(self, "fan_in")
        zero_biases(self)

    def forward(self, x: Tensor) -> Tensor:
        """Classify a batch of images."""
        x = F.relu(self.features(x))
        return self.classifier(F.adaptive_avg_pool2d(x, 1).flatten(1))


def densenet121(num_classes: int = 1000, in_channels: int = 3, **settings: Any) -> DenseNet:
    """DenseNet-121 of Huang et al. 2017, table 1: 7,978,856 parameters; settings as in `DenseNet`."""
    return DenseNet(32, (6, 12, 24, 16), 64, num_classes=num_classes, in_channels=in_channels, **settings)


def densenet161(num_classes: int = 1000, in_channels: int = 3, **settings: Any) -> DenseNet:
    """DenseNet-161 of Huang et al. 2017, with k = 48: 28,681,000 parameters; settings as in `DenseNet`."""
    return DenseNet(48, (6, 12, 36, 24), 96, num_classes=num_classes, in_channels=in_channels, **settings)


def densenet169(num_classes: int = 1000, in_channels: int = 3, **settings: Any) -> DenseNet:
    """DenseNet-169 of Huang et al. 2017, table 1: 14,149,480 parameters; settings as in `DenseNet`."""
    return DenseNet(32, (6, 12, 32, 32), 64, num_classes=num_classes, in_channels=in_channels, **settings)


def densenet201(num_classes: int = 1000, in_channels: int = 3, **settings: Any) -> DenseNet:
    """DenseNet-201 of Huang et al. 2017, table 1: 20,013,928 parameters; settings as in `DenseNet`."""
    return DenseNet(32, (6, 12, 48, 32), 64, num_classes=num_classes, in_channels=in_channels, **settings)
