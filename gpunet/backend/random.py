"""Random numbers: one seed, two streams.

The host stream draws what must be the same on every backend: initial weights, shuffles, augmentation. The device stream
draws what is needed where the data is: dropout masks. NumPy and CuPy have different generators, so the second stream
differs between backends, but each repeats itself bit by bit for the same seed.

Both can be saved and put back. NumPy says where its generators are; CuPy's cannot be read, so it is counted how many
numbers were drawn, and as many are drawn again. Each number takes one step of the generator that made it, so the order
of the draws does not matter, only how often each size was drawn.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np

from gpunet.backend.active import Array, active_backend, xp
from gpunet.errors import ArgumentError, StateDictError

__all__ = ["host_generator", "manual_seed", "random_state", "set_random_state", "uniform"]

_LARGEST_COUNT = 2**53


class _Streams:
    """The two streams of the process; the device stream is made at its first use on a backend.

    Attributes:
        drawn: for each backend but NumPy, how often arrays of each size were drawn.
    """

    def __init__(self, seed: int | None) -> None:
        host, device = np.random.SeedSequence(seed).spawn(2)
        self.host = np.random.default_rng(host)
        self.device_seed = int(device.generate_state(1, np.uint64)[0])
        self.device: dict[str, Any] = {}
        self.drawn: dict[str, Counter[int]] = {}

    def device_generator(self, name: str) -> Any:
        """The generator of a backend; where there is none yet, it is brought to where `drawn` says that it was."""
        if name not in self.device:
            generator = xp.random.default_rng(self.device_seed)
            for size, count in self.drawn.get(name, {}).items():
                for _ in range(count):
                    generator.random((size,), dtype=xp.float32)
            self.device[name] = generator
        return self.device[name]


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
    generator = _streams.device_generator(name)
    if name != "numpy" and (size := math.prod(shape)):
        _streams.drawn.setdefault(name, Counter())[size] += 1
    return generator.random(shape, dtype=xp.float32)


def random_state() -> dict[str, Any]:
    """Where both streams are, as plain Python that JSON can hold; whole numbers of 64 bits and more are texts."""
    generator = _streams.device.get("numpy")
    return {
        "host": _generator_state(_streams.host),
        "device_seed": str(_streams.device_seed),
        "numpy": None if generator is None else _generator_state(generator),
        "drawn": {
            name: {str(size): count for size, count in sorted(counts.items())}
            for name, counts in _streams.drawn.items()
        },
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Bring both streams to where they were when `random_state` was called, in this process or in another.

    A backend that had drawn nothing by then begins its own device stream.

    Raises:
        StateDictError: if it is not such a state; the streams stay as they are then.
    """
    global _streams
    try:
        streams = _Streams(0)
        streams.host = _generator(state["host"])
        streams.device_seed = _whole(int(state["device_seed"]), 0, 2**64 - 1)
        if state["numpy"] is not None:
            streams.device["numpy"] = _generator(state["numpy"])
        for name, counts in state["drawn"].items():
            streams.drawn[name] = Counter(
                {_whole(int(size), 1, _LARGEST_COUNT): _whole(n, 1, _LARGEST_COUNT) for size, n in counts.items()}
            )
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise StateDictError(f"this is not the state of the random streams: {error!r}") from error
    _streams = streams


def _generator_state(generator: np.random.Generator) -> dict[str, Any]:
    state = generator.bit_generator.state
    numbers = {name: str(number) for name, number in state["state"].items()}
    return {**state, "state": numbers}


def _generator(state: dict[str, Any]) -> np.random.Generator:
    generator = np.random.default_rng(0)
    numbers = {name: _whole(int(number), 0, 2**128 - 1) for name, number in state["state"].items()}
    generator.bit_generator.state = {
        **state,
        "state": numbers,
        "has_uint32": _whole(state["has_uint32"], 0, 1),
        "uinteger": _whole(state["uinteger"], 0, 2**32 - 1),
    }
    return generator


def _whole(number: Any, least: int, most: int) -> int:
    if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= most:
        raise ValueError(f"{number!r} must be a whole number from {least} to {most}")
    return number
