"""VGG: nothing but 3x3 convolutions, with torchvision's module names so that its weights fit."""

from __future__ import annotations

from typing import Any

from gpunet.models.initial import draw_filters, draw_matrices, zero_biases
from gpunet.nn import AdaptiveAvgPool2d, BatchNorm2d, Conv2d, Dropout, Linear, MaxPool2d, Module, ReLU, Sequential
from gpunet.tensor import Tensor

__all__ = ["VGG", "vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn"]


class VGG(Module):
    """Five stages of 3x3 convolutions with max pooling after each, then three fully connected layers, all with ReLU.

    Two 3x3 convolutions see 5x5 pixels and three see 7x7, with fewer weights and more bends than one large filter.

    Args:
        layers: the number of convolutions in each of the five stages.
        batch_norm: whether each convolution is followed by batch norm, which came a year after the paper.
        dropout: how likely an output of the first two fully connected layers is dropped while training.

    Shape:
        input: (N, in_channels, H, W), 32x32 or more, 224x224 in the paper. output: (N, num_classes) logits.

    Reference:
        Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", 2015, table 1.
    """

    def __init__(
        self,
        layers: tuple[int, int, int, int, int],
        num_classes: int = 1000,
        in_channels: int = 3,
        *,
        batch_norm: bool = False,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        features: list[Module] = []
        for convolutions, channels in zip(layers, (64, 128, 256, 512, 512), strict=True):
            for _ in range(convolutions):
                features.append(Conv2d(in_channels, channels, 3, padding=1))
                if batch_norm:
                    features.append(BatchNorm2d(channels))
                features.append(ReLU())
                in_channels = channels
            features.append(MaxPool2d(2))  # (N, channels, H/2, W/2), and so on down to (N, 512, H/32, W/32)
        self.features = Sequential(*features)
        self.avgpool = AdaptiveAvgPool2d(7)
        self.classifier = Sequential(
            Linear(512 * 7 * 7, 4096),
            ReLU(),
            Dropout(dropout),
            Linear(4096, 4096),
            ReLU(),
            Dropout(dropout),
            Linear(4096, num_classes),
        )
        draw_filters(self)
        draw_matrices(self)
        zero_biases(self)

    def forward(self, x: Tensor) -> Tensor:
        """Classify a batch of images."""
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def vgg11(num_classes: int = 1000, in_channels: int = 3, **settings: Any) -> VGG:
    """VGG with 11 layers, column A of the paper's table 1: 132,863,336 parameters; settings as in `VGG`."""
    return VGG((1, 1, 2, 2, 2), num_classes, in_channels, **settings)


def vgg13(num_classes: int = 1000, in_channels: int = 3, **settings: Any) -> VGG:
    """VGG with 13 layers, column B of the paper's table 1: 133,047,848 parameters; settings as in `VGG`."""
    return VGG((2, 2, 2, 2, 2), num_classes, in_channels, **settings)


def vgg16(num_classes: int = 1000, in_channels: int = 3, **settings: Any) -> VGG:
    """VGG with 16 layers, column D of the paper's table 1: 138,357,544 parameters; settings as in `VGG`."""
    return VGG((2, 2, 3, 3, 3), num_classes, in_channels, **settings)


def vgg19(num_classes: int = 1000, in_channels: int = 3, **settings: Any) -> VGG:
    """VGG with 19 layers, column E of the paper's table 1: 143,667,240 parameters; settings as in `VGG`."""
    return VGG((2, 2, 4, 4, 4), num_classes, in_channels, **settings)


def vgg11_bn(num_classes: int = 1000, in_channels: int = 3, **settings: Any) -> VGG:
    """`vgg11` with batch norm: 132,868,840 parameters."""
    return vgg11(num_classes, in_channels, batch_norm=True, **settings)


def vgg13_bn(num_classes: int = 1000, in_channels: int = 3, **settings: Any) -> VGG:
    """`vgg13` with batch norm: 133,053,736 parameters."""
    return vgg13(num_classes, in_channels, batch_norm=True, **settings)


def vgg16_bn(num_classes: int = 1000, in_channels: int = 3, **settings: Any) -> VGG:
    """`vgg16` with batch norm: 138,365,992 parameters."""
    return vgg16(num_classes, in_channels, batch_norm=True, **settings)


def vgg19_bn(num_classes: int = 1000, in_channels: int = 3, **settings: Any) -> VGG:
    """`vgg19` with batch norm: 143,678,248 parameters."""
    return vgg19(num_classes, in_channels, batch_norm=True, **settings)
