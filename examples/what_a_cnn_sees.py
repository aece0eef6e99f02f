"""What networks see, as pictures: first filters, feature maps, reasons for their answers, the surface of the loss.

A small CNN learns the shapes, a plain and a residual network of 32 layers learn the digits. What the pictures show is
checked in numbers, too: the heat of Grad-CAM lies on the figures rather than beside them, and the residual network's
surface is closer to a bowl than the plain one's: less of it bends down.

Run it:  python examples/what_a_cnn_sees.py        (about a minute on two cores; needs pip install '.[full]')
"""

import argparse
from pathlib import Path

import numpy as np

import gpunet
from gpunet import nn
from gpunet.data import DataLoader, DatasetRecipe, find_dataset
from gpunet.models import CifarResNet
from gpunet.optim import SGD
from gpunet.optim.lr_scheduler import OneCycleLR
from gpunet.train import Trainer
from gpunet.visualize import grad_cam, loss_surface, plot_feature_maps, plot_filters, plot_grad_cam, plot_loss_surface


def layer(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels), nn.ReLU())


def small_cnn() -> nn.Sequential:
    first = [layer(3, 16, 7, stride=2), layer(16, 32, 3), nn.MaxPool2d(2)]  # (N, 32, 8, 8)
    last = [layer(32, 64, 3), layer(64, 64, 3), layer(64, 64, 3)]  # (N, 64, 8, 8): what Grad-CAM looks at
    return nn.Sequential(*first, *last, nn.GlobalAvgPool2d(), nn.Linear(64, 6))


def train(model: nn.Module, data: DatasetRecipe, epochs: int) -> float:
    loader, test_set = DataLoader(data.train_set(data.size), 32, shuffle=True, drop_last=True), data.test_set(data.size)
    optimizer = SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    schedule = OneCycleLR(optimizer, max_lr=0.05, total_steps=epochs * len(loader))
    trainer = Trainer(model, optimizer, len(test_set.classes), schedule)
    return list(trainer.fit(loader, DataLoader(test_set, 256), epochs))[-1].test_accuracy


def draw(model: nn.Module, data: DatasetRecipe, folder: Path, name: str, cam_layer: str | None = None) -> None:
    """The pictures of one network, the last of four answers that are right and four that are wrong."""
    test_set = data.test_set(data.size)
    images, labels = next(iter(DataLoader(test_set, len(test_set))))
    with gpunet.no_grad(), nn.evaluation_mode(model):
        right = (model(images).argmax(dim=1) == labels).numpy()
    some = np.concatenate([np.flatnonzero(right)[:4], np.flatnonzero(~right)[:4]])
    plot_filters(model).savefig(folder / f"{name}_filters.png")
    plot_feature_maps(model, images).savefig(folder / f"{name}_feature_maps.png")
    figure = plot_grad_cam(model, images[some], labels[some], test_set.classes, cam_layer)
    figure.savefig(folder / f"{name}_grad_cam.png")


def heat_on_figures(model: nn.Module, data: DatasetRecipe) -> float:
    """The share of Grad-CAM's heat that lies on the figures, divided by the share of the area that they take."""
    test_set = data.test_set(data.size)
    pixels = test_set.images / 255  # (N, 3, H, W)
    sides = [pixels[:, :, 0], pixels[:, :, -1], pixels[:, :, :, 0], pixels[:, :, :, -1]]
    ground = np.median(np.concatenate(sides, axis=2), axis=2)[:, :, None, None]
    on_figure = abs(pixels - ground).mean(axis=1) > 0.2  # (N, H, W); figures differ from the ground in all colours
    heat = np.concatenate([grad_cam(model, images) for images, _ in DataLoader(test_set, 256)])
    return float((heat * on_figure).sum() / heat.sum() / on_figure.mean())


def main(
    folder: Path, epochs: tuple[int, int] = (3, 8), depth: int = 32, steps: int = 15, target: float = 0.95
) -> None:
    gpunet.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    shapes, digits = find_dataset("shapes"), find_dataset("digits")
    cnn, plain, residual = small_cnn(), CifarResNet(depth, 10, 1, "none"), CifarResNet(depth, 10, 1)
    plot_filters(cnn).savefig(folder / "shapes_filters_before.png")  # noise, to compare with
    accuracies = {"shapes": train(cnn, shapes, epochs[0]), "digits": train(residual, digits, epochs[1])}
    print(f"without shortcuts {train(plain, digits, epochs[1]):.1%} of the digits are right")
    draw(cnn, shapes, folder, "shapes")
    draw(residual, digits, folder, "digits", "layer2.0.bn2")  # 4 x 4 pixels; the last map has only 2 x 2
    images, labels = next(iter(DataLoader(digits.train_set(8, "none"), 128, shuffle=True)))
    named = {f"plain, {depth} layers": plain, f"residual, {depth} layers": residual}
    surfaces = {name: loss_surface(model, images, labels, steps=steps) for name, model in named.items()}
    plot_loss_surface(surfaces).savefig(folder / "digits_loss_surface.png")

    heat, (bent, less_bent) = heat_on_figures(cnn, shapes), (each.nonconvexity for each in surfaces.values())
    claims = {f"{share:.1%} of the {name} are right": share >= target for name, share in accuracies.items()}
    claims[f"figures get {heat:.2f} times as much heat as their area would"] = heat > 1.3
    claims[f"{bent:.0%} of the plain surface bends down, {less_bent:.0%} of the residual one"] = less_bent < bent
    print(*claims, f"the pictures are in {folder}", sep="\n")
    if not all(claims.values()):
        raise SystemExit(f"not as expected: {next(claim for claim, holds in claims.items() if not holds)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/what_a_cnn_sees"))
    main(parser.parse_args().out)
