"""MobileNetV2: for processors that have little to give, with torchvision's module names so that its weights fit."""

from __future__ import annotations

from gpunet import functional as F
from gpunet.functional.checks import number
from gpunet.models.blocks import conv1x1
from gpunet.models.initial import draw_filters, draw_matrices, zero_biases
from gpunet.nn import BatchNorm2d, Conv2d, Dropout, Linear, Module, ReLU6, Sequential
from gpunet.tensor import Tensor

__all__ = ["InvertedResidual", "MobileNetV2", "mobilenet_v2"]

# Table 2 of the paper: the factor t of the expansion, channels, how many blocks, and the stride of the first of them.
BLOCKS = (
    (1, 16, 1, 1),  # (N, 16, H/2, W/2)
    (6, 24, 2, 2),  # (N, 24, H/4, W/4)
    (6, 32, 3, 2),  # (N, 32, H/8, W/8)
    (6, 64, 4, 2),  # (N, 64, H/16, W/16)
    (6, 96, 3, 1),  # (N, 96, H/16, W/16)
    (6, 160, 3, 2),  # (N, 160, H/32, W/32)
    (6, 320, 1, 1),  # (N, 320, H/32, W/32)
)


def _conv_norm_relu6(in_channels: int, channels: int, kernel_size: int, stride: int = 1, groups: int = 1) -> Sequential:
    """A convolution that keeps the size of the image or divides it, batch norm, and ReLU that ends at 6."""
    padding = kernel_size // 2
    conv = Conv2d(in_channels, channels, kernel_size, stride, padding, groups=groups, bias=False)
    return Sequential(conv, BatchNorm2d(channels), ReLU6())


class InvertedResidual(Module):
    """1x1 up to t times the channels, 3x3 of each channel on its own, 1x1 down again without ReLU, and the shortcut.

    The bottleneck of ResNet turned inside out: wide between, narrow where the shortcut leads. It is there where input
    and output have the same size.

    Shape:
        input: (N, in_channels, H, W). output: (N, channels, H/stride, W/stride).

    Reference:
        Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", 2018, figure 3.
    """

    def __init__(self, in_channels: int, channels: int, stride: int, expand_ratio: int) -> None:
        super().__init__()
        wide = in_channels * expand_ratio
        expand = [_conv_norm_relu6(in_channels, wide, 1)] if expand_ratio != 1 else []
        self.conv = Sequential(
            *expand,  # (N, wide, H, W)
            _conv_norm_relu6(wide, wide, 3, stride, groups=wide),  # (N, wide, H/stride, W/stride)
            conv1x1(wide, channels),  # (N, channels, H/stride, W/stride)
            BatchNorm2d(channels),
        )
        self.has_shortcut = stride == 1 and in_channels == channels

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, channels, H/stride, W/stride)."""
        return x + self.conv(x) if self.has_shortcut else self.conv(x)


class MobileNetV2(Module):
    """A 3x3 convolution, 17 inverted residual blocks, a 1x1 convolution, average pooling and a fully connected layer.

    Args:
        width_mult: by what all numbers of channels are multiplied; the last convolution never has fewer than 1280.
        dropout: how likely an input of the fully connected layer is dropped while training.

    Shape:
        input: (N, in_channels, H, W), 224x224 in the paper. output: (N, num_classes) logits.

    Reference:
        Sandler, Howard, Zhu, Zhmoginov and Chen, "MobileNetV2: inverted residuals and linear bottlenecks", 2018.
    """

    def __init__(
        self, num_classes: int = 1000, in_channels: int = 3, *, width_mult: float = 1.0, dropout: float = 0.2
    ) -> None:
        super().__init__()
        width_mult = number(width_mult, "width_mult", "MobileNetV2")
        channels = _multiple_of_8(32 * width_mult)
        features: list[Module] = [_conv_norm_relu6(in_channels, channels, 3, stride=2)]  # (N, 32, H/2, W/2)
        for expand_ratio, width, blocks, stride in BLOCKS:
            narrow = _multiple_of_8(width * width_mult)
            for block in range(blocks):
                features.append(InvertedResidual(channels, narrow, stride if block == 0 else 1, expand_ratio))
                channels = narrow
        last = _multiple_of_8(1280 * max(1.0, width_mult))
        features.append(_conv_norm_relu6(channels, last, 1))  # (N, 1280, H/32, W/32)
        self.features = Sequential(*features)
        self.classifier = Sequential(Dropout(dropout), Linear(last, num_classes))
        draw_filters(self)
        draw_matrices(self)
        zero_biases(self)

    def forward(self, x: Tensor) -> Tensor:
        """Classify a batch of images."""
        return self.classifier(F.adaptive_avg_pool2d(self.features(x), 1).flatten(1))


def _multiple_of_8(channels: float) -> int:
    """The nearest multiple of 8, but no less than 0.9 of the number: what the authors' own code does."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * channels else rounded + 8


def mobilenet_v2(
    num_classes: int = 1000, in_channels: int = 3, *, width_mult: float = 1.0, dropout: float = 0.2
) -> MobileNetV2:
    """MobileNetV2 of Sandler et al. 2018: 3,504,872 parameters."""
    return MobileNetV2(num_classes, in_channels, width_mult=width_mult, dropout=dropout)
