"""How well the CUDA kernels use the memory of a GPU: bytes a second, against a plain copy from device to device.

Pooling and batch norm compute little and move much, so a copy is the best that they could be. Each kernel is credited
with what it cannot avoid: reading every array that goes in and writing every array that comes out, once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gpunet.backend import Array, active_backend, asarray, xp
from gpunet.backend.kernels import enabled
from gpunet.bench.timing import Clock, quickest
from gpunet.bench.workloads import synchronize
from gpunet.errors import BackendError
from gpunet.ops import activation, adaptive_pooling, batchnorm, conv, pooling
from gpunet.ops.window import Window
from gpunet.optim import SGD, Adam
from gpunet.tensor import Tensor

__all__ = ["KernelSpeed", "time_kernels"]

SHAPES = {"cupy": (256, 56, 56, 64), "emulated": (2, 6, 6, 8)}  # (N, H, W, C); on a GPU 205 MB, beyond every cache
LAUNCHES = 20  # before waiting for the GPU: it works on one while the next is being prepared


@dataclass(frozen=True)
class KernelSpeed:
    """What one kernel (with the tiny ones that finish its work) reached; `copy` is the copy that all are held against.

    Attributes:
        bytes: that it has to move.
        seconds: for one launch.
    """

    name: str
    bytes: int
    seconds: float

    @property
    def bytes_per_second(self) -> float:
        """The bandwidth."""
        return self.bytes / self.seconds

    def as_dict(self) -> dict[str, Any]:
        """The fields by name, as `from_dict` takes them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> KernelSpeed:
        """The kernel with these fields, as they come out of JSON."""
        return cls(**fields)


def time_kernels(
    shape: tuple[int, int, int, int] | None = None, repeats: int = 5, clock: Clock = time.perf_counter
) -> list[KernelSpeed]:
    """Time a copy, and then every kernel that passes over whole images. In the emulator the times mean nothing.

    Args:
        shape: (N, H, W, C) of the images, with H and W at least 2; by default one that fills a GPU.

    Raises:
        BackendError: where no kernels run: on the numpy backend, or with GPUNET_RAW_KERNELS=0.
    """
    if not enabled():
        raise BackendError(
            f"the speed of CUDA kernels is measured on the cupy backend (or, for a test, on the emulated one); "
            f"active is {active_backend()}, and GPUNET_RAW_KERNELS must not be 0"
        )
    speeds = []
    for name, (run, moved) in _kernels(shape or SHAPES[active_backend()]).items():

        def launches(run: Callable[[], object] = run) -> None:
            for _ in range(LAUNCHES):
                run()
            synchronize()

        speeds.append(KernelSpeed(name, sum(array.nbytes for array in moved), quickest(launches, repeats, clock)))
    return [KernelSpeed(speed.name, speed.bytes, speed.seconds / LAUNCHES) for speed in speeds]


def _kernels(shape: tuple[int, int, int, int]) -> dict[str, tuple[Callable[[], object], tuple[Array, ...]]]:
    """For each kernel what launches it, and the arrays that it has to read or write."""
    x = asarray(np.random.default_rng(0).standard_normal(shape, dtype=np.float32))  # (N, H, W, C)
    copy, residual = xp.empty_like(x), xp.ones_like(x)
    window = Window((2, 2), (2, 2))
    y, winner = pooling.max_pool2d_forward(x, window, True)  # (N, H/2, W/2, C)
    pooled, _ = pooling.max_pool2d_forward(x, window, False)
    half = (shape[1] // 2, shape[2] // 2)
    _, adaptive_winner = adaptive_pooling.adaptive_max_pool2d_forward(x, half, True)
    mean, var = batchnorm.moments(x)
    ones = xp.ones((shape[3],), dtype=xp.float32)
    known = batchnorm.channels(mean, var, ones, ones, 1e-5, x)
    relu_output = batchnorm.normalise(x, known, residual, True)
    sums = batchnorm.backward_sums(residual, x, known, relu_output)
    few, windows = x[: -(-shape[0] // 8)], Window((3, 3), padding=((1, 1), (1, 1)))  # rows are 9 times the images
    rows = conv.im2col(few, windows, 1)  # (1, n*H*W, 9*C)
    sgd, adam = SGD([_weights(shape)], lr=1e-9, momentum=0.9), Adam([_weights(shape)], lr=1e-9)
    return {
        "copy": (lambda: xp.copyto(copy, x), (x, copy)),
        "max_pool2d_forward": (lambda: pooling.max_pool2d_forward(x, window, True), (x, y, winner)),
        "max_pool2d_backward": (lambda: pooling.max_pool2d_backward(y, winner, window, shape), (y, winner, x)),
        "avg_pool2d_forward": (lambda: pooling.avg_pool2d_forward(x, window, True, None), (x, pooled)),
        "avg_pool2d_backward": (
            lambda: pooling.avg_pool2d_backward(pooled, window, shape, True, None),
            (pooled, x),
        ),
        "adaptive_avg_pool2d_forward": (lambda: adaptive_pooling.adaptive_avg_pool2d_forward(x, half), (x, pooled)),
        "adaptive_avg_pool2d_backward": (
            lambda: adaptive_pooling.adaptive_avg_pool2d_backward(pooled, shape),
            (pooled, x),
        ),
        "adaptive_max_pool2d_forward": (
            lambda: adaptive_pooling.adaptive_max_pool2d_forward(x, half, True),
            (x, pooled, adaptive_winner),
        ),
        "adaptive_max_pool2d_backward": (
            lambda: adaptive_pooling.adaptive_max_pool2d_backward(pooled, adaptive_winner, shape),
            (pooled, adaptive_winner, x),
        ),
        "batch_norm_statistics": (lambda: batchnorm.moments(x), (x,)),
        "batch_norm_normalise": (lambda: batchnorm.normalise(x, known), (x, copy)),
        "batch_norm_normalise, residual and ReLU": (
            lambda: batchnorm.normalise(x, known, residual, True),
            (x, residual, relu_output),
        ),
        "batch_norm_sums, ReLU": (
            lambda: batchnorm.backward_sums(residual, x, known, relu_output),
            (residual, x, relu_output),
        ),
        "batch_norm_input_gradient, ReLU": (
            lambda: batchnorm.input_gradient(residual, x, known, sums, relu_output),
            (residual, x, relu_output, copy),
        ),
        "im2col, 3x3": (lambda: conv.im2col(few, windows, 1), (few, rows)),
        "col2im, 3x3": (lambda: conv.col2im(rows, windows, 1, few.shape), (rows, few)),
        "relu_gradient": (lambda: activation.rectify_back(residual, relu_output), (residual, relu_output, x)),
        "add_relu_gradient": (
            lambda: activation.add_rectified_back(residual, relu_output, copy),
            (residual, relu_output, copy, copy),
        ),
        "sgd, momentum": (sgd.step, (x,) * 5),  # weights, gradients and velocities; all but gradients also written
        "adam": (adam.step, (x,) * 7),
    }


def _weights(shape: tuple[int, ...]) -> Tensor:
    """A parameter that has a gradient."""
    weights = Tensor(xp.ones(shape, dtype=xp.float32), requires_grad=True)
    weights.grad = Tensor(xp.ones(shape, dtype=xp.float32))
    return weights
