"""Random numbers on the device: the same functions as NumPy's, and on purpose another stream for the same seed."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.emulated.array import fresh, ndarray
from gpunet.emulated.counters import counters

__all__ = ["Generator", "default_rng"]

_OWN = 0x6465766963650000  # goes into the seed, so that no stream is one of NumPy's


class Generator:
    """Draws arrays of random numbers."""

    def __init__(self, seed: int | None) -> None:
        self._stream = np.random.default_rng(None if seed is None else [_OWN, seed])

    def random(self, size: Any = None, dtype: Any = np.float64, out: None = None) -> ndarray:
        """From the uniform distribution over [0, 1)."""
        counters.functions["random"] += 1
        return fresh(np.asarray(self._stream.random(size, dtype)))

    def standard_normal(self, size: Any = None, dtype: Any = np.float64, out: None = None) -> ndarray:
        """From the normal distribution with mean 0 and deviation 1."""
        counters.functions["standard_normal"] += 1
        return fresh(np.asarray(self._stream.standard_normal(size, dtype)))

    def integers(
        self, low: int, high: int | None = None, size: Any = None, dtype: Any = np.int64, endpoint: bool = False
    ) -> ndarray:
        """Whole numbers from low to below high, or to high with `endpoint`."""
        counters.functions["integers"] += 1
        return fresh(np.asarray(self._stream.integers(low, high, size, dtype, endpoint)))


def default_rng(seed: int | None = None) -> Generator:
    """A generator, which repeats itself for the same seed."""
    return Generator(seed)
