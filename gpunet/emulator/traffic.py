"""What a launch asks of memory, against the least that would do: counted from every access of every thread.

The 32 threads of a warp run in step. What they ask for with one instruction is one request, and costs by where its
addresses lie. Arrays come in sectors of 32 bytes: lanes that read side by side share them ("coalesced"), and where each
lane reads 4 bytes of a sector of its own, 28 are moved for nothing. Shared memory has 32 banks, each of which gives one
word of 4 bytes a cycle: lanes that need different words of one bank wait for each other.

Not seen here: caches, so what a second request asks for again counts again; what a GPU's compiler keeps in registers or
joins to wider loads; and how it brings lanes back together that have gone through a loop a different number of times:
here the n-th time of one lane is taken for the n-th time of the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

__all__ = ["RECORDED", "SECTOR_BYTES", "WARP", "ArrayTraffic", "Traffic", "measure"]

WARP = 32
SECTOR_BYTES = 32
BANKS, WORD_BYTES = 32, 4
ARRAY_BEGINS_AT = 512  # a multiple of this, as CuPy's memory pool hands it out

RECORDED = np.dtype(  # as in engine.h
    [
        ("instruction", np.uint64),
        ("thread", np.uint64),
        ("offset", np.uint64),
        ("bytes", np.uint32),
        ("array", np.int16),
        ("write", np.bool_),
    ],
    align=True,
)

Numbers = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class ArrayTraffic:
    """What a launch asks of one array.

    Attributes:
        argument: the place among the kernel's arguments of the array, or of the table that leads to it.
        asked: the bytes of all requests; what several lanes of one need at once counts once.
        minimum: the bytes that are read at all, and those that are written at all.
        sectors: those that each request touches, together.
        fewest_sectors: as many would do if the bytes of each request lay side by side.
    """

    argument: int
    asked: int
    minimum: int
    sectors: int
    fewest_sectors: int


@dataclass(frozen=True)
class Traffic:
    """What a launch asks of memory.

    Attributes:
        kernel: its name, with template arguments.
        threads: that were launched.
        idle: those of them that touch no array, mostly beyond the end of the work.
        arrays: each that is touched, in the order of the arguments.
        shared_cycles: that shared memory takes for all requests.
        fewest_shared_cycles: without conflicts between lanes that need different words of a bank.
    """

    kernel: str
    threads: int
    idle: int
    arrays: tuple[ArrayTraffic, ...]
    shared_cycles: int
    fewest_shared_cycles: int

    @property
    def asked(self) -> int:
        """Bytes, of all arrays."""
        return sum(each.asked for each in self.arrays)

    @property
    def minimum(self) -> int:
        """Bytes: each that is read once, and each that is written once."""
        return sum(each.minimum for each in self.arrays)

    @property
    def sectors(self) -> int:
        """Of all requests to arrays."""
        return sum(each.sectors for each in self.arrays)

    @property
    def fewest_sectors(self) -> int:
        """If the bytes of each request lay side by side."""
        return sum(each.fewest_sectors for each in self.arrays)


def measure(
    kernel: str,
    blocks: int,
    block: int,
    recorded: np.ndarray[Any, Any],
    tables: Mapping[int, int] = MappingProxyType({}),
) -> Traffic:
    """Count what a launch of `blocks` blocks of `block` threads has done.

    Args:
        recorded: its accesses, RECORDED; arrays have the numbers of the arguments.
        tables: for each array that a table of arrays leads to, the number of that argument.
    """
    columns = {name: recorded[name].astype(np.int64) for name in recorded.dtype.names or ()}
    columns["lane"] = columns["thread"] % block % WARP
    columns["request"] = _requests(columns, block)
    is_shared = columns["array"] < 0
    shared, arrays = ({name: each[chosen] for name, each in columns.items()} for chosen in (is_shared, ~is_shared))
    cycles, fewest = _shared_cycles(shared)
    return Traffic(
        kernel,
        blocks * block,
        blocks * block - len(np.unique(arrays["thread"])),
        tuple(_of_array(number, tables.get(number, number), arrays) for number in np.unique(arrays["array"]).tolist()),
        cycles,
        fewest,
    )


def _requests(columns: dict[str, Numbers], block: int) -> Numbers:
    """For each access the number of its request: the warp's n-th time at an instruction."""
    block_number, within = np.divmod(columns["thread"], block)
    warp = block_number * -(-block // WARP) + within // WARP
    _, site = np.unique(columns["instruction"], return_inverse=True)
    visits = _combined(columns["thread"], site)
    order = np.argsort(visits, kind="stable")  # by thread and site, in the order of time
    _, starts, counts = np.unique(visits[order], return_index=True, return_counts=True)
    time = np.empty_like(order)
    time[order] = np.arange(len(order)) - np.repeat(starts, counts)
    return np.unique(_combined(warp, site, time), return_inverse=True)[1]


def _combined(*keys: Numbers) -> Numbers:
    """A number for each combination of keys: equal where all of them are."""
    combined = np.zeros_like(keys[0])
    for key in keys:
        combined = combined * (key.max(initial=0) + 1) + key
    return combined


def _of_array(number: int, argument: int, arrays: dict[str, Numbers]) -> ArrayTraffic:
    mine = {name: each[arrays["array"] == number] for name, each in arrays.items()}
    _, first = np.unique(_combined(mine["request"], mine["offset"]), return_index=True)  # lanes with the same address
    request, asked = mine["request"][first], mine["bytes"][first]
    _, dense = np.unique(request, return_inverse=True)
    bytes_of_request = np.bincount(dense, asked).astype(np.int64)
    sectors = np.unique(_combined(request, mine["offset"][first] // SECTOR_BYTES))  # no access crosses a sector's end
    return ArrayTraffic(
        argument,
        int(asked.sum()),
        sum(_touched_bytes(mine, mine["write"] == write) for write in (0, 1)),
        len(sectors),
        int((-(-bytes_of_request // SECTOR_BYTES)).sum()),
    )


def _touched_bytes(mine: dict[str, Numbers], chosen: np.ndarray[Any, np.dtype[np.bool_]]) -> int:
    """How many bytes of the array the chosen accesses touch at all."""
    offset, size = mine["offset"][chosen], mine["bytes"][chosen]
    touched = np.zeros(int((offset + size).max(initial=0)), np.bool_)
    for byte in range(int(size.max(initial=0))):
        touched[(offset + byte)[size > byte]] = True
    return int(touched.sum())


def _shared_cycles(shared: dict[str, Numbers]) -> tuple[int, int]:
    """What the requests take, and what they would take without conflicts.

    A cycle serves 128 bytes: 32 lanes of 4 bytes, or 16 of 8, or 8 of 16.
    """
    size = np.maximum(shared["bytes"], WORD_BYTES)
    cycle = _combined(shared["request"], shared["lane"] * size // (BANKS * WORD_BYTES))
    needs = [size > WORD_BYTES * word for word in range(4)]  # whether an access reaches its first, second, ... word
    cycle_of_word = np.concatenate([cycle[each] for each in needs])
    word = np.concatenate([shared["offset"][each] // WORD_BYTES + place for place, each in enumerate(needs)])
    _, first = np.unique(_combined(cycle_of_word, word), return_index=True)  # lanes with the same word share it
    banks, words = np.unique(cycle_of_word[first] * BANKS + word[first] % BANKS, return_counts=True)
    _, starts = np.unique(banks // BANKS, return_index=True)  # where the banks of a cycle begin
    return int(np.maximum.reduceat(words, starts).sum()), len(starts)
