"""An image alone and in any batch: with CPU kernels its logits and probabilities have the same bits."""

from __future__ import annotations

import numpy as np
import pytest

from gpunet import functional as F
from gpunet import models, nn
from gpunet.backend import kernels
from gpunet.tape import no_grad
from gpunet.tensor import tensor

pytestmark = pytest.mark.usefixtures("numpy_backend")

IMAGES = 128


def small_cnn():
    return nn.Sequential(
        nn.Conv2d(3, 20, 5, padding=2),
        nn.BatchNorm2d(20),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(20, 24, 3),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(24 * 3 * 3, 37),
        nn.ReLU(),
        nn.Linear(37, 10),
    )


NETWORKS = {
    "resnet20": models.resnet20,
    "resnet20, projections": lambda: models.resnet20(shortcut="B"),
    "small CNN": small_cnn,
    "LeNet-5": lambda: models.create_model("lenet5", 10, 3),
}


@pytest.mark.skipif(kernels.device() != "cpu", reason="the CPU kernels are not built, or turned off")
@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_bits_alone_and_in_any_batch(rng, name, recorded, threads):
    size = 32 if name == "LeNet-5" else 16
    images = rng.standard_normal((IMAGES, 3, size, size)).astype(np.float32)
    model = NETWORKS[name]()
    model(tensor(images))  # running statistics that are not the initial ones
    model.eval()

    def outputs(batch):
        if recorded:
            logits = model(tensor(batch))
        else:
            with no_grad():
                logits = model(tensor(batch))
        return np.concatenate([logits.numpy(), F.softmax(logits, dim=1).numpy()], axis=1)

    alone = outputs(images[:1])
    for count in (2, 3, 17, IMAGES):
        for number in (1, 2):
            threads(number)
            np.testing.assert_array_equal(outputs(images[:count])[:1], alone)
            np.testing.assert_array_equal(outputs(images[count - 1 :: -1])[-1:], alone)  # as the last of them
