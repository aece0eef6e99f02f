"""What runs an operation on a GPU: recorded while it runs, once, on the stand-in for CuPy.

The host code of `gpunet.ops` decides by itself what to launch and on how many threads, for values in float32; its
launches are noted in place of being run, so no GPU and no compiler are needed. Every array is a fresh one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from gpunet.backend.kernel_table import Kernel
from gpunet.backend.kernels import BLOCK, Launched, kernel_source, noted_launches
from gpunet.emulated import counters
from gpunet.explain.exercise import Exercise, leaves_of, run
from gpunet.tape import Node
from gpunet.tensor import Tensor, tensor

__all__ = ["BESIDE", "Launch", "OnGpu", "on_gpu"]

BESIDE = ("copy", "fill")
"""What CuPy does beside its functions: copies of operands and results, and memory that it fills."""


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
        operations: of `gpunet.ops`, as the tape has them.
        launches: in their order, forward and then backward.
        forward, backward: the functions of CuPy in the order in which each is first called; "copy" and "fill" are what
            it does beside them.
    """

    operations: tuple[str, ...]
    launches: tuple[Launch, ...]
    forward: tuple[str, ...]
    backward: tuple[str, ...]


def on_gpu(exercise: Exercise) -> OnGpu:
    """What runs this exercise on a GPU, with one image in float32."""
    with noted_launches() as noted:
        leaves = leaves_of(exercise, np.float32)
        counters.reset()
        output = run(exercise, leaves)
        _ = output.array  # the last pass of batch norm waits until somebody looks
        forward, count = tuple(counters.functions), len(noted)
        operations = tuple(dict.fromkeys(_operations(output)))
        upstream = None if output.ndim == 0 else tensor(np.ones(output.shape, np.float32))
        counters.reset()
        output.backward(upstream)
        launches = tuple(_launch(each, place >= count) for place, each in enumerate(noted))
        return OnGpu(operations, launches, forward, tuple(counters.functions))


def _operations(output: Tensor) -> list[str]:
    """What the tape has recorded, from the first to the last."""
    found: dict[int, Node] = {}
    waiting = [output._node]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Node) and node.sequence not in found:
            found[node.sequence] = node
            waiting += node.inputs
    kinds = [type(found[sequence].operation) for sequence in sorted(found)]
    return [f"{kind.__module__}.{kind.__name__}" for kind in kinds]


def _launch(noted: Launched, backward: bool) -> Launch:
    kernel, instance = noted.instance.kernel, noted.instance
    line, shared_bytes = _in_source(kernel)
    return Launch(
        backward,
        kernel.name,
        instance.expression,
        f"raw_kernels/{kernel.source}.cu",
        line,
        noted.threads,
        instance.vector,
        -(-noted.threads // BLOCK),
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
