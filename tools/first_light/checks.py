"""Whether a GPU gives what NumPy gives: operations, steps of optimizers, training, and the tests that need one."""

from __future__ import annotations

import collections
import importlib
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Any, NamedTuple

import numpy as np

from gpunet import functional as F
from gpunet.backend import as_nchw, asarray, to_cpu, to_nhwc, use_backend, xp
from gpunet.data import DataLoader, Digits
from gpunet.doctor import examine
from gpunet.optim import SGD, Adam, AdamW
from gpunet.tensor import Tensor, tensor
from gpunet.train import TrainConfig, TrainingRun
from tools.first_light.processes import emit
from tools.first_light.settings import ROOT, Settings

__all__ = ["Case", "cases", "compare", "digits", "environment", "kernels", "operations", "tests"]

TOLERANCES = {"float16": 6e-3, "float32": 2e-5, "float64": 1e-11}
"""How far results may lie from NumPy's in float64, in parts of the largest of them."""


def environment(settings: Settings) -> None:
    """What there is: versions, the card, and what `gpunet doctor` says."""
    emit("Python", version=platform.python_version(), system=platform.platform())
    for package in ("torch", "pytest"):
        try:
            emit(package, version=metadata.version(package))
        except metadata.PackageNotFoundError:
            emit(package, version="not here")
    query = "--query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit"
    for command in (["nvidia-smi", query, "--format=csv,noheader"], ["git", "rev-parse", "HEAD"]):
        try:
            said = subprocess.run(
                command, capture_output=True, text=True, timeout=10, check=False, cwd=ROOT
            ).stdout.strip()
            emit(command[0], says=said)
        except (OSError, subprocess.TimeoutExpired) as error:
            emit(command[0], says=str(error))
    report = examine(settings.backend)
    for finding in report.findings:
        emit(f"doctor: {finding.part}", state=finding.state, detail=finding.detail)
    emit(f"doctor: the backend {report.backend}", ok=not report.problem, problem=report.problem)


# --------------------------------------------------------------------------------------------------------- operations


class Case(NamedTuple):
    """An operation, forward and backward, on inputs that are made from float64."""

    name: str
    dtype: str
    run: Callable[[str], list[Tensor]]
    """Takes a type of number; returns output and gradients on the active backend."""


def cases() -> Iterator[Case]:
    """Every operation as the tests know it, on small inputs, and the heavy ones on several shapes."""
    known = importlib.import_module("tests.test_operations")  # needs pytest

    def of_example(example: Any) -> Callable[[str], list[Tensor]]:
        return lambda dtype: list(known.with_gradients(example, np.dtype(dtype)))

    for dtype in TOLERANCES:
        for name, examples in known.EXAMPLES.items():
            if name != "Dropout":  # each backend draws its own numbers
                for number, example in enumerate(examples):
                    yield Case(f"{name} {number}", dtype, of_example(example))
        for name, (function, shapes) in SHAPES.items():
            yield Case(name, dtype, _of_function(function, shapes))


Shapes = tuple[tuple[int, ...], ...]


def _conv(x: tuple[int, ...], weight: tuple[int, ...], bias: bool = True, **window: Any) -> tuple[Any, Shapes]:
    return lambda *inputs: F.conv2d(*inputs, **window), (x, weight, weight[:1])[: 2 + bias]


def _norm(*shape: int, relu: bool = False) -> tuple[Any, Shapes]:
    def run(x: Tensor, weight: Tensor, bias: Tensor, residual: Tensor) -> Tensor:
        y = F.batch_norm(x, None, None, weight, bias, training=True)
        return F.relu(y + residual) if relu else y * residual

    return run, (shape, shape[1:2], shape[1:2], shape)


