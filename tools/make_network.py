"""Trains the tiny network that `gpunet explain network` takes apart, and writes its weights, rounded to two decimals.

Run from the root of the repository: `python tools/make_network.py`. It takes about ten seconds. Other processors round
sums differently, so other weights may come out; what they must be able to do is tested in tests/test_explain.py.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from gpunet import functional as F
from gpunet import nn, optim
from gpunet.backend import manual_seed, use_backend
from gpunet.data.digits import Digits
from gpunet.tensor import tensor

OUT = Path(__file__).parents[1] / "gpunet" / "explain" / "operations" / "network.json"
NAMES = {"0.weight": "weight", "3.weight": "second_weight", "7.weight": "matrix", "7.bias": "bias"}
SCALE = 16  # of the pixels


def trained(epochs: int = 60, seed: int = 0) -> nn.Sequential:
    """The network, trained on the digits of the package."""
    manual_seed(seed)
    data, rng = Digits(), np.random.default_rng(seed)
    images, labels = data.images.astype(np.float32) / SCALE, data.labels
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=False),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3, padding=1, bias=False),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 10),
    )
    optimizer = optim.AdamW(network.parameters(), lr=0.01, weight_decay=0.05)
    for epoch in range(epochs):
        for group in optimizer.param_groups:
            group["lr"] = 0.01 if epoch < 2 * epochs / 3 else 0.002
        order = rng.permutation(len(images))
        for begin in range(0, len(images), 64):
            batch = order[begin : begin + 64]
            optimizer.zero_grad()
            F.cross_entropy(network(tensor(images[batch])), tensor(labels[batch])).backward()
            optimizer.step()
    return network


def main() -> None:
    """Train, say how well it does, and write."""
    with use_backend("numpy"):
        network = trained()
        test = Digits(train=False)
        for parameter in network.parameters():
            parameter.data = tensor(np.round(parameter.numpy(), 2))
        right = network(tensor(test.images.astype(np.float32) / SCALE)).numpy().argmax(1) == test.labels
        print(f"{right.mean():.1%} of {len(right)} test images are classified rightly")
        arrays = {NAMES[name]: parameter.numpy().round(2) for name, parameter in network.named_parameters()}
    lines = [f'  "{name}": {json.dumps(array.astype(float).round(2).tolist())}' for name, array in arrays.items()]
    OUT.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
