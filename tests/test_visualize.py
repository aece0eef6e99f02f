"""Grad-CAM against hand-worked cases and finite differences; pictures and PNG files against what they must hold."""

import numpy as np
import pytest

from gpunet import functional as F
from gpunet.errors import ArgumentError, DTypeError, GradientError, LabelError, ShapeError
from gpunet.models import create_model, resnet8
from gpunet.nn import Conv2d, Dropout, Flatten, Linear, Module, ReLU, Sequential, evaluation_mode, observe
from gpunet.tape import no_grad
from gpunet.tensor import tensor
from gpunet.visualize import (
    data_uri,
    deepest_map,
    encode_png,
    feature_maps,
    first_filters,
    grad_cam,
    grey_picture,
    mosaic,
    overlay,
)
from gpunet.visualize.pictures import HEAT, resize_bilinear
from tests.browser import read_png

backends = pytest.mark.usefixtures("backend")


def linear_net(rng):
    """Logits that are linear in the feature map of the one convolution: y_c = sum of W[c] * A, so dy_c/dA = W[c]."""
    net = Sequential(Conv2d(1, 3, 1, bias=False), Flatten(), Linear(3 * 4 * 4, 2))
    weight = rng.standard_normal((2, 3, 4, 4)).astype(np.float32)
    factors = np.array([1.0, -2.0, 0.5], np.float32)
    net.load_state_dict(
        {"0.weight": factors.reshape(3, 1, 1, 1), "2.weight": weight.reshape(2, -1), "2.bias": weight[:, 0, 0, 0]}
    )
    return net, weight


def heat_by_hand(maps, gradients):
    """relu(sum_k mean(dy/dA_k) A_k), divided by its largest value, one number at a time."""
    channels, height, width = maps.shape
    heat = np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            total = 0.0
            for k in range(channels):
                total += sum(gradients[k].ravel()) / (height * width) * maps[k, row, column]
            heat[row, column] = max(total, 0.0)
    return heat / max(heat.max(), 1e-30)


@backends
@pytest.mark.parametrize("target", [0, 1])
def test_a_linear_network_worked_by_hand(rng, target):
    net, weight = linear_net(rng)
    image = rng.standard_normal((1, 1, 4, 4)).astype(np.float32)
    maps = np.stack([image[0, 0] * factor for factor in (1.0, -2.0, 0.5)])
    (heat,) = grad_cam(net, tensor(image), [target])
    np.testing.assert_allclose(heat, heat_by_hand(maps, weight[target]), atol=1e-5)
    assert heat.dtype == np.float32


@backends
def test_images_of_a_batch_do_not_mix_and_the_likeliest_class_is_the_default(rng):
    net, _ = linear_net(rng)
    images = rng.standard_normal((3, 1, 4, 4)).astype(np.float32)
    likeliest = net(tensor(images)).numpy().argmax(axis=1)
    together = grad_cam(net, tensor(images))
    for image, target, heat in zip(images, likeliest, together, strict=True):
        np.testing.assert_allclose(grad_cam(net, tensor(image[None]), [int(target)])[0], heat, atol=1e-6)


def test_a_residual_network_against_finite_differences(rng):
    """The gradient of the logit by the last feature map, from the part of the network that follows it."""
    net = resnet8(num_classes=4, in_channels=1).double().eval()
    image = tensor(rng.standard_normal((1, 1, 16, 16)))
    with no_grad():
        maps = net.layer3(net.layer2(net.layer1(F.relu(net.bn1(net.conv1(image)))))).numpy()

        def logit(values):
            return net.fc(net.avgpool(tensor(values)).flatten(1)).numpy()[0, 2]

        gradients, step = np.zeros(maps.shape), 1e-4
        for place in np.ndindex(maps.shape):
            nudge = np.zeros(maps.shape)
            nudge[place] = step
            gradients[place] = (logit(maps + nudge) - logit(maps - nudge)) / (2 * step)
    expected = resize_bilinear(heat_by_hand(maps[0], gradients[0])[None], 16, 16)[0]
    np.testing.assert_allclose(grad_cam(net, image, [2])[0], expected, atol=1e-4)


@pytest.mark.parametrize("name", ["lenet5", "resnet8", "plain8", "preact_resnet20", "resnet18", "mobilenet_v2"])
def test_every_network_has_a_last_feature_map(name, rng):
    net = create_model(name, 3, 1)
    image = tensor(rng.standard_normal((1, 1, 32, 32)).astype(np.float32))
    (heat,) = grad_cam(net, image)
    assert heat.shape == (32, 32)
    assert 0 <= heat.min() <= heat.max() <= 1


