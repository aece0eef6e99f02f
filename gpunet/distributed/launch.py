"""Which launcher has started this process, and as which rank: read from the variables that it sets for each."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from gpunet.errors import ProcessError

__all__ = ["Launch", "launched"]


class Launch(NamedTuple):
    """What a launcher says of a process; None where it does not say.

    Attributes:
        by: what kind of launcher it is.
        size: how many processes it has started.
        rank: the number of this one.
        local_rank: its number among those on its machine.
    """

    by: str
    size: int
    rank: int
    local_rank: int | None


# The first whose size is set is the one: within SLURM an mpiexec, or torchrun, may have started the process. A script
# of SLURM has a SLURM_PROCID, too; only what srun has started is a step.
_VARIABLES = {
    "torchrun": ("WORLD_SIZE", "RANK", "LOCAL_RANK"),
    "mpiexec of Open MPI": ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK"),
    "mpiexec of MVAPICH": ("MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_LOCAL_RANK"),
    "mpiexec of MPICH or Intel MPI": ("PMI_SIZE", "PMI_RANK", "MPI_LOCALRANKID"),
    "srun": ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_LOCALID"),
}


def launched(variables: Mapping[str, str] | None = None) -> Launch | None:
    """What has started this process; None where it was started by itself.

    Args:
        variables: of the environment; None for those of this process.

    Raises:
        ProcessError: if the variables of a launcher contradict themselves.

    Example:
        >>> launched({"PMI_SIZE": "4", "PMI_RANK": "2", "MPI_LOCALRANKID": "0"})
        Launch(by='mpiexec of MPICH or Intel MPI', size=4, rank=2, local_rank=0)
        >>> launched({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"})  # a script of SLURM, in which srun may start them
    """
    environment = os.environ if variables is None else variables
    for by, names in _VARIABLES.items():
        size, rank, local_rank = (_number(environment.get(name, "")) for name in names)
        if size is None or rank is None:
            continue
        if not rank < size or (local_rank or 0) >= size:
            said = ", ".join(f"{name}={environment.get(name)}" for name in names)
            raise ProcessError(f"the environment names a rank that there is not: {said}")
        return Launch(by, size, rank, local_rank)
    return None


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None
