"""Do the tests bite? Typical bugs are seeded into the kernels, one at a time, and each must be caught.

A mutant is a replacement of text that occurs exactly once in its file, so the table fails when a kernel is rewritten
and its bug has to be written anew. It is caught by one of these, tried in this order:

    emulator   the kernel breaks a rule while it runs: out of bounds, shared memory that nobody wrote, a race in it, a
               barrier that not all threads meet, integer overflow, misaligned access, arguments that do not fit
    reference  its results differ from the `xp` version's, in one of three orders of threads
    threads    ThreadSanitizer finds a race, with every CUDA thread a thread of the operating system
    compiler   NVRTC refuses it, or it does not fit into registers, or its parameters are not those of the table
"""

import shutil
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from gpunet.backend import kernels
from gpunet.backend.kernel_table import KERNELS
from gpunet.doctor.nvrtc import compile_instances, find_nvrtc
from gpunet.emulator import Module, find_races, thread_order
from gpunet.errors import BackendError, KernelError
from gpunet.ops import cuda_batchnorm
from tests import test_kernels as suite
from tests import test_optimizer_kernels as optimizer_suite

pytestmark = [pytest.mark.slow, *([suite.pytestmark] if suite.compiler_is_missing() else [])]

FOLDER = Path(suite.__file__).parents[1] / "raw_kernels"


class Mutant(NamedTuple):
    """A bug: what it is, the file, its right and its wrong text, and who catches it."""

    bug: str
    file: str
    right: str
    wrong: str
    caught_by: str