def test_the_deepest_map_includes_the_shortcut_and_comes_before_pooling(rng):
    for name, layer, side in (
        ("resnet8", "layer3", 32),
        ("resnet18", "layer4", 128),
        ("resnet18", "layer2", 32),  # layer3 and layer4 have maps of 2 x 2 and of 1 x 1 places
        ("lenet5", "features.4", 32),
        ("preact_resnet20", "bn", 32),
        ("densenet121", "features", 128),  # and not the few channels that its last layer has added
        ("mobilenet_v2", "features", 128),
    ):
        net, images = create_model(name, 3, 1), tensor(rng.standard_normal((3, 1, side, side)).astype(np.float32))
        heat = grad_cam(net, images, [0, 1, 2])
        np.testing.assert_array_equal(heat, grad_cam(net, images, [0, 1, 2], layer=layer), err_msg=name)
        assert heat.any(), name
        found, size = deepest_map(net, images)
        np.testing.assert_array_equal(heat, grad_cam(net, images, [0, 1, 2], layer=found), err_msg=name)
        assert size in {each.values.shape[1:] for each in feature_maps(net, images)}
    assert deepest_map(resnet8(), tensor(np.zeros((1, 3, 3, 3), np.float32)))[1] == (1, 1)  # all are small


def test_a_network_without_feature_maps_is_named():
    with pytest.raises(ArgumentError, match=r"Sequential has no convolution that gives a feature map \(N, C, H, W\)"):
        grad_cam(Sequential(Flatten(), Linear(16, 2)), tensor(np.zeros((1, 1, 4, 4), np.float32)))


def test_the_network_is_left_as_it_was(rng):
    net = Sequential(Conv2d(1, 2, 3), ReLU(), Dropout(), Flatten(), Linear(8, 2))
    net[1].eval()
    image = tensor(rng.standard_normal((1, 1, 4, 4)).astype(np.float32))
    net(image).sum().backward()
    modes = [module.training for module in net.modules()]
    gradients = [parameter.grad.numpy().copy() for parameter in net.parameters()]
    grad_cam(net, image)
    with pytest.raises(ArgumentError, match="layer 'no such layer' gives no feature map"):
        grad_cam(net, image, layer="no such layer")
    assert [module.training for module in net.modules()] == modes == [True, True, False, True, True, True]
    np.testing.assert_equal([parameter.grad.numpy() for parameter in net.parameters()], gradients)
    assert all("forward" not in module.__dict__ for module in net.modules())


def test_frozen_networks_can_be_explained(rng):
    net, _ = linear_net(rng)
    image = tensor(rng.standard_normal((1, 1, 4, 4)).astype(np.float32))
    free = grad_cam(net, image)
    np.testing.assert_array_equal(grad_cam(net.requires_grad_(False), image), free)
    assert not any(parameter.requires_grad for parameter in net.parameters())


class Constant(Module):
    """Logits that do not depend on the image."""

    def __init__(self):
        super().__init__()
        self.conv = Conv2d(1, 1, 1)
        self.fc = Linear(2, 2)

    def forward(self, x):
        self.conv(x)
        return self.fc(tensor(np.ones((len(x), 2), np.float32)))


def test_where_nothing_speaks_for_the_class_there_is_no_heat():
    assert not grad_cam(Constant(), tensor(np.ones((1, 1, 4, 4), np.float32))).any()


IMAGES = np.ones((2, 1, 4, 4), np.float32)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"targets": [0, 2]}, LabelError, "classes from 0 to 1"),
        ({"targets": [0, -1]}, LabelError, "classes from 0 to 1"),
        ({"targets": [0.0, 1.0]}, LabelError, "classes from 0 to 1"),
        ({"targets": [0]}, ShapeError, "a target for each of 2 images"),
        ({"images": tensor(IMAGES[0])}, ShapeError, r"\(N, C, H, W\)"),
        ({"layer": "conv9"}, ArgumentError, "layer 'conv9' gives no feature map.*layers that give one: 0"),
        ({"layer": "2"}, ArgumentError, "layers that give one: 0"),
        ({"model": Sequential(Flatten(), Linear(16, 2))}, ArgumentError, "no convolution"),
        ({"model": Conv2d(1, 2, 1)}, ShapeError, "logits"),
    ],
)
def test_mistakes(settings, error, message, rng):
    with pytest.raises(error, match=message):
        grad_cam(**{"model": linear_net(rng)[0], "images": tensor(IMAGES), **settings})


