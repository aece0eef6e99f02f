"""Tiles and threads: how work is cut, that results do not depend on threads, and what happens when something fails."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gpunet import functional as F
from gpunet.backend import get_num_threads, run_tiles, set_num_threads, sum_over_tiles, tiles, use_backend
from gpunet.backend.tiles import CPU_TILE_BYTES, _threads
from gpunet.errors import ArgumentError
from gpunet.tensor import Tensor
from tests.blas import blas_threads


@pytest.fixture(autouse=True)
def _on_numpy():
    """Threads are for the NumPy backend; on a GPU, tiles run one after the other."""
    with use_backend("numpy"):
        yield


def units(count):
    return [slice(i, i + 1) for i in range(count)]


# How work is cut


def test_tiles_cover_everything_once_in_order(rng):
    for _ in range(500):
        count, bytes_each = int(rng.integers(0, 2000)), int(10 ** rng.uniform(0, 6.6)) - 1
        cut = tiles(count, bytes_each)
        assert [i for tile in cut for i in range(tile.start, tile.stop)] == list(range(count))
        sizes = [tile.stop - tile.start for tile in cut]
        assert all(size * bytes_each <= CPU_TILE_BYTES or size == 1 for size in sizes)
        assert max(sizes, default=0) - min(sizes, default=0) <= 1  # nobody is left with a much larger share


def test_small_work_is_not_cut():
    assert tiles(10, 100) == [slice(0, 10)]


def test_no_items():
    assert tiles(0, 1000) == []
    assert run_tiles(lambda tile: 1, []) == []


def test_items_larger_than_the_budget():
    assert tiles(3, 10 * CPU_TILE_BYTES) == units(3)


def test_cut_does_not_depend_on_threads(threads):
    cuts = []
    for count in (1, 2, 4, 7):
        threads(count)
        cuts.append([tiles(items, size) for items in (1, 31, 32, 100) for size in (1, 1 << 12, 1 << 16, 1 << 22)])
    assert all(cut == cuts[0] for cut in cuts)


def test_budget_can_be_made_small(tile_bytes):
    tile_bytes(8)
    assert len(tiles(6, 4)) >= 3


# Running


@pytest.mark.parametrize("count", [1, 2, 4])
def test_results_keep_the_order_of_the_tiles(threads, count):
    threads(count)
    for repeat in range(20):
        delays = np.random.default_rng(repeat).uniform(0, 0.001, 12)

        def work(tile, delays=delays):
            time.sleep(delays[tile.start])
            return tile.start

        assert run_tiles(work, units(12)) == list(range(12))


def test_several_threads_take_part(threads):
    threads(3)
    together = threading.Barrier(3, timeout=30)

    def work(tile):
        together.wait()  # passes only when three tiles are being worked on at once
        return threading.get_ident()

    assert len(set(run_tiles(work, units(3)))) == 3


def test_one_thread_works_in_the_calling_thread(threads):
    threads(1)
    assert set(run_tiles(lambda tile: threading.get_ident(), units(5))) == {threading.get_ident()}


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("failing", [0, 3, 7])
def test_an_exception_of_a_worker_comes_out(threads, count, failing):
    threads(count)

    def work(tile):
        if tile.start == failing:
            raise KeyError(f"tile {failing}")
        return tile.start

    with pytest.raises(KeyError, match=f"tile {failing}"):
        run_tiles(work, units(8))
    assert run_tiles(lambda tile: tile.start, units(8)) == list(range(8))  # and nothing is broken afterwards


@pytest.mark.parametrize("slow", range(4))
def test_after_an_exception_nothing_goes_on_in_the_background(threads, slow):
    """A tile that goes on could write into arrays that the caller has given up."""
    threads(4)
    everyone = threading.Barrier(4, timeout=30)
    done = []

    def work(tile):
        everyone.wait()
        if tile.start != slow:
            raise ValueError("no")
        time.sleep(0.1)
        done.append(tile.start)

    with pytest.raises(ValueError, match="no"):
        run_tiles(work, units(4))
    assert done == [slow]


def test_nested_calls_run_in_line(threads):
    threads(2)

    def outer(tile):
        inner = run_tiles(lambda part: threading.get_ident(), units(4))
        return set(inner) == {threading.get_ident()}

    assert run_tiles(outer, units(4)) == [True] * 4


def test_several_user_threads_at_once(threads):
    threads(3)

    def user(number):
        return [run_tiles(lambda tile: 100 * number + tile.start, units(9)) for _ in range(20)]

    with ThreadPoolExecutor(4) as users:
        results = list(users.map(user, range(4)))
    assert results == [[[100 * number + i for i in range(9)]] * 20 for number in range(4)]


def test_changing_the_number_of_threads_while_tiles_run(threads):
    threads(2)

    def work(tile):
        set_num_threads(1 + tile.start % 3)
        return tile.start

    for _ in range(10):
        assert run_tiles(work, units(6)) == list(range(6))


# BLAS


def test_blas_is_held_to_one_thread_and_let_go_again(threads):
    threads(2)
    np.ones((2, 2)) @ np.ones((2, 2))
    before = blas_threads()
    assert all(set(each) == {1} for each in run_tiles(lambda tile: blas_threads(), units(4)))
    assert blas_threads() == before
    with pytest.raises(ValueError, match="no"):
        run_tiles(lambda tile: (_ for _ in ()).throw(ValueError("no")), units(4))
    assert blas_threads() == before


def test_blas_stays_held_while_another_user_needs_it(threads):
    threads(1)
    before = blas_threads()
    inside, leave = threading.Event(), threading.Event()

    def slow(tile):
        inside.set()
        leave.wait(30)
        return blas_threads()

    with ThreadPoolExecutor(1) as users:
        other = users.submit(run_tiles, slow, units(1))
        inside.wait(30)
        run_tiles(lambda tile: None, units(1))  # begins and ends while the other is at work
        leave.set()
        assert set(*other.result()) == {1}
    assert blas_threads() == before


# Sums


@pytest.mark.parametrize("count", [1, 2, 4])
def test_sum_over_tiles(threads, rng, count):
    threads(count)
    x = rng.integers(-9, 9, (50, 3))

    def work(tile):
        return x[tile].sum(axis=0), None, int((x[tile] ** 2).sum())

    total, nothing, squares = sum_over_tiles(work, [slice(i, i + 7) for i in range(0, 50, 7)])
    np.testing.assert_array_equal(total, x.sum(axis=0))
    assert nothing is None
    assert squares == (x**2).sum()


def test_sums_have_the_same_bits_for_any_number_of_threads(threads, rng):
    x = rng.standard_normal((64, 1000)).astype(np.float32)
    cut = tiles(64, 4000 * 16)
    assert len(cut) > 2
    sums = []
    for count in (1, 2, 3, 4):
        threads(count)
        sums.append(sum_over_tiles(lambda tile: (x[tile].sum(),), cut)[0])
    assert len({each.tobytes() for each in sums}) == 1


def test_sum_leaves_the_parts_alone():
    parts = [np.ones(2), np.ones(2)]
    (total,) = sum_over_tiles(lambda tile: (parts[tile.start],), units(2))
    np.testing.assert_array_equal(total, [2, 2])
    np.testing.assert_array_equal(parts, np.ones((2, 2)))


# The number of threads


@pytest.mark.parametrize("count", [0, -1, 1.5, "2", None, True, 1025, 10**6])
def test_set_num_threads_refuses(count):
    before = get_num_threads()
    with pytest.raises(ArgumentError, match=r"set_num_threads expects a whole number from 1 to 1024, got"):
        set_num_threads(count)
    assert get_num_threads() == before


def run_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "GPUNET_BACKEND": "numpy", **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


@pytest.mark.parametrize(
    ("value", "expected"),
    [("3", 3), ("1", 1), ("", CORES), ("0", CORES), ("²", CORES), ("1000000", CORES), ("9" * 5000, CORES)],
)
def test_environment_sets_the_number_of_threads(value, expected):
    done = run_python("import gpunet; print(gpunet.get_num_threads())", GPUNET_NUM_THREADS=value)
    assert done.stdout == f"{expected}\n", done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_can_go_on():
    code = """
