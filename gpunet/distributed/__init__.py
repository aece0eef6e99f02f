"""Data-parallel training: several processes, the ranks, learn from one batch, of which each has a part.

    mpiexec -n 4 gpunet train ...

All ranks have the same weights. A step of the batch of B images, at rank r of N:

1. The loader makes the whole batch, as it would for one rank alone, and keeps the images r, r + N, r + 2N, ...
2. Forward. Where a layer needs to know of the other images, ranks tell each other: SyncBatchNorm merges counts, means
   and variances. Dropout draws for the whole batch, and takes its rows.
3. Backward, from the last layer to the first. Most gradients are ready long before it ends. They travel in buckets of
   about 4 MB, and a bucket whose gradients are all there sets out at once, while backward goes on:

       my gradients    [ slice 0 | slice 1 | slice 2 | slice 3 ]     slice s goes to rank s
       rank s adds up slice s of all ranks, in their order           the same sum every time, bit for bit
       [ slice 0 | slice 1 | slice 2 | slice 3 ]                     all ranks get all sums, and divide by N

4. Every rank makes the same step with the same gradients, and so has the same weights again, which nobody has to send.

So N ranks with B/N images each learn what one learns with B. Rank 0 alone shows progress and writes files.

    launch.py          which launcher has started this process, and as which rank: mpiexec, srun, torchrun's variables
    mpi.py, nccl.py    what `gpunet.ranks.Communicator` asks for, over MPI and between GPUs over NCCL
    start.py           `init`: joining the others; cores and GPUs are divided
    same.py            ranks that are not the same are refused, by name
    data_parallel.py   `DataParallel`: buckets, and when they set out
    faults.py          one rank fails: what is said, and how the others end
    witness.py         a process that says which rank was killed
    scaling.py         `predict_scaling`: what more GPUs would bring
"""

from gpunet.data import DistributedSampler
from gpunet.distributed.data_parallel import DataParallel
from gpunet.distributed.faults import together
from gpunet.distributed.launch import Launch, launched
from gpunet.distributed.same import check_same, check_same_weights
from gpunet.distributed.scaling import ScalingPrediction, predict_scaling
from gpunet.distributed.start import (
    barrier,
    destroy_process_group,
    get_rank,
    get_world_size,
    init,
    init_process_group,
    is_initialized,
    local_rank,
    rank,
    session,
    shut_down,
    world_size,
)
from gpunet.nn import SyncBatchNorm
from gpunet.ranks import Communicator, communicator

__all__ = [
    "Communicator",
    "DataParallel",
    "DistributedSampler",
    "Launch",
    "ScalingPrediction",
    "SyncBatchNorm",
    "barrier",
    "check_same",
    "check_same_weights",
    "communicator",
    "destroy_process_group",
    "get_rank",
    "get_world_size",
    "init",
    "init_process_group",
    "is_initialized",
    "launched",
    "local_rank",
    "predict_scaling",
    "rank",
    "session",
    "shut_down",
    "together",
    "world_size",
]
