"""Fine-tuning: a ResNet-18 that has seen one kind of images learns another from a few hundred of them.

Give it the weights of a ResNet-18 and a folder of your own images, a subfolder for each class:

    python examples/finetune_resnet18.py --weights resnet18.pth --images flowers

Without them it makes both: it learns to tell six figures apart, and is then shown 200 handwritten digits. Beside it the
same network learns the digits from nothing, in as many steps.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

import gpunet
from gpunet import no_grad
from gpunet.backend import to_cpu
from gpunet.data import DataLoader, Dataset, Subset, TensorDataset, find_dataset
from gpunet.functional import cross_entropy, interpolate
from gpunet.models import ResNet, resnet18
from gpunet.optim import AdamW
from gpunet.optim.lr_scheduler import OneCycleLR
from gpunet.train.fine_tuning import normalised
from gpunet.weights import load_weights, save_weights

SIZE = 32  # pixels on a side of the images that are made here


def train(model: ResNet, data: Dataset, epochs: int, lr: float, head_lr: float | None = None) -> None:
    """AdamW in one cycle; the last layer, which is new, may learn faster than what is there already."""
    head = set(model.fc.parameters())
    groups = [
        {"params": [each for each in model.parameters() if each not in head], "lr": lr},
        {"params": list(head), "lr": head_lr or lr},
    ]
    loader = DataLoader(data, batch_size=25, shuffle=True, drop_last=True, seed=0)
    optimizer = AdamW(groups)
    schedule = OneCycleLR(optimizer, [lr, head_lr or lr], total_steps=epochs * len(loader))
    for epoch in range(epochs):
        model.train()
        for images, labels in loader:
            loss = cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"  epoch {epoch + 1}/{epochs}  loss {loss.item():.3f}")


def accuracy(model: ResNet, data: Dataset) -> float:
    """The share of images that the model names rightly."""
    model.eval()
    with no_grad():
        right = sum(int((model(x).argmax(dim=1) == y).sum().item()) for x, y in DataLoader(data, 100))
    return right / len(data)


def digits_in_colour(train: bool, count: int) -> Dataset:
    """Digits as three equal colours, as large as the figures."""
    digits = find_dataset("digits")
    images, labels = next(
        iter(DataLoader((digits.train_set if train else digits.test_set)(8, *["none"] * train), count))
    )
    large = to_cpu(interpolate(images, size=(SIZE, SIZE), mode="bilinear").array)
    return TensorDataset(np.repeat(large, 3, axis=1), to_cpu(labels.array))


def weights_of_figures(folder: Path) -> Path:
    """What a ResNet-18 knows after 1,000 figures."""
    print("a ResNet-18 learns to tell figures apart")
    model = resnet18(num_classes=6)
    train(model, Subset(find_dataset("shapes").train_set(SIZE), range(1000)), epochs=2, lr=1e-3)
    save_weights(folder / "figures.safetensors", model)
    return folder / "figures.safetensors"


def main(options: argparse.Namespace) -> int:
    gpunet.manual_seed(0)
    learn: Dataset
    test: Dataset
    if options.images:
        # As large as ImageNet's, and normalised as they are: that is what the weights have learned from.
        recipe = normalised(find_dataset(f"folder:{options.images}", size=224), "imagenet")
        pictures = recipe.train_set(224)
        learn, test, classes = pictures, recipe.test_set(224), len(pictures.classes)
    else:
        learn, test, classes = digits_in_colour(True, 200), digits_in_colour(False, 200), 10
    with tempfile.TemporaryDirectory() as folder:
        weights = options.weights or weights_of_figures(Path(folder))
        model = resnet18(num_classes=classes)
        found = load_weights(weights, model, head=False)
    print(f"{len(found.matched)} arrays of {weights}; new: {', '.join(found.head)}")
    train(model, learn, options.epochs, lr=1e-3, head_lr=1e-2)
    tuned = accuracy(model, test)
    print(f"fine-tuned: {tuned:.1%}")
    if options.images:
        return 0
    fresh = resnet18(num_classes=classes)
    print("the same network from nothing")
    train(fresh, learn, options.epochs, lr=1e-3, head_lr=1e-2)
    alone = accuracy(fresh, test)
    print(f"from nothing: {alone:.1%}")
    return 0 if tuned > alone else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="of a ResNet-18: .pth, .pt or .safetensors")
    parser.add_argument("--images", type=Path, help="a folder with a subfolder of images for each class")
    parser.add_argument("--epochs", type=int, default=3)
    sys.exit(main(parser.parse_args()))
