"""Layers that compute nothing."""

from __future__ import annotations

from typing import Any

from gpunet import functional as F
from gpunet.nn.module import Module
from gpunet.tensor import Tensor

__all__ = ["Flatten", "Identity"]


class Identity(Module):
    """`y = x`: the shortcut of a residual block, or the place of a layer that is not there. Arguments are ignored.

    Shape:
        any; the output has the same.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        """Return the input."""
        return input


class Flatten(Module):
    """Dimensions `start_dim` to `end_dim` joined into one: images to rows of features.

    Shape:
        input: (N, C, H, W). output: (N, C*H*W).
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, input: Tensor) -> Tensor:
        """Join the dimensions."""
        return F.flatten(input, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        """The settings."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"
