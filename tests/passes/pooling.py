"""Pooling: windows that overlap, leave gaps, reach into the padding or beyond the image, and adaptive cells."""

import numpy as np

from gpunet.ops.adaptive_pooling import adaptive_max_pool2d_forward
from gpunet.ops.pooling import max_pool2d_forward
from gpunet.ops.window import Window
from tests.passes import cases, normal

NONE = ((0, 0), (0, 0))
ALL = ((1, 1), (1, 1))

# (images (N, H, W, C), window)
WINDOWS = [
    ((2, 8, 8, 16), Window((2, 2), (2, 2))),
    ((3, 9, 7, 5), Window((3, 3), (2, 2), ALL)),
    ((1, 9, 8, 3), Window((3, 2), (1, 2))),
    ((2, 7, 7, 33), Window((2, 2), (3, 3))),  # gaps
    ((2, 6, 7, 8), Window((3, 3), (2, 2), ALL, ceil_mode=True)),
    ((2, 1, 1, 8), Window((1, 1))),
    ((1, 20, 18, 2), Window((17, 17))),  # more than 256 places in a window
    ((1, 5, 37, 3), Window((2, 2), (2, 2))),  # long rows of few channels
    ((2, 3, 26, 1), Window((3, 3), (1, 1), ALL)),
    ((1, 4, 30, 5), Window((2, 3), (1, 2), ((0, 1), (1, 1)))),
    ((1, 4, 4, 63), Window((2, 2), (2, 2))),  # channels in blocks of several sizes
    ((1, 7, 31, 19), Window((5, 5), (1, 1), ((2, 2), (2, 2)))),  # sums of more than a few numbers
    ((1, 6, 5, 520), Window((5, 4), (1, 1), ((2, 0), (1, 2)))),
    ((1, 3, 2, 9), Window((2, 2), (1, 3), ((1, 0), (0, 1)))),  # more padding than image
]
DILATED = [
    *WINDOWS,
    ((2, 9, 9, 4), Window((3, 3), (1, 2), ALL, (2, 2))),
    ((1, 7, 40, 2), Window((3, 3), (2, 1), ALL, (1, 3))),
    ((2, 8, 7, 9), Window((2, 3), (3, 2), ((0, 1), (1, 0)), (3, 1))),
]

# (images (N, H, W, C), cells)
CELLS = [
    ((2, 8, 8, 16), (1, 1)),
    ((2, 7, 5, 3), (3, 2)),  # cells overlap
    ((1, 2, 3, 8), (4, 5)),  # more cells than pixels
    ((1, 60, 50, 5), (1, 1)),
    ((1, 11, 9, 63), (4, 3)),  # channels in blocks of several sizes
    ((1, 3, 2, 9), (13, 11)),  # a pixel in many cells
    ((2, 1, 9, 2), (3, 4)),
    ((2, 9, 1, 17), (2, 3)),
]
TYPES = (np.float32, np.float16, np.float64)


def grad_like_output(rng, shape, window, dtype):
    return normal(rng, (shape[0], *window.output_size(*shape[1:3]), shape[3]), dtype)


@cases("max_pool2d_forward")
def max_pool2d(rng):
    for shape, window in DILATED:
        for dtype in TYPES:
            for remember in (True, False):
                yield normal(rng, shape, dtype).round(1), window, remember  # rounded: some values are equal


@cases("max_pool2d_backward")
def max_pool2d_back(rng):
    for shape, window in DILATED:
        for dtype in TYPES:
            _, winner = max_pool2d_forward.page(normal(rng, shape, dtype), window, True)
            yield grad_like_output(rng, shape, window, dtype), winner, window, shape


@cases("avg_pool2d_forward")
def avg_pool2d(rng):
    for shape, window in WINDOWS:
        for dtype in TYPES:
            for count_include_pad, divisor_override in ((True, None), (False, None), (True, 3)):
                yield normal(rng, shape, dtype), window, count_include_pad, divisor_override


@cases("avg_pool2d_backward")
def avg_pool2d_back(rng):
    for shape, window in WINDOWS:
        for dtype in TYPES:
            for count_include_pad, divisor_override in ((True, None), (False, None), (True, 3)):
                yield grad_like_output(rng, shape, window, dtype), window, shape, count_include_pad, divisor_override


@cases("adaptive_avg_pool2d_forward")
def adaptive_avg_pool2d(rng):
    for shape, cells in CELLS:
        for dtype in TYPES:
            yield normal(rng, shape, dtype), cells


@cases("adaptive_avg_pool2d_backward")
def adaptive_avg_pool2d_back(rng):
    for shape, cells in CELLS:
        for dtype in TYPES:
            yield normal(rng, (shape[0], *cells, shape[3]), dtype), shape


@cases("adaptive_max_pool2d_forward")
def adaptive_max_pool2d(rng):
    for shape, cells in CELLS:
        for dtype in TYPES:
            for remember in (True, False):
                yield normal(rng, shape, dtype).round(1), cells, remember


@cases("adaptive_max_pool2d_backward")
def adaptive_max_pool2d_back(rng):
    for shape, cells in CELLS:
        for dtype in TYPES:
            _, winner = adaptive_max_pool2d_forward.page(normal(rng, shape, dtype), cells, True)
            yield normal(rng, (shape[0], *cells, shape[3]), dtype), winner, shape
