"""Random numbers: one seed, two streams.

The host stream draws what must be the same on every backend: initial weights, shuffles, augmentation. The device stream
draws what is needed where the data is: dropout masks. NumPy and CuPy have different generators, so the second stream
differs between backends, but each repeats itself bit by bit for the same seed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.backend.active import Array, active_backend, xp
from gpunet.errors import ArgumentError

__all__ = ["host_generator", "manual_seed", "uniform"]


class _Streams:
    """The two streams of the process; the device stream is made at its first use on a backend."""

    def __init__(self, seed: int | None) -> None:
        host, device = np.random.SeedSequence(seed).spawn(2)
        self.host = np.random.default_rng(host)
        self.device_seed = int(device.generate_state(1, np.uint64)[0])
        self.device: dict[str, Any] = {}


_streams = _Streams(None)


def manual_seed(seed: int) -> None:
    """Start both random streams from a seed, so that what follows is the same, bit by bit, in every run.

    Raises:
        ArgumentError: if the seed is not a whole number of 0 or more.
    """
    global _streams
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ArgumentError(f"manual_seed expects a whole number of 0 or more, got {seed!r}")
    _streams = _Streams(int(seed))


def host_generator() -> np.random.Generator:
    """The NumPy generator behind everything that is drawn on the host."""
    return _streams.host


def uniform(shape: tuple[int, ...]) -> Array:
    """float32 numbers from the uniform distribution over [0, 1), drawn on the active backend."""
    name = active_backend()
    if name not in _streams.device:
        _streams.device[name] = xp.random.default_rng(_streams.device_seed)
    return _streams.device[name].random(shape, dtype=xp.float32)