MUTANTS = [
    # --------------------------------------------------------------------------------------------------- common.cuh
    Mutant(
        "offset overflows 32 bits", "common.cuh", "return ((image * height", "return (((int)image * height", "emulator"
    ),
    Mutant("wrong stride of rows", "common.cuh", "* height + row) * width", "* height + row) * height", "emulator"),
    Mutant("item number of packs, not values", "common.cuh", "(item % packs) * V", "(item % packs)", "emulator"),
    Mutant("all blocks do the first one's work", "common.cuh", "(i64)blockIdx.x * BLOCK + ", "", "reference"),
    Mutant("odd alignment promised", "common.cuh", "sizeof(T) * V < 16 ? sizeof(T) * V : 16", "64", "emulator"),
    Mutant("wrong infinity", "common.cuh", "0xff800000", "0x7f800000", "reference"),
    Mutant("long sums lose digits", "common.cuh", "if (++terms < 16) return;", "return;", "reference"),
    Mutant(
        "windows beyond the output", "common.cuh", "min(positions - 1, reach / stride)", "reach / stride", "emulator"
    ),
    Mutant("window that ends before", "common.cuh", "divide_up(behind, stride)", "behind / stride", "reference"),
    Mutant("64 bits divided in 32", "common.cuh", "return count <= 0xffffffffLL;", "return true;", "reference"),
    Mutant("rounding mode forgotten in PTX", "common.cuh", "cvt.rn.f16.f32", "cvt.f16.f32", "compiler"),
    # --------------------------------------------------------------------------------------------------- pooling.cu
    Mutant(
        "no guard",
        "pooling.cu",
        "if (item >= count) return;\n    const Place out = place_of<V>(item, out_height, out_width, channels);\n"
        "    const Inside rows = inside(out.row, sh, top, kh, dh, height);",
        "const Place out = place_of<V>(item, out_height, out_width, channels);\n"
        "    const Inside rows = inside(out.row, sh, top, kh, dh, height);",
        "emulator",
    ),
    Mutant(
        "guard off by one",
        "pooling.cu",
        "if (item >= count) return;\n    const Place in = place_of<V>(item, height, width, channels);\n"
        "    const Covering rows = covering(in.row, sh, top, kh, dh, out_height);",
        "if (item > count) return;\n    const Place in = place_of<V>(item, height, width, channels);\n"
        "    const Covering rows = covering(in.row, sh, top, kh, dh, out_height);",
        "emulator",
    ),
    Mutant(
        "window one too long",
        "pooling.cu",
        "divide_up(size - axis.start, dil",
        "divide_up(size + 1 - axis.start, dil",
        "emulator",
    ),
    Mutant(
        "window begins in the padding",
        "pooling.cu",
        "divide_up(-axis.start, dilation)",
        "-axis.start / dilation",
        "emulator",
    ),
    Mutant("NaN lost", "pooling.cu", "value[v] > best[v] || value[v] != value[v]", "value[v] > best[v]", "reference"),
    Mutant("last of equals wins", "pooling.cu", "if (value[v] > best[v] ||", "if (value[v] >= best[v] ||", "reference"),
    Mutant("best begins with zero", "pooling.cu", "best[v] = negative_infinity<A>()", "best[v] = 0", "reference"),
    Mutant("wrong stride of the winner", "pooling.cu", "place[v] = i * kw + j", "place[v] = i * kh + j", "reference"),
    Mutant("padding forgotten", "pooling.cu", "in.column + left - l * sw", "in.column - l * sw", "reference"),
    Mutant("dilation forgotten", "pooling.cu", "if (down % dh != 0) continue;", "", "reference"),
    Mutant("wrong divisor", "pooling.cu", "count_include_pad ? size + after : size", "size", "reference"),
    Mutant("all elements won", "pooling.cu", "won[v] == place ? value[v] : (A)0", "value[v]", "reference"),
    Mutant(
        "argument of another type",
        "pooling.cu",
        "int dh, int dw, int remember",
        "int dh, int dw, bool remember",
        "emulator",
    ),
    Mutant(
        "host code in a kernel", "pooling.cu", "// Max and average pooling over", "#include <stdint.h>\n//", "compiler"
    ),
    # ------------------------------------------------------------------------------------------ adaptive_pooling.cu
    Mutant(
        "cell rounded down",
        "adaptive_pooling.cu",
        "+ 1) * size + cells - 1) / cells",
        "+ 1) * size) / cells",
        "reference",
    ),
    Mutant(
        "cell overflows 32 bits",
        "adaptive_pooling.cu",
        "(int)((i64)index * size / cells)",
        "index * size / cells",
        "emulator",
    ),
    Mutant("last NaN wins", "adaptive_pooling.cu", " && best[v] == best[v]", "", "reference"),
    Mutant(
        "place counted over the image",
        "adaptive_pooling.cu",
        "* (columns.end - columns.first) + in.column - columns.first;\n            const i64 offset",
        "* width + in.column - columns.first;\n            const i64 offset",
        "reference",
    ),
    Mutant(
        "height and width exchanged",
        "adaptive_pooling.cu",
        "span(out.column, width, out_width);\n\n    A best",
        "span(out.column, height, out_width);\n\n    A best",
        "emulator",
    ),
    # ---------------------------------------------------------------------------------------------------- im2col.cu
    Mutant(
        "padding forgotten, im2col", "im2col.cu", "at.k * sh - top + at.i * dh", "at.k * sh + at.i * dh", "reference"
    ),
    Mutant("dilation of the other axis", "im2col.cu", "left + at.j * dw", "left + at.j * dh", "reference"),
    Mutant("elements of the kernel exchanged", "im2col.cu", "last_axis(item, kh)", "last_axis(item, kw)", "reference"),
    Mutant(
        "row below the image",
        "im2col.cu",
        "row < height && column >= 0 && column < width) {",
        "column >= 0 && column < width) {",
        "emulator",
    ),
    Mutant(
        "column left of the image", "im2col.cu", "column >= 0 && column < width) {", "column < width) {", "emulator"
    ),
    Mutant("group forgotten", "im2col.cu", "at.g * group_channels + at.c", "at.c", "reference"),
    Mutant("pack is not cleared", "im2col.cu", "Pack<T, V> pack = {};", "Pack<T, V> pack;", "reference"),
    Mutant("every element of a dilated window", "im2col.cu", "if (down % dh != 0) continue;", "", "reference"),
    Mutant("windows of the first image", "im2col.cu", "+ in.image;  // of the rows", "+ 0;", "reference"),
    Mutant(
        "row of the window exchanged",
        "im2col.cu",
        "(window * kh + i) * kw + across",
        "(window * kh + i) * kh + across",
        "emulator",
    ),
    Mutant(
        "channel of the image, not of the group",
        "im2col.cu",
        "c = in.channel - g * group_channels",
        "c = in.channel",
        "reference",
    ),
    Mutant("a window too few", "im2col.cu", "l >= beside.first; --l", "l > beside.first; --l", "reference"),
    Mutant("rest of the number lost", "im2col.cu", "number = quotient;", "", "emulator"),
    # ------------------------------------------------------------------------------------------------- batchnorm.cu
    Mutant(
        "no barrier before the tree",
        "batchnorm.cu",
        "part[thread] = merged;\n    __syncthreads();",
        "part[thread] = merged;",
        "emulator",
    ),
    Mutant(
        "no barrier in the tree",
        "batchnorm.cu",
        "        }\n        __syncthreads();",
        "        }\n",
        "emulator",
    ),
    Mutant(
        "divergent barrier",
        "batchnorm.cu",
        "            part[thread] = merged;\n        }\n        __syncthreads();",
        "            part[thread] = merged;\n            __syncthreads();\n        }",
        "emulator",
    ),
    Mutant(
        "threads that leave before a barrier",
        "batchnorm.cu",
        "    int count = 0;\n    double own_mean[V]",
        "    if (!share.works) return;\n    int count = 0;\n    double own_mean[V]",
        "emulator",
    ),
    Mutant(
        "racy addition",
        "batchnorm.cu",
        "            part[thread] = merged;",
        "            part[thread / 2] = merged;",
        "emulator",
    ),
    Mutant("tree one level short", "batchnorm.cu", "half >= lanes; half /= 2", "half > lanes; half /= 2", "reference"),
    Mutant("tree one level too high", "batchnorm.cu", "int half = BLOCK / 2;", "int half = BLOCK;", "emulator"),
    Mutant(
        "uninitialised shared memory",
        "batchnorm.cu",
        "part[thread] = merged;\n    __syncthreads();",
        "if (thread < lanes) part[thread] = merged;\n    __syncthreads();",
        "emulator",
    ),
    Mutant(
        "shared memory too small",
        "batchnorm.cu",
        "V > 4 ? 4 : 8;\n    __shared__ Moments part[BLOCK];",
        "V > 4 ? 4 : 8;\n    __shared__ Moments part[BLOCK / 2];",
        "emulator",
    ),
    Mutant(
        "last chunk reaches beyond the rows",
        "batchnorm.cu",
        "min(rows, (share.chunk + 1) * chunk_rows)",
        "(share.chunk + 1) * chunk_rows",
        "emulator",
    ),
    Mutant("rows left out", "batchnorm.cu", "row += BATCH * share.step", "row += 2 * BATCH * share.step", "reference"),
    Mutant("uninitialised registers", "batchnorm.cu", "present = b + 1;", "present = BATCH;", "reference"),
    Mutant(
        "wrong weight in Chan's formula",
        "batchnorm.cu",
        "squares += other.squares + delta * delta * (count * fraction)",
        "squares += other.squares + delta * delta * fraction",
        "reference",
    ),
    Mutant(
        "large mean rounded to float",
        "batchnorm.cu",
        "((double)value[0][v] + (double)offset) - own_mean[v]",
        "(double)(value[0][v] + offset) - own_mean[v]",
        "reference",
    ),
    Mutant("unbiased variance", "batchnorm.cu", "squares / (double)rows", "squares / (double)(rows - 1)", "reference"),
    Mutant(
        "wrong mask at zero", "batchnorm.cu", "output[v] <= 0 ? (A)0 : g[v]", "output[v] < 0 ? (A)0 : g[v]", "reference"
    ),
    Mutant(
        "ReLU swallows NaN",
        "batchnorm.cu",
        "value[v] < 0 ? (A)0 : value[v]",
        "value[v] > 0 ? value[v] : (A)0",
        "reference",
    ),
    Mutant("residual after the ReLU's flag", "batchnorm.cu", "if (add_residual) {", "if (relu) {", "reference"),
    Mutant(
        "chunks write to one place",
        "batchnorm.cu",
        "const i64 at = share.chunk * channels + share.channel + v;\n            chunk_gradient",
        "const i64 at = share.channel + v;\n            chunk_gradient",
        "reference",
    ),
    Mutant(
        "several threads write one channel",
        "batchnorm.cu",
        "    const i64 c = thread_number();\n    if (c >= channels) return;",
        "    const i64 c = min(thread_number(), channels - 1);",
        "threads",
    ),
    Mutant(
        "every thread writes the sum",
        "batchnorm.cu",
        "    if (merging.turn == 0 && merging.works) {\n        const Sums all",
        "    if (merging.works) {\n        const Sums all",
        "threads",
    ),
    Mutant(
        "nothing promises that the last block sees what others wrote",
        "batchnorm.cu",
        "    __threadfence();\n    __syncthreads();  // all of the block have written",
        "    __syncthreads();  // all of the block have written",
        "threads",
    ),
    Mutant(
        "counted before all of the block have written",
        "batchnorm.cu",
        "    __syncthreads();  // all of the block have written\n",
        "",
        "threads",
    ),
    Mutant(
        "a block too early",
        "batchnorm.cu",
        "(unsigned long long)(chunks - 1)",
        "(unsigned long long)(chunks - 2)",
        "reference",
    ),
    Mutant("counts on in the next launch", "batchnorm.cu", "if (last) atomicExch(count, 0ull);", "", "reference"),
    Mutant(
        "one count for all groups", "batchnorm.cu", "finished + group_of<V>(channels, lanes)", "finished", "reference"
    ),
    Mutant(
        "a column for each pack, not channel",
        "batchnorm.cu",
        "share_of<1>(chunks, channels, lanes * V",
        "share_of<1>(chunks, channels, lanes",
        "reference",
    ),
    Mutant(
        "the residual added unrounded",
        "batchnorm.cu",
        "rounded<T>(value[v]) + other[v]",
        "value[v] + other[v]",
        "reference",
    ),
    Mutant(
        "more than fits into registers",
        "batchnorm.cu",
        "constexpr int BATCH = V > 4 ? 4 : 8;",
        "constexpr int BATCH = 64;",
        "compiler",
    ),
    # ---------------------------------------------------------------------------------------------------- random.cu
    Mutant("no guard", "random.cu", "    if (item >= count) return;\n    typedef", "    typedef", "emulator"),
    Mutant("the same numbers again", "random.cu", "(state[1] + item + 1)", "(item + 1)", "reference"),
    Mutant("the last number once more", "random.cu", "(state[1] + item + 1)", "(state[1] + item)", "reference"),
    Mutant("32 bits of the place", "random.cu", "(unsigned long long)(state[1]", "(unsigned)(state[1]", "reference"),
    Mutant("too many bits: rounded up to 1", "random.cu", "COUNT = 11", "COUNT = 24", "reference"),
    # ----------------------------------------------------------------------------------------------- elementwise.cu
    Mutant(
        "no guard", "elementwise.cu", "    if (item >= count) return;\n    const Pack", "    const Pack", "emulator"
    ),
    Mutant("NaN is cut off", "elementwise.cu", "if (output[v] <= 0)", "if (!(output[v] > 0))", "reference"),
    Mutant("the other way round", "elementwise.cu", "if (output[v] <= 0)", "if (output[v] > 0)", "reference"),
    Mutant(
        "grad of the first pack",
        "elementwise.cu",
        "behind_relu<T, V>(grad + item * V, y + item * V);\n}",
        "behind_relu<T, V>(grad + item, y + item * V);\n}",
        "emulator",
    ),
    # ------------------------------------------------------------------------------------------------- optimizer.cu
    Mutant(
        "chunk of the array before",
        "optimizer.cu",
        "tensors.first_block[middle] <=",
        "tensors.first_block[middle] <",
        "reference",
    ),
    Mutant(
        "chunk beyond its array",
        "optimizer.cu",
        "min(tensors.size[row], chunk.begin + CHUNK)",
        "chunk.begin + CHUNK",
        "emulator",
    ),
    Mutant(
        "every block begins at the first chunk",
        "optimizer.cu",
        "tensors.first_block[row]) * CHUNK",
        "tensors.first_block[row]) * 0",
        "reference",
    ),
    Mutant(
        "numbers of the chunk left out",
        "optimizer.cu",
        "const A w = widen(weights[i]);",
        "const A w = widen(weights[i]);\n        if (i == CHUNK - 1) continue;",
        "reference",
    ),
    Mutant("look-ahead forgotten", "optimizer.cu", "nesterov ? momentum * v + step : v", "v", "reference"),
    Mutant("dampening forgotten", "optimizer.cu", "kept * step;", "step;", "reference"),
    Mutant(
        "eps under the root",
        "optimizer.cu",
        "(sqrt(square) / root + eps)",
        "(sqrt(square + eps) / root)",
        "reference",
    ),
    Mutant("weights do not shrink", "optimizer.cu", "w *= shrink;", "", "reference"),
    Mutant("infinity passes for finite", "optimizer.cu", "g - g != 0", "g != g", "reference"),
    Mutant("one thread notes for its block", "optimizer.cu", "__syncthreads_or(met)", "met", "reference"),
    Mutant(
        "Adam steps where it is told not to",
        "optimizer.cu",
        "if (!go[0]) return;\n    const A beta1",
        "const A beta1",
        "reference",
    ),
    Mutant(
        "steps that are left out are counted",
        "optimizer.cu",
        "if (thread_number() != 0 || !go[0]) return;",
        "if (thread_number() != 0) return;",
        "reference",
    ),
    Mutant(
        "the step before",
        "optimizer.cu",
        "const double t = numbers[8] + 1;",
        "const double t = numbers[8];",
        "reference",
    ),
    Mutant(
        "every thread counts",
        "optimizer.cu",
        "if (thread_number() != 0 || !go[0]) return;",
        "if (!go[0]) return;",
        "reference",
    ),
    Mutant("the scale grows a step late", "optimizer.cu", "good = numbers[2] + 1;", "good = numbers[2];", "reference"),
    Mutant("the scale passes its limit", "optimizer.cu", "if (scale * growth <= largest) ", "", "reference"),
    Mutant(
        "good steps before an overflow count on",
        "optimizer.cu",
        "scale *= backoff;\n        good = 0;",
        "scale *= backoff;",
        "reference",
    ),
]


