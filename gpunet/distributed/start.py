"""Joining the other ranks: MPI is asked only where a launcher has started several processes, or somebody wants it."""

from __future__ import annotations

import atexit
import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

from gpunet.backend import active_backend, set_num_threads
from gpunet.distributed.faults import ends_all, install_hook
from gpunet.distributed.launch import Launch, launched
from gpunet.distributed.mpi import MpiCommunicator
from gpunet.distributed.nccl import join_gpus
from gpunet.distributed.same import check_same
from gpunet.distributed.witness import call_witness, dismiss_witness, watched_by
from gpunet.errors import ArgumentError, GpunetError, ProcessError
from gpunet.ranks import LEAVING, Communicator, communicator, use_communicator
from gpunet.version import __version__

__all__ = [
    "barrier",
    "destroy_process_group",
    "get_rank",
    "get_world_size",
    "init",
    "init_process_group",
    "is_initialized",
    "local_rank",
    "rank",
    "session",
    "shut_down",
    "world_size",
]

TIMEOUT = 1800.0  # seconds, as PyTorch's
OPEN_MPI = "Open MPI"


def init(backend: str | None = None, timeout: float = TIMEOUT) -> Communicator:
    """Join the processes that a launcher has started together with this one; where none has, it stays alone.

    Threads are divided among the ranks of a machine, unless GPUNET_NUM_THREADS says how many; on the cupy backend each
    rank gets a GPU. From here on an exception that nobody catches ends all ranks. A second call changes nothing.

    Args:
        backend: None asks MPI only if the environment says that there are several processes, "mpi" in any case.
        timeout: seconds after which waiting for the others is an error.

    Raises:
        ArgumentError: for another backend.
        ProcessError: if there is no MPI, or one that knows nothing of the others; if ranks have different versions or
            backends; or a rank has no GPU of its own.
    """
    if backend not in (None, "mpi"):
        raise ArgumentError(f"init: backend must be None or 'mpi', got {backend!r}; GPUs use NCCL by themselves")
    launch = launched()
    if is_initialized() or (backend is None and (launch is None or launch.size == 1)):
        return communicator()
    ranks = _joined(launch)
    ranks.timeout = timeout
    if ranks.size == 1:
        return communicator()
    use_communicator(ranks)
    install_hook()
    atexit.register(shut_down)
    _call_witness(ranks)
    check_same({"gpunet": __version__, "backend": active_backend()})
    _divide_cores(ranks)
    if active_backend() == "cupy":
        use_communicator(join_gpus(ranks, launch.local_rank if launch else None))
    return communicator()


def _joined(launch: Launch | None) -> Communicator:
    """All processes that MPI knows.

    Raises:
        ProcessError: if there is no MPI, or it knows others than the launcher.
    """
    try:
        package: Any = importlib.import_module("mpi4py")
        package.rc.initialize, package.rc.finalize = False, True  # first it is asked whether it fits the launcher
        mpi: Any = importlib.import_module("mpi4py.MPI")
    except (ImportError, RuntimeError) as error:  # RuntimeError: there is mpi4py, but no library of MPI
        started = f"{launch.by} has started {launch.size} processes" if launch else "MPI was asked for"
        raise ProcessError(
            f"{started}, but they cannot talk: {str(error).splitlines()[0]}; pip install 'gpunet[mpi]'"
        ) from error
    library = " ".join(mpi.Get_library_version().splitlines()[0].partition(",")[0].split())
    fits = launch is None or "mpiexec" not in launch.by or (OPEN_MPI in launch.by) == (OPEN_MPI in library)
    if fits and not mpi.Is_initialized():
        with _uninterrupted():
            mpi.Init_thread()
    size = mpi.COMM_WORLD.Get_size() if fits else 1
    if launch is not None and size != launch.size:
        raise ProcessError(
            f"{launch.by} has started {launch.size} processes, but MPI knows {size} of them: it is {library}, and "
            f"needs its own mpiexec, mostly {os.path.join(sys.exec_prefix, 'bin', 'mpiexec')}"
        )
    return MpiCommunicator(mpi, mpi.COMM_WORLD)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let Ctrl-C wait until MPI has begun: in between, its library does not survive it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _call_witness(ranks: Communicator) -> None:
    """One for each machine, which all of its ranks know."""
    everyone = list(enumerate(zip(ranks.hosts, ranks.gather(os.getpid()), strict=True)))
    host = ranks.hosts[ranks.rank]
    pids = {rank: pid for rank, (where, pid) in everyone if where == host}
    calls = ranks.local_rank == 0
    with call_witness(pids, ranks.size, host) if calls else contextlib.nullcontext() as folder:
        watched_by(ranks.gather(folder)[min(pids)], ranks.rank)
        ranks.barrier()


def _divide_cores(ranks: Communicator) -> None:
    """Give each rank its share of the cores that it may use; a launcher may have bound it to some."""
    mine = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    everyone = zip(ranks.hosts, ranks.gather(mine), strict=True)
    here = [cores for host, cores in everyone if host == ranks.hosts[ranks.rank]]
    share = sum(1 / sum(core in cores for cores in here) for core in mine)
    if not os.environ.get("GPUNET_NUM_THREADS"):
        set_num_threads(max(1, int(share + 1e-9)))


def shut_down() -> None:
    """Leave the others, when all have come here."""
    ranks = communicator()
    use_communicator(None)
    if ranks.size > 1:
        with contextlib.suppress(ProcessError):  # told by those that still have something to do
            ranks.gather(LEAVING)
            dismiss_witness()
            ranks.gather(LEAVING)


@contextlib.contextmanager
def session() -> Iterator[Communicator]:
    """`init`, and while the block lasts an error of one rank ends all, and says which; in the end they leave together.

    Raises:
        SystemExit: in the place of an error of gpunet, which has been told.
    """
    try:
        yield init()
    except (GpunetError, KeyboardInterrupt) as error:
        if communicator().size == 1:
            raise
        sys.exit(ends_all(error))
    shut_down()


def is_initialized() -> bool:
    """Whether other ranks have been joined."""
    return communicator().size > 1


def rank() -> int:
    """The number of this process, from 0; 0 where it is alone."""
    return communicator().rank


def world_size() -> int:
    """How many processes compute together; 1 where this one is alone."""
    return communicator().size


def local_rank() -> int:
    """The number of this process among those on its machine."""
    return communicator().local_rank


def barrier() -> None:
    """Wait until all ranks have come here."""
    communicator().barrier()


init_process_group, destroy_process_group, get_rank, get_world_size = (
    init,
    shut_down,
    rank,
    world_size,
)  # PyTorch's names
