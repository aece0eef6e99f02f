"""The blocks that residual networks are made of, and the plain block that they are compared with.

A residual block computes `relu(F(x) + shortcut(x))`. Its sum passes the gradient on undiminished, however deep the
network; the plain block has to push it through every layer.
"""

from __future__ import annotations

from gpunet import functional as F
from gpunet.nn import BatchNorm2d, Conv2d, Module, Sequential, init
from gpunet.tensor import Tensor

__all__ = [
    "BasicBlock",
    "Bottleneck",
    "PadShortcut",
    "PlainBlock",
    "ResidualNetwork",
    "conv1x1",
    "conv3x3",
    "projection_shortcut",
]


def conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> Conv2d:
    """A 3x3 convolution that keeps the size of the image, or divides it by the stride."""
    return Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)


def conv1x1(in_channels: int, out_channels: int, stride: int = 1) -> Conv2d:
    """A 1x1 convolution: a linear map of the channels at each pixel."""
    return Conv2d(in_channels, out_channels, 1, stride, bias=False)


class PlainBlock(Module):
    """Two 3x3 convolutions, each with batch norm and ReLU: a residual block without its shortcut."""

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, channels, stride)
        self.bn1 = BatchNorm2d(channels)
        self.conv2 = conv3x3(channels, channels)
        self.bn2 = BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, channels, H/stride, W/stride)."""
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)))


class BasicBlock(Module):
    """Two 3x3 convolutions around which a shortcut leads: `relu(bn(conv(relu(bn(conv(x))))) + shortcut(x))`.

    Args:
        downsample: the shortcut, where the sizes of input and output differ; else the identity.

    Reference:
        He et al., "Deep residual learning for image recognition", 2016, figure 2.
    """

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int = 1, downsample: Module | None = None) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, channels, stride)
        self.bn1 = BatchNorm2d(channels)
        self.conv2 = conv3x3(channels, channels)
        self.bn2 = BatchNorm2d(channels)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, channels, H/stride, W/stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + shortcut)


class Bottleneck(Module):
    """1x1 down to `channels`, 3x3, 1x1 up to four times that, and the shortcut; the stride is on the 3x3.

    Args:
        downsample: the shortcut, where the sizes of input and output differ; else the identity.

    Reference:
        He et al., "Deep residual learning for image recognition", 2016, figure 5.
    """

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int = 1, downsample: Module | None = None) -> None:
        super().__init__()
        self.conv1 = conv1x1(in_channels, channels)
        self.bn1 = BatchNorm2d(channels)
        self.conv2 = conv3x3(channels, channels, stride)
        self.bn2 = BatchNorm2d(channels)
        self.conv3 = conv1x1(channels, channels * self.expansion)
        self.bn3 = BatchNorm2d(channels * self.expansion)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, 4*channels, H/stride, W/stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        return F.relu(self.bn3(self.conv3(out)) + shortcut)


class PadShortcut(Module):
    """The shortcut without parameters (option A): every stride-th pixel, and zeros for the channels that are new."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        added = channels - in_channels
        self.added = (added // 2, added - added // 2)  # before and after the channels that are there

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, channels, H/stride, W/stride)."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, *self.added))


def projection_shortcut(in_channels: int, channels: int, stride: int) -> Sequential:
    """The shortcut with parameters (option B): a 1x1 convolution and batch norm."""
    return Sequential(conv1x1(in_channels, channels, stride), BatchNorm2d(channels))


class ResidualNetwork(Module):
    """What the networks have in common: they start from He's values."""

    def init_filters(self) -> None:
        """Draw the filters of all convolutions from N(0, 2 / fan_out), as He et al. and torchvision do."""
        for module in self.modules():
            if isinstance(module, Conv2d):
                init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
