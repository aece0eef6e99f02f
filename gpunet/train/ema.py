"""A running average of the weights, which often classifies better than the weights that it is the average of."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from itertools import chain

import numpy as np

from gpunet.backend import Array, asarray, quiet, to_cpu, xp
from gpunet.backend.device_numbers import DeviceNumbers
from gpunet.errors import StateDictError
from gpunet.nn import Module
from gpunet.ops.writing import about_to_write
from gpunet.optim.checks import below_one
from gpunet.tensor import Tensor

__all__ = ["AveragedWeights"]


class AveragedWeights:
    """The exponential moving average of all parameters and buffers of a model.

        d = min(decay, (1 + t) / (10 + t)) at step t
        average = d * average + (1 - d) * weight

    At first d is small, so that the average leaves the initial weights behind soon. Buffers of whole numbers, which
    count, are copied.

    Args:
        model: whose weights are averaged.
        decay: how much of the average is kept at a step, in the long run.

    Raises:
        ArgumentError: if the decay is not in [0, 1).

    Reference:
        Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", 1992.
    """

    def __init__(self, model: Module, decay: float) -> None:
        self.decay = below_one(decay, "ema", "AveragedWeights")
        self.model = model
        self._part = DeviceNumbers(1)  # 1 - d, of the step
        self.averages: dict[str, Array] = {name: tensor.array.copy() for name, tensor in self._tensors()}
        self._float_types = {each.dtype for each in self.averages.values() if each.dtype.kind == "f"}

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        return chain(self.model.named_parameters(), self.model.named_buffers())

    def update(self, step: int) -> None:
        """Take in the weights after step number `step`, counted from 1."""
        self.begin(step)
        self.take_in()

    def begin(self, step: int) -> None:
        """The host's part of an update: what the step number decides on."""
        self._part.write([1 - min(self.decay, (1 + step) / (10 + step))])

    def take_in(self) -> None:
        """The device's part, always the same, so that a CUDA graph can record it."""
        about_to_write(*self.averages.values())
        with quiet():
            parts = {dtype: self._part.array[0, ...].astype(dtype) for dtype in self._float_types}
            for name, tensor in self._tensors():
                average = self.averages[name]
                if average.dtype.kind == "f":
                    average += parts[average.dtype] * (tensor.array - average)
                else:
                    average[...] = tensor.array

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """While the block lasts, the model has the averages as its weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for name, tensor in self._tensors():
            tensor.array, self.averages[name] = self.averages[name], tensor.array

    def state_dict(self) -> dict[str, np.ndarray]:
        """The averages by name, as NumPy arrays."""
        return {name: to_cpu(average) for name, average in self.averages.items()}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Take over averages. All of them are checked first.

        Raises:
            StateDictError: if names or shapes are not those of the model.
        """
        shapes = {name: (tuple(array.shape), array.dtype) for name, array in state.items()}
        expected = {name: (tuple(average.shape), average.dtype) for name, average in self.averages.items()}
        if shapes != expected:
            wrong = sorted(name for name in {*shapes, *expected} if shapes.get(name) != expected.get(name))
            raise StateDictError(f"the averages of the weights do not fit the model: {', '.join(wrong)}")
        about_to_write(*self.averages.values())
        for name, average in self.averages.items():
            average[...] = xp.asarray(asarray(state[name]))