import os, warnings
import numpy as np
import gpunet
from gpunet import functional as F

warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forking where threads run; just so
gpunet.set_num_threads(3)
gpunet.manual_seed(0)
x = gpunet.tensor(np.random.default_rng(0).standard_normal((64, 8, 16, 16)), dtype="float32")
w = gpunet.tensor(np.ones((8, 8, 3, 3)), dtype="float32")
before = F.conv2d(x, w).numpy()  # starts the threads
child = os.fork()
same = (F.conv2d(x, w).numpy() == before).all()
if child:
    _, status = os.waitpid(child, 0)
    print("child", os.waitstatus_to_exitcode(status), "parent", same)
else:
    raise SystemExit(0 if same else 1)
"""
    done = run_python(code)
    assert done.stdout == "child 0 parent True\n", done.stderr


def test_an_interrupt_while_the_number_of_threads_changes_leaves_helpers_for_all_tiles(threads, monkeypatch):
    threads(4)
    assert run_tiles(abs, [-1, -2, -3, -4]) == [1, 2, 3, 4]  # three helpers run

    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(_threads, "forget", interrupt)
    with pytest.raises(KeyboardInterrupt):
        set_num_threads(4)
    monkeypatch.undo()
    results = []
    again = threading.Thread(target=lambda: results.extend(run_tiles(abs, [-1, -2, -3, -4])), daemon=True)
    again.start()
    again.join(20)
    assert results == [1, 2, 3, 4]  # nobody waits for a tile that no helper takes


# What is computed a few images at a time


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_images_of_another_size_are_in_a_batch_what_they_are_alone(mode, rng):
    x, g = rng.standard_normal((9, 16, 40, 50), np.float32), rng.standard_normal((9, 16, 64, 30), np.float32)

    def resized(x, g):
        inputs = Tensor(x, requires_grad=True)
        y = F.interpolate(inputs, (64, 30), mode=mode)
        y.backward(Tensor(g))
        return y.numpy(), inputs.grad.numpy()

    alone = [resized(x[i : i + 1], g[i : i + 1]) for i in range(len(x))]
    for together, parts in zip(resized(x, g), zip(*alone, strict=True), strict=True):
        np.testing.assert_array_equal(together, np.concatenate(parts))
