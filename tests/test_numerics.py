"""Settings that gpunet changes for a while: whatever raises, interrupts or forks, they are put back."""

import contextlib
import os
import signal
import threading

import numpy as np
import pytest

from gpunet.backend import active_backend, run_tiles, use_backend, xp
from gpunet.backend.numerics import single_threaded_blas
from tests.blas import blas_threads


@pytest.fixture
def usual():
    """How many threads BLAS has, before and, at last, after the test."""
    before = blas_threads()
    if max(before, default=1) < 2:
        pytest.skip("BLAS has one thread here")
    with use_backend("numpy"):
        yield before
    assert blas_threads() == before


def test_blas_has_one_thread_inside(usual):
    with single_threaded_blas():
        assert set(blas_threads()) == {1}
        with single_threaded_blas():
            assert set(blas_threads()) == {1}
        assert set(blas_threads()) == {1}
    assert blas_threads() == usual


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no timers here")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # one that strikes in __del__
def test_an_interrupt_at_any_moment_leaves_blas_as_it_was(usual):
    def interrupt(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for strike in range(60):
            with contextlib.suppress(KeyboardInterrupt):
                again = 0.1  # should it strike in __del__
                signal.setitimer(signal.ITIMER_REAL, 1e-4 + 3e-6 * strike, again)
                while True:
                    with single_threaded_blas():
                        pass
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert blas_threads() == usual, strike
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_fork_while_another_thread_computes_leaves_blas_as_it_was(usual):
    inside, over = threading.Event(), threading.Event()

    def compute(tile):
        inside.set()
        over.wait(30)

    thread = threading.Thread(target=run_tiles, args=(compute, [slice(0, 1)]))
    thread.start()
    inside.wait(30)
    child = os.fork()
    if child == 0:  # must not return into pytest
        try:
            os._exit(0 if blas_threads() == usual and run_tiles(lambda tile: 7, [slice(0, 1)]) == [7] else 1)
        finally:
            os._exit(2)
    status = os.waitpid(child, 0)[1]
    over.set()
    thread.join()
    assert os.waitstatus_to_exitcode(status) == 0


def test_backends_are_switched_while_other_threads_compute():
    over, failures = threading.Event(), []

    def compute():
        try:
            while not over.is_set():
                assert xp.ones(3).sum() == 3
                assert active_backend() == "numpy"
        except BaseException as error:
            failures.append(error)

    with use_backend("numpy"):
        threads = [threading.Thread(target=compute) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(2000):
                xp._activate("numpy")  # as entering and leaving a block does
                np.testing.assert_array_equal(xp.zeros(2), 0)
        finally:
            over.set()
        for thread in threads:
            thread.join()
    assert failures == []
