"""The blocks that residual networks are made of, and the plain block that they are compared with.

A residual block computes `relu(F(x) + shortcut(x))`. Its sum passes the gradient on undiminished, however deep the
network; the plain block has to push it through every layer.
"""

from __future__ import annotations

from gpunet import functional as F
from gpunet.errors import ArgumentError
from gpunet.nn import BatchNorm2d, Conv2d, Module, Sequential
from gpunet.tensor import Tensor

__all__ = [
    "BasicBlock",
    "Bottleneck",
    "PadShortcut",
    "PlainBlock",
    "PreActBlock",
    "PreActBottleneck",
    "conv1x1",
    "conv3x3",
    "projection_shortcut",
]


def conv3x3(in_channels: int, out_channels: int, stride: int = 1, groups: int = 1) -> Conv2d:
    """A 3x3 convolution that keeps the size of the image, or divides it by the stride."""
    return Conv2d(in_channels, out_channels, 3, stride, padding=1, groups=groups, bias=False)


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
        groups, width_per_group: of a Bottleneck; this block has 1 and 64.

    Raises:
        ArgumentError: for other groups, or another width.

    Reference:
        He et al., "Deep residual learning for image recognition", 2016, figure 2.
    """

    expansion = 1

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int = 1,
        downsample: Module | None = None,
        groups: int = 1,
        width_per_group: int = 64,
    ) -> None:
        super().__init__()
        if (groups, width_per_group) != (1, 64):
            raise ArgumentError(
                f"BasicBlock: groups must be 1 and width_per_group 64, got {groups} and {width_per_group}; "
                f"a Bottleneck takes others"
            )
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
    """1x1 down to `width`, 3x3, 1x1 up to four times `channels`, and the shortcut; the stride is on the 3x3.

    Args:
        downsample: the shortcut, where the sizes of input and output differ; else the identity.
        groups: of the 3x3, each of which sees its part of the channels alone; more than 1 make a ResNeXt.
        width_per_group: of the 3x3, for `channels` of 64: `width = channels * width_per_group / 64 * groups`. 64 in one
            group make a ResNet, 128 a wide one.

    Reference:
        He et al., "Deep residual learning for image recognition", 2016, figure 5; Xie et al., "Aggregated residual
        transformations for deep neural networks", 2017, figure 3c; Zagoruyko and Komodakis, "Wide residual networks",
        2016.
    """

    expansion = 4

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int = 1,
        downsample: Module | None = None,
        groups: int = 1,
        width_per_group: int = 64,
    ) -> None:
        super().__init__()
        width = channels * width_per_group // 64 * groups
        self.conv1 = conv1x1(in_channels, width)
        self.bn1 = BatchNorm2d(width)
        self.conv2 = conv3x3(width, width, stride, groups)
        self.bn2 = BatchNorm2d(width)
        self.conv3 = conv1x1(width, channels * self.expansion)
        self.bn3 = BatchNorm2d(channels * self.expansion)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, 4*channels, H/stride, W/stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        return F.relu(self.bn3(self.conv3(out)) + shortcut)


class PreActBlock(Module):
    """`conv(relu(bn(conv(relu(bn(x)))))) + shortcut(x)`: batch norm and ReLU come first, and nothing after the sum.

    So where the shortcut is the identity, the whole network adds to what came in, and nothing ever changes it.

    Args:
        downsample: the shortcut where the sizes of input and output differ, of `relu(bn(x))`; else the identity of x.

    Reference:
        He et al., "Identity mappings in deep residual networks", 2016, figure 4e.
    """

    expansion = 1
    layers = 2

    def __init__(self, in_channels: int, channels: int, stride: int = 1, downsample: Module | None = None) -> None:
        super().__init__()
        self.bn1 = BatchNorm2d(in_channels)
        self.conv1 = conv3x3(in_channels, channels, stride)
        self.bn2 = BatchNorm2d(channels)
        self.conv2 = conv3x3(channels, channels)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, channels, H/stride, W/stride)."""
        out = F.relu(self.bn1(x))
        shortcut = x if self.downsample is None else self.downsample(out)
        out = self.conv1(out)
        return self.conv2(F.relu(self.bn2(out))) + shortcut


class PreActBottleneck(Module):
    """1x1 down to `channels`, 3x3, 1x1 up to four times that, each after batch norm and ReLU, and the shortcut.

    The stride is on the first 1x1, as in the authors' own code.

    Args:
        downsample: the shortcut where the sizes of input and output differ, of `relu(bn(x))`; else the identity of x.

    Reference:
        He et al., "Identity mappings in deep residual networks", 2016, section 4.
    """

    expansion = 4
    layers = 3

    def __init__(self, in_channels: int, channels: int, stride: int = 1, downsample: Module | None = None) -> None:
        super().__init__()
        self.bn1 = BatchNorm2d(in_channels)
        self.conv1 = conv1x1(in_channels, channels, stride)
        self.bn2 = BatchNorm2d(channels)
        self.conv2 = conv3x3(channels, channels)
        self.bn3 = BatchNorm2d(channels)
        self.conv3 = conv1x1(channels, channels * self.expansion)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, 4*channels, H/stride, W/stride)."""
        out = F.relu(self.bn1(x))
        shortcut = x if self.downsample is None else self.downsample(out)
        out = self.conv1(out)
        out = self.conv2(F.relu(self.bn2(out)))
        return self.conv3(F.relu(self.bn3(out))) + shortcut


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
