"""The mean and the standard deviation of the images of a dataset, for `transforms.Normalize`."""

from __future__ import annotations

import numpy as np

from gpunet.data.checks import HostArray, checked_count
from gpunet.data.dataset import Dataset
from gpunet.errors import DataError, DTypeError, ShapeError

__all__ = ["dataset_statistics"]


def dataset_statistics(dataset: Dataset, batch_size: int = 256) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Compute mean and standard deviation of each channel over all pixels of all images, in float64.

    One pass, a batch at a time: n, m = mean and s = sum((x - m)^2) of what has been seen are merged with those of a
    batch by m + d n' / (n + n') and s + s' + d^2 n n' / (n + n'), where d = m' - m. The deviation divides by n.

    Args:
        dataset: its items begin with an image; its transform is applied, with generators of seed 0.
        batch_size: images at a time.

    Shape:
        images: (N, C, H, W); result: two tuples of C numbers.

    Raises:
        ArgumentError: if the batch size is not positive.
        DataError: if the dataset is empty.
        DTypeError: if it is none.
        ShapeError: if its items do not begin with images (C, H, W).

    Reference:
        Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.

    Example:
        >>> from gpunet.data import Digits
        >>> from gpunet.data.transforms import ToFloat
        >>> mean, std = dataset_statistics(Digits(train=True, transform=ToFloat(16)))
        >>> round(mean[0], 3), round(std[0], 3)
        (0.305, 0.376)
    """
    checked_count(batch_size, 1, "dataset_statistics: batch_size")
    if not isinstance(dataset, Dataset):
        raise DTypeError(f"dataset_statistics expects a gpunet.data.Dataset, got {type(dataset).__name__}")
    if not len(dataset):
        raise DataError("dataset_statistics got an empty dataset")
    count = 0
    mean: HostArray = np.zeros(1)
    squares: HostArray = np.zeros(1)
    rng = np.random.default_rng(0)
    for start in range(0, len(dataset), batch_size):
        images = dataset.batch(np.arange(start, min(start + batch_size, len(dataset))), rng)[0]
        if images.ndim != 4:
            raise ShapeError(f"dataset_statistics expects items that begin with images, got a part of {images.shape}")
        pixels = images.transpose(1, 0, 2, 3).reshape(images.shape[1], -1).astype(np.float64)  # (C, N*H*W)
        batch_mean = pixels.mean(axis=1)
        batch_squares = ((pixels - batch_mean[:, None]) ** 2).sum(axis=1)
        added, difference = pixels.shape[1], batch_mean - mean
        total = count + added
        squares = squares + batch_squares + difference**2 * (count * added / total)
        mean = mean + difference * (added / total)
        count = total
    return tuple(mean.tolist()), tuple(np.sqrt(squares / count).tolist())
