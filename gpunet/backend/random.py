"""Random numbers: one seed, two streams.

The host stream draws what must be the same on every backend: initial weights, shuffles, augmentation. The device stream
draws what is needed where the data is: dropout masks. On NumPy it is a generator of NumPy's. Elsewhere each number is
made of the seed and its place in the stream (SplitMix64, raw_kernels/random.cu), and the device itself counts how many
were drawn. So every backend has a stream of its own, which repeats itself bit by bit for the same seed.

Both can be saved and put back: NumPy says where its generators are, and for the others it is the count.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from gpunet.backend.active import Array, active_backend, to_cpu, xp
from gpunet.backend.kernel_table import UNIFORM
from gpunet.backend.kernels import enabled, launch
from gpunet.backend.recording import recording
from gpunet.errors import ArgumentError, GraphError, StateDictError

__all__ = [
    "draw_for_whole_batch",
    "host_generator",
    "manual_seed",
    "random_state",
    "set_random_state",
    "uniform",
    "uniform_rows",
]

_LARGEST_COUNT = 2**53
_GOLDEN, _FIRST, _SECOND = map(np.uint64, (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


class _Streams:
    """The two streams of the process; the device stream begins at its first use on a backend.

    Attributes:
        numpy: the device stream of NumPy, once it has begun.
        drawn: for each other backend, how many numbers were drawn before the stream began here.
    """

    def __init__(self, seed: int | None) -> None:
        host, device = np.random.SeedSequence(seed).spawn(2)
        self.host = np.random.default_rng(host)
        self.device_seed = int(device.generate_state(1, np.uint64)[0])
        self.numpy: np.random.Generator | None = None
        self.drawn: dict[str, int] = {}


class _OnDevice:
    """Where the stream of a backend is, on its device: the seed, and how many numbers were drawn, (2,) int64.

    The array stays the same for good: a CUDA graph in which numbers are drawn reads it and counts in it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.state = xp.empty(2, dtype=xp.int64)
        self.of: _Streams | None = None

    def begin(self) -> None:
        """Let the array say where the stream of the process begins, if that is another by now.

        Raises:
            GraphError: if a step is being recorded.
        """
        if self.of is not _streams:
            if recording():  # it would begin again at each replay
                raise GraphError("random numbers are drawn for the first time while a step is being recorded")
            seed = _streams.device_seed
            self.state[:1].fill(seed - (seed >> 63 << 64))  # the same 64 bits, with a sign
            self.state[1:].fill(_streams.drawn.get(self.name, 0))
            self.of = _streams


_streams = _Streams(None)
_on_device: dict[str, _OnDevice] = {}


def _start(streams: _Streams) -> None:
    """Go on with these streams."""
    global _streams
    _streams = streams
    if _on_device and (current := _on_device.get(active_backend())):
        current.begin()  # now, for graphs that were recorded; on other backends when they are used


def manual_seed(seed: int) -> None:
    """Start both random streams from a seed, so that what follows is the same, bit by bit, in every run.

    Raises:
        ArgumentError: if the seed is not a whole number of 0 or more.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ArgumentError(f"manual_seed expects a whole number of 0 or more, got {seed!r}")
    _start(_Streams(int(seed)))


def host_generator() -> np.random.Generator:
    """The NumPy generator behind everything that is drawn on the host."""
    return _streams.host


def uniform(shape: tuple[int, ...]) -> Array:
    """float32 numbers from the uniform distribution over [0, 1), drawn on the active backend."""
    name = active_backend()
    if name == "numpy":
        if _streams.numpy is None:
            _streams.numpy = np.random.default_rng(_streams.device_seed)
        return _streams.numpy.random(shape, dtype=np.float32)
    if name not in _on_device:
        _on_device[name] = _OnDevice(name)
    _on_device[name].begin()
    state, count = _on_device[name].state, math.prod(shape)
    if enabled():
        u = xp.empty(shape, dtype=xp.float32)
        launch(UNIFORM, state, u, count, threads=count)
    else:
        u = _mixed(state, count).reshape(shape)
    state[1:] += count
    return u


_whole_batch: tuple[int, slice] | None = None


def draw_for_whole_batch(images: int | None, rows: slice = slice(None)) -> None:
    """From now on this process works at some images of a batch that several share; with None at all of its batches.

    What is drawn for each image is then drawn for the whole batch, and the rows of this process are taken: each image
    gets the numbers that it would get if there were no other process, and all processes draw equally many.

    Args:
        images: in the whole batch.
        rows: which of them are those of this process.
    """
    global _whole_batch
    _whole_batch = None if images is None else (images, rows)


def uniform_rows(shape: tuple[int, ...]) -> Array:
    """`uniform` for what has a row for each image of a batch."""
    if _whole_batch is not None and shape:
        images, rows = _whole_batch
        if len(range(images)[rows]) == shape[0]:
            return xp.ascontiguousarray(uniform((images, *shape[1:]))[rows])
    return uniform(shape)


def _mixed(state: Array, count: int) -> Array:
    """What the kernel makes: a step of a golden section for each number, and all bits of that mixed up; (count,)."""
    z = (state[1:] + xp.arange(1, count + 1, dtype=xp.int64)).view("u8") * _GOLDEN + state[:1].view("u8")
    z = (z ^ z >> 30) * _FIRST
    z = (z ^ z >> 27) * _SECOND
    return ((z ^ z >> 31) >> 40).astype(xp.float32) * 2.0**-24  # 24 bits of a mantissa


def random_state() -> dict[str, Any]:
    """Where both streams are, as plain Python that JSON can hold; whole numbers of 64 bits and more are texts."""
    begun = {name: int(to_cpu(each.state)[1]) for name, each in _on_device.items() if each.of is _streams}
    return {
        "host": _generator_state(_streams.host),
        "device_seed": str(_streams.device_seed),
        "numpy": None if _streams.numpy is None else _generator_state(_streams.numpy),
        "drawn": {name: count for name, count in sorted({**_streams.drawn, **begun}.items()) if count},
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Bring both streams to where they were when `random_state` was called, in this process or in another.

    A backend that had drawn nothing by then begins its own device stream.

    Raises:
        StateDictError: if it is not such a state; the streams stay as they are then.
    """
    try:
        streams = _Streams(0)
        streams.host = _generator(state["host"])
        streams.device_seed = _whole(int(state["device_seed"]), 0, 2**64 - 1)
        if state["numpy"] is not None:
            streams.numpy = _generator(state["numpy"])
        streams.drawn = {name: _count(drawn) for name, drawn in state["drawn"].items()}
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise StateDictError(f"this is not the state of the random streams: {error!r}") from error
    _start(streams)


def _count(drawn: Any) -> int:
    """How many numbers were drawn; the first versions noted how often arrays of each size were."""
    if isinstance(drawn, Mapping):
        each = (_whole(int(size), 1, _LARGEST_COUNT) * _whole(n, 1, _LARGEST_COUNT) for size, n in drawn.items())
        return _whole(sum(each), 1, _LARGEST_COUNT)
    return _whole(drawn, 1, _LARGEST_COUNT)


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
