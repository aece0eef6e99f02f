"""The CUDA emulator: kernels written here, run on the CPU, compared with NumPy; and every broken rule reported."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpunet import emulator
from gpunet.backend.kernels import kernel_source
from gpunet.emulator import Flavour, Module, find_races, thread_order
from gpunet.emulator.compiler import cache_folder
from gpunet.errors import ArgumentError, BackendError, KernelError

try:
    emulator.compiler_command()
except BackendError as reason:
    pytest.skip(str(reason), allow_module_level=True)

# ---------------------------------------------------------------------- kernels

SUMS = """
// One block adds up one row: warps by shuffles, then their sums through shared memory.
template <typename T> __device__ T warp_sum(T value) {
    for (int offset = 16; offset > 0; offset >>= 1) value += __shfl_down_sync(0xffffffffu, value, offset);
    return value;
}
template <typename T, int BLOCK> __global__ void row_sum(const T* __restrict__ x, T* __restrict__ y, int n) {
    __shared__ T sums[BLOCK / 32];
    T total = 0;
    for (int i = threadIdx.x; i < n; i += BLOCK) total += x[(long long)blockIdx.x * n + i];
    total = warp_sum(total);
    if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = total;
    __syncthreads();
    if (threadIdx.x < 32) {
        total = warp_sum(threadIdx.x < BLOCK / 32 ? sums[threadIdx.x] : (T)0);
        if (threadIdx.x == 0) y[blockIdx.x] = total;
    }
}
// The same by halves, in dynamic shared memory.
extern "C" __global__ void row_sum_by_halves(const float* x, float* y, int n) {
    extern __shared__ float sums[];
    const int t = threadIdx.x;
    float total = 0;
    for (int i = t; i < n; i += blockDim.x) total += x[(long long)blockIdx.x * n + i];
    sums[t] = total;
    __syncthreads();
    for (int width = blockDim.x / 2; width > 0; width /= 2) {
        if (t < width) sums[t] += sums[t + width];
        __syncthreads();
    }
    if (t == 0) y[blockIdx.x] = sums[0];
}
"""

TRANSPOSE = """
constexpr int TILE = 16;
extern "C" __global__ void transpose(const float* x, float* y, int rows, int columns) {
    __shared__ float tile[TILE][TILE + 1];
    const int column = blockIdx.x * TILE + threadIdx.x, row = blockIdx.y * TILE + threadIdx.y;
    if (row < rows && column < columns) tile[threadIdx.y][threadIdx.x] = x[row * columns + column];
    __syncthreads();
    const int to_column = blockIdx.y * TILE + threadIdx.x, to_row = blockIdx.x * TILE + threadIdx.y;
    if (to_row < columns && to_column < rows) y[to_row * rows + to_column] = tile[threadIdx.x][threadIdx.y];
}
"""

WARPS = """
extern "C" __global__ void warps(int* out) {
    const int t = threadIdx.x;
    int* row = out + 8 * t;
    row[0] = __shfl_sync(0xffffffffu, t, 3);
    row[1] = __shfl_up_sync(0xffffffffu, t, 1);
    row[2] = __shfl_down_sync(0xffffffffu, t, 2, 8);
    row[3] = __shfl_xor_sync(0xffffffffu, t, 5);
    row[4] = (int)__ballot_sync(0xffffffffu, t % 3 == 0);
    row[5] = __any_sync(0xffffffffu, t == 40) + 2 * __all_sync(0xffffffffu, t < 32);
    row[6] = __syncthreads_count(t % 5 == 0);
    row[7] = __syncthreads_or(t == 63) + 2 * __syncthreads_and(t < 63);
}
"""

VECTORS = """
extern "C" __global__ void scale(const float* x, float* y, float factor, int packs) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= packs) return;
    float4 pack = reinterpret_cast<const float4*>(x)[i];
    pack = make_float4(factor * pack.x, factor * pack.y, factor * pack.z, factor * pack.w);
    reinterpret_cast<float4*>(y)[i] = pack;
}
"""


def _rows(count: int, length: int, dtype: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, length)).astype(dtype)


@pytest.fixture(params=["forward", "backward", "shuffled"])
def order(request: pytest.FixtureRequest) -> Any:
    with thread_order(request.param, seed=7):
        yield


@pytest.mark.parametrize("flavour", [Flavour.CHECKED, Flavour.PORTABLE])
@pytest.mark.parametrize("dtype", ["float", "double"])
def test_barriers_and_shuffles(order: None, flavour: Flavour, dtype: str) -> None:
    module = Module(SUMS, [f"row_sum<{dtype}, 128>"], flavour=flavour)
    x = _rows(5, 300, {"float": np.float32, "double": np.float64}[dtype])
    y = np.empty(5, x.dtype)
    module.launch(f"row_sum<{dtype}, 128>", (5, 1, 1), (128, 1, 1), [x, y, np.int32(300)])
    np.testing.assert_allclose(y, x.sum(axis=1), rtol=1e-4)


def test_dynamic_shared_memory(order: None) -> None:
    x, y = _rows(3, 100), np.empty(3, np.float32)
    Module(SUMS).launch("row_sum_by_halves", (3, 1, 1), (64, 1, 1), [x, y, np.int32(100)], shared_mem=64 * 4)
    np.testing.assert_allclose(y, x.sum(axis=1), rtol=1e-4)


def test_blocks_of_two_dimensions(order: None) -> None:
    x, y = _rows(37, 50), np.empty((50, 37), np.float32)
    Module(TRANSPOSE).launch("transpose", (4, 3, 1), (16, 16, 1), [x, y, np.int32(37), np.int32(50)])
    np.testing.assert_array_equal(y, x.T)


def test_warp_operations(order: None) -> None:
    found = np.empty((64, 8), np.int32)
    Module(WARPS).launch("warps", (1, 1, 1), (64, 1, 1), [found])
    for t in range(64):
        lane, warp = t % 32, t // 32 * 32
        expected = [
            warp + 3,
            t - 1 if lane else t,
            t + 2 if lane % 8 < 6 else t,
            warp + (lane ^ 5),
            np.uint32(sum(1 << i for i in range(32) if (warp + i) % 3 == 0)).astype(np.int32),
            (warp == 32) + 2 * (warp == 0),
            13,
            1,
        ]
        assert found[t].tolist() == expected, t


def test_vector_loads() -> None:
    x, y = _rows(1, 40)[0], np.empty(40, np.float32)
    Module(VECTORS).launch("scale", (2, 1, 1), (8, 1, 1), [x, y, np.float32(3), np.int32(10)])
    np.testing.assert_array_equal(y, 3 * x)


def test_warps_that_wait_for_themselves_only() -> None:
    """Halves of a warp with masks of their own, and __syncwarp orders shared memory within a warp."""
    source = """
    extern "C" __global__ void halves(int* out) {
        __shared__ int mail[32];
        const int t = threadIdx.x;
        const unsigned mask = t < 16 ? 0x0000ffffu : 0xffff0000u;
        if (t < 16) out[t] = __shfl_xor_sync(mask, t, 1); else out[t] = __shfl_xor_sync(mask, 2 * t, 1);
        mail[t] = t;
        __syncwarp();
        out[t] += 1000 * mail[31 - t];
    }"""
    out = np.empty(32, np.int32)
    Module(source).launch("halves", (1, 1, 1), (32, 1, 1), [out])
    t = np.arange(32)
    np.testing.assert_array_equal(out, np.where(t < 16, t ^ 1, 2 * (t ^ 1)) + 1000 * (31 - t))


def test_atomics() -> None:
    source = """
    extern "C" __global__ void count(const int* x, int* bins, float* total, int n) {
        __shared__ int mine[4];
        const int t = threadIdx.x;
        if (t < 4) mine[t] = 0;
        __syncthreads();
        for (int i = t; i < n; i += blockDim.x) atomicAdd(&mine[x[i]], 1);
        __syncthreads();
        if (t < 4) atomicAdd(bins + t, mine[t]);
        atomicAdd(total, 0.5f);
        atomicMax(bins + 4, t);
    }"""
    x = np.random.default_rng(0).integers(0, 4, 200).astype(np.int32)
    bins, total = np.zeros(5, np.int32), np.zeros(1, np.float32)
    Module(source).launch("count", (1, 1, 1), (64, 1, 1), [x, bins, total, np.int32(200)])
    np.testing.assert_array_equal(bins, [*np.bincount(x), 63])
    assert total[0] == 32


def test_mathematics() -> None:
    source = """
    extern "C" __global__ void compute(const double* x, double* y) {
        const float f = (float)x[0];
        y[0] = rsqrtf(f); y[1] = fmaf(f, f, 1.0f); y[2] = exp(x[0]); y[3] = max(f, __int_as_float(0x7fc00000));
        y[4] = min(3, 7LL); y[5] = __popc(255); y[6] = rsqrt(x[0]);
        y[7] = isnan(__longlong_as_double(0x7ff8000000000000LL));
    }"""
    x, y = np.array([2.25]), np.empty(8)
    Module(source).launch("compute", (1, 1, 1), (1, 1, 1), [x, y])
    np.testing.assert_allclose(y, [1 / 1.5, 2.25**2 + 1, np.exp(2.25), 2.25, 3, 8, 1 / 1.5, 1], rtol=1e-6)


def test_constants_and_variables_of_a_thread() -> None:
    source = """
    __constant__ int primes[] = {2, 3, 5, 7};
    __device__ void swap(int* a, int* b) { const int c = *a; *a = *b; *b = c; }
    extern "C" __global__ void k(int* y, int n) {
        int mine[4];
        for (int i = 0; i < n; ++i) mine[i] = primes[i] * (int)threadIdx.x;
        swap(mine, mine + n - 1);
        for (int i = 0; i < n; ++i) y[threadIdx.x * n + i] = mine[i];
    }"""
    y = np.empty((8, 4), np.int32)
    Module(source).launch("k", (1, 1, 1), (8, 1, 1), [y, np.int32(4)])
    np.testing.assert_array_equal(y, np.arange(8)[:, None] * [7, 3, 5, 2])


def test_half_precision_has_the_bits_of_numpy() -> None:
    source = """
    extern "C" __global__ void to_float(const unsigned short* x, float* y) {
        const int i = blockIdx.x * blockDim.x + threadIdx.x;
        y[i] = gpunet_half_to_float(x[i]);
    }
    extern "C" __global__ void to_half(const float* x, unsigned short* y, int n) {
        const int i = blockIdx.x * blockDim.x + threadIdx.x;
        if (i < n) y[i] = gpunet_float_to_half(x[i]);
    }"""
    module = Module(source)
    bits = np.arange(65536, dtype=np.uint16)
    floats = np.empty(65536, np.float32)
    module.launch("to_float", (256, 1, 1), (256, 1, 1), [bits, floats])
    np.testing.assert_array_equal(floats, bits.view(np.float16).astype(np.float32))

    finite = np.unique(floats[np.isfinite(floats)])
    middles = (finite[1:] + finite[:-1]) / 2  # exact, and equally near to two halves
    up, down = np.nextafter(middles, np.float32(np.inf)), np.nextafter(middles, -np.float32(np.inf))
    edges = np.array([65519.99, 65520, -65520, 1e30, -1e-30], np.float32)
    x = np.concatenate([floats, middles, up, down, edges])
    halves = np.empty(x.size, np.uint16)
    module.launch("to_half", (-(-x.size // 256), 1, 1), (256, 1, 1), [x, halves, np.int32(x.size)])
    with np.errstate(over="ignore", invalid="ignore"):
        expected = x.astype(np.float16)
    np.testing.assert_array_equal(halves.view(np.float16), expected)  # NaN equals NaN here
    np.testing.assert_array_equal(np.signbit(halves.view(np.float16)[~np.isnan(x)]), np.signbit(x[~np.isnan(x)]))


def test_signature() -> None:
    source = """
    struct half_t { unsigned short bits; };
    template <typename T> __global__ void mixed(const T* __restrict__ x, T* const y, const int n, long long m, bool b,
                                                const half_t* h, const float4* v, unsigned char* w) {}"""
    found = Module(source, ["mixed<double>"]).signature("mixed<double>")
    names = "const double*, double*, int, long long, bool, const half*, const struct*, unsigned char*"
    assert ", ".join(map(str, found)) == names


# ---------------------------------------------------------------------- broken rules

# In each kernel the line with the mistake ends in `// HERE`; `n` is 64, the size of the block and of `x` and `y`.
FAULTS = {
    "barrier that some threads skip": (
        "if (t < 40) { __syncthreads(); } // HERE",
        "divergent barrier: 40 threads wait at this __syncthreads, but 24 have finished without it",
    ),
    "barriers in two branches": (
        "if (t == 0) { __syncthreads(); }\n else { __syncthreads(); } // HERE",
        "divergent barrier: thread 1 waits at this __syncthreads, thread 0 at the one in line BEFORE",
    ),
    "loops of different lengths": (
        "for (int i = 0; i <= t / 32; ++i) { __syncthreads(); } // HERE",
        "divergent barrier: 32 threads wait",
    ),
    "shuffle that half a warp skips": (
        "if (t % 32 < 16) { y[t] = __shfl_down_sync(0xffffffffu, t, 16); } // HERE",
        "shuffles in a value from lane 16, but that lane has finished",
    ),
    "shuffle against barrier": (
        "if (t % 2) { y[t] = __shfl_xor_sync(0xffffffffu, t, 1); } // HERE\n __syncthreads();",
        "divergent warp: lane 1 of warp 0 waits at a shuffle for lane 0, which waits at __syncthreads in line",
    ),
    "mask without the caller": ("__syncwarp(0x0000ffffu); // HERE", "lane 16 calls __syncwarp with mask 0x0000ffff"),
    "masks that differ": (
        "y[t] = __shfl_sync(t % 2 ? 0xffffffffu : 0x7fffffffu, t, 0); // HERE",
        "wrong mask: lane 0 of warp 0 calls a shuffle with mask 0x7fffffff, lane 1 with 0xffffffff",
    ),
    "shared array, beyond its end": (
        "__shared__ float s[64]; s[t + 1] = 0; // HERE",
        "index 64|across the end|behind the end",
    ),
    "shared array, through a pointer": (
        "__shared__ float s[64]; float* p = s; p[t + 1] = 0; // HERE",
        "out of bounds: thread 63 writes 4 bytes 0 bytes behind the end of shared memory s, 256 bytes",
    ),
    "shared array, wrong row": ("__shared__ float s[8][9]; s[t / 8][t % 8 + 2] = 0; // HERE", "uses index 9"),
    "dynamic shared memory, beyond its end": (
        "extern __shared__ float s[]; s[t + 1] = 0; // HERE",
        "thread 63 writes 4 bytes 0 bytes behind the end of shared memory s",
    ),
    "shared memory that nobody has written": (
        "__shared__ float s[64]; if (t) s[t] = x[t];\n __syncthreads();\n y[t] = s[t]; // HERE",
        "thread 0 reads element 0 of shared memory s, which nobody has written",
    ),
    "dynamic shared memory that nobody has written": (
        "extern __shared__ float s[]; y[t] = s[t]; // HERE",
        "reads element 0 of shared memory s, which nobody has written",
    ),
    "missing barrier": (
        "__shared__ float s[64]; s[63 - t] = x[t];\n y[t] = s[t]; // HERE",
        "nobody has written|race: thread",
    ),
    "missing barrier before shared memory is used again": (
        "__shared__ float s[64]; s[t] = x[t];\n __syncthreads();\n y[t] = s[63 - t]; // HERE\n s[t] = 0;",
        "race: thread 32 reads element 31 of shared memory s, which thread 31 has written, with no barrier in between",
    ),
    "misaligned vector": (
        "y[t] = reinterpret_cast<const float4*>(x + 1)[0].x; // HERE",
        "misaligned: thread 0 accesses a value of type .*float4.*, which needs a multiple of 16, at .* 4 beyond one",
    ),
    "array, beyond its end": (
        "y[t] = x[t + 1]; // HERE",
        "out of bounds: thread 63 reads 4 bytes 0 bytes behind the end of argument 0, 256 bytes",
    ),
    "array, before its start": (
        "y[t - 1] = 0; // HERE",
        "thread 0 writes 4 bytes 4 bytes before the start of argument 1",
    ),
    "null pointer": (
        "*(float*)nullptr = 1; // HERE",
        "out of bounds: thread 0 writes 4 bytes far from all of its arrays",
    ),
    "integer overflow": ("y[t] = n * 100000000; // HERE", "product that overflows"),
    "division by zero": ("y[t] = n / (int)blockIdx.x; // HERE", "division by zero"),
    "recursion without end": ("y[t] = deeper(t); // HERE", "stack overflow"),
    "too much shared memory": (
        "__shared__ double s[6145]; s[t] = 0; // HERE",
        "a block has 49152 bytes of shared memory; with s it uses 49160",
    ),
}


@pytest.fixture(scope="module", params=[Flavour.CHECKED, Flavour.PORTABLE])
def faulty(request: pytest.FixtureRequest) -> tuple[Module, list[str]]:
    """The kernels broken0, broken1, ... of all faults, compiled together, and the lines of their source."""
    source = """
    __device__ __noinline__ int deeper(int n) { volatile int room[999]; room[0] = n; return deeper(n + 1) + room[0]; }
    """
    for number, (body, _) in enumerate(FAULTS.values()):
        source += f"""
        extern "C" __global__ void broken{number}(const float* x, float* y, int n) {{
            const int t = threadIdx.x;
            {body.replace("HERE", f"HERE {number}")}
        }}"""
    return Module(source, flavour=request.param), source.splitlines()


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_reported_with_kernel_and_line(fault: str, faulty: tuple[Module, list[str]]) -> None:
    module, lines = faulty
    number = [*FAULTS].index(fault)
    line = 1 + next(i for i, text in enumerate(lines) if text.endswith(f"// HERE {number}"))
    message = FAULTS[fault][1].replace("BEFORE", str(line - 1))
    if fault == "recursion without end":
        line = 2
    storage = np.zeros((2, 80), np.float32)
    x, y = storage[0, 8:72], storage[1, 8:72]
    assert x.ctypes.data % 16 == 0
    with pytest.raises(KernelError, match=rf"kernel broken{number}, kernel\.cu:{line}: (.*)({message})"):
        module.launch(f"broken{number}", (1, 1, 1), (64, 1, 1), [x, y, np.int32(64)], 256 if "dynamic" in fault else 0)


def test_the_emulator_works_after_a_fault() -> None:
    module = Module(SUMS)
    x, y = _rows(3, 100), np.empty(3, np.float32)
    with pytest.raises(KernelError, match="behind the end of shared memory sums"):
        module.launch("row_sum_by_halves", (3, 1, 1), (64, 1, 1), [x, y, np.int32(100)], shared_mem=60 * 4)
    module.launch("row_sum_by_halves", (3, 1, 1), (64, 1, 1), [x, y, np.int32(100)], shared_mem=64 * 4)
    np.testing.assert_allclose(y, x.sum(axis=1), rtol=1e-4)


def test_places_follow_line_directives() -> None:
    """A source that is put together from files names them with #line."""
    source = (
        '#line 10 "helper.cuh"\n__device__ float at(const float* x, int i) { return x[i]; }\n'
        '#line 1 "user.cu"\nextern "C" __global__ void k(const float* x, float* y) { y[0] = at(x, 4); }'
    )
    with pytest.raises(KernelError, match=r"kernel k, helper\.cuh:10, called from user\.cu:1: out of bounds"):
        Module(source).launch("k", (1, 1, 1), (1, 1, 1), [np.zeros(4, np.float32), np.zeros(1, np.float32)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros(4, np.float32), np.float32(1)), r"has 3 parameters \(float\*, float, int\), got 2 arguments"),
        ((np.zeros(4), np.float32(1), np.int32(4)), "argument 0 is declared as float*, got an array of float64"),
        ((np.zeros(8, np.float32)[::2], np.float32(1), np.int32(4)), "not contiguous"),
        ((np.zeros(4, np.float32), np.float64(1), np.int32(4)), "argument 1 is declared as float, got float64"),
        ((np.zeros(4, np.float32), np.float32(1), np.int64(4)), "argument 2 is declared as int, got int64"),
        ((np.zeros(4, np.float32), np.float32(1), 4), "got int instead of a NumPy scalar"),
        ((np.float32(1), np.float32(1), np.int32(4)), "got float32 instead of an array"),
    ],
)
def test_arguments_are_checked(arguments: tuple[Any, ...], message: str) -> None:
    module = Module(
        'extern "C" __global__ void k(float* y, float a, int n) { if (threadIdx.x < n) y[threadIdx.x] = a; }'
    )
    module.launch("k", (1, 1, 1), (4, 1, 1), [np.zeros(4, np.float32), np.float32(1), np.int32(4)])
    with pytest.raises(KernelError, match=message.replace("float*,", r"float\*,")):
        module.launch("k", (1, 1, 1), (4, 1, 1), arguments)


