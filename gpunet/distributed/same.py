"""Ranks that are not the same are refused: what they would learn together makes no sense, or differs in silence."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from gpunet.backend import to_cpu
from gpunet.errors import ProcessError
from gpunet.nn import Module
from gpunet.ranks import communicator

__all__ = ["check_same", "check_same_weights", "digests"]

_LISTED = 5


def check_same(values: Mapping[str, Any], what: str = "") -> None:
    """Make sure that all ranks have the same values by the same names; JSON must be able to hold them.

    Args:
        what: they are of, for the message.

    Raises:
        ProcessError: on every rank, if they have not; it says which rank has what.
    """
    everyone = communicator().gather(dict(values))
    problems = []
    for rank, theirs in enumerate(everyone):
        for name in {**everyone[0], **theirs}:
            there, here = theirs.get(name, "nothing"), everyone[0].get(name, "nothing")
            if there != here:
                problems.append(f"{name}: rank {rank} has {there!r:.100}, rank 0 has {here!r:.100}")
    if problems:
        more = [f"and {len(problems) - _LISTED} more"] if len(problems) > _LISTED else []
        listed = "\n  ".join([*problems[:_LISTED], *more])
        raise ProcessError(f"all ranks must have the same{f' {what}' if what else ''}:\n  {listed}").everywhere()


def digests(model: Module) -> dict[str, str]:
    """A digest of each parameter and buffer, by name: the same for the same bits."""
    return {
        name: hashlib.sha256(to_cpu(tensor.array).tobytes()).hexdigest()[:16]
        for name, tensor in model.state_dict().items()
    }


def check_same_weights(model: Module) -> None:
    """Make sure that all ranks have the same weights and buffers, bit for bit. For looking for mistakes: it takes time.

    Raises:
        ProcessError: on every rank, if they have not; it names what differs, and where.
    """
    check_same(digests(model), "weights")
