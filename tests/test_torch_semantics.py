"""What PyTorch takes and its table of modules does not try: empty batches, single images, windows beyond the image."""

import numpy as np
import pytest

import gpunet.functional as F
from gpunet import nn
from gpunet.tensor import tensor
from tests.reference import close, upstream

pytestmark = pytest.mark.usefixtures("backend")


def results(library, make, function, shapes, settings):
    """Outputs and gradients of a function of random Tensors of these shapes."""
    rng = np.random.default_rng(0)
    inputs = [make(rng.uniform(0.1, 0.9, shape), requires_grad=True) for shape in shapes]
    made = function(library, *inputs, **settings)
    outputs = made if isinstance(made, tuple) else (made,)
    outputs[0].backward(make(upstream(tuple(outputs[0].shape))))
    return [each.detach().numpy() for each in outputs] + [each.grad.numpy() for each in inputs]


def side_by_side(torch, function, shapes, **settings):
    ours = results(F, tensor, function, shapes, settings)
    close(ours, results(torch.nn.functional, torch.tensor, function, shapes, settings))


def named(name, *positional):
    return lambda library, *inputs, **settings: getattr(library, name)(*inputs, *positional, **settings)


EMPTY = [
    (named("conv2d"), [(0, 4, 5, 6), (6, 4, 3, 2), (6,)], {"padding": 1}),
    (named("conv2d"), [(0, 4, 5, 6), (6, 2, 3, 2)], {"groups": 2}),
    (named("linear"), [(0, 4), (3, 4), (3,)], {}),
    (named("linear"), [(2, 0, 4), (3, 4)], {}),
    (named("max_pool2d", 2), [(0, 4, 5, 6)], {}),
    (named("max_pool2d", 2), [(0, 4, 5, 6)], {"return_indices": True}),
    (named("avg_pool2d", 2), [(0, 4, 5, 6)], {"ceil_mode": True}),
    (named("adaptive_avg_pool2d", 2), [(0, 4, 5, 6)], {}),
    (named("adaptive_max_pool2d", (3, None)), [(0, 4, 5, 6)], {"return_indices": True}),
    (named("batch_norm", None, None), [(0, 4, 5, 6)], {"training": True}),
    (
        lambda library, x, w, b, **s: library.batch_norm(x, None, None, w, b, **s),
        [(0, 4), (4,), (4,)],
        {"training": True},
    ),
    (named("softmax", 1), [(0, 3)], {}),
    (named("log_softmax", 1), [(3, 0)], {}),
    (named("mse_loss"), [(0, 3), (0, 3)], {}),
    (named("binary_cross_entropy"), [(0, 3), (0, 3)], {}),
    (named("binary_cross_entropy_with_logits"), [(0, 3), (0, 3)], {"reduction": "sum"}),
    (named("cross_entropy"), [(0, 3), (0, 3)], {"label_smoothing": 0.1}),
    (named("kl_div"), [(0, 3), (0, 3)], {"reduction": "none"}),
]


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")
@pytest.mark.parametrize("example", EMPTY, ids=lambda example: f"{example[1][0]}")
def test_empty_batch(torch, example):
    function, shapes, settings = example
    side_by_side(torch, function, shapes, **settings)


def test_loss_of_no_rows_is_nan():
    labels = tensor(np.zeros(0, np.int64))
    assert np.isnan(F.cross_entropy(tensor(np.zeros((0, 3))), labels).item())
    assert F.nll_loss(tensor(np.zeros((0, 3))), labels, reduction="sum").item() == 0


def test_an_empty_batch_counts_and_moves_no_statistics():
    layer = nn.BatchNorm2d(3)
    layer(tensor(np.zeros((0, 3, 2, 2), np.float32)))
    assert (layer.running_mean.tolist(), layer.running_var.tolist()) == ([0] * 3, [1] * 3)
    assert layer.num_batches_tracked.item() == 1


ONE_IMAGE = [
    (named("conv2d"), [(4, 5, 6), (6, 4, 3, 2), (6,)], {"padding": 1}),
    (named("max_pool2d", 2), [(4, 5, 6)], {"return_indices": True, "padding": 1, "stride": (1, 2)}),
    (named("max_pool2d", 2), [(2, 4, 5, 6)], {"return_indices": True, "dilation": 2}),
    (named("avg_pool2d", 2), [(4, 5, 6)], {}),
    (named("adaptive_avg_pool2d", 2), [(4, 5, 6)], {}),
    (named("adaptive_max_pool2d", (3, None)), [(4, 5, 6)], {"return_indices": True}),
    (named("adaptive_max_pool2d", 2), [(3, 4, 5, 6)], {"return_indices": True}),
]


ONE_IMAGE += [
    (named("max_pool1d", 2), [(4, 9)], {"return_indices": True, "stride": 3}),
    (named("max_pool1d", 3), [(2, 4, 9)], {"return_indices": True, "dilation": 2}),
    (named("adaptive_max_pool1d", 4), [(2, 4, 9)], {"return_indices": True}),
    (named("adaptive_avg_pool1d", 4), [(4, 9)], {}),
    (named("lp_pool1d", 2, 3), [(2, 4, 9)], {"stride": 2}),
    (named("unfold", 2), [(4, 5, 6)], {}),
    (named("fold", (5, 6), 2), [(16, 20)], {}),
    (named("fold", (5, 6), 2), [(0, 16, 20)], {}),
    (named("unfold", 2), [(0, 4, 5, 6)], {}),
]