IMAGES, ODD = (3, 8, 13, 12), (2, 3, 13, 12)
SHAPES: dict[str, tuple[Any, Shapes]] = {
    "conv2d, first layer": _conv((4, 3, 33, 31), (16, 3, 7, 7), stride=2, padding=3),
    "conv2d, 3x3": _conv((4, 16, 9, 10), (32, 16, 3, 3), bias=False, padding=1),
    "conv2d, 3x3, stride 2": _conv((4, 16, 10, 9), (32, 16, 3, 3), padding=1, stride=2),
    "conv2d, 64 channels": _conv((1, 64, 28, 28), (64, 64, 3, 3), bias=False, padding=1),
    "conv2d, 1x1": _conv((4, 16, 7, 7), (24, 16, 1, 1)),
    "conv2d, 1x1, stride 2": _conv((4, 16, 7, 8), (24, 16, 1, 1), bias=False, stride=2),
    "conv2d, groups": _conv((3, 8, 7, 7), (12, 4, 3, 3), groups=2, padding=1),
    "conv2d, depthwise": _conv((3, 8, 8, 7), (8, 1, 3, 3), groups=8, padding=1, stride=2),
    "conv2d, dilated": _conv((2, 5, 11, 12), (7, 5, 3, 3), dilation=2, padding=2),
    "conv2d, 1x5, strides 2 and 3": _conv((2, 4, 9, 17), (6, 4, 1, 5), stride=(2, 3), padding=(0, 2)),
    "linear": (F.linear, ((33, 200), (10, 200), (10,))),
    "batch_norm, vectors": _norm(40, 17),
    "batch_norm, images": _norm(4, 16, 9, 9),
    "batch_norm, residual and ReLU": _norm(4, 16, 9, 9, relu=True),
    "batch_norm, 1 channel": _norm(3, 1, 5, 5),
    "batch_norm, many channels": _norm(2, 512, 3, 3),
    "batch_norm, many pixels": _norm(8, 16, 30, 30),
    "max_pool2d, 3x3, stride 2": (lambda x: F.max_pool2d(x, 3, 2, 1), (IMAGES,)),
    "max_pool2d, 2x2, 3 channels": (lambda x: F.max_pool2d(x, 2), (ODD,)),
    "avg_pool2d, 3x3, stride 2": (lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False), (IMAGES,)),
    "adaptive_avg_pool2d": (lambda x: F.adaptive_avg_pool2d(x, (5, 3)), (ODD,)),
    "adaptive_max_pool2d": (lambda x: F.adaptive_max_pool2d(x, (5, 3)), (IMAGES,)),
    "cross_entropy": (lambda x: F.cross_entropy(x, tensor(np.arange(33) % 10), label_smoothing=0.1), ((33, 10),)),
}
"""For each name a function of Tensors, and the shapes of those."""


def _of_function(function: Callable[..., Tensor], shapes: Shapes) -> Callable[[str], list[Tensor]]:
    """Inputs of these shapes, images channels-last, are put through a function; output and gradients come back."""

    def run(dtype: str) -> list[Tensor]:
        rng = np.random.default_rng(0)
        inputs = []
        for shape in shapes:
            array = asarray(rng.standard_normal(shape).astype(np.float16).astype(dtype))  # the same for each type
            inputs.append(Tensor(as_nchw(to_nhwc(array)) if len(shape) == 4 else array, requires_grad=True))
        output = function(*inputs)
        output.backward(tensor(rng.uniform(-1, 1, output.shape).astype(np.float16), output.dtype))
        return [output, *(each.grad for each in inputs if each.grad is not None)]

    return run


def compare(case: Case, backend: str) -> None:
    """Say how far a case lies from NumPy in float64, and whether it gives the same bits twice."""
    name = f"{case.name}, {case.dtype}"
    try:
        with use_backend("numpy"):
            expected = [each.numpy() for each in case.run("float64")]
        with use_backend(backend):
            given, again = ([to_cpu(each.array) for each in case.run(case.dtype)] for _ in range(2))
        distance = max(_distance(*pair) for pair in zip(given, expected, strict=True))
        repeats = all(map(np.array_equal, given, again))
        emit(name, ok=bool(distance <= TOLERANCES[case.dtype] and repeats), distance=distance, repeats=repeats)
    except Exception as error:  # whatever it is, the other cases go on
        emit(name, ok=False, error=f"{type(error).__name__}: {error}"[:300])


