"""A stream of random numbers of one's own, under PyTorch's name, for whatever takes `generator=`."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.backend import host_generator
from gpunet.errors import ArgumentError

__all__ = ["Generator", "rng_of"]

FIRST_SEED = 67280421310721  # of every new generator, as PyTorch's


class Generator:
    """Draws on the host, so that a seed gives the same numbers on every backend; PyTorch's are others.

    Args:
        device: taken where PyTorch takes it.

    Example:
        >>> Generator().manual_seed(42).initial_seed()
        42
    """

    def __init__(self, device: Any = "cpu") -> None:
        self.manual_seed(FIRST_SEED)

    def manual_seed(self, seed: int) -> Generator:
        """Begin anew from a seed; returns the generator itself.

        Raises:
            ArgumentError: if the seed is not a whole number of 0 or more.
        """
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
            raise ArgumentError(f"Generator: a seed is a whole number of 0 or more, got {seed!r}")
        self._seed = int(seed)
        self.numpy = np.random.default_rng(self._seed)
        return self

    def seed(self) -> int:
        """Begin anew from a seed that is drawn from the stream of `gpunet.manual_seed`."""
        return self.manual_seed(int(host_generator().integers(2**63))).initial_seed()

    def initial_seed(self) -> int:
        """The seed that it began with."""
        return self._seed


def rng_of(generator: Generator | None, name: str) -> np.random.Generator:
    """The generator of NumPy to draw with: that of `gpunet.manual_seed`, where none is given.

    Raises:
        ArgumentError: if it is no Generator.
    """
    if generator is None:
        return host_generator()
    if not isinstance(generator, Generator):
        raise ArgumentError(f"{name}: generator must be a gpunet.Generator, got {type(generator).__name__}")
    return generator.numpy
