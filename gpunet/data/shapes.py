"""Figures made of lines and corners, drawn on the spot: a dataset in colour that needs no download."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gpunet.data.checks import HostArray, checked_count
from gpunet.data.dataset import ImageDataset
from gpunet.data.transforms import Transform

__all__ = ["Shapes"]

CLASSES = ("triangle", "square", "circle", "star", "cross", "line")
COUNTS = {True: 6000, False: 1200}  # of the training and of the test set, unless asked otherwise
CHUNK = 128  # images drawn at a time: so the intermediate arrays stay in the cache
NUMBERS = 16  # random numbers for the figure and the colours of an image, besides its noise


class Shapes(ImageDataset):
    """Triangles, squares, circles, stars, crosses and lines, each of random place, size, angle, colours and noise.

    One figure an image, filled or, in 40 % of the images, as an outline, on a ground that changes evenly from one
    colour to another. The figure differs from the ground by at least 0.2 in each of red, green and blue, on a scale
    of 1; the noise is normal with a standard deviation of up to 0.08. Edges are smooth: a pixel is covered by as much
    of the figure as lies on it. Image i is of class i mod 6, and depends on the seed, on the set and on i alone, so the
    first images are the same whatever the count.

    Args:
        train: the training set, or else the test set; no image is in both.
        transform: applied to every batch of images, see `gpunet.data.transforms`.
        count: how many images; 6,000 in the training set and 1,200 in the test set if left out.
        size: height and width.
        seed: another seed, other images.

    Shape:
        images (N, 3, size, size), labels (N,)

    Raises:
        ArgumentError: if count, size or seed makes no sense.

    Example:
        >>> shapes = Shapes(count=12)
        >>> shapes.images.shape, shapes.classes[shapes.labels[7]]
        ((12, 3, 32, 32), 'square')
    """

    def __init__(
        self,
        train: bool = True,
        transform: Transform | None = None,
        count: int | None = None,
        size: int = 32,
        seed: int = 0,
    ) -> None:
        count = COUNTS[bool(train)] if count is None else checked_count(count, 1, "Shapes: count")
        size = checked_count(size, 8, "Shapes: size")
        seed = checked_count(seed, 0, "Shapes: seed")
        labels = np.arange(count) % len(CLASSES)
        images = np.empty((count, 3, size, size), np.uint8)
        for begin in range(0, count, CHUNK):
            part = slice(begin, begin + CHUNK)
            numbers = range(count)[part]
            streams = [np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(int(train), i))) for i in numbers]
            images[part] = _drawn(labels[part], streams, size)
        super().__init__(images, labels, transform, CLASSES)


def _drawn(labels: HostArray, streams: Sequence[np.random.Generator], size: int) -> HostArray:
    """Draw one image from each stream: (N, 3, size, size), uint8."""
    u = np.stack([stream.random(NUMBERS, np.float32) for stream in streams])[:, :, None, None]  # (N, NUMBERS, 1, 1)
    noise = np.stack([stream.standard_normal((3, size, size), np.float32) for stream in streams])

    radius = size * (0.22 + 0.18 * u[:, 0])  # (N, 1, 1), in pixels
    room = 0.85 * (size / 2 - radius)  # how far the middle of the figure may be from that of the image
    pixel = np.arange(size, dtype=np.float32) + np.float32(0.5 - size / 2)
    y = pixel[:, None] - room * (2 * u[:, 1] - 1)  # (N, size, 1): from the middle of the figure
    x = pixel - room * (2 * u[:, 2] - 1)  # (N, 1, size)
    angle = 2 * np.pi * u[:, 3]
    turned = (
        (np.cos(angle) * x + np.sin(angle) * y) / radius,
        (np.cos(angle) * y - np.sin(angle) * x) / radius,
    )  # (N, size, size) each: in the frame of the figure, whose corners are at a distance of 1

    distance = np.empty_like(turned[0])  # to the edge, in pixels; negative inside
    for label, name in enumerate(CLASSES):
        of = labels == label
        distance[of] = radius[of] * _distance(name, turned[0][of], turned[1][of])
    stroke = size * (0.03 + 0.025 * u[:, 4])  # half the width of an outline, or of a line
    outlined = (u[:, 5] < 0.4) | (labels == CLASSES.index("line"))[:, None, None]
    distance = np.where(outlined, abs(distance) - stroke, distance)
    cover = np.clip(0.5 - distance, 0, 1)[:, None]  # (N, 1, size, size): the share of each pixel that is covered

    ground = u[:, 6:9]  # (N, 3, 1, 1): red, green, blue
    figure = (ground + 0.35 + 0.3 * u[:, 9:12]) % 1  # at least 0.35 from the ground in each channel
    slope = 0.15 * (2 * u[:, 12:14] - 1)  # the ground changes by up to 0.15 to either side, half of it along each axis
    ground = ground + (slope[:, :1] * pixel[:, None] + slope[:, 1:] * pixel) / size  # (N, 3, size, size)
    images = ground + cover * (figure - ground) + 0.08 * u[:, 14:15] * noise
    return np.rint(255 * np.clip(images, 0, 1)).astype(np.uint8)


def _distance(name: str, x: HostArray, y: HostArray) -> HostArray:
    """The distance of points from the edge of a figure of radius 1, negative inside. A line is its own edge."""
    if name == "circle":
        return np.hypot(x, y) - 1
    if name == "line":
        return np.hypot(np.maximum(abs(x) - 1, 0), y)
    return _distance_to_polygon(_corners(name), x, y)


def _corners(name: str) -> HostArray:
    """The corners of a figure, in order: (corners, 2)."""
    if name == "cross":
        long, short = np.sqrt(1 - 0.32**2), 0.32
        corner = np.array([[long, short], [short, short], [short, long]])  # an arm and the notch beside it
        turns = np.array([[[1, 0], [0, 1]], [[0, -1], [1, 0]], [[-1, 0], [0, -1]], [[0, 1], [-1, 0]]])
        return np.concatenate([corner @ turn.T for turn in turns])
    count, inner = {"triangle": (3, None), "square": (4, None), "star": (10, 0.42)}[name]
    angle = 2 * np.pi * np.arange(count) / count
    distance = np.where(np.arange(count) % 2, inner, 1.0) if inner else np.ones(count)
    return np.stack([distance * np.cos(angle), distance * np.sin(angle)], axis=1)


def _distance_to_polygon(corners: HostArray, x: HostArray, y: HostArray) -> HostArray:
    """The distance of points from the nearest side of a polygon, negative inside it.

    Reference:
        Inside is where a ray to the right crosses an odd number of sides: Shimrat, "Algorithm 112: position of point
        relative to polygon", 1962.
    """
    nearest = np.full_like(x, np.inf)
    inside = np.zeros(x.shape, bool)
    for (ax, ay), (bx, by) in zip(corners.tolist(), np.roll(corners, -1, axis=0).tolist(), strict=True):
        sx, sy = bx - ax, by - ay
        along = np.clip(((x - ax) * sx + (y - ay) * sy) / (sx * sx + sy * sy), 0, 1)
        nearest = np.minimum(nearest, (x - ax - along * sx) ** 2 + (y - ay - along * sy) ** 2)
        if sy:
            inside ^= ((ay > y) != (by > y)) & (x < ax + (y - ay) * (sx / sy))
    return np.where(inside, -np.sqrt(nearest), np.sqrt(nearest))