@pytest.mark.parametrize(("grid", "block"), [((0, 1, 1), (1, 1, 1)), ((1, 1, 1), (32, 33, 1)), ((1, 1, 1), (0, 1, 1))])
def test_grid_is_checked(grid: Any, block: Any) -> None:
    with pytest.raises(KernelError, match="1 to 1024 threads"):
        Module('extern "C" __global__ void k() {}').launch("k", grid, block, [])


def test_thread_order_is_checked() -> None:
    with pytest.raises(ArgumentError, match="forward, backward, shuffled"), thread_order("sideways"):
        pass


def test_thread_order_shows_in_a_racy_kernel() -> None:
    module = Module('extern "C" __global__ void last(int* y) { y[0] = threadIdx.x; }')
    seen = {}
    for name, seed in (("forward", 0), ("backward", 0), ("shuffled", 1), ("shuffled", 2), ("shuffled", 1)):
        y = np.empty(1, np.int32)
        with thread_order(name, seed):
            module.launch("last", (1, 1, 1), (64, 1, 1), [y])
        assert seen.setdefault((name, seed), int(y[0])) == int(y[0])
    assert seen["forward", 0] == 63
    assert seen["backward", 0] == 0
    assert len(set(seen.values())) == 4


# ---------------------------------------------------------------------- compiling


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "gpunet" / "emulator"


