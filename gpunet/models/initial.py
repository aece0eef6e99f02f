"""The numbers that networks start from, where those of the layers themselves are not meant."""

from __future__ import annotations

from gpunet.nn import Conv2d, Linear, Module, init

__all__ = ["draw_filters", "draw_matrices", "zero_biases"]


def draw_filters(network: Module, mode: str = "fan_out") -> None:
    """Draw the filters of all convolutions from He's N(0, 2 / fan).

    Args:
        mode: "fan_out" keeps the size of gradients going back, "fan_in" that of activations going forward.

    Reference:
        He et al., "Delving deep into rectifiers", 2015.
    """
    for module in network.modules():
        if isinstance(module, Conv2d):
            init.kaiming_normal_(module.weight, mode=mode, nonlinearity="relu")


def draw_matrices(network: Module) -> None:
    """Draw the matrices of all fully connected layers from N(0, 0.01²).

    Reference:
        Krizhevsky et al., "ImageNet classification with deep convolutional neural networks", 2012, section 5.
    """
    for module in network.modules():
        if isinstance(module, Linear):
            init.normal_(module.weight, std=0.01)


def zero_biases(network: Module) -> None:
    """Set the biases of all convolutions and of all fully connected layers to 0."""
    for module in network.modules():
        if isinstance(module, Conv2d | Linear) and module.bias is not None:
            init.zeros_(module.bias)
