"""What the kernels ask of memory: the operations that launch them, run on the emulator, which counts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from gpunet import functional as F
from gpunet.amp import GradScaler
from gpunet.backend import use_backend
from gpunet.emulator import Traffic, record_traffic
from gpunet.errors import ArgumentError
from gpunet.optim import SGD, Adam
from gpunet.tape import no_grad
from gpunet.tensor import Tensor, tensor

__all__ = ["DEFAULT_SHAPE", "Case", "traffic"]

Shape = tuple[int, int, int, int]

DEFAULT_SHAPE: Shape = (4, 64, 14, 14)
"""N, C, H, W: a few images in the middle of a network."""

MOST_VALUES = 1 << 18  # of the input: each access of each thread is kept for a moment


class Case(NamedTuple):
    """An operation, forward and backward: what it is, and what each of its launches asks of memory."""

    operation: str
    launches: list[Traffic]


def traffic(shape: Shape = DEFAULT_SHAPE) -> list[Case]:
    """Count for each kernel, on float32 images of this shape (N, C, H, W), what it asks of memory; no GPU is needed.

    Raises:
        ArgumentError: for a shape that is too large, or smaller than a window.
        BackendError: if the emulator has no C++ compiler, or one that does not show every access.
    """
    if min(shape[:2]) < 1 or min(shape[2:]) < 2 or math.prod(shape) > MOST_VALUES:
        raise ArgumentError(
            f"kernels: the images must have at least 2x2 pixels, and {MOST_VALUES} values in all at most, got {shape}"
        )
    values = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    cases = []
    with use_backend("emulated"):
        for operation, run in _operations(shape[1]):
            x = tensor(values, requires_grad=True)
            with record_traffic() as launches:
                run(x).sum().backward()
            cases.append(Case(operation, launches))
        for optimizer, step in _steps():
            x = tensor(values, requires_grad=True)
            x.sum().backward()
            with record_traffic() as launches:
                step(x)
            cases.append(Case(optimizer, launches))
    return cases


def _operations(channels: int) -> Iterator[tuple[str, Callable[[Tensor], Tensor]]]:
    """Windows that tile the image, and windows and cells that overlap."""
    yield "max_pool2d, 2x2, stride 2", lambda x: F.max_pool2d(x, 2)
    yield "max_pool2d, 3x3, stride 2, padding 1", lambda x: F.max_pool2d(x, 3, stride=2, padding=1)
    yield "avg_pool2d, 2x2, stride 2", lambda x: F.avg_pool2d(x, 2)
    yield "avg_pool2d, 3x3, stride 2, padding 1", lambda x: F.avg_pool2d(x, 3, stride=2, padding=1)
    yield "adaptive_avg_pool2d to 1x1", lambda x: F.adaptive_avg_pool2d(x, 1)
    yield "adaptive_avg_pool2d to 4x4", lambda x: F.adaptive_avg_pool2d(x, 4)
    yield "adaptive_max_pool2d to 1x1", lambda x: F.adaptive_max_pool2d(x, 1)
    yield "adaptive_max_pool2d to 4x4", lambda x: F.adaptive_max_pool2d(x, 4)
    filters = tensor(np.ones((1, channels, 3, 3), np.float32))
    yield "conv2d, 3x3, padding 1", lambda x: F.conv2d(x, filters, padding=1)
    mean, var, weight, bias = (tensor(np.full(channels, each, np.float32)) for each in (0, 1, 1, 0))
    yield "batch_norm in training", lambda x: F.batch_norm(x, mean, var, weight, bias, training=True)
    yield "batch_norm in evaluation", lambda x: F.batch_norm(x, mean, var, weight, bias)

    def infer(x: Tensor) -> Tensor:
        with no_grad():
            _ = F.batch_norm(x, mean, var, weight, bias).array
        return x

    yield "batch_norm where no gradient is wanted", infer
    yield "dropout", F.dropout
    yield "relu", lambda x: 2 * F.relu(x)

    def block(x: Tensor) -> Tensor:
        y = F.relu(x)
        return 2 * F.relu(F.batch_norm(y, mean, var, weight, bias, training=True) + y)

    yield "a residual block", block


def _steps() -> Iterator[tuple[str, Callable[[Tensor], object]]]:
    """Of optimizers, with images for parameters: between them and the operations every kernel is launched."""

    def scaled_sgd(x: Tensor) -> None:
        scaler = GradScaler()
        scaler.step(SGD([x], lr=0.1, momentum=0.9))
        scaler.update()

    yield "GradScaler, and a step of SGD with momentum", scaled_sgd
    yield "a step of Adam", lambda x: Adam([x]).step()
