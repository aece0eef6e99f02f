"""What the emulator counts of a launch's traffic with memory, and whether the kernels' comments say what it counts."""

import math
import re

import numpy as np
import pytest

from gpunet.backend import use_backend
from gpunet.backend.kernel_table import KERNELS
from gpunet.backend.kernels import BLOCK, kernel_source
from gpunet.doctor.traffic import traffic
from gpunet.emulator import ByValue, Module, record_traffic, thread_order
from gpunet.emulator import module as emulator_module
from gpunet.emulator.compiler import default_flavour, shows_accesses
from gpunet.emulator.traffic import SECTOR_BYTES, WARP
from gpunet.errors import ArgumentError, BackendError
from gpunet.functional import max_pool2d
from gpunet.tensor import tensor
from tests.test_kernels import compiler_is_missing

MOST = 1.1  # of what is asked for, against the least that would do, without a word about it


def cannot_count():
    missing = compiler_is_missing()
    return missing or ("" if shows_accesses(default_flavour()) else "it takes g++, and no sanitizer")


pytestmark = pytest.mark.skipif(bool(cannot_count()), reason=f"the emulator cannot count: {cannot_count()}")

SOURCE = r"""
extern "C" __global__ void take(const float* x, float* y, int count, int stride, int offset) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) y[i] = x[i * stride + offset];
}
extern "C" __global__ void take_packs(const float4* x, float4* y) { y[threadIdx.x] = x[threadIdx.x]; }
extern "C" __global__ void through_shared(float* y, int pitch) {
    __shared__ float tile[32 * 33];
    tile[threadIdx.x * pitch] = 1;
    __syncthreads();
    y[threadIdx.x] = tile[threadIdx.x * pitch];
}
struct Pair { double first, second; };
struct alignas(16) AlignedPair { double first, second; };
template <typename P> __global__ void pairs(double* y) {
    __shared__ P all[32];
    const P mine = {1, 2};
    all[threadIdx.x] = mine;
    __syncthreads();
    const P other = all[31 - threadIdx.x];
    y[threadIdx.x] = other.first + other.second;
}
extern "C" __global__ void own_number_of_times(const float* x, float* y) {
    float sum = 0;
    for (int i = 0; i <= threadIdx.x; ++i) sum += x[i * 32 + threadIdx.x];
    y[threadIdx.x] = sum;
}
struct Two { const float* at[2]; };
extern "C" __global__ void add_from_table(float* y, Two two) {
    y[threadIdx.x] = two.at[0][threadIdx.x] + two.at[1][threadIdx.x];
}
extern "C" __global__ void count_up(int* sums) { atomicAdd(&sums[threadIdx.x / 2], 1); }
"""


@pytest.fixture(scope="module")
def kernels():
    return Module(SOURCE, ["pairs<Pair>", "pairs<AlignedPair>"])


def count(kernels, name, arguments, threads=32, blocks=1):
    with record_traffic() as launches:
        kernels.launch(name, (blocks, 1, 1), (threads, 1, 1), arguments)
    [counted] = launches
    assert counted.kernel == name
    assert counted.threads == threads * blocks
    return counted


def floats(count):
    return np.zeros(count, np.float32)


