"""Theoretical occupancy: how many of the threads that a multiprocessor can hold, a kernel lets it hold.

A multiprocessor hides the time that memory takes by working on other warps meanwhile, so it needs many. How many blocks
fit on it at once is decided by what runs out first: warps, blocks, registers or shared memory.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["LIMITS", "Limits", "occupancy"]

_WARP = 32
_REGISTERS = 65536  # of a multiprocessor, in four parts; a warp has its registers in one of them
_PARTS = 4
_REGISTER_UNIT = 256  # registers are handed to a warp in multiples of this


class Limits(NamedTuple):
    """What a multiprocessor of one architecture holds at most."""

    warps: int
    blocks: int
    shared_bytes: int
    shared_unit: int
    """Shared memory is handed to a block in multiples of this."""
    reserved_bytes: int
    """The part of the shared memory of each block that CUDA keeps for itself."""


LIMITS = {
    "sm_75": Limits(32, 16, 64 << 10, 256, 0),
    "sm_80": Limits(64, 32, 164 << 10, 128, 1024),
    "sm_86": Limits(48, 16, 100 << 10, 128, 1024),
    "sm_89": Limits(48, 24, 100 << 10, 128, 1024),
    "sm_90": Limits(64, 32, 228 << 10, 128, 1024),
    "sm_100": Limits(64, 32, 228 << 10, 128, 1024),
    "sm_120": Limits(48, 24, 100 << 10, 128, 1024),
}
"""From the CUDA programming guide ("Compute Capabilities") and cuda_occupancy.h of CUDA 13, whose rules these are."""


def occupancy(arch: str, threads: int, registers: int, shared_bytes: int) -> float | None:
    """The part of a multiprocessor's warps that are in use where only this kernel runs, 0 to 1.

    Args:
        arch: the architecture, such as "sm_90"; the answer is None where its limits are not in the table.
        threads: of a block.
        registers: of a thread.
        shared_bytes: of a block.
    """
    limits = LIMITS.get(arch)
    if limits is None:
        return None
    warps = -(-threads // _WARP)  # of a block
    registers_of_warp = _round_up(registers * _WARP, _REGISTER_UNIT)
    warps_with_registers = _REGISTERS // _PARTS // registers_of_warp * _PARTS if registers else limits.warps
    shared_of_block = _round_up(shared_bytes + limits.reserved_bytes, limits.shared_unit)
    blocks = min(limits.blocks, limits.warps // warps, warps_with_registers // warps)
    if shared_of_block:
        blocks = min(blocks, limits.shared_bytes // shared_of_block)
    return blocks * warps / limits.warps


def _round_up(number: int, unit: int) -> int:
    return -(-number // unit) * unit
