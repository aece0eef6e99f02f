"""Several threads of Python that train, or use a network, at once: each gets the bits that it gets alone."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest

from gpunet import functional as F
from gpunet.backend import manual_seed
from gpunet.data import DataLoader, TensorDataset
from gpunet.models import resnet8
from gpunet.optim import SGD
from gpunet.tape import no_grad
from gpunet.tensor import tensor

pytestmark = pytest.mark.usefixtures("numpy_backend", "kernels")


@pytest.fixture(params=["kernels", "pages"])
def kernels(request, monkeypatch):
    if request.param == "pages":
        monkeypatch.setattr("gpunet.backend.kernels._turned_off", True)


def at_once(function, count):
    """What function(0), function(1), ... return, which begin together."""
    begin = Barrier(count)

    def wait_for_all(number):
        begin.wait(60)
        return function(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(wait_for_all, range(count)))


def bits(tensors):
    return [each.numpy().tobytes() for each in tensors]


def test_two_trainings(threads, rng):
    threads(3)
    images = rng.standard_normal((2, 24, 3, 12, 12)).astype(np.float32)
    labels = rng.integers(0, 10, (2, 24))

    def prepared(number):
        """A training before its first step: models are made one after the other, since all draw from one stream."""
        manual_seed(number)
        model = resnet8()
        loader = DataLoader(TensorDataset(images[number], labels[number]), batch_size=8, shuffle=True, seed=number)

        def train():
            optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
            for x, y in (batch for _ in range(2) for batch in loader):
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            return bits(model.state_dict().values())

        return train

    alone = [prepared(number)() for number in range(2)]
    assert alone[0] != alone[1]
    together = [prepared(number) for number in range(2)]
    assert at_once(lambda number: together[number](), 2) == alone


def test_inference_in_eight_threads(threads, rng):
    threads(3)
    images = rng.standard_normal((8, 16, 3, 12, 12)).astype(np.float32)
    model = resnet8()
    model(tensor(images[0]))  # running statistics that are not the initial ones
    model.eval()

    def infer(number):
        with no_grad():
            return bits(F.softmax(model(tensor(batch)), dim=1) for batch in np.split(images[number], 4))

    alone = [infer(number) for number in range(8)]
    assert at_once(infer, 8) == alone
