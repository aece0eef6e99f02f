"""Dropout: how much it keeps, how it scales, and where it is the identity."""

import numpy as np
import pytest

import gpunet.functional as F
from gpunet import nn
from gpunet.backend import manual_seed
from gpunet.tensor import tensor
from tests.reference import close, run, upstream

pytestmark = pytest.mark.usefixtures("backend")

DROPOUTS = [F.dropout, F.dropout2d]


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dropout", DROPOUTS)
def test_keeps_the_right_share_and_scales_it(dropout, p, rng):
    x = rng.standard_normal((200, 100, 1, 1)) + 10
    y, [gradient] = run(lambda x: dropout(x, p), x)
    kept = y != 0
    assert abs(kept.mean() - (1 - p)) < 5 * np.sqrt(p * (1 - p) / x.size)  # five standard deviations
    close(y, np.where(kept, x / (1 - p), 0))
    close(gradient, np.where(kept, upstream(x.shape) / (1 - p), 0))


def test_dropout_treats_every_element_on_its_own(rng):
    kept = F.dropout(tensor(np.ones((20, 20, 10, 10)))).numpy() != 0
    assert 0 < np.var(kept.mean(axis=(2, 3))) < 2 * 0.25 / 100  # as of 100 draws for each channel of each image


def test_dropout2d_takes_or_leaves_whole_channels():
    y = F.dropout2d(tensor(np.ones((20, 20, 4, 4)))).numpy()
    assert ((y == y[:, :, :1, :1]) & ((y == 0) | (y == 2))).all()
    assert 0.4 < (y[:, :, 0, 0] != 0).mean() < 0.6


@pytest.mark.parametrize("dropout", DROPOUTS)
def test_identity(dropout, rng):
    x = tensor(rng.standard_normal((2, 3, 4, 5)))
    for y in (dropout(x, 0.5, training=False), dropout(x, 0.0), dropout(x, 1.0, training=False)):
        close(y.numpy(), x.numpy(), 0, 0)


@pytest.mark.parametrize("dropout", DROPOUTS)
def test_p_of_1_leaves_nothing(dropout, rng):
    y, [gradient] = run(lambda x: dropout(x, 1.0), rng.standard_normal((2, 3, 4, 5)))
    close([y, gradient], [np.zeros((2, 3, 4, 5))] * 2, 0, 0)


@pytest.mark.parametrize("dropout", DROPOUTS)
def test_same_seed_same_mask_and_every_call_another(dropout):
    x = tensor(np.ones((4, 8, 3, 3)))
    manual_seed(7)
    first, second = dropout(x).numpy(), dropout(x).numpy()
    manual_seed(7)
    close(dropout(x).numpy(), first, 0, 0)
    assert (first != second).any()


@pytest.mark.parametrize("shape", [(), (5,), (2, 3), (2, 3, 4), (2, 3, 4, 5), (2, 0, 3)])
def test_dropout_takes_any_shape(shape):
    assert F.dropout(tensor(np.ones(shape))).shape == shape


def test_dropout_keeps_the_memory_order_of_the_activations(rng):
    x = tensor(rng.standard_normal((2, 4, 5, 3))).permute(0, 3, 1, 2)  # channels-last
    for y in (F.dropout(x), F.dropout2d(x)):
        assert y.array.transpose(0, 2, 3, 1).flags.c_contiguous


@pytest.mark.parametrize("layer", [nn.AlphaDropout, nn.FeatureAlphaDropout])
@pytest.mark.parametrize("p", [0.1, 0.5])
def test_alpha_dropout_keeps_mean_and_variance(layer, p):
    x = np.random.default_rng(0).standard_normal((200, 500, 3))
    y = layer(p)(tensor(x)).numpy()
    assert abs(y.mean()) < 0.02
    assert abs(y.var() - 1) < 0.03
    limit = -1.7580993408473766  # of selu, far to the left
    lowest = np.isclose(y, limit * (1 - p) / np.sqrt((1 - p) * (1 + p * limit**2)), 1e-9)
    assert abs(lowest.mean() - p) < 0.02
    if layer is nn.FeatureAlphaDropout:
        assert (lowest.all(axis=2) == lowest.any(axis=2)).all()
    assert (layer(p).eval()(tensor(x)).numpy() == x).all()


def test_channels_of_sequences_are_dropped_as_a_whole():
    x = np.ones((40, 50, 3), np.float32)
    for y in (nn.Dropout1d(0.4)(tensor(x)).numpy(), nn.Dropout1d(0.4)(tensor(x.reshape(2000, 3))).numpy()):
        rows = y.reshape(-1, 3)
        assert set(np.unique(rows.sum(axis=1).round(4))) == {0.0, 5.0}
        assert abs((rows[:, 0] == 0).mean() - 0.4) < 0.05


@pytest.mark.parametrize("mode", ["batch", "row"])
def test_stochastic_depth_drops_branches(mode):
    layer, x = nn.StochasticDepth(0.25, mode), tensor(np.ones((400, 2, 3), np.float32), requires_grad=True)
    y = layer(x)
    y.sum().backward()
    assert (x.grad.numpy() == y.numpy()).all()
    images = y.numpy().reshape(400, -1)
    assert set(np.unique(images.round(4))) <= {np.float32(0), np.float32(1.3333)}
    kept = (images != 0).all(axis=1)
    assert ((images == 0).all(axis=1) == ~kept).all()
    assert abs(kept.mean() - 0.75) < 0.1 if mode == "row" else kept.all() or not kept.any()
    assert layer.eval()(x) is x
    assert (nn.StochasticDepth(1.0, mode)(x).numpy() == 0).all()


@pytest.mark.parametrize("layer", [nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout, nn.FeatureAlphaDropout])
def test_dropout_in_place(layer):
    x = tensor(np.ones((4, 5, 6), np.float32)) * 1.0
    assert layer(0.5, inplace=True)(x) is x
    assert len(np.unique(x.numpy())) == 2
