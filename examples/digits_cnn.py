"""A plain convolutional network learns handwritten digits: the whole of training, written out.

Run it:  python examples/digits_cnn.py        (about 5 seconds on two cores)
"""

import argparse

import gpunet
from gpunet import nn
from gpunet.data import DataLoader, Digits
from gpunet.data.transforms import Compose, Normalize, RandomCrop, ToFloat
from gpunet.functional import cross_entropy
from gpunet.optim import Adam

TARGET_ACCURACY = 0.97


def main(epochs: int = 15, target: float = TARGET_ACCURACY) -> float:
    gpunet.manual_seed(0)
    to_floats = Compose([ToFloat(scale=16), Normalize(0.305, 0.376)])
    train = DataLoader(Digits(train=True, transform=Compose([RandomCrop(8, padding=1), to_floats])), 32, shuffle=True)
    test = DataLoader(Digits(train=False, transform=to_floats), 360)

    model = nn.Sequential(  # (N, 1, 8, 8)
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),  # (N, 32, 4, 4)
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(32 * 4 * 4, 10),  # a logit for each digit
    )
    optimizer = Adam(model.parameters(), lr=2e-3)

    accuracy = 0.0
    for epoch in range(1, epochs + 1):
        model.train()
        for images, labels in train:
            optimizer.zero_grad()
            loss = cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
        model.eval()
        with gpunet.no_grad():
            images, labels = next(iter(test))
            accuracy = (model(images).argmax(dim=1) == labels).float().mean().item()
        print(f"epoch {epoch:2d}  loss {loss.item():.4f}  test accuracy {accuracy:.2%}")
    if accuracy < target:
        raise SystemExit(f"reached {accuracy:.2%}, expected at least {target:.0%}")
    return accuracy


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=15)
    main(parser.parse_args().epochs)
