"""conv2d and linear: against the loops of the lecture and finite differences; tiles and threads change nothing."""

import itertools

import numpy as np
import pytest

import gpunet.functional as F
from gpunet.backend import tiles
from gpunet.ops.conv import Conv2d
from gpunet.ops.window import Window
from gpunet.tensor import apply, tensor
from gpunet.testing import gradcheck
from tests import reference
from tests.reference import close, run, upstream

pytestmark = pytest.mark.usefixtures("backend")

SETTINGS = list(
    itertools.product(
        [(1, 1), (2, 2), (3, 1)],  # stride
        [(0, 0), (1, 1), (2, 1)],  # padding
        [(1, 1), (2, 2), (1, 2)],  # dilation
        [1, 2],  # groups
    )
)
GEOMETRIES = [((5, 7), (3, 3)), ((6, 5), (2, 3)), ((5, 6), (1, 2))]  # image, kernel


@pytest.mark.parametrize(("stride", "padding", "dilation", "groups"), SETTINGS)
@pytest.mark.parametrize(("size", "kernel"), GEOMETRIES)
def test_conv2d_is_the_loop_of_the_lecture(size, kernel, stride, padding, dilation, groups, rng):
    x = rng.standard_normal((2, 2, *size))
    weight = rng.standard_normal((4, 2 // groups, *kernel))
    bias = rng.standard_normal(4)
    settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    y, gradients = run(lambda *inputs: F.conv2d(*inputs, **settings), x, weight, bias)
    close(y, reference.conv2d(x, weight, bias, **settings))
    close(gradients, reference.conv2d_gradients(x, weight, upstream(y.shape), **settings))


@pytest.mark.parametrize(("stride", "padding", "dilation", "groups"), SETTINGS)
def test_conv2d_gradients_are_finite_differences(stride, padding, dilation, groups, rng):
    x, weight, bias = (
        tensor(rng.standard_normal(shape), requires_grad=True) for shape in ((2, 4, 7, 6), (6, 4 // groups, 3, 2), (6,))
    )
    assert gradcheck(lambda *inputs: F.conv2d(*inputs, stride, padding, dilation, groups), [x, weight, bias])


@pytest.mark.parametrize(
    ("x_shape", "weight_shape", "settings"),
    [
        pytest.param((2, 3, 4, 5), (2, 3, 1, 1), {}, id="pointwise"),
        pytest.param((2, 3, 5, 4), (2, 3, 1, 1), {"stride": (2, 3)}, id="pointwise with a stride"),
        pytest.param((2, 4, 3, 3), (6, 2, 1, 1), {"groups": 2}, id="pointwise in groups"),
        pytest.param((2, 2, 3, 3), (3, 2, 1, 1), {"padding": (1, 1)}, id="pointwise with padding"),
        pytest.param((2, 3, 5, 5), (6, 1, 3, 3), {"groups": 3, "padding": (1, 1)}, id="depthwise"),
        pytest.param((1, 1, 1, 1), (1, 1, 1, 1), {}, id="one number"),
        pytest.param((1, 2, 1, 9), (3, 2, 1, 4), {"stride": (1, 2)}, id="a row"),
        pytest.param((2, 1, 3, 4), (2, 1, 3, 4), {}, id="one window"),
        pytest.param((1, 1, 2, 2), (1, 1, 3, 3), {"padding": (3, 3)}, id="windows of nothing but padding"),
        pytest.param((1, 1, 6, 6), (1, 1, 2, 2), {"stride": (4, 4)}, id="pixels that no window sees"),
        pytest.param((1, 1, 9, 9), (1, 1, 3, 3), {"dilation": (4, 3)}, id="wide dilation"),
    ],
)
def test_conv2d_at_the_edges_of_what_is_allowed(x_shape, weight_shape, settings, rng):
    x, weight = rng.standard_normal(x_shape), rng.standard_normal(weight_shape)
    y, gradients = run(lambda x, weight: F.conv2d(x, weight, **settings), x, weight)
    close(y, reference.conv2d(x, weight, **settings))
    close(gradients, reference.conv2d_gradients(x, weight, upstream(y.shape), **settings)[:2])


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (2, 4), (5, 2)])
@pytest.mark.parametrize("dilation", [(1, 1), (2, 3)])
def test_same_padding_keeps_the_size_and_puts_an_odd_zero_at_the_end(kernel, dilation, rng):
    x, weight = rng.standard_normal((1, 2, 7, 8)), rng.standard_normal((3, 2, *kernel))
    total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    padded = np.pad(x, [(0, 0), (0, 0), *((extra // 2, extra - extra // 2) for extra in total)])
    y = F.conv2d(tensor(x), tensor(weight), padding="same", dilation=dilation).numpy()
    assert y.shape == (1, 3, 7, 8)
    close(y, reference.conv2d(padded, weight, dilation=dilation))


def test_valid_padding_is_none(rng):
    x, weight = tensor(rng.standard_normal((1, 2, 5, 5))), tensor(rng.standard_normal((3, 2, 3, 3)))
    close(F.conv2d(x, weight, padding="valid").numpy(), F.conv2d(x, weight).numpy(), 0, 0)


def test_one_number_stands_for_rows_and_columns(rng):
    x, weight = tensor(rng.standard_normal((1, 2, 9, 8))), tensor(rng.standard_normal((3, 2, 3, 3)))
    one = F.conv2d(x, weight, stride=2, padding=1, dilation=2).numpy()
    close(one, F.conv2d(x, weight, stride=[2, 2], padding=(1, 1), dilation=(2, 2)).numpy(), 0, 0)


@pytest.mark.parametrize("budget", [1, 8000])
@pytest.mark.parametrize("groups", [1, 2])
def test_batch_of_several_tiles_is_the_loop_of_the_lecture(groups, budget, tile_bytes, rng):
    x, weight, bias = (rng.standard_normal(shape) for shape in ((5, 2, 5, 4), (4, 2 // groups, 3, 3), (4,)))
    tile_bytes(budget)
    assert len(tiles(5, 8 * 5 * 4 * 18)) == (5 if budget == 1 else 3)  # 2 + 2 + 1 images
    y, gradients = run(lambda *inputs: F.conv2d(*inputs, padding=1, groups=groups), x, weight, bias)
    settings = {"padding": (1, 1), "groups": groups}
    close(y, reference.conv2d(x, weight, bias, **settings))
    close(gradients, reference.conv2d_gradients(x, weight, upstream(y.shape), **settings))


@pytest.mark.parametrize("settings", [{}, {"stride": 2, "padding": 1}, {"groups": 4}], ids=str)
def test_bits_do_not_depend_on_the_number_of_threads(settings, threads, rng):
    shapes = (23, 8, 16, 15), (12, 8 // settings.get("groups", 1), 3, 3), (12,)  # several tiles of unequal size
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    results = []
    for count in (1, 2, 4):
        threads(count)
        y, gradients = run(lambda *inputs: F.conv2d(*inputs, **settings), *arrays)
        results.append([each.tobytes() for each in (y, *gradients)])
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("settings", [{}, {"stride": 2, "padding": 1}, {"groups": 2}], ids=str)
def test_output_and_gradient_lie_channels_last_in_memory(settings, rng):
    x = tensor(rng.standard_normal((2, 4, 5, 6)), requires_grad=True)
    y = F.conv2d(x, tensor(rng.standard_normal((6, 4 // settings.get("groups", 1), 3, 3))), **settings)
    y.sum().backward()
    assert y.array.transpose(0, 2, 3, 1).flags.c_contiguous
    assert x.grad.array.transpose(0, 2, 3, 1).flags.c_contiguous


def test_pointwise_convolution_is_a_matrix_product_over_channels(rng):
    x, weight = rng.standard_normal((2, 5, 3, 4)), rng.standard_normal((6, 5, 1, 1))
    close(F.conv2d(tensor(x), tensor(weight)).numpy(), np.einsum("nchw,oc->nohw", x, weight[:, :, 0, 0]))


@pytest.mark.parametrize("wanted", [(True, False, True), (False, True, False), (False, False, True)])
def test_gradient_nobody_needs_is_not_computed(wanted, rng):
    shapes = (1, 2, 5, 5), (3, 2, 3, 3), (3,)
    operation = Conv2d(Window((3, 3)), groups=1)
    y = apply(
        operation,
        *(tensor(rng.standard_normal(shape), requires_grad=each) for shape, each in zip(shapes, wanted, strict=True)),
    )
    assert tuple(gradient is not None for gradient in operation.backward(y.array)) == wanted


# ------------------------------------------------------------------------------------------------------------- linear


@pytest.mark.parametrize("shape", [(4,), (1, 4), (5, 4), (2, 3, 4), (2, 1, 3, 4)])
@pytest.mark.parametrize("with_bias", [True, False])
def test_linear_is_the_sum_over_the_last_dimension(shape, with_bias, rng):
    x, weight = rng.standard_normal(shape), rng.standard_normal((3, 4))
    bias = [rng.standard_normal(3)] if with_bias else []
    y, (dx, dweight, *dbias) = run(F.linear, x, weight, *bias)
    expected = np.zeros((*shape[:-1], 3))
    by_x, by_weight, grad = np.zeros(x.shape), np.zeros(weight.shape), upstream(expected.shape)
    for *row, o in np.ndindex(expected.shape):
        expected[(*row, o)] = sum(x[(*row, i)] * weight[o, i] for i in range(4)) + (bias[0][o] if bias else 0)
        for i in range(4):
            by_x[(*row, i)] += grad[(*row, o)] * weight[o, i]
            by_weight[o, i] += grad[(*row, o)] * x[(*row, i)]
    close([y, dx, dweight, *dbias], [expected, by_x, by_weight, *[grad.reshape(-1, 3).sum(axis=0) for _ in bias]])


def test_linear_gradients_are_finite_differences(rng):
    assert gradcheck(
        F.linear, [tensor(rng.standard_normal(shape), requires_grad=True) for shape in ((3, 2, 5), (4, 5), (4,))]
    )


def test_linear_bits_do_not_depend_on_the_number_of_threads(threads, rng):
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in ((1000, 300), (200, 300), (200,))]
    results = []
    for count in (1, 2, 4):
        threads(count)
        y, gradients = run(F.linear, *arrays)
        results.append([each.tobytes() for each in (y, *gradients)])
    assert results[0] == results[1] == results[2]
