"""AlexNet: the network that began the age of deep learning, with torchvision's module names so that its weights fit."""

from __future__ import annotations

from gpunet.nn import AdaptiveAvgPool2d, Conv2d, Dropout, Linear, MaxPool2d, Module, ReLU, Sequential
from gpunet.tensor import Tensor

__all__ = ["AlexNet", "alexnet"]


class AlexNet(Module):
    """Five convolutions with max pooling, then three fully connected layers, with ReLU between them.

    As in torchvision it is the slimmer network of 2014, for one GPU: what 2012 spread over two is one again, and the
    normalisation across channels is gone.

    Args:
        dropout: how likely an input of the first two fully connected layers is dropped while training.

    Shape:
        input: (N, in_channels, H, W), 63x63 or more, 224x224 in the paper. output: (N, num_classes) logits.

    Reference:
        Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014; Krizhevsky, Sutskever and
        Hinton, "ImageNet classification with deep convolutional neural networks", 2012.
    """

    def __init__(self, num_classes: int = 1000, in_channels: int = 3, *, dropout: float = 0.5) -> None:
        super().__init__()
        self.features = Sequential(
            Conv2d(in_channels, 64, 11, stride=4, padding=2),  # (N, 64, 55, 55) of 224x224
            ReLU(),
            MaxPool2d(3, stride=2),  # (N, 64, 27, 27)
            Conv2d(64, 192, 5, padding=2),
            ReLU(),
            MaxPool2d(3, stride=2),  # (N, 192, 13, 13)
            Conv2d(192, 384, 3, padding=1),
            ReLU(),
            Conv2d(384, 256, 3, padding=1),
            ReLU(),
            Conv2d(256, 256, 3, padding=1),
            ReLU(),
            MaxPool2d(3, stride=2),  # (N, 256, 6, 6)
        )
        self.avgpool = AdaptiveAvgPool2d(6)
        self.classifier = Sequential(
            Dropout(dropout),
            Linear(256 * 6 * 6, 4096),
            ReLU(),
            Dropout(dropout),
            Linear(4096, 4096),
            ReLU(),
            Linear(4096, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Classify a batch of images."""
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def alexnet(num_classes: int = 1000, in_channels: int = 3, *, dropout: float = 0.5) -> AlexNet:
    """AlexNet of Krizhevsky 2014: 61,100,840 parameters."""
    return AlexNet(num_classes, in_channels, dropout=dropout)
