"""What all tests share: the backends that the suite runs on, and a fresh seed for every test."""

from __future__ import annotations

import gc
import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from gpunet.backend import get_num_threads, manual_seed, set_num_threads, use_backend
from gpunet.errors import BackendError
from tests.left_out import left_out
from tests.runs import few_digits

_not_begun = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    """Nothing has been deselected yet."""
    config.stash[_not_begun] = 0


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    """Count what is not even begun: a worker of pytest-xdist knows, and who reports does not."""
    items[0].config.stash[_not_begun] += len(items)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell who reports, if this is a worker."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["not_begun"] = session.config.stash[_not_begun]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Hear it from a worker: each has the same tests to choose from."""
    node.config.stash[_not_begun] = getattr(node, "workeroutput", {}).get("not_begun", 0)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> Iterator[None]:
    """Say at the end what has not run, so that nobody takes a part of the tests for all of them."""
    yield  # to what pytest itself has to say
    reasons = [str(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", [])]
    by_speed_alone = config.option.markexpr == "not slow" and not config.option.keyword
    slow = config.stash[_not_begun] if by_speed_alone else 0
    if line := left_out(reasons, slow):
        terminalreporter.write_line(line)


def pytest_collection_finish() -> None:
    """Thousands of tests, all there until the end, need not be searched for garbage again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _seed() -> None:
    manual_seed(0)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(params=["numpy", "emulated", pytest.param("cupy", marks=pytest.mark.gpu)])
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each backend in turn. One that cannot run here is skipped, with the reason."""
    try:
        switch = use_backend(request.param)
    except BackendError as error:
        pytest.skip(str(error))
    with switch:
        yield request.param


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks whose numbers are not drawn, as they are replaced, or only counted: there may be a hundred million."""
    for name in ("uniform_", "normal_", "trunc_normal_"):
        monkeypatch.setattr(f"gpunet.nn.init.{name}", lambda tensor, *args, **kwargs: tensor)


@pytest.fixture
def numpy_backend() -> Iterator[None]:
    """NumPy, whatever another test, or the command line within this one, has chosen for the whole process."""
    with use_backend("numpy"):
        yield


@pytest.fixture
def counters() -> Iterator[Any]:
    """The emulated backend, and its counters, at 0. Skipped, with the reason, where it cannot run."""
    try:
        switch = use_backend("emulated")
    except BackendError as error:
        pytest.skip(str(error))
    with switch:
        from gpunet.emulated import counters

        counters.reset()
        yield counters


@pytest.fixture
def torchvision(torch: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """torchvision, where it is installed. What its compiled part would register, for detectors alone, is left out:
    that part is not made for a PyTorch without CUDA."""
    name = "torchvision._meta_registrations"
    monkeypatch.setitem(sys.modules, name, sys.modules.get(name, ModuleType(name)))
    return pytest.importorskip("torchvision")


@pytest.fixture
def tiny_runs(numpy_backend: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Runs of `tests.runs.TINY`, whose files are not waited for: the system stays up, so nothing is seen of it."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    with few_digits():
        yield


@pytest.fixture
def torch() -> Iterator[Any]:
    """PyTorch on one thread: to wake another takes longer than what tests ask of it. Skipped where there is none."""
    module = pytest.importorskip("torch")
    before = module.get_num_threads()
    module.set_num_threads(1)
    yield module
    module.set_num_threads(before)


@pytest.fixture
def processes() -> Iterator[Callable[..., subprocess.Popen[Any]]]:
    """Starts processes that Ctrl-C interrupts; none outlives the test."""
    started: list[subprocess.Popen[Any]] = []

    def start(command: Sequence[Any], **settings: Any) -> subprocess.Popen[Any]:
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may start this with SIGINT ignored
        try:
            process = subprocess.Popen([*map(str, command)], **settings)
        finally:
            signal.signal(signal.SIGINT, before)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream:
                stream.close()


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets the number of threads, which is put back afterwards."""
    before = get_num_threads()
    yield set_num_threads
    set_num_threads(before)


@pytest.fixture
def tile_bytes(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets the byte budget of a tile on both backends: with a small one, a small batch fills several tiles."""
    module = importlib.import_module("gpunet.backend.tiles")

    def set_budget(count: int) -> None:
        monkeypatch.setattr(module, "CPU_TILE_BYTES", count)
        monkeypatch.setattr(module, "GPU_TILE_BYTES", count)

    return set_budget