@pytest.mark.parametrize(
    ("stride", "offset", "sectors"),
    [
        (1, 0, 4),  # 128 bytes side by side
        (1, 1, 5),  # the same across the border of a sector
        (2, 0, 8),
        (8, 0, 32),  # a sector for each lane
        (32, 0, 32),
        (0, 0, 1),  # all lanes read the same
    ],
)
def test_sectors(kernels, stride, offset, sectors):
    x = floats(1024)
    counted = count(kernels, "take", [x, floats(32), np.int32(32), np.int32(stride), np.int32(offset)])
    read, written = counted.arrays
    asked = 4 if stride == 0 else 128
    assert (read.asked, read.minimum, read.sectors, read.fewest_sectors) == (asked, asked, sectors, -(-asked // 32))
    assert (written.asked, written.minimum, written.sectors, written.fewest_sectors) == (128, 128, 4, 4)
    assert counted.sectors == sectors + 4
    assert counted.idle == counted.shared_cycles == 0


def test_what_two_warps_ask_for_counts_twice(kernels):
    counted = count(kernels, "take", [floats(1), floats(64), np.int32(64), np.int32(0), np.int32(0)], threads=64)
    assert (counted.arrays[0].asked, counted.arrays[0].minimum) == (8, 4)
    assert (counted.asked, counted.minimum) == (8 + 256, 4 + 256)


def test_threads_beyond_the_end_are_idle(kernels):
    arguments = [floats(100), floats(100), np.int32(100), np.int32(1), np.int32(0)]
    assert count(kernels, "take", arguments, threads=48, blocks=3).idle == 3 * 48 - 100


def test_packs_are_one_request(kernels):
    counted = count(kernels, "take_packs", [floats(128), floats(128)])
    assert [(each.asked, each.sectors, each.fewest_sectors) for each in counted.arrays] == [(512, 16, 16)] * 2


@pytest.mark.parametrize(("pitch", "cycles"), [(1, 1), (2, 2), (4, 4), (32, 32), (33, 1)])
def test_bank_conflicts(kernels, pitch, cycles):
    counted = count(kernels, "through_shared", [floats(32), np.int32(pitch)])
    assert (counted.shared_cycles, counted.fewest_shared_cycles) == (2 * cycles, 2)  # written, and read


@pytest.mark.parametrize(("struct", "cycles"), [("Pair", 16), ("AlignedPair", 8)])
def test_what_is_aligned_moves_as_one(kernels, struct, cycles):
    """512 bytes are 4 cycles. Two doubles one after the other lie 16 bytes apart, so every second bank waits."""
    counted = count(kernels, f"pairs<{struct}>", [np.zeros(32)])
    assert (counted.shared_cycles, counted.fewest_shared_cycles) == (cycles, 8)


@pytest.mark.parametrize("order", ["forward", "backward", "shuffled"])
def test_lanes_that_go_on_alone(kernels, order):
    """Lane t comes by t + 1 times; the n-th time is one request of those that still do."""
    with thread_order(order, seed=3):
        counted = count(kernels, "own_number_of_times", [floats(1024), floats(32)])
    runs = [range(4 * first, 4 * 32) for first in range(32)]  # bytes that the lanes from `first` on ask for, in a row
    assert counted.arrays[0].asked == counted.arrays[0].minimum == sum(map(len, runs))
    assert counted.arrays[0].sectors == sum(len({byte // 32 for byte in run}) for run in runs)


def test_atomics_count(kernels):
    [sums] = count(kernels, "count_up", [np.zeros(16, np.int32)]).arrays
    assert (sums.asked, sums.minimum, sums.sectors) == (64, 64, 2)


def test_arrays_of_a_table_count_under_its_name(kernels):
    one, other = floats(32), floats(32)
    table = ByValue(
        np.array([each.ctypes.data for each in (one, other)], np.uint64).tobytes(),
        [(each.ctypes.data, each.nbytes) for each in (other, one)],
    )
    arrays = count(kernels, "add_from_table", [floats(32), table]).arrays
    assert [(each.argument, each.asked, each.sectors) for each in arrays] == [(0, 128, 4), (1, 128, 4), (1, 128, 4)]


def test_nothing_is_counted_outside(kernels):
    with record_traffic() as launches:
        pass
    kernels.launch("count_up", (1, 1, 1), (32, 1, 1), [np.zeros(16, np.int32)])
    assert launches == []


def test_without_single_accesses_there_is_no_count(monkeypatch):
    module = Module(SOURCE, ["pairs<Pair>"])
    monkeypatch.setattr(emulator_module, "shows_accesses", lambda flavour: False)
    with record_traffic(), pytest.raises(BackendError, match=r"takes g\+\+ \(GPUNET_CXX\)"):
        module.launch("count_up", (1, 1, 1), (32, 1, 1), [np.zeros(16, np.int32)])


@pytest.mark.parametrize("channels", [3, 64])
def test_pooling_is_counted_as_a_loop_counts_it(channels, rng):
    """Windows of 2x2: the addresses of each warp's four requests of x, one lane after the other."""
    n, height, width, vector = 2, 6, 10, 4 if channels == 64 else 1
    x = tensor(rng.standard_normal((n, channels, height, width)).astype(np.float32))
    with use_backend("emulated"), record_traffic() as launches:
        max_pool2d(tensor(x.numpy()), 2)
    packs = channels // vector
    threads = n * (height // 2) * (width // 2) * packs
    sectors, fewest = 0, 0
    for warp in range(math.ceil(threads / WARP)):
        for row, column in np.ndindex(2, 2):
            touched = set()
            for thread in range(warp * WARP, min((warp + 1) * WARP, threads)):
                pixel, pack = divmod(thread, packs)
                image, k, l_ = pixel // (height // 2 * (width // 2)), pixel // (width // 2) % (height // 2), pixel % 5
                value = ((image * height + 2 * k + row) * width + 2 * l_ + column) * channels + pack * vector
                touched |= set(range(4 * value, 4 * (value + vector)))
            sectors += len({byte // SECTOR_BYTES for byte in touched})
            fewest += math.ceil(len(touched) / SECTOR_BYTES)
    [counted] = launches
    assert counted.idle == -threads % BLOCK
    assert (counted.arrays[0].sectors, counted.arrays[0].fewest_sectors) == (sectors, fewest)
    assert counted.arrays[0].asked == counted.arrays[0].minimum == 4 * n * height * width * channels


# ---------------------------------------------------------------------------------------------- the shipped kernels


def comment_above(kernel):
    """The comment that stands above a kernel in its source."""
    lines = kernel_source(kernel.source).splitlines()
    place = next(i for i, line in enumerate(lines) if re.match(rf"(__global__ .*)?{kernel.name}\(", line))
    while not lines[place].startswith("//"):
        place -= 1
    last = place
    while lines[place].startswith("//"):
        place -= 1
    return "\n".join(lines[place + 1 : last + 1])


@pytest.fixture(scope="module")
def counts():
    """For each kernel all counts of its launches: in the middle of a network, in a first layer, near the end."""
    counted = {kernel.name: [] for kernel in KERNELS}
    for shape in ((4, 64, 14, 14), (2, 3, 32, 32), (4, 256, 7, 7)):
        for case in traffic(shape):
            for launch in case.launches:
                counted[launch.kernel.partition("<")[0]].append(launch)
    return counted


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
def test_a_kernel_says_why_it_asks_for_more_than_the_least(kernel, counts):
    comment = comment_above(kernel)
    assert counts[kernel.name]
    asks_for_more = any(each.asked > MOST * each.minimum for each in counts[kernel.name])
    touches_more = any(each.sectors > MOST * each.fewest_sectors for each in counts[kernel.name])
    assert "// Bytes: " in comment
    assert bool(re.search(r"^// Asked(:|, and Sectors:) ", comment, re.MULTILINE)) == asks_for_more
    assert bool(re.search(r"^// (Asked, and )?Sectors: ", comment, re.MULTILINE)) == touches_more
    assert all(each.shared_cycles <= MOST * each.fewest_shared_cycles for each in counts[kernel.name])


def test_a_shape_is_not_too_small_nor_too_large():
    for shape in ((0, 1, 4, 4), (1, 1, 1, 4), (1 << 10, 1 << 10, 1 << 10, 1 << 40)):
        with pytest.raises(ArgumentError, match="at least 2x2 pixels"):
            traffic(shape)
