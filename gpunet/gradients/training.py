"""Training, the same for every network that is compared: the same images in the same order, the same steps."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from gpunet.backend import manual_seed
from gpunet.data import DataLoader, Subset, find_dataset
from gpunet.errors import ArgumentError
from gpunet.functional import cross_entropy
from gpunet.functional.checks import whole_number
from gpunet.gradients.network import DeepNetwork, Design
from gpunet.optim import SGD

__all__ = ["IMAGES", "Budget", "training"]

IMAGES = 1437
"""How many handwritten digits of 8x8 pixels there are to train on."""

# As in He et al. 2016, but for the rate, which is 0.1 there: at a fifth of it no network needs to be warmed up.
LR, MOMENTUM, WEIGHT_DECAY = 0.02, 0.9, 1e-4


@dataclass(frozen=True)
class Budget:
    """What each network gets, and no network more than another.

    Attributes:
        images: how many of the handwritten digits, from the first on.
        batch_size: images in a step; all of them where there are fewer.
        seed: of the initial weights, and of the order of the images.

    Raises:
        ArgumentError: if there are not that many images, or a number makes no sense.
    """

    images: int = IMAGES
    batch_size: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        for name, minimum in (("images", 1), ("batch_size", 1), ("seed", 0)):
            whole_number(getattr(self, name), name, "Budget", minimum)
        if self.images > IMAGES:
            raise ArgumentError(f"Budget: there are {IMAGES:,} images to train on, got images={self.images:,}")


def training(design: Design, dtype: str, budget: Budget) -> Iterator[tuple[DeepNetwork, float]]:
    """Train a network for as long as somebody asks for its next step.

    Each step gives the network and its loss in the moment between the backward pass and the change of the weights: the
    gradients are there, and the weights are still those that they belong to. In float16 weights, activations and
    gradients are float16, and the loss is not scaled, so that a gradient that is 0 has really been lost.
    """
    manual_seed(budget.seed)
    model = DeepNetwork(design).to(dtype)
    optimizer = SGD(model.parameters(), LR, MOMENTUM, weight_decay=WEIGHT_DECAY)
    digits = Subset(find_dataset("digits").train_set(8, augment="none"), range(budget.images))
    size = min(budget.batch_size, budget.images)
    loader = DataLoader(digits, size, shuffle=True, drop_last=True, seed=budget.seed, workers=0)
    for images, labels in itertools.chain.from_iterable(itertools.repeat(loader)):
        loss = cross_entropy(model(images.to(dtype)), labels)
        optimizer.zero_grad()
        loss.backward()
        yield model, loss.item()
        optimizer.step()
