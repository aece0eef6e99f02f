"""What the layers of a network hold: the filters it learned, and what they make of an image."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gpunet.backend import to_cpu
from gpunet.errors import ArgumentError
from gpunet.nn import Conv2d, Module, evaluation_mode, observe
from gpunet.tape import no_grad
from gpunet.tensor import Tensor

__all__ = ["FeatureMaps", "feature_maps", "first_filters"]


class FeatureMaps(NamedTuple):
    """What one layer made of the first image of a batch.

    Attributes:
        name: of the layer, such as "layer1.0.conv2".
        kind: the name of its class.
        values: (C, H, W) on the host.
    """

    name: str
    kind: str
    values: np.ndarray


def feature_maps(model: Module, images: Tensor) -> list[FeatureMaps]:
    """Run a network, in evaluation mode, and collect every output that is an image, in the order in which they arose.

    An output that a Module passes on from one within it, as a Sequential does, comes once, under the innermost name. A
    Module that runs twice comes twice.

    Shape:
        images: (N, C, H, W); only the maps of the first are kept.
    """
    found: list[FeatureMaps] = []
    last: Any = None

    def note(name: str, module: Module, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal last
        if getattr(output, "ndim", 0) != 4:
            return
        array = (
            output.handed_out()
        )  # the Tensor says less: a layer that works in place gives back the one it was given, ...
        values = to_cpu(array)[0]
        if array is not last or not np.array_equal(values, found[-1].values, equal_nan=True):  # ... with new values
            found.append(FeatureMaps(name, type(module).__name__, values.copy()))
        last = array

    with no_grad(), evaluation_mode(model), observe(model, note):
        model(images)
    return found


def first_filters(model: Module) -> np.ndarray:
    """The filters of the first convolution, those that see the image itself, on the host.

    Shape:
        result: (out_channels, in_channels, kernel height, kernel width).

    Raises:
        ArgumentError: if the model has no convolution.
    """
    convolution = next((module for module in model.modules() if isinstance(module, Conv2d)), None)
    if convolution is None:
        raise ArgumentError(f"first_filters: {type(model).__name__} has no convolution")
    return to_cpu(convolution.weight.array)