def check_pooling(rng):
    for channels in (3, 8):
        for window in (suite.WINDOWS["oblong"], suite.WINDOWS["3x3 stride 2 ceil"], suite.DILATED["dilated"]):
            suite.test_max_pool(window, channels, "float32", rng)
        for rule in ((True, None), (False, None)):
            suite.test_avg_pool(suite.WINDOWS["3x3 stride 2 ceil"], rule, channels, "float32", rng)
            suite.test_avg_pool(suite.WINDOWS["oblong"], rule, channels, "float32", rng)
    suite.test_max_pool_of_what_is_not_finite(suite.WINDOWS["3x3 stride 2 ceil"], [suite.NAN], "float32", rng)
    suite.test_places_are_right_beyond_32_bits()


def check_adaptive_pooling(rng):
    for channels in (3, 8):
        for output_size in ((2, 3), (5, 4)):
            suite.test_adaptive_pools(output_size, channels, "float32", rng)
    suite.test_adaptive_max_pool_of_what_is_not_finite([suite.NAN], "float32", rng)
    suite.test_average_of_a_large_image_keeps_its_digits(rng)
    suite.test_places_are_right_beyond_32_bits()


def check_im2col(rng):
    for window in (suite.WINDOWS["3x3 overlapping"], suite.WINDOWS["gaps"], suite.DILATED["dilated"]):
        suite.test_im2col_and_back(window, "float32", rng)