def test_compile_error_names_file_and_line() -> None:
    with pytest.raises(KernelError, match=r"does not compile:\nkernel\.cu:3:\d+: error: .*undeclared"):
        Module('\n\nextern "C" __global__ void k(float* y) { y[0] = undeclared; }')


@pytest.mark.parametrize("word", ["INFINITY", "NAN", "int64_t(1)", "std::max(1, 2)"])
def test_words_that_need_a_header_on_a_gpu_need_it_here(word: str) -> None:
    with pytest.raises(KernelError, match="does not compile"):
        Module(f'extern "C" __global__ void k(float* y) {{ y[0] = {word}; }}')


def test_a_source_without_kernels() -> None:
    with pytest.raises(KernelError, match="no kernel"):
        Module("template <typename T> __global__ void k(T* y) {}")


def test_unknown_kernel() -> None:
    with pytest.raises(KernelError, match="no kernel 'other'; compiled were transpose"):
        Module(TRANSPOSE).launch("other", (1, 1, 1), (1, 1, 1), [])


def test_compiled_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Module(VECTORS).path
    assert first.parent == cache
    monkeypatch.setattr(subprocess, "run", None)  # whoever compiles now, fails
    assert Module(VECTORS).path == first


@pytest.mark.slow
def test_many_compile_the_same_at_once(cache: Path) -> None:
    code = f"from gpunet.emulator import Module; print(Module({VECTORS!r}).path)"

    def run(_: int) -> str:
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(run, range(4)))) == 1
    assert sorted(path.suffix for path in cache.iterdir()) == [".o", ".so"]


