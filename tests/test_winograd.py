"""Convolution by minimal filtering: against the loops of the lecture, for every size, padding and cut; its accuracy."""

import itertools

import numpy as np
import pytest

import gpunet.functional as F
from gpunet.backend import kernels
from gpunet.ops import winograd
from gpunet.ops.conv import Conv2d
from gpunet.ops.window import Window
from gpunet.ops.winograd import Winograd
from tests import reference
from tests.reference import close, run, upstream

pytestmark = pytest.mark.usefixtures("numpy_backend")


@pytest.fixture
def everywhere(monkeypatch):
    """Minimal filtering also where it does not pay."""
    for name in ("FEWEST_CHANNELS", "FEWEST_NUMBERS", "SMALLEST_SIDE"):
        monkeypatch.setattr(winograd, name, 1)


def method_of(x, weight, window, groups=1):
    operation = Conv2d(window, groups)
    operation.needs_grad = (True, True)
    operation.forward(x, weight)
    return type(operation.method)


def padded(top, bottom=None, left=None, right=None):
    sides = [top if side is None else side for side in (top, bottom, left, right)]
    return Window((3, 3), padding=((sides[0], sides[1]), (sides[2], sides[3])))


@pytest.mark.parametrize("size", list(itertools.product([3, 4, 7], [3, 6, 9])))
@pytest.mark.parametrize("padding", [(0, 0), (1, 1), (2, 1)])
def test_it_is_the_loop_of_the_lecture(size, padding, everywhere, rng):
    x, weight, bias = (rng.standard_normal(shape) for shape in ((2, 2, *size), (3, 2, 3, 3), (3,)))
    assert method_of(x, weight, Window((3, 3), padding=tuple((p, p) for p in padding))) is Winograd
    y, gradients = run(lambda *inputs: F.conv2d(*inputs, padding=padding), x, weight, bias)
    close(y, reference.conv2d(x, weight, bias, padding=padding))
    close(gradients, reference.conv2d_gradients(x, weight, upstream(y.shape), padding=padding))


@pytest.mark.parametrize("budget", [1, 3000, 20000])
def test_tiles_and_bands_of_any_size(budget, everywhere, tile_bytes, rng):
    x, weight = rng.standard_normal((5, 2, 9, 7)), rng.standard_normal((3, 2, 3, 3))
    tile_bytes(budget)
    y, gradients = run(lambda *inputs: F.conv2d(*inputs, padding=1), x, weight)
    close(y, reference.conv2d(x, weight, padding=(1, 1)))
    close(gradients, reference.conv2d_gradients(x, weight, upstream(y.shape), padding=(1, 1))[:2])


def test_a_workspace_that_is_used_again_brings_nothing_along(everywhere, rng):
    weight = rng.standard_normal((3, 2, 3, 3))
    for x in (rng.standard_normal((2, 2, 5, 5)), np.full((2, 2, 5, 5), np.nan), rng.standard_normal((2, 2, 5, 5))):
        y, _ = run(lambda *inputs: F.conv2d(*inputs, padding=1), x, weight)
    close(y, reference.conv2d(x, weight, padding=(1, 1)))


def test_float32_is_as_accurate_as_matrix_products_over_lowered_rows(rng, monkeypatch):
    x, weight = rng.standard_normal((42, 64, 14, 14)), rng.standard_normal((64, 64, 3, 3))
    exact = run(lambda *inputs: F.conv2d(*inputs, padding=1), x, weight)  # float64
    arrays = [each.astype(np.float32) for each in (x, weight)]

    def errors():
        y, gradients = run(lambda *inputs: F.conv2d(*inputs, padding=1), *arrays)
        pairs = zip((y, *gradients), (exact[0], *exact[1]), strict=True)
        return [np.sqrt(np.mean((got - right) ** 2) / np.mean(right**2)) for got, right in pairs]

    assert method_of(*arrays, padded(1)) is Winograd
    filtered = errors()
    monkeypatch.setattr(winograd, "FEWEST_CHANNELS", 65)
    assert method_of(*arrays, padded(1)) is not Winograd
    for by_filtering, by_rows in zip(filtered, errors(), strict=True):
        assert by_filtering < 1e-6
        assert by_filtering < 3 * by_rows


def test_bits_do_not_depend_on_the_number_of_threads(threads, rng):
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in ((83, 64, 9, 11), (64, 64, 3, 3))]
    results = []
    for count in (1, 2, 4):
        threads(count)
        y, gradients = run(lambda *inputs: F.conv2d(*inputs, padding=1), *arrays)
        results.append([each.tobytes() for each in (y, *gradients)])
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize(
    ("shape", "outputs", "window", "groups", "used"),
    [
        pytest.param((42, 64, 14, 14), 64, padded(1), 1, True, id="many channels"),
        pytest.param((42, 64, 14, 15), 64, padded(0, 2, 1, 0), 1, True, id="uneven padding"),
        pytest.param((90, 32, 14, 14), 64, padded(1), 1, False, id="few channels in"),
        pytest.param((90, 64, 14, 14), 32, padded(1), 1, False, id="few channels out"),
        pytest.param((41, 64, 14, 14), 64, padded(1), 1, False, id="few pixels"),
        pytest.param((999, 64, 3, 3), 64, padded(1), 1, False, id="small images"),
        pytest.param((90, 64, 14, 14), 64, padded(3), 1, False, id="more padding than the kernel reaches"),
        pytest.param((90, 128, 14, 14), 128, padded(1), 2, False, id="groups"),
        pytest.param((200, 64, 14, 14), 64, Window((3, 3), (2, 2), ((1, 1), (1, 1))), 1, False, id="a stride"),
        pytest.param((200, 64, 14, 14), 64, Window((3, 3), dilation=(2, 2)), 1, False, id="dilation"),
        pytest.param((200, 64, 14, 14), 64, Window((5, 5), padding=((2, 2), (2, 2))), 1, False, id="5x5"),
    ],
)
def test_where_it_is_used(shape, outputs, window, groups, used, rng):
    x = np.zeros(shape, np.float32)
    weight = np.zeros((outputs, shape[1] // groups, *window.kernel), np.float32)
    assert (method_of(x, weight, window, groups) is Winograd) is used


def test_kernels_do_without_it(monkeypatch):
    monkeypatch.setattr(kernels, "enabled", lambda: True)
    y = np.zeros((42, 14, 14, 64), np.float32)
    assert not Winograd.fits(np.zeros((64, 64, 3, 3), np.float32), padded(1), 1, y)