def test_without_gradients(rng):
    with no_grad(), pytest.raises(GradientError, match="outside of no_grad"):
        grad_cam(linear_net(rng)[0], tensor(IMAGES))


# What it is built on


@backends
def test_an_observer_may_replace_an_output():
    net = Sequential(ReLU(), ReLU())
    with observe(net, lambda name, module, inputs, output: output + 1 if name == "0" else None):
        assert net(tensor([-1.0, 2.0])).tolist() == [1.0, 3.0]
    assert net(tensor([-1.0, 2.0])).tolist() == [0.0, 2.0]


def test_evaluation_mode_ends_with_an_error_too():
    net = Sequential(Dropout(), ReLU())
    net[1].eval()
    with pytest.raises(ShapeError), evaluation_mode(net):
        grad_cam(net, tensor([1.0]))
    assert [module.training for module in net.modules()] == [True, True, False]


@backends
def test_feature_maps_come_in_the_order_of_the_layers(rng):
    net = create_model("lenet5", 10, 1)
    found = feature_maps(net, tensor(rng.standard_normal((2, 1, 32, 32)).astype(np.float32)))
    assert [(each.name, each.kind, each.values.shape) for each in found] == [
        ("features.0", "Conv2d", (6, 28, 28)),
        ("features.1", "Tanh", (6, 28, 28)),
        ("features.2", "AvgPool2d", (6, 14, 14)),
        ("features.3", "Conv2d", (16, 10, 10)),
        ("features.4", "Tanh", (16, 10, 10)),
        ("features.5", "AvgPool2d", (16, 5, 5)),
    ]
    np.testing.assert_allclose(found[1].values, np.tanh(found[0].values), rtol=1e-5)
    assert net.training