def test_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))  # a file, where a folder is needed
    assert cache_folder().is_dir()
    x, y = _rows(1, 40)[0], np.empty(40, np.float32)
    Module(VECTORS).launch("scale", (2, 1, 1), (8, 1, 1), [x, y, np.float32(3), np.int32(10)])
    np.testing.assert_array_equal(y, 3 * x)


def test_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GPUNET_CXX", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BackendError, match=r"apt install g\+\+"):
        Module(VECTORS)


def test_compiler_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUNET_CXX", "no-such-compiler -O2")
    with pytest.raises(BackendError, match="GPUNET_CXX"):
        Module(VECTORS)


def test_comments_and_declarations_of_every_kind() -> None:
    source = """
    // __shared__ float in_a_comment[3];
    /* extern __shared__
       float here[]; */
    /* extern "C" __global__ void not_a_kernel(int* x) */
    extern "C" __global__ void __launch_bounds__(32) k(float* y) {
        __shared__ float a[32], b[2]
            [16];
        static __shared__ unsigned int c;
        extern __shared__ __align__(16) float d[];
        const int t = threadIdx.x;
        a[t] = 1; b[t / 16][t % 16] = 2; d[t] = 3;
        if (t == 0) c = 4;
        __syncthreads();
        y[t] = a[31 - t] + 10 * b[1 - t / 16][15 - t % 16] + 100 * d[31 - t] + 1000 * c;
    }"""
    module = Module(source)
    assert module.names == ["k"]
    y = np.empty(32, np.float32)
    module.launch("k", (1, 1, 1), (32, 1, 1), [y], shared_mem=128)
    np.testing.assert_array_equal(y, 4321)


