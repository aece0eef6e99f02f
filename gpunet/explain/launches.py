"""What runs an operation on a GPU: the raw kernels with the grid that the host code would launch, and CuPy's functions.

How much work there is, and how it is shared among blocks, is asked of the host code in `gpunet.ops` and the kernel
table; no GPU and no compiler are needed. Values are float32, and every array is a fresh one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from gpunet.backend import kernel_table as table
from gpunet.backend.kernel_table import Instance, Kernel
from gpunet.backend.kernels import BLOCK, kernel_source, vector_width
from gpunet.explain.exercise import Exercise, output_shape
from gpunet.explain.matrices import FLOAT_BYTES
from gpunet.ops.cuda_batchnorm import share_among_blocks

__all__ = ["Launch", "OnGpu", "on_gpu"]

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Launch:
    """One launch of a raw kernel.

    Attributes:
        backward: whether it belongs to the way back.
        kernel: the name of the kernel.
        instance: the kernel with its template arguments, as C++ names it.
        file: its source, from the root of the repository.
        line: where it stands there.
        items: how many threads are asked for; the last block is filled up.
        vector: how many channels each takes at once.
        grid: the number of blocks.
        block: the threads of a block.
        shared_bytes: the shared memory of a block, which the kernel declares itself; none is asked for at the launch.
    """

    backward: bool
    kernel: str
    instance: str
    file: str
    line: int
    items: int
    vector: int
    grid: int
    block: int
    shared_bytes: int


@dataclass(frozen=True)
class OnGpu:
    """Raw kernels and functions of CuPy, which an operation is made of.

    Attributes:
        launches: in their order, forward and then backward.
        forward, backward: the functions of CuPy.
    """

    launches: tuple[Launch, ...]
    forward: tuple[str, ...]
    backward: tuple[str, ...]


def on_gpu(exercise: Exercise) -> OnGpu:
    """What runs this exercise on a GPU, with one image in float32. Works on the NumPy backend."""
    forward, backward = _CUPY.get(exercise.operation, ((), ()))
    return OnGpu(tuple(_launches(exercise)), forward, backward)


_CUPY: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {  # as gpunet/ops calls them, the way forth and back
    "conv2d": (("matmul",), ("matmul",)),
    "dropout": (("greater_equal", "multiply"), ("multiply",)),
    "sigmoid": (("minimum", "exp", "absolute", "negative", "add", "divide"), ("multiply", "subtract")),
    "softmax": (("max", "subtract", "exp", "sum", "divide"), ("multiply", "sum", "subtract")),
    "kl_div": (("equal", "log", "where", "subtract", "multiply", "sum"), ("negative", "multiply")),
    "binary_cross_entropy": (
        ("greater", "where", "log", "maximum", "multiply", "subtract", "add", "negative", "mean"),
        ("subtract", "multiply", "maximum", "divide"),
    ),
    "cross_entropy": (
        ("max", "subtract", "exp", "sum", "log", "where", "multiply", "negative"),
        ("negative", "multiply", "where", "exp", "sum", "subtract"),
    ),
}


def _launches(exercise: Exercise) -> Iterator[Launch]:
    if exercise.operation == "conv2d":
        yield from _convolution(exercise)
    elif exercise.operation == "batch_norm":
        yield from _batch_norm(exercise)
    elif exercise.operation == "dropout":
        numbers = math.prod(exercise.input.shape)
        yield _launch(table.UNIFORM, numbers, 1, backward=False)
    elif exercise.operation in _POOLS:
        forth, back = _POOLS[exercise.operation]
        channels, height, width = exercise.input.shape
        out_channels, out_height, out_width = output_shape(exercise)
        yield _packs(forth, (1, out_height, out_width, out_channels), backward=False)
        yield _packs(back, (1, height, width, channels), backward=True)


_POOLS = {
    "max_pool2d": (table.MAX_POOL2D_FORWARD, table.MAX_POOL2D_BACKWARD),
    "avg_pool2d": (table.AVG_POOL2D_FORWARD, table.AVG_POOL2D_BACKWARD),
    "adaptive_avg_pool2d": (table.ADAPTIVE_AVG_POOL2D_FORWARD, table.ADAPTIVE_AVG_POOL2D_BACKWARD),
}


def _array(shape: Shape) -> Any:
    """Stands for an array of float32 that begins where fresh memory begins: it has a size, but no values."""
    return SimpleNamespace(
        shape=shape, size=math.prod(shape), itemsize=FLOAT_BYTES, data=SimpleNamespace(ptr=table.PACK_BYTES)
    )


def _packs(kernel: Kernel, result: Shape, backward: bool) -> Launch:
    """One thread for each pack of channels, the last dimension of the result."""
    vector = vector_width(result[-1], _array(result))
    return _launch(kernel, math.prod(result) // vector, vector, backward)


def _convolution(exercise: Exercise) -> Iterator[Launch]:
    """What stands around the products: the windows forth, and back the gradient's, then the windows once more."""
    window, weight = exercise.window, exercise.weight
    if window is None or weight is None or window.is_pointwise:
        return  # the windows of a 1x1 convolution are the pixels themselves
    channels, height, width = exercise.input.shape
    rows = (math.prod(output_shape(exercise)[1:]), *window.kernel, channels)
    yield _packs(table.IM2COL, rows, backward=False)
    yield _packs(table.COL2IM, (1, height, width, channels), backward=True)  # for dI
    yield _packs(table.IM2COL, rows, backward=True)  # for dF


def _batch_norm(exercise: Exercise) -> Iterator[Launch]:
    channels, height, width = exercise.input.shape
    x = _array((1, height, width, channels))
    summing, passing = (share_among_blocks(x, (), summing) for summing in (True, False))
    yield _launch(table.BATCH_NORM_STATISTICS, summing.threads, summing.vector, False)
    yield _launch(table.BATCH_NORM_NORMALISE, passing.threads, passing.vector, False)
    yield _launch(table.BATCH_NORM_SUMS, summing.threads, summing.vector, True)
    yield _launch(table.BATCH_NORM_INPUT_GRADIENT, passing.threads, passing.vector, True)


def _launch(kernel: Kernel, items: int, vector: int, backward: bool) -> Launch:
    dtypes: dict[str, np.dtype[Any]] = {"T": np.dtype(np.float32), "W": np.dtype(np.uint8)}  # W: of few places
    instance = Instance(kernel, tuple(dtypes[name] for name in kernel.template if name in dtypes), vector)
    line, shared_bytes = _in_source(kernel)
    return Launch(
        backward,
        kernel.name,
        instance.expression,
        f"raw_kernels/{kernel.source}.cu",
        line,
        items,
        vector,
        -(-items // BLOCK),
        BLOCK,
        shared_bytes,
    )


def _in_source(kernel: Kernel) -> tuple[int, int]:
    """The line where the kernel begins, and the bytes of shared memory that a block of it declares."""
    _, _, source = kernel_source(kernel.source).partition(f'#line 1 "{kernel.source}.cu"\n')
    lines = source.splitlines()
    named = next(number for number, line in enumerate(lines) if re.match(rf"(__global__ .*)?{kernel.name}\(", line))
    body = "\n".join(lines[named : lines.index("}", named)])
    shared = 0
    for type_name in re.findall(r"__shared__ (\w+) \w+\[BLOCK\];", body):
        members = re.search(rf"struct (?:alignas\(\d+\) )?{type_name} {{\n    double ([\w, ]+);", source)
        shared += BLOCK * 8 * len(members[1].split(",")) if members else 0
    return named + 1, shared
