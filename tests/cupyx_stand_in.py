"""What stands for the communicator of `cupyx.distributed`: its calls and checks, on arrays of the emulated backend.

The numbers take the way over the host, by MPI. On a GPU NCCL carries them; whether it does so as it is asked here, only
hardware can tell.
"""

import numpy as np

import gpunet.emulated as cupy
from gpunet.backend import asarray, to_cpu


class Gpus:
    """The calls that `gpunet.distributed.nccl` makes, with the names and checks of cupyx/distributed/_nccl_comm.py."""

    def __init__(self, host):
        self.host, self.n_devices = host, host.size

    def _check(self, *arrays):
        for array in arrays:
            if not isinstance(array, cupy.ndarray):
                raise TypeError(f"an array of the device was expected, got {type(array)}")
            if not array.flags.c_contiguous and not array.flags.f_contiguous:
                raise RuntimeError("NCCL requires arrays to be either c- or f-contiguous")

    def broadcast(self, in_out_array, root=0, stream=None):
        self._check(in_out_array)
        assert root == 0
        self.host.broadcast(in_out_array)

    def all_gather(self, in_array, out_array, count, stream=None):
        self._check(in_array, out_array)
        assert (in_array.size, out_array.size) == (count, count * self.n_devices)
        self._carry(self.host.all_gather, in_array, out_array)

    def all_to_all(self, in_array, out_array, stream=None):
        self._check(in_array, out_array)
        if len(in_array) != self.n_devices or in_array.shape != out_array.shape:
            raise RuntimeError(f"all_to_all requires in_array to have {self.n_devices} elements")
        self._carry(self.host.all_to_all, in_array, out_array)

    def _carry(self, call, given, received):
        with cupy.cuda.Stream.null:  # at once, as the emulator computes: only copies are put off in other streams
            values = np.empty(received.shape, received.dtype)
            self.host.wait(call(to_cpu(given), values))
            received[...] = asarray(values)
