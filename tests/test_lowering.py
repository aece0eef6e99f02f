"""Lowered rows, by `xp` and by the raw kernel, against a loop over every number."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from gpunet.backend import asarray, kernels, to_cpu
from gpunet.ops.lowering import Lowering
from gpunet.ops.window import Window

pytestmark = pytest.mark.usefixtures("backend")

GEOMETRIES = [
    Window((3, 3), padding=((1, 1), (1, 1))),
    Window((3, 2), stride=(2, 3), padding=((1, 0), (0, 2))),
    Window((2, 3), stride=(3, 1), padding=((2, 1), (1, 1)), dilation=(2, 2)),
    Window((1, 1), stride=(2, 2)),
    Window((5, 4), padding=((4, 4), (3, 3))),
]
CHANNELS = [(1, 1), (4, 1), (8, 2), (6, 3), (33, 1)]  # channels, groups


def loop(x, window, groups):
    """What each kernel row meets: (kh, G, Ho*n*Wo, kw*C/G)."""
    n, height, width, channels = x.shape
    (kh, kw), (sh, sw), (dh, dw) = window.kernel, window.stride, window.dilation
    (top, _), (left, _) = window.padding
    out_height, out_width = window.output_size(height, width)
    size = channels // groups
    met = np.zeros((kh, groups, out_height, n, out_width, kw, size), x.dtype)
    for i, g, k, image, l_, j in itertools.product(*map(range, met.shape[:-1])):
        row, column = k * sh - top + i * dh, l_ * sw - left + j * dw
        if 0 <= row < height and 0 <= column < width:
            met[i, g, k, image, l_, j] = x[image, row, column, g * size : (g + 1) * size]
    return met.reshape(kh, groups, -1, kw * size)


@pytest.mark.parametrize("raw", ["1", "0"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("window", GEOMETRIES)
def test_rows_that_the_kernel_meets(rng, monkeypatch, window, dtype, raw):
    monkeypatch.setenv("GPUNET_RAW_KERNELS", raw)
    for channels, groups in CHANNELS:
        images = rng.standard_normal((2, 2, 7, 6, channels)).astype(dtype)
        images[0, 0, 3, 2, 0] = np.nan
        lowering = Lowering(images[0].shape, np.dtype(dtype), window, groups)
        for x in images:  # the second tile finds what the first has left
            lowering.fill(asarray(x))
            for met, expected in zip(lowering.met_by, loop(x, window, groups), strict=True):
                np.testing.assert_array_equal(to_cpu(met), expected)


def test_the_kernel_is_used_wherever_there_are_kernels(backend):
    assert kernels.enabled() is (backend != "numpy")
