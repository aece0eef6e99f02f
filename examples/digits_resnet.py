"""A residual network of one's own on the handwritten digits, beside the same network without its shortcuts.

The block adds its input to its output, and nothing else is needed: the tape follows both ways back and adds up the
gradients where they meet.

Run it:  python examples/digits_resnet.py        (about half a minute on two cores)
"""

import argparse

import gpunet
from gpunet import nn
from gpunet.data import DataLoader, find_dataset
from gpunet.optim import SGD
from gpunet.optim.lr_scheduler import OneCycleLR
from gpunet.train import Trainer

TARGET_ACCURACY = 0.98


class Block(nn.Module):
    """Two convolutions, and the way around them."""

    def __init__(self, channels: int, residual: bool) -> None:
        super().__init__()
        self.residual = residual
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.relu = nn.ReLU()

    def forward(self, x: gpunet.Tensor) -> gpunet.Tensor:
        return self.relu(self.body(x) + x if self.residual else self.body(x))


def network(blocks: int, residual: bool) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        *(Block(16, residual) for _ in range(blocks)),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.GlobalAvgPool2d(),
        nn.Linear(32, 10),
    )


def train(residual: bool, epochs: int, blocks: int = 4) -> float:
    gpunet.manual_seed(0)
    digits = find_dataset("digits")
    train_loader = DataLoader(digits.train_set(8), 32, shuffle=True, drop_last=True)
    test_loader = DataLoader(digits.test_set(8), 360)
    model = network(blocks, residual)
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    schedule = OneCycleLR(optimizer, max_lr=0.1, total_steps=epochs * len(train_loader))
    accuracy = 0.0
    for result in Trainer(model, optimizer, classes=10, schedule=schedule).fit(train_loader, test_loader, epochs):
        accuracy = result.test_accuracy
    return accuracy


def main(epochs: int = 12, target: float = TARGET_ACCURACY) -> float:
    plain, residual = train(residual=False, epochs=epochs), train(residual=True, epochs=epochs)
    print(f"plain    test accuracy {plain:.2%}\nresidual test accuracy {residual:.2%}")
    if residual < target:
        raise SystemExit(f"the residual network reached {residual:.2%}, expected at least {target:.0%}")
    return residual


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=12)
    main(parser.parse_args().epochs)