@pytest.mark.parametrize(
    ("file", "right", "wrong", "place"),
    [
        ("pooling.cu", "store<V>(y + item * V, mean);", "y[count] = mean[0];", "{line}: out of bounds"),
        (
            "pooling.cu",
            "store<V>(y + item * V, mean);",
            "store<V>(y - 1, mean);",
            r"common\.cuh:\d+, called from {line}",
        ),
        ("common.cuh", "item /= packs;", "item /= packs - 1;", "{line}.*division"),
    ],
)
def test_faults_in_the_kernels_of_gpunet_name_the_file_and_its_line(
    file: str, right: str, wrong: str, place: str
) -> None:
    folder = Path(__file__).parents[1] / "raw_kernels"
    text = (folder / file).read_text(encoding="utf-8")
    line = f"{file}:{text[: text.index(right)].count(chr(10)) + 1}"
    module = Module(kernel_source("pooling").replace(right, wrong), ["avg_pool2d_forward<float, 1>"])
    x = np.ones((1, 1, 1, 1), np.float32)
    sizes = [np.int64(1), *[np.int32(1)] * 9, *[np.int32(0)] * 6]
    with pytest.raises(KernelError, match=f"avg_pool2d_forward<float, 1>, {place.format(line=re.escape(line))}"):
        module.launch("avg_pool2d_forward<float, 1>", (1, 1, 1), (32, 1, 1), [x, x.copy(), *sizes])