def check_batchnorm(rng):
    for channels in (3, 8):
        suite.test_batch_norm((5, 17, 9), channels, "float32", rng)
        for with_residual in (False, True):
            suite.test_batch_norm_with_residual_and_relu(with_residual, True, channels, "float32", rng)
        suite.test_batch_norm_inference(channels, "float32", rng)
    suite.test_batch_norm((600,), 33, "float32", rng)  # several chunks, and a second group of lanes
    suite.test_batch_norm((600,), 33, "float32", rng)  # again: the blocks are counted anew
    suite.test_what_is_added_to_half_precision_is_rounded_in_between(rng)
    suite.test_relu_lets_nan_through_both_ways("float32")
    suite.test_moments_are_accurate_where_the_mean_is_large(255, 8, rng)


def check_elementwise(rng):
    for shape in ((2, 256, 4), (3, 5, 7)):
        suite.test_relu_gradient(shape, "float32", rng)
        suite.test_relu_gradient_added_to_another(shape, "float32", rng)


def check_random(rng):
    for dtype in suite.DTYPES:
        suite.test_random_numbers(suite.FULL - 1, 2**40, dtype)


def check_optimizer(rng):
    for kind in optimizer_suite.SETTINGS:
        optimizer_suite.test_a_step_is_that_of_the_page_in_one_launch(kind, "float32")
    optimizer_suite.test_more_arrays_than_a_table_holds_take_several_launches()
    for bad in (None, np.nan, np.inf):
        optimizer_suite.test_gradients_are_unscaled_and_the_one_that_is_not_finite_is_found(bad)
    for kind in optimizer_suite.SETTINGS:
        optimizer_suite.test_a_step_is_left_out_where_the_device_says_so(kind)
    optimizer_suite.test_the_scale_grows_and_shrinks_as_it_is_written(3)


