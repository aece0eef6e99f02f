"""Networks of any depth that differ in one thing at a time: with shortcuts or without, with batch norm or without.

They are the networks of He et al. 2016, section 4.2, as in `gpunet.models.cifar_resnet`, with two liberties that the
measurements need: batch norm can be left out, and ReLU can be a sigmoid. In a residual block the activation comes
before the convolution instead of after the sum (He et al., "Identity mappings in deep residual networks", 2016): so
nothing stands on the shortcut, and the gradient passes it as it is. After the sum, every block would multiply it by
the slope of the activation, which for a sigmoid is at most 1/4.

On the small images that the measurements are made with, padding counts: of a map of 2x2, every 3x3 window sees four
pixels and five zeros. So even where batch norm is missing and He's start is to keep the size of the signal from layer
to layer, plain networks lose some of it in each; all their layers have smaller gradients then, the last as the first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gpunet.errors import ArgumentError
from gpunet.functional.checks import check_choice, whole_number
from gpunet.models.blocks import PadShortcut, conv3x3
from gpunet.nn import AdaptiveAvgPool2d, BatchNorm2d, Conv2d, Identity, Linear, Module, ReLU, Sequential, Sigmoid, init
from gpunet.tensor import Tensor

__all__ = ["ACTIVATIONS", "DeepNetwork", "Design"]


ACTIVATIONS: dict[str, Callable[[], Module]] = {"sigmoid": Sigmoid, "relu": ReLU}
"""The activations by the names that `Design` takes."""


def _start(weight: Tensor, activation: str) -> None:
    """Draw the filters as the activation wants it, so that no gradient vanishes for want of a good start.

    Reference:
        Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010, for the
        sigmoid; He et al., "Delving deep into rectifiers", 2015, for ReLU.
    """
    if activation == "relu":
        init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu")
    else:
        init.xavier_normal_(weight)


@dataclass(frozen=True)
class Design:
    """What a network is to be like.

    Attributes:
        depth: the number of layers with weights, 6n + 2.
        residual: whether a shortcut leads around every two convolutions.
        batch_norm: whether batch norm comes before each activation.
        activation: a key of `ACTIVATIONS`.
        pre_activation: whether the activation comes before the convolution, or else after it and after the sum. Without
            shortcuts that is the same network.

    Raises:
        ArgumentError: if the depth is not 6n + 2 or the activation is unknown.

    Example:
        >>> print(Design(56, residual=False, batch_norm=False, activation="relu"))
        plain-56, ReLU, without batch norm
    """

    depth: int
    residual: bool
    batch_norm: bool = True
    activation: str = "relu"
    pre_activation: bool = True

    def __post_init__(self) -> None:
        if whole_number(self.depth, "depth", "Design", 8) % 6 != 2:
            near = self.depth - (self.depth - 2) % 6
            raise ArgumentError(f"Design: depth must be 6n + 2, such as {near} or {near + 6}, got {self.depth}")
        check_choice(self.activation, tuple(ACTIVATIONS), "activation", "Design")

    @property
    def name(self) -> str:
        """Kind and depth, such as "residual-56"."""
        return f"{'residual' if self.residual else 'plain'}-{self.depth}"

    @property
    def setting(self) -> str:
        """The rest, such as "ReLU, with batch norm"."""
        activation = "ReLU" if self.activation == "relu" else self.activation
        return f"{activation}, {'with' if self.batch_norm else 'without'} batch norm"

    def __str__(self) -> str:
        return f"{self.name}, {self.setting}"


class DeepNetwork(Module):
    """A 3x3 convolution, 3n blocks of two convolutions each, global average pooling and a fully connected layer.

    Shape:
        input: (N, in_channels, H, W). output: (N, num_classes) logits.
    """

    def __init__(self, design: Design, num_classes: int = 10, in_channels: int = 1) -> None:
        super().__init__()
        pre = design.pre_activation
        blocks: list[Module] = []
        before = 16
        for channels, stride in ((16, 1), (32, 2), (64, 2)):
            blocks.append(_Block(design, before, channels, stride))
            blocks += [_Block(design, channels, channels, 1) for _ in range((design.depth - 2) // 6 - 1)]
            before = channels
        self.conv1 = conv3x3(in_channels, 16)
        self.begin = Identity() if pre else _norm_and_activation(design, 16)
        self.blocks = Sequential(*blocks)  # (N, 64, H/4, W/4)
        self.end = _norm_and_activation(design, 64) if pre else Identity()
        self.avgpool = AdaptiveAvgPool2d(1)
        self.fc = Linear(64, num_classes)
        for layer in self.modules():
            if isinstance(layer, Conv2d):
                _start(layer.weight, design.activation)

    def forward(self, x: Tensor) -> Tensor:
        """Classify a batch of images."""
        x = self.end(self.blocks(self.begin(self.conv1(x))))
        return self.fc(self.avgpool(x).flatten(1))

    def weights(self) -> list[Tensor]:
        """The weights of convolutions and of the fully connected layer, from the first layer to the last."""
        return [layer.weight for layer in self.modules() if isinstance(layer, Conv2d | Linear)]


class _Block(Module):
    """Two 3x3 convolutions, and the way around them where there is one."""

    def __init__(self, design: Design, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        first, second = conv3x3(in_channels, channels, stride), conv3x3(channels, channels)
        if design.pre_activation:
            self.branch = Sequential(
                _norm_and_activation(design, in_channels), first, _norm_and_activation(design, channels), second
            )
            self.end: Module = Identity()
        else:
            self.branch = Sequential(first, _norm_and_activation(design, channels), second, _norm(design, channels))
            self.end = ACTIVATIONS[design.activation]()
        changes_size = in_channels != channels
        self.shortcut = PadShortcut(in_channels, channels, stride) if changes_size else Identity()
        self.residual = design.residual

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, channels, H/stride, W/stride)."""
        out = self.branch(x)
        return self.end(out + self.shortcut(x) if self.residual else out)


def _norm(design: Design, channels: int) -> Module:
    return BatchNorm2d(channels) if design.batch_norm else Identity()


def _norm_and_activation(design: Design, channels: int) -> Sequential:
    return Sequential(_norm(design, channels), ACTIVATIONS[design.activation]())
