"""The seed and the two streams that come from it."""

import numpy as np
import pytest

import gpunet
from gpunet import nn
from gpunet.backend import host_generator, manual_seed, to_cpu, uniform, xp
from gpunet.errors import ArgumentError


@pytest.fixture(autouse=True)
def _on_a_backend(backend):
    """Every test runs on each backend."""


def draw_host():
    return host_generator().random(5)


def draw_device():
    return to_cpu(uniform((5,)))


@pytest.mark.parametrize("draw", [draw_host, draw_device])
def test_the_same_seed_repeats_the_stream(draw):
    manual_seed(7)
    first = [draw(), draw()]
    manual_seed(7)
    np.testing.assert_array_equal([draw(), draw()], first)
    assert not np.array_equal(first[0], first[1])


@pytest.mark.parametrize("draw", [draw_host, draw_device])
def test_seeds_differ(draw):
    drawn = set()
    for seed in range(20):
        manual_seed(seed)
        drawn.add(draw().tobytes())
    assert len(drawn) == 20


def test_the_two_streams_differ():
    manual_seed(0)
    assert not np.array_equal(draw_host().astype(np.float32), draw_device())


def test_neither_stream_disturbs_the_other():
    manual_seed(3)
    host, device = draw_host(), draw_device()
    manual_seed(3)
    draw_device()
    draw_device()
    np.testing.assert_array_equal(draw_host(), host)
    manual_seed(3)
    draw_host()
    draw_host()
    np.testing.assert_array_equal(draw_device(), device)


def test_uniform():
    x = uniform((100, 100))
    assert isinstance(x, xp.ndarray)
    assert x.dtype == np.float32
    values = to_cpu(x)
    assert values.min() >= 0
    assert values.max() < 1
    assert abs(values.mean() - 0.5) < 5 / np.sqrt(12 * values.size)  # five standard deviations
    assert abs(np.mean(values < 0.1) - 0.1) < 5 * np.sqrt(0.09 / values.size)
    assert uniform(()).shape == ()
    assert uniform((0, 3)).shape == (0, 3)


def test_weights_and_masks_repeat():
    def weights_and_mask():
        gpunet.manual_seed(5)
        layer = nn.Linear(4, 4)
        mask = gpunet.functional.dropout(gpunet.tensor(np.ones((4, 4), np.float32)))
        return layer.weight.numpy().tobytes(), mask.numpy().tobytes()

    assert weights_and_mask() == weights_and_mask()


@pytest.mark.parametrize("seed", [0, 1, 2**63, 2**200, np.int64(5), np.uint8(5)])
def test_seeds_that_are_taken(seed):
    manual_seed(seed)
    first = draw_host()
    manual_seed(int(seed))
    np.testing.assert_array_equal(draw_host(), first)


@pytest.mark.parametrize("seed", [-1, 1.0, "1", None, True, np.int64(-1)])
def test_seeds_that_are_refused(seed):
    manual_seed(1)
    expected = draw_host()
    manual_seed(1)
    with pytest.raises(ArgumentError, match="manual_seed expects a whole number of 0 or more, got"):
        manual_seed(seed)
    np.testing.assert_array_equal(draw_host(), expected)  # the streams are as they were
