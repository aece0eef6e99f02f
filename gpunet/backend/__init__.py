"""The backend: `xp` (CuPy or NumPy), memory format, tiles and threads, random numbers, kernel sources."""

from gpunet.backend.active import (
    BACKENDS,
    Array,
    active_backend,
    asarray,
    backend_of,
    before_switching,
    check_active,
    to_cpu,
    use_backend,
    xp,
)
from gpunet.backend.device import allow_tf32, allows_tf32, set_memory_limit
from gpunet.backend.foreign import from_outside, is_array, is_real, native
from gpunet.backend.layout import address, as_nchw, as_nhwc, elementwise, memory_order, sees_channels_last, to_nhwc
from gpunet.backend.numerics import quiet
from gpunet.backend.probe import CupyProbe, probe_cupy
from gpunet.backend.random import (
    draw_for_whole_batch,
    host_generator,
    manual_seed,
    random_state,
    set_random_state,
    uniform,
    uniform_rows,
)
from gpunet.backend.scratch import scratch
from gpunet.backend.tiles import get_num_threads, run_tiles, set_num_threads, sum_over_tiles, tiles
from gpunet.backend.transfer import HostToBackend

__all__ = [
    "BACKENDS",
    "Array",
    "CupyProbe",
    "HostToBackend",
    "active_backend",
    "address",
    "allow_tf32",
    "allows_tf32",
    "as_nchw",
    "as_nhwc",
    "asarray",
    "backend_of",
    "before_switching",
    "check_active",
    "draw_for_whole_batch",
    "elementwise",
    "from_outside",
    "get_num_threads",
    "host_generator",
    "is_array",
    "is_real",
    "manual_seed",
    "memory_order",
    "native",
    "probe_cupy",
    "quiet",
    "random_state",
    "run_tiles",
    "scratch",
    "sees_channels_last",
    "set_memory_limit",
    "set_num_threads",
    "set_random_state",
    "sum_over_tiles",
    "tiles",
    "to_cpu",
    "to_nhwc",
    "uniform",
    "uniform_rows",
    "use_backend",
    "xp",
]