@pytest.mark.parametrize("example", ONE_IMAGE, ids=lambda example: f"{example[1][0]}")
def test_one_image_and_indices(torch, example):
    function, shapes, settings = example
    side_by_side(torch, function, shapes, **settings)


@pytest.mark.parametrize("size", [(3, 4), (4, 4), (6, 3)])
@pytest.mark.parametrize("settings", [{"stride": 3}, {"stride": 4, "padding": 1}, {"stride": 5, "padding": 2}])
@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d"])
def test_ceil_mode_takes_windows_larger_than_the_padded_input(torch, name, size, settings):
    side_by_side(torch, named(name, 5), [(2, 3, *size)], ceil_mode=True, **settings)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_batch_norm_with_one_of_weight_and_bias(torch, training, dtype):
    def function(library, x, vector, mean, var, name):
        return library.batch_norm(x, mean.detach(), var.detach(), training=training, **{name: vector})

    def both(name):
        for library, make in ((F, tensor), (torch.nn.functional, torch.tensor)):
            rng = np.random.default_rng(0)
            arrays = [rng.uniform(0.1, 0.9, shape).astype(dtype) for shape in ((5, 3, 4, 4), (3,), (3,), (3,))]
            x, vector = (make(each, requires_grad=True) for each in arrays[:2])
            y = function(library, x, vector, *map(make, arrays[2:]), name)
            y.backward(make(upstream(tuple(y.shape)).astype(dtype)))
            yield [y.detach().numpy(), x.grad.numpy(), vector.grad.numpy()]

    for name in ("weight", "bias"):
        close(*both(name), *((1e-4, 1e-5) if dtype == "float32" else ()))


LAYERS = [
    *(
        (("Conv2d", 4, 6, 3), {"padding": padding, "padding_mode": mode})
        for mode in ("reflect", "replicate", "circular")
        for padding in ((1, 2), "same")
    ),
    (("Conv2d", 4, 6, (4, 3)), {"padding": "same", "padding_mode": "reflect", "dilation": (1, 2)}),
    (("Conv2d", 4, 6, 3), {"padding": "valid", "groups": 2}),
    (("ConvTranspose2d", 4, 6, 3, 2, 1, 1), {"groups": 2}),
    (("Upsample",), {"scale_factor": 2, "mode": "bilinear", "align_corners": True}),
    (("UpsamplingBilinear2d", (7, 9)), {}),
    (("UpsamplingNearest2d",), {"scale_factor": 3}),
    (("PixelShuffle", 2), {}),
    (("PixelUnshuffle", 3), {}),
    (("ChannelShuffle", 2), {}),
    (("Hardsigmoid",), {}),
]


@pytest.mark.parametrize(("layer", "settings"), LAYERS, ids=lambda given: str(given))
def test_layer(torch, layer, settings):
    """On channels-last images, which stay channels-last."""
    name, *args = layer
    theirs = getattr(torch.nn, name)(*args, **settings).double()
    ours = getattr(nn, name)(*args, **settings).double()
    ours.load_state_dict(theirs.state_dict())
    x = np.random.default_rng(0).standard_normal((3, 6, 9, 4)).transpose(0, 3, 1, 2)
    found = []
    for module, make in ((ours, tensor), (theirs, torch.tensor)):
        image = make(x, requires_grad=True)
        y = module(image)
        y.backward(make(upstream(tuple(y.shape))))
        found.append([y.detach().numpy(), image.grad.numpy(), *(each.grad.numpy() for each in module.parameters())])
    close(*found, 1e-7 if name == "Hardsigmoid" else 1e-10)
    image = tensor(x)
    assert image.array.transpose(0, 2, 3, 1).flags.c_contiguous
    assert ours(image).array.transpose(0, 2, 3, 1).flags.c_contiguous


@pytest.mark.parametrize(("size", "output_size"), [((6, 8), None), ((7, 9), (7, 9)), ((7, 8), (2, 4, 7, 8))])
def test_maxima_are_put_back(torch, size, output_size):
    def function(library, x):
        maxima, indices = library.max_pool2d(x, 2, return_indices=True)
        return library.max_unpool2d(maxima, indices, 2, output_size=output_size)

    side_by_side(torch, function, [(2, 4, *size)])
    if output_size is None:
        side_by_side(torch, function, [(4, *size)])


def test_one_hot(torch):
    labels = np.array([[0, 3], [1, 1]])
    for settings in ({}, {"num_classes": 6}):
        ours = F.one_hot(tensor(labels), **settings)
        close(ours.numpy(), torch.nn.functional.one_hot(torch.tensor(labels), **settings).numpy())
        assert ours.dtype == np.int64


def test_unflatten_is_the_reverse_of_flatten(rng):
    x = rng.standard_normal((3, 4, 5, 2))
    close(nn.Unflatten(1, (4, -1, 2))(nn.Flatten()(tensor(x))).numpy(), x)
