"""Runs CUDA C on the CPU, to write, study and test kernels without a GPU.

A kernel file is compiled, as it is, by a C++ compiler behind a header that says what CUDA's words mean. Blocks,
threads, shared memory, barriers and warp operations are real; threads run in turns, in an order that can be chosen.
Every memory access is followed, and a broken rule ends the launch with the kernel, the file and the line. `engine.h`
lists the parts of the C++ side.

Not shown here: speed, the memory model of a real GPU, and blocks that run at the same time; for races between those
there is `find_races`.
"""

from gpunet.emulator.compiler import Flavour, compiler_command
from gpunet.emulator.module import ByValue, Module, Parameter, record_traffic, thread_order
from gpunet.emulator.thread_sanitizer import find_races
from gpunet.emulator.traffic import ArrayTraffic, Traffic

__all__ = [
    "ArrayTraffic",
    "ByValue",
    "Flavour",
    "Module",
    "Parameter",
    "Traffic",
    "compiler_command",
    "find_races",
    "record_traffic",
    "thread_order",
]