# ---------------------------------------------------------------------- sanitizers

RACES = """
extern "C" __global__ void into_one(float* y) { y[0] += 1; }
extern "C" __global__ void into_own(float* y) { y[blockIdx.x * blockDim.x + threadIdx.x] += 1; }
extern "C" __global__ void through_shared(const float* x, float* y) {
    __shared__ float s[64];
    const int t = threadIdx.x;
    s[t] = x[t];
#ifndef WITHOUT_BARRIER
    __syncthreads();
#endif
    y[t] = s[63 - t] + __shfl_down_sync(0xffffffffu, x[t], 1);
}
extern "C" __global__ void deadlock(float* y) { if (threadIdx.x) __syncthreads(); }
"""


@pytest.mark.slow
def test_races_between_blocks_and_between_threads() -> None:
    module = Module(RACES)
    y = np.zeros(64, np.float32)
    assert "kernel.cu:2" in find_races(module, "into_one", (2, 1, 1), (1, 1, 1), [y])
    assert "kernel.cu:2" in find_races(module, "into_one", (1, 1, 1), (2, 1, 1), [y])
    assert find_races(module, "into_own", (2, 1, 1), (32, 1, 1), [y]) == ""
    np.testing.assert_array_equal(y[2:], 1)


@pytest.mark.slow
def test_a_barrier_orders_shared_memory() -> None:
    x, y = _rows(1, 64)[0], np.empty(64, np.float32)
    arguments = ((1, 1, 1), (64, 1, 1), [x, y])
    assert find_races(Module(RACES), "through_shared", *arguments) == ""
    np.testing.assert_allclose(y, x[::-1] + np.where(np.arange(64) % 32 < 31, np.roll(x, -1), x), rtol=1e-6)
    without = Module(RACES, options=["-DWITHOUT_BARRIER"])
    assert "through_shared" in find_races(without, "through_shared", *arguments)