CHECKS = {
    "pooling": check_pooling,
    "adaptive_pooling": check_adaptive_pooling,
    "im2col": check_im2col,
    "batchnorm": check_batchnorm,
    "elementwise": check_elementwise,
    "random": check_random,
    "optimizer": check_optimizer,
}


def one_step(source):
    """Every kernel of a file once, on few threads."""
    x = np.random.default_rng(0).standard_normal((2, 5, 4, 8)).astype(np.float32)
    if source == "pooling":
        suite.max_pool(x, suite.WINDOWS["3x3 stride 2 ceil"], "float32")
        suite.avg_pool(x, suite.WINDOWS["3x3 stride 2 ceil"], True, None)
    elif source == "adaptive_pooling":
        suite.adaptive_pool(x, (2, 3))
    elif source == "im2col":
        suite.im2col_there_and_back(x, suite.WINDOWS["3x3 overlapping"], 2)
    elif source == "elementwise":
        suite.relu_gradient(x, x)
        suite.add_relu_gradient(x, x, x.copy())
    elif source == "random":
        suite.random_numbers(1, 2, 300, "float32")
    elif source == "optimizer":
        optimizer_suite.steps("emulated", *optimizer_suite.SETTINGS["momentum"], "float32", [(3,), (1500,)], 1)
    else:
        several_chunks = np.tile(x, (5, 2, 1, 1))
        suite.batch_norm(several_chunks, several_chunks, x[0, 0, 0], x[0, 0, 1], several_chunks, relu=True)
        suite.batch_norm_inference(x, x[0, 0, 0], x[0, 0, 1] ** 2, x[0, 0, 2], x[0, 0, 3])


