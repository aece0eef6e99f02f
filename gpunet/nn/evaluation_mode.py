"""Evaluation mode for a while: for those who look at a network that may still be in training."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from gpunet.nn.module import Module

__all__ = ["evaluation_mode"]


@contextlib.contextmanager
def evaluation_mode(model: Module) -> Iterator[None]:
    """Switch a model to evaluation while the block lasts; afterwards every Module within it is as it was.

    Example:
        >>> from gpunet.nn import Dropout
        >>> layer = Dropout()
        >>> with evaluation_mode(layer):
        ...     print(layer.training)
        False
        >>> layer.training
        True
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