@pytest.mark.slow
def test_find_races_reports_faults_and_limits() -> None:
    module, y = Module(RACES), np.zeros(64, np.float32)
    with pytest.raises(KernelError, match=r"kernel deadlock, kernel\.cu:13: divergent barrier: 63 threads"):
        find_races(module, "deadlock", (1, 1, 1), (64, 1, 1), [y])
    with pytest.raises(ArgumentError, match="4096 threads"):
        find_races(module, "into_own", (100, 1, 1), (64, 1, 1), [y])
    with pytest.raises(KernelError, match="float64"):
        find_races(module, "into_own", (1, 1, 1), (64, 1, 1), [np.zeros(64)])


@pytest.mark.slow
def test_under_address_and_undefined_behaviour_sanitizer(tmp_path: Path) -> None:
    """The engine itself, faults and all, and a kernel that the real sanitizer stops."""
    gxx = shutil.which("g++")
    if gxx is None:
        pytest.skip("libasan is looked up with g++, which is not installed")
    library = subprocess.run([gxx, "-print-file-name=libasan.so"], capture_output=True, text=True, check=True).stdout
    environment = {
        **os.environ,
        "LD_PRELOAD": library.strip(),
        "ASAN_OPTIONS": "detect_leaks=0",  # the interpreter's own
        "GPUNET_EMULATOR": "address",
        "GPUNET_CXX": gxx,
    }
    tests = "barriers_and_shuffles or dynamic_shared or two_dimensions or warp_operations or vector or half or atomics"

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, *command], capture_output=True, text=True, env=environment, check=False)

    done = run("-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", tests)
    assert done.returncode == 0, done.stdout + done.stderr
    for kernel in ("y[64] = 0;", "__shared__ float s[64]; float* p = s; p[64] = 0;", "y[0] = n + 2147483647;"):
        source = f'extern "C" __global__ void k(float* y, int n) {{ {kernel} }}'
        code = f"""
import numpy as np
from gpunet.emulator import Module
Module({source!r}).launch("k", (1, 1, 1), (1, 1, 1), [np.zeros(64, np.float32), np.int32(64)])
"""
        done = run("-c", code)
        assert done.returncode != 0, kernel
        assert "kernel.cu:1" in done.stderr, done.stderr
