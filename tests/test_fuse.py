"""Batch norm folded into convolutions: the same outputs, from fewer passes."""

from __future__ import annotations

import numpy as np
import pytest

from gpunet import functional as F
from gpunet import models, nn
from gpunet.backend import xp
from gpunet.errors import ArgumentError, DTypeError, ShapeError
from gpunet.nn.utils import fold_batch_norm, fuse_conv_bn_eval
from gpunet.tape import no_grad
from gpunet.tensor import tensor

pytestmark = pytest.mark.usefixtures("backend")


def images(rng, *shape):
    return tensor(rng.standard_normal(shape).astype(np.float32))


def with_statistics(model, batch):
    """Give batch norm something to fold: running statistics, weights and biases that are not the initial ones."""
    model(batch)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and module.affine:
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.uniform_(module.bias, -1, 1)
    return model.eval()


def batch_norms(model):
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]


def close(actual, expected):
    scale = np.abs(expected.numpy()).max()
    np.testing.assert_allclose(actual.numpy() / scale, expected.numpy() / scale, atol=5e-6)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("groups", [1, 2])
def test_one_convolution_for_two_layers(rng, bias, affine, groups):
    x = images(rng, 3, 4, 7, 6)
    pair = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1, groups=groups, bias=bias), nn.BatchNorm2d(6, affine=affine))
    with_statistics(pair, x)
    close(fuse_conv_bn_eval(*pair)(x), pair(x))


@pytest.mark.parametrize("name", ["resnet8", "plain8", "resnet18", "resnet50"])
def test_networks(rng, name):
    x = images(rng, 2, 3, 32, 32)
    model = with_statistics(models.create_model(name, 10, 3), x)
    with no_grad():
        expected = model(x)
        fused = model.fuse()
        close(fused(x), expected)
        assert not fused.training
        assert batch_norms(fused) == []
        assert batch_norms(model) != []  # the network itself is left alone
        np.testing.assert_array_equal(model(x).numpy(), expected.numpy())


def test_what_is_not_known_to_follow_a_convolution_stays(rng):
    x = images(rng, 2, 3, 5, 5)
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
    with_statistics(model, x)
    folded = fold_batch_norm(model)
    assert len(batch_norms(folded)) == 1
    close(folded(x), model(x))


def test_a_folded_network_can_be_trained_on(rng):
    """Where gradients are recorded, the sum and the ReLU are operations of their own."""
    x = images(rng, 2, 3, 8, 8)
    model = with_statistics(models.resnet8(), x)
    model.fuse()(x).sum().backward()
    folded = model.fuse()
    folded(x).sum().backward()
    assert all(parameter.grad is not None for parameter in folded.parameters())


@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize("relu", [True, False])
def test_residual_and_relu_of_a_convolution(rng, recorded, relu):
    x, weight, residual = images(rng, 2, 3, 6, 5), images(rng, 4, 3, 3, 3), images(rng, 2, 4, 3, 3)
    weight.requires_grad = recorded
    y = F.conv2d(x, weight, stride=2, padding=1, residual=residual, relu=relu)
    expected = F.conv2d(x, weight.detach(), stride=2, padding=1).numpy() + residual.numpy()
    np.testing.assert_allclose(y.numpy(), np.maximum(expected, 0) if relu else expected, rtol=1e-6)
    assert y.requires_grad is recorded


@pytest.mark.parametrize(
    ("residual", "error"),
    [
        (lambda: tensor(np.zeros((2, 4, 3, 4), np.float32)), ShapeError),
        (lambda: tensor(np.zeros((2, 4, 3, 3))), DTypeError),
        (lambda: xp.zeros((2, 4, 3, 3)), DTypeError),
    ],
)
def test_residuals_that_do_not_fit(rng, residual, error):
    with pytest.raises(error, match="conv2d: "):
        F.conv2d(images(rng, 2, 3, 3, 3), images(rng, 4, 3, 1, 1), residual=residual())


def test_what_cannot_be_fused():
    with pytest.raises(ArgumentError, match="4 channels"):
        fuse_conv_bn_eval(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(5))
    with pytest.raises(ArgumentError, match="running statistics"):
        fuse_conv_bn_eval(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, track_running_stats=False))
