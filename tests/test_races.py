"""The shipped kernels under ThreadSanitizer: every CUDA thread is a thread of the operating system, all blocks at once.

The emulator proper runs one block after the other and finds races in shared memory only; here two blocks that touch the
same element of an array meet as well. Shapes are small, but every kernel runs in several blocks.
"""

import numpy as np
import pytest

from gpunet import optim
from gpunet.backend import xp
from gpunet.backend.kernel_table import KERNELS
from gpunet.emulator import Module, find_races
from gpunet.errors import BackendError
from gpunet.ops import cuda_batchnorm
from gpunet.ops.batchnorm import Running, channels, statistics
from gpunet.optim import at_once
from gpunet.tensor import tensor
from tests import test_kernels as suite

pytestmark = [pytest.mark.slow, suite.pytestmark]

WINDOW = suite.WINDOWS["3x3 stride 2 ceil"]
IN_ONE_BLOCK = {"batch_norm_channels", "begin_adam", "rescale"}


def pooling(x):
    return [*suite.max_pool(x, WINDOW, "float32"), *suite.avg_pool(x, WINDOW, True, None)]


def adaptive_pooling(x):
    return suite.adaptive_pool(x, (7, 8))


def im2col(x):
    return suite.im2col_there_and_back(x, suite.WINDOWS["3x3 stride 2"], 1)


def batchnorm(x):
    def moving(x):
        running = Running(xp.zeros_like(x[0, 0, 0]), xp.ones_like(x[0, 0, 0]), 0.1)
        known, _ = statistics(x, x[0, 0, 0], x[0, 0, 1], 1e-5, running)
        return *known, running.mean, running.var, *channels(running.mean, running.var, None, None, 1e-5, x)

    results = suite.batch_norm(x, x, x[0, 0, 0], x[0, 0, 1], x[::-1], relu=True)
    inferred = suite.batch_norm_inference(x, x[0, 0, 0], x[0, 0, 1] ** 2, x[0, 0, 2], x[0, 0, 3])
    return [*results, *suite.on_device(moving, x), *inferred]


def elementwise(x):
    return *suite.relu_gradient(x, x[::-1]), *suite.add_relu_gradient(x, x[::-1], x[::-1])


def random(x):
    return suite.random_numbers(1, 2, x.size, "float32")


def optimizer(x):
    def made(x, grad):
        flat = x.reshape(-1)
        weights = [tensor(each.copy(), requires_grad=True) for each in (x, flat)]
        for each, its_grad in zip(weights, (grad, grad.reshape(-1)), strict=True):
            each.grad = tensor(its_grad)
        optim.Adam(weights).step()
        optim.SGD(weights, lr=0.1, momentum=0.9).step()
        unscaled = [x.copy(), flat.copy()]
        finite = at_once.unscale(unscaled, xp.full(1, 0.5))
        numbers = xp.ones(3)
        at_once.rescale(numbers, finite, 2.0, 0.5, 9, 1e9)
        return *(each.array for each in weights), *unscaled, finite, numbers

    return suite.on_device(made, x, x[::-1].copy())


@pytest.mark.parametrize("channels", [3, 8], ids=["one value a thread", "packs"])
@pytest.mark.parametrize(
    "steps",
    [pooling, adaptive_pooling, im2col, batchnorm, elementwise, random, optimizer],
    ids=lambda steps: steps.__name__,
)
def test_no_kernel_races(steps, channels, rng, monkeypatch):
    monkeypatch.setattr(cuda_batchnorm, "FEWEST_ROWS", 1)  # many chunks of few rows
    monkeypatch.setattr(cuda_batchnorm, "PASS_ROWS", 1)
    x = rng.standard_normal((5, 9, 10, channels)).astype(np.float32)
    expected = steps(x)
    blocks = {}

    def launch(module, name, grid, block, arguments, shared_mem=0):
        try:
            assert find_races(module, name, grid, block, arguments, shared_mem) == ""
        except BackendError as error:
            pytest.skip(str(error))
        blocks[name.partition("<")[0]] = grid[0]

    monkeypatch.setattr(Module, "launch", launch)
    for result, right in zip(steps(x), expected, strict=True):
        np.testing.assert_array_equal(result, right)
    assert set(blocks) == {kernel.name for kernel in KERNELS if kernel.source == steps.__name__}
    assert {name for name, count in blocks.items() if count == 1} <= IN_ONE_BLOCK
