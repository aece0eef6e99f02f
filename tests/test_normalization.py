"""Group, instance and layer norm where numbers and memory are hard: large means, float16, channels-last."""

import numpy as np
import pytest

import gpunet.functional as F
from gpunet.backend import asarray
from gpunet.tensor import Tensor, tensor

pytestmark = pytest.mark.usefixtures("backend")

NORMS = {  # of images (N, C, H, W): the function, and the axes of a part in (N, G, C/G, H, W)
    "group_norm": lambda x: F.group_norm(x, 2),
    "instance_norm": lambda x: F.instance_norm(x),
    "layer_norm": lambda x: F.layer_norm(x, x.shape[1:]),
}
GROUPS = {"group_norm": 2, "instance_norm": 8, "layer_norm": 1}


def expected(name, x):
    parts = x.astype(np.float64).reshape(len(x), GROUPS[name], -1)
    deviation = parts - parts.mean(axis=2, keepdims=True)
    return (deviation / np.sqrt((deviation**2).mean(axis=2, keepdims=True) + 1e-5)).reshape(x.shape)


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize(("dtype", "mean", "tolerance"), [("float32", 1e4, 2e-3), ("float16", 500, 2e-2)])
def test_a_large_mean_costs_no_digits(name, dtype, mean, tolerance, rng):
    x = (mean + rng.standard_normal((2, 8, 40, 40)) * (100 if dtype == "float16" else 1)).astype(dtype)
    y = NORMS[name](tensor(x)).numpy()
    assert y.dtype == dtype
    np.testing.assert_allclose(y, expected(name, x), rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", ["group_norm", "instance_norm"])
def test_channels_last_stays_channels_last(name, rng):
    memory = asarray(rng.standard_normal((2, 5, 6, 8)).astype(np.float32))  # (N, H, W, C)
    x = Tensor(memory.transpose(0, 3, 1, 2), requires_grad=True)
    weight = tensor(np.ones(8, np.float32))
    y = {"group_norm": lambda: F.group_norm(x, 2, weight), "instance_norm": lambda: F.instance_norm(x, weight=weight)}[
        name
    ]()
    assert y.array.transpose(0, 2, 3, 1).flags.c_contiguous
    y.backward(Tensor(y.detach().array))
    assert x.grad.array.transpose(0, 2, 3, 1).flags.c_contiguous


@pytest.mark.parametrize("name", NORMS)
def test_many_images_are_done_a_few_at_a_time(name, rng):
    x, g = rng.standard_normal((2, 9, 8, 80, 80)).astype(np.float32)
    inputs = Tensor(asarray(x), requires_grad=True)
    y = NORMS[name](inputs)
    y.backward(tensor(g))
    np.testing.assert_allclose(y.numpy(), expected(name, x), rtol=0, atol=1e-5)
    parts, back, out = (each.astype(np.float64).reshape(9, GROUPS[name], -1) for each in (x, g, expected(name, x)))
    about_mean = back - back.mean(axis=2, keepdims=True) - out * (back * out).mean(axis=2, keepdims=True)
    dx = about_mean / np.sqrt(parts.var(axis=2, keepdims=True) + 1e-5)
    np.testing.assert_allclose(inputs.grad.numpy(), dx.reshape(x.shape), rtol=0, atol=1e-5)
