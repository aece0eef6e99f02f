"""LeNet-5: the network that read cheques."""

from __future__ import annotations

from gpunet.nn import AvgPool2d, Conv2d, Flatten, Linear, Module, Sequential, Tanh
from gpunet.tensor import Tensor

__all__ = ["LeNet5", "lenet5"]


class LeNet5(Module):
    """Two convolutions with average pooling, then three fully connected layers, with tanh between them.

    The paper's weighted subsampling and its output of radial basis functions are replaced by plain average pooling and
    a linear layer, as everybody does today.

    Shape:
        input: (N, in_channels, 32, 32). output: (N, num_classes) logits.

    Reference:
        LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition", 1998.
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 1) -> None:
        super().__init__()
        self.features = Sequential(
            Conv2d(in_channels, 6, 5),  # (N, 6, 28, 28)
            Tanh(),
            AvgPool2d(2),  # (N, 6, 14, 14)
            Conv2d(6, 16, 5),  # (N, 16, 10, 10)
            Tanh(),
            AvgPool2d(2),  # (N, 16, 5, 5)
        )
        self.classifier = Sequential(
            Flatten(),
            Linear(16 * 5 * 5, 120),
            Tanh(),
            Linear(120, 84),
            Tanh(),
            Linear(84, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Classify a batch of images."""
        return self.classifier(self.features(x))


def lenet5(num_classes: int = 10, in_channels: int = 1) -> LeNet5:
    """LeNet-5 for 32x32 images, 61,706 parameters.

    Shape:
        input: (N, in_channels, 32, 32). output: (N, num_classes) logits.

    Reference:
        LeCun et al., "Gradient-based learning applied to document recognition", 1998.
    """
    return LeNet5(num_classes, in_channels)
