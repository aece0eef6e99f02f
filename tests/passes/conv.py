"""Convolution: strides, paddings, dilations and groups, 1x1, the stem of 3 channels, and channels of any number."""

import numpy as np

from gpunet.ops.batchnorm import Channels
from gpunet.ops.window import Window
from tests.passes import cases, normal

ONE, ZERO = (1, 1), ((0, 0), (0, 0))


def around(padding):
    return ((padding, padding), (padding, padding))


# (images (N, H, W, C), outputs, window, groups)
GEOMETRIES = [
    ((2, 8, 8, 16), 32, Window((3, 3), ONE, around(1)), 1),
    ((1, 9, 7, 3), 16, Window((3, 3), ONE, around(1)), 1),  # the stem
    ((2, 15, 14, 3), 8, Window((7, 7), (2, 2), around(3)), 1),
    ((2, 9, 8, 3), 8, Window((3, 3), ONE, around(1), (3, 1)), 1),  # few channels, and rows far from one another
    ((2, 5, 14, 9), 40, Window((3, 3), ONE, around(1)), 1),  # rows of sevens
    ((3, 6, 5, 16), 24, Window((1, 1)), 1),
    ((2, 7, 7, 16), 8, Window((1, 1), (2, 2)), 1),  # the shortcut of a residual block
    ((2, 8, 9, 8), 16, Window((3, 3), (2, 2), around(1)), 1),
    ((1, 11, 10, 5), 7, Window((3, 2), (2, 3), ((1, 0), (2, 1)), (2, 1)), 1),
    ((2, 6, 6, 8), 8, Window((3, 3), ONE, around(1)), 8),  # depthwise
    ((1, 9, 8, 33), 33, Window((3, 3), (2, 2), around(1)), 33),
    ((2, 6, 6, 4), 8, Window((3, 3), ONE, around(1)), 4),  # depthwise, two outputs for each channel
    ((1, 7, 12, 10), 20, Window((5, 3), (1, 2), around(2), (2, 1)), 10),
    ((2, 6, 7, 12), 6, Window((3, 3), ONE, around(1), (2, 2)), 3),
    ((1, 5, 5, 1), 1, Window((5, 5)), 1),  # one value
    ((2, 4, 4, 64), 65, Window((3, 3), ONE, around(1)), 1),
    ((1, 3, 3, 300), 20, Window((3, 3), ONE, around(1)), 1),  # sums of thousands of numbers
    ((1, 2, 3, 140), 134, Window((1, 2)), 2),  # groups of many channels
    ((1, 12, 13, 19), 19, Window((4, 5), ONE, ((2, 1), (0, 3)), (3, 2)), 19),  # depthwise, most of it padding
    ((2, 1, 300, 4), 3, Window((1, 3), ONE, ((0, 0), (2, 1))), 1),  # rows that are cut
    ((1, 2, 300, 11), 11, Window((2, 2), ONE, around(1)), 11),
    ((9, 8, 8, 3), 5, Window((3, 3), ONE, around(1)), 1),  # several images together
    ((9, 8, 8, 70), 70, Window((1, 1), ONE, around(1)), 70),
    ((1, 80, 80, 4), 9, Window((3, 3), (9, 9), around(1)), 1),  # windows that leave gaps
    ((1, 3, 4, 5), 7, Window((4, 4), (4, 4), around(8)), 1),  # more padding than image
    ((1, 2, 2, 6), 20, Window((3, 3), ONE, around(4), (2, 2)), 1),  # elements that meet nothing but padding
    ((1, 2, 2, 18), 18, Window((3, 3), ONE, around(4), (2, 2)), 18),
    ((1, 2, 2, 6), 20, Window((3, 3), ONE, ((0, 4), (0, 4)), (2, 2)), 1),
    ((1, 2, 2, 18), 18, Window((3, 3), ONE, ((0, 4), (0, 4)), (2, 2)), 18),
]
# Work that is cut into parts, one for each thread, which are added at last.
LARGE = [
    ((7, 19, 18, 17), 13, Window((3, 3), ONE, around(1)), 1),
    ((256, 1, 1, 5), 4, Window((3, 3), ONE, around(1)), 1),  # a tile of images, of which most elements see nothing
]


def filters(rng, outputs, channels, window, groups, dtype=np.float32):
    """(O, C/G, kh, kw), in memory (kh, kw, C/G, O) as nn.Conv2d allocates them."""
    return normal(rng, (*window.kernel, channels // groups, outputs), dtype).transpose(3, 2, 0, 1)


def output_shape(shape, outputs, window):
    return (shape[0], *window.output_size(*shape[1:3]), outputs)


@cases("im2col")
def im2col(rng):
    for shape, _, window, groups in GEOMETRIES:
        for dtype in (np.float32, np.float16, np.float64):
            yield normal(rng, shape, dtype), window, groups


@cases("col2im")
def col2im(rng):
    for shape, outputs, window, groups in GEOMETRIES:
        pixels = np.prod(output_shape(shape, outputs, window)[:3])
        for dtype in (np.float32, np.float16, np.float64):
            rows = normal(rng, (groups, pixels, np.prod(window.kernel) * shape[3] // groups), dtype)
            yield rows, window, groups, shape


@cases("convolve")
def convolve(rng):
    for shape, outputs, window, groups in GEOMETRIES:
        weight = filters(rng, outputs, shape[3], window, groups)
        yield normal(rng, shape), weight, normal(rng, (outputs,)), window, groups
        yield normal(rng, shape), np.ascontiguousarray(weight), None, window, groups  # as a user may set them


@cases("convolve_normalise")
def convolve_normalise(rng):
    for shape, outputs, window, groups in GEOMETRIES:
        x, weight = normal(rng, shape), filters(rng, outputs, shape[3], window, groups)
        known = Channels(*(normal(rng, (outputs,)) for _ in range(4)))
        yield x, weight, None, window, groups, known, None, False
        residual = normal(rng, output_shape(shape, outputs, window))
        yield x, weight, normal(rng, (outputs,)), window, groups, known, residual, True


@cases("convolve_back_input")
def convolve_back_input(rng):
    for shape, outputs, window, groups in GEOMETRIES:
        weight = filters(rng, outputs, shape[3], window, groups)
        yield normal(rng, output_shape(shape, outputs, window)), weight, window, groups, shape


@cases("convolve_back_filters")
def convolve_back_filters(rng):
    for shape, outputs, window, groups in (*GEOMETRIES, *LARGE):
        yield normal(rng, shape), normal(rng, output_shape(shape, outputs, window)), window, groups