def by_hand(x, weight, stride=1):
    """A 3x3 convolution with a border of zeros, one product after the other."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    size = x.shape[1] // stride
    y = np.zeros((len(weight), size, size))
    for o, i, j in np.ndindex(*y.shape):
        y[o, i, j] = (padded[:, i * stride : i * stride + 3, j * stride : j * stride + 3] * weight[o]).sum()
    return y


@backends
def test_feature_maps_are_what_their_layer_computes(rng):
    """In evaluation a block is computed in one pass; what bn2 gives is shown without shortcut and ReLU all the same."""
    net = create_model("resnet8", 10, 1)
    state = {name: each.numpy() for name, each in net.state_dict().items()}
    for name, value in state.items():
        if "bn" in name and value.dtype == np.float32:
            state[name] = value + rng.random(value.shape, np.float32)
    net.load_state_dict({name: tensor(value) for name, value in state.items()})
    image = rng.standard_normal((1, 8, 8))
    found = {each.name: each.values for each in feature_maps(net, tensor(image[None].astype(np.float32)))}

    def norm(x, name):
        mean, variance, scale, shift = (
            state[f"{name}.{each}"][:, None, None] for each in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / np.sqrt(variance + 1e-5) * scale + shift

    x = np.maximum(norm(by_hand(image, state["conv1.weight"]), "bn1"), 0)
    block = "layer1.0"
    expected = {f"{block}.conv1": by_hand(x, state[f"{block}.conv1.weight"])}
    expected[f"{block}.bn1"] = norm(expected[f"{block}.conv1"], f"{block}.bn1")
    expected[f"{block}.conv2"] = by_hand(np.maximum(expected[f"{block}.bn1"], 0), state[f"{block}.conv2.weight"])
    expected[f"{block}.bn2"] = norm(expected[f"{block}.conv2"], f"{block}.bn2")
    expected[block] = np.maximum(expected[f"{block}.bn2"] + x, 0)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-3, atol=1e-4, err_msg=name)
    assert (found[f"{block}.bn2"] < 0).any()


@backends
def test_feature_maps_of_layers_that_work_in_place(rng):
    """ReLU in place gives back the Tensor that it was given: both layers are there, each with its own values."""
    net = Sequential(Conv2d(1, 2, 1), ReLU(inplace=True))
    x = rng.standard_normal((1, 1, 4, 4)).astype(np.float32)
    convolution, relu = feature_maps(net, tensor(x))
    y = net[0].weight.numpy()[:, :, 0] * x[0] + net[0].bias.numpy()[:, None, None]
    assert [convolution.name, relu.name] == ["0", "1"]
    np.testing.assert_allclose(convolution.values, y, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(relu.values, np.maximum(y, 0), rtol=1e-5, atol=1e-6)


def test_first_filters():
    net = create_model("resnet8", 10, 3)
    np.testing.assert_array_equal(first_filters(net), net.conv1.weight.numpy())
    with pytest.raises(ArgumentError, match="has no convolution"):
        first_filters(Linear(2, 2))


# Pictures


@pytest.mark.parametrize("shape", [(3, 5), (1, 1), (2, 3, 1), (2, 3, 2), (2, 3, 3), (4, 1, 4)])
def test_png_files_hold_the_pixels(shape, rng):
    pixels = rng.integers(0, 256, shape, np.uint8)
    np.testing.assert_array_equal(read_png(encode_png(pixels)), pixels.reshape(*shape[:2], -1))


def test_pillow_reads_the_png_files(rng, tmp_path):
    image = pytest.importorskip("PIL.Image")
    for shape, mode in (((5, 4), "L"), ((5, 4, 2), "LA"), ((5, 4, 3), "RGB"), ((5, 4, 4), "RGBA")):
        pixels = rng.integers(0, 256, shape, np.uint8)
        (tmp_path / "picture.png").write_bytes(encode_png(pixels))
        with image.open(tmp_path / "picture.png") as picture:
            assert picture.mode == mode
            np.testing.assert_array_equal(np.asarray(picture), pixels)


def test_what_is_no_picture():
    with pytest.raises(DTypeError, match="uint8, got float32"):
        encode_png(np.zeros((2, 2), np.float32))
    for shape in ((2,), (0, 3), (2, 2, 5), (1, 2, 2, 1)):
        with pytest.raises(ShapeError, match="1 to 4"):
            encode_png(np.zeros(shape, np.uint8))


def test_data_uris_need_no_network():
    assert data_uri(np.zeros((1, 1), np.uint8)).startswith("data:image/png;base64,iVBORw0KGgo")


def test_grey_pictures():
    values = np.array([-1.0, 0.0, 1.0, 2.0, np.nan])
    np.testing.assert_array_equal(grey_picture(values, -1, 1), [0, 128, 255, 255, 0])
    np.testing.assert_array_equal(grey_picture(np.ones(2), 1, 1), [0, 0])  # no range, no contrast


def test_mosaics_have_transparent_gaps():
    tiles = np.array([[[10, 11]], [[20, 21]], [[30, 31]]], np.uint8)  # three pictures of one row
    values = mosaic(tiles, columns=2)
    np.testing.assert_array_equal(values[:, :, 0], [[10, 11, 0, 20, 21], [0, 0, 0, 0, 0], [30, 31, 0, 0, 0]])
    np.testing.assert_array_equal(values[:, :, 1] > 0, values[:, :, 0] > 0)
    assert mosaic(np.zeros((5, 2, 2, 3), np.uint8), columns=9).shape == (2, 14, 4)
    with pytest.raises(ArgumentError, match="columns"):
        mosaic(tiles, 0)
    with pytest.raises(ShapeError, match="mosaic expects"):
        mosaic(tiles[0], 2)


def test_bilinear_by_hand():
    maps = np.array([[[0.0, 4.0]]])  # centres of the new pixels at -0.25, 0.25, 0.75 and 1.25 of the old
    np.testing.assert_allclose(resize_bilinear(maps, 2, 4), [[[0, 1, 3, 4], [0, 1, 3, 4]]])


def test_bilinear_is_that_of_pytorch(rng, torch):
    maps = rng.standard_normal((2, 3, 5)).astype(np.float32)
    expected = torch.nn.functional.interpolate(torch.tensor(maps)[None], size=(7, 16), mode="bilinear")[0]
    np.testing.assert_allclose(resize_bilinear(maps, 7, 16), expected, atol=1e-6)


def test_overlays():
    image = np.full((1, 1, 2), 100, np.uint8)
    painted = overlay(image, np.array([[0.0, 1.0]]), strength=0.5)
    np.testing.assert_array_equal(painted, [[[100, 100, 100], np.round(50 + HEAT / 2)]])
    orange = np.array([255, 128, 0], np.uint8).reshape(3, 1, 1)  # orange would not show on it, so it becomes grey
    np.testing.assert_array_equal(
        overlay(orange, np.zeros((1, 1))), np.full((1, 1, 3), round(0.299 * 255 + 0.587 * 128))
    )
    with pytest.raises(ShapeError, match="overlay expects"):
        overlay(image[0], np.zeros((1, 1)))
    with pytest.raises(ArgumentError, match="strength"):
        overlay(image, np.zeros((1, 1)), strength=2)
