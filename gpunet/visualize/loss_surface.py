"""The loss surface: how the loss changes around the weights of a network, along two random directions."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gpunet.backend import Array, asarray, quiet, to_cpu
from gpunet.errors import ArgumentError, ShapeError
from gpunet.functional import cross_entropy
from gpunet.functional.checks import check_images, whole_number
from gpunet.nn import Module
from gpunet.optim.checks import positive
from gpunet.progress_bar import progress_bar
from gpunet.tape import no_grad
from gpunet.tensor import Tensor

__all__ = ["LossSurface", "loss_surface"]

ROUNDING = 1e-6  # of a loss, which is computed in float32: a few times its last bit


@dataclass(frozen=True)
class LossSurface:
    """The mean loss of a network whose weights are `w + alpha d + beta e`, at the points of a square grid.

    Attributes:
        alphas, betas: (S,), from -span to span at equal distances; the one in the middle is 0.
        losses: (S, S), `losses[i, j]` at `alphas[i]` and `betas[j]`; NaN or infinite where the network overflowed.
    """

    alphas: np.ndarray
    betas: np.ndarray
    losses: np.ndarray

    @property
    def centre(self) -> float:
        """The loss of the network as it is."""
        middle = len(self.alphas) // 2
        return float(self.losses[middle, middle])

    @property
    def finite(self) -> np.ndarray:
        """(S, S), whether the loss is a finite number."""
        return np.isfinite(self.losses)

    def rise(self, radius: float) -> float:
        """How much the loss rises, on average, on the way from the centre to this distance: little where it is flat.

        The average is over the points of the grid that are nearer to the circle than half the distance between points.

        Raises:
            ArgumentError: if there is no such point.
        """
        distances = np.hypot(self.alphas[:, None], self.betas)  # (S, S)
        on_circle = abs(distances - radius) < (self.alphas[1] - self.alphas[0]) / 2
        if not on_circle.any():
            raise ArgumentError(f"rise: the surface has no point at a distance of {radius} from its centre")
        return float(self.losses[on_circle].mean()) - self.centre

    @property
    def nonconvexity(self) -> float:
        """The share of the surface that bends down in some direction; that of a bowl is 0.

        It bends down where the smaller eigenvalue of the matrix of second differences is negative, by more than the
        losses are rounded: `(f_aa + f_bb) / 2 - sqrt(((f_aa - f_bb) / 2)^2 + f_ab^2) < -1e-6 f`. That takes a point and
        its eight neighbours; counted are the points where all nine losses are finite, and without any it is NaN.
        """
        f = np.where(self.finite, self.losses, np.nan)
        aa = f[2:, 1:-1] - 2 * f[1:-1, 1:-1] + f[:-2, 1:-1]  # (S-2, S-2)
        bb = f[1:-1, 2:] - 2 * f[1:-1, 1:-1] + f[1:-1, :-2]
        ab = (f[2:, 2:] - f[2:, :-2] - f[:-2, 2:] + f[:-2, :-2]) / 4
        smaller = (aa + bb) / 2 - np.hypot((aa - bb) / 2, ab)
        counted = np.isfinite(smaller)
        bends_down = smaller < -ROUNDING * abs(f[1:-1, 1:-1])
        return float(bends_down[counted].mean()) if counted.any() else float("nan")


def loss_surface(
    model: Module,
    images: Tensor,
    labels: Tensor,
    span: float = 1.0,
    steps: int = 21,
    seed: int = 0,
    batch_size: int = 256,
) -> LossSurface:
    r"""The cross-entropy along two random directions, each of whose filters is as large as that of the network.

        d_ij = g_ij / |g_ij| * |w_ij|,   g_ij ~ N(0, 1)

    `w_ij` is filter j of layer i: the weights that make one channel, or one feature of a fully connected layer. A
    network stays what it is when a filter is doubled and what reads its channel is halved; with this scale, so does its
    surface, and those of two networks can be compared. As in the code of the paper, directions have zeros at biases and
    batch norm (all parameters of one dimension), and batch norm uses its running statistics, which are not moved: a
    network is looked at as it is used.

    It is a copy of the model whose weights are moved. What is drawn depends on the seed alone.

    Args:
        model: takes images and returns (N, classes) logits.
        span: how far the surface reaches to each side; at 1 the directions are as large as the weights.
        steps: points to a side, an odd number, so that the network itself is the one in the middle.
        batch_size: how many images are run at a time.

    Shape:
        images: (N, C, H, W); labels: (N,), or (N, classes) probabilities; losses of the result: (steps, steps).

    Raises:
        ArgumentError: if a setting makes no sense, or the model has no weights.
        ShapeError: if there is not a label for each image, or images or logits have another shape.

    Reference:
        Li et al., "Visualizing the loss landscape of neural nets", 2018.

    Example:
        >>> from gpunet.data import DataLoader, find_dataset
        >>> from gpunet.models import resnet8
        >>> images, labels = next(iter(DataLoader(find_dataset("digits").test_set(8), batch_size=32)))
        >>> surface = loss_surface(resnet8(in_channels=1), images, labels, steps=3)
        >>> surface.losses.shape, bool(surface.rise(1.0) > 0)
        ((3, 3), True)
    """
    check_images(images, "loss_surface")
    if len(labels) != len(images):
        raise ShapeError(f"loss_surface expects a label for each of {len(images)} images, got {len(labels)}")
    if whole_number(steps, "steps", "loss_surface", 3) % 2 == 0:
        raise ArgumentError(f"loss_surface: steps must be odd, so that the network is in the middle, got {steps}")
    whole_number(batch_size, "batch_size", "loss_surface", 1)
    axis = positive(span, "span", "loss_surface") * (np.arange(steps) - steps // 2) / (steps // 2)  # (S,)
    rng = np.random.default_rng(whole_number(seed, "seed", "loss_surface", 0))
    moved = copy.deepcopy(model).eval()
    weights = [parameter for parameter in moved.parameters() if parameter.ndim > 1]
    if not weights:
        raise ArgumentError(f"loss_surface: {type(model).__name__} has no weights that could be moved")
    starts = [weight.array for weight in weights]
    along_alpha, along_beta = _direction(starts, rng), _direction(starts, rng)
    losses = np.empty((steps, steps))
    bar = progress_bar(desc="loss surface", unit="points", total=steps * steps)
    with bar, no_grad(), quiet():  # far out a network may overflow
        for i, j in np.ndindex(steps, steps):
            alpha, beta = float(axis[i]), float(axis[j])
            for weight, start, d, e in zip(weights, starts, along_alpha, along_beta, strict=True):
                weight.array = start + alpha * d + beta * e
            losses[i, j] = _mean_loss(moved, images, labels, batch_size)
            bar.update()
    return LossSurface(axis, axis, losses)


def _direction(weights: Sequence[Array], rng: np.random.Generator) -> list[Array]:
    """A random direction: normal numbers, each filter scaled to the norm of the network's own."""
    direction = []
    for weight in weights:
        drawn = rng.standard_normal(weight.shape)  # (O, ...); on the host, so that every backend gets the same
        within = tuple(range(1, drawn.ndim))
        norm = np.sqrt((to_cpu(weight).astype(np.float64) ** 2).sum(axis=within, keepdims=True))  # (O, 1, ...)
        drawn *= norm / np.sqrt((drawn**2).sum(axis=within, keepdims=True))
        direction.append(asarray(drawn, weight.dtype))
    return direction


def _mean_loss(model: Module, images: Tensor, labels: Tensor, batch_size: int) -> float:
    batches = (slice(start, start + batch_size) for start in range(0, len(images), batch_size))
    return sum(cross_entropy(model(images[b]), labels[b], reduction="sum").item() for b in batches) / len(images)
