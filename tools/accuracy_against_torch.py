"""Train the same ResNet-20 on the same images with gpunet and with PyTorch, and compare what they get right.

Both start from the same weights and see the same batches in the same order; only the rounding differs. It does not stay
small: where a ReLU's input is nearly 0 one sees it on this side and one on that, over all the flat background of an
image. So single runs differ, and their averages are to be compared.

    python tools/accuracy_against_torch.py --seeds 5
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from tqdm import tqdm

import gpunet
from gpunet import functional, nn
from gpunet.bench.networks import define
from gpunet.data.shapes import Shapes
from gpunet.models import MODELS
from gpunet.optim import AdamW

MODEL, BATCH, LR = "resnet20", 64, 3e-3

Step = Callable[[np.ndarray, np.ndarray, float], None]
Predict = Callable[[np.ndarray], np.ndarray]


def batches(count: int, epochs: int, seed: int) -> Iterator[tuple[np.ndarray, float]]:
    """The numbers of the images of each batch, and the learning rate, which falls like a cosine."""
    rng = np.random.default_rng(seed)
    steps = count // BATCH * epochs
    for step in range(steps):
        if step % (count // BATCH) == 0:
            order = rng.permutation(count)
        start = step % (count // BATCH) * BATCH
        yield order[start : start + BATCH], LR * (1 + math.cos(math.pi * step / steps)) / 2


def with_gpunet(seed: int) -> tuple[dict[str, np.ndarray], Step, Predict]:
    """The first weights, what takes a step, and what names the classes of images."""
    gpunet.manual_seed(seed)
    model = define(nn, functional)[MODEL](6, (3, 32, 32))
    model.load_state_dict(MODELS[MODEL](num_classes=6, in_channels=3).state_dict())  # He's initial values
    start = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    optimizer = AdamW(model.parameters(), LR)

    def step(images: np.ndarray, labels: np.ndarray, lr: float) -> None:
        optimizer.param_groups[0]["lr"] = lr
        optimizer.zero_grad()
        functional.cross_entropy(model(gpunet.tensor(images)), gpunet.tensor(labels)).backward()
        optimizer.step()

    def predict(images: np.ndarray) -> np.ndarray:
        model.eval()
        with gpunet.no_grad():
            return model(gpunet.tensor(images)).argmax(dim=1).numpy()

    return start, step, predict


def with_torch(start: dict[str, np.ndarray]) -> tuple[Step, Predict]:
    """The same in PyTorch, from the same weights."""
    import torch

    model = define(torch.nn, torch.nn.functional)[MODEL](6, (3, 32, 32))
    model.load_state_dict({name: torch.tensor(value) for name, value in start.items()})
    optimizer = torch.optim.AdamW(model.parameters(), LR)

    def step(images: np.ndarray, labels: np.ndarray, lr: float) -> None:
        optimizer.param_groups[0]["lr"] = lr
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(torch.from_numpy(images)), torch.from_numpy(labels)).backward()
        optimizer.step()

    def predict(images: np.ndarray) -> np.ndarray:
        model.eval()
        with torch.no_grad():
            return model(torch.from_numpy(images)).argmax(dim=1).numpy()

    return step, predict


def main() -> None:
    """Train both for each seed, and print the accuracies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, metavar="N")
    parser.add_argument("--images", type=int, default=3000, metavar="N")
    parser.add_argument("--epochs", type=int, default=5, metavar="N")
    options = parser.parse_args()
    train, test = Shapes(count=options.images), Shapes(train=False)

    def floats(dataset: Shapes) -> np.ndarray:
        return (np.asarray(dataset.images, np.float32) / 255 - 0.5) / 0.25

    images, labels = floats(train), np.asarray(train.labels, np.int64)
    test_images, test_labels = floats(test), np.asarray(test.labels)
    found: dict[str, list[float]] = {"gpunet": [], "torch": []}
    for seed in range(options.seeds):
        start, ours, predict_ours = with_gpunet(seed)
        theirs, predict_theirs = with_torch(start)
        plan = list(batches(len(images), options.epochs, seed))
        for name, step, predict in (("gpunet", ours, predict_ours), ("torch", theirs, predict_theirs)):
            for chosen, lr in tqdm(plan, desc=f"seed {seed}, {name}", leave=False):
                step(images[chosen], labels[chosen], lr)
            right = np.concatenate([predict(part) for part in np.array_split(test_images, 10)]) == test_labels
            found[name].append(float(right.mean()))
        print(f"seed {seed}: gpunet {found['gpunet'][-1]:.2%}, PyTorch {found['torch'][-1]:.2%}", flush=True)
    summary: dict[str, Any] = {
        name: {"mean": statistics.mean(each), "deviation": statistics.pstdev(each)} for name, each in found.items()
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
