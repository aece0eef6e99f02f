"""How the lanes of a warp read memory: side by side, apart, and in packs; max pooling on images that lie differently.

What each thread reads follows from the shape alone, so nothing needs to run; it is counted as `gpunet.emulator` counts
what it sees.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from gpunet.backend.kernels import BLOCK
from gpunet.emulator.traffic import RECORDED, SECTOR_BYTES, WARP, measure

__all__ = ["CHANNELS", "COALESCING", "SIDE", "WORD_BYTES", "Reading", "Sector", "coalescing_as_json", "readings"]

COALESCING = "coalescing"
"""What `gpunet explain` calls it, beside the operations."""

SIDE, CHANNELS = 8, 32  # of the image: its pixels and its channels, of float32
KERNEL = 2  # the window, and the stride
WORD_BYTES = 4

Numbers: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Sector:
    """Some bytes that memory gives together.

    Attributes:
        begins: the place of the first of its 32 bytes in the array.
        lanes: for each of its eight numbers the lane that asks for it, None if none does.
    """

    begins: int
    lanes: tuple[int | None, ...]


@dataclass(frozen=True)
class Reading:
    """How max pooling reads its image.

    Attributes:
        name: "nhwc", "nchw", or "packs", which is NHWC again.
        place: of a number in the array, as a kernel writes it.
        vector: how many neighbouring numbers a thread reads at once.
        first: the sectors of the first request of the first warp.
        requests: of all warps together.
        asked, sectors, fewest_sectors: of all requests, as in `gpunet.emulator.ArrayTraffic`.
    """

    name: str
    place: str
    vector: int
    first: tuple[Sector, ...]
    requests: int
    asked: int
    sectors: int
    fewest_sectors: int


def readings() -> tuple[Reading, ...]:
    """The same pooling, read in three ways.

    Example:
        >>> [(each.name, each.sectors, each.fewest_sectors) for each in readings()]
        [('nhwc', 256, 256), ('nchw', 2048, 256), ('packs', 256, 256)]
    """
    nhwc = "x[((n * H + h) * W + w) * C + c]"
    nchw = "x[((n * C + c) * H + h) * W + w]"
    return (
        _reading("nhwc", nhwc, 1, lambda row, column, channel: (row * SIDE + column) * CHANNELS + channel),
        _reading("nchw", nchw, 1, lambda row, column, channel: (channel * SIDE + row) * SIDE + column),
        _reading("packs", nhwc, 4, lambda row, column, channel: (row * SIDE + column) * CHANNELS + channel),
    )


def coalescing_as_json() -> dict[str, Any]:
    """The three readings as plain Python that JSON can hold."""
    return {"topic": COALESCING, "readings": [dataclasses.asdict(reading) for reading in readings()]}


def _reading(name: str, place: str, vector: int, place_of: Callable[[Numbers, Numbers, Numbers], Numbers]) -> Reading:
    """`place_of` says where row, column and channel lie. Neighbouring threads differ in the channel first."""
    packs, positions = CHANNELS // vector, SIDE // KERNEL
    threads = np.arange(positions * positions * packs)
    pixel, channel = threads // packs, threads % packs * vector
    k, l_ = pixel // positions, pixel % positions
    reads = [  # one instruction, which each thread comes by for each element of its window: bytes (threads,)
        WORD_BYTES * place_of(k * KERNEL + i, l_ * KERNEL + j, channel) for i, j in np.ndindex(KERNEL, KERNEL)
    ]
    recorded = np.zeros((len(reads), len(threads)), RECORDED)
    recorded["thread"], recorded["offset"], recorded["bytes"] = threads, reads, WORD_BYTES * vector
    [counted] = measure(name, -(-len(threads) // BLOCK), BLOCK, recorded.ravel()).arrays
    requests = len(reads) * -(-len(threads) // WARP)
    first = _sectors(reads[0][:WARP], vector)
    return Reading(name, place, vector, first, requests, counted.asked, counted.sectors, counted.fewest_sectors)


def _sectors(begins: Numbers, vector: int) -> tuple[Sector, ...]:
    """The sectors that one request touches; `begins`: where in the array each lane reads."""
    words = {int(begin) // WORD_BYTES + word: lane for lane, begin in enumerate(begins) for word in range(vector)}
    size = SECTOR_BYTES // WORD_BYTES
    return tuple(
        Sector(sector * SECTOR_BYTES, tuple(words.get(sector * size + word) for word in range(size)))
        for sector in sorted({word // size for word in words})
    )
