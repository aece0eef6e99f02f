"""A training step on a GPU asks the device for nothing: the stand-in for CuPy counts the copies."""

from __future__ import annotations

import numpy as np
import pytest

from gpunet import models, optim
from gpunet.data import DataLoader, TensorDataset
from gpunet.errors import LabelError
from gpunet.functional import cross_entropy
from gpunet.optim.lr_scheduler import OneCycleLR
from gpunet.tensor import tensor
from gpunet.train import Trainer
from gpunet.train.trainer import STEPS_BETWEEN_LOOKS

pytestmark = pytest.mark.usefixtures("counters")


def labelled_images(rng, count):
    return rng.standard_normal((count, 1, 8, 8)).astype(np.float32), rng.integers(0, 10, count)


def trainer(optimizer):
    model = models.resnet8(num_classes=10, in_channels=1)
    made = optimizer(model.parameters())
    return Trainer(model, made, classes=10, schedule=OneCycleLR(made, 0.1, total_steps=100), show_progress=False)


OPTIMIZERS = {
    "SGD": lambda parameters: optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=1e-4, nesterov=True),
    "AdamW": lambda parameters: optim.AdamW(parameters, lr=1e-3),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_a_training_step_copies_nothing_back(rng, counters, optimizer):
    images, labels = labelled_images(rng, 8)
    batch = tensor(images), tensor(labels)
    learner = trainer(optimizer)
    learner.train_step(*batch)
    optim.clip_grad_norm_(learner.model.parameters(), 1.0)
    counters.reset()
    learner.train_step(*batch)
    optim.clip_grad_norm_(learner.model.parameters(), 1.0)
    assert counters.launches > 0
    assert counters.device_to_host == counters.host_to_device == 0


def test_an_epoch_looks_at_the_loss_now_and_then(rng, counters):
    steps = 3 * STEPS_BETWEEN_LOOKS
    loader = DataLoader(TensorDataset(*labelled_images(rng, 4 * steps)), batch_size=4, seed=0)
    learner = trainer(OPTIMIZERS["SGD"])
    counters.reset()
    learner._train_epoch(loader, 1)
    # Images and labels of each batch; and the table of pointers with which CuPy joins more than eight arrays, the norms
    # at the end. The table of the optimizer's step travels with its launch.
    assert counters.host_to_device == 2 * steps + 1
    assert counters.device_to_host <= 2 * 3 + 1  # loss and accuracy at each look, norms of gradients at the end


@pytest.mark.parametrize("label", [-1, 10, 2**40])
def test_labels_that_the_host_has_seen_are_still_checked(counters, label):
    with pytest.raises(LabelError, match=f"got {label} among them"):
        cross_entropy(tensor(np.zeros((3, 10), np.float32)), tensor(np.array([1, label, 2])))


def test_an_ignored_label_may_lie_outside(counters):
    loss = cross_entropy(tensor(np.zeros((3, 10), np.float32)), tensor(np.array([1, -100, 2])))
    assert loss.item() == pytest.approx(np.log(10))