def emulator_or_reference(sources):
    """Who of the two objects first, or nobody."""
    for source in sources:
        for order, seed in suite.ORDERS:
            try:
                with thread_order(order, seed), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    CHECKS[source](np.random.default_rng(0))
            except KernelError as error:
                return "emulator", str(error)
            except AssertionError as error:
                return "reference", str(error)
    return "nobody", ""


def thread_sanitizer(sources, monkeypatch):
    reports = []

    def launch(module, name, grid, block, arguments, shared_mem=0):
        reports.append(find_races(module, name, grid, block, arguments, shared_mem))

    with monkeypatch.context() as patch:
        patch.setattr(Module, "launch", launch)
        patch.setattr(cuda_batchnorm, "FEWEST_ROWS", 1)
        for source in sources:
            one_step(source)
    assert reports
    return "".join(reports)


def compiler(sources):
    """What NVRTC objects to."""
    instances = [each for kernel in KERNELS if kernel.source in sources for each in kernel.instances()]
    try:
        compiled = compile_instances(instances, "sm_80")
    except KernelError as error:
        return str(error)
    return "\n".join(
        f"{one}"
        for one, instance in zip(compiled, instances, strict=True)
        if one.spill_bytes or one.parameter_bytes != instance.parameter_bytes
    )


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Builds of mutants do not stay in the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def edited(tmp_path, monkeypatch, cache):
    """Makes gpunet use a copy of the kernels in which a text is replaced."""

    def edit(file, right, wrong):
        folder = shutil.copytree(FOLDER, tmp_path / "raw_kernels")
        text = (folder / file).read_text(encoding="utf-8")
        assert text.count(right) == 1, f"{right!r} occurs {text.count(right)} times in {file}; write the mutant anew"
        (folder / file).write_text(text.replace(right, wrong), encoding="utf-8")
        monkeypatch.setattr(kernels, "_folder", lambda: folder)

    for cache in (kernels._module, kernels._function, kernels._prepare, cuda_batchnorm._of_stream):
        cache.cache_clear()
    yield edit
    for cache in (kernels._module, kernels._function, kernels._prepare, cuda_batchnorm._of_stream):
        cache.cache_clear()


def sources_with(file):
    return list(CHECKS) if file == "common.cuh" else [file.removesuffix(".cu")]


@pytest.mark.parametrize("mutant", MUTANTS, ids=[each.bug for each in MUTANTS])
def test_mutant_is_caught(mutant, edited, monkeypatch):
    edited(*mutant[1:4])
    sources = sources_with(mutant.file)
    who, report = emulator_or_reference(sources)
    if mutant.caught_by in ("emulator", "reference"):
        assert who == mutant.caught_by, report
        return
    assert who == "nobody", report  # which is why the other two are there
    if mutant.caught_by == "threads":
        try:
            assert "data race" in thread_sanitizer(sources, monkeypatch)
        except BackendError as error:
            pytest.skip(str(error))
    else:
        if find_nvrtc() is None:
            pytest.skip("NVRTC is not installed: pip install nvidia-cuda-nvrtc")
        assert compiler(sources)


@pytest.mark.parametrize("source", CHECKS)
def test_nobody_objects_to_the_kernels_as_they_are(source, monkeypatch, cache):
    assert emulator_or_reference([source]) == ("nobody", "")
    try:
        assert thread_sanitizer([source], monkeypatch) == ""
    except BackendError as error:
        pytest.skip(str(error))
