"""Dropout: how much it keeps, how it scales, and where it is the identity."""

import numpy as np
import pytest

import gpunet.functional as F
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
        assert y.data.transpose(0, 2, 3, 1).flags.c_contiguous