def _distance(given: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, in parts of the largest number that is expected; infinite where it is not a number."""
    if given.shape != expected.shape:
        return float("inf")
    difference = float(np.abs(given.astype(np.float64) - expected).max(initial=0))
    return difference / (float(np.abs(expected).max(initial=0)) or 1) if np.isfinite(difference) else float("inf")


def operations(settings: Settings, part: str, parts: str) -> None:
    """Every n-th case, and in the first part what else moves numbers: optimizers and the loader."""
    for case in list(cases())[int(part) :: int(parts)]:
        compare(case, settings.backend)
    if part == "0":
        for optimizer in (SGD, Adam, AdamW):
            compare(Case(f"four steps of {optimizer.__name__}", "float32", _of_optimizer(optimizer)), settings.backend)
        compare(Case("the loader", "float32", lambda dtype: _loaded()), settings.backend)


def _of_optimizer(optimizer: type[Any]) -> Callable[[str], list[Tensor]]:
    def run(dtype: str) -> list[Tensor]:
        rng = np.random.default_rng(0)
        shapes = [(300, 200), *[(5, 3, 2)] * 12]
        params = [tensor(rng.uniform(0.5, 1, shape), dtype, requires_grad=True) for shape in shapes]
        steps = optimizer(params, lr=0.01, weight_decay=0.01)
        for _ in range(4):
            steps.zero_grad()
            for param in params:
                (param * param * param).sum().backward()
            steps.step()
        return params

    return run


def _loaded() -> list[Tensor]:
    """The first batches of digits, as the loader brings them to the device."""
    loader = DataLoader(Digits(train=False), batch_size=64, shuffle=True, seed=1, workers=2)
    return [each.double() for _, batch in zip(range(4), loader, strict=False) for each in batch]


def kernels(settings: Settings, *names: str) -> None:
    """Whatever has kernels once, for a sanitizer: small, on arrays that are allocations of their own.

    Args:
        names: of the cases begin with one of these; all of them if there are none.
    """
    with use_backend(settings.backend):
        if not settings.rehearse:
            xp.cuda.set_allocator(None)  # no pool: what reaches beyond an array reaches beyond its allocation
        wanted = names or ("Conv2d", "BatchNorm", "MaxPool2d", "AvgPool2d", "Adaptive", "ReLU", "Linear")
        ran = 0
        for case in cases():
            if case.name.startswith(wanted) and case.dtype != "float64":
                case.run(case.dtype)
                ran += 1
        if not names:
            for optimizer in (SGD, Adam):
                _of_optimizer(optimizer)("float32")
        emit("ran", cases=ran)


# ------------------------------------------------------------------------------------------------------------ training


def digits(settings: Settings) -> None:
    """Train on the digits: the weights after the first steps against NumPy's, and what is learned in a few epochs."""
    steps = 2 if settings.rehearse else 16
    given, expected = (_weights(backend, steps) for backend in (settings.backend, "numpy"))
    distances = {name: _distance(given[name], right.astype(np.float64)) for name, right in expected.items()}
    worst = max(distances, key=lambda name: distances[name])
    emit(f"weights after {steps} steps", ok=distances[worst] < 1e-3, distance=distances[worst], of=worst)
    if not settings.rehearse:
        for backend in ("cupy", "numpy"):
            with use_backend(backend), tempfile.TemporaryDirectory() as folder:
                evaluation, _ = TrainingRun(TrainConfig(epochs=3), folder, show_progress=False).run()
                emit(f"3 epochs on {backend}", ok=evaluation.accuracy > 0.9, accuracy=evaluation.accuracy)


def _weights(backend: str, steps: int) -> dict[str, np.ndarray]:
    with use_backend(backend), tempfile.TemporaryDirectory() as folder:
        run = TrainingRun(TrainConfig(batch_size=16), folder, show_progress=False)
        for _, (images, labels) in zip(range(steps), run.train_loader, strict=False):
            run.trainer.train_step(images, labels)
        return {name: to_cpu(value.array) for name, value in run.model.state_dict().items()}


# --------------------------------------------------------------------------------------------------------------- tests


class _Counts:
    """A plugin of pytest that emits what became of the tests of each file, and each failure."""

    def __init__(self) -> None:
        self.file, self.outcomes = "", collections.Counter[str]()

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Called for setup, call and teardown of each test."""
        file = report.nodeid.partition("::")[0]
        if file != self.file:
            self.close()
            self.file = file
        if report.when == "call" or report.outcome != "passed":
            self.outcomes[report.outcome] += 1
        if report.outcome == "failed":
            emit(report.nodeid, ok=False, error=str(report.longrepr).strip().splitlines()[-1][:200])

    def close(self) -> None:
        """Emit the counts of the last file; what was only skipped is neither right nor wrong."""
        if self.file:
            tried = self.outcomes["passed"] + self.outcomes["failed"]
            emit(self.file, **({"ok": not self.outcomes["failed"]} if tried else {}), **self.outcomes)
        self.outcomes.clear()


def tests(settings: Settings, part: str, parts: str) -> None:
    """The tests that need a GPU, of every n-th file; warnings do not fail them, as they do elsewhere."""
    import pytest

    names = ("test_random.py", "test_dropout.py") if settings.rehearse else ("test_*.py",)
    files = sorted(
        (path for name in names for path in (ROOT / "tests").glob(name)), key=lambda path: -path.stat().st_size
    )
    chosen = ["-m", "not slow", "-k", "emulated"] if settings.rehearse else ["-m", "gpu and not slow"]
    counts = _Counts()
    options = ["-q", "-p", "no:cacheprovider", "-W", "default", "--tb=short", "--durations=0", *chosen]
    code = pytest.main([*options, *map(str, files[int(part) :: int(parts)])], plugins=[counts])
    counts.close()
    sys.exit(0 if code == pytest.ExitCode.NO_TESTS_COLLECTED else int(code))
