"""ConvNeXt: a ResNet with what transformers taught, with torchvision's module names so that its weights fit."""

from __future__ import annotations

from typing import Any

from gpunet.functional.checks import number
from gpunet.functions import full
from gpunet.models.initial import zero_biases
from gpunet.nn import (
    GELU,
    AdaptiveAvgPool2d,
    Conv2d,
    Flatten,
    LayerNorm,
    Linear,
    Module,
    Parameter,
    Sequential,
    StochasticDepth,
    init,
)
from gpunet.tensor import Tensor

__all__ = ["ConvNeXt", "convnext_base", "convnext_large", "convnext_small", "convnext_tiny"]


class _Permute(Module):
    """The dimensions in another order. Memory is channels-last, so channels go last and back without a copy."""

    def __init__(self, *dims: int) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, x: Tensor) -> Tensor:
        """Change the order."""
        return x.permute(self.dims)


class _LayerNorm2d(LayerNorm):
    """Layer norm of the channels of each pixel."""

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class _Block(Module):
    """7x7 of each channel on its own, layer norm, 1x1 up to four times the channels, GELU, 1x1 down, the shortcut.

    `x + scale * F(x)`: each channel of F has a learnt scale, which is next to nothing at first.

    Reference:
        Liu et al., "A ConvNet for the 2020s", 2022, figure 4.
    """

    def __init__(self, channels: int, layer_scale: float, stochastic_depth_prob: float) -> None:
        super().__init__()
        self.block = Sequential(
            Conv2d(channels, channels, 7, padding=3, groups=channels),
            _Permute(0, 2, 3, 1),  # (N, H, W, channels): a fully connected layer is a 1x1 convolution
            LayerNorm(channels, eps=1e-6),
            Linear(channels, 4 * channels),
            GELU(),
            Linear(4 * channels, channels),
            _Permute(0, 3, 1, 2),  # (N, channels, H, W)
        )
        self.layer_scale = Parameter(full((channels, 1, 1), number(layer_scale, "layer_scale", "ConvNeXt")))
        self.stochastic_depth = StochasticDepth(stochastic_depth_prob, "row")

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) -> (N, channels, H, W)."""
        return x + self.stochastic_depth(self.layer_scale * self.block(x))


class ConvNeXt(Module):
    """Patches of 4x4, four stages of blocks with 2x2 convolutions between, average pooling and a fully connected layer.

    Args:
        channels: of each of the four stages.
        layers: the number of blocks in each of the four stages.
        stochastic_depth_prob: how likely the last block leaves out its branch while training; the first never does, and
            those between do the more likely the deeper they are.
        layer_scale: by what each channel of a branch is multiplied at first.

    Shape:
        input: (N, in_channels, H, W), 32x32 or more, 224x224 in the paper. output: (N, num_classes) logits.

    Reference:
        Liu, Mao, Wu, Feichtenhofer, Darrell and Xie, "A ConvNet for the 2020s", 2022.
    """

    def __init__(
        self,
        channels: tuple[int, int, int, int],
        layers: tuple[int, int, int, int],
        num_classes: int = 1000,
        in_channels: int = 3,
        *,
        stochastic_depth_prob: float = 0.0,
        layer_scale: float = 1e-6,
    ) -> None:
        super().__init__()
        stem = Sequential(Conv2d(in_channels, channels[0], 4, stride=4), _LayerNorm2d(channels[0], eps=1e-6))
        features: list[Module] = [stem]  # (N, channels[0], H/4, W/4)
        depth = sum(layers)
        rates = [stochastic_depth_prob * block / max(1, depth - 1) for block in range(depth)]
        for stage, (blocks, width) in enumerate(zip(layers, channels, strict=True)):
            if stage > 0:
                narrow = channels[stage - 1]
                features.append(  # (N, width, H/8, W/8), and so on down to (N, channels[3], H/32, W/32)
                    Sequential(_LayerNorm2d(narrow, eps=1e-6), Conv2d(narrow, width, 2, stride=2))
                )
            features.append(Sequential(*(_Block(width, layer_scale, rates.pop(0)) for _ in range(blocks))))
        self.features = Sequential(*features)
        self.avgpool = AdaptiveAvgPool2d(1)
        width = channels[-1]
        self.classifier = Sequential(_LayerNorm2d(width, eps=1e-6), Flatten(), Linear(width, num_classes))
        for module in self.modules():
            if isinstance(module, Conv2d | Linear):
                init.trunc_normal_(module.weight, std=0.02)
        zero_biases(self)

    def forward(self, x: Tensor) -> Tensor:
        """Classify a batch of images."""
        return self.classifier(self.avgpool(self.features(x)))


def convnext_tiny(
    num_classes: int = 1000, in_channels: int = 3, *, stochastic_depth_prob: float = 0.1, **settings: Any
) -> ConvNeXt:
    """ConvNeXt-T of Liu et al. 2022: 28,589,128 parameters; settings as in `ConvNeXt`."""
    design = (96, 192, 384, 768), (3, 3, 9, 3)
    return ConvNeXt(*design, num_classes, in_channels, stochastic_depth_prob=stochastic_depth_prob, **settings)


def convnext_small(
    num_classes: int = 1000, in_channels: int = 3, *, stochastic_depth_prob: float = 0.4, **settings: Any
) -> ConvNeXt:
    """ConvNeXt-S of Liu et al. 2022: 50,223,688 parameters; settings as in `ConvNeXt`."""
    design = (96, 192, 384, 768), (3, 3, 27, 3)
    return ConvNeXt(*design, num_classes, in_channels, stochastic_depth_prob=stochastic_depth_prob, **settings)


def convnext_base(
    num_classes: int = 1000, in_channels: int = 3, *, stochastic_depth_prob: float = 0.5, **settings: Any
) -> ConvNeXt:
    """ConvNeXt-B of Liu et al. 2022: 88,591,464 parameters; settings as in `ConvNeXt`."""
    design = (128, 256, 512, 1024), (3, 3, 27, 3)
    return ConvNeXt(*design, num_classes, in_channels, stochastic_depth_prob=stochastic_depth_prob, **settings)


def convnext_large(
    num_classes: int = 1000, in_channels: int = 3, *, stochastic_depth_prob: float = 0.5, **settings: Any
) -> ConvNeXt:
    """ConvNeXt-L of Liu et al. 2022: 197,767,336 parameters; settings as in `ConvNeXt`."""
    design = (192, 384, 768, 1536), (3, 3, 27, 3)
    return ConvNeXt(*design, num_classes, in_channels, stochastic_depth_prob=stochastic_depth_prob, **settings)
