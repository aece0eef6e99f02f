"""What memory held before makes no difference: whether it was zero or NaN, results have the same bits.

Working arrays, and results that are not yet written, hold whatever was there last. An operation that reads one of them
before writing it is seldom caught otherwise, since fresh memory is zero.
"""

import itertools

import numpy as np
import pytest

import gpunet.functional as F
from gpunet.backend import xp
from gpunet.backend.scratch import scratch
from tests.passes import CASES
from tests.reference import run
from tests.test_passes import (
    KERNELS,
    PASSES,
    assert_same_bits,
    call,
    each_array,
    on_backend,
    on_device,
    spared,
    without_kernels,
)

pytestmark = [pytest.mark.usefixtures("numpy_backend"), pytest.mark.slow]


def full_of(number, make):
    """What makes an array, and then fills it; whole numbers, which have no NaN, with 99."""

    def made(*args, **kwargs):
        array = make(*args, **kwargs)
        array.fill(99 if number != 0 and array.dtype.kind != "f" else number)
        return array

    return made


def assert_memory_does_not_matter(function, *args):
    results = []
    for number in (0, np.nan):
        with pytest.MonkeyPatch.context() as patch:
            for name in ("empty", "empty_like"):
                patch.setitem(xp.__dict__, name, full_of(number, getattr(xp, name)))
            patch.setattr("gpunet.ops.conv.scratch", full_of(number, scratch))
            results.append(function(*args))
    assert_same_bits(*results)


@pytest.mark.parametrize(("name", "device", "number"), KERNELS)
def test_kernels(name, device, number, rng):
    kernel = PASSES[name].kernels[device][number]

    def launched(case):
        return call(kernel.run, each_array(on_backend, spared(name, case)))

    for case in CASES[name].make(rng):
        with on_device(device):
            if kernel.takes(*each_array(on_backend, case)):
                assert_memory_does_not_matter(launched, case)


@pytest.mark.parametrize("name", PASSES)
def test_pages(name, rng):
    def computed(case):
        return call(PASSES[name].page, spared(name, case))

    with without_kernels():
        for case in CASES[name].make(rng):
            assert_memory_does_not_matter(computed, case)


def convolved(x, weight, bias, settings):
    """The output of a convolution and its gradients."""
    y, gradients = run(lambda *arrays: F.conv2d(*arrays, *settings), x, weight, bias)
    return y, *gradients


@pytest.mark.parametrize("one_image_a_tile", [False, True])
@pytest.mark.parametrize("kernels", [True, False])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_convolutions_and_their_gradients(groups, kernels, one_image_a_tile, monkeypatch, tile_bytes, rng):
    """72 each, 864 together."""
    monkeypatch.setattr("gpunet.backend.kernels._turned_off", not kernels)
    if one_image_a_tile:
        tile_bytes(1)
    for kernel, stride, padding, dilation, channels_last in itertools.product(
        [(1, 1), (3, 3), (2, 5)], [1, 2, 3], [0, 1], [1, 2], [False, True]
    ):
        x = rng.standard_normal((3, 9, 10, 4)).astype(np.float32).transpose(0, 3, 1, 2)
        weight = rng.standard_normal((8, 4 // groups, *kernel)).astype(np.float32)
        bias = rng.standard_normal(8).astype(np.float32)
        settings = (stride, padding, dilation, groups)
        x = x if channels_last else np.ascontiguousarray(x)
        assert_memory_does_not_matter(convolved, x, weight, bias, settings)


def test_that_it_would_be_seen():
    def reads_before_writing():
        return [xp.empty(3, np.float32) + 1]

    with pytest.raises(AssertionError):
        assert_memory_does_not_matter(reads_before_writing)
