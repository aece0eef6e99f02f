"""The team of threads that takes the parts of a kernel's work (raw_kernels/cpu/threads.h)."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from gpunet.backend.cpu_kernels import CpuKernel, launch
from gpunet.backend.cpu_library import library

pytestmark = pytest.mark.skipif(
    library() is None, reason="there are no CPU kernels (python setup.py build_ext --inplace)"
)

RELU = CpuKernel("relu_forward", "const float* x, float* y")
MUCH = 1 << 30  # work: as many parts as there may be


def rectified(seed, size):
    """What a launch on random numbers has made, with the memory around it, and what is right."""
    numbers = np.random.default_rng(seed).standard_normal((2, 3 * size)).astype(np.float32)
    inside = slice(size, 2 * size)
    right = numbers[1].copy()
    right[inside] = np.maximum(numbers[0, inside], 0)
    launch(RELU.prepare(items=size, work=MUCH), numbers[0, inside], numbers[1, inside])
    return numbers[1], right


@pytest.mark.parametrize("count", [1, 2, 3, 8, 40])
def test_every_item_is_done_once_on_any_number_of_threads(count, threads):
    threads(count)
    for size in (2, 3, count, 4 * count + 1, 10_007):
        np.testing.assert_array_equal(*rectified(size, size))


def test_a_helper_in_the_middle_of_a_long_part_is_waited_for(threads):
    threads(2)
    for number in range(5):
        np.testing.assert_array_equal(*rectified(number, 1_000_003))


def test_many_launches_in_a_row_on_threads_that_are_awake_or_asleep(threads):
    threads(3)
    for number in range(300):
        if number % 100 == 99:
            time.sleep(0.01)  # long enough to fall asleep
        np.testing.assert_array_equal(*rectified(number, 100 + number))


def test_many_callers_at_a_time_on_threads_of_python(threads):
    threads(3)
    wrong = []

    def call(caller):
        for number in range(200):
            made, right = rectified(1000 * caller + number, 500)
            if not np.array_equal(made, right):
                wrong.append((caller, number))

    callers = [threading.Thread(target=call, args=(caller,)) for caller in range(6)]
    for each in callers:
        each.start()
    for each in callers:
        each.join()
    assert wrong == []


def threads_of_this_process():
    return len(os.listdir("/proc/self/task"))


def test_helpers_are_started_only_as_many_as_have_parts_to_do():
    program = (
        "import gpunet; from tests.test_cpu_threads import *; gpunet.set_num_threads(2); rectified(0, 3); "
        "before = threads_of_this_process(); gpunet.set_num_threads(40); rectified(0, 3); "
        "print(threads_of_this_process() - before)"
    )
    done = subprocess.run([sys.executable, "-c", program], timeout=60, capture_output=True, text=True, check=True)
    assert int(done.stdout) == 1  # three items: one is for the caller, and one helper was there already


def test_a_fork_makes_threads_of_its_own(threads):
    threads(3)
    np.testing.assert_array_equal(*rectified(0, 1000))  # the helpers run
    child = os.fork()
    if child == 0:  # must not return into pytest, whatever happens
        try:
            alone = threads_of_this_process()
            right = all(np.array_equal(*rectified(number, 1000)) for number in range(50))
            os._exit(0 if right and threads_of_this_process() == alone + 2 else 1)
        finally:
            os._exit(2)
    deadline = time.monotonic() + 20
    while (status := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            pytest.fail("the child hangs")
        time.sleep(0.01)
    assert os.waitstatus_to_exitcode(status[1]) == 0
    np.testing.assert_array_equal(*rectified(0, 1000))


def test_the_process_ends_while_helpers_wait():
    program = (
        "import gpunet; from tests.test_cpu_threads import rectified; gpunet.set_num_threads(4); rectified(0, 1000)"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0
